import CKernelABI
import CTileShims

/// A cursor over the tiles of one panel of 2-byte codes that writes each as a tile of bf16. F16 is rounded to bf16
/// on the way (documented: F16 at many tokens multiplies in bf16).
struct WideTiles {
    let sparse: Bool
    let half: Bool  // F16, else BF16
    var mask: UnsafePointer<UInt32>
    var values: UnsafeRawPointer

    @inline(__always)
    init(_ args: sx_kernel_args, half: Bool, sparse: Bool, _ panel: Int, _ firstBlock: Int) {
        self.sparse = sparse
        self.half = half
        let tile = panel * Int(args.w.kblocks) + firstBlock
        if sparse {
            mask = UnsafeRawPointer(args.w.bitmap.unsafelyUnwrapped + tile * 64).assumingMemoryBound(to: UInt32.self)
            values = sparseValues(args, panel, firstBlock / 8)
        } else {
            values = UnsafeRawPointer(args.w.values) + tile * 1024
            mask = values.assumingMemoryBound(to: UInt32.self)
        }
    }

    @inline(__always)
    mutating func next(_ out: UnsafeMutableRawPointer) {
        if sparse { sx_prefetch(UnsafeRawPointer(mask) + prefetchAhead) }
        var row = 0
        while row < 16 {
            var codes: __m512i
            if sparse {
                let bits = mask[row]
                codes = sx_expand16(bits, sx_load(values))
                values += bits.nonzeroBitCount * 2
                if row & 1 == 0 { sx_prefetch(values + prefetchAhead) }
            } else {
                codes = sx_load(values)
                sx_prefetch(values + prefetchAhead)
                values += 64
            }
            if half { codes = sx_bf16_pack(sx_f16_high(codes), sx_f16_low(codes)) }
            sx_store(out + row * 64, codes)
            row += 1
        }
        if sparse { mask += 16 }
    }
}
