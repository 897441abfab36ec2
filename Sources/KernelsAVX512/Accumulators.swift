import CInstructions

/// Sums of up to 8 tokens against two vectors of weights (two panels, or the two halves of one F16 panel). A plain
/// struct of vectors that lives in registers: every use is inlined, and fields beyond the token count vanish.
struct FloatSums {
    var a0, a1, a2, a3, a4, a5, a6, a7: __m512
    var b0, b1, b2, b3, b4, b5, b6, b7: __m512

    @inline(__always)
    init() {
        a0 = sx_zero_ps(); a1 = sx_zero_ps(); a2 = sx_zero_ps(); a3 = sx_zero_ps()
        a4 = sx_zero_ps(); a5 = sx_zero_ps(); a6 = sx_zero_ps(); a7 = sx_zero_ps()
        b0 = sx_zero_ps(); b1 = sx_zero_ps(); b2 = sx_zero_ps(); b3 = sx_zero_ps()
        b4 = sx_zero_ps(); b5 = sx_zero_ps(); b6 = sx_zero_ps(); b7 = sx_zero_ps()
    }

    /// Calls body for each token with its two sums.
    @inline(__always)
    mutating func each(_ count: Int, _ body: (Int, inout __m512, inout __m512) -> Void) {
        body(0, &a0, &b0)
        if count > 1 { body(1, &a1, &b1) }
        if count > 2 { body(2, &a2, &b2) }
        if count > 3 { body(3, &a3, &b3) }
        if count > 4 { body(4, &a4, &b4) }
        if count > 5 { body(5, &a5, &b5) }
        if count > 6 { body(6, &a6, &b6) }
        if count > 7 { body(7, &a7, &b7) }
    }

    @inline(__always)
    mutating func load(_ count: Int, _ from: UnsafeRawPointer) {
        each(count) { token, a, b in
            a = sx_load_ps(from + token * 128)
            b = sx_load_ps(from + token * 128 + 64)
        }
    }

    @inline(__always)
    mutating func store(_ count: Int, _ to: UnsafeMutableRawPointer) {
        each(count) { token, a, b in
            sx_store_ps(to + token * 128, a)
            sx_store_ps(to + token * 128 + 64, b)
        }
    }
}

/// Integer sums of up to 8 tokens against two panels.
struct IntegerSums {
    var a0, a1, a2, a3, a4, a5, a6, a7: __m512i
    var b0, b1, b2, b3, b4, b5, b6, b7: __m512i

    /// Starts from what the tokens' packed sums say, or from zero.
    @inline(__always)
    init(_ count: Int, _ sums: UnsafeRawPointer, from: Bool) {
        a0 = from ? sx_broadcast32(sums) : sx_zero()
        a1 = from && count > 1 ? sx_broadcast32(sums + 4) : sx_zero()
        a2 = from && count > 2 ? sx_broadcast32(sums + 8) : sx_zero()
        a3 = from && count > 3 ? sx_broadcast32(sums + 12) : sx_zero()
        a4 = from && count > 4 ? sx_broadcast32(sums + 16) : sx_zero()
        a5 = from && count > 5 ? sx_broadcast32(sums + 20) : sx_zero()
        a6 = from && count > 6 ? sx_broadcast32(sums + 24) : sx_zero()
        a7 = from && count > 7 ? sx_broadcast32(sums + 28) : sx_zero()
        b0 = a0; b1 = a1; b2 = a2; b3 = a3; b4 = a4; b5 = a5; b6 = a6; b7 = a7
    }

    @inline(__always)
    func token(_ index: Int) -> (__m512i, __m512i) {
        switch index {
        case 0: return (a0, b0)
        case 1: return (a1, b1)
        case 2: return (a2, b2)
        case 3: return (a3, b3)
        case 4: return (a4, b4)
        default: return (a5, b5)
        }
    }

    @inline(__always)
    mutating func each(_ count: Int, _ body: (Int, inout __m512i, inout __m512i) -> Void) {
        body(0, &a0, &b0)
        if count > 1 { body(1, &a1, &b1) }
        if count > 2 { body(2, &a2, &b2) }
        if count > 3 { body(3, &a3, &b3) }
        if count > 4 { body(4, &a4, &b4) }
        if count > 5 { body(5, &a5, &b5) }
        if count > 6 { body(6, &a6, &b6) }
        if count > 7 { body(7, &a7, &b7) }
    }
}
