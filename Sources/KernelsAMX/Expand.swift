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

/// The same for Q8_0: tiles of codes + 128 as stored, or two bf16 tiles with the block scales multiplied in.
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

    /// Two tiles of bf16: (code - 128) * scale, rounded once. A row of 4 k becomes two rows of 2 k.
    @inline(__always)
    mutating func nextDequantized(_ out: UnsafeMutableRawPointer) {
        prefetchMasks()
        let part0 = sx_pair_bytes(0), part1 = sx_pair_bytes(1), part2 = sx_pair_bytes(2), part3 = sx_pair_bytes(3)
        var half = 0
        while half < 2 {
            let scale = sx_f16_load(scales)
            let low = sx_permute_ps(sx_twice_lanes(0), scale), high = sx_permute_ps(sx_twice_lanes(1), scale)
            // 128 * scale is exact, so code * scale - 128 * scale as one fused operation rounds once.
            let lowShift = sx_mul(low, sx_set_ps(128)), highShift = sx_mul(high, sx_set_ps(128))
            var index = 0
            while index < 8 {
                let codes = row(half * 8 + index)
                let w0 = sx_fmsub(sx_float(sx_pick_bytes(part0, codes)), low, lowShift)
                let w1 = sx_fmsub(sx_float(sx_pick_bytes(part1, codes)), high, highShift)
                let w2 = sx_fmsub(sx_float(sx_pick_bytes(part2, codes)), low, lowShift)
                let w3 = sx_fmsub(sx_float(sx_pick_bytes(part3, codes)), high, highShift)
                sx_store(out + (half * 1024 + index * 128), sx_bf16_pack(w1, w0))
                sx_store(out + (half * 1024 + index * 128 + 64), sx_bf16_pack(w3, w2))
                index += 1
            }
            scales += 32
            half += 1
        }
        if sparse { mask += 16 }
    }
}
