import CKernelABI
import CPlatform

/// Rows in the file's layout, matrix after matrix.
package struct Rows {
    package let base: UnsafeMutablePointer<UInt8>  // only read when packing
    package let rowStride, matrixStride: Int

    package init(base: UnsafeMutableRawPointer, rowStride: Int, matrixStride: Int) {
        self.base = base.assumingMemoryBound(to: UInt8.self)
        self.rowStride = rowStride
        self.matrixStride = matrixStride
    }
}

/// Packs in two passes over the panels, each shared by several threads: count what is kept, then encode it.
package enum Packer {
    /// What the threads of a pass share.
    struct Job {
        let codec: CodecFunctions
        let rows: Rows
        let layout: PackedLayout        // the dense one while counting
        let counts: UnsafeMutablePointer<UInt64>
        let kept: UnsafeMutablePointer<UInt64>      // per thread
        let scratch: UnsafeMutablePointer<UInt8>    // per thread
        var tensor: PackedTensor?       // nil while counting
    }

    package static func pack(_ type: WeightType, n: Int, k: Int, matrices: Int, rows: Rows, options: PackOptions,
                             codec: Codec) throws(Status) -> PackedTensor {
        let dense = try PackedLayout(type: type, sparse: false, n: n, k: k, matrices: matrices, sparseBytes: 0)
        let allPanels = dense.panels * matrices
        let entries = try Checked.sum(try Checked.product(allPanels, dense.chunks), 1)
        let threads = options.threadCount(try Checked.product(try type.rowBytes(k), try Checked.product(n, matrices)))
        // What is kept per chunk, what each thread kept (a cache line each), each thread's scratch memory.
        let keptOffset = try Checked.roundUp(try Checked.product(entries, 8), to: 64)
        let scratchOffset = try Checked.sum(keptOffset, Int(threads) * 64)
        let memoryBytes = try Checked.sum(scratchOffset, type.isQuantized ? Int(threads) * Int(SX_CODEC_SCRATCH) : 0)
        guard let memory = sx_map(memoryBytes) else { throw .noMemory }
        defer { sx_unmap(memory, memoryBytes) }
        let counts = memory.assumingMemoryBound(to: UInt64.self)
        var job = Job(codec: codec.functions(type), rows: rows, layout: dense, counts: counts,
                      kept: (memory + keptOffset).assumingMemoryBound(to: UInt64.self),
                      scratch: (memory + scratchOffset).assumingMemoryBound(to: UInt8.self), tensor: nil)
        run(&job, threads)

        // Bytes become byte offsets; the upper bits stay.
        var bytes = 0, codes = 0
        for i in 0..<entries {
            let count = i + 1 < entries ? counts[i] : 0
            counts[i] = UInt64(bytes) | (count >> 48) << 48
            bytes = try Checked.sum(bytes, Int(sx_offset_bytes(count)))
        }
        for i in 0..<Int(threads) { codes += Int(job.kept[i * 8]) }
        let sparse = try PackedLayout(type: type, sparse: true, n: n, k: k, matrices: matrices, sparseBytes: bytes)
        let (layout, reason) = choose(dense, sparse, options.form)
        guard let base = sx_map(layout.totalBytes) else { throw .noMemory }
        sx_huge_pages(base, layout.totalBytes)
        if options.interleave { _ = sx_numa_interleave(base, layout.totalBytes) }
        let tensor = PackedTensor(layout: layout, base: base, background: n * k * matrices - codes, reason: reason)
        if layout.sparse { UnsafeMutableRawPointer(tensor.offsets).copyMemory(from: counts, byteCount: entries * 8) }
        job.tensor = tensor
        run(&job, threads)
        return tensor
    }

    /// Sparse has to save 1/16 of the bytes: below that the expansion costs more than the bytes it saves.
    static func choose(_ dense: PackedLayout, _ sparse: PackedLayout, _ form: FormChoice) -> (PackedLayout, FormReason) {
        switch form {
        case .dense: return (dense, .denseAsked)
        case .sparse: return (sparse, .sparseAsked)
        case .automatic:
            return sparse.totalBytes <= dense.totalBytes - dense.totalBytes / 16 ? (sparse, .sparsePays) : (dense, .tooFewZeros)
        }
    }

    private static func run(_ job: inout Job, _ threads: Int32) {
        withUnsafeMutablePointer(to: &job) { pointer in
            sx_parallel(threads, { index, count, context in
                Packer.part(context.assumingMemoryBound(to: Job.self).pointee, Int(index), Int(count))
            }, pointer)
        }
    }

    private static func part(_ job: Job, _ index: Int, _ count: Int) {
        let layout = job.layout
        let all = layout.panels * layout.matrices
        let end = all * (index + 1) / count
        var panel = all * index / count
        while panel < end {
            let matrix = panel / layout.panels, first = panel % layout.panels * Int(SX_PANEL)
            let file = job.rows.base + (matrix * job.rows.matrixStride + first * job.rows.rowStride)
            let present = min(Int(SX_PANEL), layout.n - first)
            let scratch = layout.type.isQuantized ? job.scratch + index * Int(SX_CODEC_SCRATCH) : nil
            if let tensor = job.tensor {
                var args = tensor.codec(panel: panel, rows: present, file: file, rowStride: job.rows.rowStride, scratch: scratch)
                if tensor.layout.sparse { job.codec.encodeSparse(&args) } else { job.codec.encodeDense(&args) }
            } else {
                var args = sx_codec_args(type: layout.type.number, rows: Int32(present), k: Int64(layout.k),
                                         kblocks: Int64(layout.kblocks), source: file,
                                         row_stride: Int64(job.rows.rowStride), values: file, bitmap: nil, scales: nil,
                                         counts: job.counts + panel * layout.chunks, kept: job.kept + index * 8, offsets: nil,
                                         scratch: scratch)
                job.codec.count(&args)
            }
            panel += 1
        }
    }
}
