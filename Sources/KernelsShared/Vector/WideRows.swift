import CKernelABI
import CInstructions

/// A cursor over the tile rows of one panel of 2-byte codes: each is 16 columns x 2 k in 64 bytes. The one place that
/// reads the sparse form of BF16 and F16 for kernels.
struct WideRows {
    private let sparse: Bool
    private var mask: UnsafePointer<UInt32>
    private var values: UnsafeRawPointer

    /// firstBlock: in the sparse form the first K-block of a chunk.
    @inline(__always)
    init(_ args: sx_kernel_args, sparse: Bool, _ panel: Int, _ firstBlock: Int = 0) {
        self.sparse = sparse
        let tile = panel * Int(args.w.kblocks) + firstBlock
        if sparse {
            mask = UnsafeRawPointer(args.w.bitmap.unsafelyUnwrapped + tile * 64).assumingMemoryBound(to: UInt32.self)
            values = sparseValues(args, panel, firstBlock / 8)
        } else {
            values = UnsafeRawPointer(args.w.values) + tile * 1024
            mask = values.assumingMemoryBound(to: UInt32.self)
        }
    }

    /// The next row. index: its number since the cursor last advanced. fetch: brings what follows closer,
    /// far: to L2 and no further.
    @inline(__always)
    mutating func row(_ index: Int, fetch: Bool, far: Bool = false) -> __m512i {
        var codes = sx_load(values)
        if sparse {
            let bits = mask[index]
            codes = sx_expand16(bits, codes)
            values += bits.nonzeroBitCount * 2
        } else {
            values += 64
        }
        if fetch && far { sx_prefetch_l2(values + prefetchAhead) }
        if fetch && !far { sx_prefetch(values + prefetchAhead) }
        return codes
    }

    /// The next 16 rows where they lie, in the dense form.
    @inline(__always)
    mutating func takeTile() -> UnsafeRawPointer {
        let tile = values
        values += 1024
        return tile
    }

    /// After as many rows.
    @inline(__always)
    mutating func advance(_ rows: Int) {
        if sparse { mask += rows }
    }

    /// Brings the masks of rows to come closer; the dense form has none.
    @inline(__always)
    func fetchMasks() {
        if sparse { sx_prefetch(UnsafeRawPointer(mask) + prefetchAhead) }
    }
}
