import CKernelABI

/// Where the rows of x and dst are. A row of dst has an index in each of three dimensions; x has the same rows, or fewer
/// in the first dimension and repeats them there.
package struct RowPlaces {
    let base: UnsafeMutableRawPointer
    let ne: (Int, Int), repeats: Int
    let nb: (Int, Int, Int)

    package init(base: UnsafeMutableRawPointer, ne: (Int, Int), repeats: Int, nb: (Int, Int, Int)) {
        self.base = base
        self.ne = ne
        self.repeats = repeats
        self.nb = nb
    }

    subscript(row: Int) -> UnsafeMutablePointer<Float> {
        let i1 = row % ne.0 % repeats, rest = row / ne.0
        return (base + (i1 * nb.0 + rest % ne.1 * nb.1 + rest / ne.1 * nb.2)).assumingMemoryBound(to: Float.self)
    }
}

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

    package init(rows: Int, experts: Int, threads: Int, isa: ISA, first: ExpertOperand, second: ExpertOperand?, gate: Gate) throws(Status) {
        self.rows = rows
        self.experts = experts
        self.isa = isa
        self.first = first
        self.second = second
        self.gate = gate
        area = try ExpertArea(rows: rows, experts: experts, threads: threads, panels: first.layout.panels, first.need, second?.need)
    }

    /// This thread's share. Throws before the barrier, on all threads alike, or not at all.
    package func run(_ worker: Worker, _ ids: ExpertIDs?, x: RowPlaces, y: RowPlaces) throws(Status) {
        try Routing.check(ids, rows: rows, experts: experts)
        let work = UnsafeMutableRawPointer(bitPattern: (UInt(bitPattern: worker.work) + 63) & ~63)!
        let own = work + area.threadOffset + worker.index * area.threadBytes
        let routing = Routing(own, rows: rows, experts: experts)
        routing.sort(ids)
        let groups = (own + area.groupsOffset).assumingMemoryBound(to: Group.self)
        let count = try makeGroups(routing, groups)
        let total = groups[count]
        try pack(first, groups, count, second: false, total.items.0, worker, routing.order, x, work, own)
        if let second { try pack(second, groups, count, second: true, total.items.1, worker, routing.order, x, work, own) }
        worker.wait()
        // A contiguous part of all work: whole experts, and of the first and last some panels.
        let from = share(total.cost, worker.index, worker.threads), to = share(total.cost, worker.index + 1, worker.threads)
        for i in 0..<count where groups[i + 1].cost > from && groups[i].cost < to {
            try multiply(groups[i], length: groups[i + 1].cost - groups[i].cost, from, to, routing.order, x, y, work, own)
        }
    }

    private func share(_ total: Int, _ part: Int, _ parts: Int) -> Int { total / parts * part + total % parts * part / parts }

    /// The groups, and behind the last what they come to.
    private func makeGroups(_ routing: Routing, _ groups: UnsafeMutablePointer<Group>) throws(Status) -> Int {
        var next = Group(), count = 0, begin = 0
        next.places = (0, area.secondOffset)
        for expert in 0..<experts {
            let end = Int(routing.ends[expert]), wanted = end - begin
            if wanted == 0 { continue }
            let pieces = (wanted + Routing.mostRows - 1) / Routing.mostRows
            // All pieces take the kernel that the whole would: the results are those of one product.
            let kernels = (try first.kernel(wanted), try second?.kernel(wanted) ?? 0)
            for piece in 0..<pieces {
                next.expert = expert
                next.first = begin + wanted * piece / pieces
                next.count = begin + wanted * (piece + 1) / pieces - next.first
                try add(&next, kernels, groups + count)
                count += 1
            }
            begin = end
        }
        groups[count] = next
        return count
    }

    /// Stores the group and moves places, items and cost on.
    private func add(_ next: inout Group, _ kernels: (Int, Int), _ group: UnsafeMutablePointer<Group>) throws(Status) {
        let one = try first.plan(kernels.0, m: next.count)
        next.kernels = kernels
        next.shared = false
        var cost = work(first, one, next.expert), items = (one.chunks * one.rows, 0), bytes = (one.scratchOffset, 0)
        if one.activationFunction == nil { (items.0, bytes.0) = (0, 0) }
        if let second {
            let two = try second.plan(kernels.1, m: next.count)
            cost += work(second, two, next.expert)
            next.shared = first.layout.type.number == second.layout.type.number && one.kernel.activation == two.kernel.activation
                && one.rows == two.rows && one.kblocks == two.kblocks && one.scratchOffset == two.scratchOffset
            if !next.shared && two.activationFunction != nil { (items.1, bytes.1) = (two.chunks * two.rows, two.scratchOffset) }
        }
        group.pointee = next
        next.places = (next.places.0 + bytes.0, next.places.1 + bytes.1)
        next.items = (next.items.0 + items.0, next.items.1 + items.1)
        next.cost += cost
    }

    /// Work of a group in bytes of weights read, counted in cache lines: what its rows take longer is bytes that could have
    /// been read meanwhile. Measured on AVX-512, a row costs as much as 1.2 bytes per weight column of a panel; by the
    /// prototypes on AMX 0.34. In floating point and cut off, so that no sum over groups can overflow.
    private func work(_ operand: ExpertOperand, _ plan: Plan, _ expert: Int) -> Int {
        let layout = operand.layout, perRow = plan.kernel.isa == .amx ? 0.34 : plan.kernel.isa == .avx512 ? 1.2 : 20
        let columns = Double(layout.kblocks) * Double(layout.type.kPerBlock) * Double(layout.panels)
        let bytes = Double(Schedule.bytes(operand.matrix(expert))) + columns * Double(plan.m) * perRow
        return 1 + Int(min(bytes / 64, 0x1p28))
    }

    /// This thread's share of packing: pieces of rows, from wherever the group's rows are in x.
    private func pack(_ operand: ExpertOperand, _ groups: UnsafeMutablePointer<Group>, _ count: Int, second: Bool, _ total: Int,
                      _ worker: Worker, _ order: UnsafeMutablePointer<Int32>, _ x: RowPlaces, _ work: UnsafeMutableRawPointer,
                      _ own: UnsafeMutableRawPointer) throws(Status) {
        let from = share(total, worker.index, worker.threads), to = share(total, worker.index + 1, worker.threads)
        for i in 0..<count {
            let group = groups[i]
            let begin = second ? group.items.1 : group.items.0, end = second ? groups[i + 1].items.1 : groups[i + 1].items.0
            if end <= from || begin >= to || begin == end { continue }
            let plan = try operand.plan(second ? group.kernels.1 : group.kernels.0, m: group.count)
            guard let function = plan.activationFunction else { continue }
            // One row at a time, and every row of "x" where this one is: so the packing functions gather.
            var activation = Product.activationArgs(plan, x[Int(order[group.first])], 0,
                                                    work + (second ? group.places.1 : group.places.0))
            for item in max(begin, from) - begin..<min(end, to) - begin {
                let token = min(item % plan.rows, group.count - 1)
                activation.x = UnsafePointer(x[Int(order[group.first + token])])
                activation.item_begin = Int64(item)
                activation.item_end = Int64(item + 1)
                function(&activation)
            }
        }
    }

    /// The panels of a group that lie between from and to on the line of all work.
    private func multiply(_ group: Group, length: Int, _ from: Int, _ to: Int, _ order: UnsafeMutablePointer<Int32>, _ x: RowPlaces,
                          _ y: RowPlaces, _ work: UnsafeMutableRawPointer, _ own: UnsafeMutableRawPointer) throws(Status) {
        let one = try first.plan(group.kernels.0, m: group.count), weights = first.matrix(group.expert)
        let parts = 4096
        func firstPanel(_ place: Int) -> Int {
            let inside = min(max(place - group.cost, 0), length)
            return Schedule.begin(one, weights, part: inside * parts / length, of: parts)
        }
        let begin = firstPanel(from), end = firstPanel(to)
        let n = first.layout.n, width = Int(SX_PANEL)
        let results = (own + area.resultsOffset).assumingMemoryBound(to: Float.self)
        let others = (own + area.secondResultsOffset).assumingMemoryBound(to: Float.self)
        // Whole pairs of panels, as many as fit.
        let most = max(2, area.resultFloats / (width * group.count) & ~1)
        let two = try second?.plan(group.kernels.1, m: group.count)
        var panel = begin
        while panel < end {
            let last = min(panel + most, end), ld = (last - panel) * width
            let column = panel * width, columns = min(n, last * width) - column
            block(first, one, group, work + group.places.0, panel, last, order, x, results - column, ld, own)
            if let second, let two {
                block(second, two, group, work + (group.shared ? group.places.0 : group.places.1), panel, last, order, x,
                      others - column, ld, own)
            }
            for i in 0..<group.count {
                let to = y[Int(order[group.first + i])] + column, from = results + i * ld
                if second == nil {
                    UnsafeMutableRawPointer(to).copyMemory(from: from, byteCount: columns * 4)
                } else {
                    gate.apply(up: from, gate: others + i * ld, out: to, count: columns, isa: isa)
                }
            }
            panel = last
        }
    }

    /// Panels begin..<end times all rows of a group. results: where column 0 would be.
    private func block(_ operand: ExpertOperand, _ plan: Plan, _ group: Group, _ activations: UnsafeMutableRawPointer, _ begin: Int,
                       _ end: Int, _ order: UnsafeMutablePointer<Int32>, _ x: RowPlaces, _ results: UnsafeMutablePointer<Float>,
                       _ ld: Int, _ own: UnsafeMutableRawPointer) {
        let weights = operand.matrix(group.expert)
        let packed = plan.activationFunction == nil ? nil : activations
        var args = Product.kernelArgs(plan, weights, Product.tokens(plan, nil, 0, packed: packed),
                                      sx_results(values: results, ld: Int64(ld)), own + area.scratchOffset)
        if packed != nil { return Product.panels(plan, weights, &args, begin, end) }
        // Kernels that read the host's activations get one row at a time.
        args.x.m = 1
        args.x.ld = Int64(operand.layout.k)
        for i in 0..<group.count {
            args.x.values = UnsafePointer(x[Int(order[group.first + i])])
            args.y.values = results + i * ld
            Product.panels(plan, weights, &args, begin, end)
        }
    }
}
