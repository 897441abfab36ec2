import CKernelABI

/// 32 weights in 18 bytes, as Q4_0; the codes stand for levels that are not evenly spaced.
enum IQ4_NL: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        readNibbles(block + 2, codes)
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        writeNibbles(block + 2, codes)
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
