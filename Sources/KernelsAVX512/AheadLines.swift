import CKernelABI
import CInstructions

/// Memory that will be read soon, as a list of ranges, and how much of it to bring to L2 at a time: a burst would wait
/// for the few misses that a core can have under way.
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

    /// All of it in so many calls of fetch.
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

/// What a pair of panels of BF16 or F16 and a chunk need. A pair below 0: nothing. list: 64 bytes.
@inline(__always)
func wideAhead(_ args: sx_kernel_args, sparse: Bool, coded: Bool = false, _ pair: Int, _ chunk: Int, steps: Int,
               _ list: UnsafeMutableRawPointer) -> AheadLines {
    var ahead = AheadLines(list)
    if pair < 0 { return ahead }
    let block = chunk * 16, blocks = min(16, Int(args.w.kblocks) - block)
    var side = 0
    while side < 2 {
        let panel = min(pair + side, Int(args.panel_end) - 1)
        if sparse || coded {
            let entries = args.w.offsets.unsafelyUnwrapped + panel * Int(args.w.chunks)
            let begin = Int(sx_offset_bytes(entries[chunk * 2]))
            let end = Int(sx_offset_bytes(entries[min(chunk * 2 + 2, Int(args.w.chunks))]))
            ahead.add(UnsafeRawPointer(args.w.values) + begin, end - begin)
            if sparse {
                let masks = args.w.bitmap.unsafelyUnwrapped + (panel * Int(args.w.kblocks) + block) * 64
                ahead.add(UnsafeRawPointer(masks), blocks * 64)
            }
        } else {
            ahead.add(denseTile(args, panel, block), blocks * 1024)
        }
        side += 1
    }
    ahead.spread(over: steps)
    return ahead
}
