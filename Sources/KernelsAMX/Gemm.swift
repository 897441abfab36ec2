import CKernelABI
import CInstructions

// 33 tokens and more: 512 k (or 256) of two panels are expanded (or, dense BF16, just pointed at) once and multiplied
// with all tokens, two tiles of tokens at a time, while the next pair is expanded (or fetched). What made the
// difference (prototype gemm4, Emerald Rapids): activations by tileloaddt1, weights resident in L1, results in
// contiguous tiles until the last chunk.

/// Brings the weights of the next pair to L2, evenly spread over the steps of this one: few tokens leave few steps, so
/// each has more lines to fetch.
struct Ahead {
    private var first, second: UnsafeRawPointer
    private var left: Int
    private let perStep: Int

    @inline(__always)
    init(_ first: UnsafeRawPointer, _ second: UnsafeRawPointer, lines: Int, steps: Int) {
        self.first = first
        self.second = second
        left = lines
        perStep = (lines + steps - 1) / steps
    }

    @inline(__always)
    mutating func fetch() {
        var line = 0
        while line < perStep && left > 0 {
            sx_prefetch_l2(first)
            sx_prefetch_l2(second)
            first += 64
            second += 64
            left -= 1
            line += 1
        }
    }
}

/// Multiplies `blocks` tiles of K for two tiles of tokens (or one) and two panels.
@inline(__always)
private func cell(two: Bool, _ blocks: Int, _ x0: UnsafeRawPointer, _ x1: UnsafeRawPointer, _ w0: UnsafeRawPointer,
                  _ w1: UnsafeRawPointer, _ meanwhile: () -> Void) {
    var offset = 0
    let end = blocks * 1024
    while offset < end {
        sx_tile_stream_4(x0 + offset, 64)
        sx_tile_load_6(w0 + offset, 64)
        sx_tile_bf16_0_4_6()
        sx_tile_load_7(w1 + offset, 64)
        sx_tile_bf16_2_4_7()
        if two {
            sx_tile_stream_5(x1 + offset, 64)
            sx_tile_bf16_1_5_6()
            sx_tile_bf16_3_5_7()
        }
        meanwhile()
        offset += 1024
    }
}

/// Makes the tiles of one chunk (512 k) of a pair of panels, a share of them per step, so that the expansion of the
/// next pair can be spread over the tile multiplications of this one: the vector units are idle there, and done before
/// the multiplications it took 12% of the time at 512 tokens (prototype gemm6).
protocol PairMaker {
    mutating func step()
    mutating func finish()
}

/// inPlace: the weights are tiles of bf16 as they are. make: steps is in how many steps it has to be done; out is where
/// the tiles of the first panel go, those of the second are 16 KB behind.
@inline(__always)
func gemm<Maker: PairMaker>(inPlace: Bool, _ args: sx_kernel_args,
                            _ make: (_ first: Int, _ second: Int, _ block: Int, _ blocks: Int, _ steps: Int,
                                     _ out: UnsafeMutableRawPointer, _ nothing: Bool) -> Maker) {
    // Two stages: one is multiplied while the other is filled. L1 holds the first, which every step touches, and lets
    // the other go to L2.
    let tiles = UnsafeMutableRawPointer(args.scratch) + Int(SX_RING_STAGES)
    let results = UnsafeMutableRawPointer(args.scratch) + Int(SX_TILE_GEMM_BYTES)
    let cells = (min(Int(args.x.m), Int(SX_GEMM_M)) + 31) / 32
    // Of few tokens both stages fit into L1 with 256 k each; many tokens would load and store results too often.
    let perChunk = inPlace || args.x.m - args.x.first > 128 ? 16 : 8
    var stageInUse = 0, started = false
    withTiles(rows: 16, second: 16, deep: true, args) {
        eachGemmBlock(args, kblocks: perChunk) { firstToken, tokens, panel, inRun, chunk, next in
            let blocks = min(perChunk, Int(args.x.kblocks) - chunk * perChunk)
            let last = chunk * perChunk + blocks == Int(args.x.kblocks)
            let second = panel + 1 < Int(args.panel_end) ? panel + 1 : panel
            let steps = (tokens + 31) / 32 * blocks
            var w0 = UnsafeRawPointer(tiles) + stageInUse * Int(SX_TILE_GEMM_STAGE), w1 = w0 + Int(SX_TILE_GEMM_SECOND)
            if inPlace {
                w0 = denseTile(args, panel, chunk * perChunk)
                w1 = denseTile(args, second, chunk * perChunk)
            } else if !started {
                var now = make(panel, second, chunk * perChunk, perChunk, 1, tiles, false)
                now.finish()
                started = true
            }
            // After the last pair there is nothing to do meanwhile.
            let soon = next.pair < 0 ? (pair: panel, chunk: chunk) : next
            let nothing = next.pair < 0
            stageInUse ^= 1
            let soonSecond = min(soon.pair + 1, Int(args.panel_end) - 1)
            var ahead = Ahead(denseTile(args, inPlace ? soon.pair : 0, inPlace ? soon.chunk * perChunk : 0),
                              denseTile(args, inPlace ? soonSecond : 0, inPlace ? soon.chunk * perChunk : 0),
                              lines: nothing ? 0 : 256, steps: steps)
            var maker = make(soon.pair, soonSecond, soon.chunk * perChunk, perChunk, steps,
                             tiles + stageInUse * Int(SX_TILE_GEMM_STAGE), nothing)
            let meanwhile = {
                if inPlace { ahead.fetch() } else { maker.step() }
            }
            var cellIndex = 0
            while cellIndex * 32 < tokens {
                let token = firstToken + cellIndex * 32, left = tokens - cellIndex * 32
                let kept = results + (inRun * cells + cellIndex) * 4096
                let x0 = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped)
                        + activationRow(args, chunk * perChunk, token) * 64
                if chunk == 0 {
                    sx_tile_zero_0()
                    sx_tile_zero_1()
                    sx_tile_zero_2()
                    sx_tile_zero_3()
                } else {
                    sx_tile_stream_0(kept, 64)
                    sx_tile_stream_1(kept + 1024, 64)
                    sx_tile_stream_2(kept + 2048, 64)
                    sx_tile_stream_3(kept + 3072, 64)
                }
                if left > 16 {
                    let x1 = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped)
                        + activationRow(args, chunk * perChunk, token + 16) * 64
                    cell(two: true, blocks, x0, x1, w0, w1, meanwhile)
                } else {
                    cell(two: false, blocks, x0, x0, w0, w1, meanwhile)
                }
                sx_tile_store_0(kept, 64)
                sx_tile_store_1(kept + 1024, 64)
                sx_tile_store_2(kept + 2048, 64)
                sx_tile_store_3(kept + 3072, 64)
                if last {
                    storeTile(args, kept, token, min(16, left), panel)
                    storeTile(args, kept + 2048, token, min(16, left), second)
                    if left > 16 {
                        storeTile(args, kept + 1024, token + 16, min(16, left - 16), panel)
                        storeTile(args, kept + 3072, token + 16, min(16, left - 16), second)
                    }
                }
                cellIndex += 1
            }
            if !inPlace { maker.finish() }
        }
    }
}

@inline(__always)
func wideGemm(half: Bool, sparse: Bool, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    gemm(inPlace: !half && !sparse, args) { first, second, block, blocks, steps, out, nothing in
        WidePair(half: half, sparse: sparse, args, first, second, block, blocks, steps: steps, out,
                 nothing: nothing)
    }
}
