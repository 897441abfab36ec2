import CKernelABI

/// 32 weights in 22 bytes: float16 scale, fifth bits, codes of 4 bits.
enum Q5_0: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        readNibbles(block + 6, codes)
        readFifthBits(block + 2, codes)
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        writeNibbles(block + 6, codes)
        writeFifthBits(block + 2, codes)
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
