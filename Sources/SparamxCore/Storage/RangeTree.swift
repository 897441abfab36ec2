import CPlatform

/// Disjoint half-open ranges in rising order, each with a value. A treap (Seidel and Aragon, "Randomized search trees",
/// 1996): every operation takes time logarithmic in the number of ranges, in whatever order they come. The nodes are
/// one array, which only `reserve` lets grow, so that nothing else can fail.
struct RangeTree {
    struct Range { let begin, end, value: Int }

    private struct Node {
        var begin, end, value: Int
        var left, right: UInt32     // right also links the nodes that are free
        var priority: UInt32
    }

    private static let none = UInt32.max

    private var nodes: UnsafeMutablePointer<Node>?
    private var capacity = 0, used = 0
    private var free = RangeTree.none, root = RangeTree.none
    private var random: UInt64 = 0
    private(set) var count = 0

    init() { nodes = nil }

    /// Makes room for this many more ranges.
    mutating func reserve(_ more: Int) throws(Status) {
        let wanted = try Checked.sum(count, more)
        if wanted <= capacity { return }
        let larger = max(wanted, capacity * 2, 8)
        guard larger < Int(RangeTree.none) else { throw .noMemory }
        let bytes = try Checked.product(larger, MemoryLayout<Node>.stride)
        guard let memory = sx_allocate(bytes) else { throw .noMemory }
        if let nodes { memory.copyMemory(from: nodes, byteCount: used * MemoryLayout<Node>.stride) }
        sx_free(nodes)
        nodes = memory.bindMemory(to: Node.self, capacity: larger)
        capacity = larger
        // Priorities that nobody can foresee keep the tree flat whatever the order of insertions.
        if random == 0 { random = UInt64(UInt(bitPattern: memory)) | 1 }
    }

    /// The first range that ends after a position.
    func first(endingAfter position: Int) -> Range? {
        guard let nodes else { return nil }
        var at = root, best = RangeTree.none
        while at != RangeTree.none {
            if nodes[Int(at)].end > position {
                best = at
                at = nodes[Int(at)].left
            } else {
                at = nodes[Int(at)].right
            }
        }
        if best == RangeTree.none { return nil }
        let node = nodes[Int(best)]
        return Range(begin: node.begin, end: node.end, value: node.value)
    }

    /// The longest way from the root, in ranges. Only tests ask.
    var depth: Int { depth(below: root) }

    private func depth(below at: UInt32) -> Int {
        guard let nodes, at != RangeTree.none else { return 0 }
        return 1 + max(depth(below: nodes[Int(at)].left), depth(below: nodes[Int(at)].right))
    }

    /// Room has been reserved, and no range overlaps this one.
    mutating func insert(_ begin: Int, _ end: Int, value: Int) {
        guard let nodes else { return }
        let at: UInt32
        if free != RangeTree.none {
            at = free
            free = nodes[Int(at)].right
        } else {
            at = UInt32(truncatingIfNeeded: used)
            used += 1
        }
        random ^= random << 13
        random ^= random >> 7
        random ^= random << 17
        nodes[Int(at)] = Node(begin: begin, end: end, value: value, left: RangeTree.none, right: RangeTree.none,
                              priority: UInt32(truncatingIfNeeded: random >> 16))
        let (before, behind) = RangeTree.split(nodes, root, begin)
        root = RangeTree.join(nodes, RangeTree.join(nodes, before, at), behind)
        count += 1
    }

    /// Takes out the range that begins here, if there is one.
    mutating func remove(_ begin: Int) {
        guard let nodes else { return }
        let (before, rest) = RangeTree.split(nodes, root, begin)
        let (one, behind) = RangeTree.split(nodes, rest, begin + 1)
        root = RangeTree.join(nodes, before, behind)
        if one == RangeTree.none { return }
        nodes[Int(one)].right = free
        free = one
        count -= 1
    }

    mutating func removeAll() {
        used = 0
        count = 0
        free = RangeTree.none
        root = RangeTree.none
    }

    mutating func release() {
        sx_free(nodes)
        nodes = nil
        capacity = 0
        removeAll()
    }

    /// What begins before a key, and the rest.
    private static func split(_ nodes: UnsafeMutablePointer<Node>, _ tree: UInt32, _ key: Int) -> (UInt32, UInt32) {
        if tree == none { return (none, none) }
        if nodes[Int(tree)].begin < key {
            let (middle, behind) = split(nodes, nodes[Int(tree)].right, key)
            nodes[Int(tree)].right = middle
            return (tree, behind)
        }
        let (before, middle) = split(nodes, nodes[Int(tree)].left, key)
        nodes[Int(tree)].left = middle
        return (before, tree)
    }

    /// Everything in a begins before everything in b.
    private static func join(_ nodes: UnsafeMutablePointer<Node>, _ a: UInt32, _ b: UInt32) -> UInt32 {
        if a == none { return b }
        if b == none { return a }
        if nodes[Int(a)].priority > nodes[Int(b)].priority {
            nodes[Int(a)].right = join(nodes, nodes[Int(a)].right, b)
            return a
        }
        nodes[Int(b)].left = join(nodes, a, nodes[Int(b)].left)
        return b
    }
}
