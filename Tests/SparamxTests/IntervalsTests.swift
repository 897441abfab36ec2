@testable import SparamxCore
import XCTest

/// Ranges of bytes that have arrived, against an array of flags.
final class IntervalsTests: XCTestCase {
    private func check(_ intervals: Intervals, _ flags: [Bool], _ label: String) {
        XCTAssertEqual(intervals.covers(flags.count), flags.allSatisfy { $0 }, label)
        XCTAssertEqual(intervals.total, flags.filter { $0 }.count, label)
        // As few ranges as there are runs.
        let runs = flags.indices.filter { flags[$0] && ($0 == 0 || !flags[$0 - 1]) }.count
        XCTAssertEqual(intervals.count, runs, label)
    }

    func testAgainstFlags() throws {
        var random = Random(1)
        for round in 0..<2000 {
            let size = 1 + random.below(60)
            var intervals = Intervals(), flags = [Bool](repeating: false, count: size)
            for _ in 0..<10 {
                let pieces = random.below(5), before = flags
                var larger = try intervals.copy(room: pieces)
                for _ in 0..<pieces {
                    var begin = random.below(size + 1), end = random.below(size + 1)
                    if end < begin { swap(&begin, &end) }
                    larger.insert(begin, end)
                    for i in begin..<end { flags[i] = true }
                }
                check(larger, flags, "round \(round)")
                check(intervals, before, "round \(round), the one copied from")
                intervals.release()
                intervals = larger
            }
            intervals.release()
        }
    }

    func testManyPiecesInAnyOrder() throws {
        var random = Random(2)
        var intervals = try Intervals().copy(room: 1000)
        defer { intervals.release() }
        for (i, piece) in Array(0..<1000).shuffled(using: &random).enumerated() {
            XCTAssertFalse(intervals.covers(10_000))
            XCTAssertEqual(intervals.total, 10 * i)
            intervals.insert(piece * 10, piece * 10 + 10)
        }
        XCTAssertTrue(intervals.covers(10_000))
        XCTAssertFalse(intervals.covers(10_001))
        XCTAssertEqual(intervals.count, 1)
    }

    func testEmpty() throws {
        var intervals = Intervals()
        XCTAssertFalse(intervals.covers(1))
        XCTAssertEqual(intervals.total, 0)
        var other = try intervals.copy(room: 0)
        other.insert(3, 3)
        XCTAssertEqual(other.count, 0)
        other.release()
        intervals.release()
        intervals.release()
        XCTAssertEqual(intervals.count, 0)
    }
}
