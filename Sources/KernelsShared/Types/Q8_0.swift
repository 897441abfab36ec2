import CKernelABI

/// 32 weights in 34 bytes: float16 scale, codes of 8 bits with a sign. In the packed form 128 is added to a code.
enum Q8_0: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        let qs = (block + 2).assumingMemoryBound(to: UInt8.self)
        var l = 0
        while l < 32 {
            codes[l] = qs[l] ^ 0x80
            l += 1
        }
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        let qs = (block + 2).assumingMemoryBound(to: UInt8.self)
        var l = 0
        while l < 32 {
            qs[l] = codes[l] ^ 0x80
            l += 1
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
