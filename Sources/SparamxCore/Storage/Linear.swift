import CPlatform

/// One packed matrix without a buffer. Lives in memory of its own; the C handle is its address.
package struct Linear: HostObject {
    package static let sign: UInt64 = 0x7370_6172_616d_786c

    package private(set) var sign: UInt64
    package let tensor: PackedTensor
    package let forced: Int?  // row of the kernel table
    package let isa: ISA

    package static func create(_ tensor: PackedTensor, forced: Int?, isa: ISA) throws(Status) -> Handle {
        guard let memory = sx_allocate(MemoryLayout<Linear>.stride) else { throw .noMemory }
        let handle = memory.bindMemory(to: Linear.self, capacity: 1)
        handle.initialize(to: Linear(sign: sign, tensor: tensor, forced: forced, isa: isa))
        return handle
    }

    package static func destroy(_ handle: Handle) {
        handle.pointee.tensor.release()
        handle.pointee.sign = 0
        sx_free(handle)
    }
}
