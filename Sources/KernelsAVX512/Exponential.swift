import CKernelABI
import CInstructions

/// exp(-a) for a >= 0, 16 at a time; the steps of the reference.
@inline(__always)
func exponential(_ a: SIMD16<Float>) -> SIMD16<Float> {
    let y = sx_mul(sx_min_ps(sx_set_ps(Float(SX_EXP_END)), a), sx_set_ps(-1))
    let n = sx_float(sx_round32(sx_mul(y, sx_set_ps(Float(SX_EXP_LOG2E)))))
    var r = sx_fma(n, sx_set_ps(-Float(SX_EXP_LN2_HIGH)), y)
    r = sx_fma(n, sx_set_ps(-Float(SX_EXP_LN2_LOW)), r)
    var p = sx_set_ps(Float(SX_EXP_P0))
    p = sx_fma(p, r, sx_set_ps(Float(SX_EXP_P1)))
    p = sx_fma(p, r, sx_set_ps(Float(SX_EXP_P2)))
    p = sx_fma(p, r, sx_set_ps(Float(SX_EXP_P3)))
    p = sx_fma(p, r, sx_set_ps(Float(SX_EXP_P4)))
    p = sx_fma(p, r, sx_set_ps(Float(SX_EXP_P5)))
    return sx_scale_by_power(sx_add(sx_fma(p, sx_mul(r, r), r), sx_set_ps(1)), n)
}

/// tanh(s), from exp(-2 * |s|).
@inline(__always)
func hyperbolicTangent(_ s: SIMD16<Float>) -> SIMD16<Float> {
    let one = sx_set_ps(1), t = exponential(sx_mul(sx_absolute(s), sx_set_ps(2)))
    let value = sx_divide(sx_sub_ps(one, t), sx_add(one, t))
    return sx_blend_ps(sx_sign_bits(s), value, sx_sub_ps(sx_set_ps(-0.0), value))
}
