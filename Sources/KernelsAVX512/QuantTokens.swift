import CKernelABI
import CInstructions

// Expanded weights of two panels times up to 16 tokens. The same code for all types whose parts have the same size and
// a minimum or none, so it is there four times and not once per type.
//
// Up to 6 tokens at a time: 12 integer sums, 12 results and 2 rows of weights fill the registers. Rows of a part are
// written out, not looped over: on Zen 5 the loop cost a third of the rate (3.7 against 5.3 G vpdpbusd/s, at most 7.4;
// scaling every 32 k takes the rest).

/// Size of a part, and whether it has a minimum, as a type: constant before anything is inlined.
private protocol PartForm {
    static var sixteen: Bool { get }
    static var minimum: Bool { get }
}

private enum Part32: PartForm {
    @inline(__always) static var sixteen: Bool { false }
    @inline(__always) static var minimum: Bool { false }
}

private enum Part32Minimum: PartForm {
    @inline(__always) static var sixteen: Bool { false }
    @inline(__always) static var minimum: Bool { true }
}

private enum Part16: PartForm {
    @inline(__always) static var sixteen: Bool { true }
    @inline(__always) static var minimum: Bool { false }
}

private enum Part16Minimum: PartForm {
    @inline(__always) static var sixteen: Bool { true }
    @inline(__always) static var minimum: Bool { true }
}

/// Tokens of a group.
private protocol GroupSize {
    static var count: Int { get }
}

private enum One: GroupSize { @inline(__always) static var count: Int { 1 } }
private enum Two: GroupSize { @inline(__always) static var count: Int { 2 } }
private enum Three: GroupSize { @inline(__always) static var count: Int { 3 } }
private enum Four: GroupSize { @inline(__always) static var count: Int { 4 } }
private enum Five: GroupSize { @inline(__always) static var count: Int { 5 } }
private enum Six: GroupSize { @inline(__always) static var count: Int { 6 } }

/// Where the scratch of QuantGemm.swift has the scales and minimums of the first panel; those of the second are 4 KB
/// behind, its levels 16 KB.

/// One row of 4 k of two panels against the tokens of a group.
@inline(__always)
private func multiply(_ count: Int, _ sums: inout IntegerSums, _ w: UnsafeRawPointer, _ x: UnsafeRawPointer,
                      _ row: Int) {
    let u = sx_load(w + row * 64), v = sx_load(w + (row * 64 + Int(SX_GEMM_SECOND)))
    sums.each(count) { token, a, b in
        let four = sx_broadcast32(x + (token * 64 + row * 4))
        a = sx_dpbusd(a, u, four)
        b = sx_dpbusd(b, v, four)
    }
}

/// A group of tokens against all of the chunk.
@inline(never)
private func group<P: PartForm, G: GroupSize>(_: P.Type, _: G.Type, _ scratch: UnsafeRawPointer, _ blocks: Int,
                                              _ rows: Int, fresh: Bool, _ kept: UnsafeMutableRawPointer,
                                              _ x: UnsafeRawPointer, _ tokenScales: UnsafeRawPointer,
                                              _ tokenSums: UnsafeRawPointer, _ ahead: AheadLines) {
    sx_unwind_tables()
    let count = G.count
    var totals = FloatSums()
    if !fresh { totals.load(count, kept) }
    var w = scratch, side = scratch + Int(SX_GEMM_SCALES), x = x, scales = tokenScales, sumsAt = tokenSums
    var ahead = ahead
    let end = w + blocks * 1024
    while w < end {
        // Before the products: behind them, the compiler would move them across this loop and leave their loads
        // in front.
        ahead.fetch()
        var sums = IntegerSums(count, sumsAt, from: !P.minimum)
        multiply(count, &sums, w, x, 0)
        multiply(count, &sums, w, x, 1)
        multiply(count, &sums, w, x, 2)
        multiply(count, &sums, w, x, 3)
        if !P.sixteen {
            multiply(count, &sums, w, x, 4)
            multiply(count, &sums, w, x, 5)
            multiply(count, &sums, w, x, 6)
            multiply(count, &sums, w, x, 7)
        }
        let s0 = sx_load_ps(side), s1 = sx_load_ps(side + 4096)
        totals.each(count) { token, a, b in
            let scale = sx_broadcast_ps(scales + token * 4)
            let (p, q) = sums.token(token)
            a = sx_fma(sx_float(p), sx_mul(s0, scale), a)
            b = sx_fma(sx_float(q), sx_mul(s1, scale), b)
            if P.minimum {
                let sum = sx_broadcast_ps(sumsAt + token * 4)
                a = sx_fnmadd(sx_load_ps(side + (Int(SX_GEMM_MINIMUMS) - Int(SX_GEMM_SCALES))), sum, a)
                b = sx_fnmadd(sx_load_ps(side + (Int(SX_GEMM_MINIMUMS) - Int(SX_GEMM_SCALES) + 4096)), sum, b)
            }
        }
        w += P.sixteen ? 256 : 512
        side += 64
        sumsAt += rows * 4
        // Activations have a scale per 32, and 64 k lie together.
        let step = P.sixteen ? 16 : 32, done = (w - scratch) / 16
        x += done & 63 == 0 ? rows * 64 - (64 - step) : step
        if done & 31 == 0 { scales += rows * 4 }
    }
    totals.store(count, kept)
}

@inline(__always)
private func tile<P: PartForm>(_: P.Type, _ scratch: UnsafeRawPointer, _ blocks: Int, _ rows: Int, fresh: Bool,
                               _ kept: UnsafeMutableRawPointer, _ x: UnsafeRawPointer, _ tokenScales: UnsafeRawPointer,
                               _ tokenSums: UnsafeRawPointer, _ ahead: AheadLines) {
    // 7 tokens are 4 and 3, not 6 and 1: a group of one reads as many weights as a group of six.
    var first = 0, groups = (rows + 5) / 6, ahead = ahead
    while first < rows {
        let count = (rows - first + groups - 1) / groups
        let kept = kept + first * 128, x = x + first * 64, scales = tokenScales + first * 4
        let sums = tokenSums + first * 4
        // Two steps: a switch would be a jump through a table, and kernels have none (cmake/check_library.py).
        if count > 3 {
            if count == 6 {
                group(P.self, Six.self, scratch, blocks, rows, fresh: fresh, kept, x, scales, sums, ahead)
            } else if count == 5 {
                group(P.self, Five.self, scratch, blocks, rows, fresh: fresh, kept, x, scales, sums, ahead)
            } else {
                group(P.self, Four.self, scratch, blocks, rows, fresh: fresh, kept, x, scales, sums, ahead)
            }
        } else if count == 3 {
            group(P.self, Three.self, scratch, blocks, rows, fresh: fresh, kept, x, scales, sums, ahead)
        } else if count == 2 {
            group(P.self, Two.self, scratch, blocks, rows, fresh: fresh, kept, x, scales, sums, ahead)
        } else {
            group(P.self, One.self, scratch, blocks, rows, fresh: fresh, kept, x, scales, sums, ahead)
        }
        first += count
        groups -= 1
        ahead.stop()  // the first group has fetched
    }
}

/// Adds the products of `rows` tokens (1 to 16) with one chunk of two panels to their results. scratch: the expanded
/// weights; fresh: there are no results yet; kept: 128 bytes per token; x, tokenScales, tokenSums: of the first token,
/// packed as FORMAT.md says; ahead: weights that come next, fetched meanwhile.
@inline(__always)
func multiplyTile<Q: QuantType>(_: Q.Type, _ scratch: UnsafeRawPointer, _ blocks: Int, _ rows: Int, fresh: Bool,
                                _ kept: UnsafeMutableRawPointer, _ x: UnsafeRawPointer, _ tokenScales: UnsafeRawPointer,
                                _ tokenSums: UnsafeRawPointer, _ ahead: AheadLines) {
    let q = Q.quant
    if q.part_k == 16 {
        if q.minimum != 0 {
            tile(Part16Minimum.self, scratch, blocks, rows, fresh: fresh, kept, x, tokenScales, tokenSums, ahead)
        } else {
            tile(Part16.self, scratch, blocks, rows, fresh: fresh, kept, x, tokenScales, tokenSums, ahead)
        }
    } else if q.minimum != 0 {
        tile(Part32Minimum.self, scratch, blocks, rows, fresh: fresh, kept, x, tokenScales, tokenSums, ahead)
    } else {
        tile(Part32.self, scratch, blocks, rows, fresh: fresh, kept, x, tokenScales, tokenSums, ahead)
    }
}
