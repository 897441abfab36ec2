import CSparamx
import SparamxCore

// The op kinds with experts and the fused ones, behind sparamx_supports_op, _work_size and _compute.

/// What a kind demands of its weights.
func checkMatrices(_ t: Tensor, kind: UInt32) throws(Status) {
    if kind == UInt32(SPARAMX_OP_MUL_MAT) { return }
    guard t.ne.3 == 1, kind != UInt32(SPARAMX_OP_UP_GATE) || t.ne.2 == 1 else { throw .shape }
}

/// An op that has been checked: shapes agree, strides are allowed.
struct ExpertOp {
    private struct Side {
        let tensor: Tensor
        let type: WeightType
        let buffer: OpaquePointer?

        init(_ pointer: UnsafePointer<sparamx_tensor>?, kind: UInt32) throws(Status) {
            (tensor, type, _) = try weight(pointer, kind: kind)
            buffer = try structure(pointer).buffer
        }

        /// nil if it is not packed.
        func packed() throws(Status) -> PackedTensor? {
            guard let buffer else { return nil }
            return try Sparamx.buffer(buffer).pointee.packed(tensor)
        }

        /// One matrix.
        func layout(sparse: Bool) throws(Status) -> PackedLayout {
            try PackedLayout(type: type, sparse: sparse, n: tensor.ne.1, k: tensor.ne.0, matrices: 1, sparseBytes: 0)
        }

        var file: Rows? { tensor.data.map { Rows(base: $0, rowStride: tensor.nb.1, matrixStride: tensor.nb.2) } }

        func operand(rows: Int, isa: ISA) throws(Status) -> ExpertOperand {
            if let packed = try packed() { return try ExpertOperand(packed: packed, rows: rows, isa: isa) }
            return try ExpertOperand(raw: layout(sparse: false), file: file, rows: rows, isa: isa)
        }

        /// For a weight that may not be there yet: which form it will have is not known, so the largest need counts.
        func need(rows: Int, isa: ISA) throws(Status) -> ExpertOperand.Need {
            if tensor.data != nil {
                do throws(Status) {
                    if let packed = try packed() { return try ExpertOperand(packed: packed, rows: rows, isa: isa).need }
                } catch {
                    if let buffer { try mayStillArrive(error, tensor, in: buffer) }
                }
            }
            var need = try ExpertOperand(raw: layout(sparse: false), file: nil, rows: rows, isa: isa).need
            if type.hasSparseForm { need.include(try ExpertOperand(asked: layout(sparse: true), rows: rows, isa: isa).need) }
            return need
        }
    }

    private let first: Side, second: Side?
    private let x, y: Tensor
    private let ids: Tensor?
    private let gate: Gate
    private var rows: Int { y.ne.1 * y.ne.2 * y.ne.3 }

    init(_ op: sparamx_op) throws(Status) {
        let kind = UInt32(bitPattern: op.kind), fused = kind != UInt32(SPARAMX_OP_MUL_MAT_ID)
        first = try Side(op.weight, kind: kind)
        let w = first.tensor
        if fused {
            let other = try Side(op.weight2, kind: kind)
            guard other.tensor.ne == w.ne else { throw .shape }
            guard let function = GateFunction(rawValue: op.activation) else { throw .op }
            guard op.limit >= 0 else { throw .range }  // nor NaN
            second = other
            gate = Gate(function: function, limit: op.limit)
        } else {
            second = nil
            gate = Gate(function: .silu, limit: 0)
        }
        x = try tensor(op.x)
        y = try tensor(op.dst)
        try x.activation()
        try y.activation()
        guard x.ne.0 == w.ne.0, y.ne.0 == w.ne.1, y.ne.2 == x.ne.2, y.ne.3 == x.ne.3 else { throw .shape }
        if kind == UInt32(SPARAMX_OP_UP_GATE) {
            ids = nil
            guard y.ne.1 == x.ne.1 else { throw .shape }
        } else {
            let i = try tensor(op.ids)
            guard i.type == Int32(SPARAMX_TYPE_I32) else { throw .type }
            guard i.nb.0 == 4, i.nb.1 % 4 == 0 else { throw .stride }
            guard x.ne.3 == 1, i.ne.0 == y.ne.1, i.ne.1 == y.ne.2, i.ne.2 == 1, i.ne.3 == 1, y.ne.1 % x.ne.1 == 0 else {
                throw .shape
            }
            ids = i
        }
        try y.rowsApart()
        guard try Checked.product(try Checked.product(y.ne.1, y.ne.2), y.ne.3) <= Int(Int32.max) else { throw .range }
    }

    private var panels: Int { (first.tensor.ne.1 + 15) / 16 }

    func workBytes(threads: Int) throws(Status) -> Int {
        let isa = try level(), one = try first.need(rows: rows, isa: isa)
        var two: ExpertOperand.Need? = nil
        if let second { two = try second.need(rows: rows, isa: isa) }
        return try ExpertArea(rows: rows, experts: first.tensor.ne.2, threads: threads, panels: panels, one, two).bytes
    }

    /// As far as the op says where its operands are.
    func checkPlaces() throws(Status) {
        try Sparamx.checkPlaces(x, y)
        try checkPlace(first)
        if let second { try checkPlace(second) }
        guard let ids, let data = ids.data else { return }
        guard UInt(bitPattern: data) % 4 == 0 else { throw .alignment }
        if let to = y.data { try apart(data, ids.bytes, to, y.bytes) }
    }

    private func checkPlace(_ side: Side) throws(Status) {
        guard side.buffer == nil, let w = side.tensor.data, let to = y.data else { return }
        try apart(w, side.tensor.bytes, to, y.bytes)
    }

    func compute(_ worker: inout Worker, _ workSize: Int) throws(Status) {
        let isa = try level()
        guard first.tensor.data != nil, second == nil || second!.tensor.data != nil else { throw .null }
        var gates: ExpertOperand? = nil
        if let second { gates = try second.operand(rows: rows, isa: isa) }
        let product = try ExpertProduct(rows: rows, experts: first.tensor.ne.2, threads: worker.threads, isa: isa,
                                        first: first.operand(rows: rows, isa: isa), second: gates, gate: gate)
        guard let from = x.data, let to = y.data else { throw .null }
        try checkMemory(product.area.bytes, worker, workSize, x: from, x.bytes, y: to, y.bytes)
        try keepApart(first, to, worker, product.area.bytes)
        if let second { try keepApart(second, to, worker, product.area.bytes) }
        var numbers: ExpertIDs? = nil
        if let ids {
            guard let data = ids.data else { throw .null }
            guard UInt(bitPattern: data) % 4 == 0 else { throw .alignment }
            try apart(data, ids.bytes, to, y.bytes)
            try apart(data, ids.bytes, worker.work!, product.area.bytes)
            numbers = ExpertIDs(base: data, slots: ids.ne.0, tokenStride: ids.nb.1)
        }
        worker.begin()
        defer { worker.end() }
        try product.run(worker, numbers,
                        x: RowPlaces(base: from, ne: (y.ne.1, y.ne.2), repeats: x.ne.1, nb: (x.nb.1, x.nb.2, x.nb.3)),
                        y: RowPlaces(base: to, ne: (y.ne.1, y.ne.2), repeats: y.ne.1, nb: (y.nb.1, y.nb.2, y.nb.3)))
    }

    /// A weight in the host's memory, or raw in a buffer.
    private func keepApart(_ side: Side, _ y: UnsafeMutableRawPointer, _ worker: Worker,
                           _ workBytes: Int) throws(Status) {
        guard try side.packed() == nil, let data = side.tensor.data else { return }
        try apart(data, side.tensor.bytes, y, self.y.bytes)
        try apart(data, side.tensor.bytes, worker.work!, workBytes)
    }
}
