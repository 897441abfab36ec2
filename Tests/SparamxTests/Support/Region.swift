import Glibc

/// Memory between two pages that cannot be touched, so that a kernel that reads or writes beyond it dies at once. The
/// data lies flush with the page behind it or close to the page before it; what is left of the pages holds a pattern
/// that must not change.
final class Region: @unchecked Sendable {
    enum Edge { case front, back }

    let base: UnsafeMutableRawPointer
    let bytes: Int
    private let map: UnsafeMutableRawPointer
    private let mapped: Int
    private static let page = 4096, canary: UInt8 = 0xa5

    /// distance: bytes between the data and the guard page at that edge.
    init(_ bytes: Int, edge: Edge = .back, distance: Int = 0) {
        self.bytes = bytes
        mapped = (bytes + distance + Self.page - 1) / Self.page * Self.page + 2 * Self.page
        map = mmap(nil, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
        precondition(map != MAP_FAILED && mprotect(map, Self.page, PROT_NONE) == 0
            && mprotect(map + (mapped - Self.page), Self.page, PROT_NONE) == 0)
        base = edge == .front ? map + (Self.page + distance) : map + (mapped - Self.page - distance - bytes)
        memset(map + Self.page, Int32(Self.canary), base - map - Self.page)
        memset(base + bytes, Int32(Self.canary), map + (mapped - Self.page) - (base + bytes))
    }

    deinit { munmap(map, mapped) }

    var floats: UnsafeMutablePointer<Float> { base.assumingMemoryBound(to: Float.self) }
    var octets: UnsafeMutablePointer<UInt8> { base.assumingMemoryBound(to: UInt8.self) }

    func fill(_ value: UInt8) { memset(base, Int32(value), bytes) }

    /// Nothing around the data has changed.
    var intact: Bool {
        func clean(_ from: UnsafeMutableRawPointer, _ to: UnsafeMutableRawPointer) -> Bool {
            var p = from
            while p < to {
                if p.load(as: UInt8.self) != Self.canary { return false }
                p += 1
            }
            return true
        }
        return clean(map + Self.page, base) && clean(base + bytes, map + (mapped - Self.page))
    }
}

/// Runs body(0..<count) on as many threads of their own; one runs in the caller.
func inParallel(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    final class Task: @unchecked Sendable {
        let index: Int
        let body: @Sendable (Int) -> Void
        init(_ index: Int, _ body: @escaping @Sendable (Int) -> Void) {
            self.index = index
            self.body = body
        }
    }
    if count == 1 { return body(0) }
    let threads = (0..<count).map { index -> pthread_t in
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(Task(index, body)).toOpaque()
        let status = pthread_create(&thread, nil, { argument in
            let task = Unmanaged<Task>.fromOpaque(argument!).takeRetainedValue()
            task.body(task.index)
            return nil
        }, argument)
        precondition(status == 0)
        return thread
    }
    for thread in threads { pthread_join(thread, nil) }
}

/// A barrier in the form the library takes it.
final class Barrier: @unchecked Sendable {
    let pointer = UnsafeMutablePointer<pthread_barrier_t>.allocate(capacity: 1)

    init(_ count: Int) { precondition(pthread_barrier_init(pointer, nil, UInt32(count)) == 0) }

    deinit {
        pthread_barrier_destroy(pointer)
        pointer.deallocate()
    }

    static let wait: @convention(c) (UnsafeMutableRawPointer?) -> Void = { data in
        _ = pthread_barrier_wait(data!.assumingMemoryBound(to: pthread_barrier_t.self))
    }
}
