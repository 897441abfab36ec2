/// XXH64 with seed 0, as its specification has it: it says that bytes have changed, not who changed them. Four chains
/// of 64-bit multiplications take 32 bytes at a time, which is as fast as memory on any x86-64 CPU, without tables.
package enum Checksum {
    private static let p1: UInt64 = 0x9e37_79b1_85eb_ca87, p2: UInt64 = 0xc2b2_ae3d_27d4_eb4f
    private static let p3: UInt64 = 0x1656_67b1_9e37_79f9, p4: UInt64 = 0x85eb_ca77_c2b2_ae63
    private static let p5: UInt64 = 0x27d4_eb2f_1656_67c5

    @inline(__always)
    private static func rotate(_ x: UInt64, _ bits: UInt64) -> UInt64 { x &<< bits | x &>> (64 &- bits) }

    @inline(__always)
    private static func round(_ sum: UInt64, _ word: UInt64) -> UInt64 { rotate(sum &+ word &* p2, 31) &* p1 }

    @inline(__always)
    private static func merge(_ hash: UInt64, _ sum: UInt64) -> UInt64 { (hash ^ round(0, sum)) &* p1 &+ p4 }

    package static func of(_ start: UnsafeRawPointer, _ count: Int) -> UInt64 {
        func word(_ at: Int) -> UInt64 { start.loadUnaligned(fromByteOffset: at, as: UInt64.self).littleEndian }
        var at = 0, hash = p5
        if count >= 32 {
            var a = p1 &+ p2, b = p2, c: UInt64 = 0, d = 0 &- p1
            while at <= count - 32 {
                a = round(a, word(at))
                b = round(b, word(at + 8))
                c = round(c, word(at + 16))
                d = round(d, word(at + 24))
                at += 32
            }
            hash = rotate(a, 1) &+ rotate(b, 7) &+ rotate(c, 12) &+ rotate(d, 18)
            hash = merge(merge(merge(merge(hash, a), b), c), d)
        }
        hash = hash &+ UInt64(truncatingIfNeeded: count)
        while at <= count - 8 {
            hash = rotate(hash ^ round(0, word(at)), 27) &* p1 &+ p4
            at += 8
        }
        if at <= count - 4 {
            let half = UInt64(start.loadUnaligned(fromByteOffset: at, as: UInt32.self).littleEndian)
            hash = rotate(hash ^ half &* p1, 23) &* p2 &+ p3
            at += 4
        }
        while at < count {
            hash = rotate(hash ^ UInt64(start.load(fromByteOffset: at, as: UInt8.self)) &* p5, 11) &* p1
            at += 1
        }
        hash = (hash ^ hash &>> 33) &* p2
        hash = (hash ^ hash &>> 29) &* p3
        return hash ^ hash &>> 32
    }
}
