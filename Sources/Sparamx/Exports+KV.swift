import CPlatform
public import CSparamx
import SparamxCore

// Packed key-value caches.

func requireKV(_ pointer: OpaquePointer?) throws(Status) -> KVCache.Handle { try KVCache.handle(pointer) }

/// first..<first+n, if these are cells of the cache.
private func requireCells(_ handle: KVCache.Handle, _ first: Int64, _ n: Int64) throws(Status) -> Range<Int> {
    let cells = Int64(handle.pointee.options.cells)
    guard first >= 0, n >= 0, first <= cells, n <= cells - first else { throw .range }
    return Int(first)..<Int(first + n)
}

/// Bytes from row to row: 0 stands for those of one row.
private func readStride(_ stride: UInt64, _ options: KVOptions, _ side: KVOptions.Side) throws(Status) -> Int {
    let row = options.heads * side.headBytes
    guard stride != 0 else { return row }
    guard stride <= UInt64(Checked.limit), Int(stride) >= row, Int(stride) % side.elementBytes == 0 else {
        throw .stride
    }
    return Int(stride)
}

/// Where n rows are: present, aligned to an element, and not around the end of the address space.
private func requireRows(_ rows: UnsafeRawPointer?, _ n: Int, _ stride: Int, _ options: KVOptions,
                         _ side: KVOptions.Side) throws(Status) -> UnsafeMutableRawPointer {
    guard let rows else { throw .null }
    guard UInt(bitPattern: rows) % UInt(side.elementBytes) == 0 else { throw .alignment }
    let bytes = try Checked.sum(try Checked.product(max(n, 1) - 1, stride), options.heads * side.headBytes)
    guard !UInt(bitPattern: rows).addingReportingOverflow(UInt(bytes)).overflow else { throw .range }
    return UnsafeMutableRawPointer(mutating: rows)
}

@c(sparamx_kv_create) @implementation
public func sparamx_kv_create(_ options: UnsafePointer<sparamx_kv_options>!,
                              _ pointer: UnsafeMutablePointer<OpaquePointer?>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let result = try requireOut(pointer), isa = try requireLevel(), o = try readStruct(options)
        let k = try KVOptions.Side(type: o.type_k, dim: o.k_dim, zeros: o.k_zeros)
        let v = try KVOptions.Side(type: o.type_v, dim: o.v_dim, zeros: o.v_zeros)
        guard o.reserved == 0 else { throw .range }
        let made = try KVOptions(k: k, v: v, values: o.values, heads: o.heads, cells: o.cells, window: o.window,
                                 sinks: o.sinks)
        var rows: KVCache.Rows? = nil
        if o.k_rows != nil || o.v_rows != nil {
            let kStride = try readStride(o.k_stride, made, k), vStride = try readStride(o.v_stride, made, v)
            // The space of whole blocks fits, too.
            _ = try Checked.product(made.cells + 64, max(kStride, vStride))
            rows = KVCache.Rows(k: try requireRows(o.k_rows, made.cells, kStride, made, k), kStride: kStride,
                                v: try requireRows(o.v_rows, made.cells, vStride, made, v), vStride: vStride)
        } else {
            guard o.k_stride == 0, o.v_stride == 0 else { throw .stride }
        }
        result.pointee = OpaquePointer(try KVCache.create(made, rows: rows, isa: isa))
    }
}

@c(sparamx_kv_destroy) @implementation
public func sparamx_kv_destroy(_ pointer: OpaquePointer!) {
    _ = reportStatus { () throws(Status) in KVCache.destroy(try requireKV(pointer)) }
}

@c(sparamx_kv_write) @implementation
public func sparamx_kv_write(_ pointer: OpaquePointer!, _ cells: UnsafePointer<Int64>!, _ n: Int64,
                             _ k: UnsafeRawPointer!, _ kStride: UInt64, _ v: UnsafeRawPointer!,
                             _ vStride: UInt64) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireKV(pointer), options = handle.pointee.options
        guard !handle.pointee.attached else { throw .state }
        guard n >= 0, n <= Int64(Int32.max) else { throw .range }
        if n == 0 { return }
        guard let cells else { throw .null }
        guard UInt(bitPattern: cells) % 8 == 0 else { throw .alignment }
        let kStride = try readStride(kStride, options, options.k), vStride = try readStride(vStride, options, options.v)
        let keys = try requireRows(k, Int(n), kStride, options, options.k)
        let values = try requireRows(v, Int(n), vStride, options, options.v)
        for i in 0..<Int(n) { guard cells[i] >= 0, cells[i] < Int64(options.cells) else { throw .range } }
        let mode = sx_float_standard()
        defer { sx_float_restore(mode) }
        for i in 0..<Int(n) {
            // Read again, once: somebody else may change it.
            let cell = cells[i]
            guard cell >= 0, cell < Int64(options.cells) else { throw .range }
            handle.pointee.write(Int(cell), k: keys + i * kStride, v: values + i * vStride)
        }
    }
}

@c(sparamx_kv_touch) @implementation
public func sparamx_kv_touch(_ pointer: OpaquePointer!, _ first: Int64, _ n: Int64) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireKV(pointer), range = try requireCells(handle, first, n)
        guard handle.pointee.attached else { throw .state }
        handle.pointee.touch(range.lowerBound, range.upperBound)
    }
}

@c(sparamx_kv_remove) @implementation
public func sparamx_kv_remove(_ pointer: OpaquePointer!, _ first: Int64, _ n: Int64) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireKV(pointer), range = try requireCells(handle, first, n)
        handle.pointee.remove(range.lowerBound, range.upperBound)
    }
}

@c(sparamx_kv_copy) @implementation
public func sparamx_kv_copy(_ dst: OpaquePointer!, _ to: Int64, _ src: OpaquePointer!, _ from: Int64,
                            _ n: Int64) -> sparamx_status {
    reportStatus { () throws(Status) in
        let into = try requireKV(dst), source = try requireKV(src)
        let target = try requireCells(into, to, n), origin = try requireCells(source, from, n)
        guard !into.pointee.attached else { throw .state }
        guard into.pointee.options.isLike(source.pointee.options) else { throw .shape }
        let mode = sx_float_standard()
        defer { sx_float_restore(mode) }
        into.pointee.copy(to: target.lowerBound, from: source.pointee, origin.lowerBound, origin.count)
    }
}

@c(sparamx_kv_read) @implementation
public func sparamx_kv_read(_ pointer: OpaquePointer!, _ first: Int64, _ n: Int64, _ k: UnsafeMutablePointer<Float>!,
                            _ v: UnsafeMutablePointer<Float>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireKV(pointer), range = try requireCells(handle, first, n)
        guard UInt(bitPattern: k) % 4 == 0, UInt(bitPattern: v) % 4 == 0 else { throw .alignment }
        guard handle.pointee.areThere(range.lowerBound, range.upperBound) else { throw .incomplete }
        let mode = sx_float_standard()
        defer { sx_float_restore(mode) }
        let kv = handle.pointee
        if let k { kv.read(range.lowerBound, range.upperBound, kv.kSide, k) }
        if let v { kv.read(range.lowerBound, range.upperBound, kv.vSide, v) }
    }
}

@c(sparamx_kv_observe) @implementation
public func sparamx_kv_observe(_ pointer: OpaquePointer!, _ q: UnsafePointer<sparamx_tensor>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireKV(pointer), queries = try readTensor(q)
        try AttentionCall.checkQueries(queries, handle.pointee.options)
        guard let data = queries.data else { throw .null }
        guard UInt(bitPattern: data) % 4 == 0 else { throw .alignment }
        guard !UInt(bitPattern: data).addingReportingOverflow(UInt(queries.bytes)).overflow else { throw .range }
        let mode = sx_float_standard()
        defer { sx_float_restore(mode) }
        handle.pointee.observe(queries)
    }
}

@c(sparamx_kv_pack) @implementation
public func sparamx_kv_pack(_ pointer: OpaquePointer!, _ params: UnsafePointer<sparamx_params>!,
                            _ newest: Int64) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireKV(pointer)
        var worker = try readWorker(params)
        guard newest >= -1, newest < Int64(handle.pointee.options.cells) else { throw .range }
        worker.begin()
        defer { worker.end() }
        KVPacking.run(handle, newest: Int(newest), worker: worker)
    }
}

@c(sparamx_kv_get_info) @implementation
public func sparamx_kv_get_info(_ pointer: OpaquePointer!,
                                _ info: UnsafeMutablePointer<sparamx_kv_info>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireKV(pointer), answer = try Answer(info), kv = handle.pointee
        var filled = sparamx_kv_info()
        filled.attached = kv.attached ? 1 : 0
        filled.k_kept = Int32(kv.options.k.keep)
        filled.v_kept = Int32(kv.options.v.keep)
        filled.cells = Int64(kv.options.cells)
        for block in 0..<kv.options.blocks {
            filled.present += Int64(kv.present(block).nonzeroBitCount)
            if kv.isPacked(block) {
                filled.packed_blocks += 1
            } else if kv.present(block) != 0 {
                filled.open_blocks += 1
            }
        }
        let cache = kv.cache.pointee
        filled.block_bytes = UInt64(cache.block_bytes)
        filled.packed_bytes = filled.block_bytes * UInt64(filled.packed_blocks)
        filled.row_bytes = kv.attached ? 0
            : UInt64(filled.open_blocks) * UInt64(cache.k.block_stride + cache.v.block_stride)
        filled.observed = kv.observed
        answer.write(filled)
    }
}

@c(sparamx_kv_verify) @implementation
public func sparamx_kv_verify(_ pointer: OpaquePointer!) -> sparamx_status {
    reportStatus { () throws(Status) in try requireKV(pointer).pointee.verify() }
}

@c(sparamx_kv_save) @implementation
public func sparamx_kv_save(
    _ pointer: OpaquePointer!,
    _ write: (@convention(c) (UnsafeRawPointer?, Int, UnsafeMutableRawPointer?) -> Bool)!,
    _ user: UnsafeMutableRawPointer!
) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireKV(pointer)
        guard let write else { throw .null }
        try handle.pointee.save(KVWriter(write, user))
    }
}

@c(sparamx_kv_load) @implementation
public func sparamx_kv_load(
    _ read: (@convention(c) (UnsafeMutableRawPointer?, Int, UnsafeMutableRawPointer?) -> Bool)!,
    _ user: UnsafeMutableRawPointer!, _ pointer: UnsafeMutablePointer<OpaquePointer?>!
) -> sparamx_status {
    reportStatus { () throws(Status) in
        let result = try requireOut(pointer), isa = try requireLevel()
        guard let read else { throw .null }
        result.pointee = OpaquePointer(try KVCache.load(KVReader(read, user), isa: isa))
    }
}
