/// Which bytes of a tensor have arrived: disjoint ranges that do not touch. Adding one takes time logarithmic in their
/// number, averaged over all that were added.
struct Intervals {
    private var tree = RangeTree()
    /// Bytes covered.
    private(set) var total = 0
    var count: Int { tree.count }

    /// Makes room for this many more insertions, so that they cannot fail.
    mutating func reserve(_ insertions: Int) throws(Status) { try tree.reserve(insertions) }

    mutating func insert(_ begin: Int, _ end: Int) {
        guard begin < end else { return }
        // The ranges that touch the new one become one with it.
        var begin = begin, end = end
        while let range = tree.first(endingAfter: begin - 1), range.begin <= end {
            tree.remove(range.begin)
            total -= range.end - range.begin
            begin = min(begin, range.begin)
            end = max(end, range.end)
        }
        tree.insert(begin, end, value: 0)
        total += end - begin
    }

    /// How many bytes of begin..<end have not arrived.
    func missing(_ begin: Int, _ end: Int) -> Int {
        var missing = 0, at = begin
        while at < end {
            guard let range = tree.first(endingAfter: at), range.begin < end else { return missing + end - at }
            missing += max(0, range.begin - at)
            at = range.end
        }
        return missing
    }

    mutating func removeAll() {
        tree.removeAll()
        total = 0
    }

    mutating func release() {
        tree.release()
        total = 0
    }
}
