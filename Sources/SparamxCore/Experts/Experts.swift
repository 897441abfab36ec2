import CKernelABI

/// A product whose rows each have a matrix of their own, and the fused kinds, of which two such products are multiplied
/// with each other. Rows are gathered by expert as their activations are packed, so that each expert is one ordinary
/// product of all its rows; experts that no row wants do not occur.
package struct ExpertProduct {
    let rows, experts: Int
    let isa: ISA
    let first: ExpertOperand        // up in the fused kinds
    let second: ExpertOperand?      // gate
    let gate: Gate
    package let area: ExpertArea

    package init(rows: Int, experts: Int, threads: Int, isa: ISA, first: ExpertOperand, second: ExpertOperand?,
                 gate: Gate) throws(Status) {
        self.rows = rows
        self.experts = experts
        self.isa = isa
        self.first = first
        self.second = second
        self.gate = gate
        area = try ExpertArea(rows: rows, experts: experts, threads: threads, panels: first.layout.panels, first.need,
                              second?.need)
    }

    /// This thread's share. Throws before the barrier, on all threads alike, or not at all.
    package func run(_ worker: Worker, _ ids: ExpertIDs?, x: RowLayout, y: RowLayout) throws(Status) {
        try Routing.requireExperts(ids, rows: rows, experts: experts)
        let own = worker.area + area.threadOffset + worker.index * area.threadBytes
        let routing = Routing(own, rows: rows, experts: experts)
        routing.sort(ids)
        let groups = try Groups(self, routing, (own + area.groupsOffset).assumingMemoryBound(to: Group.self))
        let share = ExpertShare(product: self, groups: groups, order: routing.order, x: x, y: y, work: worker.area,
                                own: own, index: worker.index, threads: worker.threads)
        if groups.items.0 + groups.items.1 > 0 {
            share.packActivations()
            worker.wait()
        }
        share.multiply()
    }
}

/// What one thread does of a product with experts, and all that its steps need to know.
struct ExpertShare {
    let product: ExpertProduct
    let groups: Groups
    let order: UnsafeMutablePointer<Int32>  // rows, expert after expert
    let x, y: RowLayout
    let work: UnsafeMutableRawPointer       // shared by all threads
    let own: UnsafeMutableRawPointer        // this thread's
    let index, threads: Int

    /// Row i of a group, in x or y.
    private func row(_ group: Group, _ i: Int) -> Int { Int(order[group.first + i]) }

    func packActivations() {
        let line = groups.items
        packActivations(second: false, from: Groups.boundary(index, of: threads, line.0),
                        to: Groups.boundary(index + 1, of: threads, line.0))
        if product.second == nil { return }
        packActivations(second: true, from: Groups.boundary(index, of: threads, line.1),
                        to: Groups.boundary(index + 1, of: threads, line.1))
    }

    /// Pieces of rows, from wherever the group's rows are in x.
    private func packActivations(second: Bool, from: Int, to: Int) {
        for i in 0..<groups.count {
            let group = groups[i]
            guard let needs = second ? group.second : group.operand, needs.itemsEnd > from, needs.itemsBegin < to,
                  let function = needs.plan.activationFunction else { continue }
            // One row at a time, and every row of "x" where this one is: so the packing functions gather.
            var args = Product.makeActivationArgs(needs.plan, x[row(group, 0)], 0, work + needs.activations)
            for item in max(needs.itemsBegin, from) - needs.itemsBegin..<min(needs.itemsEnd, to) - needs.itemsBegin {
                args.x = UnsafePointer(x[row(group, min(item % needs.plan.rows, group.count - 1))])
                args.item_begin = Int64(item)
                args.item_end = Int64(item + 1)
                function(&args)
            }
        }
    }

    func multiply() {
        groups.each(index, of: threads, product) { group, begin, end in multiply(group, begin, end) }
    }

    /// Panels begin..<end of a group.
    private func multiply(_ group: Group, _ begin: Int, _ end: Int) {
        let n = product.first.layout.n, width = Int(SX_PANEL), area = product.area
        let results = (own + area.resultsOffset).assumingMemoryBound(to: Float.self)
        let others = (own + area.secondResultsOffset).assumingMemoryBound(to: Float.self)
        // Whole pairs of panels, as many as fit.
        let most = max(2, area.resultFloats / (width * group.count) & ~1)
        var panel = begin
        while panel < end {
            let last = min(panel + most, end), ld = (last - panel) * width
            let column = panel * width, columns = min(n, last * width) - column
            multiplyPanels(product.first, group.operand, group, panel, last, results - column, ld)
            if let second = product.second, let needs = group.second {
                multiplyPanels(second, needs, group, panel, last, others - column, ld)
            }
            for i in 0..<group.count {
                let to = y[row(group, i)] + column, from = results + i * ld
                if product.second == nil {
                    UnsafeMutableRawPointer(to).copyMemory(from: from, byteCount: columns * 4)
                } else {
                    product.gate.apply(up: from, gate: others + i * ld, out: to, count: columns, isa: product.isa)
                }
            }
            panel = last
        }
    }

    /// Panels begin..<end times all rows of a group. results: where column 0 would be.
    private func multiplyPanels(_ operand: ExpertOperand, _ needs: Group.Needs, _ group: Group,
                                _ begin: Int, _ end: Int, _ results: UnsafeMutablePointer<Float>, _ ld: Int) {
        let plan = needs.plan, weights = operand.matrix(group.expert)
        let packed = plan.activationFunction == nil ? nil : work + needs.activations
        var args = Product.makeKernelArgs(plan, weights, Product.makeTokens(plan, nil, 0, packed: packed),
                                          sx_results(data: results, ld: Int64(ld)), own + product.area.scratchOffset)
        if packed != nil { return Product.multiplyPanels(plan, weights, &args, begin, end) }
        // Kernels that read the host's activations get one row at a time.
        args.x.m = 1
        args.x.ld = Int64(operand.layout.k)
        for i in 0..<group.count {
            args.x.data = UnsafePointer(x[row(group, i)])
            args.y.data = results + i * ld
            Product.multiplyPanels(plan, weights, &args, begin, end)
        }
    }
}
