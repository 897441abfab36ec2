import CPlatform
public import CSparamx
import SparamxCore

// Products without any of ggml's notions.

@c(sparamx_linear_create) @implementation
public func sparamx_linear_create(_ type: Int32, _ n: Int64, _ k: Int64, _ data: UnsafeRawPointer!, _ rowStride: Int,
                                  _ options: UnsafePointer<sparamx_linear_options>!,
                                  _ pointer: UnsafeMutablePointer<OpaquePointer?>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let result = try requireOut(pointer), isa = try requireLevel()
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
            let o = try readStruct(options)
            pack = try readPackOptions(form: o.form, threads: o.pack_threads, numa: o.numa)
            name = o.kernel
            // Before the work of packing, as far as the form is known.
            if let name { _ = try findKernel(named: name, type: type, form: pack.form.form(weightType)) }
        }
        let rows = Rows(base: UnsafeMutableRawPointer(mutating: data), rowStride: stride, matrixStride: 0)
        let tensor = try Packer.pack(weightType, n: Int(n), k: Int(k), matrices: 1, rows: rows, options: pack,
                                     codec: Codec(isa))
        do throws(Status) {
            let forced = try name.map { (name) throws(Status) in
                try findKernel(named: name, type: type, form: tensor.layout.form)
            }
            result.pointee = OpaquePointer(try Linear.create(tensor, forced: forced, isa: isa))
            logMissingCopies(tensor, pack, nil)
        } catch {
            tensor.release()
            throw error
        }
    }
}

/// The row of the kernel table with this name, for this type and form (nil: any), if it runs here.
func findKernel(named name: UnsafePointer<CChar>, type: Int32, form: Int32?) throws(Status) -> Int {
    for index in 0..<KernelTable.count {
        let row = KernelTable.row(index)
        guard row.type == type, form == nil || row.form == form, areEqual(name, row.name) else { continue }
        let reason = usability(row)
        guard reason == .ok else { throw reason }
        return index
    }
    throw .range
}

private func areEqual(_ a: UnsafePointer<CChar>, _ b: UnsafePointer<CChar>) -> Bool {
    var i = 0
    while a[i] == b[i] {
        if a[i] == 0 { return true }
        i += 1
    }
    return false
}

@c(sparamx_linear_destroy) @implementation
public func sparamx_linear_destroy(_ pointer: OpaquePointer!) {
    _ = reportStatus { () throws(Status) in Linear.destroy(try requireLinear(pointer)) }
}

@c(sparamx_linear_read) @implementation
public func sparamx_linear_read(_ pointer: OpaquePointer!, _ row: Int64, _ count: Int64,
                                _ data: UnsafeMutableRawPointer!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireLinear(pointer)
        guard let data else { throw .null }
        let tensor = handle.pointee.tensor
        let n = Int64(tensor.layout.n)
        guard row >= 0, count >= 0, row <= n, count <= n - row else { throw .range }
        let rowBytes = try tensor.layout.type.rowBytes(tensor.layout.k)
        try Unpacker.rows(tensor, first: Int(row), count: Int(count), out: data.assumingMemoryBound(to: UInt8.self),
                          rowStride: rowBytes, codec: Codec(handle.pointee.isa))
    }
}

/// The plan for m tokens, with the kernel the options forced if there is one.
private func makePlan(_ handle: Linear.Handle, _ m: Int64, _ threads: Int) throws(Status) -> Plan {
    guard m >= 1, m <= Int64(Int32.max) else { throw .range }
    let l = handle.pointee
    return try Plan(l.tensor.layout, m: Int(m), threads: threads, isa: l.isa, forced: l.forced)
}

@c(sparamx_linear_work_size) @implementation
public func sparamx_linear_work_size(_ pointer: OpaquePointer!, _ m: Int64, _ threads: Int32,
                                     _ bytes: UnsafeMutablePointer<Int>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireLinear(pointer), result = try requireOut(bytes)
        result.pointee = try makePlan(handle, m, Int(threads)).workBytes
    }
}

@c(sparamx_linear_compute) @implementation
public func sparamx_linear_compute(_ pointer: OpaquePointer!, _ params: UnsafePointer<sparamx_params>!, _ m: Int64,
                                   _ x: UnsafePointer<Float>!, _ ldx: Int64, _ y: UnsafeMutablePointer<Float>!,
                                   _ ldy: Int64) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireLinear(pointer)
        var worker = try readWorker(params)
        let plan = try makePlan(handle, m, worker.threads)
        guard let x, let y else { throw .null }
        let layout = handle.pointee.tensor.layout
        let most = Int64(Checked.limit)
        guard ldx >= Int64(layout.k), ldy >= Int64(layout.n), ldx <= most, ldy <= most else { throw .stride }
        let xBytes = try Checked.product(try Checked.sum(try Checked.product(plan.m - 1, Int(ldx)), layout.k), 4)
        let yBytes = try Checked.product(try Checked.sum(try Checked.product(plan.m - 1, Int(ldy)), layout.n), 4)
        try worker.requireMemory(plan.workBytes, x: x, xBytes, y: y, yBytes)
        worker.begin()
        defer { worker.end() }
        Product.run(plan, Batch(.packed(handle.pointee.tensor.here, matrix: 0), x: x, ldx: Int(ldx), y: y,
                                ldy: Int(ldy)), worker: worker)
    }
}
