import CKernelABI

/// 256 weights in 110 bytes: third bits, codes of 2 bits, scales of 6 bits for each 16, float16 scale of these.
enum Q3_K: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        readPairs(block + 32, codes)
        readHighBits(block, codes, bit: 2)
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        writePairs(block + 32, codes)
        writeHighBits(block, codes, bit: 2)
    }

    @inline(__always)
    static func readSide(_ block: UnsafeRawPointer, _ record: UnsafeMutableRawPointer, _ column: Int) {
        var i = 0
        while i < 16 {
            setByte(record + i * 16 + column, scale(block + 96, i) &- 32)
            i += 1
        }
        setHalf(record + 256 + column * 2, half(block + 108))
    }

    @inline(__always)
    static func writeSide(_ block: UnsafeMutableRawPointer, _ record: UnsafeRawPointer, _ column: Int) {
        func scale(_ i: Int) -> UInt8 { byte(record + i * 16 + column) &+ 32 }
        var i = 0
        while i < 8 {
            setByte(block + 96 + i, scale(i) & 15 | (scale(i + 8) & 15) << 4)
            i += 1
        }
        i = 0
        while i < 4 {
            setByte(block + 104 + i,
                    scale(i) >> 4 | (scale(i + 4) >> 4) << 2 | (scale(i + 8) >> 4) << 4 | (scale(i + 12) >> 4) << 6)
            i += 1
        }
        setHalf(block + 108, half(record + 256 + column * 2))
    }
}

/// The six-bit scale i. packed: 12 bytes.
@inline(__always)
private func scale(_ packed: UnsafeRawPointer, _ i: Int) -> UInt8 {
    let low = i < 8 ? byte(packed + i) & 15 : byte(packed + i - 8) >> 4
    return low | (byte(packed + 8 + i % 4) >> UInt8(truncatingIfNeeded: i / 4 * 2) & 3) << 4
}
