/// Which expert each row of a product wants: int32 numbers, [slot, token].
package struct ExpertIDs {
    let base: UnsafeRawPointer
    let slots, tokenStride: Int

    package init(base: UnsafeRawPointer, slots: Int, tokenStride: Int) {
        self.base = base
        self.slots = slots
        self.tokenStride = tokenStride
    }

    subscript(row: Int) -> Int32 {
        (base + (row / slots * tokenStride + row % slots * 4)).load(as: Int32.self)
    }
}

/// Rows sorted by expert. Each thread makes its own in its own range of the work area: a pass over some thousand
/// numbers costs less than one more barrier, and with few tokens there is next to nothing to sort.
struct Routing {
    let rows, experts: Int
    let ids: UnsafeMutablePointer<Int32>     // a copy: what has been checked is what is used
    let order: UnsafeMutablePointer<Int32>   // rows, expert after expert
    let ends: UnsafeMutablePointer<Int32>    // of each expert's rows

    /// More rows are split: it is what kernels multiply per pass over the weights, and bounds the results' memory.
    static let mostRows = 512

    /// The most groups any choice of experts can give.
    static func mostGroups(rows: Int, experts: Int) -> Int { min(rows, experts) + (rows - 1) / mostRows }

    static func bytes(rows: Int, experts: Int) throws(Status) -> Int {
        try Checked.product(try Checked.sum(try Checked.product(rows, 2), experts), 4)
    }

    init(_ memory: UnsafeMutableRawPointer, rows: Int, experts: Int) {
        self.rows = rows
        self.experts = experts
        ids = memory.assumingMemoryBound(to: Int32.self)
        order = ids + rows
        ends = order + rows
    }

    /// .range if some row wants an expert that does not exist. Without numbers all rows want the first.
    static func requireExperts(_ numbers: ExpertIDs?, rows: Int, experts: Int) throws(Status) {
        guard let numbers else { return }
        for row in 0..<rows where numbers[row] < 0 || Int(numbers[row]) >= experts { throw .range }
    }

    /// Counting sort; within an expert rows keep their order.
    func sort(_ numbers: ExpertIDs?) {
        ends.update(repeating: 0, count: experts)
        for row in 0..<rows {
            // Cut again: the numbers are the host's memory, and what is written below must stay in the work area.
            let id = numbers.map { min(max($0[row], 0), Int32(experts - 1)) } ?? 0
            ids[row] = id
            ends[Int(id)] += 1
        }
        var total: Int32 = 0
        for expert in 0..<experts {
            let count = ends[expert]
            ends[expert] = total
            total += count
        }
        for row in 0..<rows {
            let expert = Int(ids[row])
            order[Int(ends[expert])] = Int32(row)
            ends[expert] += 1
        }
    }
}
