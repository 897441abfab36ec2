import CKernelABI

/// 256 weights in 176 bytes, as Q4_K with fifth bits before the codes.
enum Q5_K: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        readQuads(block + 48, codes)
        readHighBits(block + 16, codes, bit: 4)
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        writeQuads(block + 48, codes)
        writeHighBits(block + 16, codes, bit: 4)
    }

    @inline(__always)
    static func readSide(_ block: UnsafeRawPointer, _ record: UnsafeMutableRawPointer, _ column: Int) {
        readScalesAndMinimums(block, record, column)
    }

    @inline(__always)
    static func writeSide(_ block: UnsafeMutableRawPointer, _ record: UnsafeRawPointer, _ column: Int) {
        writeScalesAndMinimums(block, record, column)
    }
}
