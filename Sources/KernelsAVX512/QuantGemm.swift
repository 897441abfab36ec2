import CKernelABI
import CInstructions

// Quantized types, any number of tokens on machines without AMX: 1024 k of two panels are expanded once and multiplied
// with all tokens of a block (QuantTokens.swift), in the arithmetic and order of QuantDecode.swift.

@inline(__always)
func quantGemm<Q: QuantType, F: WeightForm>(_: Q.Type, _: F.Type, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee, q = Q.quant, sparse = F.sparse
    let scratch = UnsafeMutableRawPointer(args.scratch), results = scratch + Int(SX_GEMM_BYTES)
    let stride = min(Int(args.x.m), Int(SX_GEMM_M)) * 128
    eachGemmBlock(args) { firstToken, tokens, panel, inRun, chunk, next in
        let firstBlock = chunk * 16, blocks = min(16, Int(args.w.kblocks) - firstBlock)
        let last = firstBlock + blocks == Int(args.w.kblocks)
        let second = panel + 1 < Int(args.panel_end) ? panel + 1 : panel
        var side = 0  // a loop, so that the expansion stands in the code once
        while side < 2 {
            expandQuant(Q.self, F.self, args, side == 0 ? panel : second, chunk * 4, blocks,
                        scratch + side * Int(SX_GEMM_SECOND), scratch + (Int(SX_GEMM_SCALES) + side * 4096),
                        scratch + (Int(SX_GEMM_MINIMUMS) + side * 4096), scratch + Int(SX_GEMM_MEMORY))
            side += 1
        }
        let ahead = linesAhead(q, sparse: sparse, args, next.pair, next.chunk, parts: blocks * 64 / Int(q.part_k),
                               scratch + Int(SX_GEMM_LIST))
        var tile = 0
        while tile < tokens {
            let rows = min(16, tokens - tile)
            let rowIndex = activationRow(args, firstBlock, firstToken + tile)
            let kept = results + (inRun * stride + tile * 128)
            multiplyTile(Q.self, scratch, blocks, rows, fresh: chunk == 0, kept,
                         UnsafeRawPointer(args.x.packed.unsafelyUnwrapped) + rowIndex * 64,
                         UnsafeRawPointer(args.x.scales.unsafelyUnwrapped) + rowIndex * 8,
                         UnsafeRawPointer(args.x.sums.unsafelyUnwrapped) + rowIndex * (256 / Int(q.part_k)),
                         tile == 0 ? ahead : AheadLines(scratch + Int(SX_GEMM_LIST)))
            if last {
                var i = 0
                while i < rows {
                    storeResult(args, firstToken + tile + i, panel, sx_load_ps(kept + i * 128))
                    storeResult(args, firstToken + tile + i, second, sx_load_ps(kept + (i * 128 + 64)))
                    i += 1
                }
            }
            tile += 16
        }
    }
}

/// What the expansion of a pair of panels and a chunk will read: to be fetched while `parts` parts are multiplied. A
/// pair below 0: nothing. list: 96 bytes.
@inline(__always)
private func linesAhead(_ q: sx_quant, sparse: Bool, _ args: sx_kernel_args, _ pair: Int, _ chunk: Int, parts: Int,
                        _ list: UnsafeMutableRawPointer) -> AheadLines {
    var ahead = AheadLines(list)
    if pair < 0 { return ahead }
    let blocks = min(16, Int(args.w.kblocks) - chunk * 16), at = chunk * 4
    var side = 0
    while side < 2 {
        let panel = min(pair + side, Int(args.panel_end) - 1)
        let streams = QuantStreams(q, sparse: sparse, args, panel, at)
        if sparse {
            let end = args.w.offsets.unsafelyUnwrapped[panel * Int(args.w.chunks) + min(at + 4, Int(args.w.chunks))]
            ahead.add(streams.low, UnsafeRawPointer(args.w.values) + Int(sx_offset_bytes(end)) - streams.low)
            ahead.add(UnsafeRawPointer(streams.mask), blocks * 128)
        } else {
            ahead.add(streams.low, blocks * 128 * Int(q.low_bits + q.high_bits))
        }
        ahead.add(streams.side, blocks * Int(q.side_bytes))
        side += 1
    }
    ahead.spread(over: parts)
    return ahead
}
