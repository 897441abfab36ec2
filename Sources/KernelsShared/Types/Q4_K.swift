import CKernelABI

/// 256 weights in 144 bytes: float16 scales of scales and of minimums, both of 6 bits for each 32, codes of 4 bits.
enum Q4_K: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        readQuads(block + 16, codes)
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        writeQuads(block + 16, codes)
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
