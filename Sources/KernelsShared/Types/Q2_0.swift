import CKernelABI

/// 64 weights in 18 bytes: float16 scale, codes of 2 bits, four to a byte, lowest bits first.
enum Q2_0: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        let qs = (block + 2).assumingMemoryBound(to: UInt8.self)
        var i = 0
        while i < 64 {
            codes[i] = qs[i / 4] >> UInt8(truncatingIfNeeded: i % 4 * 2) & 3
            i += 1
        }
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        let qs = (block + 2).assumingMemoryBound(to: UInt8.self)
        var i = 0
        while i < 16 {
            var together: UInt8 = 0, k = 0
            while k < 4 {
                together |= (codes[i * 4 + k] & 3) << UInt8(truncatingIfNeeded: k * 2)
                k += 1
            }
            qs[i] = together
            i += 1
        }
    }

    @inline(__always)
    static func readSide(_ block: UnsafeRawPointer, _ record: UnsafeMutableRawPointer, _ column: Int) {
        setHalf(record + column * 2, half(block))
    }

    @inline(__always)
    static func writeSide(_ block: UnsafeMutableRawPointer, _ record: UnsafeRawPointer, _ column: Int) {
        setHalf(block, half(record + column * 2))
    }
}
