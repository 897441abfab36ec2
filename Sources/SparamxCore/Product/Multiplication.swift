/// A product of a weight and a batch of activations that has been checked: shapes agree, strides are allowed. Matrices
/// of the weight are repeated along the third and fourth dimension, as ggml has it.
package struct Multiplication {
    private let weight: Operand
    private let x, y: Tensor
    private var m: Int { x.ne.1 }
    private var products: Int { x.ne.2 * x.ne.3 }

    package init(_ weight: Operand, x: Tensor, y: Tensor) throws(Status) {
        self.weight = weight
        self.x = x
        self.y = y
        try x.requireActivation()
        try y.requireActivation()
        let w = weight.tensor
        guard x.ne.0 == w.ne.0, y.ne.0 == w.ne.1, y.ne.1 == x.ne.1, y.ne.2 == x.ne.2, y.ne.3 == x.ne.3,
              x.ne.2 % w.ne.2 == 0, x.ne.3 % w.ne.3 == 0 else { throw .shape }
        try y.requireRowsApart()
    }

    /// What the work area needs. Throws as well if the operands that are there already cannot be multiplied. Which form
    /// a weight will have that is not there yet, nobody knows: then the largest need counts.
    package func workBytes(threads: Int, isa: ISA) throws(Status) -> Int {
        try requireApart(x, y)
        try weight.requireApart(fromResults: y)
        if let packed = try weight.packedFormIfThere() {
            return try Plan(packed.layout, m: m, threads: threads, isa: isa).workBytes(products: products)
        }
        let dense = try Plan(weight.layout(sparse: false), m: m, threads: threads, isa: isa, raw: true)
            .workBytes(products: products)
        guard weight.type.hasSparseForm else { return dense }
        return max(dense, try Plan(weight.layout(sparse: true), m: m, threads: threads, isa: isa)
            .workBytes(products: products))
    }

    /// This thread's share. Throws before the first barrier, on all threads alike, or not at all.
    package func compute(_ worker: inout Worker, isa: ISA) throws(Status) {
        guard weight.tensor.data != nil else { throw .null }
        let packed = try weight.packedForm()?.here, layout: PackedLayout
        if let packed { layout = packed.layout } else { layout = try weight.layout(sparse: false) }
        let plan = try Plan(layout, m: m, threads: worker.threads, isa: isa, raw: packed == nil)
        guard let from = x.data, let to = y.data else { throw .null }
        let workBytes = try plan.workBytes(products: products)
        try worker.requireMemory(workBytes, x: from, x.bytes, y: to, y.bytes)
        if packed == nil { try weight.requireApart(from: to, y.bytes, worker, workBytes) }
        worker.begin()
        defer { worker.end() }
        let w = weight.tensor, weights: Weights
        if let packed {
            weights = .packed(packed, matrix: 0)
        } else {
            weights = .raw(layout, Rows(base: w.data!, rowStride: w.nb.1, matrixStride: 0))
        }
        var dimensions = Batch.Dimensions()
        dimensions.products = (x.ne.2, x.ne.3)
        dimensions.repeats = (x.ne.2 / w.ne.2, x.ne.3 / w.ne.3)
        dimensions.matrices = w.ne.2
        dimensions.x = (x.nb.2, x.nb.3)
        dimensions.y = (y.nb.2, y.nb.3)
        dimensions.file = (w.nb.2, w.nb.3)
        let batch = Batch(weights, x: from.assumingMemoryBound(to: Float.self), ldx: x.nb.1 / 4,
                          y: to.assumingMemoryBound(to: Float.self), ldy: y.nb.1 / 4, dimensions)
        Product.run(plan, batch, worker: worker)
    }
}
