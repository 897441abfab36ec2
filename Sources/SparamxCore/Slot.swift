import CPlatform

/// One announced tensor of a buffer. Its raw bytes live in the buffer's address space and are given back once the
/// packed form exists; the packed form has a mapping of its own.
struct Slot {
    let tensor: Tensor
    let offset: Int          // in the buffer
    let forWeights: Bool     // the buffer's usage when the tensor was announced
    var arrived = Intervals()
    var packed: PackedTensor?

    var isWeight: Bool {
        guard forWeights else { return false }
        do throws(Status) {
            _ = try tensor.weight()
            return true
        } catch { return false }
    }
}

/// Reading and writing one tensor, whatever its state. All or nothing: a failure leaves the contents as they were.
struct SlotAccess {
    let slot: UnsafeMutablePointer<Slot>
    let raw: UnsafeMutablePointer<UInt8>  // the tensor's place in the buffer
    let options: PackOptions
    let codec: Codec

    private var tensor: Tensor { slot.pointee.tensor }

    func write(_ data: UnsafeRawPointer, offset: Int, size: Int) throws(Status) {
        try change(offset: offset, size: size, whole: data) { $0.update(from: data.assumingMemoryBound(to: UInt8.self), count: size) }
    }

    func fill(_ value: UInt8, offset: Int, size: Int) throws(Status) {
        try change(offset: offset, size: size, whole: nil) { $0.update(repeating: value, count: size) }
    }

    func read(_ out: UnsafeMutablePointer<UInt8>, offset: Int, size: Int) throws(Status) {
        if let packed = slot.pointee.packed {
            try Unpacker.bytes(packed, offset: offset, size: size, out: out, codec: codec)
        } else {
            out.update(from: raw + offset, count: size)
        }
    }

    /// whole: where all the tensor's bytes are, if they come in one piece; they are then packed from there.
    private func change(offset: Int, size: Int, whole: UnsafeRawPointer?,
                        _ apply: (UnsafeMutablePointer<UInt8>) -> Void) throws(Status) {
        if size == 0 { return }
        guard slot.pointee.isWeight else {
            try slot.pointee.arrived.reserve()
            apply(raw + offset)
            slot.pointee.arrived.insert(offset, offset + size)
            return
        }
        if let whole, offset == 0, size == tensor.bytes { return try adopt(pack(whole)) }
        if let packed = slot.pointee.packed {
            // Unpack to the raw place, change, pack again; the old packed form stays until the new one exists.
            defer { sx_give_back_whole(raw, tensor.bytes) }
            try Unpacker.bytes(packed, offset: 0, size: tensor.bytes, out: raw, codec: codec)
            apply(raw + offset)
            return try adopt(pack(UnsafeRawPointer(raw)))
        }
        try slot.pointee.arrived.reserve()
        apply(raw + offset)
        if slot.pointee.arrived.missing(tensor.bytes, with: offset, offset + size) > 0 {
            slot.pointee.arrived.insert(offset, offset + size)
            return
        }
        try adopt(pack(UnsafeRawPointer(raw)))
    }

    private func pack(_ source: UnsafeRawPointer) throws(Status) -> PackedTensor {
        let (type, matrices) = try tensor.weight()
        let row = try type.rowBytes(tensor.ne.0)
        let rows = Rows(base: UnsafeMutableRawPointer(mutating: source), rowStride: row, matrixStride: row * tensor.ne.1)
        return try Packer.pack(type, n: tensor.ne.1, k: tensor.ne.0, matrices: matrices, rows: rows, options: options, codec: codec)
    }

    private func adopt(_ packed: PackedTensor) {
        slot.pointee.packed?.release()
        slot.pointee.packed = packed
        slot.pointee.arrived.release()
        sx_give_back_whole(raw, tensor.bytes)
    }

    /// Bytes this tensor keeps in memory.
    var resident: Int {
        if let packed = slot.pointee.packed { return packed.bytes }
        return slot.pointee.arrived.count == 0 ? 0 : tensor.bytes
    }

    func release() {
        slot.pointee.packed?.release()
        slot.pointee.packed = nil
        slot.pointee.arrived.release()
        sx_give_back_whole(raw, tensor.bytes)
    }
}

/// Gives whole pages back; slots start on pages and own the last one to its end.
private func sx_give_back_whole(_ pointer: UnsafeMutablePointer<UInt8>, _ bytes: Int) {
    sx_give_back(pointer, (bytes + Buffer.alignment - 1) / Buffer.alignment * Buffer.alignment)
}
