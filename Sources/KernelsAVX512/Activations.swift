import CKernelABI
import CInstructions

/// Calls body with the address of 16 vectors' worth of K at a time: token, K-block, where the row goes and where its
/// floats are (nil for a token that is only padding).
@inline(__always)
private func eachRow(_ args: sx_activation_args, _ body: (_ token: Int, _ kblock: Int, _ row: Int) -> Void) {
    var item = Int(args.item_begin)
    while item < Int(args.item_end) {
        let slab = item / Int(args.rows), token = item % Int(args.rows)
        var kblock = slab * 16
        let end = min(kblock + 16, Int(args.kblocks))
        let tileRows = min(16, Int(args.rows) - (token & ~15))
        var row = Int(sx_activation_row(args.rows, args.kblocks, Int64(kblock), Int64(token)))
        while kblock < end {
            body(token, kblock, row)
            row += tileRows
            kblock += 1
        }
        item += 1
    }
}

/// 16 floats from k on; what lies outside the matrix is zero and is not read.
@inline(__always)
private func floats(_ args: sx_activation_args, _ token: Int, _ k: Int) -> __m512 {
    let left = token < Int(args.m) ? Int(args.k) - k : 0
    if left >= 16 { return sx_load_ps(args.x + (token * Int(args.ldx) + k)) }
    if left <= 0 { return sx_zero_ps() }
    return sx_mask_load_ps(UInt16(truncatingIfNeeded: (1 << left) - 1), args.x + (token * Int(args.ldx) + k))
}

@c(sx_avx512_activation_bf16) @implementation
public func sx_avx512_activation_bf16(_ pointer: UnsafePointer<sx_activation_args>) {
    sx_unwind_tables()
    let args = pointer.pointee
    eachRow(args) { token, kblock, row in
        let low = floats(args, token, kblock * 32), high = floats(args, token, kblock * 32 + 16)
        sx_store(args.a + row * 64, sx_bf16_pack(high, low))
    }
}

@c(sx_avx512_activation_f32) @implementation
public func sx_avx512_activation_f32(_ pointer: UnsafePointer<sx_activation_args>) {
    let args = pointer.pointee
    eachRow(args) { token, kblock, row in
        sx_store_ps(args.a + row * 128, floats(args, token, kblock * 32))
        sx_store_ps(args.a + (row * 128 + 64), floats(args, token, kblock * 32 + 16))
    }
}

/// What the kernels need of the sum of a part's codes, see sx_activation_args.
@inline(__always)
private func setSum(_ args: sx_activation_args, _ token: Int, _ kblock: Int, _ part: Int, _ parts: Int, _ sum: Int32,
                    _ scale: Float) {
    let index = Int(sx_activation_part(args.rows, args.kblocks, Int64(kblock), Int64(part), Int64(parts), Int64(token)))
    let scaled = scale * Float(sum)
    args.a_sum.unsafelyUnwrapped[index] = args.minimum == 0 ? -args.offset * sum
        : Int32(bitPattern: (args.half_scale != 0 ? sx_round_to_half(scaled) : scaled).bitPattern)
}

@c(sx_avx512_activation_q8) @implementation
public func sx_avx512_activation_q8(_ pointer: UnsafePointer<sx_activation_args>) {
    let args = pointer.pointee
    eachRow(args) { token, kblock, row in
        var half = 0
        while half < 2 {
            let k = kblock * 64 + half * 32
            let lowFloats = floats(args, token, k), highFloats = floats(args, token, k + 16)
            // As integers, so that a NaN is the largest value and spreads.
            let largest = sx_reduce_max32(sx_max32(sx_absolute_bits(lowFloats), sx_absolute_bits(highFloats)))
            let magnitude = Float(bitPattern: largest)
            let inverse = sx_set_ps(largest == 0 ? 0 : 127 / magnitude)
            let lowCodes = sx_clamp_low(sx_round32(sx_mul(lowFloats, inverse)))
            let highCodes = sx_clamp_low(sx_round32(sx_mul(highFloats, inverse)))
            let out = args.a + (row * 64 + half * 32)
            sx_store_saturated8(out, lowCodes)
            sx_store_saturated8(out + 16, highCodes)
            let scale = magnitude / 127
            let index = Int(sx_activation_part(args.rows, args.kblocks, Int64(kblock), Int64(half), 2, Int64(token)))
            args.a_scale.unsafelyUnwrapped[index] = args.half_scale != 0 ? sx_round_to_half(scale) : scale
            let low = sx_reduce_add32(lowCodes), high = sx_reduce_add32(highCodes)
            if args.part_k == 16 {
                setSum(args, token, kblock, half * 2, 4, low, scale)
                setSum(args, token, kblock, half * 2 + 1, 4, high, scale)
            } else {
                setSum(args, token, kblock, half, 2, low + high, scale)
            }
            half += 1
        }
    }
}
