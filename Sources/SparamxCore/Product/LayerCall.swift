import CKernelABI

/// Elements of the host's in rows, or a row alone.
package struct Elements {
    package let type: ElementType
    package let data: UnsafeMutableRawPointer
    package let ld: Int     // in elements
    package let bytes: Int  // from the first element to the last

    package init(_ type: ElementType, _ data: UnsafeMutableRawPointer, ld: Int, rows: Int,
                 columns: Int) throws(Status) {
        self.type = type
        self.data = data
        self.ld = ld
        bytes = try Checked.product(try Checked.sum(try Checked.product(rows - 1, ld), columns), type.bytes)
        let address = UInt(bitPattern: data)
        guard address % UInt(type.bytes) == 0 else { throw .alignment }
        guard !address.addingReportingOverflow(UInt(bytes)).overflow else { throw .range }
    }

    func row(_ i: Int) -> UnsafeMutableRawPointer { data + i * ld * type.bytes }
}

/// How the work area of a whole layer's call is cut up: that of the product, tokens in float32 if a kernel reads them
/// as the host has them, the bias in float32, then what each share needs: a piece of a token, and results on their way
/// to another type.
package struct LayerPlan {
    let product: Plan
    let n, k, shares: Int
    let xType, yType: ElementType
    /// nil: there is none.
    let biasType: ElementType?
    let tokensOffset, biasOffset, shareOffset, shareBytes, pieceFloats, resultPanels: Int
    package let workBytes: Int

    /// Results that a share keeps in float32 at a time: enough that a kernel runs for long, and within L2.
    private static let resultFloats = 1 << 17

    package init(_ layout: PackedLayout, m: Int, shares: Int, isa: ISA, forced: Int?, x: ElementType, y: ElementType,
                 bias: ElementType?) throws(Status) {
        product = try Plan(layout, m: m, threads: shares, isa: isa, forced: forced)
        (n, k, self.shares) = (layout.n, layout.k, shares)
        (xType, yType, biasType) = (x, y, bias)
        let packs = product.activationFunction != nil
        tokensOffset = try Checked.roundUp(product.workBytes, to: 64)
        let tokens = x == .f32 || packs ? 0 : try Checked.product(try Checked.product(m, layout.k), 4)
        biasOffset = try Checked.roundUp(try Checked.sum(tokensOffset, tokens), to: 64)
        let wideBias = bias == nil || bias == .f32 ? 0 : try Checked.product(layout.n, 4)
        shareOffset = try Checked.roundUp(try Checked.sum(biasOffset, wideBias), to: 64)
        pieceFloats = x == .f32 || !packs ? 0 : product.slabElements
        // Whole pairs of panels, as many as fit, and no more than there are.
        let width = Int(SX_PANEL)
        let most = max(2, min(LayerPlan.resultFloats / (width * m), layout.panels + 1) & ~1)
        resultPanels = y == .f32 ? 0 : most
        let results = try Checked.product(resultPanels * width, m)
        shareBytes = try Checked.roundUp(try Checked.product(try Checked.sum(pieceFloats, results), 4), to: 64)
        workBytes = try Checked.sum(try Checked.sum(shareOffset, try Checked.product(shareBytes, shares)), 64)
    }

    /// Whether there is anything to do before the first weight is multiplied.
    var prepares: Bool { product.activationFunction != nil || xType != .f32 || biasOffset < shareOffset }
}

/// y = x * W^T + bias for hosts whose threads come and go: the work is cut into shares, each of which may run on any
/// thread, at any time between the start and the end of its step. So there is no barrier: the host's own join between
/// two steps is one.
package struct LayerCall {
    let plan: LayerPlan
    let tensor: PackedTensor
    let isa: ISA
    let x, y: Elements
    let bias: Elements?
    let area: UnsafeMutableRawPointer

    /// Throws unless the work area is there, and nothing that is written overlaps anything else.
    package init(_ plan: LayerPlan, _ tensor: PackedTensor, isa: ISA, x: Elements, y: Elements, bias: Elements?,
                 work: UnsafeMutableRawPointer?, workSize: Int) throws(Status) {
        guard let work else { throw .null }
        guard workSize >= plan.workBytes else { throw .workSize }
        try requireApart(x.data, x.bytes, y.data, y.bytes)
        try requireApart(work, plan.workBytes, x.data, x.bytes)
        try requireApart(work, plan.workBytes, y.data, y.bytes)
        if let bias {
            try requireApart(bias.data, bias.bytes, y.data, y.bytes)
            try requireApart(work, plan.workBytes, bias.data, bias.bytes)
        }
        self.plan = plan
        self.tensor = tensor
        self.isa = isa
        (self.x, self.y, self.bias) = (x, y, bias)
        area = UnsafeMutableRawPointer(bitPattern: (UInt(bitPattern: work) + 63) & ~63)!
    }

    package enum Step { case prepare, multiply }

    /// The first step: false where there is none.
    package var prepares: Bool { plan.prepares }

    /// One share of a step. All shares of the first step have ended before one of the second begins.
    package func run(_ step: Step, share: Int) {
        switch step {
        case .prepare:
            prepareTokens(share)
            prepareBias(share)
        case .multiply: multiply(share)
        }
    }

    private var tokens: UnsafeMutablePointer<Float> { floats(plan.tokensOffset) }

    private func floats(_ offset: Int) -> UnsafeMutablePointer<Float> {
        (area + offset).assumingMemoryBound(to: Float.self)
    }

    private func boundary(_ share: Int, of line: Int) -> Int {
        line / plan.shares * share + line % plan.shares * share / plan.shares
    }

    private func ownFloats(_ share: Int) -> UnsafeMutablePointer<Float> {
        floats(plan.shareOffset + share * plan.shareBytes)
    }

    private func prepareTokens(_ share: Int) {
        let product = plan.product
        guard let pack = product.activationFunction else { return widenTokens(share) }
        let items = product.slabs * product.rows
        let begin = boundary(share, of: items), end = boundary(share + 1, of: items)
        if begin == end { return }
        if x.type == .f32 {
            var args = Product.makeActivationArgs(product, x.data.assumingMemoryBound(to: Float.self), x.ld, area)
            args.item_begin = Int64(begin)
            args.item_end = Int64(end)
            return pack(&args)
        }
        // A piece of a token at a time, and every row of "x" where the piece is.
        let piece = ownFloats(share)
        for item in begin..<end {
            let first = item / product.rows * plan.pieceFloats, token = item % product.rows
            if token < product.m {
                x.type.widen(x.row(token) + first * x.type.bytes, to: piece,
                             count: min(plan.pieceFloats, plan.k - first), isa: isa)
            }
            var args = Product.makeActivationArgs(product, piece - first, 0, area)
            args.item_begin = Int64(item)
            args.item_end = Int64(item + 1)
            pack(&args)
        }
    }

    /// For kernels that read the tokens as the host has them, in float32.
    private func widenTokens(_ share: Int) {
        if x.type == .f32 { return }
        let begin = boundary(share, of: plan.product.m * plan.k), end = boundary(share + 1, of: plan.product.m * plan.k)
        var at = begin
        while at < end {
            let token = at / plan.k, first = at % plan.k, count = min(plan.k - first, end - at)
            x.type.widen(x.row(token) + first * x.type.bytes, to: tokens + at, count: count, isa: isa)
            at += count
        }
    }

    private func prepareBias(_ share: Int) {
        guard let bias, bias.type != .f32 else { return }
        let begin = boundary(share, of: plan.n), end = boundary(share + 1, of: plan.n)
        if begin == end { return }
        bias.type.widen(bias.data + begin * bias.type.bytes, to: floats(plan.biasOffset) + begin, count: end - begin,
                        isa: isa)
    }

    /// The bias in float32, where there is one.
    private var wideBias: UnsafePointer<Float>? {
        guard let bias else { return nil }
        return UnsafePointer(bias.type == .f32 ? bias.data.assumingMemoryBound(to: Float.self)
                                 : floats(plan.biasOffset))
    }

    private func multiply(_ share: Int) {
        let product = plan.product, weights = Weights.packed(tensor.here, matrix: 0)
        let packed = product.activationFunction == nil ? nil : area
        let wide = x.type == .f32 ? x.data.assumingMemoryBound(to: Float.self) : tokens
        let from = packed != nil && x.type != .f32 ? nil : UnsafePointer(wide)
        let scratch = area + product.scratchOffset + share * product.scratchBytes
        let results = y.type == .f32 ? y.data.assumingMemoryBound(to: Float.self) : ownFloats(share) + plan.pieceFloats
        var args = Product.makeKernelArgs(
            product, weights, Product.makeTokens(product, from, x.type == .f32 ? x.ld : plan.k, packed: packed),
            sx_results(data: results, ld: Int64(y.ld)), scratch)
        let batch = Batch(weights, x: wide, ldx: plan.k, y: results, ldy: y.ld)
        Schedule(product, batch, threads: plan.shares).each(share) { piece in
            args.x.first = Int64(piece.tokens.lowerBound)
            args.x.m = Int64(piece.tokens.upperBound)
            if y.type == .f32 {
                Product.multiplyPanels(product, weights, &args, piece.panels.lowerBound, piece.panels.upperBound)
                if bias != nil { finish(piece.panels, piece.tokens, results, y.ld) }
            } else {
                multiplyInPortions(piece, weights, &args, results)
            }
        }
    }

    /// Results in float32 first, as many panels at a time as there is room for.
    private func multiplyInPortions(_ piece: Schedule.Share, _ weights: Weights, _ args: inout sx_kernel_args,
                                    _ room: UnsafeMutablePointer<Float>) {
        let width = Int(SX_PANEL)
        var panel = piece.panels.lowerBound
        while panel < piece.panels.upperBound {
            let last = min(panel + plan.resultPanels, piece.panels.upperBound), ld = (last - panel) * width
            args.y.data = room - panel * width
            args.y.ld = Int64(ld)
            Product.multiplyPanels(plan.product, weights, &args, panel, last)
            finish(panel..<last, piece.tokens, args.y.data, ld)
            panel = last
        }
    }

    /// Bias and the host's type. results: where column 0 of the first token would be.
    private func finish(_ panels: Range<Int>, _ tokens: Range<Int>, _ results: UnsafeMutablePointer<Float>, _ ld: Int) {
        let column = panels.lowerBound * Int(SX_PANEL), count = min(plan.n, panels.upperBound * Int(SX_PANEL)) - column
        if count <= 0 { return }
        for token in tokens {
            y.type.narrow(results + (token * ld + column), bias: wideBias.map { $0 + column },
                          to: y.row(token) + column * y.type.bytes, count: count, isa: isa)
        }
    }
}
