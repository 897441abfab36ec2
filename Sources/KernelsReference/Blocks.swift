import CKernelABI

// How the quantized types lie in the file: codes and side information of one row and one chunk (up to 256 k, 8 blocks
// of 32), to and from the packed form's own order. Compiled into the reference and the AVX-512 module (a link), where
// the plain loops become vector code.

/// Bytes of the file per chunk of one row.
@inline(__always)
func chunkBytes(_ q: sx_quant) -> Int { 256 / Int(q.block_k) * Int(q.block_bytes) }

@inline(__always)
private func bytes(_ p: UnsafeMutableRawPointer) -> UnsafeMutablePointer<UInt8> { p.assumingMemoryBound(to: UInt8.self) }

/// 32 codes of 4 bits: the low halves first.
@inline(__always)
private func lowHigh(_ qs: UnsafePointer<UInt8>, _ out: UnsafeMutablePointer<UInt8>) {
    var j = 0
    while j < 16 {
        out[j] = qs[j] & 15
        out[j + 16] = qs[j] >> 4
        j += 1
    }
}

@inline(__always)
private func setLowHigh(_ qs: UnsafeMutablePointer<UInt8>, _ codes: UnsafePointer<UInt8>) {
    var j = 0
    while j < 16 {
        qs[j] = codes[j] & 15 | codes[j + 16] << 4
        j += 1
    }
}

/// Where in a block of 32 its codes start.
@inline(__always)
private func codeOffset(_ q: sx_quant) -> Int {
    switch q.type {
    case Int32(SX_Q4_1): return 4
    case Int32(SX_Q5_0): return 6
    case Int32(SX_Q5_1): return 8
    case Int32(SX_MXFP4): return 1
    default: return 2
    }
}

/// Codes of `blocks` blocks of 32, one byte each, in the order of k. Q8_0's have 128 added.
func unpackCodes(_ q: sx_quant, _ file: UnsafeMutableRawPointer, _ blocks: Int, _ out: UnsafeMutablePointer<UInt8>) {
    sx_unwind_tables()
    switch q.type {
    case Int32(SX_Q2_K), Int32(SX_Q3_K):
        let three = q.type == Int32(SX_Q3_K)
        let hmask = bytes(file), qs = bytes(file + (three ? 32 : 16))
        var i = 0
        while i < 8 {
            let from = qs + i / 4 * 32, to = out + i * 32, shift = UInt8(truncatingIfNeeded: i % 4 * 2)
            var l = 0
            while l < 32 {
                to[l] = from[l] >> shift & 3
                l += 1
            }
            if three {
                l = 0
                while l < 32 {
                    to[l] |= (hmask[l] >> UInt8(truncatingIfNeeded: i) & 1) << 2
                    l += 1
                }
            }
            i += 1
        }
    case Int32(SX_Q4_K), Int32(SX_Q5_K):
        let five = q.type == Int32(SX_Q5_K)
        let qh = bytes(file + 16), qs = bytes(file + (five ? 48 : 16))
        var i = 0
        while i < 8 {
            let from = qs + i / 2 * 32, to = out + i * 32, shift = UInt8(truncatingIfNeeded: i % 2 * 4)
            var l = 0
            while l < 32 {
                to[l] = from[l] >> shift & 15
                l += 1
            }
            if five {
                l = 0
                while l < 32 {
                    to[l] |= (qh[l] >> UInt8(truncatingIfNeeded: i) & 1) << 4
                    l += 1
                }
            }
            i += 1
        }
    case Int32(SX_Q6_K):
        let ql = bytes(file), qh = bytes(file + 128)
        var i = 0
        while i < 8 {
            let half = i / 4, quarter = i % 4
            let low = ql + half * 64 + quarter % 2 * 32, high = qh + half * 32, to = out + i * 32
            let lowShift = UInt8(truncatingIfNeeded: quarter / 2 * 4), highShift = UInt8(truncatingIfNeeded: quarter * 2)
            var l = 0
            while l < 32 {
                to[l] = low[l] >> lowShift & 15 | (high[l] >> highShift & 3) << 4
                l += 1
            }
            i += 1
        }
    case Int32(SX_IQ4_XS):
        var i = 0
        while i < 8 {
            lowHigh(bytes(file + 8 + i * 16), out + i * 32)
            i += 1
        }
    case Int32(SX_Q8_0):
        var i = 0
        while i < blocks {
            let from = bytes(file + i * 34 + 2), to = out + i * 32
            var l = 0
            while l < 32 {
                to[l] = from[l] ^ 0x80
                l += 1
            }
            i += 1
        }
    default:
        var i = 0
        while i < blocks {
            let block = file + i * Int(q.block_bytes), to = out + i * 32
            lowHigh(bytes(block + codeOffset(q)), to)
            if q.high_bits == 1 {
                let fifth = (block + codeOffset(q) - 4).loadUnaligned(as: UInt32.self)
                var l = 0
                while l < 32 {
                    to[l] |= UInt8(truncatingIfNeeded: fifth >> UInt32(l)) << 4 & 16
                    l += 1
                }
            }
            i += 1
        }
    }
}

/// The reverse of unpackCodes: writes every byte of the file that holds codes.
func packCodes(_ q: sx_quant, _ codes: UnsafePointer<UInt8>, _ blocks: Int, _ file: UnsafeMutableRawPointer) {
    switch q.type {
    case Int32(SX_Q2_K), Int32(SX_Q3_K):
        let three = q.type == Int32(SX_Q3_K)
        let hmask = bytes(file), qs = bytes(file + (three ? 32 : 16))
        var l = 0
        while l < 64 {
            let from = codes + l / 32 * 128 + l % 32
            qs[l] = from[0] & 3 | (from[32] & 3) << 2 | (from[64] & 3) << 4 | (from[96] & 3) << 6
            l += 1
        }
        if !three { return }
        gatherBits(codes, bit: 2, hmask)
    case Int32(SX_Q4_K), Int32(SX_Q5_K):
        let five = q.type == Int32(SX_Q5_K)
        let qh = bytes(file + 16), qs = bytes(file + (five ? 48 : 16))
        var l = 0
        while l < 128 {
            let from = codes + l / 32 * 64 + l % 32
            qs[l] = from[0] & 15 | from[32] << 4
            l += 1
        }
        if five { gatherBits(codes, bit: 4, qh) }
    case Int32(SX_Q6_K):
        let ql = bytes(file), qh = bytes(file + 128)
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
    case Int32(SX_IQ4_XS):
        var i = 0
        while i < 8 {
            setLowHigh(bytes(file + 8 + i * 16), codes + i * 32)
            i += 1
        }
    case Int32(SX_Q8_0):
        var i = 0
        while i < blocks {
            let to = bytes(file + i * 34 + 2), from = codes + i * 32
            var l = 0
            while l < 32 {
                to[l] = from[l] ^ 0x80
                l += 1
            }
            i += 1
        }
    default:
        var i = 0
        while i < blocks {
            let block = file + i * Int(q.block_bytes), from = codes + i * 32
            setLowHigh(bytes(block + codeOffset(q)), from)
            if q.high_bits == 1 {
                var fifth: UInt32 = 0
                var l = 0
                while l < 32 {
                    fifth |= UInt32(from[l] >> 4 & 1) << UInt32(l)
                    l += 1
                }
                (block + codeOffset(q) - 4).storeBytes(of: fifth, as: UInt32.self)
            }
            i += 1
        }
    }
}

/// Bit i of out[l] is one bit of the code l of block i.
@inline(__always)
private func gatherBits(_ codes: UnsafePointer<UInt8>, bit: UInt8, _ out: UnsafeMutablePointer<UInt8>) {
    var l = 0
    while l < 32 {
        var gathered: UInt8 = 0
        var i = 0
        while i < 8 {
            gathered |= (codes[i * 32 + l] >> bit & 1) << UInt8(truncatingIfNeeded: i)
            i += 1
        }
        out[l] = gathered
        l += 1
    }
}
