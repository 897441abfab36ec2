import CKernelABI

/// One weight of a product with experts: what can multiply it, and the most memory that takes.
package struct ExpertOperand {
    package let layout: PackedLayout
    let tensor: PackedTensor?   // nil: not packed
    let file: Rows?             // then the first matrix in the file's layout, nil while there is no data
    private let isa: ISA
    var isPacked: Bool { tensor != nil }
    package private(set) var need = Need()

    /// Upper bounds over all numbers of rows a group can have.
    package struct Need {
        var rowBytes = 0   // of packed activations
        var padding = 0    // rows that a group may have more than asked for
        var scratch = 0    // of a thread

        package init() {}

        package mutating func include(_ other: Need) {
            rowBytes = max(rowBytes, other.rowBytes)
            padding = max(padding, other.padding)
            scratch = max(scratch, other.scratch)
        }

        /// Of the packed activations of this many rows in at most this many groups.
        func activations(rows: Int, groups: Int) throws(Status) -> Int {
            let all = try Checked.sum(rows, try Checked.product(padding, groups))
            return try Checked.sum(try Checked.product(all, rowBytes), try Checked.product(groups, 256))
        }
    }

    package init(packed tensor: PackedTensor, rows: Int, isa: ISA) throws(Status) {
        try self.init(tensor.layout, tensor: tensor, file: nil, rows: rows, isa: isa)
    }

    /// layout: of one matrix in the dense form.
    package init(raw layout: PackedLayout, file: Rows?, rows: Int, isa: ISA) throws(Status) {
        try self.init(layout, tensor: nil, file: file, rows: rows, isa: isa)
    }

    /// For asking only: a weight that will be packed in this form.
    package init(asked layout: PackedLayout, rows: Int, isa: ISA) throws(Status) {
        try self.init(layout, tensor: nil, file: nil, rows: rows, isa: isa)
    }

    private init(_ layout: PackedLayout, tensor: PackedTensor?, file: Rows?, rows: Int, isa: ISA) throws(Status) {
        self.layout = layout
        self.tensor = tensor
        self.file = file
        self.isa = isa
        var found = false
        for index in KernelTable.rows(type: layout.type.number, sparse: layout.sparse, coded: layout.coded) {
            let row = KernelTable.row(index)
            guard row.isa.rawValue <= isa.rawValue, KernelTable.mayChoose(index, upTo: rows) else { continue }
            found = true
            let m = max(row.serves.lowerBound, min(rows, Routing.mostRows, row.serves.upperBound))
            let raw = tensor == nil && !layout.hasOffsets
            let plan = try Plan(layout, m: m, threads: 1, isa: isa, forced: index, raw: raw)
            need.include(Need(rowBytes: (plan.scratchOffset + plan.rows - 1) / plan.rows,
                              padding: row.padding,
                              scratch: plan.scratchBytes))
        }
        guard found else { throw .type }
    }

    /// The row of the kernel table for this many rows of x.
    func chooseKernel(_ m: Int) throws(Status) -> Int {
        guard let index = KernelTable.choose(type: layout.type.number, sparse: layout.sparse, coded: layout.coded, m: m,
                                             isa: isa) else {
            throw .type
        }
        return index
    }

    func makePlan(_ kernel: Int, m: Int) throws(Status) -> Plan {
        try Plan(layout, m: m, threads: 1, isa: isa, forced: kernel, raw: tensor == nil)
    }

    func matrix(_ expert: Int) -> Weights {
        if let tensor { return .packed(tensor, matrix: expert) }
        let file = file!
        return .raw(layout, Rows(base: file.base + expert * file.matrixStride, rowStride: file.rowStride,
                                 matrixStride: 0))
    }
}

extension ExpertOperand.Need {
    fileprivate init(rowBytes: Int, padding: Int, scratch: Int) {
        self.rowBytes = rowBytes
        self.padding = padding
        self.scratch = scratch
    }
}
