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

/// Packs in two passes over the panels, each shared by several threads: count what is kept, then encode it. The weights
/// are read twice, from memory that another process may be writing. So the second pass writes only where the first one
/// made room, and finds out whether it met the same weights.
package enum Packer {
    package static func pack(_ type: WeightType, n: Int, k: Int, matrices: Int, rows: Rows, options: PackOptions,
                             codec: Codec) throws(Status) -> PackedTensor {
        let packing = try Packing(type, n: n, k: k, matrices: matrices, rows: rows, options: options, codec: codec)
        return try packing.finish()
    }

    /// Of two forms that are both coded, or both not. Sparse has to save 1/16 of the bytes, because below that the
    /// expansion costs more than the bytes it saves; or to have as many zeros as the profile says. zeros: their share;
    /// nil: the profile does not count, which is about forms that are not coded.
    static func choose(_ dense: PackedLayout, _ sparse: PackedLayout, _ form: FormChoice, zeros: Double? = nil,
                       profile: Profile.Handle? = Profile.current) -> (PackedLayout, FormReason) {
        if !dense.type.hasSparseForm { return (dense, form == .dense ? .denseAsked : .noSparseForm) }
        switch form {
        case .dense: return (dense, .denseAsked)
        case .sparse: return (sparse, .sparseAsked)
        default:
            if let zeros, let least = profile?.pointee.breakEven(dense.type.number) {
                return zeros >= least ? (sparse, .sparseFaster) : (dense, .denseFaster)
            }
            return sparse.totalBytes <= dense.totalBytes - dense.totalBytes / 16
                ? (sparse, .sparsePays) : (dense, .tooFewZeros)
        }
    }
}

/// A weight that has been counted: its form is chosen and its memory reserved, but no page of it is in use. What can
/// fail for want of memory has been done.
struct Packing {
    /// What one thread found, on a cache line of its own.
    private enum Found { static let counted = 0, encoded = 1, changed = 2, words = 8 }

    /// What the threads of a pass share.
    private struct Job {
        let codec: CodecFunctions
        let rows: Rows
        let layout: PackedLayout        // the dense one while counting
        let counts: UnsafeMutablePointer<UInt64>
        let found: UnsafeMutablePointer<UInt64>     // per thread
        let scratch: UnsafeMutablePointer<UInt8>    // per thread
        let scratchBytes: Int
        var tensor: PackedTensor?       // nil while counting
    }

    private let tensor: PackedTensor
    private let codec: CodecFunctions
    private let rows: Rows
    private let threads: Int32
    private let numa: NumaChoice
    private let entries: Int
    private let memory: UnsafeMutableRawPointer     // counts, what threads found, their scratch memory
    private let memoryBytes, foundOffset, scratchOffset, scratchBytes: Int

    init(_ type: WeightType, n: Int, k: Int, matrices: Int, rows: Rows, options: PackOptions,
         codec: Codec) throws(Status) {
        let dense = try PackedLayout(type: type, sparse: false, n: n, k: k, matrices: matrices, sparseBytes: 0)
        entries = try Checked.sum(try Checked.product(dense.panels * matrices, dense.chunks), 1)
        threads = options.threadCount(try Checked.product(try type.rowBytes(k), try Checked.product(n, matrices)))
        foundOffset = try Checked.roundUp(try Checked.product(entries, 8), to: 64)
        scratchOffset = try Checked.sum(foundOffset, Int(threads) * Found.words * 8)
        let form = options.form.available(type)
        scratchBytes = type.isQuantized ? Int(SX_CODEC_SCRATCH) : form.mayBeCoded ? Int(SX_CODED_SCRATCH) : 0
        memoryBytes = try Checked.sum(scratchOffset, Int(threads) * scratchBytes)
        numa = options.numa
        self.rows = rows
        guard let memory = sx_map(memoryBytes) else { throw .noMemory }
        self.memory = memory
        do throws(Status) {
            var job = Packing.job(memory, foundOffset, scratchOffset, scratchBytes, Codec.coded, rows, dense, nil)
            var coded: (layout: PackedLayout, reason: FormReason)? = nil
            if form.mayBeCoded {
                Packing.run(&job, threads)
                coded = try CodedChoice.choose(dense, job.counts, entries: entries,
                                               kept: Packing.sum(job, threads, Found.counted), form)
            }
            if coded == nil {
                Packing.forgetCounted(job, threads)
                job = Packing.job(memory, foundOffset, scratchOffset, scratchBytes, codec.functions(type), rows, dense,
                                  nil)
                Packing.run(&job, threads)
            }
            let bytes = try Packing.offsets(job.counts, entries)
            let kept = Packing.sum(job, threads, Found.counted)
            let sparse = try PackedLayout(type: type, sparse: true, n: n, k: k, matrices: matrices, sparseBytes: bytes)
            let background = type.hasSparseForm ? n * k * matrices - kept : 0  // nothing that could be left out
            let (layout, reason) = coded ?? Packer.choose(dense, sparse, form.mayBeCoded ? .automatic : form,
                                                          zeros: Double(background) / Double(n * k * matrices))
            self.codec = codec.functions(layout)
            guard let base = sx_map(layout.totalBytes) else { throw .noMemory }
            sx_huge_pages(base, layout.totalBytes)
            var tensor = PackedTensor(layout: layout, base: base, background: background, reason: reason)
            if layout.sparse { tensor.largestPanel = Schedule.largestPanel(tensor, UnsafePointer(job.counts)) }
            // Without the address space for copies there is one.
            if numa == .mirror { tensor.mirror = Mirror.reserve(layout.totalBytes) }
            tensor.distributed = numa == .distribute && matrices == 1 && sx_numa_places() > 1
            tensor.place(numa, counted: UnsafePointer(job.counts))
            self.tensor = tensor
        } catch {
            sx_unmap(memory, memoryBytes)
            throw error
        }
    }

    /// The packed form. Nothing is left of this afterwards, whether it succeeds or not.
    func finish() throws(Status) -> PackedTensor {
        var job = Packing.job(memory, foundOffset, scratchOffset, scratchBytes, codec, rows, tensor.layout, tensor)
        Packing.run(&job, threads)
        defer { sx_unmap(memory, memoryBytes) }
        if tensor.layout.hasOffsets { try finishOffsets(job) }
        if let mirror = tensor.mirror { Mirror.fill(mirror, from: tensor.base, bytes: tensor.bytes, threads: threads) }
        return tensor
    }

    private func finishOffsets(_ job: Job) throws(Status) {
        guard Packing.sum(job, threads, Found.changed) == 0,
              Packing.sum(job, threads, Found.encoded) == Packing.sum(job, threads, Found.counted) else {
            tensor.release()
            throw .changed
        }
        UnsafeMutableRawPointer(tensor.offsets).copyMemory(from: job.counts, byteCount: entries * 8)
    }

    /// Instead of `finish`.
    func forget() {
        tensor.release()
        sx_unmap(memory, memoryBytes)
    }

    private static func job(_ memory: UnsafeMutableRawPointer, _ foundOffset: Int, _ scratchOffset: Int,
                            _ scratchBytes: Int, _ codec: CodecFunctions, _ rows: Rows, _ layout: PackedLayout,
                            _ tensor: PackedTensor?) -> Job {
        Job(codec: codec, rows: rows, layout: layout, counts: memory.assumingMemoryBound(to: UInt64.self),
            found: (memory + foundOffset).assumingMemoryBound(to: UInt64.self),
            scratch: (memory + scratchOffset).assumingMemoryBound(to: UInt8.self), scratchBytes: scratchBytes,
            tensor: tensor)
    }

    /// Before the weights are counted in another way.
    private static func forgetCounted(_ job: Job, _ threads: Int32) {
        for i in 0..<Int(threads) { job.found[i * Found.words + Found.counted] = 0 }
    }

    private static func sum(_ job: Job, _ threads: Int32, _ word: Int) -> Int {
        var total = 0
        for i in 0..<Int(threads) { total += Int(job.found[i * Found.words + word]) }
        return total
    }

    /// Turns the bytes of each chunk into where they start; the upper bits of an entry stay. Returns the bytes of all.
    private static func offsets(_ counts: UnsafeMutablePointer<UInt64>, _ entries: Int) throws(Status) -> Int {
        var bytes = 0
        for i in 0..<entries {
            let count = i + 1 < entries ? counts[i] : 0
            counts[i] = UInt64(bytes) | (count >> 48) << 48
            bytes = try Checked.sum(bytes, Int(sx_offset_bytes(count)))
        }
        return bytes
    }

    private static func run(_ job: inout Job, _ threads: Int32) {
        withUnsafeMutablePointer(to: &job) { pointer in
            sx_parallel(threads, { index, count, context in
                Packing.packShare(context.assumingMemoryBound(to: Job.self).pointee, Int(index), Int(count))
            }, pointer)
        }
    }

    private static func packShare(_ job: Job, _ index: Int, _ count: Int) {
        let layout = job.layout
        let all = layout.panels * layout.matrices
        let end = all * (index + 1) / count
        let found = job.found + index * Found.words
        let scratch = job.scratchBytes > 0 ? job.scratch + index * job.scratchBytes : nil
        var panel = all * index / count
        while panel < end {
            let matrix = panel / layout.panels, first = panel % layout.panels * Int(SX_PANEL)
            let file = job.rows.base + (matrix * job.rows.matrixStride + first * job.rows.rowStride)
            let present = min(Int(SX_PANEL), layout.n - first)
            if let tensor = job.tensor {
                var args = tensor.codec(panel: panel, rows: present, file: file, rowStride: job.rows.rowStride,
                                        scratch: scratch, counted: UnsafePointer(job.counts))
                args.kept = found + Found.encoded
                args.changed = found + Found.changed
                if tensor.layout.sparse { job.codec.packSparse(&args) } else { job.codec.packDense(&args) }
            } else {
                var args = sx_codec_args(type: layout.type.number, rows: Int32(present), k: Int64(layout.k),
                                         kblocks: Int64(layout.kblocks), file: file,
                                         row_stride: Int64(job.rows.rowStride), values: file, bitmap: nil, side: nil,
                                         counts: job.counts + panel * layout.chunks, kept: found + Found.counted,
                                         offsets: nil, changed: nil, scratch: scratch)
                job.codec.count(&args)
            }
            panel += 1
        }
    }
}
