import CKernelABI

// Packing of one head's keys or values of a block, and the proof that what is there can have been packed.

/// Working memory on the stack: of one cell.
private struct Numbers {
    private typealias Eighth = SIMD64<Float>
    private var memory = (Eighth(), Eighth(), Eighth(), Eighth(), Eighth(), Eighth(), Eighth(), Eighth())

    mutating func use(_ body: (UnsafeMutablePointer<Float>) -> Void) {
        withUnsafeMutableBytes(of: &memory) { body($0.baseAddress!.assumingMemoryBound(to: Float.self)) }
    }
}

private func partOf(_ args: sx_kv_pack_args) -> UnsafeMutablePointer<UInt8> {
    args.cache.pointee.packed + Int(args.block) * Int(args.cache.pointee.block_bytes)
        + Int(args.head) * Int(args.cache.pointee.head_bytes)
}

/// The magnitude, as bits, from which on `keep` numbers are at least as large, and how many are larger than it.
private func threshold(_ keys: UnsafePointer<UInt32>, _ dim: Int, _ keep: Int) -> (UInt32, larger: Int) {
    var low: UInt32 = 0, high: UInt32 = 0x7fff_ffff  // at least keep numbers are >= low
    while low < high {
        let middle = low &+ (high &- low) / 2 &+ 1
        var count = 0
        for d in 0..<dim { count &+= keys[d] >= middle ? 1 : 0 }
        if count >= keep { low = middle } else { high = middle &- 1 }
    }
    var larger = 0
    for d in 0..<dim { larger &+= keys[d] > low ? 1 : 0 }
    return (low, larger)
}

/// Marks the bits of the `keep` largest magnitudes of a cell; of equal ones those that come first.
private func mark(_ args: sx_kv_pack_args, _ cell: Int, _ x: UnsafePointer<Float>,
                  _ keys: UnsafeMutablePointer<UInt32>, _ bits: UnsafeMutablePointer<UInt8>) {
    let side = args.side.pointee, dim = Int(side.dim), keep = Int(side.keep)
    for d in 0..<dim { keys[d] = (args.weights == nil ? x[d] : x[d] * args.weights![d]).bitPattern & 0x7fff_ffff }
    let (least, larger) = threshold(keys, dim, keep)
    var equal = keep - larger
    for d in 0..<dim where keys[d] >= least {
        if keys[d] == least {
            if equal == 0 { continue }
            equal -= 1
        }
        let place = Int(sx_kv_place(args.side, Int64(cell), Int64(d)))
        bits[place / 8] |= 1 << UInt8(place % 8)
    }
}

/// The scale of a cell's codes as bfloat16: the largest magnitude / 127, to nearest. NaN if a number is none; 0 if all
/// are so small that the scale would be subnormal.
private func scaleOf(_ x: UnsafePointer<Float>, _ dim: Int) -> UInt16 {
    var most: UInt32 = 0
    for d in 0..<dim { most = max(most, x[d].bitPattern & 0x7fff_ffff) }
    if most >= 0x7f80_0000 { return 0x7fc0 }
    return bf16FromFloat(Float(bitPattern: most) / 127)
}

/// The codes of a cell, or its 16-bit numbers, to where its bits say.
private func place(_ args: sx_kv_pack_args, _ cell: Int, _ x: UnsafePointer<Float>, _ starts: UnsafePointer<UInt32>) {
    let side = args.side.pointee, part = partOf(args), codes = part + Int(side.codes)
    let int8 = side.values == Int32(SX_KV_INT8), sparse = side.bitmap >= 0
    var inverse: Float = 0
    if int8 {
        let scale = floatFromBF16(UnsafeRawPointer(part + Int(side.scales)).loadUnaligned(fromByteOffset: 2 * cell,
                                                                                           as: UInt16.self))
        inverse = scale > 0 ? 1 / scale : 0
    }
    let row = UnsafeRawPointer(sx_kv_row(args.side, args.block, Int64(cell), args.head))
    for d in 0..<Int(side.dim) {
        var index = Int(sx_kv_place(args.side, Int64(cell), Int64(d)))
        if sparse {
            let bits = UnsafeRawPointer(part + Int(side.bitmap)), bit = UInt32(index % 32)
            let word = bits.loadUnaligned(fromByteOffset: index / 32 * 4, as: UInt32.self)
            if word >> bit & 1 == 0 { continue }
            index = Int(starts[index / 32]) + (word & (1 << bit - 1)).nonzeroBitCount
        }
        if int8 {
            let code = max(-127, min(127, inverse == 0 ? 0 : roundToInt32(x[d] * inverse)))
            codes[index] = side.is_values == 0 ? UInt8(128 + code) : UInt8(bitPattern: Int8(code))
        } else {
            UnsafeMutableRawPointer(codes).storeBytes(of: row.loadUnaligned(fromByteOffset: 2 * d, as: UInt16.self),
                                                      toByteOffset: 2 * index, as: UInt16.self)
        }
    }
}

/// Rows may change meanwhile, if they are a host's: the second pass writes where the first one made room.
@c(sx_reference_kv_pack) @implementation
public func sx_reference_kv_pack(_ pointer: UnsafePointer<sx_kv_pack_args>) {
    let args = pointer.pointee, side = args.side.pointee, part = partOf(args)
    let cells = Int(SX_KV_CELLS), words = 2 * Int(side.dim)  // of 32 bits
    var numbers = Numbers(), keys = Numbers(), starts = (Numbers(), Numbers())
    numbers.use { x in
        keys.use { keys in
            let keys = UnsafeMutableRawPointer(keys).assumingMemoryBound(to: UInt32.self)
            let bits = side.bitmap >= 0 ? part + Int(side.bitmap) : nil
            if let bits { bits.update(repeating: 0, count: words * 4) }
            for cell in 0..<cells {
                loadRow(args.side, sx_kv_row(args.side, args.block, Int64(cell), args.head), x)
                if let bits { mark(args, cell, x, keys, bits) }
                if side.values == Int32(SX_KV_INT8) {
                    UnsafeMutableRawPointer(part + Int(side.scales)).storeBytes(
                        of: scaleOf(x, Int(side.dim)), toByteOffset: 2 * cell, as: UInt16.self)
                }
            }
            withUnsafeMutableBytes(of: &starts) {
                let starts = $0.baseAddress!.assumingMemoryBound(to: UInt32.self)
                if let bits {
                    var sum: UInt32 = 0
                    for i in 0..<words {
                        starts[i] = sum
                        let word = UnsafeRawPointer(bits).loadUnaligned(fromByteOffset: 4 * i, as: UInt32.self)
                        sum &+= UInt32(word.nonzeroBitCount)
                    }
                }
                for cell in 0..<cells {
                    loadRow(args.side, sx_kv_row(args.side, args.block, Int64(cell), args.head), x)
                    place(args, cell, x, starts)
                }
            }
        }
    }
}

@c(sx_reference_kv_verify) @implementation
public func sx_reference_kv_verify(_ pointer: UnsafePointer<sx_kv_pack_args>) -> Int32 {
    let args = pointer.pointee, side = args.side.pointee, part = partOf(args)
    for cell in 0..<Int(SX_KV_CELLS) {
        if side.values == Int32(SX_KV_INT8) {
            let scale = UnsafeRawPointer(part + Int(side.scales)).loadUnaligned(fromByteOffset: 2 * cell,
                                                                                as: UInt16.self)
            // Normal numbers, zero and the one NaN.
            guard scale == 0 || scale == 0x7fc0 || (scale >= 0x80 && scale < 0x7f80) else { return 0 }
        }
        if side.bitmap < 0 { continue }
        let bits = part + Int(side.bitmap)
        var kept = 0
        for d in 0..<Int(side.dim) {
            let place = Int(sx_kv_place(args.side, Int64(cell), Int64(d)))
            kept += Int(bits[place / 8] >> UInt8(place % 8) & 1)
        }
        if kept != Int(side.keep) { return 0 }
    }
    // No code is below -127.
    if side.values == Int32(SX_KV_INT8) {
        let codes = part + Int(side.codes), lowest: UInt8 = side.is_values == 0 ? 0 : 0x80
        for i in 0..<Int(SX_KV_CELLS) * Int(side.keep) where codes[i] == lowest { return 0 }
    }
    return 1
}
