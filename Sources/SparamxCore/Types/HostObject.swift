/// An object that lives in memory of its own and that a host names by its address. Its sign tells a handle from a stray
/// pointer, and is taken away when the object ends.
package protocol HostObject {
    static var sign: UInt64 { get }
    var sign: UInt64 { get }
}

extension HostObject {
    package typealias Handle = UnsafeMutablePointer<Self>

    /// What a host has as its handle, if it is one.
    package static func handle(_ pointer: OpaquePointer?) throws(Status) -> Handle {
        guard let pointer else { throw .null }
        guard UInt(bitPattern: pointer) % 16 == 0 else { throw .alignment }
        let handle = Handle(pointer)
        guard handle.pointee.sign == sign else { throw .state }
        return handle
    }
}
