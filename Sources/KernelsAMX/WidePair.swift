import CKernelABI
import CTileShims

/// Tiles of one chunk of a pair of panels from codes of 2 bytes: a tile row of each panel at a time.
struct WidePair: PairMaker {
    private let half, sparse: Bool
    private var mask0, mask1, values0, values1: UnsafeRawPointer
    private var out: UnsafeMutableRawPointer
    private var left: Int                     // rows
    private let perStep: Int

    @inline(__always)
    init(half: Bool, sparse: Bool, _ args: sx_kernel_args, _ first: Int, _ second: Int, _ chunk: Int, steps: Int,
         _ out: UnsafeMutableRawPointer, nothing: Bool) {
        self.half = half
        self.sparse = sparse
        let block = chunk * 16
        let tile0 = first * Int(args.w.kblocks) + block, tile1 = second * Int(args.w.kblocks) + block
        mask0 = UnsafeRawPointer(args.w.values)
        mask1 = mask0
        if sparse {
            let bitmap = UnsafeRawPointer(args.w.bitmap.unsafelyUnwrapped)
            mask0 = bitmap + tile0 * 64
            mask1 = bitmap + tile1 * 64
            values0 = sparseValues(args, first, chunk * 2)
            values1 = sparseValues(args, second, chunk * 2)
        } else {
            values0 = UnsafeRawPointer(args.w.values) + tile0 * 1024
            values1 = UnsafeRawPointer(args.w.values) + tile1 * 1024
        }
        self.out = out
        left = nothing ? 0 : min(16, Int(args.w.kblocks) - block) * 16
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
        sx_store(out, Self.words(half: half, sparse: sparse, &mask0, &values0))
        sx_store(out + Int(SX_TILE_GEMM_SECOND), Self.words(half: half, sparse: sparse, &mask1, &values1))
        out += 64
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
}
