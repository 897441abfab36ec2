import CTileShims

/// Memory that will be read soon, as a list of ranges, and how much of it to bring to L2 at a time: a burst would wait for
/// the few misses that a core can have under way.
struct AheadLines {
    private let list: UnsafeMutableRawPointer  // address and lines of each range
    private var at: UnsafeRawPointer           // in the range that is being fetched
    private var left: Int                      // lines of it
    private var next = 0, end = 0              // in the list, in bytes
    private var perStep = 0
    private var total = 0

    /// Nothing. list: 16 bytes for each range to come.
    @inline(__always)
    init(_ list: UnsafeMutableRawPointer) {
        self.list = list
        at = UnsafeRawPointer(list)
        left = 0
    }

    @inline(__always)
    mutating func add(_ first: UnsafeRawPointer, _ bytes: Int) {
        let lines = (bytes + 63) / 64
        list.storeBytes(of: first, toByteOffset: end, as: UnsafeRawPointer.self)
        list.storeBytes(of: lines, toByteOffset: end + 8, as: Int.self)
        end += 16
        total += lines
    }

    @inline(__always)
    mutating func spread(over steps: Int) { perStep = (total + steps - 1) / steps }

    @inline(__always)
    mutating func stop() { perStep = 0 }

    @inline(__always)
    mutating func fetch() {
        var count = perStep
        while count > 0 {
            if left == 0 {
                if next == end { return }
                at = list.load(fromByteOffset: next, as: UnsafeRawPointer.self)
                left = list.load(fromByteOffset: next + 8, as: Int.self)
                next += 16
            } else {
                sx_prefetch_l2(at)
                at += 64
                left -= 1
                count -= 1
            }
        }
    }
}
