import CKernelABI
import CInstructions

// Packing: what is kept of each block goes behind its plane's last code, and the planes are merged bit by bit into the
// two parts of the chunk's values.

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
    let panel = QuantPanel(pointer), args = panel.args
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
private func merge(_ bits: Int32, shift: Int32, _ planes: UnsafeRawPointer, _ pitch: Int,
                   _ out: UnsafeMutableRawPointer, _ count: Int) {
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
        if left >= 64 {
            sx_store(out + done, merged)
        } else {
            sx_mask_store8(out + done, (1 << UInt64(left)) - 1, merged)
        }
        done += 64
    }
}

private func pack(sparse: Bool, _ pointer: UnsafePointer<sx_codec_args>) {
    let panel = QuantPanel(pointer), args = panel.args, q = panel.q
    var values = UnsafeMutableRawPointer(args.values)
    var mask = args.bitmap.map { UnsafeMutableRawPointer($0) } ?? values
    var chunk = 0
    while chunk < panel.chunks {
        let blocks = panel.blocks(chunk)
        panel.read(chunk)
        panel.findBackgrounds(chunk)
        packSide(panel, chunk, sparse: sparse)
        var lowBytes = Int(sx_plane_bytes(q.low_bits, Int64(blocks)))
        var highBytes = Int(sx_plane_bytes(q.high_bits, Int64(blocks)))
        if sparse {
            let offsets = args.offsets.unsafelyUnwrapped
            lowBytes = Int(sx_offset_low(offsets[chunk]))
            highBytes = Int(sx_offset_bytes(offsets[chunk + 1]) - sx_offset_bytes(offsets[chunk])) - lowBytes
            if !fillPlanes(panel, blocks, &mask, lowBytes, highBytes) { args.changed.unsafelyUnwrapped[0] = 1 }
            merge(q.low_bits, shift: 0, panel.lows, pitch(q.low_bits), values, lowBytes)
            if highBytes > 0 {
                merge(q.high_bits, shift: q.low_bits, panel.highs, pitch(q.high_bits), values + lowBytes, highBytes)
            }
        } else {
            // Blocks lie where planes would: 512 bytes each.
            (panel.ordered + blocks * 512).initializeMemory(as: UInt8.self, repeating: 0, count: (8 - blocks) * 512)
            mergeBlocks(q.low_bits, shift: 0, panel.ordered, values, lowBytes)
            if highBytes > 0 {
                mergeBlocks(q.high_bits, shift: q.low_bits, panel.ordered, values + lowBytes, highBytes)
            }
        }
        values += lowBytes + highBytes
        chunk += 1
    }
}

@inline(__always)
private func mergeBlocks(_ bits: Int32, shift: Int32, _ blocks: UnsafeRawPointer,
                         _ out: UnsafeMutableRawPointer, _ bytes: Int) {
    var done = 0
    while done < bytes {
        merge(bits, shift: shift, blocks + done * (8 / Int(bits)), 512, out + done, 512)
        done += 512
    }
}

/// Scales, minimums and backgrounds of a chunk.
private func packSide(_ panel: QuantPanel, _ chunk: Int, sparse: Bool) {
    let q = panel.q, side = panel.side(chunk), present = panel.fileBlocks(chunk)
    side.initializeMemory(as: UInt8.self, repeating: 0, count: panel.blocks(chunk) / 2 * Int(q.side_bytes))
    var column = 0
    while column < Int(panel.args.rows) {
        readSides(q.type, panel.file(column, chunk), present, side, column)
        var part = 0
        while sparse && q.background < 0 && part < present * panel.parts {
            setBackground(q, side, part, column,
                          panel.backgrounds.load(fromByteOffset: part * 64 + column * 4, as: UInt8.self))
            part += 1
        }
        column += 1
    }
}

/// Writes a chunk's masks and puts what is kept of every block behind what its planes hold. false: that is not what was
/// counted. The planes have room for whatever the source became.
private func fillPlanes(_ panel: QuantPanel, _ blocks: Int, _ mask: inout UnsafeMutableRawPointer,
                        _ lowBytes: Int, _ highBytes: Int) -> Bool {
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
private func compress(_ panel: QuantPanel, _ block: Int, _ mask: UnsafeMutableRawPointer,
                      _ out: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
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

@c(sx_avx512_quant_pack_dense) @implementation
public func sx_avx512_quant_pack_dense(_ args: UnsafePointer<sx_codec_args>) { pack(sparse: false, args) }

@c(sx_avx512_quant_pack_sparse) @implementation
public func sx_avx512_quant_pack_sparse(_ args: UnsafePointer<sx_codec_args>) { pack(sparse: true, args) }
