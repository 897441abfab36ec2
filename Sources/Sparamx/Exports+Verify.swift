public import CSparamx
import SparamxCore

// Whether packed weights are still what they were.

@c(sparamx_buffer_verify_tensor) @implementation
public func sparamx_buffer_verify_tensor(_ pointer: OpaquePointer!,
                                         _ t: UnsafePointer<sparamx_tensor>!) -> sparamx_status {
    status { () throws(Status) in
        let handle = try buffer(pointer)
        guard let packed = try handle.pointee.packed(try tensor(t)) else { throw .state }
        try packed.verify()
    }
}

@c(sparamx_linear_verify) @implementation
public func sparamx_linear_verify(_ pointer: OpaquePointer!) -> sparamx_status {
    status { () throws(Status) in try linear(pointer).pointee.tensor.verify() }
}
