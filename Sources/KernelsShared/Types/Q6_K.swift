import CKernelABI

/// 256 weights in 210 bytes: low 4 bits and high 2 bits of codes, int8 scales for each 16, float16 scale of these.
enum Q6_K: QuantType {
    @inline(__always)
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
        var i = 0
        while i < 8 {
            let part = i / 4, quarter = i % 4, to = codes + i * 32
            let low = (block + part * 64 + quarter % 2 * 32).assumingMemoryBound(to: UInt8.self)
            let high = (block + 128 + part * 32).assumingMemoryBound(to: UInt8.self)
            let lowShift = UInt8(truncatingIfNeeded: quarter / 2 * 4)
            let highShift = UInt8(truncatingIfNeeded: quarter * 2)
            var l = 0
            while l < 32 {
                to[l] = low[l] >> lowShift & 15 | (high[l] >> highShift & 3) << 4
                l += 1
            }
            i += 1
        }
    }

    @inline(__always)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
        let ql = block.assumingMemoryBound(to: UInt8.self), qh = ql + 128
        var l = 0
        while l < 128 {
            let from = codes + l / 64 * 128 + l % 64
            ql[l] = from[0] & 15 | from[64] << 4
            l += 1
        }
        l = 0
        while l < 64 {
            let from = codes + l / 32 * 128 + l % 32
            qh[l] = from[0] >> 4 | (from[32] >> 4) << 2 | (from[64] >> 4) << 4 | (from[96] >> 4) << 6
            l += 1
        }
    }

    @inline(__always)
    static func readSide(_ block: UnsafeRawPointer, _ record: UnsafeMutableRawPointer, _ column: Int) {
        var i = 0
        while i < 16 {
            setByte(record + i * 16 + column, byte(block + 192 + i))
            i += 1
        }
        setHalf(record + 256 + column * 2, half(block + 208))
    }

    @inline(__always)
    static func writeSide(_ block: UnsafeMutableRawPointer, _ record: UnsafeRawPointer, _ column: Int) {
        var i = 0
        while i < 16 {
            setByte(block + 192 + i, byte(record + i * 16 + column))
            i += 1
        }
        setHalf(block + 208, half(record + 256 + column * 2))
    }
}
