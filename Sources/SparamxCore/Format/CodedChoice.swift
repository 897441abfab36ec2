import CKernelABI

/// Whether a weight gets a coded form, and how long its chunks are then.
enum CodedChoice {
    /// counts: what sx_reference_coded_count found, for all entries but the last; afterwards the bytes of each chunk in
    /// the form that was chosen. nil: a form without codes needs less, or not enough more, and counts is as before.
    static func choose(_ dense: PackedLayout, _ counts: UnsafeMutablePointer<UInt64>, entries: Int, kept: Int,
                       _ form: FormChoice) throws(Status) -> (PackedLayout, FormReason)? {
        let codedDense = try layout(dense, sparse: false, bytes: countBytes(dense, entries) { dense, i in
            denseChunk(dense, counts, i)
        })
        let codedSparse = try layout(dense, sparse: true, bytes: countBytes(dense, entries) { _, i in
            Int(sx_offset_bytes(counts[i]))
        })
        var chosen = form == .codedSparse ? codedSparse : codedDense, reason = FormReason.codedAsked
        if form == .automaticCoded {
            let sparse = try PackedLayout(type: dense.type, sparse: true, n: dense.n, k: dense.k,
                                          matrices: dense.matrices, sparseBytes: try Checked.product(kept, 2))
            let zeros = 1 - Double(kept) / Double(dense.n * dense.k * dense.matrices)
            let plain = Packer.choose(dense, sparse, .automatic, zeros: zeros).0.totalBytes
            chosen = Packer.choose(codedDense, codedSparse, .automatic).0
            reason = .codedPays
            guard chosen.totalBytes <= plain - plain / 16 else { return nil }
        }
        if !chosen.sparse {
            for i in 0..<entries - 1 {
                counts[i] = UInt64(denseChunk(dense, counts, i)) | UInt64(sx_offset_low(counts[i])) << 48
            }
        }
        return (chosen, reason)
    }

    private static func layout(_ dense: PackedLayout, sparse: Bool, bytes: Int) throws(Status) -> PackedLayout {
        try PackedLayout(type: dense.type, sparse: sparse, coded: true, n: dense.n, k: dense.k,
                         matrices: dense.matrices, sparseBytes: bytes)
    }

    private static func countBytes(_ dense: PackedLayout, _ entries: Int,
                                   _ bytes: (PackedLayout, Int) -> Int) throws(Status) -> Int {
        var sum = 0
        for i in 0..<entries - 1 { sum = try Checked.sum(sum, bytes(dense, i)) }
        return sum
    }

    /// Bytes of a chunk in the coded dense form.
    private static func denseChunk(_ dense: PackedLayout, _ counts: UnsafePointer<UInt64>, _ index: Int) -> Int {
        let tiles = min(8, dense.kblocks - index % dense.chunks * 8)
        return 4 * Int(sx_offset_low(counts[index])) + tiles * PackedLayout.codedTileBytes
    }
}
