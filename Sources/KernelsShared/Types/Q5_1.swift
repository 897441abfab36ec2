import CKernelABI

/// 32 weights in 24 bytes: float16 scale, float16 minimum, fifth bits, codes of 4 bits.
enum Q5_1: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        readNibbles(block + 8, codes)
        readFifthBits(block + 4, codes)
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        writeNibbles(block + 8, codes)
        writeFifthBits(block + 4, codes)
    }

    @inline(__always)
    static func readSide(_ block: UnsafeRawPointer, _ record: UnsafeMutableRawPointer, _ column: Int) {
        setHalf(record + column * 2, half(block))
        setHalf(record + 32 + column * 2, half(block + 2))
    }

    @inline(__always)
    static func writeSide(_ block: UnsafeMutableRawPointer, _ record: UnsafeRawPointer, _ column: Int) {
        setHalf(block, half(record + column * 2))
        setHalf(block + 2, half(record + 32 + column * 2))
    }
}
