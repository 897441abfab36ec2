public import CSparamx
import SparamxCore

// Tensor traits: what is supported, how much memory it needs, and the product itself.

/// The weight of an op kind that is served.
func weight(_ pointer: UnsafePointer<sparamx_tensor>?,
            kind: UInt32) throws(Status) -> (Tensor, WeightType, matrices: Int) {
    _ = try level()
    let t = try tensor(pointer)
    guard kind >= UInt32(SPARAMX_OP_MUL_MAT), kind <= UInt32(SPARAMX_OP_MOE_UP_GATE) else { throw .op }
    let (type, matrices) = try t.weight()
    try checkMatrices(t, kind: kind)
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

    init(_ op: sparamx_op) throws(Status) {
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
        try y.rowsApart()
    }

    /// One matrix of the weight as far as a plan needs it.
    func layout(sparse: Bool) throws(Status) -> PackedLayout {
        try PackedLayout(type: type, sparse: sparse, n: weight.ne.1, k: weight.ne.0, matrices: 1, sparseBytes: 0)
    }

    /// For ops whose weight may not be there yet: which form it will have is not known, so the largest need counts.
    func workBytes(threads: Int) throws(Status) -> Int {
        let isa = try level()
        if let owner = weightBuffer, weight.data != nil {
            do throws(Status) {
                if let packed = try buffer(owner).pointee.packed(weight) {
                    return try Plan(packed.layout, m: m, threads: threads, isa: isa).workBytes
                }
            } catch {
                try mayStillArrive(error, weight, in: owner)
            }
        }
        let dense = try Plan(layout(sparse: false), m: m, threads: threads, isa: isa, raw: true).workBytes
        return type.hasSparseForm ? max(dense, try Plan(layout(sparse: true), m: m, threads: threads, isa: isa).workBytes) : dense
    }

    /// As far as the op says where its operands are.
    func checkPlaces() throws(Status) {
        try Sparamx.checkPlaces(x, y)
        if weightBuffer == nil, let w = weight.data, let to = y.data { try apart(w, weight.bytes, to, y.bytes) }
    }

    /// Matrix i of a weight that is not packed.
    func rows(_ data: UnsafeMutableRawPointer, _ matrix: Int) -> Rows {
        let start = data + (matrix / weight.ne.2 * weight.nb.3 + matrix % weight.ne.2 * weight.nb.2)
        return Rows(base: start, rowStride: weight.nb.1, matrixStride: 0)
    }
}

/// Why a weight cannot be used now: goes on if that can change before the product is computed.
func mayStillArrive(_ reason: Status, _ weight: Tensor, in owner: OpaquePointer) throws(Status) {
    if reason == .incomplete { return }
    guard reason == .foreign else { throw reason }
    try Buffer.checkFree(try buffer(owner), weight)
    // A place that is free, but where nothing can be announced, stays so.
    guard let place = weight.data, UInt(bitPattern: place) % UInt(Buffer.alignment) == 0 else { throw .alignment }
}

/// Activations and results where the op says where they are.
func checkPlaces(_ x: Tensor, _ y: Tensor) throws(Status) {
    if let from = x.data, UInt(bitPattern: from) % 4 != 0 { throw .alignment }
    if let to = y.data, UInt(bitPattern: to) % 4 != 0 { throw .alignment }
    if let from = x.data, let to = y.data { try apart(from, x.bytes, to, y.bytes) }
}

private enum CallWeight {
    static func check(_ pointer: UnsafePointer<sparamx_tensor>?) throws(Status) -> (Tensor, WeightType, matrices: Int) {
        try weight(pointer, kind: UInt32(SPARAMX_OP_MUL_MAT))
    }
}

/// The op with its kind known.
private enum CheckedOp {
    case plain(Multiplication)
    case experts(ExpertOp)

    init(_ pointer: UnsafePointer<sparamx_op>?) throws(Status) {
        let op = try structure(pointer)
        _ = try level()
        switch UInt32(bitPattern: op.kind) {
        case UInt32(SPARAMX_OP_MUL_MAT): self = .plain(try Multiplication(op))
        case UInt32(SPARAMX_OP_MUL_MAT_ID), UInt32(SPARAMX_OP_UP_GATE), UInt32(SPARAMX_OP_MOE_UP_GATE):
            self = .experts(try ExpertOp(op))
        default: throw .op
        }
    }

    func workBytes(threads: Int) throws(Status) -> Int {
        switch self {
        case .plain(let product):
            try product.checkPlaces()
            return try product.workBytes(threads: threads)
        case .experts(let product):
            try product.checkPlaces()
            return try product.workBytes(threads: threads)
        }
    }
}

@c(sparamx_supports_op) @implementation
public func sparamx_supports_op(_ pointer: UnsafePointer<sparamx_op>!) -> sparamx_status {
    status { () throws(Status) in _ = try CheckedOp(pointer).workBytes(threads: 1) }
}

@c(sparamx_work_size) @implementation
public func sparamx_work_size(_ pointer: UnsafePointer<sparamx_op>!, _ threads: Int32,
                              _ bytes: UnsafeMutablePointer<Int>!) -> sparamx_status {
    status { () throws(Status) in
        let result = try present(bytes)
        result.pointee = try CheckedOp(pointer).workBytes(threads: Int(threads))
    }
}

@c(sparamx_compute) @implementation
public func sparamx_compute(_ params: UnsafePointer<sparamx_params>!,
                            _ pointer: UnsafePointer<sparamx_op>!) -> sparamx_status {
    status { () throws(Status) in
        var (worker, workSize) = try worker(params)
        let product: Multiplication
        switch try CheckedOp(pointer) {
        case .plain(let plain): product = plain
        case .experts(let experts): return try experts.compute(&worker, workSize)
        }
        guard let weightData = product.weight.data else { throw .null }
        var packed: PackedTensor? = nil
        if let owner = product.weightBuffer { packed = try buffer(owner).pointee.packed(product.weight) }
        let layout: PackedLayout
        if let packed { layout = packed.layout } else { layout = try product.layout(sparse: false) }
        let plan = try Plan(layout, m: product.m, threads: worker.threads, isa: try level(), raw: packed == nil)
        guard let x = product.x.data, let y = product.y.data else { throw .null }
        try checkMemory(plan.workBytes, worker, workSize, x: x, product.x.bytes, y: y, product.y.bytes)
        if packed == nil {
            try apart(weightData, product.weight.bytes, y, product.y.bytes)
            try apart(weightData, product.weight.bytes, worker.work!, plan.workBytes)
        }
        let (w, xs, ys) = (product.weight, product.x, product.y)
        let xPerW2 = xs.ne.2 / w.ne.2, xPerW3 = xs.ne.3 / w.ne.3
        worker.begin()
        defer { worker.end() }
        var again = false
        for i3 in 0..<xs.ne.3 {
            for i2 in 0..<xs.ne.2 {
                let matrix = i3 / xPerW3 * w.ne.2 + i2 / xPerW2
                let from = (x + i3 * xs.nb.3 + i2 * xs.nb.2).assumingMemoryBound(to: Float.self)
                let to = (y + i3 * ys.nb.3 + i2 * ys.nb.2).assumingMemoryBound(to: Float.self)
                let weights: Weights = packed.map { .packed($0, matrix: matrix) }
                    ?? .raw(layout, product.rows(weightData, matrix))
                Product.run(plan, weights, worker: worker, x: UnsafePointer(from), ldx: xs.nb.1 / 4, y: to,
                            ldy: ys.nb.1 / 4, again: again)
                again = true
            }
        }
    }
}
