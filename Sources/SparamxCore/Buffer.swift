import CPlatform

/// What changes in a buffer as tensors arrive, under its lock. Apart from Buffer, which every thread reads without the
/// lock: to Swift a change of one field is a change of the struct that holds it.
private struct Slots {
    var mutex = sx_mutex()
    var all: UnsafeMutablePointer<UnsafeMutablePointer<Slot>>?
    var count = 0, capacity = 0
    var fill: UInt8 = 0                  // what a tensor announced later holds, set by clear

    mutating func grow() throws(Status) {
        if count < capacity { return }
        let larger = capacity * 2 + 16
        guard let memory = sx_allocate(larger * 8) else { throw .noMemory }
        let fresh = memory.assumingMemoryBound(to: UnsafeMutablePointer<Slot>.self)
        if let all { memory.copyMemory(from: all, byteCount: count * 8) }
        sx_free(all)
        all = fresh
        capacity = larger
    }
}

/// Address space for tensors, and what became of each. Lives in memory of its own; the C handle is its address.
package struct Buffer {
    package static let alignment = 4096  // a page: each tensor can be given back on its own
    package static let maxSize = 1 << 46
    private static let sign: UInt64 = 0x7370_6172_616d_7862  // tells a handle from a stray pointer

    private var sign: UInt64
    package let size: Int
    let space: Int                       // mapped bytes, at least one page
    package let base: UnsafeMutableRawPointer
    private let index: UnsafeMutablePointer<UnsafeMutableRawPointer?>  // slot that starts on a page, or nil
    private let indexBytes: Int
    private let slots: UnsafeMutablePointer<Slots>
    package var options: PackOptions
    package var forWeights: Bool
    let codec: Codec

    package typealias Handle = UnsafeMutablePointer<Buffer>

    package static func create(size: Int, forWeights: Bool, options: PackOptions, isa: ISA) throws(Status) -> Handle {
        if size < 0 || size > maxSize { throw .range }
        let space = max(try Checked.roundUp(size, to: alignment), alignment)
        guard let memory = sx_allocate(MemoryLayout<Buffer>.stride + MemoryLayout<Slots>.stride) else { throw .noMemory }
        guard let base = sx_map(space) else {
            sx_free(memory)
            throw .noMemory
        }
        let indexBytes = space / alignment * 8
        guard let index = sx_map(indexBytes) else {
            sx_unmap(base, space)
            sx_free(memory)
            throw .noMemory
        }
        let slots = (memory + MemoryLayout<Buffer>.stride).bindMemory(to: Slots.self, capacity: 1)
        slots.initialize(to: Slots())
        sx_mutex_init(&slots.pointee.mutex)
        let handle = memory.bindMemory(to: Buffer.self, capacity: 1)
        handle.initialize(to: Buffer(
            sign: sign, size: size, space: space, base: base,
            index: index.assumingMemoryBound(to: UnsafeMutableRawPointer?.self), indexBytes: indexBytes, slots: slots,
            options: options, forWeights: forWeights, codec: Codec(isa)))
        return handle
    }

    private init(sign: UInt64, size: Int, space: Int, base: UnsafeMutableRawPointer,
                 index: UnsafeMutablePointer<UnsafeMutableRawPointer?>, indexBytes: Int,
                 slots: UnsafeMutablePointer<Slots>, options: PackOptions, forWeights: Bool, codec: Codec) {
        self.sign = sign
        self.size = size
        self.space = space
        self.base = base
        self.index = index
        self.indexBytes = indexBytes
        self.slots = slots
        self.options = options
        self.forWeights = forWeights
        self.codec = codec
    }

    package static func destroy(_ handle: Handle) {
        reset(handle)
        sx_free(handle.pointee.slots.pointee.all)
        sx_unmap(handle.pointee.index, handle.pointee.indexBytes)
        sx_unmap(handle.pointee.base, handle.pointee.space)
        sx_mutex_destroy(&handle.pointee.slots.pointee.mutex)
        handle.pointee.sign = 0
        sx_free(handle)
    }

    package var isValid: Bool { sign == Self.sign }

    /// Where a tensor lies; checks that it lies inside.
    private func place(_ tensor: Tensor) throws(Status) -> Int {
        guard let data = tensor.data else { throw .null }
        let address = UInt(bitPattern: data), start = UInt(bitPattern: base)
        guard address >= start, address - start <= UInt(size) else { throw .range }
        let offset = Int(address - start)
        try Checked.part(offset, tensor.bytes, of: size)
        return offset
    }

    /// The slot that starts where the tensor does. Takes no lock: compute calls it on every thread.
    private func find(_ tensor: Tensor) throws(Status) -> UnsafeMutablePointer<Slot> {
        let offset = try place(tensor)
        guard offset % Self.alignment == 0, let slot = sx_load_acquire(index + offset / Self.alignment) else { throw .foreign }
        let found = slot.assumingMemoryBound(to: Slot.self)
        guard found.pointee.tensor.sameShape(tensor) else { throw .shape }
        return found
    }

    private func access(_ slot: UnsafeMutablePointer<Slot>) -> SlotAccess {
        SlotAccess(slot: slot, raw: (base + slot.pointee.offset).assumingMemoryBound(to: UInt8.self), options: options, codec: codec)
    }

    package static func announce(_ handle: Handle, _ tensor: Tensor) throws(Status) {
        sx_mutex_lock(&handle.pointee.slots.pointee.mutex)
        defer { sx_mutex_unlock(&handle.pointee.slots.pointee.mutex) }
        _ = try handle.pointee.announceLocked(tensor)
    }

    private func announceLocked(_ tensor: Tensor) throws(Status) -> UnsafeMutablePointer<Slot>? {
        let offset = try place(tensor)
        for i in 0..<slots.pointee.count {
            let slot = slots.pointee.all![i], begin = slot.pointee.offset, end = begin + slot.pointee.tensor.bytes
            if offset + tensor.bytes <= begin || offset >= end { continue }
            if offset == begin && slot.pointee.tensor.bytes == tensor.bytes && slot.pointee.tensor.sameShape(tensor) {
                // What it will hold is made before what it held goes: memory may be short.
                var fresh = Slot(tensor: tensor, offset: offset, forWeights: forWeights)
                let fill = slots.pointee.fill
                if fill != 0 {
                    try withUnsafeMutablePointer(to: &fresh) { (place) throws(Status) in try access(place).prepareClear(fill) }
                }
                access(slot).release()
                slot.pointee = fresh
                if fill != 0 { access(slot).commitClear(fill) }
                return slot
            }
            if offset >= begin && offset + tensor.bytes <= end { return nil }  // a view
            throw .overlap
        }
        guard offset % Self.alignment == 0 else { throw .alignment }
        try slots.pointee.grow()
        guard let memory = sx_allocate(MemoryLayout<Slot>.stride) else { throw .noMemory }
        let slot = memory.bindMemory(to: Slot.self, capacity: 1)
        slot.initialize(to: Slot(tensor: tensor, offset: offset, forWeights: forWeights))
        do throws(Status) { try refill(slot) } catch {
            access(slot).release()
            sx_free(slot)
            throw error
        }
        slots.pointee.all![slots.pointee.count] = slot
        slots.pointee.count += 1
        sx_store_release(index + offset / Self.alignment, slot)
        return slot
    }

    /// A buffer that was cleared to a value hands it to tensors that come later. Zero is what fresh pages hold.
    private func refill(_ slot: UnsafeMutablePointer<Slot>) throws(Status) {
        let bytes = slot.pointee.tensor.bytes
        let fill = slots.pointee.fill
        if fill != 0 { try access(slot).fill(fill, Pieces(offset: 0, size: bytes, of: bytes)) }
    }

    /// The tensor's slot, announced now if the host has not done so.
    private static func slot(_ handle: Handle, _ tensor: Tensor) throws(Status) -> UnsafeMutablePointer<Slot> {
        do throws(Status) { return try handle.pointee.find(tensor) } catch {
            if error != .foreign { throw error }
        }
        sx_mutex_lock(&handle.pointee.slots.pointee.mutex)
        defer { sx_mutex_unlock(&handle.pointee.slots.pointee.mutex) }
        guard let slot = try handle.pointee.announceLocked(tensor) else { throw .foreign }
        return slot
    }

    package static func write(_ handle: Handle, _ tensor: Tensor, _ data: UnsafeRawPointer, _ pieces: Pieces,
                              dataStride: Int = 0) throws(Status) {
        try handle.pointee.access(slot(handle, tensor)).write(data, pieces, dataStride: dataStride)
    }

    package static func write(_ handle: Handle, _ tensor: Tensor, _ data: UnsafeRawPointer, offset: Int, size: Int) throws(Status) {
        try write(handle, tensor, data, Pieces(offset: offset, size: size, of: tensor.bytes))
    }

    package static func fill(_ handle: Handle, _ tensor: Tensor, _ value: UInt8, offset: Int, size: Int) throws(Status) {
        let pieces = try Pieces(offset: offset, size: size, of: tensor.bytes)
        try handle.pointee.access(slot(handle, tensor)).fill(value, pieces)
    }

    package func read(_ tensor: Tensor, _ out: UnsafeMutableRawPointer, offset: Int, size: Int) throws(Status) {
        try Checked.part(offset, size, of: tensor.bytes)
        try access(find(tensor)).read(out.assumingMemoryBound(to: UInt8.self), offset: offset, size: size)
    }

    package static func clear(_ handle: Handle, _ value: UInt8) throws(Status) {
        sx_mutex_lock(&handle.pointee.slots.pointee.mutex)
        defer { sx_mutex_unlock(&handle.pointee.slots.pointee.mutex) }
        let slots = handle.pointee.slots, count = slots.pointee.count
        for i in 0..<count {
            do throws(Status) { try handle.pointee.access(slots.pointee.all![i]).prepareClear(value) } catch {
                for j in 0..<i { handle.pointee.access(slots.pointee.all![j]).forgetClear() }
                throw error
            }
        }
        for i in 0..<count { handle.pointee.access(slots.pointee.all![i]).commitClear(value) }
        slots.pointee.fill = value
    }

    package static func reset(_ handle: Handle) {
        sx_mutex_lock(&handle.pointee.slots.pointee.mutex)
        defer { sx_mutex_unlock(&handle.pointee.slots.pointee.mutex) }
        let slots = handle.pointee.slots
        for i in 0..<slots.pointee.count {
            let slot = slots.pointee.all![i]
            sx_store_release(handle.pointee.index + slot.pointee.offset / alignment, nil)
            handle.pointee.access(slot).release()
            sx_free(slot)
        }
        slots.pointee.count = 0
        slots.pointee.fill = 0
    }

    package static func resident(_ handle: Handle) -> Int {
        sx_mutex_lock(&handle.pointee.slots.pointee.mutex)
        defer { sx_mutex_unlock(&handle.pointee.slots.pointee.mutex) }
        var total = 0
        let slots = handle.pointee.slots
        for i in 0..<slots.pointee.count { total += Int(sx_count_load(&slots.pointee.all![i].pointee.residentBytes)) }
        return total
    }

    /// The packed form of a weight, for compute; nil if the buffer keeps it raw.
    package func packed(_ tensor: Tensor) throws(Status) -> PackedTensor? {
        let slot = try find(tensor)
        if slot.pointee.packed == nil && slot.pointee.isWeight { throw .incomplete }
        return slot.pointee.packed
    }

    /// The packed form, or why there is none.
    package func explain(_ tensor: Tensor) throws(Status) -> (PackedTensor?, FormReason) {
        let slot = try find(tensor)
        if let packed = slot.pointee.packed { return (packed, packed.reason) }
        if !slot.pointee.forWeights { return (nil, .notForWeights) }
        return (nil, slot.pointee.isWeight ? .incomplete : .notAWeight)
    }
}
