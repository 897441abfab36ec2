import CKernelABI
import CInstructions

// Expansion of chunks of a quantized type for kernels that multiply them more than once: 16 rows of 64 levels per
// K-block, and scales and minimums in single precision.

/// Expands `kblocks` K-blocks from a chunk's first on; they may run over several chunks. levels: 1 KB per K-block;
/// scales and minimums: 64 bytes per part.
@inline(__always)
func expandQuant<Q: QuantType, F: WeightForm>(_: Q.Type, _: F.Type, _ args: sx_kernel_args, _ panel: Int, _ chunk: Int,
                 _ kblocks: Int, _ levels: UnsafeMutableRawPointer, _ scales: UnsafeMutableRawPointer,
                 _ minimums: UnsafeMutableRawPointer, _ memory: UnsafeMutableRawPointer) {
    let q = Q.quant, sparse = F.sparse
    let parts = 32 / Int(q.part_k)
    var done = 0, chunk = chunk
    var out = levels, scale = scales, minimum = minimums
    while done < kblocks {
        let streams = QuantStreams(q, sparse: sparse, args, panel, chunk)
        var rows = QuantRows(streams, memory)
        let pairs = min(4, kblocks - done)
        var index = 0
        while index < pairs * 2 {
            expandBlock(Q.self, F.self, odd: false, index, &rows, streams.side, out) {}
            expandBlock(Q.self, F.self, odd: true, index + 1, &rows, streams.side, out + 512) {}
            var part = 0
            while part < parts * 2 {
                let (s, m) = quantScale(q, streams.side, index * parts + part)
                sx_store_ps(scale, s)
                scale += 64
                if q.minimum != 0 {
                    sx_store_ps(minimum, m)
                    minimum += 64
                }
                part += 1
            }
            out += 1024
            index += 2
        }
        done += pairs
        chunk += 1
    }
}

/// meanwhile: is done after each half of the rows.
@inline(__always)
func expandBlock<Q: QuantType, F: WeightForm>(_: Q.Type, _: F.Type, odd: Bool, _ index: Int, _ rows: inout QuantRows,
                 _ side: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ meanwhile: () -> Void) {
    let q = Q.quant, sparse = F.sparse
    rows.begin(q, index, odd: odd)
    rows.prefetchMask(sparse: sparse)
    // Rows in fours: the compiler writes them out, which it does not if `meanwhile` has a loop and is among them.
    expandRows(Q.self, F.self, odd: odd, index, from: 0, &rows, side, out)
    meanwhile()
    expandRows(Q.self, F.self, odd: odd, index, from: 4, &rows, side, out)
    meanwhile()
    rows.end(q, sparse: sparse, index, odd: odd)
}

@inline(__always)
private func expandRows<Q: QuantType, F: WeightForm>(_: Q.Type, _: F.Type, odd: Bool, _ index: Int, from: Int,
                                                     _ rows: inout QuantRows, _ side: UnsafeRawPointer,
                                                     _ out: UnsafeMutableRawPointer) {
    let q = Q.quant, sparse = F.sparse
    if from == 0 || q.part_k == 16 {
        let part = index * (32 / Int(q.part_k)) + from * 4 / Int(q.part_k)
        rows.background = quantBackground(q, side, part, sixteenfold: false)
    }
    var row = from
    while row < from + 4 {
        rows.prefetch(q, sparse: sparse, row)
        sx_store(out + row * 64, rows.row(q, sparse: sparse, row, odd: odd, sixteenfold: false))
        row += 1
    }
}
