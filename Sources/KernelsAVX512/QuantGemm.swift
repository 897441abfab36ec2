import CKernelABI
import CTileShims

// Quantized types, any number of tokens on machines without AMX: 1024 k of two panels are expanded once and multiplied
// with all tokens of a block, in the arithmetic and order of QuantDecode.swift.

/// Scratch: expanded levels of two panels, their scales, their minimums (as QuantTokens.swift reads them), places of planes; results behind.
private let memoryAt = 49152, resultsAt = 65536

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
        // What one part of a panel has of the weights that come next, in lines.
        let lines = max(1, Int(q.sub) * Int(q.low_bits + q.high_bits) / 32)
        let first = followingQuant(q, sparse: sparse, args, panel, chunk), other = followingQuant(q, sparse: sparse, args, second, chunk)
        var tile = 0
        while tile < tokens {
            let rows = min(16, tokens - tile)
            let rowIndex = activationRow(args, firstBlock, firstToken + tile)
            let kept = results + (slot * stride + tile * 128)
            multiplyTile(Q.self, scratch, blocks, rows, fresh: chunk == 0, kept, UnsafeRawPointer(args.a) + rowIndex * 64,
                         UnsafeRawPointer(args.a_scale.unsafelyUnwrapped) + rowIndex * 8,
                         UnsafeRawPointer(args.a_sum.unsafelyUnwrapped) + rowIndex * (256 / Int(q.sub)),
                         first, other, lines: tile == 0 ? lines : 0)
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

/// As `following` of Panels.swift.
@inline(__always)
private func followingQuant(_ q: sx_quant, sparse: Bool, _ args: sx_kernel_args, _ panel: Int, _ chunk: Int) -> UnsafeRawPointer {
    let single = args.m <= 32
    let next = single ? panel : min(panel + 2, Int(args.panel_end) - 1)
    let at = min((single ? chunk + 1 : chunk) * 4, Int(args.chunks) - 1)
    return QuantStreams(q, sparse: sparse, args, next, at).low
}
