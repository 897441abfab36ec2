import CKernelABI
import CInstructions

// Side records (quant.h) in vectors of 16 columns.

/// The background of a part (32 or 16 weights of 16 columns), each column's code four times. part: in the chunk.
@inline(__always)
func quantBackground(_ q: sx_quant, _ side: UnsafeRawPointer, _ part: Int, sixteenfold: Bool) -> __m512i {
    if q.background >= 0 {
        let level = sx_code_level(q.code_levels, q.background)
        return sx_set8(Int8(truncatingIfNeeded: sixteenfold ? level * 16 : level))
    }
    var codes: __m512i
    switch q.side {
    case Int32(SX_SIDE_F16_MIN):
        let record = side + (part * Int(q.side_bytes) / 2 + 64)
        codes = sx_and(sx_down32(sx_widen_twice(record), sx_upper_lanes(4)), sx_set32(15))
        if q.high_bits == 1 {
            codes = sx_or(codes, sx_lanes_of_mask(record.loadUnaligned(fromByteOffset: 8, as: UInt16.self), 16))
        }
    case Int32(SX_SIDE_K32):
        codes = sx_and(sx_widen_u16(side + part * 32), sx_set32(15))
        if q.high_bits == 1 {
            codes = sx_or(codes,
                          sx_lanes_of_mask(side.loadUnaligned(fromByteOffset: 320 + part * 2, as: UInt16.self), 16))
        }
    default:
        codes = sx_and(sx_down32(sx_broadcast32(side + (320 + part * 4)), sx_shifts(2, 16)), sx_set32(3))
    }
    if sixteenfold { codes = sx_half_up(codes) }
    return sx_four_times(codes)
}

/// Scale and minimum of a part, in single precision. The minimum is what is subtracted; only types with
/// offset 0 have one.
@inline(__always)
func quantScale(_ q: sx_quant, _ side: UnsafeRawPointer, _ part: Int) -> (__m512, __m512) {
    switch q.side {
    case Int32(SX_SIDE_F16): return (sx_f16_load(side + part / Int(q.file_block_k / q.part_k) * 32), sx_zero_ps())
    case Int32(SX_SIDE_E8):
        // 2^(e - 128): below 2^-126 a subnormal.
        let e = sx_widen_u8(side + part * 16)
        let normal = sx_up32(sx_sub32(e, sx_set32(1)), sx_set32(23)), small = sx_up32(sx_set32(0x0020_0000), e)
        return (sx_as_float(sx_choose32(sx_greater32(sx_set32(2), e), small, normal)), sx_zero_ps())
    case Int32(SX_SIDE_E4M3):
        // 2^(exponent - 8) * (1 + fraction / 8), without an exponent 2^-10 * fraction; 0x7f is no number in this format
        // and 0 in ggml, which looks at all 8 bits.
        let byte = sx_widen_u8(side + part * 16), e = sx_and(byte, sx_set32(0x7f))
        let normal = sx_as_float(sx_add32(sx_up32(e, sx_set32(20)), sx_set32(119 << 23)))
        let small = sx_mul(sx_float(e), sx_set_ps(0x1p-10))
        let scale = sx_choose32(sx_greater32(sx_set32(8), e), sx_as_integer(small), sx_as_integer(normal))
        return (sx_as_float(sx_choose32(sx_equals32(byte, sx_set32(0x7f)), sx_zero(), scale)), sx_zero_ps())
    case Int32(SX_SIDE_F16_MIN):
        let record = side + part * Int(q.side_bytes) / 2
        return (sx_f16_load(record), sx_sub_ps(sx_zero_ps(), sx_f16_load(record + 32)))
    case Int32(SX_SIDE_K32):
        let entry = sx_widen_u16(side + part * 32)
        let scale = sx_and(sx_down32(entry, sx_set32(4)), sx_set32(63)), minimum = sx_down32(entry, sx_set32(10))
        return (sx_mul(sx_float(scale), sx_f16_load(side + 256)), sx_mul(sx_float(minimum), sx_f16_load(side + 288)))
    case Int32(SX_SIDE_K16_MIN):
        let entry = sx_widen_u8(side + part * 16)
        let scale = sx_and(entry, sx_set32(15)), minimum = sx_down32(entry, sx_set32(4))
        return (sx_mul(sx_float(scale), sx_f16_load(side + 256)), sx_mul(sx_float(minimum), sx_f16_load(side + 288)))
    default:
        let scale = sx_widen_i8(side + part * 16)
        return (sx_mul(sx_float(scale), sx_f16_load(side + (q.part_k == 16 ? 256 : 128))), sx_zero_ps())
    }
}
