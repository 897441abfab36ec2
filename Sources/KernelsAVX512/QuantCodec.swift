import CKernelABI
import CTileShims

// Packing and unpacking of one panel of a quantized type, a chunk of 256 k at a time: the file's blocks to one byte per
// code, transposed to the stored order; then what is kept of each block goes behind its plane's last code, and the
// planes are merged bit by bit into the two parts of the chunk's values.

/// A panel and the scratch memory of its thread.
private struct Panel {
    let args: sx_codec_args
    let q: sx_quant
    let natural: UnsafeMutableRawPointer      // codes of 16 columns x 256 k
    let ordered: UnsafeMutableRawPointer      // the same in stored order: 8 blocks of 8 rows of 64
    let backgrounds: UnsafeMutableRawPointer  // per part 64 bytes: each column's background four times
    let lows, highs: UnsafeMutableRawPointer  // planes being filled

    @inline(__always)
    init(_ pointer: UnsafePointer<sx_codec_args>) {
        args = pointer.pointee
        q = sx_quant_of(args.type)
        natural = UnsafeMutableRawPointer(args.scratch.unsafelyUnwrapped)
        ordered = natural + 4096
        backgrounds = ordered + 4096
        lows = backgrounds + 1024
        highs = lows + 5120
    }

    var chunks: Int { (Int(args.kblocks) + 3) / 4 }
    var parts: Int { 32 / Int(q.sub) }

    /// Blocks of 32 of a chunk: as packed (even), and as the file has them.
    func blocks(_ chunk: Int) -> Int { min(4, Int(args.kblocks) - chunk * 4) * 2 }
    func fileBlocks(_ chunk: Int) -> Int { min(8, Int(args.k) / 32 - chunk * 8) }

    func file(_ column: Int, _ chunk: Int) -> UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(args.source + (column * Int(args.row_stride) + chunk * chunkBytes(q)))
    }

    func side(_ chunk: Int) -> UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(args.scales.unsafelyUnwrapped + chunk * 4 * Int(q.side_bytes))
    }

    /// Reads a chunk. What is only padding becomes background, or 0 where the background is found by counting.
    func read(_ chunk: Int) {
        let present = fileBlocks(chunk), padding = UInt8(truncatingIfNeeded: max(q.background, 0))
        if Int(args.rows) < 16 || present < blocks(chunk) { natural.initializeMemory(as: UInt8.self, repeating: padding, count: 4096) }
        var column = 0
        while column < Int(args.rows) {
            let from = file(column, chunk)
            prefetchBlocks(UnsafeRawPointer(from) + chunkBytes(q), chunkBytes(q))
            readChunk(q.type, from, present, natural.assumingMemoryBound(to: UInt8.self) + column * 256)
            column += 1
        }
        var kblock = 0
        while kblock * 2 < blocks(chunk) {
            var rows = Rows { sx_load(natural + ($0 * 256 + kblock * 64)) }
            rows.transpose()
            rows.each { index, codes in sx_store(ordered + (kblock * 1024 + index * 64), codes) }
            kblock += 1
        }
    }

    /// Finds the background of every part.
    func findBackgrounds(_ chunk: Int) {
        let count = blocks(chunk) * parts
        var part = 0
        while part < count {
            sx_store(backgrounds + part * 64, background(part))
            part += 1
        }
    }

    /// The type's background, or per column the most frequent code of a part (the lowest of several).
    private func background(_ part: Int) -> __m512i {
        if q.background >= 0 { return sx_set8(Int8(truncatingIfNeeded: q.background)) }
        let rows = Int(q.sub) / 4, first = ordered + part * rows * 64
        var best = sx_set32(0), most = sx_set32(-1)
        var code: Int32 = 0
        while code < 1 << (q.low_bits + q.high_bits) {
            let candidate = sx_set8(Int8(truncatingIfNeeded: code)), one = sx_set8(1)
            var minus = sx_zero(), row = 0
            while row < rows {
                minus = sx_mask_sub8(minus, sx_equals8(sx_load(first + row * 64), candidate), sx_set8(-1))
                row += 1
            }
            let count = sx_dpbusd(sx_zero(), minus, one)
            let more = sx_greater32(count, most)
            most = sx_choose32(more, count, most)
            best = sx_choose32(more, sx_set32(code), best)
            code += 1
        }
        return sx_four_times(best)
    }

    /// What differs from the background in row 0...7 of a block.
    @inline(__always)
    func kept(_ block: Int, _ row: Int, _ codes: __m512i) -> UInt64 {
        sx_differs8(codes, sx_load(backgrounds + (block * parts + row * 4 / Int(q.sub)) * 64))
    }
}

@inline(__always)
private func prefetchBlocks(_ from: UnsafeRawPointer, _ bytes: Int) {
    var offset = 0
    while offset < bytes {
        sx_prefetch(from + offset)
        offset += 64
    }
}

/// How many bytes the fullest plane needs.
@inline(__always)
private func fullest(_ bits: Int32, _ counts: (Int) -> Int) -> Int {
    if bits == 0 { return 0 }
    let planes = 8 / Int(bits)
    var most = 0, plane = 0
    while plane < planes {
        var sum = 0, block = plane
        while block < 8 {
            sum += counts(block)
            block += planes
        }
        most = max(most, sum)
        plane += 1
    }
    return most
}

@c(sx_avx512_quant_count) @implementation
public func sx_avx512_quant_count(_ pointer: UnsafePointer<sx_codec_args>) {
    sx_unwind_tables()
    let panel = Panel(pointer), args = panel.args
    let counts = panel.lows.assumingMemoryBound(to: Int.self)
    var total = 0, chunk = 0
    while chunk < panel.chunks {
        panel.read(chunk)
        panel.findBackgrounds(chunk)
        let blocks = panel.blocks(chunk)
        var block = 0
        while block < 8 {
            var count = 0, row = 0
            while row < 8 && block < blocks {
                count += panel.kept(block, row, sx_load(panel.ordered + (block * 512 + row * 64))).nonzeroBitCount
                row += 1
            }
            counts[block] = count
            total += count
            block += 1
        }
        let low = fullest(panel.q.low_bits) { counts[$0] }, high = fullest(panel.q.high_bits) { counts[$0] }
        args.counts.unsafelyUnwrapped[chunk] = UInt64(low + high) | UInt64(low) << 48
        chunk += 1
    }
    args.kept.unsafelyUnwrapped[0] += UInt64(total)
}

/// Room of one plane that is being filled: what it may hold, and a vector more on either occasion of overshooting.
@inline(__always)
private func pitch(_ bits: Int32) -> Int { 512 * Int(bits) + 128 }

/// Merges planes of `bits` bits, `pitch` bytes apart, taken from bit `shift` of each code, to `count` bytes.
@inline(__always)
private func merge(_ bits: Int32, shift: Int32, _ planes: UnsafeRawPointer, _ pitch: Int, _ out: UnsafeMutableRawPointer, _ count: Int) {
    var done = 0
    while done < count {
        var merged = sx_zero()
        var plane: Int32 = 0
        while plane < 8 / bits {
            let codes = sx_load(planes + (Int(plane) * pitch + done))
            if bits == 8 {
                merged = codes
            } else {
                let mask = sx_set8(Int8(truncatingIfNeeded: ((1 << bits) - 1) << shift))
                let at = plane * bits
                let field = sx_and(codes, mask)
                merged = sx_or(merged, at >= shift ? sx_up16(field, at - shift) : sx_down16(field, shift - at))
            }
            plane += 1
        }
        let left = count - done
        if left >= 64 { sx_store(out + done, merged) } else { sx_mask_store8(out + done, (1 << UInt64(left)) - 1, merged) }
        done += 64
    }
}

private func encode(sparse: Bool, _ pointer: UnsafePointer<sx_codec_args>) {
    let panel = Panel(pointer), args = panel.args, q = panel.q
    var values = UnsafeMutableRawPointer(args.values)
    var mask = args.bitmap.map { UnsafeMutableRawPointer($0) } ?? values
    var chunk = 0
    while chunk < panel.chunks {
        let blocks = panel.blocks(chunk)
        panel.read(chunk)
        panel.findBackgrounds(chunk)
        encodeSide(panel, chunk, sparse: sparse)
        var lowBytes = Int(sx_plane_bytes(q.low_bits, Int64(blocks)))
        var highBytes = Int(sx_plane_bytes(q.high_bits, Int64(blocks)))
        if sparse {
            let offsets = args.offsets.unsafelyUnwrapped
            lowBytes = Int(sx_offset_low(offsets[chunk]))
            highBytes = Int(sx_offset_bytes(offsets[chunk + 1]) - sx_offset_bytes(offsets[chunk])) - lowBytes
            if !fillPlanes(panel, blocks, &mask, lowBytes, highBytes) { args.changed.unsafelyUnwrapped[0] = 1 }
            merge(q.low_bits, shift: 0, panel.lows, pitch(q.low_bits), values, lowBytes)
            if highBytes > 0 { merge(q.high_bits, shift: q.low_bits, panel.highs, pitch(q.high_bits), values + lowBytes, highBytes) }
        } else {
            // Blocks lie where planes would: 512 bytes each.
            (panel.ordered + blocks * 512).initializeMemory(as: UInt8.self, repeating: 0, count: (8 - blocks) * 512)
            mergeBlocks(q.low_bits, shift: 0, panel.ordered, values, lowBytes)
            if highBytes > 0 { mergeBlocks(q.high_bits, shift: q.low_bits, panel.ordered, values + lowBytes, highBytes) }
        }
        values += lowBytes + highBytes
        chunk += 1
    }
}

@inline(__always)
private func mergeBlocks(_ bits: Int32, shift: Int32, _ blocks: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ bytes: Int) {
    var done = 0
    while done < bytes {
        merge(bits, shift: shift, blocks + done * (8 / Int(bits)), 512, out + done, 512)
        done += 512
    }
}

/// Scales, minimums and backgrounds of a chunk.
private func encodeSide(_ panel: Panel, _ chunk: Int, sparse: Bool) {
    let q = panel.q, side = panel.side(chunk), present = panel.fileBlocks(chunk)
    side.initializeMemory(as: UInt8.self, repeating: 0, count: panel.blocks(chunk) / 2 * Int(q.side_bytes))
    var column = 0
    while column < Int(panel.args.rows) {
        readSides(q.type, panel.file(column, chunk), present, side, column)
        var part = 0
        while sparse && q.background < 0 && part < present * panel.parts {
            setBackground(q, side, part, column, panel.backgrounds.load(fromByteOffset: part * 64 + column * 4, as: UInt8.self))
            part += 1
        }
        column += 1
    }
}

/// Writes a chunk's masks and puts what is kept of every block behind what its planes hold. false: that is not what was
/// counted. The planes have room for whatever the source became.
private func fillPlanes(_ panel: Panel, _ blocks: Int, _ mask: inout UnsafeMutableRawPointer, _ lowBytes: Int, _ highBytes: Int) -> Bool {
    let q = panel.q
    let lowPlanes = 8 / Int(q.low_bits), highPlanes = q.high_bits == 0 ? 1 : 8 / Int(q.high_bits)
    // What is not filled is zero in the merged bytes.
    zeroPlanes(panel.lows, lowPlanes, pitch(q.low_bits), lowBytes)
    if highBytes > 0 { zeroPlanes(panel.highs, highPlanes, pitch(q.high_bits), highBytes) }
    var plane = 0, fullestLow = 0, fullestHigh = 0, kept = 0
    while plane < lowPlanes {
        let first = panel.lows + plane * pitch(q.low_bits)
        var out = first
        var block = plane
        while block < blocks {
            out = compress(panel, block, mask, out)
            block += lowPlanes
        }
        zeroBehind(out)
        kept += out - first
        fullestLow = max(fullestLow, out - first)
        plane += 1
    }
    plane = 0
    while q.high_bits > 0 && plane < highPlanes {
        let first = panel.highs + plane * pitch(q.high_bits)
        var out = first
        var block = plane
        while block < blocks {
            out = compress(panel, block, mask, out)
            block += highPlanes
        }
        zeroBehind(out)
        fullestHigh = max(fullestHigh, out - first)
        plane += 1
    }
    mask += blocks * 64
    panel.args.kept.unsafelyUnwrapped[0] += UInt64(kept)
    return fullestLow == lowBytes && fullestHigh == highBytes
}

private func zeroPlanes(_ planes: UnsafeMutableRawPointer, _ count: Int, _ pitch: Int, _ bytes: Int) {
    var plane = 0
    while plane < count {
        (planes + plane * pitch).initializeMemory(as: UInt8.self, repeating: 0, count: bytes + 64)
        plane += 1
    }
}

/// A store of a whole vector leaves something behind the last code.
@inline(__always)
private func zeroBehind(_ end: UnsafeMutableRawPointer) { sx_store(end, sx_zero()) }

/// Appends what is kept of a block and writes its masks.
@inline(__always)
private func compress(_ panel: Panel, _ block: Int, _ mask: UnsafeMutableRawPointer, _ out: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    var out = out
    var row = 0
    while row < 8 {
        let codes = sx_load(panel.ordered + (block * 512 + row * 64)), bits = panel.kept(block, row, codes)
        mask.storeBytes(of: bits, toByteOffset: block * 64 + row * 8, as: UInt64.self)
        sx_store(out, sx_compress8(bits, codes))
        out += bits.nonzeroBitCount
        row += 1
    }
    return out
}

private func decode(sparse: Bool, _ pointer: UnsafePointer<sx_codec_args>) {
    let panel = Panel(pointer), args = panel.args, q = panel.q
    var mask = (args.bitmap.map { UnsafeRawPointer($0) } ?? UnsafeRawPointer(args.values)).assumingMemoryBound(to: UInt64.self)
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
private func readPlanes(_ panel: Panel, _ mask: UnsafePointer<UInt64>?, _ low: UnsafeRawPointer, _ high: UnsafeRawPointer,
                        _ side: UnsafeRawPointer, _ blocks: Int) {
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
                codes = sx_expand8(backgroundCodes(q, side, block * panel.parts + row * 4 / Int(q.sub)), bits, codes)
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
    q.background >= 0 ? sx_set8(Int8(truncatingIfNeeded: q.background)) : quantBackground(q, side, part, sixteenfold: false)
}

/// Puts a chunk's codes and side information back into the file's blocks.
private func write(_ panel: Panel, _ chunk: Int) {
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
        writeChunk(panel.q.type, panel.file(column, chunk), present, panel.natural.assumingMemoryBound(to: UInt8.self) + column * 256)
        writeSides(panel.q.type, panel.file(column, chunk), present, panel.side(chunk), column)
        column += 1
    }
}

@c(sx_avx512_quant_encode_dense) @implementation
public func sx_avx512_quant_encode_dense(_ args: UnsafePointer<sx_codec_args>) { encode(sparse: false, args) }

@c(sx_avx512_quant_encode_sparse) @implementation
public func sx_avx512_quant_encode_sparse(_ args: UnsafePointer<sx_codec_args>) { encode(sparse: true, args) }

@c(sx_avx512_quant_decode_dense) @implementation
public func sx_avx512_quant_decode_dense(_ args: UnsafePointer<sx_codec_args>) { decode(sparse: false, args) }

@c(sx_avx512_quant_decode_sparse) @implementation
public func sx_avx512_quant_decode_sparse(_ args: UnsafePointer<sx_codec_args>) { decode(sparse: true, args) }
