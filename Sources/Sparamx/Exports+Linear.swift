import CPlatform
public import CSparamx
import SparamxCore

// Products without any of ggml's notions, and the explanations.

@c(sparamx_linear_create) @implementation
public func sparamx_linear_create(_ type: Int32, _ n: Int64, _ k: Int64, _ data: UnsafeRawPointer!, _ rowStride: Int,
                                  _ options: UnsafePointer<sparamx_linear_options>!,
                                  _ pointer: UnsafeMutablePointer<OpaquePointer?>!) -> sparamx_status {
    status { () throws(Status) in
        let result = try present(pointer), isa = try level()
        let weightType = try WeightType(type)
        guard let data else { throw .null }
        guard n >= 1, k >= 1, n <= Int64(Int32.max), k <= Int64(Int32.max) else { throw .shape }
        let row = try weightType.rowBytes(Int(k))
        let stride = rowStride == 0 ? row : rowStride
        guard stride >= row else { throw .stride }
        let bytes = try Checked.sum(try Checked.product(Int(n) - 1, stride), row)
        guard !UInt(bitPattern: data).addingReportingOverflow(UInt(bytes)).overflow else { throw .range }
        var pack = PackOptions()
        var name: UnsafePointer<CChar>? = nil
        if options != nil {
            let o = try structure(options)
            pack = try packOptions(form: o.form, threads: o.pack_threads, numa: o.numa)
            name = o.kernel
            // Before the work of packing, as far as the form is known.
            let sparse: Bool? = pack.form == .automatic ? nil : pack.form == .sparse
            if let name { _ = try kernel(named: name, type: type, sparse: sparse) }
        }
        let rows = Rows(base: UnsafeMutableRawPointer(mutating: data), rowStride: stride, matrixStride: 0)
        let tensor = try Packer.pack(weightType, n: Int(n), k: Int(k), matrices: 1, rows: rows, options: pack, codec: Codec(isa))
        do throws(Status) {
            let forced = try name.map { (name) throws(Status) in try kernel(named: name, type: type, sparse: tensor.layout.sparse) }
            result.pointee = OpaquePointer(try Linear.create(tensor, forced: forced, isa: isa))
        } catch {
            tensor.release()
            throw error
        }
    }
}

/// The row of the kernel table with this name, for this type and form (nil: either), if it runs here.
private func kernel(named name: UnsafePointer<CChar>, type: Int32, sparse: Bool?) throws(Status) -> Int {
    for index in 0..<KernelTable.count {
        let row = KernelTable.row(index)
        guard row.type == type, sparse == nil || row.sparse == sparse, equal(name, row.name) else { continue }
        let reason = usable(row)
        guard reason == .ok else { throw reason }
        return index
    }
    throw .range
}

private func equal(_ a: UnsafePointer<CChar>, _ b: UnsafePointer<CChar>) -> Bool {
    var i = 0
    while a[i] == b[i] {
        if a[i] == 0 { return true }
        i += 1
    }
    return false
}

@c(sparamx_linear_destroy) @implementation
public func sparamx_linear_destroy(_ pointer: OpaquePointer!) {
    _ = status { () throws(Status) in Linear.destroy(try linear(pointer)) }
}

@c(sparamx_linear_read) @implementation
public func sparamx_linear_read(_ pointer: OpaquePointer!, _ row: Int64, _ count: Int64,
                                _ data: UnsafeMutableRawPointer!) -> sparamx_status {
    status { () throws(Status) in
        let handle = try linear(pointer)
        guard let data else { throw .null }
        let tensor = handle.pointee.tensor
        guard row >= 0, count >= 0, row <= Int64(tensor.layout.n), count <= Int64(tensor.layout.n) - row else { throw .range }
        let rowBytes = try tensor.layout.type.rowBytes(tensor.layout.k)
        try Unpacker.rows(tensor, first: Int(row), count: Int(count), out: data.assumingMemoryBound(to: UInt8.self),
                          rowStride: rowBytes, codec: Codec(handle.pointee.isa))
    }
}

/// The plan for m tokens, with the kernel the options forced if there is one.
private func plan(_ handle: Linear.Handle, _ m: Int64, _ threads: Int) throws(Status) -> Plan {
    guard m >= 1, m <= Int64(Int32.max) else { throw .range }
    let l = handle.pointee
    return try Plan(l.tensor.layout, m: Int(m), threads: threads, isa: l.isa, forced: l.forced)
}

@c(sparamx_linear_work_size) @implementation
public func sparamx_linear_work_size(_ pointer: OpaquePointer!, _ m: Int64, _ threads: Int32,
                                     _ bytes: UnsafeMutablePointer<Int>!) -> sparamx_status {
    status { () throws(Status) in
        let handle = try linear(pointer), result = try present(bytes)
        result.pointee = try plan(handle, m, Int(threads)).workBytes
    }
}

@c(sparamx_linear_compute) @implementation
public func sparamx_linear_compute(_ pointer: OpaquePointer!, _ params: UnsafePointer<sparamx_params>!, _ m: Int64,
                                   _ x: UnsafePointer<Float>!, _ ldx: Int64, _ y: UnsafeMutablePointer<Float>!,
                                   _ ldy: Int64) -> sparamx_status {
    status { () throws(Status) in
        let handle = try linear(pointer)
        var (worker, workSize) = try worker(params)
        let plan = try plan(handle, m, worker.threads)
        guard let x, let y else { throw .null }
        let layout = handle.pointee.tensor.layout
        guard ldx >= Int64(layout.k), ldy >= Int64(layout.n), ldx <= Int64(Checked.limit), ldy <= Int64(Checked.limit) else {
            throw .stride
        }
        let xBytes = try Checked.product(try Checked.sum(try Checked.product(plan.m - 1, Int(ldx)), layout.k), 4)
        let yBytes = try Checked.product(try Checked.sum(try Checked.product(plan.m - 1, Int(ldy)), layout.n), 4)
        try checkMemory(plan.workBytes, worker, workSize, x: x, xBytes, y: y, yBytes)
        worker.begin()
        defer { worker.end() }
        Product.run(plan, .packed(handle.pointee.tensor, matrix: 0), worker: worker, x: x, ldx: Int(ldx), y: y, ldy: Int(ldy), again: false)
    }
}

/// Fills in what became of a packed weight.
private func describe(_ tensor: PackedTensor, forced: Int?, isa: ISA, _ info: UnsafeMutablePointer<sparamx_tensor_info>) throws(Status) {
    let layout = tensor.layout
    let elements = layout.n * layout.k * layout.matrices
    info.pointee.type = layout.type.number
    info.pointee.form = layout.sparse ? Int32(SPARAMX_FORM_SPARSE) : Int32(SPARAMX_FORM_DENSE)
    info.pointee.n = Int64(layout.n)
    info.pointee.k = Int64(layout.k)
    info.pointee.matrices = Int64(layout.matrices)
    info.pointee.source_bytes = UInt64(try layout.type.rowBytes(layout.k) * layout.n * layout.matrices)
    info.pointee.packed_bytes = UInt64(layout.totalBytes)
    info.pointee.background = UInt64(tensor.background)
    info.pointee.sparsity = Double(tensor.background) / Double(elements)
    info.pointee.bits_per_weight = 8 * Double(layout.totalBytes) / Double(elements)
    info.pointee.reason = text(tensor.reason.sentence)
    var used = 0
    try withUnsafeMutableBytes(of: &info.pointee.kernels) { (bytes) throws(Status) in
        let ranges = bytes.bindMemory(to: sparamx_kernel_range.self)
        if let forced {
            let row = KernelTable.row(forced)
            ranges[0] = sparamx_kernel_range(m_min: Int64(row.serves.lowerBound), m_max: lastToken(row), name: row.name)
            used = 1
            return
        }
        var lastIndex = -1, next: Int? = 1
        while let m = next {
            let index = KernelTable.choose(type: layout.type.number, sparse: layout.sparse, m: m, isa: isa)
            guard let index else { throw .type }
            if index != lastIndex && used < ranges.count {
                if used > 0 { ranges[used - 1].m_max = Int64(m - 1) }
                ranges[used] = sparamx_kernel_range(m_min: Int64(m), m_max: Int64.max, name: KernelTable.row(index).name)
                used += 1
                lastIndex = index
            }
            next = KernelTable.change(type: layout.type.number, sparse: layout.sparse, after: m)
        }
    }
    info.pointee.n_kernels = Int32(used)
}

@c(sparamx_linear_info) @implementation
public func sparamx_linear_info(_ pointer: OpaquePointer!, _ info: UnsafeMutablePointer<sparamx_tensor_info>!) -> sparamx_status {
    status { () throws(Status) in
        let handle = try linear(pointer), result = try out(info)
        try describe(handle.pointee.tensor, forced: handle.pointee.forced, isa: handle.pointee.isa, result)
    }
}

@c(sparamx_buffer_tensor_info) @implementation
public func sparamx_buffer_tensor_info(_ pointer: OpaquePointer!, _ t: UnsafePointer<sparamx_tensor>!,
                                       _ info: UnsafeMutablePointer<sparamx_tensor_info>!) -> sparamx_status {
    status { () throws(Status) in
        let handle = try buffer(pointer), view = try tensor(t), result = try out(info)
        let (packed, reason) = try handle.pointee.explain(view)
        if let packed { return try describe(packed, forced: nil, isa: try level(), result) }
        result.pointee.type = view.type
        result.pointee.form = Int32(SPARAMX_FORM_RAW)
        result.pointee.n_kernels = 0
        result.pointee.n = Int64(view.ne.1)
        result.pointee.k = Int64(view.ne.0)
        result.pointee.matrices = Int64(view.ne.2) * Int64(view.ne.3)
        result.pointee.source_bytes = UInt64(view.bytes)
        result.pointee.packed_bytes = UInt64(view.bytes)
        result.pointee.background = 0
        result.pointee.sparsity = 0
        result.pointee.bits_per_weight = 8 * Double(view.bytes)
            / (Double(view.ne.0) * Double(view.ne.1) * Double(view.ne.2) * Double(view.ne.3))
        result.pointee.reason = text(reason.sentence)
    }
}
