import CExports
import CSparamx
import SparamxCore

// Structs that may grow. A host was compiled against some version of the header; the size field says how much of a
// struct it has. The numbers are in struct_sizes.h.

/// sizeof in the first release of this ABI and after each growth since, rising.
struct Sizes {
    private let first, second, third: Int

    init(_ first: Int, _ second: Int? = nil, _ third: Int? = nil) {
        self.first = first
        self.second = second ?? first
        self.third = third ?? self.second
    }

    /// How many bytes of a host's struct count: never half a field, and never more than the host has.
    func counting(_ size: Int) throws(Status) -> Int {
        guard size >= first, size <= Int(SX_STRUCT_LIMIT) else { throw .structSize }
        return size >= third ? third : size >= second ? second : first
    }
}

/// A struct of the header that starts with its size.
protocol Growing {
    static var sizes: Sizes { get }
    /// All zero.
    init()
}

extension sparamx_capability: Growing { static var sizes: Sizes { Sizes(Int(SX_CAPABILITY_1)) } }
extension sparamx_tensor: Growing { static var sizes: Sizes { Sizes(Int(SX_TENSOR_1)) } }
extension sparamx_buffer_options: Growing { static var sizes: Sizes { Sizes(Int(SX_BUFFER_OPTIONS_1)) } }
extension sparamx_op: Growing { static var sizes: Sizes { Sizes(Int(SX_OP_1)) } }
extension sparamx_params: Growing { static var sizes: Sizes { Sizes(Int(SX_PARAMS_1)) } }
extension sparamx_tensor_info: Growing {
    static var sizes: Sizes { Sizes(Int(SX_TENSOR_INFO_1), Int(SX_TENSOR_INFO_2)) }
}
extension sparamx_kernel_info: Growing {
    static var sizes: Sizes { Sizes(Int(SX_KERNEL_INFO_1), Int(SX_KERNEL_INFO_2)) }
}
extension sparamx_file_tensor: Growing { static var sizes: Sizes { Sizes(Int(SX_FILE_TENSOR_1)) } }
extension sparamx_linear_options: Growing { static var sizes: Sizes { Sizes(Int(SX_LINEAR_OPTIONS_1)) } }
extension sparamx_linear_call: Growing { static var sizes: Sizes { Sizes(Int(SX_LINEAR_CALL_1)) } }
extension sparamx_kv_options: Growing { static var sizes: Sizes { Sizes(Int(SX_KV_OPTIONS_1)) } }
extension sparamx_kv_info: Growing { static var sizes: Sizes { Sizes(Int(SX_KV_INFO_1)) } }
extension sparamx_attention: Growing { static var sizes: Sizes { Sizes(Int(SX_ATTENTION_1)) } }

/// Present, aligned, and of a size that can be: its memory and its size.
private func sized<T: Growing>(
    _ pointer: UnsafePointer<T>?
) throws(Status) -> (UnsafeRawPointer, size: Int, counts: Int) {
    guard let pointer else { throw .null }
    // layout.py sees to it that no struct is aligned more strictly when it grows.
    guard UInt(bitPattern: pointer) % UInt(MemoryLayout<T>.alignment) == 0 else { throw .alignment }
    let size = Int(UnsafeRawPointer(pointer).load(as: UInt32.self))
    return (UnsafeRawPointer(pointer), size, try T.sizes.counting(size))
}

/// A struct that the host has filled in. Fields that it does not have are zero; of those that are not known here none
/// may be set, because the host would not learn that it was passed over.
func readStruct<T: Growing>(_ pointer: UnsafePointer<T>?) throws(Status) -> T {
    let (from, size, counts) = try sized(pointer)
    var at = counts
    while at < size {
        guard from.load(fromByteOffset: at, as: UInt8.self) == 0 else { throw .structSize }
        at += 1
    }
    var value = T()
    withUnsafeMutableBytes(of: &value) { $0.baseAddress!.copyMemory(from: from, byteCount: counts) }
    return value
}

/// A struct of the host's that is filled in at once, when all of it is known, and no further than it goes.
struct Answer<T: Growing> {
    private let place: UnsafeMutableRawPointer, counts: Int

    init(_ pointer: UnsafeMutablePointer<T>?) throws(Status) {
        counts = try sized(UnsafePointer(pointer)).counts
        place = UnsafeMutableRawPointer(pointer!)
    }

    /// Everything behind the size, which stays the host's.
    func write(_ value: T) {
        let header = MemoryLayout<UInt32>.size
        withUnsafeBytes(of: value) {
            (place + header).copyMemory(from: $0.baseAddress! + header, byteCount: counts - header)
        }
    }
}
