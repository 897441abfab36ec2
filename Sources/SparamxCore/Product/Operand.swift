/// What the ops demand of their weights.
package enum OpKind {
    case multiply, multiplyExperts, upGate, upGateExperts

    var isFused: Bool { self == .upGate || self == .upGateExperts }

    /// Each kind with experts wants a stack of matrices, the fused one without experts a single one.
    func requireMatrices(_ t: Tensor) throws(Status) {
        if self == .multiply { return }
        guard t.ne.3 == 1, self != .upGate || t.ne.2 == 1 else { throw .shape }
    }
}

/// A weight as an op names it: in a buffer, or in the host's own memory.
package struct Operand {
    package let tensor: Tensor
    package let type: WeightType
    /// Looked at when the weight is wanted, not before: an op may be asked about before its buffer is there.
    let buffer: OpaquePointer?

    /// Throws if the tensor cannot be a weight of this kind.
    package init(_ tensor: Tensor, buffer: OpaquePointer?, kind: OpKind) throws(Status) {
        self.tensor = tensor
        self.buffer = buffer
        (type, _) = try tensor.requireWeight()
        try kind.requireMatrices(tensor)
    }

    /// The packed form; nil if the weight is not packed.
    func packedForm() throws(Status) -> PackedTensor? {
        guard let buffer else { return nil }
        return try Buffer.handle(buffer).pointee.packedForm(of: tensor)
    }

    /// The packed form of a weight that may still arrive; nil also if it has not, but can.
    func packedFormIfThere() throws(Status) -> PackedTensor? {
        guard let buffer, tensor.data != nil else { return nil }
        let reason: Status
        do throws(Status) { return try packedForm() } catch { reason = error }
        if reason == .incomplete { return nil }
        guard reason == .foreign else { throw reason }
        try Buffer.checkFree(try Buffer.handle(buffer), tensor)
        // Where nothing can be announced, nothing ever arrives.
        guard UInt(bitPattern: tensor.data) % UInt(Buffer.alignment) == 0 else { throw .alignment }
        return nil
    }

    /// One matrix, in the form that is asked about.
    func layout(sparse: Bool) throws(Status) -> PackedLayout {
        try PackedLayout(type: type, sparse: sparse, n: tensor.ne.1, k: tensor.ne.0, matrices: 1, sparseBytes: 0)
    }

    /// A weight in the host's memory that the results would overwrite, as far as the op says where both are.
    func requireApart(fromResults y: Tensor) throws(Status) {
        guard buffer == nil, let w = tensor.data, let to = y.data else { return }
        try SparamxCore.requireApart(w, tensor.bytes, to, y.bytes)
    }

    /// A weight that is not packed is read during the product: apart from all that is written then.
    func requireApart(from y: UnsafeRawPointer, _ yBytes: Int, _ worker: Worker, _ workBytes: Int) throws(Status) {
        guard let data = tensor.data, let work = worker.work else { throw .null }
        try SparamxCore.requireApart(data, tensor.bytes, y, yBytes)
        try SparamxCore.requireApart(data, tensor.bytes, work, workBytes)
    }
}
