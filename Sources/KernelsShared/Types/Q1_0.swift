import CKernelABI

/// 128 weights in 18 bytes: float16 scale, the signs of the weights as bits, eight to a byte, lowest bit first.
enum Q1_0: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        let qs = (block + 2).assumingMemoryBound(to: UInt8.self)
        var i = 0
        while i < 128 {
            codes[i] = qs[i / 8] >> UInt8(truncatingIfNeeded: i % 8) & 1
            i += 1
        }
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        let qs = (block + 2).assumingMemoryBound(to: UInt8.self)
        var i = 0
        while i < 16 {
            var together: UInt8 = 0, k = 0
            while k < 8 {
                together |= (codes[i * 8 + k] & 1) << UInt8(truncatingIfNeeded: k)
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
