import CKernelABI

/// Elements of the host's to float32.
@c(sx_reference_widen) @implementation
public func sx_reference_widen(_ pointer: UnsafePointer<sx_elements_args>) {
    let args = pointer.pointee
    let from = args.from.assumingMemoryBound(to: UInt16.self), to = args.to.assumingMemoryBound(to: Float.self)
    var i = 0
    while i < Int(args.count) {
        to[i] = args.type == Int32(SX_ELEMENT_BF16) ? floatFromBF16(from[i]) : quietFloatFromF16(from[i])
        i += 1
    }
}

/// float32, with a bias or without, to elements of the host's.
@c(sx_reference_narrow) @implementation
public func sx_reference_narrow(_ pointer: UnsafePointer<sx_elements_args>) {
    let args = pointer.pointee
    let from = args.from.assumingMemoryBound(to: Float.self)
    let wide = args.to.assumingMemoryBound(to: Float.self), narrow = args.to.assumingMemoryBound(to: UInt16.self)
    var i = 0
    while i < Int(args.count) {
        var value = from[i]
        if let bias = args.bias { value += bias[i] }
        switch args.type {
        case Int32(SX_ELEMENT_BF16): narrow[i] = roundedBF16(value)
        case Int32(SX_ELEMENT_F16): narrow[i] = roundedF16(value)
        default: wide[i] = value
        }
        i += 1
    }
}

/// As vcvtph2ps has it: a signalling NaN becomes quiet.
private func quietFloatFromF16(_ bits: UInt16) -> Float {
    let value = floatFromF16(bits)
    return value.isNaN ? Float(bitPattern: value.bitPattern | 0x0040_0000) : value
}

/// To bfloat16, nearest-even. Unlike the activations that vcvtne2ps2bf16 makes, subnormal numbers stay.
private func roundedBF16(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    if value.isNaN { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
    return UInt16(truncatingIfNeeded: (bits &+ 0x7fff &+ (bits >> 16 & 1)) >> 16)
}

/// To float16, nearest-even, as vcvtps2ph has it.
private func roundedF16(_ value: Float) -> UInt16 {
    let bits = value.bitPattern, magnitude = bits & 0x7fff_ffff
    let sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
    if magnitude > 0x7f80_0000 { return sign | 0x7e00 | UInt16(truncatingIfNeeded: magnitude >> 13 & 0x3ff) }
    if magnitude >= 0x477f_f000 { return sign | 0x7c00 }  // 65520 and more round to infinity
    if magnitude < 0x3880_0000 {
        // Subnormal in float16: a multiple of 2^-24. The multiplication is exact.
        return sign | UInt16(truncatingIfNeeded: roundToInt32(Float(bitPattern: magnitude) * 0x1p24))
    }
    return sign | UInt16(truncatingIfNeeded: (magnitude + 0xfff + (magnitude >> 13 & 1) - 0x3800_0000) >> 13)
}
