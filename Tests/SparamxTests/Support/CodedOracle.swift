@testable import SparamxCore

/// The coded forms of BF16, written down a second time, as FormatOracle does it for the others.
///
/// values: per panel and 256 of K four bytes for each exception (exponent, then place in 3 bytes), then quads of two
/// twins of tile rows: a byte of mantissa and sign for each code of the first twin, then of the second, then a byte for
/// the exponents' codes of both, the first twin's in the low half. bitmap (sparse): 8 bytes for each twin. side: the
/// table of 16 exponents. offsets: where the chunk starts, and from bit 48 its exceptions.
struct CodedOracle {
    private(set) var bytes: [UInt8] = []
    private var bitmap: [UInt8] = [], side: [UInt8] = [], offsets: [UInt64] = []

    init(_ weights: Matrix, sparse: Bool) {
        for matrix in 0..<weights.matrices {
            for panel in 0..<(weights.n + 15) / 16 {
                for chunk in 0..<(weights.k + 255) / 256 {
                    add(CodedOracle.twins(weights, matrix, panel, chunk), sparse)
                }
            }
        }
        offsets.append(UInt64(bytes.count))
        bytes += [UInt8](repeating: 0, count: 64)
        while bytes.count % 64 != 0 { bytes.append(0) }
        if sparse { bytes += bitmap }
        bytes += side
        while bytes.count % 8 != 0 { bytes.append(0) }
        for offset in offsets { for i in 0..<8 { bytes.append(UInt8(offset >> UInt64(8 * i) & 255)) } }
    }

    /// 64 codes each: k to k + 3 of 16 columns, 4 columns at a time, first k and k + 1 of each, then k + 2 and k + 3.
    private static func twins(_ weights: Matrix, _ matrix: Int, _ panel: Int, _ chunk: Int) -> [[UInt16]] {
        let end = min(chunk * 256 + 256, (weights.k + 31) / 32 * 32)
        return stride(from: chunk * 256, to: end, by: 4).map { k in
            var codes: [UInt16] = []
            for quarter in 0..<4 {
                for row in 0..<2 {
                    for column in 0..<4 {
                        for i in 0..<2 {
                            let n = panel * 16 + quarter * 4 + column, at = k + row * 2 + i
                            codes.append(n < weights.n && at < weights.k ? weights.code(matrix * weights.n + n, at) : 0)
                        }
                    }
                }
            }
            return codes
        }
    }

    private mutating func add(_ twins: [[UInt16]], _ sparse: Bool) {
        let exponents = twins.joined().map { Int($0 >> 7 & 255) }
        var counts: [Int: Int] = [:]
        for exponent in exponents where exponent != 0 { counts[exponent, default: 0] += 1 }
        let chosen = counts.sorted { $0.value != $1.value ? $0.value > $1.value : $0.key < $1.key }.prefix(15)
        let table = [0] + chosen.map { $0.key }.sorted()
        let exceptions = exponents.enumerated().filter { !table.contains($0.element) }
        offsets.append(UInt64(bytes.count) | UInt64(exceptions.count) << 48)
        side += (table + [Int](repeating: 0, count: 16 - table.count)).map { UInt8($0) }
        for (place, exponent) in exceptions { bytes += [UInt8(exponent), UInt8(place & 255), UInt8(place >> 8), 0] }
        for first in stride(from: 0, to: twins.count, by: 2) {
            let kept = twins[first..<first + 2].map { $0.filter { $0 != 0 || !sparse } }
            for code in kept.joined() { bytes.append(UInt8(code & 127) << 1 | UInt8(code >> 15)) }
            let codes = kept.map { $0.map { UInt8(table.firstIndex(of: Int($0 >> 7 & 255)) ?? 0) } }
            for i in 0..<max(codes[0].count, codes[1].count) {
                bytes.append((i < codes[0].count ? codes[0][i] : 0) | (i < codes[1].count ? codes[1][i] << 4 : 0))
            }
            for twin in twins[first..<first + 2] {
                for byte in 0..<8 {
                    bitmap.append((0..<8).reduce(0) { $0 | (twin[byte * 8 + $1] != 0 ? 1 << UInt8($1) : 0) })
                }
            }
        }
    }
}
