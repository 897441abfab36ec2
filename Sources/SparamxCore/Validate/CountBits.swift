/// How many bits of these words are set. Validation reads every bitmap of a file while a host waits for its model, on
/// CPUs of which nothing is known yet, so this counts with baseline instructions: pairs of words go through a tree of
/// carry-save adders, and only what comes out of it, a sixteenth, is counted bit by bit (Harley and Seal; described by
/// Mula, Kurz and Lemire, arXiv 1611.07612).
func countBits(_ words: UnsafePointer<UInt64>, _ count: Int) -> Int {
    let from = UnsafeRawPointer(words)
    var i = 0, all = SIMD2<UInt64>()
    if count >= 32 {
        var ones = SIMD2<UInt64>(), twos = SIMD2<UInt64>(), fours = SIMD2<UInt64>(), eights = SIMD2<UInt64>()
        while i + 32 <= count {
            let a = addEight(&ones, &twos, &fours, from + i * 8)
            let b = addEight(&ones, &twos, &fours, from + i * 8 + 128)
            all &+= bitsOf(add(&eights, a, b)) &<< 4
            i += 32
        }
        all &+= (bitsOf(eights) &<< 3) &+ (bitsOf(fours) &<< 2)
        all &+= (bitsOf(twos) &<< 1) &+ bitsOf(ones)
    }
    while i + 8 <= count {
        var ones = SIMD2<UInt64>(), twos = SIMD2<UInt64>()
        all &+= bitsOf(addFour(&ones, &twos, from + i * 8)) &<< 2
        all &+= (bitsOf(twos) &<< 1) &+ bitsOf(ones)
        i += 8
    }
    var sum = Int(all[0] &+ all[1])
    while i < count {
        sum += words[i].nonzeroBitCount
        i += 1
    }
    return sum
}

/// A full adder in each bit: ones becomes the sum, the carry comes back.
@inline(__always)
private func add(_ ones: inout SIMD2<UInt64>, _ a: SIMD2<UInt64>, _ b: SIMD2<UInt64>) -> SIMD2<UInt64> {
    let both = ones ^ a, carry = (ones & a) | (both & b)
    ones = both ^ b
    return carry
}

/// Eight pairs of words: what they carry into the eights.
@inline(__always)
private func addEight(_ ones: inout SIMD2<UInt64>, _ twos: inout SIMD2<UInt64>, _ fours: inout SIMD2<UInt64>,
                      _ from: UnsafeRawPointer) -> SIMD2<UInt64> {
    let a = addFour(&ones, &twos, from), b = addFour(&ones, &twos, from + 64)
    return add(&fours, a, b)
}

/// Four pairs of words: what they carry into the fours.
@inline(__always)
private func addFour(_ ones: inout SIMD2<UInt64>, _ twos: inout SIMD2<UInt64>,
                     _ from: UnsafeRawPointer) -> SIMD2<UInt64> {
    let a = add(&ones, pair(from, 0), pair(from, 1)), b = add(&ones, pair(from, 2), pair(from, 3))
    return add(&twos, a, b)
}

@inline(__always)
private func pair(_ from: UnsafeRawPointer, _ index: Int) -> SIMD2<UInt64> {
    from.loadUnaligned(fromByteOffset: index * 16, as: SIMD2<UInt64>.self)
}

/// The bits of each word, counted in ever wider fields.
@inline(__always)
private func bitsOf(_ words: SIMD2<UInt64>) -> SIMD2<UInt64> {
    let odd = SIMD2<UInt64>(repeating: 0x5555_5555_5555_5555), two = SIMD2<UInt64>(repeating: 0x3333_3333_3333_3333)
    let four = SIMD2<UInt64>(repeating: 0x0f0f_0f0f_0f0f_0f0f), byte = SIMD2<UInt64>(repeating: 0x00ff_00ff_00ff_00ff)
    var x = words &- ((words &>> 1) & odd)
    x = (x & two) &+ ((x &>> 2) & two)
    x = (x &+ (x &>> 4)) & four
    x = (x & byte) &+ ((x &>> 8) & byte)
    x = x &+ (x &>> 16)
    return (x &+ (x &>> 32)) & SIMD2<UInt64>(repeating: 0xffff)
}
