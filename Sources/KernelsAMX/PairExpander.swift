import CKernelABI
import CTileShims

/// Makes bf16 tiles of one chunk (512 k) of a pair of panels, a tile row of each per step, so that the expansion of the
/// next pair can be spread over the tile multiplications of this one: the vector units are idle there, and done before
/// the multiplications it took 12% of the time at 512 tokens (prototype gemm6).
struct PairExpander {
    private var mask0, mask1, values0, values1, scales0, scales1: UnsafeRawPointer
    private var out: UnsafeMutableRawPointer  // tiles of the first panel; those of the second are 16 KB behind
    private var left: Int                     // rows of the packed form
    private var row = 0
    private let perStep: Int

    /// steps: in how many steps it has to be done.
    @inline(__always)
    init(_ type: Int, sparse: Bool, _ args: sx_kernel_args, _ first: Int, _ chunk: Int, steps: Int,
         _ out: UnsafeMutableRawPointer, nothing: Bool) {
        let bytes = type == Int(SX_Q8_0)
        let second = first + 1 < Int(args.panel_end) ? first + 1 : first
        let perChunk = bytes ? 8 : 16, block = chunk * perChunk
        let tile0 = first * Int(args.kblocks) + block, tile1 = second * Int(args.kblocks) + block
        mask0 = UnsafeRawPointer(args.values)
        mask1 = mask0
        if sparse {
            let bitmap = UnsafeRawPointer(args.bitmap.unsafelyUnwrapped)
            mask0 = bitmap + tile0 * (bytes ? 128 : 64)
            mask1 = bitmap + tile1 * (bytes ? 128 : 64)
            values0 = sparseValues(args, first, chunk * 2)
            values1 = sparseValues(args, second, chunk * 2)
        } else {
            values0 = UnsafeRawPointer(args.values) + tile0 * 1024
            values1 = UnsafeRawPointer(args.values) + tile1 * 1024
        }
        scales0 = mask0
        scales1 = mask0
        if bytes {
            scales0 = UnsafeRawPointer(args.scales.unsafelyUnwrapped) + tile0 * 64
            scales1 = UnsafeRawPointer(args.scales.unsafelyUnwrapped) + tile1 * 64
        }
        self.out = out
        left = nothing ? 0 : min(perChunk, Int(args.kblocks) - block) * 16
        perStep = (left + steps - 1) / steps
    }

    /// This step's share.
    @inline(__always)
    mutating func step(_ type: Int, sparse: Bool) {
        var i = 0
        while i < perStep && left > 0 {
            next(type, sparse: sparse)
            i += 1
        }
    }

    @inline(__always)
    mutating func finish(_ type: Int, sparse: Bool) {
        while left > 0 { next(type, sparse: sparse) }
    }

    @inline(__always)
    private mutating func next(_ type: Int, sparse: Bool) {
        if type == Int(SX_Q8_0) {
            let block = (row >> 3) * 32
            dequantize(Self.bytes(sparse: sparse, &mask0, &values0), scales0 + block, out + row * 128)
            dequantize(Self.bytes(sparse: sparse, &mask1, &values1), scales1 + block, out + (row * 128 + 16384))
        } else {
            let half = type == Int(SX_F16)
            sx_store(out + row * 64, Self.words(half: half, sparse: sparse, &mask0, &values0))
            sx_store(out + (row * 64 + 16384), Self.words(half: half, sparse: sparse, &mask1, &values1))
        }
        row += 1
        left -= 1
    }

    @inline(__always)
    private static func words(half: Bool, sparse: Bool, _ mask: inout UnsafeRawPointer, _ values: inout UnsafeRawPointer) -> __m512i {
        var codes = sx_load(values)
        if sparse {
            let bits = mask.loadUnaligned(as: UInt32.self)
            codes = sx_expand16(bits, codes)
            values += bits.nonzeroBitCount * 2
            mask += 4
        } else {
            values += 64
        }
        sx_prefetch(values + prefetchAhead)
        return half ? sx_bf16_pack(sx_f16_high(codes), sx_f16_low(codes)) : codes
    }

    @inline(__always)
    private static func bytes(sparse: Bool, _ mask: inout UnsafeRawPointer, _ values: inout UnsafeRawPointer) -> __m512i {
        var codes = sx_load(values)
        if sparse {
            let bits = mask.loadUnaligned(as: UInt64.self)
            codes = sx_expand8(sx_set8(-128), bits, codes)
            values += bits.nonzeroBitCount
            mask += 8
        } else {
            values += 64
        }
        sx_prefetch(values + prefetchAhead)
        return codes
    }

    /// (code - 128) * scale, rounded once to bf16: a row of 4 k becomes two rows of 2 k. 128 * scale is exact, so
    /// code * scale - 128 * scale as one fused operation rounds once to float32 and once to bf16.
    @inline(__always)
    private func dequantize(_ codes: __m512i, _ scales: UnsafeRawPointer, _ out: UnsafeMutableRawPointer) {
        let scale = sx_f16_load(scales)
        let low = sx_permute_ps(sx_twice_lanes(0), scale), high = sx_permute_ps(sx_twice_lanes(1), scale)
        let lowShift = sx_mul(low, sx_set_ps(128)), highShift = sx_mul(high, sx_set_ps(128))
        let w0 = sx_fmsub(sx_float(sx_pick_bytes(sx_pair_bytes(0), codes)), low, lowShift)
        let w1 = sx_fmsub(sx_float(sx_pick_bytes(sx_pair_bytes(1), codes)), high, highShift)
        let w2 = sx_fmsub(sx_float(sx_pick_bytes(sx_pair_bytes(2), codes)), low, lowShift)
        let w3 = sx_fmsub(sx_float(sx_pick_bytes(sx_pair_bytes(3), codes)), high, highShift)
        sx_store(out, sx_bf16_pack(w1, w0))
        sx_store(out + 64, sx_bf16_pack(w3, w2))
    }
}
