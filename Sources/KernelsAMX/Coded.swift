import CKernelABI
import CInstructions

// BF16 in its coded forms: tiles are put together row by row, and multiplied as those of the other forms.

extension CodedRows: TileCursor {
    @inline(__always)
    mutating func next(_ out: UnsafeMutableRawPointer) {
        var row = 0
        while row < 1024 {
            quad(out + row)
            row += 256
        }
    }
}

@inline(__always)
func codedRing(sparse: Bool, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    ring(args) { CodedRows(args, sparse: sparse, $0) }
}

/// Tiles of one chunk of a pair of panels: four tile rows of each panel at a time. Both forms share these functions,
/// which are called once for each step: inlined into the loops of gemm they would be five copies.
private struct CodedPair: PairMaker {
    private var first, second: CodedRows
    private var out: UnsafeMutableRawPointer
    private var left: Int                     // quads
    private let perStep: Int

    @inline(__always)
    init(sparse: Bool, _ args: sx_kernel_args, _ first: Int, _ second: Int, _ block: Int,
         _ blocks: Int, steps: Int, _ out: UnsafeMutableRawPointer, nothing: Bool) {
        self.first = CodedRows(args, sparse: sparse, first, block)
        self.second = CodedRows(args, sparse: sparse, second, block)
        self.out = out
        left = nothing ? 0 : min(blocks, Int(args.w.kblocks) - block) * 4
        perStep = (left + steps - 1) / steps
    }

    @inline(never)
    mutating func step() {
        sx_unwind_tables()
        var i = 0
        while i < perStep && left > 0 {
            next()
            i += 1
        }
    }

    @inline(never)
    mutating func finish() {
        while left > 0 { next() }
    }

    @inline(__always)
    private mutating func next() {
        first.quad(out)
        second.quad(out + Int(SX_TILE_GEMM_SECOND))
        out += 256
        left -= 1
    }
}

@inline(__always)
func codedGemm(sparse: Bool, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    gemm(inPlace: false, args) { first, second, block, blocks, steps, out, nothing in
        CodedPair(sparse: sparse, args, first, second, block, blocks, steps: steps, out, nothing: nothing)
    }
}
