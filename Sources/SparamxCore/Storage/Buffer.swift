import CPlatform

/// What changes in a buffer as tensors arrive, under its lock. Apart from Buffer, which every thread reads without the
/// lock: to Swift a change of one field is a change of the struct that holds it.
private struct Slots {
    var mutex = sx_mutex()
    var extents = RangeTree()            // what each tensor covers; the value is the slot's address
    var fill: UInt8 = 0                  // what a tensor announced later holds, set by clear

    /// The slot whose tensor is the first to end after a position.
    func first(endingAfter position: Int) -> UnsafeMutablePointer<Slot>? {
        extents.first(endingAfter: position).flatMap { UnsafeMutablePointer<Slot>(bitPattern: $0.value) }
    }

    /// All slots, in their order.
    func each(_ body: (UnsafeMutablePointer<Slot>) -> Void) {
        var at = -1
        while let extent = extents.first(endingAfter: at),
              let slot = UnsafeMutablePointer<Slot>(bitPattern: extent.value) {
            at = extent.end
            body(slot)
        }
    }
}

/// Address space for tensors, and what became of each. Lives in memory of its own; the C handle is its address.
package struct Buffer: HostObject {
    package static let alignment = 4096  // a page: each tensor can be given back on its own
    package static let maxSize = 1 << 46
    package static let sign: UInt64 = 0x7370_6172_616d_7862

    package private(set) var sign: UInt64
    package let size: Int
    let space: Int                       // mapped bytes, at least one page
    package let base: UnsafeMutableRawPointer
    private let index: SlotIndex
    private let slots: UnsafeMutablePointer<Slots>
    private let residentBytes: UnsafeMutablePointer<Int64>  // changed by many threads: only atomically
    package var options: PackOptions
    package var forWeights: Bool
    let codec: Codec

    package static func create(size: Int, forWeights: Bool, options: PackOptions, isa: ISA) throws(Status) -> Handle {
        if size < 0 || size > maxSize { throw .range }
        let space = max(try Checked.roundUp(size, to: alignment), alignment)
        // The buffer, its slots, its count.
        let countOffset = MemoryLayout<Buffer>.stride + MemoryLayout<Slots>.stride
        guard let memory = sx_allocate(countOffset + 8) else { throw .noMemory }
        guard let base = sx_reserve(space) else {
            sx_free(memory)
            throw .noMemory
        }
        let index: SlotIndex
        do throws(Status) { index = try SlotIndex(pages: space / alignment) } catch {
            sx_unmap(base, space)
            sx_free(memory)
            throw error
        }
        let slots = (memory + MemoryLayout<Buffer>.stride).bindMemory(to: Slots.self, capacity: 1)
        slots.initialize(to: Slots())
        sx_mutex_init(&slots.pointee.mutex)
        let handle = memory.bindMemory(to: Buffer.self, capacity: 1)
        handle.initialize(to: Buffer(
            sign: sign, size: size, space: space, base: base, index: index, slots: slots,
            residentBytes: (memory + countOffset).bindMemory(to: Int64.self, capacity: 1), options: options,
            forWeights: forWeights, codec: Codec(isa)))
        return handle
    }

    private init(sign: UInt64, size: Int, space: Int, base: UnsafeMutableRawPointer, index: SlotIndex,
                 slots: UnsafeMutablePointer<Slots>, residentBytes: UnsafeMutablePointer<Int64>, options: PackOptions,
                 forWeights: Bool, codec: Codec) {
        self.sign = sign
        self.size = size
        self.space = space
        self.base = base
        self.index = index
        self.slots = slots
        self.residentBytes = residentBytes
        self.options = options
        self.forWeights = forWeights
        self.codec = codec
    }

    package static func destroy(_ handle: Handle) {
        reset(handle)
        handle.pointee.slots.pointee.extents.release()
        handle.pointee.index.release()
        sx_unmap(handle.pointee.base, handle.pointee.space)
        sx_mutex_destroy(&handle.pointee.slots.pointee.mutex)
        handle.pointee.sign = 0
        sx_free(handle)
    }

    /// Where a tensor lies; checks that it lies inside.
    private func offset(of tensor: Tensor) throws(Status) -> Int {
        guard let data = tensor.data else { throw .null }
        let address = UInt(bitPattern: data), start = UInt(bitPattern: base)
        guard address >= start, address - start <= UInt(size) else { throw .range }
        let offset = Int(address - start)
        try Checked.checkRange(offset, tensor.bytes, within: size)
        return offset
    }

    /// The slot that starts where the tensor does. Takes no lock: compute calls it on every thread.
    private func findSlot(_ tensor: Tensor) throws(Status) -> UnsafeMutablePointer<Slot> {
        let offset = try offset(of: tensor)
        guard offset % Self.alignment == 0, let found = index.slot(on: offset / Self.alignment) else { throw .foreign }
        guard found.pointee.tensor.hasShape(of: tensor) else { throw .shape }
        return found
    }

    private func access(_ slot: UnsafeMutablePointer<Slot>) -> SlotAccess {
        SlotAccess(slot: slot, staging: (base + slot.pointee.offset).assumingMemoryBound(to: UInt8.self),
                   resident: residentBytes, options: options, codec: codec)
    }

    /// Whether a tensor that has no slot can still get one: nothing announced is where it lies.
    package static func checkFree(_ handle: Handle, _ tensor: Tensor) throws(Status) {
        sx_mutex_lock(&handle.pointee.slots.pointee.mutex)
        defer { sx_mutex_unlock(&handle.pointee.slots.pointee.mutex) }
        let offset = try handle.pointee.offset(of: tensor)
        guard let slot = handle.pointee.slots.pointee.first(endingAfter: offset) else { return }
        if slot.pointee.offset < offset + tensor.bytes { throw .foreign }
    }

    package static func announce(_ handle: Handle, _ tensor: Tensor) throws(Status) {
        sx_mutex_lock(&handle.pointee.slots.pointee.mutex)
        defer { sx_mutex_unlock(&handle.pointee.slots.pointee.mutex) }
        _ = try handle.pointee.announceLocked(tensor)
    }

    private func announceLocked(_ tensor: Tensor) throws(Status) -> UnsafeMutablePointer<Slot>? {
        let offset = try offset(of: tensor), end = offset + tensor.bytes
        if let slot = slots.pointee.first(endingAfter: offset), slot.pointee.offset < end {
            let other = slot.pointee.tensor, begin = slot.pointee.offset
            if offset == begin && other.bytes == tensor.bytes && other.hasShape(of: tensor) {
                try announceAgain(slot, tensor)
                return slot
            }
            if offset >= begin && end <= begin + other.bytes { return nil }  // a view
            throw .overlap
        }
        guard offset % Self.alignment == 0 else { throw .alignment }
        try slots.pointee.extents.reserve(1)
        try index.reserve(offset / Self.alignment)
        guard let memory = sx_allocate(Slot.memoryBytes) else { throw .noMemory }
        let slot = memory.bindMemory(to: Slot.self, capacity: 1)
        slot.initialize(to: Slot(tensor, offset: offset, forWeights: forWeights))
        Slot.setName(slot, tensor.name)
        do throws(Status) {
            try access(slot).prepare()
            // A buffer that was cleared to a value hands it to tensors that come later. Zero is what fresh pages hold.
            let fill = slots.pointee.fill
            if fill != 0 {
                try withRow(of: fill, bytes: slot.pointee.rowBytes) { (row) throws(Status) in
                    try access(slot).prepareClear(fill, row: row)
                    access(slot).commitClear(fill)
                }
            }
        } catch {
            access(slot).release()
            sx_free(slot)
            throw error
        }
        slots.pointee.extents.insert(offset, end, value: Int(bitPattern: slot))
        index.set(offset / Self.alignment, slot)
        return slot
    }

    /// Forgets what a tensor held. What it will hold is made before what it held goes: memory may be short.
    private func announceAgain(_ slot: UnsafeMutablePointer<Slot>, _ tensor: Tensor) throws(Status) {
        let old = access(slot), fill = slots.pointee.fill
        var next = Slot(tensor, offset: slot.pointee.offset, forWeights: forWeights)
        let staysRaw = next.weight == nil
        if staysRaw { try old.makeStagingUsable() }
        try withRow(of: fill, bytes: fill == 0 ? 0 : next.rowBytes) { (row) throws(Status) in
            if fill != 0 { next.pending = try next.makePacking(ofRow: row, options: options, codec: codec) }
            old.release(keepStaging: staysRaw)
            next.stagingUsable = slot.pointee.stagingUsable
            slot.pointee = next
            Slot.setName(slot, tensor.name)
            if fill != 0 { access(slot).commitClear(fill) }
        }
    }

    /// Calls body with a row of this many bytes of one value.
    private func withRow(of value: UInt8, bytes: Int,
                         _ body: (UnsafeRawPointer) throws(Status) -> Void) throws(Status) {
        if bytes == 0 { return try body(base) }
        guard let row = sx_map(bytes) else { throw .noMemory }
        defer { sx_unmap(row, bytes) }
        if value != 0 { row.initializeMemory(as: UInt8.self, repeating: value, count: bytes) }
        try body(row)
    }

    /// The tensor's slot, announced now if the host has not done so.
    private static func findOrAnnounceSlot(_ handle: Handle,
                                           _ tensor: Tensor) throws(Status) -> UnsafeMutablePointer<Slot> {
        do throws(Status) { return try handle.pointee.findSlot(tensor) } catch {
            if error != .foreign { throw error }
        }
        sx_mutex_lock(&handle.pointee.slots.pointee.mutex)
        defer { sx_mutex_unlock(&handle.pointee.slots.pointee.mutex) }
        guard let slot = try handle.pointee.announceLocked(tensor) else { throw .foreign }
        return slot
    }

    package static func write(_ handle: Handle, _ tensor: Tensor, _ data: UnsafeRawPointer, _ pieces: Pieces,
                              dataStride: Int = 0) throws(Status) {
        try handle.pointee.access(findOrAnnounceSlot(handle, tensor)).write(data, pieces, dataStride: dataStride)
    }

    package static func write(_ handle: Handle, _ tensor: Tensor, _ data: UnsafeRawPointer,
                              offset: Int, size: Int) throws(Status) {
        try write(handle, tensor, data, Pieces(offset: offset, size: size, of: tensor.bytes))
    }

    /// Gives a weight the contents that a file has for it.
    package static func load(_ handle: Handle, _ tensor: Tensor, _ file: PackedFile.Handle,
                             _ index: Int) throws(Status) {
        _ = try tensor.requireWeight()
        let entry = try file.pointee.entry(index)
        guard entry.type == tensor.type, entry.ne == tensor.ne else { throw .fileMismatch }
        // The mapping first: what fails leaves the buffer as it was.
        let packed = try file.pointee.load(index, form: handle.pointee.options.form)
        do throws(Status) {
            if !handle.pointee.forWeights { try requireSlotForWeights(handle, tensor) }
            let slot = try findOrAnnounceSlot(handle, tensor)
            guard slot.pointee.weight != nil else { throw .state }
            handle.pointee.access(slot).load(packed)
        } catch {
            packed.release()
            throw error
        }
    }

    /// In a buffer that is not for weights now: that the tensor was announced when it was.
    private static func requireSlotForWeights(_ handle: Handle, _ tensor: Tensor) throws(Status) {
        do throws(Status) {
            if try handle.pointee.findSlot(tensor).pointee.weight == nil { throw .state }
        } catch { throw error == .foreign ? .state : error }
    }

    /// Writes all weights to a file. Nobody may upload meanwhile; the lock is not held while the disk is waited for.
    package static func save(_ handle: Handle, to writer: FileWriter.Handle) throws(Status) {
        var at = -1
        while let slot = nextSlot(handle, after: &at) {
            if slot.pointee.weight == nil { continue }
            guard let packed = slot.pointee.packed else { throw .incomplete }
            try writer.pointee.add(Slot.name(slot), packed, ne: slot.pointee.tensor.ne)
        }
    }

    private static func nextSlot(_ handle: Handle, after end: inout Int) -> UnsafeMutablePointer<Slot>? {
        let slots = handle.pointee.slots
        sx_mutex_lock(&slots.pointee.mutex)
        defer { sx_mutex_unlock(&slots.pointee.mutex) }
        guard let slot = slots.pointee.first(endingAfter: end) else { return nil }
        end = slot.pointee.offset + slot.pointee.tensor.bytes
        return slot
    }

    package static func fill(_ handle: Handle, _ tensor: Tensor, _ value: UInt8,
                             offset: Int, size: Int) throws(Status) {
        let pieces = try Pieces(offset: offset, size: size, of: tensor.bytes)
        try handle.pointee.access(findOrAnnounceSlot(handle, tensor)).fill(value, pieces)
    }

    package func read(_ tensor: Tensor, _ out: UnsafeMutableRawPointer, offset: Int, size: Int) throws(Status) {
        try Checked.checkRange(offset, size, within: tensor.bytes)
        try access(findSlot(tensor)).read(out.assumingMemoryBound(to: UInt8.self), offset: offset, size: size)
    }

    package func read(_ tensor: Tensor, _ out: UnsafeMutableRawPointer, _ pieces: Pieces,
                      outStride: Int) throws(Status) {
        let slot = access(try findSlot(tensor))
        if let packed = slot.slot.pointee.packed {
            return try Unpacker.pieces(packed, pieces, out: out, outStride: outStride, codec: codec)
        }
        for i in 0..<pieces.copies {
            try slot.read((out + i * outStride).assumingMemoryBound(to: UInt8.self),
                          offset: pieces.offset + i * pieces.stride, size: pieces.size)
        }
    }

    package static func clear(_ handle: Handle, _ value: UInt8) throws(Status) {
        sx_mutex_lock(&handle.pointee.slots.pointee.mutex)
        defer { sx_mutex_unlock(&handle.pointee.slots.pointee.mutex) }
        let buffer = handle.pointee, slots = buffer.slots
        var longest = 0
        slots.pointee.each { longest = max(longest, $0.pointee.rowBytes) }
        try buffer.withRow(of: value, bytes: longest) { (row) throws(Status) in
            var failure = Status.ok
            slots.pointee.each { slot in
                if failure != .ok { return }
                do throws(Status) { try buffer.access(slot).prepareClear(value, row: row) } catch { failure = error }
            }
            if failure != .ok {
                slots.pointee.each { buffer.access($0).forgetClear() }
                throw failure
            }
            slots.pointee.each { buffer.access($0).commitClear(value) }
            slots.pointee.fill = value
        }
    }

    package static func reset(_ handle: Handle) {
        sx_mutex_lock(&handle.pointee.slots.pointee.mutex)
        defer { sx_mutex_unlock(&handle.pointee.slots.pointee.mutex) }
        let buffer = handle.pointee
        buffer.slots.pointee.each { slot in
            buffer.index.set(slot.pointee.offset / alignment, nil)
            buffer.access(slot).release()
            sx_free(slot)
        }
        buffer.slots.pointee.extents.removeAll()
        buffer.slots.pointee.fill = 0
    }

    package var resident: Int { Int(sx_count_load(residentBytes)) }

    /// The packed form of a weight, for compute; nil if the buffer keeps it raw.
    package func packedForm(of tensor: Tensor) throws(Status) -> PackedTensor? {
        let slot = try findSlot(tensor)
        if slot.pointee.packed == nil && slot.pointee.weight != nil { throw .incomplete }
        return slot.pointee.packed
    }

    /// The packed form, or why there is none.
    package func explain(_ tensor: Tensor) throws(Status) -> (PackedTensor?, FormReason) {
        let slot = try findSlot(tensor)
        if let packed = slot.pointee.packed { return (packed, packed.reason) }
        if !slot.pointee.forWeights { return (nil, .notForWeights) }
        return (nil, slot.pointee.weight != nil ? .incomplete : .notAWeight)
    }
}
