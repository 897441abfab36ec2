@testable import SparamxCore
import XCTest

/// Ranges with values, against a sorted array.
final class RangeTreeTests: XCTestCase {
    func testAgainstAnArray() throws {
        var random = Random(3)
        var tree = RangeTree(), ranges: [(begin: Int, end: Int, value: Int)] = []
        defer { tree.release() }
        for step in 0..<20_000 {
            let begin = random.below(500) * 4, end = begin + 1 + random.below(4)
            if let i = ranges.firstIndex(where: { $0.begin == begin }) {
                tree.remove(begin)
                ranges.remove(at: i)
            } else {
                try tree.reserve(1)
                tree.insert(begin, end, value: step)
                ranges.append((begin, end, step))
            }
            XCTAssertEqual(tree.count, ranges.count)
            let position = random.below(2100) - 50
            let expected = ranges.filter { $0.end > position }.min { $0.begin < $1.begin }
            let found = tree.first(endingAfter: position)
            XCTAssertEqual(found?.begin, expected?.begin)
            XCTAssertEqual(found?.end, expected?.end)
            XCTAssertEqual(found?.value, expected?.value)
        }
        tree.remove(-1)
        XCTAssertEqual(tree.count, ranges.count, "what is not there cannot be taken out")
    }

    /// In rising order, the usual one, a tree that is not kept flat is a list: quadratic work, and as much stack.
    func testRisingOrder() throws {
        let few = Array(0..<1_250), many = Array(0..<20_000)
        for (few, many) in [(few, many), (few.reversed(), many.reversed())] {
            // 16 times as many: about 25 times the work; that of a list would be 256 times as much.
            let less = try seconds(few), more = try seconds(many)
            if more > 90 * less { return XCTFail("20,000 ranges in order take \(more) s, 1,250 \(less) s") }
        }
        var tree = RangeTree()
        defer { tree.release() }
        for i in 0..<300_000 {
            try tree.reserve(1)
            tree.insert(2 * i, 2 * i + 1, value: i)
        }
        for i in stride(from: 0, to: 300_000, by: 7) { XCTAssertEqual(tree.first(endingAfter: 2 * i)?.value, i) }
    }

    /// CPU time of inserting ranges in this order and finding each, the least of three.
    private func seconds(_ order: [Int]) throws -> Double {
        func now() -> Double {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
        }
        var least = Double.infinity
        for _ in 0..<3 {
            let start = now()
            var tree = RangeTree()
            defer { tree.release() }
            for i in order {
                try tree.reserve(1)
                tree.insert(2 * i, 2 * i + 1, value: i)
            }
            for i in order where tree.first(endingAfter: 2 * i)?.value != i { XCTFail("\(i) is not found") }
            least = min(least, now() - start)
        }
        return least
    }
}
