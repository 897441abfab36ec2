import CKernelABI
import CInstructions

// F16: weights widened exactly to float32 and multiplied with float32 activations, so nothing but the sums is rounded.
// A tile row holds pairs (k, k+1) per column; widened, its lower half is columns 0-7 and its upper half columns 8-15,
// each with its pair side by side. Activations are broadcast as pairs, and the two sums of a column meet at the end.

/// Both halves of a tile row against up to 8 tokens, whose packed rows are 128 bytes apart.
@inline(__always)
private func multiply(_ count: Int, _ sums: inout FloatSums, _ low: __m512, _ high: __m512, _ x: UnsafeRawPointer) {
    sums.each(count) { token, a, b in
        let two = sx_broadcast_two_ps(x + token * 128)
        a = sx_fma(low, two, a)
        b = sx_fma(high, two, b)
    }
}

/// Adds the two sums of each column.
@inline(__always)
private func joinPairs(_ low: __m512, _ high: __m512) -> __m512 {
    return sx_add(sx_permute2_ps(low, sx_even_lanes(), high), sx_permute2_ps(low, sx_odd_lanes(), high))
}

/// Tokens in `passes` groups of `count`. A pair of panels comes from memory once and, if there is a second pass,
/// from L2 then.
@inline(__always)
func f16Decode(_ count: Int, passes: Int, sparse: Bool, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    let step = count * passes * 128
    eachDistantPair(args) { first, second in
        var pass = 0
        while pass < passes {
            var s0 = FloatSums(), s1 = FloatSums()
            var x = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped) + pass * count * 128
            var kblock = 0
            if sparse {
                var p0 = WideRows(args, sparse: true, first), p1 = WideRows(args, sparse: true, second)
                while kblock < Int(args.w.kblocks) {
                    p0.fetchMasks()
                    p1.fetchMasks()
                    var row = 0
                    while row < 16 {
                        let w0 = p0.row(row, fetch: row & 1 == 0), w1 = p1.row(row, fetch: row & 1 == 0)
                        multiply(count, &s0, sx_f16_low(w0), sx_f16_high(w0), x + row * 8)
                        multiply(count, &s1, sx_f16_low(w1), sx_f16_high(w1), x + row * 8)
                        row += 1
                    }
                    p0.advance(16)
                    p1.advance(16)
                    x += step
                    kblock += 1
                }
            } else {
                var p0 = denseTile(args, first, 0), p1 = denseTile(args, second, 0)
                while kblock < Int(args.w.kblocks) {
                    var row = 0
                    while row < 16 {
                        sx_prefetch(p0 + prefetchAhead)
                        sx_prefetch(p1 + prefetchAhead)
                        multiply(count, &s0, sx_f16_load(p0), sx_f16_load(p0 + 32), x + row * 8)
                        multiply(count, &s1, sx_f16_load(p1), sx_f16_load(p1 + 32), x + row * 8)
                        p0 += 64
                        p1 += 64
                        row += 1
                    }
                    x += step
                    kblock += 1
                }
            }
            store(count, args, pass * count, first, &s0)
            store(count, args, pass * count, second, &s1)
            pass += 1
        }
    }
}

/// Results of a group; its last tokens may not exist.
@inline(__always)
private func store(_ count: Int, _ args: sx_kernel_args, _ token: Int, _ panel: Int, _ sums: inout FloatSums) {
    sums.each(count) { i, a, b in
        if token + i < Int(args.x.m) { storeResult(args, token + i, panel, joinPairs(a, b)) }
    }
}

/// Widens up to 16 K-blocks of a panel to float32: two vectors per tile row.
@inline(__always)
private func widen(sparse: Bool, _ args: sx_kernel_args, _ panel: Int, _ firstBlock: Int, _ blocks: Int,
                   _ to: UnsafeMutableRawPointer) {
    var out = to
    let end = to + blocks * 2048
    if sparse {
        var rows = WideRows(args, sparse: true, panel, firstBlock)
        while out < end {
            let codes = rows.row(0, fetch: true)
            sx_store_ps(out, sx_f16_low(codes))
            sx_store_ps(out + 64, sx_f16_high(codes))
            rows.advance(1)
            out += 128
        }
    } else {
        var codes = denseTile(args, panel, firstBlock)
        while out < end {
            sx_store_ps(out, sx_f16_load(codes))
            sx_store_ps(out + 64, sx_f16_load(codes + 32))
            codes += 64
            out += 128
        }
    }
}

@inline(__always)
func f16Gemm(sparse: Bool, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    let weights = UnsafeMutableRawPointer(args.scratch), results = weights + Int(SX_GEMM_BYTES)
    let stride = min(Int(args.x.m), Int(SX_GEMM_M)) * 128
    eachGemmBlock(args) { firstToken, tokens, pair, inRun, chunk, next in
        let firstBlock = chunk * 16, blocks = min(16, Int(args.w.kblocks) - firstBlock)
        let last = firstBlock + blocks == Int(args.w.kblocks)
        let pairEnd = min(pair + 2, Int(args.panel_end))
        var ahead = wideAhead(args, sparse: sparse, next.pair, next.chunk, steps: blocks * 4,
                              weights + Int(SX_GEMM_WIDE_LIST))
        var panel = pair
        while panel < pairEnd {
            // A widened panel fills the L1 alone, so the panels of a pair take turns; each keeps half of the results.
            widen(sparse: sparse, args, panel, firstBlock, blocks, weights)
            let keptPanel = results + ((2 * inRun + panel - pair) * stride)
            var tile = 0
            while tile < tokens {
                let rows = min(16, tokens - tile)
                let x = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped)
                    + activationRow(args, firstBlock, firstToken + tile) * 128
                eachGroup(rows, 8) { count, group in
                    var sums = FloatSums()
                    let kept = keptPanel + (tile + group) * 128
                    if chunk > 0 { sums.load(count, kept) }
                    var w = UnsafeRawPointer(weights), xs = x + group * 128
                    let end = w + blocks * 2048, fetching = tile + group == 0  // the first group of each panel
                    while w < end {
                        var half = 0
                        while half < 2048 {
                            // Written out: see QuantTokens.swift.
                            if fetching { ahead.fetch() }
                            let row = w + half
                            multiply(count, &sums, sx_load_ps(row), sx_load_ps(row + 64), xs)
                            multiply(count, &sums, sx_load_ps(row + 128), sx_load_ps(row + 192), xs + 8)
                            multiply(count, &sums, sx_load_ps(row + 256), sx_load_ps(row + 320), xs + 16)
                            multiply(count, &sums, sx_load_ps(row + 384), sx_load_ps(row + 448), xs + 24)
                            multiply(count, &sums, sx_load_ps(row + 512), sx_load_ps(row + 576), xs + 32)
                            multiply(count, &sums, sx_load_ps(row + 640), sx_load_ps(row + 704), xs + 40)
                            multiply(count, &sums, sx_load_ps(row + 768), sx_load_ps(row + 832), xs + 48)
                            multiply(count, &sums, sx_load_ps(row + 896), sx_load_ps(row + 960), xs + 56)
                            xs += 64
                            half += 1024
                        }
                        w += 2048
                        xs += rows * 128 - 128
                    }
                    if last {
                        sums.each(count) { i, a, b in
                            storeResult(args, firstToken + tile + group + i, panel, joinPairs(a, b))
                        }
                    } else {
                        sums.store(count, kept)
                    }
                }
                tile += 16
            }
            panel += 1
        }
    }
}
