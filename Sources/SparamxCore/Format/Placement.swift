import CKernelABI
import CPlatform

/// Where packed bytes are on a machine with several memory nodes. Nothing here can fail: where memory cannot be placed,
/// it lies as it would without being asked, and results are the same.
package enum NumaChoice: Int32 {
    case automatic = 0, interleave = 1, mirror = 2, distribute = 3
}

/// The further copies of a packed weight, one for each place but the first: one mapping, copy after copy.
enum Mirror {
    /// From one copy to the next. What is packed has room above it: sizes end far below what Int can count.
    static func stride(_ bytes: Int) -> Int {
        let huge = 2 << 20, unit = bytes >= 2 * huge ? huge : 4096
        return (bytes + unit - 1) / unit * unit
    }

    /// Address space for the copies of this many bytes; nil if there is one place only, or none to be had.
    static func reserve(_ bytes: Int) -> UnsafeMutableRawPointer? {
        let copies = Int(sx_numa_places()) - 1, stride = stride(bytes)
        if copies < 1 { return nil }
        let (all, overflow) = stride.multipliedReportingOverflow(by: copies)
        guard !overflow, let base = sx_map(all) else { return nil }
        let used = (bytes + 4095) / 4096 * 4096
        for copy in 0..<copies {
            let at = base + copy * stride
            // What is left of the last frame must not become a part of a huge page.
            if used < stride { sx_give_back(at + used, stride - used) }
            sx_huge_pages(at, bytes)
            _ = sx_numa_place(at, used, Int32(copy + 1))
        }
        return base
    }

    private struct Job {
        let original, mirror: UnsafeMutableRawPointer
        let bytes: Int

        /// Whole pages, so that no two threads touch one.
        func copyShare(_ index: Int, of count: Int) {
            let pages = (bytes + 4095) / 4096, from = pages * index / count * 4096
            let to = min(pages * (index + 1) / count * 4096, bytes)
            if from >= to { return }
            for copy in 0..<Int(sx_numa_places()) - 1 {
                (mirror + (copy * Mirror.stride(bytes) + from)).copyMemory(from: original + from, byteCount: to - from)
            }
        }
    }

    /// Makes every copy what the original is.
    static func fill(_ mirror: UnsafeMutableRawPointer, from original: UnsafeMutableRawPointer, bytes: Int,
                     threads: Int32) {
        var job = Job(original: original, mirror: mirror, bytes: bytes)
        withUnsafeMutablePointer(to: &job) { pointer in
            sx_parallel(threads, { index, count, context in
                context.assumingMemoryBound(to: Job.self).pointee.copyShare(Int(index), of: Int(count))
            }, pointer)
        }
    }
}

extension PackedTensor {
    /// Asks for the pages of a fresh mapping where the choice wants them. Before anything is written there.
    func place(_ choice: NumaChoice, counted: UnsafePointer<UInt64>) {
        switch choice {
        case .automatic: return
        case .interleave: interleave()
        case .mirror:
            // One copy that could not be had leaves all threads with this one.
            if mirror == nil { interleave() } else { _ = sx_numa_place(base, layout.totalBytes, 0) }
        case .distribute:
            // Which experts work, and so which thread reads what, changes with every token.
            if layout.matrices > 1 { interleave() } else { distribute(counted) }
        }
    }

    private func interleave() { _ = sx_numa_interleave(base, layout.totalBytes) }

    /// Each place gets what its threads read, if as many threads are near one place as near another: the panels between
    /// its boundary and the next place's, of each stream. The page in the middle of which a boundary lies is the
    /// later one's.
    private func distribute(_ counted: UnsafePointer<UInt64>) {
        let places = Int(sx_numa_places())
        var first = 0
        for place in 0..<places {
            let end = place + 1 == places
                ? layout.panels : Schedule.panel(self, counted, ofPart: place + 1, of: places)
            let tiles = first * layout.kblocks, ends = end * layout.kblocks
            let mask = layout.sparse ? layout.type.maskBytes : 0
            let entries = layout.hasOffsets ? layout.chunks * 8 : 0
            put(place, valueOffset(panel: first, counted), valueOffset(panel: end, counted))
            put(place, layout.bitmapOffset + tiles * mask, layout.bitmapOffset + ends * mask)
            put(place, layout.sideOffset + layout.sideBytes(before: first),
                layout.sideOffset + layout.sideBytes(before: end))
            put(place, layout.offsetsOffset + first * entries, layout.offsetsOffset + end * entries)
            first = end
        }
    }

    private func put(_ place: Int, _ from: Int, _ to: Int) {
        let page = 4096, begin = from / page * page, end = to / page * page
        if begin < end { _ = sx_numa_place(base + begin, end - begin, Int32(place)) }
    }

    /// The copy that is nearest to the CPU the calling thread is on. A thread that moves on meanwhile reads another
    /// one's copy, which is the same and only slower.
    package var here: PackedTensor {
        guard mirror != nil else { return self }
        return copy(Int(sx_numa_here()))
    }

    /// Copies there are.
    package var copies: Int { mirror == nil ? 1 : Int(sx_numa_places()) }

    /// Copy 0...copies-1; beyond, the first.
    package func copy(_ index: Int) -> PackedTensor {
        guard let mirror, index >= 1, index < copies else { return self }
        return PackedTensor(layout: layout, base: mirror + (index - 1) * Mirror.stride(bytes), background: background,
                            reason: reason, largestPanel: largestPanel)
    }

    func releaseMirror() { if let mirror { sx_unmap(mirror, Mirror.stride(bytes) * (copies - 1)) } }
}
