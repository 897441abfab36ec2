import CPlatform

/// Finds the slot that starts on a page of a buffer, without a lock. Two levels: address space that nobody uses costs
/// next to no memory.
struct SlotIndex {
    private static let leafPages = 4096

    private let leaves: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    private let count: Int

    init(pages: Int) throws(Status) {
        count = (pages + SlotIndex.leafPages - 1) / SlotIndex.leafPages
        guard let memory = sx_allocate(try Checked.product(count, 8)) else { throw .noMemory }
        leaves = memory.bindMemory(to: UnsafeMutableRawPointer?.self, capacity: count)
    }

    /// From any thread, beside the functions below.
    func slot(on page: Int) -> UnsafeMutablePointer<Slot>? {
        guard let entry = entry(page) else { return nil }
        return sx_load_acquire(entry)?.assumingMemoryBound(to: Slot.self)
    }

    /// Makes `set` possible for a page. Under the buffer's lock, as what follows.
    func reserve(_ page: Int) throws(Status) {
        if entry(page) != nil { return }
        guard let leaf = sx_allocate(SlotIndex.leafPages * 8) else { throw .noMemory }
        sx_store_release(leaves + page / SlotIndex.leafPages, leaf)
    }

    func set(_ page: Int, _ slot: UnsafeMutablePointer<Slot>?) {
        if let entry = entry(page) { sx_store_release(entry, slot) }
    }

    func release() {
        for i in 0..<count { sx_free(leaves[i]) }
        sx_free(leaves)
    }

    private func entry(_ page: Int) -> UnsafeMutablePointer<UnsafeMutableRawPointer?>? {
        guard let leaf = sx_load_acquire(leaves + page / SlotIndex.leafPages) else { return nil }
        return leaf.assumingMemoryBound(to: UnsafeMutableRawPointer?.self) + page % SlotIndex.leafPages
    }
}
