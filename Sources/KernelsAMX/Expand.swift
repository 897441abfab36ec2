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
        let tile = panel * Int(args.kblocks) + firstBlock
        if sparse {
            mask = UnsafeRawPointer(args.bitmap.unsafelyUnwrapped + tile * 64).assumingMemoryBound(to: UInt32.self)
            values = sparseValues(args, panel, firstBlock / 8)
        } else {
            values = UnsafeRawPointer(args.values) + tile * 1024
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

/// The same for Q8_0: tiles of codes + 128, as stored.
struct ByteTiles {
    let sparse: Bool
    var mask: UnsafePointer<UInt64>
    var values: UnsafeRawPointer
    var scales: UnsafeRawPointer

    @inline(__always)
    init(_ args: sx_kernel_args, sparse: Bool, _ panel: Int, _ firstBlock: Int) {
        self.sparse = sparse
        let tile = panel * Int(args.kblocks) + firstBlock
        scales = UnsafeRawPointer(args.scales.unsafelyUnwrapped + tile * 64)
        if sparse {
            mask = UnsafeRawPointer(args.bitmap.unsafelyUnwrapped + tile * 128).assumingMemoryBound(to: UInt64.self)
            values = sparseValues(args, panel, firstBlock / 4)
        } else {
            values = UnsafeRawPointer(args.values) + tile * 1024
            mask = values.assumingMemoryBound(to: UInt64.self)
        }
    }

    @inline(__always)
    private mutating func row(_ index: Int) -> __m512i {
        if !sparse {
            let codes = sx_load(values)
            sx_prefetch(values + prefetchAhead)
            values += 64
            return codes
        }
        let bits = mask[index]
        let codes = sx_expand8(sx_set8(-128), bits, sx_load(values))
        values += bits.nonzeroBitCount
        if index & 1 == 0 { sx_prefetch(values + prefetchAhead) }
        return codes
    }

    @inline(__always)
    private mutating func prefetchMasks() {
        guard sparse else { return }
        sx_prefetch(UnsafeRawPointer(mask) + prefetchAhead)
        sx_prefetch(UnsafeRawPointer(mask) + prefetchAhead + 64)
    }

    /// One tile of codes + 128.
    @inline(__always)
    mutating func next(_ out: UnsafeMutableRawPointer) {
        prefetchMasks()
        var index = 0
        while index < 16 {
            sx_store(out + index * 64, row(index))
            index += 1
        }
        if sparse { mask += 16 }
    }
}
