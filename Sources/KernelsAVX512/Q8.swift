import CKernelABI
import CTileShims

// Q8_0: vpdpbusd of weights + 128 (unsigned, the background code 0x80 comes with the expansion for free) and signed
// activation codes; the sums start at -128 times the sum of the activation codes. Every block of 32 is scaled as the
// reference does it, in the same order, so all kernels here equal it bit for bit.

/// One tile row of two panels against up to 8 tokens, whose packed rows are 64 bytes apart.
@inline(__always)
private func multiply(_ count: Int, _ sums: inout IntegerSums, _ w0: __m512i, _ w1: __m512i, _ x: UnsafeRawPointer) {
    sums.each(count) { token, a, b in
        let four = sx_broadcast32(x + token * 64)
        a = sx_dpbusd(a, w0, four)
        b = sx_dpbusd(b, w1, four)
    }
}

/// Ends a block of 32: scales the integer sums and adds them to the results.
@inline(__always)
private func accumulate(_ count: Int, _ totals: inout FloatSums, _ sums: IntegerSums, _ scale0: __m512,
                        _ scale1: __m512, _ tokenScales: UnsafeRawPointer) {
    totals.each(count) { token, a, b in
        let scale = sx_broadcast_ps(tokenScales + token * 4)
        let (x, y) = sums.token(token)
        a = sx_fma(sx_float(x), sx_mul(scale0, scale), a)
        b = sx_fma(sx_float(y), sx_mul(scale1, scale), b)
    }
}

extension IntegerSums {
    @inline(__always)
    func token(_ index: Int) -> (__m512i, __m512i) {
        switch index {
        case 0: return (a0, b0)
        case 1: return (a1, b1)
        case 2: return (a2, b2)
        default: return (a3, b3)
        }
    }
}

private struct SparseRows {
    var mask: UnsafePointer<UInt64>
    var values: UnsafeRawPointer
    let background: __m512i

    @inline(__always)
    init(_ args: sx_kernel_args, _ panel: Int) {
        mask = UnsafeRawPointer(args.bitmap.unsafelyUnwrapped + panel * Int(args.kblocks) * 128)
            .assumingMemoryBound(to: UInt64.self)
        values = sparseValues(args, panel, 0)
        background = sx_set8(-128)
    }

    @inline(__always)
    mutating func row(_ index: Int) -> __m512i {
        let bits = mask[index]
        let codes = sx_expand8(background, bits, sx_load(values))
        values += bits.nonzeroBitCount
        if index & 1 == 0 { sx_prefetch(values + prefetchAhead) }
        return codes
    }
}

@inline(__always)
private func scales(_ args: sx_kernel_args, _ panel: Int) -> UnsafeRawPointer {
    UnsafeRawPointer(args.scales.unsafelyUnwrapped) + panel * Int(args.kblocks) * 64
}

@inline(__always)
private func decode(_ count: Int, sparse: Bool, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    eachDistantPair(args) { first, second in
        var totals = FloatSums()
        var x = UnsafeRawPointer(args.a)
        var tokenScales = UnsafeRawPointer(args.a_scale.unsafelyUnwrapped)
        var tokenSums = UnsafeRawPointer(args.a_sum.unsafelyUnwrapped)
        var d0 = scales(args, first), d1 = scales(args, second)
        var p0 = sparse ? UnsafeRawPointer(args.values) : denseTile(args, first, 0)
        var p1 = sparse ? UnsafeRawPointer(args.values) : denseTile(args, second, 0)
        var r0: SparseRows? = nil, r1: SparseRows? = nil
        if sparse {
            r0 = SparseRows(args, first)
            r1 = SparseRows(args, second)
        }
        var block = 0
        while block < Int(args.kblocks) * 2 {
            var sums = IntegerSums(count, tokenSums)
            sx_prefetch(d0 + 512)
            sx_prefetch(d1 + 512)
            if sparse {
                sx_prefetch(UnsafeRawPointer(r0.unsafelyUnwrapped.mask) + prefetchAhead)
                sx_prefetch(UnsafeRawPointer(r1.unsafelyUnwrapped.mask) + prefetchAhead)
            }
            var row = 0
            while row < 8 {
                if sparse {
                    let w0 = r0!.row(row), w1 = r1!.row(row)
                    multiply(count, &sums, w0, w1, x + row * 4)
                } else {
                    sx_prefetch(p0 + prefetchAhead)
                    sx_prefetch(p1 + prefetchAhead)
                    multiply(count, &sums, sx_load(p0), sx_load(p1), x + row * 4)
                    p0 += 64
                    p1 += 64
                }
                row += 1
            }
            if sparse {
                r0!.mask += 8
                r1!.mask += 8
            }
            accumulate(count, &totals, sums, sx_f16_load(d0), sx_f16_load(d1), tokenScales)
            d0 += 32
            d1 += 32
            tokenScales += count * 4
            tokenSums += count * 4
            // The second half of a token's row follows the first; then the next K-block's rows.
            x += block & 1 == 0 ? 32 : count * 64 - 32
            block += 1
        }
        totals.each(count) { token, a, b in
            storeResult(args, token, first, a)
            storeResult(args, token, second, b)
        }
    }
}

@inline(__always)
private func expand(_ args: sx_kernel_args, _ panel: Int, _ firstBlock: Int, _ blocks: Int, _ to: UnsafeMutableRawPointer) {
    let background = sx_set8(-128)
    var mask = UnsafeRawPointer(args.bitmap.unsafelyUnwrapped + (panel * Int(args.kblocks) + firstBlock) * 128)
        .assumingMemoryBound(to: UInt64.self)
    var values = sparseValues(args, panel, firstBlock / 4)
    var out = to
    let end = to + blocks * 1024
    while out < end {
        let bits = mask[0]
        sx_store(out, sx_expand8(background, bits, sx_load(values)))
        values += bits.nonzeroBitCount
        sx_prefetch(values + prefetchAhead)
        mask += 1
        out += 64
    }
}

@inline(__always)
private func gemm(sparse: Bool, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    let tiles = UnsafeMutableRawPointer(args.scratch), results = tiles + 65536
    let stride = min(Int(args.m), Int(SX_GEMM_M)) * 128
    eachGemmBlock(args) { firstToken, tokens, panel, slot, chunk, _ in
        let firstBlock = chunk * 16, blocks = min(16, Int(args.kblocks) - firstBlock)
        let last = firstBlock + blocks == Int(args.kblocks)
        let second = panel + 1 < Int(args.panel_end) ? panel + 1 : panel
        var w0 = UnsafeRawPointer(tiles), w1 = w0 + 16384
        if sparse {
            expand(args, panel, firstBlock, blocks, tiles)
            expand(args, second, firstBlock, blocks, tiles + 16384)
        } else {
            w0 = denseTile(args, panel, firstBlock)
            w1 = denseTile(args, second, firstBlock)
        }
        var ahead0 = following(args, sparse: sparse, panel, chunk, blocks: 16, perOffset: 4)
        var ahead1 = following(args, sparse: sparse, second, chunk, blocks: 16, perOffset: 4)
        let scale0 = scales(args, panel) + firstBlock * 64, scale1 = scales(args, second) + firstBlock * 64
        var tile = 0
        while tile < tokens {
            let rows = min(16, tokens - tile)
            let rowIndex = activationRow(args, firstBlock, firstToken + tile)
            let x = UnsafeRawPointer(args.a) + rowIndex * 64
            let xScales = UnsafeRawPointer(args.a_scale.unsafelyUnwrapped) + rowIndex * 8
            let xSums = UnsafeRawPointer(args.a_sum.unsafelyUnwrapped) + rowIndex * 8
            eachGroup(rows, 8) { count, group in
                // 8 tokens x 2 panels fill the registers with integer sums, so the results stay in L1 meanwhile.
                let kept = results + (slot * stride + (tile + group) * 128)
                if chunk == 0 {
                    var none = FloatSums()
                    none.store(count, kept)
                }
                var p0 = w0, p1 = w1, d0 = scale0, d1 = scale1
                var xs = x + group * 64, tokenScales = xScales + group * 4, tokenSums = xSums + group * 4
                let step = tile + group == 0 ? 64 : 0  // the first group fetches, the others repeat its last line
                var block = 0
                while block < blocks * 2 {
                    var sums = IntegerSums(count, tokenSums)
                    var row = 0
                    while row < 8 {
                        multiply(count, &sums, sx_load(p0 + row * 64), sx_load(p1 + row * 64), xs + row * 4)
                        sx_prefetch_l2(ahead0)
                        sx_prefetch_l2(ahead1)
                        ahead0 += step
                        ahead1 += step
                        row += 1
                    }
                    let weightScale0 = sx_f16_load(d0), weightScale1 = sx_f16_load(d1)
                    sums.each(count) { token, x, y in
                        let scale = sx_broadcast_ps(tokenScales + token * 4), total = kept + token * 128
                        sx_store_ps(total, sx_fma(sx_float(x), sx_mul(weightScale0, scale), sx_load_ps(total)))
                        sx_store_ps(total + 64, sx_fma(sx_float(y), sx_mul(weightScale1, scale), sx_load_ps(total + 64)))
                    }
                    p0 += 512
                    p1 += 512
                    d0 += 32
                    d1 += 32
                    tokenScales += rows * 4
                    tokenSums += rows * 4
                    xs += block & 1 == 0 ? 32 : rows * 64 - 32
                    block += 1
                }
                if last {
                    var i = 0
                    while i < count {
                        storeResult(args, firstToken + tile + group + i, panel, sx_load_ps(kept + i * 128))
                        storeResult(args, firstToken + tile + group + i, second, sx_load_ps(kept + (i * 128 + 64)))
                        i += 1
                    }
                }
            }
            tile += 16
        }
    }
}

@c(sx_avx512_q8_dense_m1) @implementation
public func sx_avx512_q8_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { decode(1, sparse: false, args) }
@c(sx_avx512_q8_dense_m2) @implementation
public func sx_avx512_q8_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { decode(2, sparse: false, args) }
@c(sx_avx512_q8_dense_m3) @implementation
public func sx_avx512_q8_dense_m3(_ args: UnsafePointer<sx_kernel_args>) { decode(3, sparse: false, args) }
@c(sx_avx512_q8_dense_m4) @implementation
public func sx_avx512_q8_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { decode(4, sparse: false, args) }
@c(sx_avx512_q8_sparse_m1) @implementation
public func sx_avx512_q8_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { decode(1, sparse: true, args) }
@c(sx_avx512_q8_sparse_m2) @implementation
public func sx_avx512_q8_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { decode(2, sparse: true, args) }
@c(sx_avx512_q8_sparse_m3) @implementation
public func sx_avx512_q8_sparse_m3(_ args: UnsafePointer<sx_kernel_args>) { decode(3, sparse: true, args) }
@c(sx_avx512_q8_sparse_m4) @implementation
public func sx_avx512_q8_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { decode(4, sparse: true, args) }
@c(sx_avx512_q8_dense_gemm) @implementation
public func sx_avx512_q8_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { gemm(sparse: false, args) }
@c(sx_avx512_q8_sparse_gemm) @implementation
public func sx_avx512_q8_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { gemm(sparse: true, args) }
