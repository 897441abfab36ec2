import CKernelABI

/// 256 weights in 84 bytes: scale and minimum of 4 bits for each 16, codes of 2 bits, float16 scale of both.
enum Q2_K: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        readPairs(block + 16, codes)
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        writePairs(block + 16, codes)
    }

    @inline(__always)
    static func readSide(_ block: UnsafeRawPointer, _ record: UnsafeMutableRawPointer, _ column: Int) {
        var i = 0
        while i < 16 {
            setByte(record + i * 16 + column, byte(block + i))
            i += 1
        }
        setHalf(record + 256 + column * 2, half(block + 80))
        setHalf(record + 288 + column * 2, half(block + 82))
    }

    @inline(__always)
    static func writeSide(_ block: UnsafeMutableRawPointer, _ record: UnsafeRawPointer, _ column: Int) {
        var i = 0
        while i < 16 {
            setByte(block + i, byte(record + i * 16 + column))
            i += 1
        }
        setHalf(block + 80, half(record + 256 + column * 2))
        setHalf(block + 82, half(record + 288 + column * 2))
    }
}
