import CKernelABI
import CPlatform

/// A small product with the instructions of a level, against the reference: CPUID has been wrong before, under
/// hypervisors and emulators. Small integers, so that both must agree to the last bit.
enum SelfTest {
    static func passes(_ isa: ISA) -> Bool {
        let start = sx_self_test_memory()
        let type = Int32(SX_BF16), codec = Codec(isa).functions(WeightType.bf16)
        let weights = start.assumingMemoryBound(to: UInt16.self)
        let x = (start + 1024).assumingMemoryBound(to: Float.self)
        let expected = (start + 2048).assumingMemoryBound(to: Float.self), got = expected + 64
        for i in 0..<16 * 32 {
            weights[i] = i % 3 == 0 ? 0 : UInt16(truncatingIfNeeded: Float(i % 17 - 8).bitPattern >> 16)
        }
        for i in 0..<4 * 32 { x[i] = Float(i % 13 - 6) }

        // Of the panel: no count has been made, so the offsets leave room for all codes.
        let offsets = (start + 7168).assumingMemoryBound(to: UInt64.self)
        offsets[1] = 1024
        var layout = sx_codec_args(type: type, rows: 16, k: 32, kblocks: 1, source: start.assumingMemoryBound(to: UInt8.self),
                                   row_stride: 64, values: (start + 4096).assumingMemoryBound(to: UInt8.self),
                                   bitmap: (start + 6144).assumingMemoryBound(to: UInt8.self), scales: nil, counts: nil, kept: offsets + 2, offsets: offsets,
                                   changed: offsets + 3, scratch: nil)
        codec.encodeSparse(&layout)
        let a = (start + 8192).assumingMemoryBound(to: UInt8.self)
        var activation = sx_activation_args(x: x, ldx: 32, m: 4, k: 32, kblocks: 1, rows: 4, a: a, a_scale: nil, a_sum: nil, sub: 0,
                                            offset: 0, minimum: 0, half_scale: 0, item_begin: 0, item_end: 4)
        sx_reference_activation_bf16(&activation)
        var args = sx_kernel_args(
            w: sx_weights(values: layout.values, bitmap: layout.bitmap, scales: nil, offsets: offsets, n: 16, k: 32, kblocks: 1,
                          chunks: 1, type: type, sparse: 1),
            x: sx_tokens(m: 4, values: x, ld: 32, packed: a, scales: nil, sums: nil, rows: 4, kblocks: 1),
            y: sx_results(values: expected, ld: 16), panel_begin: 0, panel_end: 1,
            scratch: (start + 12288).assumingMemoryBound(to: UInt8.self))
        sx_reference_product_plain(&args)
        args.y.values = got
        // The AMX ring's scratch (20 KB) is the largest here.
        if isa == .amx { sx_amx_bf16_sparse_ring(&args) } else { sx_avx512_bf16_sparse_m4(&args) }
        for i in 0..<64 where expected[i] != got[i] || !(expected[i].magnitude < 1e6) { return false }
        return true
    }
}
