import CKernelABI
import CInstructions

// What all products share: how a thread walks its panels, and how results leave. Both fast rooms of kernels compile the
// files of this folder, because nothing in them may call across modules.

/// Masks run this far ahead, values on every second row: 1 to 2 KB hides the memory behind the expansion; the L2
/// prefetcher stops at 4 KB (shared measurements on Emerald Rapids; on Zen 5 2 KB was best as well).
let prefetchAhead = 2048

/// Two panels at a time from distant places of the thread's range: four streams keep more of the memory system busy
/// than two (28 -> 31 GB/s of 33 on Emerald Rapids, 42 -> 54 on Zen 5), and neighbours are worse than distant panels.
@inline(__always)
func eachDistantPair(_ args: sx_kernel_args, _ body: (_ first: Int, _ second: Int) -> Void) {
    let begin = Int(args.panel_begin), count = Int(args.panel_end) - begin
    let half = (count + 1) / 2
    var i = 0
    while i < half {
        let first = begin + i
        let second = first + half
        // An odd count leaves one panel alone: it is computed twice, with the same result.
        body(first, second < begin + count ? second : first)
        i += 1
    }
}

/// Columns of a panel that exist, as a mask.
@inline(__always)
func columnMask(_ args: sx_kernel_args, _ panel: Int) -> UInt16 {
    let columns = Int(args.w.n) - panel * 16
    return columns >= 16 ? 0xffff : UInt16(truncatingIfNeeded: (1 &<< columns) - 1)
}

@inline(__always)
func storeResult(_ args: sx_kernel_args, _ token: Int, _ panel: Int, _ sum: __m512) {
    sx_mask_store_ps(args.y.data + (token * Int(args.y.ld) + panel * 16), columnMask(args, panel), sum)
}

/// Where a sparse panel's codes start.
@inline(__always)
func sparseValues(_ args: sx_kernel_args, _ panel: Int, _ chunk: Int) -> UnsafeRawPointer {
    UnsafeRawPointer(args.w.values)
        + Int(sx_offset_bytes(args.w.offsets.unsafelyUnwrapped[panel * Int(args.w.chunks) + chunk]))
}

@inline(__always)
func denseTile(_ args: sx_kernel_args, _ panel: Int, _ kblock: Int) -> UnsafeRawPointer {
    UnsafeRawPointer(args.w.values) + (panel * Int(args.w.kblocks) + kblock) * 1024
}

@inline(__always)
func activationRow(_ args: sx_kernel_args, _ kblock: Int, _ token: Int) -> Int {
    Int(sx_activation_row(args.x.rows, args.x.kblocks, Int64(kblock), Int64(token)))
}

/// Pairs of panels that share one pass over a chunk of activations. Few tokens: one pair runs through all of K, so that
/// its weights stream. Many: the activations of a chunk stay in L2 while several pairs go by.
@inline(__always)
func pairsPerRun(_ args: sx_kernel_args) -> Int { args.x.m <= 32 ? 1 : Int(SX_GEMM_PAIRS) }

/// Walks a thread's share of a product with many tokens: blocks of tokens, runs of panel pairs, chunks of K, pairs. The
/// body brings the weights of a pair and chunk into tiles, or finds them there, and multiplies them with all tokens of
/// the block. It is also told the pair's number in its run, and which pair and chunk come next (-1: none).
/// kblocks: of a chunk, 16 or 8.
@inline(__always)
func eachGemmBlock(_ args: sx_kernel_args, kblocks: Int = 16,
                   _ body: (_ firstToken: Int, _ tokens: Int, _ pair: Int, _ inRun: Int,
                                                    _ chunk: Int, _ next: (pair: Int, chunk: Int)) -> Void) {
    let chunks = (Int(args.x.kblocks) + (kblocks - 1)) / kblocks
    let begin = Int(args.panel_begin), end = Int(args.panel_end)
    var token = Int(args.x.first)
    while token < Int(args.x.m) {
        let tokens = min(Int(args.x.m) - token, Int(SX_GEMM_M))
        var run = begin
        while run < end {
            let runEnd = min(run + 2 * pairsPerRun(args), end)
            var chunk = 0
            while chunk < chunks {
                var panel = run
                while panel < runEnd {
                    var next = (pair: panel + 2, chunk: chunk)
                    if next.pair >= runEnd { next = (run, chunk + 1) }
                    if next.chunk == chunks { next = (runEnd, 0) }
                    if next.pair >= end { next = (token + tokens < Int(args.x.m) ? begin : -1, 0) }
                    body(token, tokens, panel, (panel - run) / 2, chunk, next)
                    panel += 2
                }
                chunk += 1
            }
            run = runEnd
        }
        token += tokens
    }
}
