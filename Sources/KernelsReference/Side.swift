import CKernelABI

// The side stream: scales, minimums and backgrounds of one column in one chunk. quant.h has the layout. Compiled into
// the reference and the AVX-512 module, like Blocks.swift.

private typealias Raw = UnsafeMutableRawPointer

@inline(__always)
private func half(_ p: UnsafeRawPointer) -> UInt16 { p.loadUnaligned(as: UInt16.self) }

@inline(__always)
private func byte(_ p: UnsafeRawPointer) -> UInt8 { p.load(as: UInt8.self) }

@inline(__always)
private func setHalf(_ p: UnsafeMutableRawPointer, _ value: UInt16) { p.storeBytes(of: value, as: UInt16.self) }

@inline(__always)
private func setByte(_ p: UnsafeMutableRawPointer, _ value: UInt8) { p.storeBytes(of: value, as: UInt8.self) }

/// The six-bit scale and minimum of block i of Q4_K and Q5_K: packed: 12 bytes.
@inline(__always)
private func scaleAndMinimum(_ packed: UnsafeRawPointer, _ i: Int) -> (UInt16, UInt16) {
    if i < 4 { return (UInt16(byte(packed + i) & 63), UInt16(byte(packed + i + 4) & 63)) }
    let both = byte(packed + i + 4)
    return (UInt16(both & 15 | (byte(packed + i - 4) >> 6) << 4), UInt16(both >> 4 | (byte(packed + i) >> 6) << 4))
}

/// The six-bit scale i of Q3_K: packed: 12 bytes.
@inline(__always)
private func scale3(_ packed: UnsafeRawPointer, _ i: Int) -> UInt8 {
    let low = i < 8 ? byte(packed + i) & 15 : byte(packed + i - 8) >> 4
    return low | (byte(packed + 8 + i % 4) >> UInt8(truncatingIfNeeded: i / 4 * 2) & 3) << 4
}

/// Brings the side information of one column in; the backgrounds come from setBackground. side: of the panel's chunk,
/// cleared before.
func sideIn(_ q: sx_quant, _ file: UnsafeRawPointer, _ blocks: Int, _ side: UnsafeMutableRawPointer, _ column: Int) {
    sx_unwind_tables()
    switch q.type {
    case Int32(SX_Q2_K):
        var i = 0
        while i < 16 {
            setByte(side + i * 16 + column, byte(file + i))
            i += 1
        }
        setHalf(side + 256 + column * 2, half(file + 80))
        setHalf(side + 288 + column * 2, half(file + 82))
    case Int32(SX_Q3_K):
        var i = 0
        while i < 16 {
            setByte(side + i * 16 + column, scale3(file + 96, i) &- 32)
            i += 1
        }
        setHalf(side + 256 + column * 2, half(file + 108))
    case Int32(SX_Q6_K):
        var i = 0
        while i < 16 {
            setByte(side + i * 16 + column, byte(file + 192 + i))
            i += 1
        }
        setHalf(side + 256 + column * 2, half(file + 208))
    case Int32(SX_IQ4_XS):
        let high = half(file + 2)
        var i = 0
        while i < 8 {
            let low = byte(file + 4 + i / 2) >> UInt8(truncatingIfNeeded: i % 2 * 4) & 15
            let six = low | UInt8(truncatingIfNeeded: high >> UInt16(i * 2) & 3) << 4
            setByte(side + i * 16 + column, six &- 32)
            i += 1
        }
        setHalf(side + 128 + column * 2, half(file))
    case Int32(SX_Q4_K), Int32(SX_Q5_K):
        var i = 0
        while i < 8 {
            let (scale, minimum) = scaleAndMinimum(file + 4, i)
            setHalf(side + i * 32 + column * 2, scale << 4 | minimum << 10)
            i += 1
        }
        setHalf(side + 256 + column * 2, half(file))
        setHalf(side + 288 + column * 2, half(file + 2))
    default:
        let record = Int(q.side_bytes) / 2
        var i = 0
        while i < blocks {
            let block = file + i * Int(q.block_bytes), to = side + i * record
            if q.side == Int32(SX_SIDE_E8) {
                setByte(to + column, byte(block))
            } else {
                setHalf(to + column * 2, half(block))
                if q.side == Int32(SX_SIDE_F16_MIN) { setHalf(to + 32 + column * 2, half(block + 2)) }
            }
            i += 1
        }
    }
}

/// The reverse of sideIn: writes every byte of the file that holds no codes.
func sideOut(_ q: sx_quant, _ side: UnsafeRawPointer, _ blocks: Int, _ file: UnsafeMutableRawPointer, _ column: Int) {
    switch q.type {
    case Int32(SX_Q2_K):
        var i = 0
        while i < 16 {
            setByte(file + i, byte(side + i * 16 + column))
            i += 1
        }
        setHalf(file + 80, half(side + 256 + column * 2))
        setHalf(file + 82, half(side + 288 + column * 2))
    case Int32(SX_Q3_K):
        func scale(_ i: Int) -> UInt8 { byte(side + i * 16 + column) &+ 32 }
        var i = 0
        while i < 8 {
            setByte(file + 96 + i, scale(i) & 15 | (scale(i + 8) & 15) << 4)
            i += 1
        }
        i = 0
        while i < 4 {
            setByte(file + 104 + i, scale(i) >> 4 | (scale(i + 4) >> 4) << 2 | (scale(i + 8) >> 4) << 4 | (scale(i + 12) >> 4) << 6)
            i += 1
        }
        setHalf(file + 108, half(side + 256 + column * 2))
    case Int32(SX_Q6_K):
        var i = 0
        while i < 16 {
            setByte(file + 192 + i, byte(side + i * 16 + column))
            i += 1
        }
        setHalf(file + 208, half(side + 256 + column * 2))
    case Int32(SX_IQ4_XS):
        func scale(_ i: Int) -> UInt8 { byte(side + i * 16 + column) &+ 32 }
        var high: UInt16 = 0
        var i = 0
        while i < 8 {
            high |= UInt16(scale(i) >> 4) << UInt16(i * 2)
            if i % 2 == 0 { setByte(file + 4 + i / 2, scale(i) & 15 | (scale(i + 1) & 15) << 4) }
            i += 1
        }
        setHalf(file, half(side + 128 + column * 2))
        setHalf(file + 2, high)
    case Int32(SX_Q4_K), Int32(SX_Q5_K):
        func scale(_ i: Int) -> UInt8 { UInt8(truncatingIfNeeded: half(side + i * 32 + column * 2) >> 4 & 63) }
        func minimum(_ i: Int) -> UInt8 { UInt8(truncatingIfNeeded: half(side + i * 32 + column * 2) >> 10) }
        setHalf(file, half(side + 256 + column * 2))
        setHalf(file + 2, half(side + 288 + column * 2))
        var i = 0
        while i < 4 {
            setByte(file + 4 + i, scale(i) | (scale(i + 4) >> 4) << 6)
            setByte(file + 8 + i, minimum(i) | (minimum(i + 4) >> 4) << 6)
            setByte(file + 12 + i, scale(i + 4) & 15 | (minimum(i + 4) & 15) << 4)
            i += 1
        }
    default:
        let record = Int(q.side_bytes) / 2
        var i = 0
        while i < blocks {
            let block = file + i * Int(q.block_bytes), from = side + i * record
            if q.side == Int32(SX_SIDE_E8) {
                setByte(block, byte(from + column))
            } else {
                setHalf(block, half(from + column * 2))
                if q.side == Int32(SX_SIDE_F16_MIN) { setHalf(block + 2, half(from + 32 + column * 2)) }
            }
            i += 1
        }
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
