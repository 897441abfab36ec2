import CKernelABI
import CInstructions

// Many tokens, quantized types, in bf16: Gemm.swift's product with tiles that are dequantized on the way.

/// Between the expanded tiles and the results.

/// Tiles of one chunk of a pair of panels: 4 k of each panel at a time.
private struct QuantPair: PairMaker {
    private var panels: QuantPanels
    private var out: UnsafeMutableRawPointer
    private var left: Int       // rows of 4 k
    private let perStep: Int

    @inline(__always)
    init(_ panels: QuantPanels, rows: Int, steps: Int, _ out: UnsafeMutableRawPointer) {
        self.panels = panels
        self.out = out
        left = rows
        perStep = (rows + steps - 1) / steps
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
        panels.next(out, out + Int(SX_TILE_GEMM_SECOND))
        out += 128
        left -= 1
    }
}

@inline(never)
func quantGemm(_ pointer: UnsafePointer<sx_kernel_args>, _ expand: sx_expand_fn, partK: Int, offset: Float) {
    sx_unwind_tables()
    let args = pointer.pointee
    let memory = UnsafeMutableRawPointer(args.scratch) + Int(SX_TILE_GEMM_PANELS)
    gemm(inPlace: false, args) { first, second, block, blocks, steps, out, nothing in
        QuantPair(QuantPanels(pointer, expand, partK: partK, offset: offset, first, second, chunk: block / 8, memory),
                  rows: nothing ? 0 : min(blocks / 2, Int(args.w.kblocks) - block / 2) * 16, steps: steps, out)
    }
}
