import CInstructions

// A tile is a 16x16 transposition of 4-byte groups: a row of the file gives 16 groups of one column, a row of the tile
// has one group of 16 columns.

/// 16 vectors; rows of a tile, or of the file.
struct Rows {
    var r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13, r14, r15: __m512i

    @inline(__always)
    init(_ row: (Int) -> __m512i) {
        r0 = row(0); r1 = row(1); r2 = row(2); r3 = row(3); r4 = row(4); r5 = row(5); r6 = row(6); r7 = row(7)
        r8 = row(8); r9 = row(9); r10 = row(10); r11 = row(11); r12 = row(12); r13 = row(13); r14 = row(14)
        r15 = row(15)
    }

    @inline(__always)
    func each(_ body: (Int, __m512i) -> Void) {
        body(0, r0); body(1, r1); body(2, r2); body(3, r3); body(4, r4); body(5, r5); body(6, r6); body(7, r7)
        body(8, r8); body(9, r9); body(10, r10); body(11, r11); body(12, r12); body(13, r13); body(14, r14)
        body(15, r15)
    }

    @inline(__always)
    mutating func transpose() {
        // 4x4 blocks inside each 128-bit lane ...
        Self.lanes(&r0, &r1, &r2, &r3)
        Self.lanes(&r4, &r5, &r6, &r7)
        Self.lanes(&r8, &r9, &r10, &r11)
        Self.lanes(&r12, &r13, &r14, &r15)
        // ... then the lanes.
        Self.across(&r0, &r4, &r8, &r12)
        Self.across(&r1, &r5, &r9, &r13)
        Self.across(&r2, &r6, &r10, &r14)
        Self.across(&r3, &r7, &r11, &r15)
    }

    @inline(__always)
    private static func lanes(_ a: inout __m512i, _ b: inout __m512i, _ c: inout __m512i, _ d: inout __m512i) {
        let ab0 = sx_unpack_low32(a, b), ab1 = sx_unpack_high32(a, b)
        let cd0 = sx_unpack_low32(c, d), cd1 = sx_unpack_high32(c, d)
        a = sx_unpack_low64(ab0, cd0)
        b = sx_unpack_high64(ab0, cd0)
        c = sx_unpack_low64(ab1, cd1)
        d = sx_unpack_high64(ab1, cd1)
    }

    @inline(__always)
    private static func across(_ a: inout __m512i, _ b: inout __m512i, _ c: inout __m512i, _ d: inout __m512i) {
        let ab0 = sx_lanes_even(a, b), ab1 = sx_lanes_odd(a, b)
        let cd0 = sx_lanes_even(c, d), cd1 = sx_lanes_odd(c, d)
        a = sx_lanes_even(ab0, cd0)
        b = sx_lanes_even(ab1, cd1)
        c = sx_lanes_odd(ab0, cd0)
        d = sx_lanes_odd(ab1, cd1)
    }
}
