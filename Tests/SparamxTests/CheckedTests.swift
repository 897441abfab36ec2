@testable import SparamxCore
import XCTest

/// Sizes: what does not fit is a status, never a trap.
final class CheckedTests: XCTestCase {
    private func result(_ body: () throws(Status) -> Int) -> Int? {
        do throws(Status) { return try body() } catch {
            XCTAssertEqual(error, .range)
            return nil
        }
    }

    private let numbers = [0, 1, 2, 3, 63, 64, 4096, 1 << 31, (1 << 31) + 1, 3_037_000_499, 3_037_000_500, 1 << 40,
                           1 << 61, (1 << 62) - 1, 1 << 62, (1 << 62) + 1, .max - 1, .max]

    func testProductAndSum() {
        for a in numbers {
            for b in numbers {
                let (product, productOverflow) = a.multipliedReportingOverflow(by: b)
                XCTAssertEqual(result { () throws(Status) in try Checked.product(a, b) },
                               productOverflow || product > 1 << 62 ? nil : product, "\(a) * \(b)")
                let (sum, sumOverflow) = a.addingReportingOverflow(b)
                XCTAssertEqual(result { () throws(Status) in try Checked.sum(a, b) },
                               sumOverflow || sum > 1 << 62 ? nil : sum, "\(a) + \(b)")
            }
        }
        // Two numbers that passed can be added without a trap.
        XCTAssertNil(result { () throws(Status) in try Checked.sum(Checked.limit, Checked.limit) })
    }

    func testNegativeResultsAreRefused() {
        for (a, b) in [(-1, 1), (Int.min, 1), (Int.min, -1), (Int.min, .max), (1, Int.min)] {
            XCTAssertNil(result { () throws(Status) in try Checked.product(a, b) }, "\(a) * \(b)")
        }
        for (a, b) in [(-1, 0), (Int.min, 0), (Int.min, -1), (Int.min, .max)] {
            XCTAssertNil(result { () throws(Status) in try Checked.sum(a, b) }, "\(a) + \(b)")
        }
    }

    func testRoundUp() {
        for multiple in [1, 16, 32, 64, 256, 4096] {
            for a in 0..<600 {
                XCTAssertEqual(result { () throws(Status) in try Checked.roundUp(a, to: multiple) },
                               (a + multiple - 1) / multiple * multiple)
            }
            XCTAssertNil(result { () throws(Status) in try Checked.roundUp(.max, to: multiple) })
            XCTAssertEqual(result { () throws(Status) in try Checked.roundUp(1 << 62, to: multiple) },
                           multiple == 1 ? 1 << 62 : nil)
        }
    }

    func testSize() {
        XCTAssertEqual(result { () throws(Status) in try Checked.size(0) }, 0)
        XCTAssertEqual(result { () throws(Status) in try Checked.size(1 << 62) }, 1 << 62)
        for value in [(UInt64(1) << 62) + 1, 1 << 63, .max] {
            XCTAssertNil(result { () throws(Status) in try Checked.size(value) })
        }
    }

    func testPart() {
        func fits(_ offset: Int, _ size: Int, _ total: Int) -> Bool {
            result { () throws(Status) in
                try Checked.checkRange(offset, size, within: total)
                return 1
            } != nil
        }
        for total in 0...6 {
            for offset in -3...8 {
                for size in -3...8 {
                    XCTAssertEqual(fits(offset, size, total), offset >= 0 && size >= 0 && offset + size <= total,
                                   "\(offset) + \(size) of \(total)")
                }
            }
        }
        for (offset, size) in [(Int.max, 1), (1, Int.max), (.max, .max), (.min, .min), (.min, .max), (-1, .max),
                               (.max, -1)] {
            XCTAssertFalse(fits(offset, size, 100), "\(offset) + \(size)")
        }
    }
}
