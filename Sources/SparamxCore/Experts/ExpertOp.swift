/// An op with experts, or a fused one, that has been checked: shapes agree, strides are allowed.
package struct ExpertOp {
    private let first: Operand, second: Operand?
    private let x, y: Tensor
    private let ids: Tensor?
    private let gate: Gate
    private var rows: Int { y.ne.1 * y.ne.2 * y.ne.3 }
    private var experts: Int { first.tensor.ne.2 }

    /// second, gate: of the fused kinds. ids: of the kinds with experts.
    package init(_ first: Operand, _ second: Operand?, x: Tensor, y: Tensor, ids: Tensor?, gate: Gate) throws(Status) {
        self.first = first
        self.second = second
        self.x = x
        self.y = y
        self.ids = ids
        self.gate = gate
        let w = first.tensor
        if let second { guard second.tensor.ne == w.ne else { throw .shape } }
        try x.requireActivation()
        try y.requireActivation()
        guard x.ne.0 == w.ne.0, y.ne.0 == w.ne.1, y.ne.2 == x.ne.2, y.ne.3 == x.ne.3 else { throw .shape }
        if let ids {
            guard ids.isInt32 else { throw .type }
            guard ids.nb.0 == 4, ids.nb.1 % 4 == 0 else { throw .stride }
            guard x.ne.3 == 1, ids.ne.0 == y.ne.1, ids.ne.1 == y.ne.2, ids.ne.2 == 1, ids.ne.3 == 1,
                  y.ne.1 % x.ne.1 == 0 else { throw .shape }
        } else {
            guard y.ne.1 == x.ne.1 else { throw .shape }
        }
        try y.requireRowsApart()
        guard try Checked.product(try Checked.product(y.ne.1, y.ne.2), y.ne.3) <= Int(Int32.max) else { throw .range }
    }

    /// What the work area needs. Throws as well if the operands that are there already cannot be multiplied.
    package func workBytes(threads: Int, isa: ISA) throws(Status) -> Int {
        try requireApart(x, y)
        try first.requireApart(fromResults: y)
        if let second { try second.requireApart(fromResults: y) }
        if let ids, let data = ids.data {
            guard UInt(bitPattern: data) % 4 == 0 else { throw .alignment }
            if let to = y.data { try requireApart(data, ids.bytes, to, y.bytes) }
        }
        let one = try need(first, isa)
        var two: ExpertOperand.Need? = nil
        if let second { two = try need(second, isa) }
        let panels = try first.layout(sparse: false).panels
        return try ExpertArea(rows: rows, experts: experts, threads: threads, panels: panels, one, two).bytes
    }

    /// Of a weight that may not be there yet: which form it will have nobody knows, so the largest need counts.
    private func need(_ weight: Operand, _ isa: ISA) throws(Status) -> ExpertOperand.Need {
        if let packed = try weight.packedFormIfThere() {
            return try ExpertOperand(packed: packed, rows: rows, isa: isa).need
        }
        let dense = try weight.layout(sparse: false)
        var need = try ExpertOperand(raw: dense, file: nil, rows: rows, isa: isa).need
        if weight.type.hasSparseForm {
            need.include(try ExpertOperand(asked: weight.layout(sparse: true), rows: rows, isa: isa).need)
        }
        return need
    }

    private func operand(_ weight: Operand, _ isa: ISA) throws(Status) -> ExpertOperand {
        guard let data = weight.tensor.data else { throw .null }
        if let packed = try weight.packedForm()?.here {
            return try ExpertOperand(packed: packed, rows: rows, isa: isa)
        }
        let file = Rows(base: data, rowStride: weight.tensor.nb.1, matrixStride: weight.tensor.nb.2)
        return try ExpertOperand(raw: weight.layout(sparse: false), file: file, rows: rows, isa: isa)
    }

    /// This thread's share. Throws before the first barrier, on all threads alike, or not at all.
    package func compute(_ worker: inout Worker, isa: ISA) throws(Status) {
        guard first.tensor.data != nil, second == nil || second!.tensor.data != nil else { throw .null }
        var gates: ExpertOperand? = nil
        if let second { gates = try operand(second, isa) }
        let product = try ExpertProduct(rows: rows, experts: experts, threads: worker.threads, isa: isa,
                                        first: operand(first, isa), second: gates, gate: gate)
        guard let from = x.data, let to = y.data else { throw .null }
        let workBytes = product.area.bytes
        try worker.requireMemory(workBytes, x: from, x.bytes, y: to, y.bytes)
        if !product.first.isPacked { try first.requireApart(from: to, y.bytes, worker, workBytes) }
        if let second, let gates, !gates.isPacked { try second.requireApart(from: to, y.bytes, worker, workBytes) }
        var numbers: ExpertIDs? = nil
        if let ids {
            guard let data = ids.data else { throw .null }
            guard UInt(bitPattern: data) % 4 == 0 else { throw .alignment }
            try requireApart(data, ids.bytes, to, y.bytes)
            try requireApart(data, ids.bytes, worker.work!, workBytes)
            numbers = ExpertIDs(base: data, slots: ids.ne.0, tokenStride: ids.nb.1)
        }
        worker.begin()
        defer { worker.end() }
        let slots = (y.ne.1, y.ne.2)
        try product.run(worker, numbers, x: RowLayout(base: from, ne: slots, repeats: x.ne.1,
                                                      nb: (x.nb.1, x.nb.2, x.nb.3)),
                        y: RowLayout(base: to, ne: slots, repeats: y.ne.1, nb: (y.nb.1, y.nb.2, y.nb.3)))
    }
}
