import CPlatform
public import CSparamx
import SparamxCore

// The buffer type and buffers. Each function checks, translates and calls the core.

@c(sparamx_buffer_type_name) @implementation
public func sparamx_buffer_type_name() -> UnsafePointer<CChar>! { cString("SPARAMX") }

@c(sparamx_buffer_type_alignment) @implementation
public func sparamx_buffer_type_alignment() -> Int { Buffer.alignment }

@c(sparamx_buffer_type_max_size) @implementation
public func sparamx_buffer_type_max_size() -> Int { Buffer.maxSize }

@c(sparamx_buffer_type_is_host) @implementation
public func sparamx_buffer_type_is_host() -> Bool { false }

@c(sparamx_buffer_type_alloc_size) @implementation
public func sparamx_buffer_type_alloc_size(_ pointer: UnsafePointer<sparamx_tensor>!,
                                           _ bytes: UnsafeMutablePointer<Int>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let result = try requireOut(bytes)
        let size = try Checked.roundUp(try readTensor(pointer).bytes, to: Buffer.alignment)
        if size > Buffer.maxSize { throw .range }
        result.pointee = size
    }
}

@c(sparamx_buffer_create) @implementation
public func sparamx_buffer_create(_ size: Int, _ options: UnsafePointer<sparamx_buffer_options>!,
                                  _ pointer: UnsafeMutablePointer<OpaquePointer?>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let result = try requireOut(pointer)
        var pack = PackOptions(), weights = true
        if options != nil {
            let o = try readStruct(options)
            pack = try readPackOptions(form: o.form, threads: o.pack_threads, numa: o.numa)
            weights = try readUsage(o.usage)
        }
        result.pointee = OpaquePointer(try Buffer.create(size: size, forWeights: weights, options: pack,
                                                         isa: requireLevel()))
    }
}

private func readUsage(_ usage: Int32) throws(Status) -> Bool {
    guard usage == Int32(SPARAMX_USAGE_WEIGHTS) || usage == Int32(SPARAMX_USAGE_ANY) else { throw .range }
    return usage == Int32(SPARAMX_USAGE_WEIGHTS)
}

@c(sparamx_buffer_destroy) @implementation
public func sparamx_buffer_destroy(_ pointer: OpaquePointer!) {
    _ = reportStatus { () throws(Status) in Buffer.destroy(try requireBuffer(pointer)) }
}

@c(sparamx_buffer_base) @implementation
public func sparamx_buffer_base(_ pointer: OpaquePointer!) -> UnsafeMutableRawPointer! {
    do throws(Status) { return try requireBuffer(pointer).pointee.base } catch { return nil }
}

@c(sparamx_buffer_size) @implementation
public func sparamx_buffer_size(_ pointer: OpaquePointer!) -> Int {
    do throws(Status) { return try requireBuffer(pointer).pointee.size } catch { return 0 }
}

@c(sparamx_buffer_resident) @implementation
public func sparamx_buffer_resident(_ pointer: OpaquePointer!) -> Int {
    do throws(Status) { return try requireBuffer(pointer).pointee.resident } catch { return 0 }
}

@c(sparamx_buffer_set_usage) @implementation
public func sparamx_buffer_set_usage(_ pointer: OpaquePointer!, _ usage: Int32) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireBuffer(pointer)
        handle.pointee.forWeights = try readUsage(usage)
    }
}

@c(sparamx_buffer_init_tensor) @implementation
public func sparamx_buffer_init_tensor(_ pointer: OpaquePointer!,
                                       _ t: UnsafePointer<sparamx_tensor>!) -> sparamx_status {
    reportStatus { () throws(Status) in try Buffer.announce(try requireBuffer(pointer), try readTensor(t)) }
}

/// Runs an upload and tells the host's log why it failed, or what is less than was asked for.
private func upload(_ pointer: OpaquePointer!, _ t: UnsafePointer<sparamx_tensor>!,
                    _ body: () throws(Status) -> Void) -> sparamx_status {
    let result = reportStatus(body)
    guard sx_log_enabled() else { return result }
    do throws(Status) {
        let name = try readStruct(t).name
        if let failure = Status(rawValue: result), failure != .ok {
            logFailure(failure, name)
        } else if let packed = try requireBuffer(pointer).pointee.explain(try readTensor(t)).0 {
            logMissingCopies(packed, try requireBuffer(pointer).pointee.options, name)
        }
    } catch {}
    return result
}

/// A region of the host's memory: there, and not wrapping around the address space.
private func requireRegion(_ data: UnsafeRawPointer?, _ size: Int) throws(Status) -> UnsafeRawPointer {
    guard let data else { throw .null }
    guard size >= 0, !UInt(bitPattern: data).addingReportingOverflow(UInt(size)).overflow else { throw .range }
    return data
}

@c(sparamx_buffer_set_tensor) @implementation
public func sparamx_buffer_set_tensor(_ pointer: OpaquePointer!, _ t: UnsafePointer<sparamx_tensor>!,
                                      _ data: UnsafeRawPointer!, _ offset: Int, _ size: Int) -> sparamx_status {
    upload(pointer, t) { () throws(Status) in
        let handle = try requireBuffer(pointer), source = try requireRegion(data, size)
        try requireApart(source, size, handle.pointee.base, handle.pointee.size)
        try Buffer.write(handle, try readTensor(t), source, offset: offset, size: size)
    }
}

@c(sparamx_buffer_get_tensor) @implementation
public func sparamx_buffer_get_tensor(_ pointer: OpaquePointer!, _ t: UnsafePointer<sparamx_tensor>!,
                                      _ data: UnsafeMutableRawPointer!, _ offset: Int, _ size: Int) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireBuffer(pointer)
        try requireApart(try requireRegion(data, size), size, handle.pointee.base, handle.pointee.size)
        try handle.pointee.read(try readTensor(t), data, offset: offset, size: size)
    }
}

@c(sparamx_buffer_memset_tensor) @implementation
public func sparamx_buffer_memset_tensor(_ pointer: OpaquePointer!, _ t: UnsafePointer<sparamx_tensor>!, _ value: UInt8,
                                         _ offset: Int, _ size: Int) -> sparamx_status {
    upload(pointer, t) { () throws(Status) in
        try Buffer.fill(try requireBuffer(pointer), try readTensor(t), value, offset: offset, size: size)
    }
}

/// The host's side of a two-dimensional copy: from its first byte to its last.
private func countSpan(_ data: UnsafeRawPointer?, size: Int, copies: Int, stride: Int) throws(Status) -> Int {
    guard size >= 0, copies >= 0, stride >= 0 else { throw .range }
    let bytes = copies == 0 ? 0 : try Checked.sum(try Checked.product(copies - 1, stride), size)
    _ = try requireRegion(data, bytes)
    return bytes
}

@c(sparamx_buffer_set_tensor_2d) @implementation
public func sparamx_buffer_set_tensor_2d(_ pointer: OpaquePointer!, _ t: UnsafePointer<sparamx_tensor>!,
                                         _ data: UnsafeRawPointer!, _ offset: Int, _ size: Int, _ copies: Int,
                                         _ tensorStride: Int, _ dataStride: Int) -> sparamx_status {
    upload(pointer, t) { () throws(Status) in
        let handle = try requireBuffer(pointer), target = try readTensor(t)
        let bytes = try countSpan(data, size: size, copies: copies, stride: dataStride)
        let contiguous = size == tensorStride && size == dataStride
        let pieces = contiguous ? try Pieces(offset: offset, size: bytes, of: target.bytes)
            : try Pieces(offset: offset, size: size, copies: copies, stride: tensorStride, of: target.bytes)
        try requireApart(data, bytes, handle.pointee.base, handle.pointee.size)
        try Buffer.write(handle, target, data, pieces, dataStride: dataStride)
    }
}

@c(sparamx_buffer_get_tensor_2d) @implementation
public func sparamx_buffer_get_tensor_2d(_ pointer: OpaquePointer!, _ t: UnsafePointer<sparamx_tensor>!,
                                         _ data: UnsafeMutableRawPointer!, _ offset: Int, _ size: Int, _ copies: Int,
                                         _ tensorStride: Int, _ dataStride: Int) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireBuffer(pointer), source = try readTensor(t)
        let bytes = try countSpan(data, size: size, copies: copies, stride: dataStride)
        let pieces = try Pieces(offset: offset, size: size, copies: copies, stride: tensorStride, of: source.bytes,
                                apart: false)
        guard copies <= 1 || dataStride >= size else { throw .stride }
        try requireApart(data, bytes, handle.pointee.base, handle.pointee.size)
        if pieces.isEmpty { return }
        try handle.pointee.read(source, data, pieces, outStride: dataStride)
    }
}

@c(sparamx_buffer_copy_tensor) @implementation
public func sparamx_buffer_copy_tensor(_ pointer: OpaquePointer!, _ from: UnsafePointer<sparamx_tensor>!,
                                       _ to: UnsafePointer<sparamx_tensor>!) -> sparamx_status {
    upload(pointer, to) { () throws(Status) in
        let handle = try requireBuffer(pointer), source = try readTensor(from), target = try readTensor(to)
        guard source.type == target.type, source.ne == target.ne, source.bytes == target.bytes else { throw .shape }
        guard let data = source.data else { throw .null }
        let size = source.bytes
        guard let owner = try readStruct(from).buffer else {
            try requireApart(data, size, handle.pointee.base, handle.pointee.size)
            return try Buffer.write(handle, target, data, offset: 0, size: size)
        }
        if data == target.data {
            // Onto itself, if there is such a tensor.
            _ = try handle.pointee.explain(target)
            return
        }
        // The source may be packed: its bytes pass through memory of their own.
        guard let spare = sx_map(size) else { throw .noMemory }
        defer { sx_unmap(spare, size) }
        try requireBuffer(owner).pointee.read(source, spare, offset: 0, size: size)
        try Buffer.write(handle, target, spare, offset: 0, size: size)
    }
}

@c(sparamx_buffer_clear) @implementation
public func sparamx_buffer_clear(_ pointer: OpaquePointer!, _ value: UInt8) -> sparamx_status {
    reportStatus { () throws(Status) in try Buffer.clear(try requireBuffer(pointer), value) }
}

@c(sparamx_buffer_reset) @implementation
public func sparamx_buffer_reset(_ pointer: OpaquePointer!) -> sparamx_status {
    reportStatus { () throws(Status) in Buffer.reset(try requireBuffer(pointer)) }
}
