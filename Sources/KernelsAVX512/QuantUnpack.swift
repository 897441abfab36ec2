import CKernelABI
import CInstructions

// Unpacking: planes to one byte per code in the stored order, and those to the file's blocks.

private func unpack(sparse: Bool, _ pointer: UnsafePointer<sx_codec_args>) {
    let panel = QuantPanel(pointer), args = panel.args, q = panel.q
    var mask = (args.bitmap.map { UnsafeRawPointer($0) } ?? UnsafeRawPointer(args.values))
        .assumingMemoryBound(to: UInt64.self)
    var chunk = 0
    while chunk < panel.chunks {
        let blocks = panel.blocks(chunk)
        var low = UnsafeRawPointer(args.values) + chunk * 512 * Int(q.low_bits + q.high_bits)
        var high = low + Int(sx_plane_bytes(q.low_bits, Int64(blocks)))
        if sparse {
            let offsets = args.offsets.unsafelyUnwrapped
            low = UnsafeRawPointer(args.values) + Int(sx_offset_bytes(offsets[chunk]) - sx_offset_bytes(offsets[0]))
            high = low + Int(sx_offset_low(offsets[chunk]))
        }
        readPlanes(panel, sparse ? mask : nil, low, high, UnsafeRawPointer(panel.side(chunk)), blocks)
        mask += blocks * 8
        write(panel, chunk)
        chunk += 1
    }
}

/// One byte per code again, in stored order.
private func readPlanes(_ panel: QuantPanel, _ mask: UnsafePointer<UInt64>?,
                        _ low: UnsafeRawPointer, _ high: UnsafeRawPointer, _ side: UnsafeRawPointer, _ blocks: Int) {
    let q = panel.q, taken = panel.lows.assumingMemoryBound(to: Int.self)
    let lowMask = sx_set8(Int8(truncatingIfNeeded: (1 << q.low_bits) - 1))
    let highMask = sx_set8(Int8(truncatingIfNeeded: ((1 << q.high_bits) - 1) << q.low_bits))
    var block = 0
    while block < blocks {
        let lowPlanes = 8 / Int(q.low_bits), highPlanes = q.high_bits == 0 ? 8 : 8 / Int(q.high_bits)
        var lowAt = low + before(block, lowPlanes, taken), highAt = high + before(block, highPlanes, taken)
        let lowShift = Int32(truncatingIfNeeded: block % lowPlanes) * q.low_bits
        let highShift = Int32(truncatingIfNeeded: block % highPlanes) * q.high_bits - q.low_bits
        var count = 0, row = 0
        while row < 8 {
            var codes = sx_and(sx_down16(sx_load(lowAt), lowShift), lowMask)
            if q.high_bits > 0 {
                let field = sx_load(highAt)
                let moved = highShift >= 0 ? sx_down16(field, highShift) : sx_up16(field, -highShift)
                codes = sx_or(codes, sx_and(moved, highMask))
            }
            var present = 64
            if let mask {
                let bits = mask[block * 8 + row]
                present = bits.nonzeroBitCount
                codes = sx_expand8(backgroundCodes(q, side, block * panel.parts + row * 4 / Int(q.part_k)), bits, codes)
            }
            sx_store(panel.ordered + (block * 512 + row * 64), codes)
            lowAt += present
            highAt += q.high_bits > 0 ? present : 0
            count += present
            row += 1
        }
        taken[block] = count
        block += 1
    }
}

/// Codes of the plane that stand before this block's.
@inline(__always)
private func before(_ block: Int, _ planes: Int, _ taken: UnsafePointer<Int>) -> Int {
    var sum = 0, earlier = block - planes
    while earlier >= 0 {
        sum += taken[earlier]
        earlier -= planes
    }
    return sum
}

@inline(__always)
private func backgroundCodes(_ q: sx_quant, _ side: UnsafeRawPointer, _ part: Int) -> __m512i {
    q.background >= 0
        ? sx_set8(Int8(truncatingIfNeeded: q.background))
        : quantBackground(q, side, part, sixteenfold: false)
}

/// Puts a chunk's codes and side information back into the file's blocks.
private func write(_ panel: QuantPanel, _ chunk: Int) {
    var kblock = 0
    while kblock * 2 < panel.blocks(chunk) {
        var rows = Rows { sx_load(panel.ordered + (kblock * 1024 + $0 * 64)) }
        rows.transpose()
        rows.each { column, codes in sx_store(panel.natural + (column * 256 + kblock * 64), codes) }
        kblock += 1
    }
    let present = panel.fileBlocks(chunk)
    var column = 0
    while column < Int(panel.args.rows) {
        writeChunk(panel.q.type, panel.file(column, chunk), present,
                   panel.natural.assumingMemoryBound(to: UInt8.self) + column * 256)
        writeSides(panel.q.type, panel.file(column, chunk), present, panel.side(chunk), column)
        column += 1
    }
}

@c(sx_avx512_quant_unpack_dense) @implementation
public func sx_avx512_quant_unpack_dense(_ args: UnsafePointer<sx_codec_args>) {
    sx_unwind_tables()
    unpack(sparse: false, args)
}

@c(sx_avx512_quant_unpack_sparse) @implementation
public func sx_avx512_quant_unpack_sparse(_ args: UnsafePointer<sx_codec_args>) { unpack(sparse: true, args) }
