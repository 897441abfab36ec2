import CPlatform

/// One announced tensor of a buffer. Its raw bytes live in the buffer's address space and are given back once the
/// packed form exists; the packed form has a mapping of its own.
struct Slot {
    let tensor: Tensor
    let offset: Int          // in the buffer
    let forWeights: Bool     // the buffer's usage when the tensor was announced
    var arrived = Intervals()
    var packed: PackedTensor?
    var residentBytes: Int64 = 0         // read by other threads while this one uploads: only atomically
    var pending: PackedTensor?           // of a clear that is under way
    var pendingArrived = Intervals()

    var isWeight: Bool {
        guard forWeights else { return false }
        do throws(Status) {
            _ = try tensor.weight()
            return true
        } catch { return false }
    }
}

/// Equal pieces of a tensor at equal distances; one piece is the usual case.
package struct Pieces {
    package let offset, size, copies, stride: Int

    /// Checks that all of them lie in a tensor of this many bytes and, if asked, that none cuts into another.
    package init(offset: Int, size: Int, copies: Int = 1, stride: Int = 0, of bytes: Int, apart: Bool = true) throws(Status) {
        guard size >= 0, copies >= 0, stride >= 0 else { throw .range }
        self.offset = offset
        self.size = size
        self.copies = copies
        self.stride = stride
        if copies == 0 { return }
        try Checked.part(offset, try Checked.sum(try Checked.product(copies - 1, stride), size), of: bytes)
        guard copies == 1 || stride >= size || !apart else { throw .stride }
    }

    var isEmpty: Bool { copies == 0 || size == 0 }
    /// From the first byte to the last.
    var span: Int { (copies - 1) * stride + size }
}

/// Reading and writing one tensor, whatever its state. All or nothing: a failure leaves the contents as they were.
struct SlotAccess {
    let slot: UnsafeMutablePointer<Slot>
    let raw: UnsafeMutablePointer<UInt8>  // the tensor's place in the buffer
    let options: PackOptions
    let codec: Codec

    private var tensor: Tensor { slot.pointee.tensor }

    func write(_ data: UnsafeRawPointer, _ pieces: Pieces, dataStride: Int) throws(Status) {
        let whole = pieces.offset == 0 && pieces.copies == 1 && pieces.size == tensor.bytes
        try change(pieces, whole: whole ? data : nil) { place, i in
            UnsafeMutableRawPointer(place).copyMemory(from: data + i * dataStride, byteCount: pieces.size)
        }
    }

    func fill(_ value: UInt8, _ pieces: Pieces) throws(Status) {
        try change(pieces, whole: nil) { place, _ in place.update(repeating: value, count: pieces.size) }
    }

    func read(_ out: UnsafeMutablePointer<UInt8>, offset: Int, size: Int) throws(Status) {
        if let packed = slot.pointee.packed {
            try Unpacker.bytes(packed, offset: offset, size: size, out: out, codec: codec)
        } else {
            UnsafeMutableRawPointer(out).copyMemory(from: raw + offset, byteCount: size)
        }
    }

    /// whole: where all the tensor's bytes are, if they come in one piece; they are then packed from there.
    private func change(_ pieces: Pieces, whole: UnsafeRawPointer?,
                        _ apply: (UnsafeMutablePointer<UInt8>, Int) -> Void) throws(Status) {
        if pieces.isEmpty { return }
        func applyAll() {
            for i in 0..<pieces.copies { apply(raw + pieces.offset + i * pieces.stride, i) }
        }
        if slot.pointee.isWeight {
            if let whole { return try adopt(pack(whole)) }
            if let packed = slot.pointee.packed {
                // Unpack to the raw place, change, pack again; the old packed form stays until the new one exists.
                defer { giveBack(raw, tensor.bytes) }
                try Unpacker.bytes(packed, offset: 0, size: tensor.bytes, out: raw, codec: codec)
                applyAll()
                return try adopt(pack(UnsafeRawPointer(raw)))
            }
        }
        var arrived = try slot.pointee.arrived.copy(room: pieces.copies)
        for i in 0..<pieces.copies {
            let begin = pieces.offset + i * pieces.stride
            arrived.insert(begin, begin + pieces.size)
        }
        if slot.pointee.isWeight && arrived.covers(tensor.bytes) {
            arrived.release()
            return try complete(pieces, applyAll)
        }
        applyAll()
        slot.pointee.arrived.release()
        slot.pointee.arrived = arrived
        count(tensor.bytes)
    }

    /// The last missing bytes: written to the raw place and packed. If that fails they are taken back: what had not
    /// arrived was zero, what is written over is kept meanwhile.
    private func complete(_ pieces: Pieces, _ applyAll: () -> Void) throws(Status) {
        let place = raw + pieces.offset, span = pieces.span
        let fresh = slot.pointee.arrived.total + pieces.size * pieces.copies == tensor.bytes
        var before: UnsafeMutableRawPointer? = nil
        if !fresh {
            guard let memory = sx_map(span) else { throw .noMemory }
            memory.copyMemory(from: place, byteCount: span)
            before = memory
        }
        defer { if let before { sx_unmap(before, span) } }
        applyAll()
        do throws(Status) { try adopt(pack(UnsafeRawPointer(raw))) } catch {
            if let before {
                UnsafeMutableRawPointer(place).copyMemory(from: before, byteCount: span)
            } else {
                for i in 0..<pieces.copies { (place + i * pieces.stride).update(repeating: 0, count: pieces.size) }
            }
            throw error
        }
    }

    /// Everything to one value, in two steps so that a buffer can do all its tensors or none: prepare may fail and
    /// changes nothing that can be seen, commit cannot fail.
    func prepareClear(_ value: UInt8) throws(Status) {
        if !slot.pointee.isWeight {
            slot.pointee.pendingArrived = try slot.pointee.arrived.copy(room: 1)
            return
        }
        guard let memory = sx_map(tensor.bytes) else { throw .noMemory }
        defer { sx_unmap(memory, tensor.bytes) }
        if value != 0 { memory.initializeMemory(as: UInt8.self, repeating: value, count: tensor.bytes) }
        slot.pointee.pending = try pack(memory)
    }

    func commitClear(_ value: UInt8) {
        if let pending = slot.pointee.pending {
            slot.pointee.pending = nil
            return adopt(pending)
        }
        raw.update(repeating: value, count: tensor.bytes)
        slot.pointee.arrived.release()
        slot.pointee.arrived = slot.pointee.pendingArrived
        slot.pointee.arrived.insert(0, tensor.bytes)
        slot.pointee.pendingArrived = Intervals()
        count(tensor.bytes)
    }

    func forgetClear() {
        slot.pointee.pending?.release()
        slot.pointee.pending = nil
        slot.pointee.pendingArrived.release()
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
        count(packed.bytes)
        slot.pointee.arrived.release()
        giveBack(raw, tensor.bytes)
    }

    /// Notes how many bytes this tensor keeps in memory.
    private func count(_ bytes: Int) { sx_count_store(&slot.pointee.residentBytes, Int64(bytes)) }

    func release() {
        slot.pointee.packed?.release()
        slot.pointee.packed = nil
        count(0)
        slot.pointee.arrived.release()
        giveBack(raw, tensor.bytes)
    }
}

/// Gives whole pages back; slots start on pages and own the last one to its end.
private func giveBack(_ pointer: UnsafeMutablePointer<UInt8>, _ bytes: Int) {
    sx_give_back(pointer, (bytes + Buffer.alignment - 1) / Buffer.alignment * Buffer.alignment)
}
