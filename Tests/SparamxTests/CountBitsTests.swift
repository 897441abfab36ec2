@testable import SparamxCore
import XCTest

final class CountBitsTests: XCTestCase {
    /// Every length up to two rounds of each loop, with all, no, some and random bits, at odd places.
    func testCountsWhatIsThere() {
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        func random() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }
        let some = { random() & random() & random() }
        let fills: [() -> UInt64] = [{ 0 }, { ~0 }, { 0x8000_0000_0000_0001 }, random, some]
        for fill in fills {
            let words = (0..<140).map { _ in fill() }
            words.withUnsafeBufferPointer { words in
                for first in 0..<3 {
                    for count in 0...(words.count - first) {
                        let expected = words[first..<(first + count)].reduce(0) { $0 + $1.nonzeroBitCount }
                        XCTAssertEqual(countBits(words.baseAddress! + first, count), expected, "\(first) \(count)")
                    }
                }
            }
        }
    }
}
