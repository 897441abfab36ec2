import CKernelABI

/// How the work of an op is shared out among threads. Its products lie on one line, panel after panel, and each thread
/// takes what lies between its boundary and the next thread's.
///
/// Few tokens: reading is the limit, so boundaries are panels, and the line is measured in bytes where those differ. A
/// thread with an odd number of panels computes one twice, but no thread has more pairs than if pairs were shared out.
/// Many tokens: multiplying is the limit, and kernels take two panels at a time, so the line is measured in pairs; a
/// boundary may lie between two tiles of tokens where pairs do not come out even. Every result is computed by one
/// thread from its first k to its last, so none depends on the number of threads.
struct Schedule {
    /// What a thread does of one product: these panels times these tokens.
    struct Share {
        let product: Int
        let panels: Range<Int>, tokens: Range<Int>
    }

    private enum Unit { case panels, bytes, pairs, tokens }

    /// Expanding a pair of panels takes as long as multiplying it with so many tokens: on AMX 12% of 512 (prototype
    /// gemm6). A boundary between two tokens expands a pair twice.
    private static let expansionTokens = 64
    private static let tokenTile = 16

    private let plan: Plan
    private let batch: Batch
    private let threads: Int
    private let unit: Unit
    private var panels: Int { batch.first.weights.layout.panels }

    init(_ plan: Plan, _ batch: Batch, threads: Int) {
        self.plan = plan
        self.batch = batch
        self.threads = threads
        let weights = batch.first.weights, products = batch.count, unit = Schedule.unit(plan, weights)
        if unit == .pairs && Schedule.cutsTokens(plan, weights, products: products, threads: threads) {
            self.unit = .tokens
        } else if unit == .bytes && Schedule.goesByCount(weights, products: products, threads: threads) {
            self.unit = .panels
        } else {
            self.unit = unit
        }
    }

    /// Where a thread has few panels, one more or less is worse than that not all have the same bytes: by bytes some
    /// threads get up to one panel too many, by number none gets more than the largest panels come to.
    private static func goesByCount(_ weights: Weights, products: Int, threads: Int) -> Bool {
        guard case .packed(let tensor, _) = weights, products == 1, tensor.largestPanel > 0 else { return false }
        let panels = tensor.layout.panels, each = (panels + threads - 1) / threads
        let mean = Double(countBytes(weights)) / Double(panels)
        return (Double(tensor.largestPanel) / mean - 1) * Double(each) <= 0.6
    }

    private static func unit(_ plan: Plan, _ weights: Weights) -> Unit {
        // A weight that is not packed is packed two panels at a time.
        guard case .packed(let tensor, _) = weights, plan.m <= 32 else { return .pairs }
        return tensor.layout.sparse ? .bytes : .panels
    }

    private static func cutsTokens(_ plan: Plan, _ weights: Weights, products: Int, threads: Int) -> Bool {
        guard case .packed(let tensor, _) = weights, plan.kernel.cutsTokens else { return false }
        let pairs = (tensor.layout.panels + 1) / 2 * products, most = (pairs + threads - 1) / threads
        let each = Double(plan.m + expansionTokens)
        // One expansion more, and half a tile of tokens that goes to the wrong side at either end.
        let cut = Double(pairs) / Double(threads) * each + Double(expansionTokens + tokenTile)
        return cut < 0.97 * Double(most) * each
    }

    /// Calls body with what thread `index` does.
    func each(_ index: Int, _ body: (Share) -> Void) {
        if unit == .bytes { return eachByBytes(index, body) }
        let products = batch.count
        let pairs = (panels + 1) / 2, one = unit == .panels ? panels : unit == .pairs ? pairs : pairs * plan.m
        let from = boundary(index, one * products), to = boundary(index + 1, one * products)
        var product = from / one
        while product * one < to {
            let begin = max(from - product * one, 0), end = min(to - product * one, one)
            switch unit {
            case .tokens: eachPiece(product, begin, end, body)
            case .pairs: body(share(product, begin * 2, min(end * 2, panels)))
            default: body(share(product, begin, end))
            }
            product += 1
        }
    }

    private func share(_ product: Int, _ begin: Int, _ end: Int) -> Share {
        Share(product: product, panels: begin..<end, tokens: 0..<plan.m)
    }

    /// Where the share of a thread begins: the nearest whole number, and of tokens the nearest tile.
    private func boundary(_ index: Int, _ line: Int) -> Int {
        let exact = line / threads * index + (line % threads * index * 2 + threads) / (threads * 2)
        if unit != .tokens { return exact }
        let token = exact % plan.m
        return exact - token + min((token + Self.tokenTile / 2) / Self.tokenTile * Self.tokenTile, plan.m)
    }

    /// The range of a line of pairs times tokens: the rest of a pair, whole pairs, the beginning of one.
    private func eachPiece(_ product: Int, _ from: Int, _ to: Int, _ body: (Share) -> Void) {
        let m = plan.m
        func piece(_ begin: Int, _ end: Int, _ tokens: Range<Int>) {
            if begin >= end || tokens.isEmpty { return }
            body(Share(product: product, panels: begin * 2..<min(end * 2, panels), tokens: tokens))
        }
        var first = from / m
        let last = to / m
        if first == last { return piece(first, first + 1, from % m..<to % m) }
        if from % m > 0 {
            piece(first, first + 1, from % m..<m)
            first += 1
        }
        piece(first, last, 0..<m)
        piece(last, last + 1, 0..<to % m)
    }

    private func eachByBytes(_ index: Int, _ body: (Share) -> Void) {
        var line = 0
        for product in 0..<batch.count { line += Self.countBytes(batch.weights(product)) }
        let from = boundary(index, line), to = boundary(index + 1, line)
        var begin = 0
        for product in 0..<batch.count {
            let one = batch.weights(product), bytes = Self.countBytes(one), end = begin + bytes
            if end > from && begin < to {
                let first = Self.panel(one, nearest: from - begin), last = Self.panel(one, nearest: to - begin)
                if first < last { body(share(product, first, last)) }
            }
            begin = end
        }
    }

    /// Panels, or pairs of them: what can be shared out of one matrix.
    static func countUnits(_ plan: Plan, _ weights: Weights) -> Int {
        unit(plan, weights) == .pairs ? (weights.layout.panels + 1) / 2 : weights.layout.panels
    }

    /// The boundary for a position on a line of this length that stands for the panels of one matrix.
    static func panel(_ plan: Plan, _ weights: Weights, at position: Int, of length: Int) -> Int {
        let panels = weights.layout.panels
        if position <= 0 { return 0 }
        if position >= length { return panels }
        let portion = Double(position) / Double(length)
        switch unit(plan, weights) {
        case .bytes: return panel(weights, nearest: Int(portion * Double(countBytes(weights))))
        case .panels: return Int(portion * Double(panels) + 0.5)
        default: return min(panels, 2 * Int(portion * Double((panels + 1) / 2) + 0.5))
        }
    }

    /// Where part number `index` of a packed matrix begins, for as many parts as there are memory nodes: as for threads
    /// and few tokens. offsets: of a tensor whose own are not written yet.
    static func panel(_ tensor: PackedTensor, _ offsets: UnsafePointer<UInt64>, ofPart index: Int,
                      of parts: Int) -> Int {
        let panels = tensor.layout.panels
        if !tensor.layout.sparse { return (panels * index * 2 + parts) / (parts * 2) }
        let bytes = countBytes(tensor, offsets, 0, before: panels)
        return panel(tensor, offsets, 0, nearest: bytes / parts * index + bytes % parts * index / parts)
    }

    private static func panel(_ weights: Weights, nearest target: Int) -> Int {
        guard case .packed(let tensor, let matrix) = weights else { return 0 }
        return panel(tensor, tensor.offsets, matrix, nearest: target)
    }

    /// The boundary of panels before which there are about as many bytes of the matrix.
    private static func panel(_ tensor: PackedTensor, _ offsets: UnsafePointer<UInt64>, _ matrix: Int,
                              nearest target: Int) -> Int {
        if target <= 0 { return 0 }
        var low = 0, high = tensor.layout.panels
        while low < high {
            let middle = (low + high) / 2
            if countBytes(tensor, offsets, matrix, before: middle) < target { low = middle + 1 } else { high = middle }
        }
        if low == 0 { return 0 }
        let above = countBytes(tensor, offsets, matrix, before: low) - target
        return target - countBytes(tensor, offsets, matrix, before: low - 1) < above ? low - 1 : low
    }

    /// Bytes of the largest panel of all matrices.
    static func largestPanel(_ tensor: PackedTensor, _ offsets: UnsafePointer<UInt64>) -> Int {
        var largest = 0
        for panel in 0..<tensor.layout.panels * tensor.layout.matrices {
            largest = max(largest, countBytes(tensor, offsets + panel * tensor.layout.chunks, 0, before: 1))
        }
        return largest
    }

    /// Bytes of one matrix of the weight.
    static func countBytes(_ weights: Weights) -> Int {
        switch weights {
        case .packed(let tensor, let matrix):
            return countBytes(tensor, tensor.offsets, matrix, before: tensor.layout.panels)
        case .raw(let layout, _): return layout.totalBytes
        }
    }

    /// Of the panels before this one.
    static func countBytes(_ tensor: PackedTensor, _ offsets: UnsafePointer<UInt64>, _ matrix: Int,
                           before panel: Int) -> Int {
        let layout = tensor.layout, first = matrix * layout.panels
        let values = tensor.valueOffset(panel: first + panel, offsets) - tensor.valueOffset(panel: first, offsets)
        return values + panel * layout.kblocks * (layout.sparse ? layout.type.maskBytes : 0)
            + layout.sideBytes(before: panel)
    }
}
