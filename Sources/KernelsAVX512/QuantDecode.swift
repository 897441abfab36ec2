import CKernelABI
import CInstructions

// Quantized types, 1, 2 or 4 tokens (3 are 4, one of them zero): vpdpbusd of codes (unsigned; the background comes with
// the expansion for free) and signed 8-bit activations. Integer sums of a part (32 or 16 weights) start at -offset
// times the sum of the activations, are scaled and added in single precision as the reference does it, in the same
// order: bit-equal to it.

/// Ends a part: scales its integer sums and adds them to the results.
@inline(__always)
private func accumulate(_ q: sx_quant, _ count: Int, _ totals: inout FloatSums, _ sums: inout IntegerSums,
                        sixteenfold: Bool, _ scale0: (__m512, __m512), _ scale1: (__m512, __m512),
                        _ tokenScales: UnsafeRawPointer, _ tokenSums: UnsafeRawPointer) {
    sums.each(count) { token, x, y in
        if sixteenfold {
            x = sx_sixteenth(x)
            y = sx_sixteenth(y)
            if q.offset != 0 {
                let start = sx_broadcast32(tokenSums + token * 4)
                x = sx_add32(x, start)
                y = sx_add32(y, start)
            }
        }
    }
    totals.each(count) { token, a, b in
        let scale = sx_broadcast_ps(tokenScales + token * 4)
        let (x, y) = sums.token(token)
        a = sx_fma(sx_float(x), sx_mul(scale0.0, scale), a)
        b = sx_fma(sx_float(y), sx_mul(scale1.0, scale), b)
        if q.minimum != 0 {
            let sum = sx_broadcast_ps(tokenSums + token * 4)
            a = sx_fnmadd(scale0.1, sum, a)
            b = sx_fnmadd(scale1.1, sum, b)
        }
    }
}

/// One block of 32 of two panels.
@inline(__always)
private func block<Q: QuantType, F: WeightForm>(_: Q.Type, _: F.Type, _ count: Int, odd: Bool, _ index: Int,
                   _ r0: inout QuantRows, _ r1: inout QuantRows,
                   _ side0: UnsafeRawPointer, _ side1: UnsafeRawPointer, _ totals: inout FloatSums,
                   _ x: UnsafeRawPointer, _ tokenScales: UnsafeRawPointer, _ tokenSums: inout UnsafeRawPointer) {
    let q = Q.quant, sparse = F.sparse
    let sixteenfold = odd && QuantRows.sixteenfold(q)
    let parts = 32 / Int(q.part_k), rows = Int(q.part_k) / 4
    r0.begin(q, index, odd: odd)
    r1.begin(q, index, odd: odd)
    r0.prefetchMask(sparse: sparse)
    r1.prefetchMask(sparse: sparse)
    var part = 0
    while part < parts {
        let number = index * parts + part
        r0.background = quantBackground(q, side0, number, sixteenfold: sixteenfold)
        r1.background = quantBackground(q, side1, number, sixteenfold: sixteenfold)
        var sums = IntegerSums(count, tokenSums, from: q.offset != 0 && !sixteenfold)
        var row = 0
        while row < rows {
            let at = part * rows + row
            r0.prefetch(q, sparse: sparse, at)
            r1.prefetch(q, sparse: sparse, at)
            let w0 = r0.row(q, sparse: sparse, at, odd: odd, sixteenfold: sixteenfold)
            let w1 = r1.row(q, sparse: sparse, at, odd: odd, sixteenfold: sixteenfold)
            sums.each(count) { token, a, b in
                let four = sx_broadcast32(x + (token * 64 + at * 4))
                a = sx_dpbusd(a, w0, four)
                b = sx_dpbusd(b, w1, four)
            }
            row += 1
        }
        accumulate(q, count, &totals, &sums, sixteenfold: sixteenfold, quantScale(q, side0, number),
                   quantScale(q, side1, number), tokenScales, tokenSums)
        tokenSums += count * 4
        part += 1
    }
    r0.end(q, sparse: sparse, index, odd: odd)
    r1.end(q, sparse: sparse, index, odd: odd)
}

@inline(__always)
func quantDecode<Q: QuantType, F: WeightForm>(_: Q.Type, _: F.Type, _ count: Int,
                                              _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    let q = Q.quant, sparse = F.sparse
    let memory = UnsafeMutableRawPointer(args.scratch)
    let kblocks = Int(args.w.kblocks)
    eachDistantPair(args) { first, second in
        var totals = FloatSums()
        var x = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped)
        var tokenScales = UnsafeRawPointer(args.x.scales.unsafelyUnwrapped)
        var tokenSums = UnsafeRawPointer(args.x.sums.unsafelyUnwrapped)
        var chunk = 0
        while chunk * 4 < kblocks {
            let s0 = QuantStreams(q, sparse: sparse, args, first, chunk)
            let s1 = QuantStreams(q, sparse: sparse, args, second, chunk)
            var r0 = QuantRows(s0, memory), r1 = QuantRows(s1, memory + 32)
            let kblocksInChunk = min(4, kblocks - chunk * 4)
            var inChunk = 0
            while inChunk < kblocksInChunk {
                sx_prefetch(s0.side + (inChunk * Int(q.side_bytes) + 1024))
                sx_prefetch(s1.side + (inChunk * Int(q.side_bytes) + 1024))
                block(Q.self, F.self, count, odd: false, inChunk * 2, &r0, &r1, s0.side, s1.side, &totals, x,
                      tokenScales, &tokenSums)
                block(Q.self, F.self, count, odd: true, inChunk * 2 + 1, &r0, &r1, s0.side, s1.side, &totals, x + 32,
                      tokenScales + count * 4, &tokenSums)
                tokenScales += count * 8
                x += count * 64
                inChunk += 1
            }
            chunk += 1
        }
        totals.each(count) { token, a, b in
            if token < Int(args.x.m) {
                storeResult(args, token, first, a)
                storeResult(args, token, second, b)
            }
        }
    }
}
