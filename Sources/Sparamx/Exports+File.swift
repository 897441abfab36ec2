import CPlatform
public import CSparamx
import SparamxCore

// Packed files: writing them, and weights that are mapped from them.

/// Runs the body and tells the host's log why it failed. errno stays what it is, for it belongs to the status.
private func report(_ name: UnsafePointer<CChar>?, _ body: () throws(Status) -> Void) -> sparamx_status {
    let result = reportStatus(body)
    if result != 0, sx_log_enabled(), let failure = Status(rawValue: result) {
        let number = sx_errno()
        logFailure(failure, name)
        sx_set_errno(number)
    }
    return result
}

private func requirePath(_ path: UnsafePointer<CChar>?) throws(Status) -> UnsafePointer<CChar> {
    guard let path else { throw .null }
    return path
}

private func requireFile(_ pointer: OpaquePointer?) throws(Status) -> PackedFile.Handle {
    try PackedFile.handle(pointer)
}

// MARK: - writing

@c(sparamx_file_writer_create) @implementation
public func sparamx_file_writer_create(_ path: UnsafePointer<CChar>!, _ key: UnsafeRawPointer!, _ keySize: Int,
                                       _ pointer: UnsafeMutablePointer<OpaquePointer?>!) -> sparamx_status {
    report(path) { () throws(Status) in
        let path = try requirePath(path), result = try requireOut(pointer)
        guard key != nil || keySize == 0 else { throw .null }
        result.pointee = OpaquePointer(try FileWriter.create(path, key: key, keyBytes: keySize))
    }
}

@c(sparamx_file_writer_add) @implementation
public func sparamx_file_writer_add(_ pointer: OpaquePointer!, _ name: UnsafePointer<CChar>!,
                                    _ buffer: OpaquePointer!, _ t: UnsafePointer<sparamx_tensor>!) -> sparamx_status {
    report(name) { () throws(Status) in
        let writer = try FileWriter.handle(pointer), handle = try requireBuffer(buffer), tensor = try readTensor(t)
        guard let name = name ?? tensor.name else { throw .fileName }
        guard let packed = try handle.pointee.packedForm(of: tensor) else { throw .state }
        try writer.pointee.add(name, packed, ne: tensor.ne)
    }
}

private func add(_ linear: Linear.Handle, _ name: UnsafePointer<CChar>,
                 to writer: FileWriter.Handle) throws(Status) {
    let tensor = linear.pointee.tensor
    try writer.pointee.add(name, tensor, ne: (tensor.layout.k, tensor.layout.n, 1, 1))
}

@c(sparamx_file_writer_add_linear) @implementation
public func sparamx_file_writer_add_linear(_ pointer: OpaquePointer!, _ name: UnsafePointer<CChar>!,
                                           _ linear: OpaquePointer!) -> sparamx_status {
    report(name) { () throws(Status) in
        let writer = try FileWriter.handle(pointer), handle = try requireLinear(linear)
        try add(handle, try requirePath(name), to: writer)
    }
}

@c(sparamx_file_writer_finish) @implementation
public func sparamx_file_writer_finish(_ pointer: OpaquePointer!) -> sparamx_status {
    report(nil) { () throws(Status) in try FileWriter.handle(pointer).pointee.finish() }
}

@c(sparamx_file_writer_destroy) @implementation
public func sparamx_file_writer_destroy(_ pointer: OpaquePointer!) {
    _ = reportStatus { () throws(Status) in FileWriter.destroy(try FileWriter.handle(pointer)) }
}

/// A file of its own for what body adds.
private func save(_ path: UnsafePointer<CChar>?,
                  _ body: (FileWriter.Handle) throws(Status) -> Void) throws(Status) {
    let writer = try FileWriter.create(try requirePath(path), key: nil, keyBytes: 0)
    defer { FileWriter.destroy(writer) }
    try body(writer)
    try writer.pointee.finish()
}

@c(sparamx_linear_save) @implementation
public func sparamx_linear_save(_ linear: OpaquePointer!, _ path: UnsafePointer<CChar>!) -> sparamx_status {
    report(path) { () throws(Status) in
        let handle = try requireLinear(linear)
        try save(path) { (writer) throws(Status) in try add(handle, cString("linear"), to: writer) }
    }
}

@c(sparamx_buffer_save) @implementation
public func sparamx_buffer_save(_ buffer: OpaquePointer!, _ path: UnsafePointer<CChar>!) -> sparamx_status {
    report(path) { () throws(Status) in
        let handle = try requireBuffer(buffer)
        try save(path) { (writer) throws(Status) in try Buffer.save(handle, to: writer) }
    }
}

// MARK: - reading

@c(sparamx_file_open) @implementation
public func sparamx_file_open(_ path: UnsafePointer<CChar>!,
                              _ pointer: UnsafeMutablePointer<OpaquePointer?>!) -> sparamx_status {
    // Nothing for the log: that there is no file is how a host learns that it has to pack.
    reportStatus { () throws(Status) in
        let path = try requirePath(path), result = try requireOut(pointer)
        result.pointee = OpaquePointer(try PackedFile.open(path))
    }
}

@c(sparamx_file_close) @implementation
public func sparamx_file_close(_ pointer: OpaquePointer!) {
    _ = reportStatus { () throws(Status) in PackedFile.close(try requireFile(pointer)) }
}

@c(sparamx_file_key) @implementation
public func sparamx_file_key(_ pointer: OpaquePointer!, _ key: UnsafeMutablePointer<UnsafeRawPointer?>!,
                             _ size: UnsafeMutablePointer<Int>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let file = try requireFile(pointer), start = try requireOut(key), bytes = try requireOut(size)
        (start.pointee, bytes.pointee) = file.pointee.key
    }
}

@c(sparamx_file_count) @implementation
public func sparamx_file_count(_ pointer: OpaquePointer!) -> Int32 {
    do throws(Status) { return Int32(try requireFile(pointer).pointee.count) } catch { return 0 }
}

@c(sparamx_file_info) @implementation
public func sparamx_file_info(_ pointer: OpaquePointer!, _ index: Int32,
                              _ info: UnsafeMutablePointer<sparamx_file_tensor>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let file = try requireFile(pointer), result = try Answer(info), entry = try file.pointee.entry(Int(index))
        var answer = sparamx_file_tensor()
        answer.type = entry.type
        answer.form = entry.form
        answer.name_size = Int32(entry.nameBytes)
        answer.ne = (Int64(entry.ne.0), Int64(entry.ne.1), Int64(entry.ne.2), Int64(entry.ne.3))
        answer.packed_bytes = UInt64(entry.packedBytes)
        answer.background = UInt64(entry.background)
        answer.offset = UInt64(entry.offset)
        answer.name = entry.name
        result.write(answer)
    }
}

@c(sparamx_file_find) @implementation
public func sparamx_file_find(_ pointer: OpaquePointer!, _ name: UnsafePointer<CChar>!,
                              _ index: UnsafeMutablePointer<Int32>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let file = try requireFile(pointer), name = try requirePath(name), result = try requireOut(index)
        result.pointee = Int32(try file.pointee.find(name))
    }
}

/// The name of a tensor, for the log.
private func name(_ pointer: OpaquePointer?, _ index: Int32) -> UnsafePointer<CChar>? {
    do throws(Status) { return try requireFile(pointer).pointee.entry(Int(index)).name } catch { return nil }
}

@c(sparamx_file_verify) @implementation
public func sparamx_file_verify(_ pointer: OpaquePointer!, _ index: Int32) -> sparamx_status {
    report(name(pointer, index)) { () throws(Status) in try requireFile(pointer).pointee.verify(Int(index)) }
}

@c(sparamx_linear_load) @implementation
public func sparamx_linear_load(_ pointer: OpaquePointer!, _ index: Int32,
                                _ options: UnsafePointer<sparamx_linear_options>!,
                                _ out: UnsafeMutablePointer<OpaquePointer?>!) -> sparamx_status {
    report(name(pointer, index)) { () throws(Status) in
        let file = try requireFile(pointer), result = try requireOut(out), isa = try requireLevel()
        let entry = try file.pointee.entry(Int(index))
        guard entry.ne.2 == 1, entry.ne.3 == 1 else { throw .shape }
        var form = FormChoice.automatic, forced: Int? = nil
        if options != nil {
            let o = try readStruct(options)
            form = try readPackOptions(form: o.form, threads: o.pack_threads, numa: o.numa).form
            forced = try o.kernel.map { (name) throws(Status) in
                try findKernel(named: name, type: entry.type, form: entry.form)
            }
        }
        let tensor = try file.pointee.load(Int(index), form: form)
        do throws(Status) {
            result.pointee = OpaquePointer(try Linear.create(tensor, forced: forced, isa: isa))
        } catch {
            tensor.release()
            throw error
        }
    }
}

@c(sparamx_buffer_load_tensor) @implementation
public func sparamx_buffer_load_tensor(_ buffer: OpaquePointer!, _ t: UnsafePointer<sparamx_tensor>!,
                                       _ pointer: OpaquePointer!, _ index: Int32) -> sparamx_status {
    report(name(pointer, index)) { () throws(Status) in
        let handle = try requireBuffer(buffer), file = try requireFile(pointer)
        try Buffer.load(handle, try readTensor(t), file, Int(index))
    }
}
