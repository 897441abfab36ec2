import CKernelABI

// Side records: scales, minimums and backgrounds of 16 columns. quant.h has the layouts.

@inline(__always)
func half(_ p: UnsafeRawPointer) -> UInt16 { p.loadUnaligned(as: UInt16.self) }

@inline(__always)
func byte(_ p: UnsafeRawPointer) -> UInt8 { p.load(as: UInt8.self) }

@inline(__always)
func setHalf(_ p: UnsafeMutableRawPointer, _ value: UInt16) { p.storeBytes(of: value, as: UInt16.self) }

@inline(__always)
func setByte(_ p: UnsafeMutableRawPointer, _ value: UInt8) { p.storeBytes(of: value, as: UInt8.self) }

/// The first 16 bytes of a block of Q4_K and Q5_K: two float16, then scales and minimums of 6 bits in 12 bytes.
@inline(__always)
func readScalesAndMinimums(_ block: UnsafeRawPointer, _ record: UnsafeMutableRawPointer, _ column: Int) {
    var i = 0
    while i < 8 {
        let (scale, minimum) = scaleAndMinimum(block + 4, i)
        setHalf(record + i * 32 + column * 2, scale << 4 | minimum << 10)
        i += 1
    }
    setHalf(record + 256 + column * 2, half(block))
    setHalf(record + 288 + column * 2, half(block + 2))
}

@inline(__always)
private func scaleAndMinimum(_ packed: UnsafeRawPointer, _ i: Int) -> (UInt16, UInt16) {
    if i < 4 { return (UInt16(byte(packed + i) & 63), UInt16(byte(packed + i + 4) & 63)) }
    let both = byte(packed + i + 4)
    return (UInt16(both & 15 | (byte(packed + i - 4) >> 6) << 4), UInt16(both >> 4 | (byte(packed + i) >> 6) << 4))
}

@inline(__always)
func writeScalesAndMinimums(_ block: UnsafeMutableRawPointer, _ record: UnsafeRawPointer, _ column: Int) {
    func scale(_ i: Int) -> UInt8 { UInt8(truncatingIfNeeded: half(record + i * 32 + column * 2) >> 4 & 63) }
    func minimum(_ i: Int) -> UInt8 { UInt8(truncatingIfNeeded: half(record + i * 32 + column * 2) >> 10) }
    setHalf(block, half(record + 256 + column * 2))
    setHalf(block + 2, half(record + 288 + column * 2))
    var i = 0
    while i < 4 {
        setByte(block + 4 + i, scale(i) | (scale(i + 4) >> 4) << 6)
        setByte(block + 8 + i, minimum(i) | (minimum(i + 4) >> 4) << 6)
        setByte(block + 12 + i, scale(i + 4) & 15 | (minimum(i + 4) & 15) << 4)
        i += 1
    }
}

/// Adds the background of one column's part (of 32 or 16) to a cleared side record. index: of the part in the chunk.
func setBackground(_ q: sx_quant, _ side: UnsafeMutableRawPointer, _ index: Int, _ column: Int, _ code: UInt8) {
    switch q.side {
    case Int32(SX_SIDE_F16_MIN):
        let record = side + index * Int(q.side_bytes) / 2 + 64, shift = UInt8(truncatingIfNeeded: column / 8 * 4)
        setByte(record + column % 8, byte(record + column % 8) | (code & 15) << shift)
        if q.high_bits == 1 { setHalf(record + 8, half(record + 8) | UInt16(code >> 4) << UInt16(column)) }
    case Int32(SX_SIDE_K32):
        let entry = side + index * 32 + column * 2
        setHalf(entry, half(entry) | UInt16(code & 15))
        let fifth = side + 320 + index * 2
        if q.high_bits == 1 { setHalf(fifth, half(fifth) | UInt16(code >> 4) << UInt16(column)) }
    case Int32(SX_SIDE_K16_MIN):
        let entry = side + 320 + index * 4 + column / 4
        setByte(entry, byte(entry) | code << UInt8(truncatingIfNeeded: column % 4 * 2))
    default: break
    }
}

/// The code that is left out in one column's part.
func background(_ q: sx_quant, _ side: UnsafeRawPointer, _ index: Int, _ column: Int) -> UInt8 {
    switch q.side {
    case Int32(SX_SIDE_F16_MIN):
        let record = side + index * Int(q.side_bytes) / 2 + 64
        let low = byte(record + column % 8) >> UInt8(truncatingIfNeeded: column / 8 * 4) & 15
        return q.high_bits == 0 ? low : low | UInt8(truncatingIfNeeded: half(record + 8) >> UInt16(column) & 1) << 4
    case Int32(SX_SIDE_K32):
        let low = UInt8(truncatingIfNeeded: half(side + index * 32 + column * 2) & 15)
        return q.high_bits == 0 ? low
            : low | UInt8(truncatingIfNeeded: half(side + 320 + index * 2) >> UInt16(column) & 1) << 4
    case Int32(SX_SIDE_K16_MIN):
        return byte(side + 320 + index * 4 + column / 4) >> UInt8(truncatingIfNeeded: column % 4 * 2) & 3
    default: return UInt8(truncatingIfNeeded: q.background)
    }
}
