import CPlatform

/// One announced tensor of a buffer. Its raw bytes live in the buffer's address space, which is not usable before they
/// arrive and is given back once the packed form exists; the packed form has a mapping of its own.
struct Slot {
    let tensor: Tensor
    let offset: Int          // in the buffer
    let forWeights: Bool     // the buffer's usage when the tensor was announced
    /// Of a weight that is packed when it is complete; nil for a tensor that stays raw.
    let weight: (type: WeightType, matrices: Int)?
    var arrived = Intervals()            // of a weight that is not packed yet
    var stagingUsable = false            // the tensor's own bytes in the buffer
    var packed: PackedTensor?
    var residentBytes = 0
    var pending: Packing?                // of a clear that is under way

    // A slot's memory goes on behind this struct with the tensor's name, for files.
    private static let nameSpace = FileFormat.mostNameBytes + 1
    static let memoryBytes = MemoryLayout<Slot>.stride + nameSpace

    static func name(_ slot: UnsafeMutablePointer<Slot>) -> UnsafeMutablePointer<CChar> {
        UnsafeMutableRawPointer(slot + 1).assumingMemoryBound(to: CChar.self)
    }

    /// A name that no file can have is kept as an empty one.
    static func setName(_ slot: UnsafeMutablePointer<Slot>, _ name: UnsafePointer<CChar>?) {
        let place = Slot.name(slot), bytes = name.flatMap(fittingNameBytes) ?? 0
        if let name { UnsafeMutableRawPointer(place).copyMemory(from: name, byteCount: bytes) }
        place[bytes] = 0
    }

    init(_ tensor: Tensor, offset: Int, forWeights: Bool) {
        self.tensor = tensor
        self.offset = offset
        self.forWeights = forWeights
        var weight: (type: WeightType, matrices: Int)? = nil
        if forWeights {
            do throws(Status) { weight = try tensor.requireWeight() } catch {}
        }
        self.weight = weight
    }

    /// Of a weight; 0 for a tensor that stays raw.
    var rowBytes: Int { weight.map { tensor.ne.0 / $0.type.blockElements * $0.type.blockBytes } ?? 0 }

    /// What a weight becomes if all its rows are this one; nil for a tensor that stays raw.
    /// The row has to stay where it is.
    func makePacking(ofRow row: UnsafeRawPointer, options: PackOptions, codec: Codec) throws(Status) -> Packing? {
        guard let weight else { return nil }
        let rows = Rows(base: UnsafeMutableRawPointer(mutating: row), rowStride: 0, matrixStride: 0)
        return try Packing(weight.type, n: tensor.ne.1, k: tensor.ne.0, matrices: weight.matrices, rows: rows,
                           options: options, codec: codec)
    }
}

/// Reading and writing one tensor, whatever its state. All or nothing: a failure leaves the contents as they were.
struct SlotAccess {
    let slot: UnsafeMutablePointer<Slot>
    let staging: UnsafeMutablePointer<UInt8>   // the tensor's own bytes in the buffer
    let resident: UnsafeMutablePointer<Int64>  // bytes of the whole buffer, shared by threads
    let options: PackOptions
    let codec: Codec

    private var tensor: Tensor { slot.pointee.tensor }

    /// For a tensor that stays raw: products read its bytes in the buffer, so they have to be there from the beginning.
    func prepare() throws(Status) {
        if slot.pointee.weight == nil { try makeStagingUsable() }
    }

    func write(_ data: UnsafeRawPointer, _ pieces: Pieces, dataStride: Int) throws(Status) {
        let whole = pieces.offset == 0 && pieces.copies == 1 && pieces.size == tensor.bytes
        try apply(pieces, whole: whole ? data : nil) { place, i in
            UnsafeMutableRawPointer(place).copyMemory(from: data + i * dataStride, byteCount: pieces.size)
        }
    }

    func fill(_ value: UInt8, _ pieces: Pieces) throws(Status) {
        try apply(pieces, whole: nil) { place, _ in place.update(repeating: value, count: pieces.size) }
    }

    func read(_ out: UnsafeMutablePointer<UInt8>, offset: Int, size: Int) throws(Status) {
        if let packed = slot.pointee.packed {
            try Unpacker.bytes(packed, offset: offset, size: size, out: out, codec: codec)
        } else if slot.pointee.stagingUsable {
            UnsafeMutableRawPointer(out).copyMemory(from: staging + offset, byteCount: size)
        } else {
            UnsafeMutableRawPointer(out).initializeMemory(as: UInt8.self, repeating: 0, count: size)
        }
    }

    /// whole: where all the tensor's bytes are, if they come in one piece; they are then packed from there.
    private func apply(_ pieces: Pieces, whole: UnsafeRawPointer?,
                        _ change: (UnsafeMutablePointer<UInt8>, Int) -> Void) throws(Status) {
        if pieces.isEmpty { return }
        func applyAll() {
            for i in 0..<pieces.copies { change(staging + pieces.offset + i * pieces.stride, i) }
        }
        guard slot.pointee.weight != nil else {
            applyAll()
            return recordResident(tensor.bytes)
        }
        if let whole { return try adopt(pack(whole)) }
        if let packed = slot.pointee.packed {
            // Unpack into the buffer, change, pack again; the old packed form stays until the new one exists.
            try makeStagingUsable()
            defer { giveStagingBack() }
            try Unpacker.bytes(packed, offset: 0, size: tensor.bytes, out: staging, codec: codec)
            applyAll()
            return try adopt(pack(UnsafeRawPointer(staging)))
        }
        var fresh = 0
        for i in 0..<pieces.rangeCount {
            let (begin, end) = pieces.range(i)
            fresh += slot.pointee.arrived.missing(begin, end)
        }
        if slot.pointee.arrived.total + fresh == tensor.bytes {
            return try complete(pieces, fresh: fresh == pieces.bytes, applyAll)
        }
        try slot.pointee.arrived.reserve(pieces.rangeCount)
        try makeStagingUsable()
        applyAll()
        for i in 0..<pieces.rangeCount {
            let (begin, end) = pieces.range(i)
            slot.pointee.arrived.insert(begin, end)
        }
        recordResident(tensor.bytes)
    }

    /// The last missing bytes: written into the buffer and packed. If that fails they are taken back: what had not
    /// arrived was zero, what is written over is kept meanwhile. fresh: nothing is written over.
    private func complete(_ pieces: Pieces, fresh: Bool, _ applyAll: () -> Void) throws(Status) {
        try makeStagingUsable()
        let place = staging + pieces.offset, span = pieces.span
        var before: UnsafeMutableRawPointer? = nil
        if !fresh {
            guard let memory = sx_map(span) else { throw .noMemory }
            memory.copyMemory(from: place, byteCount: span)
            before = memory
        }
        defer { if let before { sx_unmap(before, span) } }
        applyAll()
        do throws(Status) { try adopt(pack(UnsafeRawPointer(staging))) } catch {
            if let before {
                UnsafeMutableRawPointer(place).copyMemory(from: before, byteCount: span)
            } else {
                for i in 0..<pieces.copies { (place + i * pieces.stride).update(repeating: 0, count: pieces.size) }
            }
            throw error
        }
    }

    /// Everything to one value, in two steps so that a buffer can do all its tensors or none: prepare may fail and
    /// changes nothing that can be seen, commit cannot fail. row: bytes of that value, as many as the longest row has,
    /// there until commit has returned. The new packed form takes no memory before the old one is gone.
    func prepareClear(_ value: UInt8, row: UnsafeRawPointer) throws(Status) {
        slot.pointee.pending = try slot.pointee.makePacking(ofRow: row, options: options, codec: codec)
    }

    func commitClear(_ value: UInt8) {
        if let pending = slot.pointee.pending {
            slot.pointee.pending = nil
            release()
            // Cannot fail: the row does not change. If it did, the weight would be one that has not arrived.
            do throws(Status) { adopt(try pending.finish()) } catch {}
        } else if value == 0 {
            sx_zero_pages(staging, pageBytes)
            recordResident(0)
        } else {
            staging.update(repeating: value, count: tensor.bytes)
            recordResident(tensor.bytes)
        }
    }

    /// The packed form as a file has it, in place of what was there.
    func load(_ mapped: PackedTensor) { adopt(mapped) }

    func forgetClear() {
        slot.pointee.pending?.forget()
        slot.pointee.pending = nil
    }

    private func pack(_ source: UnsafeRawPointer) throws(Status) -> PackedTensor {
        guard let weight = slot.pointee.weight else { throw .type }
        let row = slot.pointee.rowBytes
        let rows = Rows(base: UnsafeMutableRawPointer(mutating: source), rowStride: row,
                        matrixStride: row * tensor.ne.1)
        return try Packer.pack(weight.type, n: tensor.ne.1, k: tensor.ne.0, matrices: weight.matrices, rows: rows,
                               options: options, codec: codec)
    }

    private func adopt(_ packed: PackedTensor) {
        slot.pointee.packed?.release()
        slot.pointee.packed = packed
        recordResident(packed.residentBytes)
        slot.pointee.arrived.release()
        giveStagingBack()
    }

    /// How many bytes this tensor keeps in memory.
    private func recordResident(_ bytes: Int) {
        sx_count_add(resident, Int64(bytes - slot.pointee.residentBytes))
        slot.pointee.residentBytes = bytes
    }

    /// keepStaging: the bytes in the buffer stay usable, and are zero.
    func release(keepStaging: Bool = false) {
        slot.pointee.packed?.release()
        slot.pointee.packed = nil
        recordResident(0)
        slot.pointee.arrived.release()
        if keepStaging && slot.pointee.stagingUsable { sx_zero_pages(staging, pageBytes) } else { giveStagingBack() }
    }

    /// Slots start on pages and own the last one to its end.
    private var pageBytes: Int { (tensor.bytes + Buffer.alignment - 1) / Buffer.alignment * Buffer.alignment }

    func makeStagingUsable() throws(Status) {
        if slot.pointee.stagingUsable { return }
        guard sx_make_usable(staging, pageBytes) else { throw .noMemory }
        slot.pointee.stagingUsable = true
    }

    private func giveStagingBack() {
        if !slot.pointee.stagingUsable { return }
        sx_give_back(staging, pageBytes)
        slot.pointee.stagingUsable = false
    }
}
