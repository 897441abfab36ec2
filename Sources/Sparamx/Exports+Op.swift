public import CSparamx
import SparamxCore

// Tensor traits: what is supported, how much memory it needs, and the product itself.

/// The weight of an op kind that is served.
private func weight(_ pointer: UnsafePointer<sparamx_tensor>?, kind: UInt32) throws(Status) -> (Tensor, WeightType, matrices: Int) {
    _ = try level()
    let t = try tensor(pointer)
    guard kind == UInt32(SPARAMX_OP_MUL_MAT) else { throw .op }
    let (type, matrices) = try t.weight()
    return (t, type, matrices)
}

@c(sparamx_supports_weight) @implementation
public func sparamx_supports_weight(_ pointer: UnsafePointer<sparamx_tensor>!, _ kind: Int32) -> sparamx_status {
    status { () throws(Status) in
        _ = try weight(pointer, kind: UInt32(bitPattern: kind))
    }
}

/// A product that has been checked: shapes agree, strides are allowed.
private struct Multiplication {
    let weight, x, y: Tensor
    let type: WeightType
    let weightBuffer: OpaquePointer?
    var m: Int { x.ne.1 }

    init(_ pointer: UnsafePointer<sparamx_op>?) throws(Status) {
        let op = try structure(pointer)
        _ = try level()
        guard op.kind == Int32(SPARAMX_OP_MUL_MAT) else { throw .op }
        let (w, t, _) = try CallWeight.check(op.weight)
        weight = w
        type = t
        weightBuffer = try structure(op.weight).buffer
        x = try tensor(op.x)
        y = try tensor(op.dst)
        try x.activation()
        try y.activation()
        guard x.ne.0 == w.ne.0, y.ne.0 == w.ne.1, y.ne.1 == x.ne.1, y.ne.2 == x.ne.2, y.ne.3 == x.ne.3,
              x.ne.2 % w.ne.2 == 0, x.ne.3 % w.ne.3 == 0 else { throw .shape }
        // Rows, planes and blocks of the result must be apart.
        let rows = try Checked.product(y.nb.1, y.ne.1), planes = try Checked.product(y.nb.2, y.ne.2)
        guard y.ne.2 == 1 || y.nb.2 >= rows, y.ne.3 == 1 || y.nb.3 >= planes else { throw .stride }
    }

    /// The layout as far as a plan needs it, for ops whose weight may not be packed yet; the form that needs more
    /// memory is not known then, so both are asked.
    func workBytes(threads: Int) throws(Status) -> Int {
        let isa = try level()
        let matrices = weight.ne.2 * weight.ne.3
        let dense = try PackedLayout(type: type, sparse: false, n: weight.ne.1, k: weight.ne.0, matrices: matrices, codes: 0)
        let sparse = try PackedLayout(type: type, sparse: true, n: weight.ne.1, k: weight.ne.0, matrices: matrices, codes: 0)
        return max(try Plan(dense, m: m, threads: threads, isa: isa).workBytes,
                   try Plan(sparse, m: m, threads: threads, isa: isa).workBytes)
    }
}

private enum CallWeight {
    static func check(_ pointer: UnsafePointer<sparamx_tensor>?) throws(Status) -> (Tensor, WeightType, matrices: Int) {
        try weight(pointer, kind: UInt32(SPARAMX_OP_MUL_MAT))
    }
}

@c(sparamx_supports_op) @implementation
public func sparamx_supports_op(_ pointer: UnsafePointer<sparamx_op>!) -> sparamx_status {
    status { () throws(Status) in _ = try Multiplication(pointer).workBytes(threads: 1) }
}

@c(sparamx_work_size) @implementation
public func sparamx_work_size(_ pointer: UnsafePointer<sparamx_op>!, _ threads: Int32,
                              _ bytes: UnsafeMutablePointer<Int>!) -> sparamx_status {
    status { () throws(Status) in
        let result = try present(bytes)
        result.pointee = try Multiplication(pointer).workBytes(threads: Int(threads))
    }
}

@c(sparamx_compute) @implementation
public func sparamx_compute(_ params: UnsafePointer<sparamx_params>!, _ pointer: UnsafePointer<sparamx_op>!) -> sparamx_status {
    status { () throws(Status) in
        let (worker, workSize) = try worker(params)
        let product = try Multiplication(pointer)
        guard let owner = product.weightBuffer else { throw .foreign }
        let packed = try buffer(owner).pointee.packed(product.weight)
        let plan = try Plan(packed.layout, m: product.m, threads: worker.threads, isa: try level())
        guard let x = product.x.data, let y = product.y.data else { throw .null }
        try checkMemory(plan, worker, workSize, x: x, product.x.bytes, y: y, product.y.bytes)
        let (w, xs, ys) = (product.weight, product.x, product.y)
        let xPerW2 = xs.ne.2 / w.ne.2, xPerW3 = xs.ne.3 / w.ne.3
        var again = false
        for i3 in 0..<xs.ne.3 {
            for i2 in 0..<xs.ne.2 {
                let matrix = i3 / xPerW3 * w.ne.2 + i2 / xPerW2
                let from = (x + i3 * xs.nb.3 + i2 * xs.nb.2).assumingMemoryBound(to: Float.self)
                let to = (y + i3 * ys.nb.3 + i2 * ys.nb.2).assumingMemoryBound(to: Float.self)
                Product.run(plan, packed, matrix: matrix, worker: worker, x: UnsafePointer(from), ldx: xs.nb.1 / 4, y: to,
                            ldy: ys.nb.1 / 4, again: again)
                again = true
            }
        }
    }
}
