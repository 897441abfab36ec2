import CKernelABI
import CTileShims

// Quantized types, any number of tokens on machines without AMX: 1024 k of two panels are expanded once and multiplied
// with all tokens of a block, in the arithmetic and order of QuantDecode.swift.

/// Scratch: expanded levels of two panels, their scales, their minimums, places of planes; results behind.
private let scalesAt = 32768, minimumsAt = 40960, memoryAt = 49152, resultsAt = 65536

@inline(__always)
private func accumulate(_ q: sx_quant, _ count: Int, _ sums: inout IntegerSums, _ kept: UnsafeMutableRawPointer,
                        _ scale0: UnsafeRawPointer, _ scale1: UnsafeRawPointer, _ minimum0: UnsafeRawPointer,
                        _ minimum1: UnsafeRawPointer, _ tokenScales: UnsafeRawPointer, _ tokenSums: UnsafeRawPointer) {
    let s0 = sx_load_ps(scale0), s1 = sx_load_ps(scale1)
    sums.each(count) { token, x, y in
        let scale = sx_broadcast_ps(tokenScales + token * 4), total = kept + token * 128
        var a = sx_fma(sx_float(x), sx_mul(s0, scale), sx_load_ps(total))
        var b = sx_fma(sx_float(y), sx_mul(s1, scale), sx_load_ps(total + 64))
        if q.offset == 0 {
            let sum = sx_broadcast_ps(tokenSums + token * 4)
            a = sx_fnmadd(sx_load_ps(minimum0), sum, a)
            b = sx_fnmadd(sx_load_ps(minimum1), sum, b)
        }
        sx_store_ps(total, a)
        sx_store_ps(total + 64, b)
    }
}

/// Tokens of a tile in groups of 8, 4 and 1: with 13 types every size more is 40 KB of code.
@inline(__always)
private func eachQuantGroup(_ tokens: Int, _ body: (_ count: Int, _ first: Int) -> Void) {
    var done = 0
    while tokens - done >= 8 { body(8, done); done += 8 }
    if tokens - done >= 4 { body(4, done); done += 4 }
    while done < tokens { body(1, done); done += 1 }
}

/// Multiplies one chunk of activations (`blocks` K-blocks) of a tile of tokens with expanded weights.
@inline(__always)
private func group<Q: QuantType>(_: Q.Type, _ count: Int, _ rows: Int, _ blocks: Int, _ w0: UnsafeRawPointer, _ w1: UnsafeRawPointer,
                   _ scratch: UnsafeRawPointer, _ kept: UnsafeMutableRawPointer, _ x: UnsafeRawPointer,
                   _ tokenScales: UnsafeRawPointer, _ tokenSums: UnsafeRawPointer, _ ahead: inout AheadL2) {
    let q = Q.quant
    let parts = 64 / Int(q.sub), rowsPerPart = Int(q.sub) / 4, half = 8 / rowsPerPart
    var p0 = w0, p1 = w1, xs = x, xSums = tokenSums, xScales = tokenScales
    var side = scratch + scalesAt
    var block = 0
    while block < blocks {
        var part = 0
        while part < parts {
            var sums = IntegerSums(count, xSums, from: q.offset != 0)
            var row = 0
            while row < rowsPerPart {
                let u = sx_load(p0 + row * 64), v = sx_load(p1 + row * 64)
                let at = xs + (part * rowsPerPart + row) * 4
                sums.each(count) { token, a, b in
                    let four = sx_broadcast32(at + token * 64)
                    a = sx_dpbusd(a, u, four)
                    b = sx_dpbusd(b, v, four)
                }
                ahead.fetch()
                row += 1
            }
            let minimum = side + (minimumsAt - scalesAt)
            accumulate(q, count, &sums, kept, side, side + 4096, minimum, minimum + 4096,
                       part < half ? xScales : xScales + rows * 4, xSums)
            p0 += rowsPerPart * 64
            p1 += rowsPerPart * 64
            side += 64
            xSums += rows * 4
            part += 1
        }
        xScales += rows * 8
        xs += rows * 64
        block += 1
    }
}

/// Lines of the weights that come next, fetched while the first group of tokens multiplies.
private struct AheadL2 {
    var first, second: UnsafeRawPointer
    var step: Int

    @inline(__always)
    mutating func fetch() {
        sx_prefetch_l2(first)
        sx_prefetch_l2(second)
        first += step
        second += step
    }
}

@inline(__always)
func quantGemm<Q: QuantType, F: WeightForm>(_: Q.Type, _: F.Type, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee, q = Q.quant, sparse = F.sparse
    let scratch = UnsafeMutableRawPointer(args.scratch), results = scratch + resultsAt
    let stride = min(Int(args.m), Int(SX_GEMM_M)) * 128
    eachGemmBlock(args) { firstToken, tokens, panel, slot, chunk, _ in
        let firstBlock = chunk * 16, blocks = min(16, Int(args.kblocks) - firstBlock)
        let last = firstBlock + blocks == Int(args.kblocks)
        let second = panel + 1 < Int(args.panel_end) ? panel + 1 : panel
        var side = 0  // a loop, so that the expansion stands in the code once
        while side < 2 {
            expandQuant(Q.self, F.self, args, side == 0 ? panel : second, chunk * 4, blocks, scratch + side * 16384,
                        scratch + (scalesAt + side * 4096), scratch + (minimumsAt + side * 4096), scratch + memoryAt)
            side += 1
        }
        // Codes of 4 bits take half a line where levels take one.
        var ahead = AheadL2(first: followingQuant(q, sparse: sparse, args, panel, chunk),
                            second: followingQuant(q, sparse: sparse, args, second, chunk), step: q.low_bits == 8 ? 64 : 32)
        var tile = 0
        while tile < tokens {
            let rows = min(16, tokens - tile)
            let rowIndex = activationRow(args, firstBlock, firstToken + tile)
            let x = UnsafeRawPointer(args.a) + rowIndex * 64
            let xScales = UnsafeRawPointer(args.a_scale.unsafelyUnwrapped) + rowIndex * 8
            let xSums = UnsafeRawPointer(args.a_sum.unsafelyUnwrapped) + rowIndex * (256 / Int(q.sub))
            eachQuantGroup(rows) { count, first in
                // 8 tokens x 2 panels fill the registers with integer sums, so the results stay in L1 meanwhile.
                let kept = results + (slot * stride + (tile + first) * 128)
                if chunk == 0 {
                    var none = FloatSums()
                    none.store(count, kept)
                }
                if tile + first > 0 { ahead.step = 0 }
                group(Q.self, count, rows, blocks, scratch, scratch + 16384, scratch, kept, x + first * 64, xScales + first * 4,
                      xSums + first * 4, &ahead)
                if last {
                    var i = 0
                    while i < count {
                        storeResult(args, firstToken + tile + first + i, panel, sx_load_ps(kept + i * 128))
                        storeResult(args, firstToken + tile + first + i, second, sx_load_ps(kept + (i * 128 + 64)))
                        i += 1
                    }
                }
            }
            tile += 16
        }
    }
}

/// As `following` of Panels.swift.
@inline(__always)
private func followingQuant(_ q: sx_quant, sparse: Bool, _ args: sx_kernel_args, _ panel: Int, _ chunk: Int) -> UnsafeRawPointer {
    let single = args.m <= 32
    let next = single ? panel : min(panel + 2, Int(args.panel_end) - 1)
    let at = min((single ? chunk + 1 : chunk) * 4, Int(args.chunks) - 1)
    return QuantStreams(q, sparse: sparse, args, next, at).low
}
