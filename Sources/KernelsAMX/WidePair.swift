import CKernelABI
import CInstructions

/// Tiles of one chunk of a pair of panels from codes of 2 bytes: a tile row of each panel at a time.
struct WidePair: PairMaker {
    private let half: Bool
    private var first, second: WideRows
    private var out: UnsafeMutableRawPointer
    private var left: Int                     // rows
    private let perStep: Int

    @inline(__always)
    init(half: Bool, sparse: Bool, _ args: sx_kernel_args, _ first: Int, _ second: Int, _ block: Int,
         _ blocks: Int, steps: Int, _ out: UnsafeMutableRawPointer, nothing: Bool) {
        self.half = half
        self.first = WideRows(args, sparse: sparse, first, block)
        self.second = WideRows(args, sparse: sparse, second, block)
        self.out = out
        left = nothing ? 0 : min(blocks, Int(args.w.kblocks) - block) * 16
        perStep = (left + steps - 1) / steps
    }

    @inline(__always)
    mutating func step() {
        var i = 0
        while i < perStep && left > 0 {
            next()
            i += 1
        }
    }

    @inline(__always)
    mutating func finish() {
        while left > 0 { next() }
    }

    @inline(__always)
    private mutating func next() {
        let codes0 = first.row(0, fetch: true, far: true), codes1 = second.row(0, fetch: true, far: true)
        first.advance(1)
        second.advance(1)
        sx_store(out, half ? sx_bf16_pack(sx_f16_high(codes0), sx_f16_low(codes0)) : codes0)
        sx_store(out + Int(SX_TILE_GEMM_SECOND), half ? sx_bf16_pack(sx_f16_high(codes1), sx_f16_low(codes1)) : codes1)
        out += 64
        left -= 1
    }
}
