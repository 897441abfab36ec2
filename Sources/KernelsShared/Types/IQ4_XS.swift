import CKernelABI

/// 256 weights in 136 bytes: float16 scale of scales, scales of 6 bits for each 32, codes of 4 bits as in IQ4_NL.
enum IQ4_XS: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        var i = 0
        while i < 8 {
            readNibbles(block + 8 + i * 16, codes + i * 32)
            i += 1
        }
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        var i = 0
        while i < 8 {
            writeNibbles(block + 8 + i * 16, codes + i * 32)
            i += 1
        }
    }

    @inline(__always)
    static func readSide(_ block: UnsafeRawPointer, _ record: UnsafeMutableRawPointer, _ column: Int) {
        let high = half(block + 2)
        var i = 0
        while i < 8 {
            let low = byte(block + 4 + i / 2) >> UInt8(truncatingIfNeeded: i % 2 * 4) & 15
            let six = low | UInt8(truncatingIfNeeded: high >> UInt16(i * 2) & 3) << 4
            setByte(record + i * 16 + column, six &- 32)
            i += 1
        }
        setHalf(record + 128 + column * 2, half(block))
    }

    @inline(__always)
    static func writeSide(_ block: UnsafeMutableRawPointer, _ record: UnsafeRawPointer, _ column: Int) {
        func scale(_ i: Int) -> UInt8 { byte(record + i * 16 + column) &+ 32 }
        var high: UInt16 = 0
        var i = 0
        while i < 8 {
            high |= UInt16(scale(i) >> 4) << UInt16(i * 2)
            if i % 2 == 0 { setByte(block + 4 + i / 2, scale(i) & 15 | (scale(i + 1) & 15) << 4) }
            i += 1
        }
        setHalf(block, half(record + 128 + column * 2))
        setHalf(block + 2, high)
    }
}
