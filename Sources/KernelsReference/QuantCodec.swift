import CKernelABI

// Packing and unpacking of quantized types, code by code.

/// One panel and its scratch memory.
private struct Panel {
    let args: sx_codec_args
    let q: sx_quant
    let codes: UnsafeMutablePointer<UInt8>        // of 16 columns x 256 k
    let backgrounds: UnsafeMutablePointer<UInt8>  // of 16 columns x 16 parts at most
    let kept: UnsafeMutablePointer<Int>           // per block

    init(_ pointer: UnsafePointer<sx_codec_args>) {
        args = pointer.pointee
        q = sx_quant_of(args.type)
        codes = args.scratch!
        backgrounds = codes + 4096
        kept = UnsafeMutableRawPointer(backgrounds + 256).assumingMemoryBound(to: Int.self)
    }

    var chunks: Int { (Int(args.kblocks) + 3) / 4 }
    var parts: Int { 32 / Int(q.part_k) }

    /// Blocks of 32 of a chunk: as packed (even), and as the file has them.
    func blocks(_ chunk: Int) -> Int { min(4, Int(args.kblocks) - chunk * 4) * 2 }
    func fileBlocks(_ chunk: Int) -> Int { min(8, Int(args.k) / 32 - chunk * 8) }

    func file(_ column: Int, _ chunk: Int) -> UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(args.file + (column * Int(args.row_stride) + chunk * chunkBytes(q)))
    }

    func side(_ chunk: Int) -> UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(args.side! + chunk * 4 * Int(q.side_bytes))
    }

    /// Reads a chunk's codes; what is only padding becomes background, or 0 where the background is found by counting.
    /// Then the backgrounds, which only sparse tensors have.
    func read(_ chunk: Int, sparse: Bool) {
        codes.update(repeating: UInt8(truncatingIfNeeded: max(q.background, 0)), count: 4096)
        var column = 0
        while column < Int(args.rows) {
            readChunk(q.type, file(column, chunk), fileBlocks(chunk), codes + column * 256)
            column += 1
        }
        var place = 0
        while sparse && place < 256 {
            if place % 16 < 8 * parts { backgrounds[place] = background(place / 16, place % 16) }
            place += 1
        }
    }

    /// The code of one place of a chunk in stored order.
    func code(_ block: Int, _ i: Int) -> UInt8 { codes[i % 64 / 4 * 256 + block * 32 + i / 64 * 4 + i % 4] }

    /// The background of a column's part: the type's, or its most frequent code (the lowest of several).
    func background(_ column: Int, _ part: Int) -> UInt8 {
        if q.background >= 0 { return UInt8(truncatingIfNeeded: q.background) }
        let first = codes + (column * 256 + part * Int(q.part_k))
        var best: UInt8 = 0, most = -1
        var candidate: UInt8 = 0
        while candidate < 1 << UInt8(q.low_bits + q.high_bits) {
            var count = 0, i = 0
            while i < Int(q.part_k) {
                if first[i] == candidate { count += 1 }
                i += 1
            }
            if count > most {
                most = count
                best = candidate
            }
            candidate += 1
        }
        return best
    }

    func keeps(_ block: Int, _ i: Int) -> Bool {
        code(block, i) != backgrounds[i % 64 / 4 * 16 + (block * parts + i / 64 * 4 / Int(q.part_k))]
    }
}

/// How many bytes the fullest plane needs.
private func planeBytes(_ bits: Int32, _ counts: UnsafePointer<Int>, _ blocks: Int) -> Int {
    if bits == 0 { return 0 }
    let planes = 8 / Int(bits)
    var most = 0, plane = 0
    while plane < planes {
        var sum = 0, block = plane
        while block < blocks {
            sum += counts[block]
            block += planes
        }
        most = max(most, sum)
        plane += 1
    }
    return most
}

@c(sx_reference_quant_count) @implementation
public func sx_reference_quant_count(_ pointer: UnsafePointer<sx_codec_args>) {
    let panel = Panel(pointer), args = panel.args, counts = panel.kept
    var chunk = 0
    while chunk < panel.chunks {
        panel.read(chunk, sparse: true)
        var block = 0
        while block < panel.blocks(chunk) {
            counts[block] = 0
            var i = 0
            while i < 512 {
                if panel.keeps(block, i) { counts[block] += 1 }
                i += 1
            }
            args.kept![0] += UInt64(counts[block])
            block += 1
        }
        let low = planeBytes(panel.q.low_bits, counts, block), high = planeBytes(panel.q.high_bits, counts, block)
        args.counts![chunk] = UInt64(low + high) | UInt64(low) << 48
        chunk += 1
    }
}

/// Adds a code's bits to its plane.
private func put(_ q: sx_quant, _ block: Int, _ code: UInt8, low: UnsafeMutablePointer<UInt8>,
                 high: UnsafeMutablePointer<UInt8>) {
    let lowShift = UInt8(truncatingIfNeeded: block % (8 / Int(q.low_bits)) * Int(q.low_bits))
    let mask = UInt8(truncatingIfNeeded: (1 << Int(q.low_bits)) - 1)
    low[0] |= (code & mask) << lowShift
    if q.high_bits > 0 {
        let shift = UInt8(truncatingIfNeeded: block % (8 / Int(q.high_bits)) * Int(q.high_bits))
        high[0] |= (code >> UInt8(q.low_bits)) << shift
    }
}

@c(sx_reference_quant_pack_dense) @implementation
public func sx_reference_quant_pack_dense(_ pointer: UnsafePointer<sx_codec_args>) { encode(pointer, sparse: false) }

@c(sx_reference_quant_pack_sparse) @implementation
public func sx_reference_quant_pack_sparse(_ pointer: UnsafePointer<sx_codec_args>) { encode(pointer, sparse: true) }

private func encode(_ pointer: UnsafePointer<sx_codec_args>, sparse: Bool) {
    let panel = Panel(pointer), args = panel.args, q = panel.q, at = panel.kept
    var values = args.values
    var chunk = 0
    while chunk < panel.chunks {
        let blocks = panel.blocks(chunk)
        panel.read(chunk, sparse: sparse)
        let side = panel.side(chunk)
        side.initializeMemory(as: UInt8.self, repeating: 0, count: blocks / 2 * Int(q.side_bytes))
        var column = 0
        while column < Int(args.rows) {
            readSides(q.type, panel.file(column, chunk), panel.fileBlocks(chunk), side, column)
            var part = 0
            while sparse && q.background < 0 && part < panel.fileBlocks(chunk) * panel.parts {
                setBackground(q, side, part, column, panel.backgrounds[column * 16 + part])
                part += 1
            }
            column += 1
        }
        var lowBytes = Int(sx_plane_bytes(q.low_bits, Int64(blocks)))
        var all = lowBytes + Int(sx_plane_bytes(q.high_bits, Int64(blocks)))
        if sparse {
            lowBytes = Int(sx_offset_low(args.offsets![chunk]))
            all = Int(sx_offset_bytes(args.offsets![chunk + 1]) - sx_offset_bytes(args.offsets![chunk]))
        }
        values.update(repeating: 0, count: all)
        var block = 0
        while block < blocks {
            var low = 0, high = 0, earlier = block - 8 / Int(q.low_bits)
            while earlier >= 0 {
                low += at[earlier]
                earlier -= 8 / Int(q.low_bits)
            }
            earlier = q.high_bits == 0 ? -1 : block - 8 / Int(q.high_bits)
            while earlier >= 0 {
                high += at[earlier]
                earlier -= 8 / Int(q.high_bits)
            }
            var count = 0, i = 0
            while i < 512 {
                let mask = sparse ? args.bitmap! + (chunk * 512 + block * 64 + i / 8) : nil
                if let mask, i % 8 == 0 { mask[0] = 0 }
                if !sparse || panel.keeps(block, i) {
                    if let mask { mask[0] |= 1 << UInt8(truncatingIfNeeded: i % 8) }
                    if low + count < lowBytes && (q.high_bits == 0 || lowBytes + high + count < all) {
                        put(q, block, panel.code(block, i), low: values + (low + count),
                            high: values + (lowBytes + high + count))
                    } else if sparse {
                        args.changed![0] = 1
                    }
                    count += 1
                }
                i += 1
            }
            at[block] = count
            if sparse { args.kept![0] += UInt64(count) }
            block += 1
        }
        if sparse && (planeBytes(q.low_bits, at, blocks) != lowBytes
                      || planeBytes(q.high_bits, at, blocks) != all - lowBytes) {
            args.changed![0] = 1
        }
        values += all
        chunk += 1
    }
}

@c(sx_reference_quant_unpack_dense) @implementation
public func sx_reference_quant_unpack_dense(_ pointer: UnsafePointer<sx_codec_args>) { decode(pointer, sparse: false) }

@c(sx_reference_quant_unpack_sparse) @implementation
public func sx_reference_quant_unpack_sparse(_ pointer: UnsafePointer<sx_codec_args>) { decode(pointer, sparse: true) }

private func decode(_ pointer: UnsafePointer<sx_codec_args>, sparse: Bool) {
    let panel = Panel(pointer), args = panel.args, q = panel.q
    var chunk = 0
    while chunk < panel.chunks {
        var start = args.values, lowBytes = 0
        if sparse {
            start += Int(sx_offset_bytes(args.offsets![chunk]) - sx_offset_bytes(args.offsets![0]))
            lowBytes = Int(sx_offset_low(args.offsets![chunk]))
        }
        let packed = QuantChunk(q, chunk: chunk, kblocks: Int(args.kblocks), values: start, lowBytes: lowBytes,
                                bitmap: sparse ? UnsafePointer(args.bitmap!) : nil, side: args.side!)
        packed.each { block, row, index, code in
            panel.codes[index / 4 * 256 + block * 32 + row * 4 + index % 4] = code
        }
        var column = 0
        while column < Int(args.rows) {
            writeChunk(q.type, panel.file(column, chunk), panel.fileBlocks(chunk), panel.codes + column * 256)
            writeSides(q.type, panel.file(column, chunk), panel.fileBlocks(chunk), panel.side(chunk), column)
            column += 1
        }
        chunk += 1
    }
}
