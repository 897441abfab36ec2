/// SplitMix64: the same numbers on every machine and in every run.
struct Random: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 0x1234_5678_9abc_def1 }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// 0..<bound
    mutating func below(_ bound: Int) -> Int { Int(truncatingIfNeeded: ((next() >> 32) &* UInt64(bound)) >> 32) }

    /// 0..<1
    mutating func unit() -> Float { Float(next() >> 40) * 0x1p-24 }

    /// Roughly normal, variance 1: the sum of twelve 16-bit numbers.
    mutating func normal() -> Float {
        var sum: UInt64 = 0
        for _ in 0..<3 {
            let r = next()
            sum += (r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48)
        }
        return (Float(sum) - 6 * 65535) / 65536
    }

    /// Any bit pattern.
    mutating func bits() -> UInt32 { UInt32(truncatingIfNeeded: next() >> 32) }
}
