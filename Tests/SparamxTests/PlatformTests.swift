import CPlatform
import Foundation
import XCTest

/// What CPlatform promises of threads, signals and names in the log, asked of it directly.
final class PlatformTests: XCTestCase {
    private static let faults = [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT]
    // SIGKILL and SIGSTOP cannot be blocked, and the C library keeps the two behind SIGSYS for itself.
    private static let others = (1...64).map { Int32($0) }.filter {
        ![SIGKILL, SIGSTOP, 32, 33].contains($0) && !faults.contains($0)
    }

    private static func mask() -> Set<Int32> {
        var set = sigset_t()
        pthread_sigmask(SIG_BLOCK, nil, &set)
        return Set((1...64).map { Int32($0) }.filter { sigismember(&set, $0) == 1 })
    }

    /// What the four parts of a task find. They meet before they end, so each has a thread of its own.
    private final class Parts {
        let barrier = Barrier(4), lock = NSLock(), body: () -> Any
        var found = [Any?](repeating: nil, count: 4)

        init(_ body: @escaping () -> Any) { self.body = body }

        func run() -> [Any?] {
            withExtendedLifetime(self) {
                sx_parallel(4, { index, _, pointer in
                    let parts = Unmanaged<Parts>.fromOpaque(pointer).takeUnretainedValue(), found = parts.body()
                    parts.lock.withLock { parts.found[Int(index)] = found }
                    Barrier.wait(parts.barrier.pointer)
                }, Unmanaged.passUnretained(self).toOpaque())
            }
            return found
        }
    }

    private func onEachThread<T>(_ body: @escaping () -> T) -> [T] { Parts(body).run().map { $0 as! T } }

    /// What is sent to the process is for the host's threads; a fault is for the thread that caused it.
    func testSignalsOnPackingThreads() {
        let before = Self.mask()
        for (index, mask) in onEachThread(Self.mask).enumerated() {
            if index == 0 {
                XCTAssertEqual(mask, before, "the caller's own part")
            } else {
                for signal in Self.others { XCTAssertTrue(mask.contains(signal), "signal \(signal) on part \(index)") }
                for signal in Self.faults { XCTAssertFalse(mask.contains(signal), "signal \(signal) on part \(index)") }
            }
        }
    }

    func testSignalMaskOfTheCaller() {
        for blocked in [[], [SIGUSR2], [SIGTERM, SIGSEGV, SIGCHLD]] {
            var set = sigset_t(), old = sigset_t()
            sigemptyset(&set)
            for signal in blocked { sigaddset(&set, signal) }
            pthread_sigmask(SIG_SETMASK, &set, &old)
            let before = Self.mask()
            _ = onEachThread { 0 }
            let after = Self.mask()
            pthread_sigmask(SIG_SETMASK, &old, nil)
            XCTAssertEqual(before, Set(blocked))
            XCTAssertEqual(after, before)
        }
    }

    /// Joining would be a place where the caller can be cancelled.
    func testNotCancelled() {
        func state() -> Int32 {
            let found = sx_cancel_off()
            sx_cancel_restore(found)
            return found
        }
        let before = state()
        XCTAssertEqual(onEachThread(state)[0], Int32(PTHREAD_CANCEL_DISABLE), "while packing threads run")
        XCTAssertEqual(state(), before)
        let disabled = sx_cancel_off()
        _ = onEachThread { 0 }
        XCTAssertEqual(state(), Int32(PTHREAD_CANCEL_DISABLE), "a caller that cannot be cancelled stays so")
        sx_cancel_restore(disabled)
    }

    private func clean(_ text: [UInt8], room: Int = 101) -> [UInt8] {
        let from = Region(text.count + 1), to = Region(room)  // nothing is read or written beyond them
        from.base.copyMemory(from: text + [0], byteCount: text.count + 1)
        sx_log_clean(to.base.assumingMemoryBound(to: CChar.self), room, from.base.assumingMemoryBound(to: CChar.self))
        XCTAssertTrue(to.intact)
        return Array((0..<room).map { to.octets[$0] }.prefix { $0 != 0 })
    }

    /// Names come from files: what reaches a log is one line of text without any command to a terminal.
    func testNamesInTheLog() {
        for good in ["", "blk.0.ffn_up.weight", "Gewicht ä ö ü ß", "重み", "🦙",
                     "\u{a0}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}"] {
            XCTAssertEqual(clean(Array(good.utf8)), Array(good.utf8))
        }
        for bad in [UInt8](1..<0x20) + [0x7f] { XCTAssertEqual(clean([0x61, bad, 0x62]), Array("a?b".utf8), "\(bad)") }
        for second in UInt8(0x80)..<0xa0 {
            XCTAssertEqual(clean([0xc2, second]), Array("??".utf8), "a control above 127")
        }
        // Broken off, without its first byte, too long, surrogates, beyond Unicode.
        let broken: [[UInt8]] = [
            [0xc3], [0xa4], [0xe9, 0x87], [0xf0, 0x9f, 0xa6], [0xc0, 0x9b], [0xc1, 0xbf], [0xe0, 0x9f, 0xbf], [0xff],
            [0xf0, 0x8f, 0xbf, 0xbf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80],
        ]
        for bytes in broken {
            let marks = [UInt8](repeating: 0x3f, count: bytes.count)
            XCTAssertEqual(clean(bytes), marks, "\(bytes)")
            XCTAssertEqual(clean(bytes + [0x61]), marks + [0x61], "\(bytes) and more")
        }
        // A first byte does not hide an escape character behind it.
        for first: UInt8 in [0xc3, 0xe9, 0xf0] { XCTAssertEqual(clean([first, 0x1b, 0x5b]), Array("??[".utf8)) }
        // Any bytes: what comes out is UTF-8 without controls, and no longer.
        var random = Random(5)
        for _ in 0..<5000 {
            let text = (0..<random.below(40)).map { _ in UInt8(1 + random.below(255)) }, room = 1 + random.below(40)
            let out = clean(text, room: room)
            XCTAssertLessThanOrEqual(out.count, min(text.count, room - 1))
            let shown = String(validating: out, as: UTF8.self)
            XCTAssertNotNil(shown, "\(text)")
            let controls = (shown ?? "").unicodeScalars.filter { $0.value < 0x20 || (0x7f..<0xa0).contains($0.value) }
            XCTAssertEqual(controls.count, 0, "\(text)")
        }
    }
}
