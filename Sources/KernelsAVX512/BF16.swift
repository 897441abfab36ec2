import CKernelABI
import CInstructions

// BF16: vdpbf16ps on rows of 16 columns x 2 k. Per row of the sparse form: a mask, an expansion, one dot product per
// token; the expansion (3 cycles on port 5) and memory are the limits.

/// One tile row of two panels against up to 8 tokens, whose packed rows are 64 bytes apart.
@inline(__always)
func multiplyRow(_ count: Int, _ sums: inout FloatSums, _ w0: __m512i, _ w1: __m512i, _ x: UnsafeRawPointer) {
    sums.each(count) { token, a, b in
        let two = sx_broadcast32(x + token * 64)
        a = sx_dpbf16(a, w0, two)
        b = sx_dpbf16(b, w1, two)
    }
}

/// Results of one group of tokens. One token has two chains per panel.
@inline(__always)
func storeSums(_ args: sx_kernel_args, _ count: Int, _ pass: Int, _ first: Int, _ second: Int, _ even: inout FloatSums,
               _ odd: FloatSums) {
    if count == 1 {
        even.a0 = sx_add(even.a0, odd.a0)
        even.b0 = sx_add(even.b0, odd.b0)
    }
    even.each(count) { token, a, b in
        let token = pass * count + token
        if token < Int(args.x.m) {  // the last tokens of a group may not exist
            storeResult(args, token, first, a)
            storeResult(args, token, second, b)
        }
    }
}

/// Tokens in `passes` groups of `count`. A pair of panels comes from memory once and, if there is a second pass,
/// from L2 then.
@inline(__always)
func bf16Decode(_ count: Int, passes: Int, sparse: Bool, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    let step = count * passes * 64
    eachDistantPair(args) { first, second in
        var pass = 0
        while pass < passes {
            // One token has two chains per panel: a single one would wait for the latency of vdpbf16ps.
            var even = FloatSums(), odd = FloatSums()
            var x = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped) + pass * count * 64
            var kblock = 0
            if sparse {
                var p0 = WideRows(args, sparse: true, first), p1 = WideRows(args, sparse: true, second)
                while kblock < Int(args.w.kblocks) {
                    p0.fetchMasks()
                    p1.fetchMasks()
                    var row = 0
                    while row < 16 {
                        let w0 = p0.row(row, fetch: true), w1 = p1.row(row, fetch: true)
                        multiplyRow(count, &even, w0, w1, x + row * 4)
                        let v0 = p0.row(row + 1, fetch: false), v1 = p1.row(row + 1, fetch: false)
                        if count == 1 {
                            multiplyRow(1, &odd, v0, v1, x + row * 4 + 4)
                        } else {
                            multiplyRow(count, &even, v0, v1, x + row * 4 + 4)
                        }
                        row += 2
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
                        sx_prefetch(p0 + prefetchAhead + row * 64)
                        sx_prefetch(p1 + prefetchAhead + row * 64)
                        if count == 1 && row & 1 == 1 {
                            multiplyRow(1, &odd, sx_load(p0 + row * 64), sx_load(p1 + row * 64), x + row * 4)
                        } else {
                            multiplyRow(count, &even, sx_load(p0 + row * 64), sx_load(p1 + row * 64), x + row * 4)
                        }
                        row += 1
                    }
                    p0 += 1024
                    p1 += 1024
                    x += step
                    kblock += 1
                }
            }
            storeSums(args, count, pass, first, second, &even, odd)
            pass += 1
        }
    }
}

/// Expands one chunk of a panel into tiles.
@inline(__always)
private func expand(_ args: sx_kernel_args, _ panel: Int, _ firstBlock: Int, _ blocks: Int,
                    coded: Bool, sparse: Bool, _ to: UnsafeMutableRawPointer) {
    let end = to + blocks * 1024
    var out = to
    if coded {
        var rows = CodedRows(args, sparse: sparse, panel, firstBlock)
        while out < end {
            rows.quad(out)
            out += 256
        }
        return
    }
    var rows = WideRows(args, sparse: true, panel, firstBlock)
    while out < end {
        sx_store(out, rows.row(0, fetch: true))
        rows.advance(1)
        out += 64
    }
}

@inline(__always)
func bf16Gemm(sparse: Bool, coded: Bool = false, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    let tiles = UnsafeMutableRawPointer(args.scratch), results = tiles + Int(SX_GEMM_BYTES)
    let stride = min(Int(args.x.m), Int(SX_GEMM_M)) * 128
    eachGemmBlock(args) { firstToken, tokens, panel, inRun, chunk, next in
        let firstBlock = chunk * 16, blocks = min(16, Int(args.w.kblocks) - firstBlock)
        let last = firstBlock + blocks == Int(args.w.kblocks)
        let second = panel + 1 < Int(args.panel_end) ? panel + 1 : panel
        var w0 = UnsafeRawPointer(tiles), w1 = w0 + Int(SX_GEMM_SECOND)
        if sparse || coded {
            expand(args, panel, firstBlock, blocks, coded: coded, sparse: sparse, tiles)
            expand(args, second, firstBlock, blocks, coded: coded, sparse: sparse, tiles + Int(SX_GEMM_SECOND))
        } else {
            w0 = denseTile(args, panel, firstBlock)
            w1 = denseTile(args, second, firstBlock)
        }
        var ahead = wideAhead(args, sparse: sparse, coded: coded, next.pair, next.chunk, steps: blocks * 2,
                              UnsafeMutableRawPointer(args.scratch) + Int(SX_GEMM_WIDE_LIST))
        var tile = 0
        while tile < tokens {
            let rows = min(16, tokens - tile)
            let x = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped)
                + activationRow(args, firstBlock, firstToken + tile) * 64
            eachGroup(rows, 8) { count, group in
                var sums = FloatSums()
                let kept = results + (inRun * stride + (tile + group) * 128)
                if chunk > 0 { sums.load(count, kept) }
                var p0 = w0, p1 = w1, xs = x + group * 64
                let end = w0 + blocks * 1024
                while p0 < end {
                    // Half a tile is written out: see QuantTokens.swift.
                    var half = 0
                    while half < 1024 {
                        ahead.fetch()
                        multiplyRow(count, &sums, sx_load(p0 + half), sx_load(p1 + half), xs)
                        multiplyRow(count, &sums, sx_load(p0 + half + 64), sx_load(p1 + half + 64), xs + 4)
                        multiplyRow(count, &sums, sx_load(p0 + half + 128), sx_load(p1 + half + 128), xs + 8)
                        multiplyRow(count, &sums, sx_load(p0 + half + 192), sx_load(p1 + half + 192), xs + 12)
                        multiplyRow(count, &sums, sx_load(p0 + half + 256), sx_load(p1 + half + 256), xs + 16)
                        multiplyRow(count, &sums, sx_load(p0 + half + 320), sx_load(p1 + half + 320), xs + 20)
                        multiplyRow(count, &sums, sx_load(p0 + half + 384), sx_load(p1 + half + 384), xs + 24)
                        multiplyRow(count, &sums, sx_load(p0 + half + 448), sx_load(p1 + half + 448), xs + 28)
                        xs += 32
                        half += 512
                    }
                    p0 += 1024
                    p1 += 1024
                    xs += rows * 64 - 64
                }
                ahead.stop()
                if last {
                    let token = firstToken + tile + group
                    sums.each(count) { i, a, b in
                        storeResult(args, token + i, panel, a)
                        storeResult(args, token + i, second, b)
                    }
                } else {
                    sums.store(count, kept)
                }
            }
            tile += 16
        }
    }
}
