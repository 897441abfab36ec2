import CKernelABI
@testable import SparamxCore

/// The packed form, written down a second time: no shared code with the library, no cleverness.
///
/// values: per panel and 256 of K what is stored of tile, tile row, column and code in the column; sparse leaves the
/// background out. 2-byte codes as they are. Others are cut into planes: block b (32 of K) has its low bits in plane
/// b % (8 / bits), its codes one byte after the other; the same for the high bits behind them. Then 64 bytes of zero at
/// least, up to a multiple of 64. bitmap (sparse): one bit per code in stored order, lowest first. side: FORMAT.md's
/// records. offsets (sparse): per panel and 256 of K the byte where its values start and (from bit 48) the length of
/// the low bits, and the end.
struct FormatOracle {
    private(set) var bytes: [UInt8] = []
    private var bitmap: [UInt8] = [], side: [UInt8] = [], offsets: [UInt64] = []

    init(_ weights: Matrix, sparse: Bool) {
        for matrix in 0..<weights.matrices {
            for panel in 0..<(weights.n + 15) / 16 {
                for chunk in 0..<(weights.k + 255) / 256 {
                    let rows = (0..<16).map { panel * 16 + $0 < weights.n ? matrix * weights.n + panel * 16 + $0 : nil }
                    if let block = weights.block {
                        quantized(weights, block, rows, chunk, sparse)
                    } else {
                        wide(weights, rows, chunk, sparse)
                    }
                }
            }
        }
        offsets.append(UInt64(bytes.count))
        bytes += [UInt8](repeating: 0, count: 64)
        while bytes.count % 64 != 0 { bytes.append(0) }
        if sparse { bytes += bitmap }
        bytes += side
        while bytes.count % 8 != 0 { bytes.append(0) }
        if sparse {
            for offset in offsets {
                for i in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: offset >> UInt64(8 * i))) }
            }
        }
    }

    /// Calls body with column and k of every place of a chunk in stored order.
    private func places(_ weights: Matrix, _ chunk: Int, perColumn: Int, _ body: (Int, Int) -> Void) {
        let tile = 16 * perColumn, end = min((chunk + 1) * 256, (weights.k + tile - 1) / tile * tile)
        for row in chunk * 256 / perColumn..<end / perColumn {
            for column in 0..<16 { for i in 0..<perColumn { body(column, row * perColumn + i) } }
        }
    }

    private mutating func mark(_ bit: inout Int, _ kept: Bool) {
        if bit % 8 == 0 { bitmap.append(0) }
        if kept { bitmap[bitmap.count - 1] |= 1 << UInt8(bit % 8) }
        bit += 1
    }

    private mutating func wide(_ weights: Matrix, _ rows: [Int?], _ chunk: Int, _ sparse: Bool) {
        offsets.append(UInt64(bytes.count))
        var bit = 0, codes: [UInt16] = []
        places(weights, chunk, perColumn: 2) { column, k in
            codes.append(rows[column] == nil || k >= weights.k ? 0 : weights.code(rows[column]!, k))
        }
        for code in codes {
            mark(&bit, code != 0)
            if code != 0 || !sparse { bytes += [UInt8(code & 0xff), UInt8(code >> 8)] }
        }
    }

    private mutating func quantized(_ weights: Matrix, _ block: Block, _ rows: [Int?], _ chunk: Int, _ sparse: Bool) {
        var kept = [[Int]](repeating: [], count: 8), bit = 0
        var list: [(block: Int, code: Int, zero: Int)] = []
        var zeros: [[Int]] = []  // per column, per part of the chunk
        for row in rows {
            zeros.append((0..<256 / block.part).map { part in
                let k = chunk * 256 + part * block.part
                return row == nil || k >= weights.k ? block.background ?? 0 : Int(weights.zero(row!, k))
            })
        }
        places(weights, chunk, perColumn: 4) { column, k in
            let zero = zeros[column][k % 256 / block.part]
            let code = rows[column] == nil || k >= weights.k ? zero : Int(weights.code(rows[column]!, k))
            list.append((k % 256 / 32, code, zero))
        }
        for (i, code, zero) in list {
            mark(&bit, code != zero)
            if code != zero || !sparse { kept[i].append(block.type == q8 ? code ^ 0x80 : code) }
        }
        let blocks = list.count / 512
        let low = [1, 8].contains(block.codeBits) ? block.codeBits : block.codeBits < 4 ? 2 : 4
        let lows = planes(kept, blocks, low, shift: 0), highs = planes(kept, blocks, block.codeBits - low, shift: low)
        offsets.append(UInt64(bytes.count) | UInt64(lows.count) << 48)
        bytes += lows + highs
        side += sideRecord(weights, block, rows, chunk, blocks, sparse ? zeros : nil)
    }

    private func planes(_ kept: [[Int]], _ blocks: Int, _ bits: Int, shift: Int) -> [UInt8] {
        if bits == 0 { return [] }
        let count = 8 / bits
        var out: [UInt8] = []
        for plane in 0..<count {
            let codes = stride(from: plane, to: blocks, by: count).flatMap { kept[$0] }
            while out.count < codes.count { out.append(0) }
            for (i, code) in codes.enumerated() { out[i] |= UInt8(((code >> shift) % (1 << bits)) << (plane * bits)) }
        }
        return out
    }

    /// Scales, minimums and (sparse) backgrounds of a chunk.
    private func sideRecord(_ weights: Matrix, _ block: Block, _ rows: [Int?], _ chunk: Int, _ blocks: Int,
                            _ zeros: [[Int]]?) -> [UInt8] {
        var out: [UInt8] = []
        func file(_ column: Int, _ k: Int) -> ArraySlice<UInt8>? {
            rows[column] == nil || k >= weights.k ? nil : weights.blockBytes(rows[column]!, k)
        }
        func byte(_ body: (Int) -> Int) { for column in 0..<16 { out.append(UInt8(truncatingIfNeeded: body(column))) } }
        func half(_ body: (Int) -> Int) {
            for column in 0..<16 {
                out += [UInt8(truncatingIfNeeded: body(column)), UInt8(truncatingIfNeeded: body(column) >> 8)]
            }
        }
        func fifthBits(_ part: Int) -> [UInt8] {
            let bits = (0..<16).reduce(0) { $0 | ((zeros?[$1][part] ?? 0) >> 4) << $1 }
            return [UInt8(bits & 255), UInt8(bits >> 8)]
        }
        let first = chunk * 256
        func raw(_ i: Int) {
            half { c in
                file(c, first).map {
                    Int($0[$0.startIndex + block.halves[i]]) | Int($0[$0.startIndex + block.halves[i] + 1]) << 8
                } ?? 0
            }
        }
        if block.elements < 256 {
            for i in 0..<blocks * 32 / block.elements {
                let k = first + i * block.elements
                for part in 0..<block.elements / block.part where block.halves.isEmpty {
                    byte { c in file(c, k).map { Block.read(block.scale(part), $0) } ?? 0 }
                }
                for at in block.halves {
                    half { c in
                        file(c, k).map { Int($0[$0.startIndex + at]) | Int($0[$0.startIndex + at + 1]) << 8 } ?? 0
                    }
                }
                if block.hasMinimum {
                    for c in 0..<8 { out.append(UInt8((zeros?[c][i] ?? 0) % 16 | ((zeros?[c + 8][i] ?? 0) % 16) << 4)) }
                    if block.codeBits == 5 { out += fifthBits(i) }
                }
            }
            return out
        }
        func small(_ part: Int, _ c: Int) -> Int { file(c, first).map { Block.read(block.scale(part), $0) } ?? 0 }
        func minimum(_ part: Int, _ c: Int) -> Int { file(c, first).map { Block.read(block.minimum(part), $0) } ?? 0 }
        for part in 0..<256 / block.part {
            switch Int(block.type) {
            case SX_Q4_K, SX_Q5_K:
                half { c in (zeros?[c][part] ?? 0) % 16 | small(part, c) << 4 | minimum(part, c) << 10 }
            case SX_Q2_K: byte { c in small(part, c) | minimum(part, c) << 4 }
            case SX_Q6_K: byte { c in small(part, c) }
            default: byte { c in file(c, first) == nil ? 0 : small(part, c) - 32 }
            }
        }
        for i in block.halves.indices { raw(i) }
        if block.type == Int32(SX_Q5_K) { for part in 0..<8 { out += fifthBits(part) } }
        if block.type == Int32(SX_Q2_K) {
            for part in 0..<16 {
                for c in stride(from: 0, to: 16, by: 4) {
                    out.append(UInt8((0..<4).reduce(0) { $0 | (zeros?[c + $1][part] ?? 0) << (2 * $1) }))
                }
            }
        }
        return out
    }
}
