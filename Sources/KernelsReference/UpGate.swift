import CKernelABI

/// The fused kinds' activation, to be read; sx_avx512_up_gate takes the same steps.
@c(sx_reference_up_gate) @implementation
public func sx_reference_up_gate(_ pointer: UnsafePointer<sx_up_gate_args>) {
    let args = pointer.pointee
    var i = 0
    while i < Int(args.count) {
        let g = args.gate[i]
        var up = args.up[i]
        let z = args.function == Int32(SX_GELU) ? g * fusedMultiplyAdd(g * g, Float(SX_GELU_C2), Float(SX_GELU_C1)) : g
        var value = g * logistic(z)
        if args.limit > 0 {
            if value > args.limit { value = args.limit }
            if up > args.limit { up = args.limit }
            if up < -args.limit { up = -args.limit }
        }
        args.out[i] = value * up
        i += 1
    }
}

/// 1 / (1 + exp(-z)), from exp of what is not positive, so that nothing overflows.
private func logistic(_ z: Float) -> Float {
    let t = exponential(z.magnitude)
    return (z.bitPattern >> 31 == 1 ? t : 1) / (1 + t)
}

/// exp(-a) for a >= 0.
func exponential(_ a: Float) -> Float {
    if a.isNaN { return a }
    let y = -min(a, Float(SX_EXP_END))
    let n = Float(roundToInt32(y * Float(SX_EXP_LOG2E)))
    var r = fusedMultiplyAdd(n, -Float(SX_EXP_LN2_HIGH), y)
    r = fusedMultiplyAdd(n, -Float(SX_EXP_LN2_LOW), r)
    var p = Float(SX_EXP_P0)
    p = fusedMultiplyAdd(p, r, Float(SX_EXP_P1))
    p = fusedMultiplyAdd(p, r, Float(SX_EXP_P2))
    p = fusedMultiplyAdd(p, r, Float(SX_EXP_P3))
    p = fusedMultiplyAdd(p, r, Float(SX_EXP_P4))
    p = fusedMultiplyAdd(p, r, Float(SX_EXP_P5))
    p = fusedMultiplyAdd(p, r * r, r) + 1
    // Double precision holds p * 2^n exactly, so this rounds once, to subnormals too.
    return Float(Double(p) * Double(bitPattern: UInt64(1023 + Int(n)) << 52))
}
