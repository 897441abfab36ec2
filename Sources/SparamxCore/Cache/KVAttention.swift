import CKernelABI
import CPlatform

/// Attention as the host asks for it, checked once: shapes fit each other and the caches.
package struct AttentionCall {
    package let q, dst: Tensor
    package let mask, sinks: Tensor?
    package let caches: UnsafePointer<OpaquePointer?>
    package let cells: Int
    package let scale, maxBias, softcap: Float

    package init(q: Tensor, dst: Tensor, mask: Tensor?, sinks: Tensor?, caches: UnsafePointer<OpaquePointer?>,
                 streams: Int, cells: Int64, scale: Float, maxBias: Float, softcap: Float) throws(Status) {
        (self.q, self.dst, self.mask, self.sinks, self.caches) = (q, dst, mask, sinks, caches)
        (self.scale, self.maxBias, self.softcap) = (scale, maxBias, softcap)
        guard scale.isFinite, maxBias >= 0, maxBias.isFinite, softcap >= 0, softcap.isFinite else { throw .range }
        guard streams >= 1, streams == q.ne.3 else { throw .shape }
        let first = try KVCache.handle(caches[0]).pointee.options
        var most = Int64(first.cells)
        for i in 1..<max(streams, 1) {
            let other = try KVCache.handle(caches[i]).pointee.options
            guard other.heads == first.heads, other.k.dim == first.k.dim, other.v.dim == first.v.dim else {
                throw .shape
            }
            most = min(most, Int64(other.cells))
        }
        guard cells >= 1, cells <= most else { throw .range }
        self.cells = Int(cells)
        try AttentionCall.checkQueries(q, first)
        try dst.requireActivation()
        try dst.requireRowsApart()
        guard dst.ne == (first.v.dim, q.ne.2, q.ne.1, q.ne.3), q.ne.1 <= Int(SX_KV_TOKENS) else { throw .shape }
        if let mask {
            guard mask.type == 1 else { throw .type }
            guard mask.nb.0 == 2, mask.nb.1 % 2 == 0, mask.nb.2 % 2 == 0, mask.nb.3 % 2 == 0 else { throw .stride }
            guard mask.ne.0 >= self.cells, mask.ne.1 >= q.ne.1, q.ne.2 % mask.ne.2 == 0, q.ne.3 % mask.ne.3 == 0 else {
                throw .shape
            }
        }
        if let sinks {
            guard sinks.type == 0 else { throw .type }
            guard sinks.nb.0 == 4 else { throw .stride }
            guard sinks.ne == (q.ne.2, 1, 1, 1) else { throw .shape }
        }
        try checkMemory()
    }

    /// Queries that a cache can be shown.
    package static func checkQueries(_ q: Tensor, _ options: KVOptions) throws(Status) {
        try q.requireActivation()
        guard q.ne.0 == options.k.dim, q.ne.2 % options.heads == 0, q.ne.2 <= 1 << 16 else { throw .shape }
    }

    private func checkMemory() throws(Status) {
        try requireApart(q, dst)
        if let data = mask?.data, UInt(bitPattern: data) % 2 != 0 { throw .alignment }
        if let data = sinks?.data, UInt(bitPattern: data) % 4 != 0 { throw .alignment }
        guard let to = dst.data else { return }
        if let mask, let data = mask.data { try requireApart(data, mask.bytes, to, dst.bytes) }
        if let sinks, let data = sinks.data { try requireApart(data, sinks.bytes, to, dst.bytes) }
        try requireApartFromRows(to, dst.bytes)
    }

    /// That everything is there, and the work area apart from it.
    package func requireMemory(_ work: UnsafeMutableRawPointer?, _ workSize: Int, _ workBytes: Int) throws(Status) {
        guard let from = q.data, let to = dst.data, mask == nil || mask?.data != nil,
              sinks == nil || sinks?.data != nil, let work else { throw .null }
        guard workSize >= workBytes else { throw .workSize }
        try requireApart(work, workBytes, from, q.bytes)
        try requireApart(work, workBytes, to, dst.bytes)
        if let mask, let data = mask.data { try requireApart(work, workBytes, data, mask.bytes) }
        if let sinks, let data = sinks.data { try requireApart(work, workBytes, data, sinks.bytes) }
        try requireApartFromRows(work, workBytes)
    }

    /// That neither results nor the work area lie in rows of the host's, which attention reads.
    private func requireApartFromRows(_ memory: UnsafeRawPointer, _ bytes: Int) throws(Status) {
        for stream in 0..<q.ne.3 {
            guard let rows = cache(stream).pointee.hostRows else { continue }
            try requireApart(memory, bytes, rows.k.start, rows.k.bytes)
            try requireApart(memory, bytes, rows.v.start, rows.v.bytes)
        }
    }

    func cache(_ stream: Int) -> KVCache.Handle { KVCache.Handle(caches[stream]!) }
}

/// How the work is cut: a task attends one head of one stream over a chunk of cells, whose size does not depend on the
/// number of threads. What the tasks found is joined behind the barrier, chunk after chunk.
package struct AttentionPlan {
    let heads, keyDim, valueDim, group, rows, chunks, tasks, streams: Int
    let partFloats, scratchOffset, scratchBytes: Int
    package let workBytes: Int

    package init(_ call: AttentionCall, threads: Int) throws(Status) {
        guard threads >= 1, threads <= 1024 else { throw .range }
        let options = call.cache(0).pointee.options, chunk = Int(SX_KV_CELLS) * Int(SX_KV_CHUNK)
        (heads, keyDim, valueDim, streams) = (options.heads, options.k.dim, options.v.dim, call.q.ne.3)
        group = call.q.ne.2 / heads
        rows = group * call.q.ne.1
        chunks = (call.cells + chunk - 1) / chunk
        tasks = try Checked.product(try Checked.product(streams, heads), chunks)
        partFloats = (rows * (valueDim + 2) + 15) / 16 * 16
        scratchOffset = try Checked.product(try Checked.product(tasks, partFloats), 4)
        scratchBytes = Int(sx_kv_scratch_of(Int64(rows), Int64(keyDim), Int64(valueDim)).bytes)
        workBytes = try Checked.sum(try Checked.sum(scratchOffset, try Checked.product(threads, scratchBytes)), 64)
    }
}

package enum Attention {
    package static func run(_ call: AttentionCall, _ plan: AttentionPlan, worker: Worker) {
        let share = { (count: Int, index: Int) in
            count / worker.threads * index + count % worker.threads * index / worker.threads
        }
        for task in share(plan.tasks, worker.index)..<share(plan.tasks, worker.index + 1) {
            attend(call, plan, task, worker)
        }
        worker.wait()
        let items = plan.streams * plan.heads * plan.rows
        for item in share(items, worker.index)..<share(items, worker.index + 1) { merge(call, plan, item, worker) }
    }

    private static func parts(_ plan: AttentionPlan, _ worker: Worker, _ task: Int) -> UnsafeMutablePointer<Float> {
        (worker.area + task * plan.partFloats * 4).assumingMemoryBound(to: Float.self)
    }

    private static func attend(_ call: AttentionCall, _ plan: AttentionPlan, _ task: Int, _ worker: Worker) {
        let chunk = task % plan.chunks, head = task / plan.chunks % plan.heads
        let stream = task / plan.chunks / plan.heads, handle = call.cache(stream)
        let firstHead = head * plan.group, q = call.q
        let bytes = { (data: UnsafeMutableRawPointer) in UnsafePointer(data.assumingMemoryBound(to: UInt8.self)) }
        let mask = call.mask
        var args = sx_kv_attend_args(
            cache: handle.pointee.cache, head: Int64(head), block_begin: Int64(chunk * Int(SX_KV_CHUNK)),
            block_end: Int64(min((chunk + 1) * Int(SX_KV_CHUNK), (call.cells + 63) / 64)), cells: Int64(call.cells),
            tokens: Int64(q.ne.1), group: Int64(plan.group), q: bytes(q.data! + firstHead * q.nb.2 + stream * q.nb.3),
            q_token: Int64(q.nb.1), q_head: Int64(q.nb.2),
            mask: mask.map { bytes($0.data! + stream % $0.ne.3 * $0.nb.3) }, mask_token: Int64(mask?.nb.1 ?? 0),
            mask_head: Int64(mask?.nb.2 ?? 0), mask_heads: Int64(mask?.ne.2 ?? 1), first_head: Int64(firstHead),
            all_heads: Int64(q.ne.2), scale: call.scale, max_bias: call.maxBias, softcap: call.softcap, reserved: 0,
            out: parts(plan, worker, task),
            scratch: (worker.area + plan.scratchOffset + worker.index * plan.scratchBytes)
                .assumingMemoryBound(to: UInt8.self))
        sx_reference_kv_slopes(&args)
        if handle.pointee.isa == .reference { sx_reference_kv_attend(&args) } else { sx_avx512_kv_attend(&args) }
    }

    /// One row of results.
    private static func merge(_ call: AttentionCall, _ plan: AttentionPlan, _ item: Int, _ worker: Worker) {
        let row = item % plan.rows, head = item / plan.rows % plan.heads, stream = item / plan.rows / plan.heads
        let token = row / plan.group, queryHead = head * plan.group + row % plan.group, dst = call.dst
        let sink = call.sinks.map { UnsafePointer($0.data!.assumingMemoryBound(to: Float.self)) + queryHead }
        let to = dst.data! + queryHead * dst.nb.1 + token * dst.nb.2 + stream * dst.nb.3
        var args = sx_kv_merge_args(
            parts: UnsafePointer(parts(plan, worker, (stream * plan.heads + head) * plan.chunks)),
            part_stride: Int64(plan.partFloats), chunks: Int64(plan.chunks), rows: Int64(plan.rows), row: Int64(row),
            v_dim: Int64(plan.valueDim), sink: sink, out: to.assumingMemoryBound(to: Float.self))
        sx_reference_kv_merge(&args)
    }
}
