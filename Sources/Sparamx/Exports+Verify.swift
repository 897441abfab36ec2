public import CSparamx
import SparamxCore

// Whether packed weights are still what they were.

@c(sparamx_buffer_verify_tensor) @implementation
public func sparamx_buffer_verify_tensor(_ pointer: OpaquePointer!,
                                         _ t: UnsafePointer<sparamx_tensor>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireBuffer(pointer)
        guard let packed = try handle.pointee.packedForm(of: try readTensor(t)) else { throw .state }
        try packed.verifyCopies()
    }
}

@c(sparamx_linear_verify) @implementation
public func sparamx_linear_verify(_ pointer: OpaquePointer!) -> sparamx_status {
    reportStatus { () throws(Status) in try requireLinear(pointer).pointee.tensor.verifyCopies() }
}
