// Fields of bits from which the blocks of several types are made, to one byte per code and back. Plain loops over
// bytes: in the AVX-512 room the compiler makes vector code of them.

/// 32 codes of 4 bits in 16 bytes: the low halves first.
@inline(__always)
func readNibbles(_ from: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
    let qs = from.assumingMemoryBound(to: UInt8.self)
    var j = 0
    while j < 16 {
        codes[j] = qs[j] & 15
        codes[j + 16] = qs[j] >> 4
        j += 1
    }
}

@inline(__always)
func writeNibbles(_ to: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
    let qs = to.assumingMemoryBound(to: UInt8.self)
    var j = 0
    while j < 16 {
        qs[j] = codes[j] & 15 | codes[j + 16] << 4
        j += 1
    }
}

/// Adds the fifth bits of 32 codes: bit l of a word belongs to code l.
@inline(__always)
func readFifthBits(_ from: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
    let fifth = from.loadUnaligned(as: UInt32.self)
    var l = 0
    while l < 32 {
        codes[l] |= UInt8(truncatingIfNeeded: fifth >> UInt32(l)) << 4 & 16
        l += 1
    }
}

@inline(__always)
func writeFifthBits(_ to: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
    var fifth: UInt32 = 0
    var l = 0
    while l < 32 {
        fifth |= UInt32(codes[l] >> 4 & 1) << UInt32(l)
        l += 1
    }
    to.storeBytes(of: fifth, as: UInt32.self)
}

/// 256 codes of 2 bits in 64 bytes: each half of the bytes has four times 32 codes, one above the other.
@inline(__always)
func readPairs(_ from: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
    var i = 0
    while i < 8 {
        let qs = (from + i / 4 * 32).assumingMemoryBound(to: UInt8.self), to = codes + i * 32
        let shift = UInt8(truncatingIfNeeded: i % 4 * 2)
        var l = 0
        while l < 32 {
            to[l] = qs[l] >> shift & 3
            l += 1
        }
        i += 1
    }
}

@inline(__always)
func writePairs(_ to: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
    let qs = to.assumingMemoryBound(to: UInt8.self)
    var l = 0
    while l < 64 {
        let from = codes + l / 32 * 128 + l % 32
        qs[l] = from[0] & 3 | (from[32] & 3) << 2 | (from[64] & 3) << 4 | (from[96] & 3) << 6
        l += 1
    }
}

/// 256 codes of 4 bits in 128 bytes: each quarter of the bytes has twice 32 codes, one above the other.
@inline(__always)
func readQuads(_ from: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>) {
    var i = 0
    while i < 8 {
        let qs = (from + i / 2 * 32).assumingMemoryBound(to: UInt8.self), to = codes + i * 32
        let shift = UInt8(truncatingIfNeeded: i % 2 * 4)
        var l = 0
        while l < 32 {
            to[l] = qs[l] >> shift & 15
            l += 1
        }
        i += 1
    }
}

@inline(__always)
func writeQuads(_ to: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>) {
    let qs = to.assumingMemoryBound(to: UInt8.self)
    var l = 0
    while l < 128 {
        let from = codes + l / 32 * 64 + l % 32
        qs[l] = from[0] & 15 | from[32] << 4
        l += 1
    }
}

/// Adds one bit to each of 256 codes: bit i of byte l belongs to code l of the i-th 32.
@inline(__always)
func readHighBits(_ from: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>, bit: UInt8) {
    let high = from.assumingMemoryBound(to: UInt8.self)
    var i = 0
    while i < 8 {
        let to = codes + i * 32
        var l = 0
        while l < 32 {
            to[l] |= (high[l] >> UInt8(truncatingIfNeeded: i) & 1) << bit
            l += 1
        }
        i += 1
    }
}

@inline(__always)
func writeHighBits(_ to: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>, bit: UInt8) {
    let high = to.assumingMemoryBound(to: UInt8.self)
    var l = 0
    while l < 32 {
        var gathered: UInt8 = 0
        var i = 0
        while i < 8 {
            gathered |= (codes[i * 32 + l] >> bit & 1) << UInt8(truncatingIfNeeded: i)
            i += 1
        }
        high[l] = gathered
        l += 1
    }
}
