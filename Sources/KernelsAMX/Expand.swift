import CKernelABI
import CInstructions

/// A cursor over the tiles of one panel of 2-byte codes that writes each as a tile of bf16. F16 is rounded to bf16
/// on the way (documented: F16 at many tokens multiplies in bf16).
struct WideTiles: TileCursor {
    private let sparse: Bool
    private let half: Bool  // F16, else BF16
    private var rows: WideRows

    @inline(__always)
    init(_ args: sx_kernel_args, half: Bool, sparse: Bool, _ panel: Int, _ firstBlock: Int) {
        self.sparse = sparse
        self.half = half
        rows = WideRows(args, sparse: sparse, panel, firstBlock)
    }

    /// The next tile where it lies: dense BF16.
    @inline(__always)
    mutating func nextInPlace() -> UnsafeRawPointer? { rows.takeTile() }

    @inline(__always)
    mutating func next(_ out: UnsafeMutableRawPointer) {
        rows.fetchMasks()
        var row = 0
        while row < 16 {
            let codes = rows.row(row, fetch: !sparse || row & 1 == 0)
            sx_store(out + row * 64, half ? sx_bf16_pack(sx_f16_high(codes), sx_f16_low(codes)) : codes)
            row += 1
        }
        rows.advance(16)
    }
}
