/// Bit patterns to numbers and back, without a library and without the CPU's own conversions.

@inline(__always)
func floatFromBF16(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

/// IEEE half precision to single; exact, subnormals, infinities and NaN payloads included.
func floatFromF16(_ bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let exponent = UInt32(bits >> 10) & 0x1f
    let fraction = UInt32(bits & 0x3ff)
    if exponent == 0x1f { return Float(bitPattern: sign | 0x7f80_0000 | fraction << 13) }
    if exponent != 0 { return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13) }
    // A subnormal is fraction * 2^-24, which single precision holds exactly.
    let magnitude = Float(fraction) * Float(bitPattern: 103 << 23)
    return Float(bitPattern: sign | magnitude.bitPattern)
}

/// Single precision to bfloat16, nearest-even; subnormals become zero and NaN stays NaN, as vcvtne2ps2bf16 has it.
func bf16FromFloat(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let magnitude = bits & 0x7fff_ffff
    if magnitude > 0x7f80_0000 { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
    if magnitude < 0x0080_0000 { return UInt16(truncatingIfNeeded: bits >> 16) & 0x8000 }
    return UInt16(truncatingIfNeeded: (bits &+ 0x7fff &+ (bits >> 16 & 1)) >> 16)
}

/// a * b + c with one rounding. The product of two floats is exact in double; the sum is rounded to odd there, so that
/// rounding it again to single gives the correctly rounded result (Boldo and Melquiond, 2008). No libm needed.
func fusedMultiplyAdd(_ a: Float, _ b: Float, _ c: Float) -> Float {
    let product = Double(a) * Double(b), addend = Double(c)
    let sum = product + addend
    guard sum.isFinite else { return Float(sum) }
    let t = sum - product
    let error = (product - (sum - t)) + (addend - t)
    if error != 0 && sum.bitPattern & 1 == 0 {
        let away = (error > 0) == (sum > 0)
        return Float(Double(bitPattern: away ? sum.bitPattern &+ 1 : sum.bitPattern &- 1))
    }
    return Float(sum)
}

/// vcvtps2dq: nearest-even, and the most negative integer for whatever does not fit.
func roundToInt32(_ value: Float) -> Int32 {
    guard value.magnitude < 0x1p31 else { return Int32.min }  // NaN included
    let whole = Int32(value)
    let rest = value - Float(whole)  // exact: |value| < 2^24 where there is a fraction
    if rest > 0.5 || (rest == 0.5 && whole & 1 == 1) { return whole &+ 1 }
    if rest < -0.5 || (rest == -0.5 && whole & 1 == 1) { return whole &- 1 }
    return whole
}
