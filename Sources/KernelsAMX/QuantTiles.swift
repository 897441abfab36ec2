import CKernelABI
import CInstructions

/// Rows of bf16 tiles of two panels of a quantized type, made row by row: the levels of a K-block come from the type's
/// own function, the rest is the same for all types.
struct QuantPanels {
    private let expand: sx_expand_fn
    private let first, second: UnsafeMutablePointer<sx_expansion>
    private let spread0, spread1: UnsafeMutableRawPointer
    private let rowsPerPart: Int
    private let base: Float // 2^23 + offset
    private var row = 0     // of the K-block, 16 in all

    /// Bytes that this needs, 64-byte aligned.
    static var memory: Int { 5120 + 2 * expansionBytes }

    /// first, second: panels; chunk: where to begin, in 256 k. partK, offset: of the type.
    @inline(__always)
    init(_ args: UnsafePointer<sx_kernel_args>, _ expand: sx_expand_fn, partK: Int, offset: Float,
         _ first: Int, _ second: Int, chunk: Int, _ memory: UnsafeMutableRawPointer) {
        self.expand = expand
        rowsPerPart = partK / 4
        base = 0x1p23 + offset
        self.first = expansion(args, first, chunk, slot: memory, sides: memory + 2048, memory + 5120)
        self.second = expansion(args, second, chunk, slot: memory + 1024, sides: memory + 2560,
                                memory + (5120 + expansionBytes))
        spread0 = memory + 3072
        spread1 = memory + 4096
    }

    /// The next 4 k of both panels: two rows of a tile each.
    @inline(__always)
    mutating func next(_ out0: UnsafeMutableRawPointer, _ out1: UnsafeMutableRawPointer) {
        if row == 0 {
            expand(first)
            expand(second)
            var part = 0
            while part * rowsPerPart < 16 {
                Self.spread(first.pointee, part, spread0)
                Self.spread(second.pointee, part, spread1)
                part += 1
            }
        }
        let part = (rowsPerPart == 8 ? row >> 3 : row >> 2) * 256
        dequantize(sx_load(first.pointee.levels + row * 64), spread0 + part, out0)
        dequantize(sx_load(second.pointee.levels + row * 64), spread1 + part, out1)
        row = (row + 1) & 15
    }

    /// Scales and minimums of a part in the order in which dequantize has the columns.
    @inline(__always)
    private static func spread(_ from: sx_expansion, _ part: Int, _ to: UnsafeMutableRawPointer) {
        let scale = sx_load_ps(from.scales + part * 16), minimum = sx_load_ps(from.minimums + part * 16)
        let to = to + part * 256
        sx_store_ps(to, sx_permute_ps(sx_twice_lanes(0), scale))
        sx_store_ps(to + 64, sx_permute_ps(sx_twice_lanes(1), scale))
        sx_store_ps(to + 128, sx_permute_ps(sx_twice_lanes(0), minimum))
        sx_store_ps(to + 192, sx_permute_ps(sx_twice_lanes(1), minimum))
    }

    /// scale * (level - offset) - minimum, rounded once to single precision (one fused operation) and once to bf16: a
    /// row of 4 k becomes two rows of 2 k.
    @inline(__always)
    private func dequantize(_ levels: __m512i, _ spread: UnsafeRawPointer, _ out: UnsafeMutableRawPointer) {
        let low = sx_load_ps(spread), high = sx_load_ps(spread + 64), base = sx_set_ps(base)
        let lowMinimum = sx_load_ps(spread + 128), highMinimum = sx_load_ps(spread + 192)
        let w0 = sx_fmsub(sx_sub_ps(sx_float_bytes(sx_pair_bytes(0), levels), base), low, lowMinimum)
        let w1 = sx_fmsub(sx_sub_ps(sx_float_bytes(sx_pair_bytes(1), levels), base), high, highMinimum)
        let w2 = sx_fmsub(sx_sub_ps(sx_float_bytes(sx_pair_bytes(2), levels), base), low, lowMinimum)
        let w3 = sx_fmsub(sx_sub_ps(sx_float_bytes(sx_pair_bytes(3), levels), base), high, highMinimum)
        sx_store(out, sx_bf16_pack(w1, w0))
        sx_store(out + 64, sx_bf16_pack(w3, w2))
    }
}

/// What an expansion takes of the scratch area. On the stack it would need a stack protector, because it is passed on.
let expansionBytes = Int(SX_READER_BYTES) + 128

/// A panel's expansion from a chunk (256 k) on. slot: 1 KB for levels; sides: 512 bytes for scales and minimums.
@inline(__always)
func expansion(_ args: UnsafePointer<sx_kernel_args>, _ panel: Int, _ chunk: Int, slot: UnsafeMutableRawPointer,
               sides: UnsafeMutableRawPointer,
               _ memory: UnsafeMutableRawPointer) -> UnsafeMutablePointer<sx_expansion> {
    let levels = slot.assumingMemoryBound(to: UInt8.self)
    let place = (memory + Int(SX_READER_BYTES)).assumingMemoryBound(to: sx_expansion.self)
    place.initialize(to: sx_expansion(args: args, panel: Int64(panel), kblock: Int64(chunk * 4), slot: levels,
                                      levels: levels, scales: sides.assumingMemoryBound(to: Float.self),
                                      minimums: (sides + 256).assumingMemoryBound(to: Float.self), reader: memory,
                                      waiting: nil))
    return place
}
