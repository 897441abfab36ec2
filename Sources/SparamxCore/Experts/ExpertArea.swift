import CKernelABI

/// How the host's work area is cut up for a product with experts: packed activations of all groups, for the second
/// weight too, then for each thread: routing, groups, scratch of the kernel, results before they go where they belong.
package struct ExpertArea {
    let secondOffset, threadOffset, threadBytes: Int
    let groupsOffset, scratchOffset, resultsOffset, secondResultsOffset: Int
    /// Floats of one result block.
    let resultFloats: Int
    package let bytes: Int

    /// A block of results stays in the L2 cache until it is copied: 512 KB, as the gemm kernels' groups of 8 pairs of
    /// panels times 512 tokens have them.
    private static let blockFloats = 131072

    package init(rows: Int, experts: Int, threads: Int, panels: Int, _ first: ExpertOperand.Need,
                 _ second: ExpertOperand.Need?) throws(Status) {
        guard rows >= 1, rows <= Int(Int32.max), experts >= 1, threads >= 1, threads <= 1024 else { throw .range }
        let groups = Routing.mostGroups(rows: rows, experts: experts), most = min(rows, Routing.mostRows)
        secondOffset = try Checked.roundUp(try first.activations(rows: rows, groups: groups), to: 64)
        threadOffset = try Checked.roundUp(
            try Checked.sum(secondOffset, try second?.activations(rows: rows, groups: groups) ?? 0), to: 64)
        groupsOffset = try Checked.roundUp(try Routing.bytes(rows: rows, experts: experts), to: 64)
        scratchOffset = try Checked.roundUp(
            try Checked.sum(groupsOffset, try Checked.product(groups, MemoryLayout<Group>.stride)), to: 64)
        resultsOffset = try Checked.roundUp(
            try Checked.sum(scratchOffset, max(first.scratch, second?.scratch ?? 0)), to: 64)
        let wide = min(panels, max(2, Self.blockFloats / (Int(SX_PANEL) * most)))
        resultFloats = try Checked.product(try Checked.product(most, wide), Int(SX_PANEL))
        let block = try Checked.product(resultFloats, 4)
        secondResultsOffset = try Checked.sum(resultsOffset, block)
        threadBytes = try Checked.roundUp(try Checked.sum(secondResultsOffset, second == nil ? 0 : block), to: 64)
        bytes = try Checked.sum(try Checked.sum(threadOffset, try Checked.product(threadBytes, threads)), 64)
    }
}
