/// Rows of one expert that are multiplied together.
struct Group {
    /// What the group needs of one weight.
    struct Needs {
        let plan: Plan
        let activations: Int            // where they are packed, in the work area
        let itemsBegin, itemsEnd: Int   // of packing them, on the line of all such work for this weight
    }

    let expert: Int
    let first, count: Int               // in the sorted rows
    let units: Int                      // panels, or pairs of them, whatever threads share out
    let unitCost: Double
    let operand: Needs
    let second: Needs?
}

/// The groups of a product, and what they come to. Each thread makes its own.
struct Groups {
    private let memory: UnsafeMutablePointer<Group>
    private(set) var count = 0
    /// Lengths of the lines of packing, for each of the two weights, and of multiplying.
    private(set) var items = (0, 0), cost = 0
    private var activations: (Int, Int)

    subscript(i: Int) -> Group { memory[i] }

    /// memory: for as many groups as `Routing.mostGroups` says.
    init(_ product: ExpertProduct, _ routing: Routing, _ memory: UnsafeMutablePointer<Group>) throws(Status) {
        self.memory = memory
        activations = (0, product.area.secondOffset)
        var begin = 0
        for expert in 0..<product.experts {
            let end = Int(routing.ends[expert]), wanted = end - begin
            if wanted == 0 { continue }
            let pieces = (wanted + Routing.mostRows - 1) / Routing.mostRows
            // All pieces take the kernel that the whole would: the results are those of one product.
            let kernels = (try product.first.chooseKernel(wanted), try product.second?.chooseKernel(wanted) ?? 0)
            for piece in 0..<pieces {
                let from = begin + wanted * piece / pieces, to = begin + wanted * (piece + 1) / pieces
                try append(product, expert: expert, first: from, count: to - from, kernels)
            }
            begin = end
        }
    }

    private mutating func append(_ product: ExpertProduct, expert: Int, first: Int, count rows: Int,
                                 _ kernels: (Int, Int)) throws(Status) {
        let one = try product.first.makePlan(kernels.0, m: rows), mine = Groups.packing(one)
        let needs = Group.Needs(plan: one, activations: activations.0, itemsBegin: items.0,
                                itemsEnd: items.0 + mine.items)
        var cost = estimateCost(product.first, one, expert), other: Group.Needs? = nil
        if let second = product.second {
            let two = try second.makePlan(kernels.1, m: rows)
            cost += estimateCost(second, two, expert)
            if product.first.layout.type.number == second.layout.type.number && one.packsAlike(two) {
                // Both take the activations of the first.
                other = Group.Needs(plan: two, activations: activations.0, itemsBegin: items.1, itemsEnd: items.1)
            } else {
                let its = Groups.packing(two)
                other = Group.Needs(plan: two, activations: activations.1, itemsBegin: items.1,
                                    itemsEnd: items.1 + its.items)
                activations.1 += its.bytes
                items.1 += its.items
            }
        }
        let units = Schedule.countUnits(one, product.first.matrix(expert))
        memory[count] = Group(expert: expert, first: first, count: rows, units: units,
                              unitCost: Double(cost) / Double(units), operand: needs, second: other)
        count += 1
        activations.0 += mine.bytes
        items.0 += mine.items
        self.cost += cost
    }

    /// Where share number `index` of a line begins.
    static func boundary(_ index: Int, of threads: Int, _ line: Int) -> Int {
        line / threads * index + line % threads * index / threads
    }

    /// Calls body with the groups, and the panels of each, that a thread multiplies: a contiguous share of all work,
    /// which is whole groups, and of the first and the last some panels.
    func each(_ index: Int, of threads: Int, _ product: ExpertProduct,
              _ body: (_ group: Group, _ begin: Int, _ end: Int) -> Void) {
        let shares = GroupShares(memory, count: count, threads: threads, cost: cost)
        let from = shares.boundary(index), to = shares.boundary(index + 1)
        for i in from.group..<min(to.group + 1, count) {
            let group = memory[i], plan = group.operand.plan, weights = product.first.matrix(group.expert)
            let begin = Schedule.panel(plan, weights, at: i == from.group ? from.units : 0, of: group.units)
            let end = Schedule.panel(plan, weights, at: i == to.group ? to.units : group.units, of: group.units)
            if begin < end { body(group, begin, end) }
        }
    }

    /// Work items and bytes of packing a plan's activations; none if its kernel reads them where the host has them.
    private static func packing(_ plan: Plan) -> (items: Int, bytes: Int) {
        plan.activationFunction == nil ? (0, 0) : (plan.slabs * plan.rows, plan.scratchOffset)
    }

    /// Work of a group in bytes of weights read, counted in cache lines: what its rows take longer is bytes that could
    /// have been read meanwhile. Measured on AVX-512, a row costs as much as 1.2 bytes per weight column of a panel; by
    /// the prototypes on AMX 0.34. In floating point and cut off, so that no sum over groups can overflow.
    private func estimateCost(_ operand: ExpertOperand, _ plan: Plan, _ expert: Int) -> Int {
        let layout = operand.layout, perRow = plan.kernel.isa == .amx ? 0.34 : plan.kernel.isa == .avx512 ? 1.2 : 20
        let columns = Double(layout.kblocks) * Double(layout.type.kPerBlock) * Double(layout.panels)
        let bytes = Double(Schedule.countBytes(operand.matrix(expert))) + columns * Double(plan.m) * perRow
        return 1 + Int(min(bytes / 64, 0x1p28))
    }
}
