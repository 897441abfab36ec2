import CKernelABI
import CInstructions

/// The fused kinds' activation, 16 results at a time; the steps of sx_reference_up_gate.
@c(sx_avx512_up_gate) @implementation
public func sx_avx512_up_gate(_ pointer: UnsafePointer<sx_up_gate_args>) {
    sx_unwind_tables()
    let args = pointer.pointee
    let gelu = args.function == Int32(SX_GELU), cut = args.limit > 0
    let limit = sx_set_ps(args.limit), negative = sx_set_ps(-args.limit), one = sx_set_ps(1)
    var i = 0
    while i < Int(args.count) {
        let left = Int(args.count) - i
        let mask: UInt16 = left >= 16 ? 0xffff : UInt16(truncatingIfNeeded: (1 &<< left) - 1)
        let g = sx_mask_load_ps(mask, args.gate + i)
        var up = sx_mask_load_ps(mask, args.up + i)
        var z = g
        if gelu { z = sx_mul(g, sx_fma(sx_mul(g, g), sx_set_ps(Float(SX_GELU_C2)), sx_set_ps(Float(SX_GELU_C1)))) }
        let t = exponential(sx_absolute(z))
        var value = sx_mul(g, sx_divide(sx_blend_ps(sx_sign_bits(z), one, t), sx_add(one, t)))
        if cut {
            value = sx_min_ps(limit, value)
            up = sx_max_ps(negative, sx_min_ps(limit, up))
        }
        sx_mask_store_ps(args.out + i, mask, sx_mul(value, up))
        i += 16
    }
}
