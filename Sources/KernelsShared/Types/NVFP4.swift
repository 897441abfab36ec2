import CKernelABI

/// 64 weights in 36 bytes: four scales of 8 bits for 16 weights each, then their codes of 4 bits, which are small
/// floating-point numbers as in MXFP4; in the 8 bytes of each 16 codes the low halves come first.
enum NVFP4: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        let qs = (block + 4).assumingMemoryBound(to: UInt8.self)
        var i = 0
        while i < 32 {
            let to = codes + i / 8 * 16 + i % 8
            to[0] = qs[i] & 15
            to[8] = qs[i] >> 4
            i += 1
        }
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        let qs = (block + 4).assumingMemoryBound(to: UInt8.self)
        var i = 0
        while i < 32 {
            let from = codes + i / 8 * 16 + i % 8
            qs[i] = from[0] & 15 | from[8] << 4
            i += 1
        }
    }

    @inline(__always)
    static func readSide(_ block: UnsafeRawPointer, _ record: UnsafeMutableRawPointer, _ column: Int) {
        var i = 0
        while i < 4 {
            setByte(record + i * 16 + column, byte(block + i))
            i += 1
        }
    }

    @inline(__always)
    static func writeSide(_ block: UnsafeMutableRawPointer, _ record: UnsafeRawPointer, _ column: Int) {
        var i = 0
        while i < 4 {
            setByte(block + i, byte(record + i * 16 + column))
            i += 1
        }
    }
}
