@testable import SparamxCore
import XCTest

/// Ranges of bytes that have arrived, against an array of flags.
final class IntervalsTests: XCTestCase {
    private func check(_ intervals: Intervals, _ flags: [Bool], _ label: String) {
        XCTAssertEqual(intervals.total, flags.filter { $0 }.count, label)
        // As few ranges as there are runs.
        let runs = flags.indices.filter { flags[$0] && ($0 == 0 || !flags[$0 - 1]) }.count
        XCTAssertEqual(intervals.count, runs, label)
    }

    private func piece(_ size: Int, _ random: inout Random) -> (begin: Int, end: Int) {
        let a = random.below(size + 1), b = random.below(size + 1)
        return (min(a, b), max(a, b))
    }

    func testAgainstFlags() throws {
        var random = Random(1)
        for round in 0..<2000 {
            let size = 1 + random.below(60)
            var intervals = Intervals(), flags = [Bool](repeating: false, count: size)
            for _ in 0..<20 {
                let asked = piece(size, &random)
                XCTAssertEqual(intervals.missing(asked.begin, asked.end),
                               flags[asked.begin..<asked.end].filter { !$0 }.count)
                let (begin, end) = piece(size, &random)
                try intervals.reserve(1)
                intervals.insert(begin, end)
                for i in begin..<end { flags[i] = true }
                check(intervals, flags, "round \(round)")
            }
            if round % 2 == 0 {
                intervals.removeAll()
                check(intervals, [Bool](repeating: false, count: size), "round \(round), emptied")
            }
            intervals.release()
        }
    }

    func testManyPiecesInAnyOrder() throws {
        var random = Random(2)
        var intervals = Intervals()
        defer { intervals.release() }
        try intervals.reserve(1000)
        for (i, piece) in Array(0..<1000).shuffled(using: &random).enumerated() {
            XCTAssertEqual(intervals.total, 10 * i)
            XCTAssertEqual(intervals.missing(0, 10_000), 10_000 - 10 * i)
            intervals.insert(piece * 10, piece * 10 + 10)
        }
        XCTAssertEqual(intervals.missing(0, 10_001), 1)
        XCTAssertEqual(intervals.count, 1)
    }

    func testEmpty() throws {
        var intervals = Intervals()
        XCTAssertEqual(intervals.total, 0)
        XCTAssertEqual(intervals.missing(0, 7), 7)
        intervals.insert(3, 3)
        XCTAssertEqual(intervals.count, 0)
        intervals.release()
        intervals.release()
        XCTAssertEqual(intervals.count, 0)
    }
}
