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
        for order in [Array(0..<20_000), (0..<20_000).reversed()] {
            var tree = RangeTree()
            defer { tree.release() }
            for i in order {
                try tree.reserve(1)
                tree.insert(2 * i, 2 * i + 1, value: i)
            }
            // Random priorities: about 4.3 times the natural logarithm, 43; a list would be 20,000 deep.
            if tree.depth > 100 { return XCTFail("20,000 ranges in order are \(tree.depth) deep") }
            for i in order where tree.first(endingAfter: 2 * i)?.value != i { XCTFail("\(i) is not found") }
        }
        var tree = RangeTree()
        defer { tree.release() }
        for i in 0..<300_000 {
            try tree.reserve(1)
            tree.insert(2 * i, 2 * i + 1, value: i)
        }
        for i in stride(from: 0, to: 300_000, by: 7) { XCTAssertEqual(tree.first(endingAfter: 2 * i)?.value, i) }
    }
}
