import CPlatform

/// Which bytes of a tensor have arrived: disjoint, rising half-open ranges.
struct Intervals {
    private var ranges: UnsafeMutablePointer<(begin: Int, end: Int)>?
    private var capacity = 0
    private(set) var count = 0

    init() { ranges = nil }

    /// The same ranges in memory of their own, with room for this many more, so that inserting those cannot fail.
    func copy(room: Int) throws(Status) -> Intervals {
        var other = Intervals()
        other.capacity = try Checked.sum(count, room)
        let bytes = try Checked.product(other.capacity, MemoryLayout<(begin: Int, end: Int)>.stride)
        guard let memory = sx_allocate(bytes) else { throw .noMemory }
        let fresh = memory.assumingMemoryBound(to: (begin: Int, end: Int).self)
        if let ranges { memory.copyMemory(from: ranges, byteCount: count * MemoryLayout<(begin: Int, end: Int)>.stride) }
        other.ranges = fresh
        other.count = count
        return other
    }

    mutating func insert(_ begin: Int, _ end: Int) {
        guard begin < end, let ranges else { return }
        // The ranges that touch the new one become one with it.
        var first = 0
        while first < count && ranges[first].end < begin { first += 1 }
        var last = first
        var merged = (begin: begin, end: end)
        while last < count && ranges[last].begin <= end {
            merged = (min(merged.begin, ranges[last].begin), max(merged.end, ranges[last].end))
            last += 1
        }
        let move = 1 - (last - first)
        if move > 0 {
            var i = count
            while i > last {
                ranges[i] = ranges[i - 1]
                i -= 1
            }
        } else if move < 0 {
            var i = last
            while i < count {
                ranges[i + move] = ranges[i]
                i += 1
            }
        }
        ranges[first] = merged
        count += move
    }

    func covers(_ bytes: Int) -> Bool { count == 1 && ranges![0].begin == 0 && ranges![0].end >= bytes }

    /// Bytes covered.
    var total: Int {
        var sum = 0
        for i in 0..<count { sum += ranges![i].end - ranges![i].begin }
        return sum
    }

    mutating func release() {
        sx_free(ranges)
        ranges = nil
        capacity = 0
        count = 0
    }
}
