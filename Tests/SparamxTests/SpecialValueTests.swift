@testable import SparamxCore
import XCTest

/// NaN, infinities, zeros of both signs, subnormals and numbers at the end of the range: they stay in the rows and
/// columns they belong to, and nothing crashes.
final class SpecialValueTests: XCTestCase {
    private let n = 50

    private func k(_ row: KernelRow) -> Int { whole(row.type, 96) }

    private func tokens(_ row: KernelRow) -> [Int] {
        Set([row.serves.lowerBound, min(row.serves.upperBound, 20), min(row.serves.upperBound, 40)]).sorted()
    }

    private func eachRow(_ body: (Int, KernelRow, Int) throws -> Void) rethrows {
        for (index, row) in runnableRows() {
            for m in tokens(row) { try body(index, row, m) }
        }
    }

    private func product(_ index: Int, _ row: KernelRow, _ weights: Matrix, _ x: Tokens) throws -> Results {
        let tensor = try weights.pack(row.sparse ? .sparse : .dense)
        defer { tensor.release() }
        let y = Results(m: x.m, n: n, ld: n)
        let plan = try Plan(tensor.layout, m: x.m, threads: 2, isa: row.isa, forced: index)
        if let trouble = multiply(plan, tensor, x, y) { XCTFail("\(row.label) m \(x.m): \(trouble)") }
        return y
    }

    /// Weights of three columns become special: NaN in 5, +inf in 21, -inf in 49. False if the type has no such
    /// numbers.
    private func spoil(_ weights: inout Matrix) -> Bool {
        if let block = weights.block {
            guard let at = block.halves.first else { return false }
            let last = weights.k / block.elements - 1
            weights.setHalf(5, min(1, last), at, 0x7e00)
            weights.setHalf(21, min(2, last), at, 0x7c00)
            weights.setHalf(49, 0, at, 0xfc00)
            return true
        }
        let half = weights.type.number == f16
        weights.setCode(5, 70, half ? 0x7c01 : 0x7f81)  // signalling
        weights.setCode(21, 3, half ? 0x7c00 : 0x7f80)
        weights.setCode(49, 95, half ? 0xfc00 : 0xff80)
        return true
    }

    func testWeightsThatAreNoNumbersStayInTheirColumns() throws {
        try eachRow { index, row, m in
            let k = k(row)
            var weights = Matrix(row.type, n: n, k: k, zeros: 30, seed: 7)
            let x = Tokens(m: m, k: k, ld: k)
            x.fill(.positive, zeros: false, seed: 8)
            let clean = try product(index, row, weights, x)
            guard spoil(&weights) else { return }
            let y = try product(index, row, weights, x)
            for token in 0..<m {
                for column in 0..<n where column != 5 && column != 21 && column != 49 {
                    XCTAssertEqual(y.bits(token, column), clean.bits(token, column),
                                   "\(row.label) m \(m) [\(token), \(column)]")
                }
                XCTAssertTrue(y[token, 5].isNaN, "\(row.label) m \(m) NaN: \(y[token, 5])")
                if weights.block != nil && row.activation == .bf16 { continue }  // inf * code 0 is NaN there
                if weights.block != nil {
                    XCTAssertFalse(y[token, 21].isFinite, "\(row.label) m \(m) inf: \(y[token, 21])")
                } else {
                    XCTAssertEqual(y[token, 21], .infinity, "\(row.label) m \(m)")
                    XCTAssertEqual(y[token, 49], -.infinity, "\(row.label) m \(m)")
                }
            }
        }
    }

    func testActivationsThatAreNoNumbersStayInTheirRows() throws {
        let specials: [(String, Float)] = [
            ("NaN", .nan), ("signalling NaN", .signalingNaN), ("-NaN", Float(bitPattern: 0xffff_ffff)),
            ("inf", .infinity), ("-inf", -.infinity), ("huge", .greatestFiniteMagnitude), ("3e38", -3e38),
            ("subnormal", .leastNonzeroMagnitude), ("smallest normal", .leastNormalMagnitude), ("-0", -0.0),
        ]
        try eachRow { index, row, m in
            let k = k(row)
            let weights = Matrix(row.type, n: n, k: k, zeros: 50, seed: 17)
            let x = Tokens(m: m, k: k, ld: k + 1)
            x.fill(.normal, zeros: true, seed: 18)
            let clean = try product(index, row, weights, x)
            for (i, (name, value)) in specials.enumerated() {
                let special = i * 7 % m
                let before = x[special, 33]
                x[special, 33] = value
                let y = try product(index, row, weights, x)
                x[special, 33] = before
                for token in 0..<m where token != special {
                    for column in 0..<n {
                        XCTAssertEqual(y.bits(token, column), clean.bits(token, column),
                                       "\(row.label) m \(m) \(name) [\(token), \(column)]")
                    }
                }
                // Left out or not, a zero weight times NaN is NaN.
                if value.isNaN {
                    for column in 0..<n {
                        XCTAssertTrue(y[special, column].isNaN, "\(row.label) m \(m) \(name): \(y[special, column])")
                    }
                }
            }
        }
    }

    /// Everything at the small end of the range at once, against the bound, which accounts for what is flushed.
    func testSubnormalsAndSignedZeros() throws {
        try eachRow { index, row, m in
            let k = k(row)
            var weights = Matrix(row.type, n: n, k: k, zeros: 20, seed: 27)
            var random = Random(28)
            for j in 0..<n {
                for k in 0..<k where weights.block == nil {
                    let small = UInt16(truncatingIfNeeded: random.below(row.type == f16 ? 0x400 : 0x80))
                    switch random.below(4) {
                    case 0: weights.setCode(j, k, 0x8000)
                    case 1: weights.setCode(j, k, small | UInt16(random.below(2)) << 15)
                    default: break
                    }
                }
                for at in weights.block?.halves ?? [] {
                    weights.setHalf(j, 0, at, [0x0000, 0x8000, 0x0001, 0x83ff, 0x0400][j % 5])
                }
                if row.type == q8 { weights.setCode(j, 64, 0x80) }  // -128
            }
            for scale in [Float(1), 0x1p100, 0x1p-120, 0x1p-140] {
                let x = Tokens(m: m, k: k, ld: k)
                x.fill(.normal, zeros: true, seed: 29)
                for token in 0..<m {
                    for k in 0..<k { x[token, k] *= random.below(3) == 0 ? scale : min(scale, 1) }
                    x[token, 5] = -0.0
                }
                let y = try product(index, row, weights, x)
                let oracle = Oracle(weights, matrix: 0, x: x.region.floats, ldx: k, m: m)
                // Below 127 / the largest float the inverse of a quantization step is infinite: codes are anything
                // then.
                if row.activation == .q8 && scale < 1 {
                    for token in 0..<m { for column in 0..<n { XCTAssertTrue(y[token, column].isFinite, row.label) } }
                    continue
                }
                let quantized = row.activation == .q8
                    ? QuantizedOracle(weights, matrix: 0, x: x.region.floats, ldx: k, m: m) : nil
                for token in 0..<m {
                    for column in 0..<n {
                        let bound = quantized?.trueBound(token, column) ?? oracle.bound(row, token, column)
                        let error = abs(Double(y[token, column]) - oracle.y[token * n + column])
                        if !(error <= bound) {
                            return XCTFail("\(row.label) m \(m) scale \(scale) [\(token), \(column)]: "
                                           + "\(y[token, column]) is not \(oracle.y[token * n + column]), "
                                           + "bound \(bound)")
                        }
                    }
                }
            }
        }
    }

    /// Tokens of zeros give zeros, whatever the finite weights.
    func testZeroTokens() throws {
        try eachRow { index, row, m in
            let k = k(row)
            let weights = Matrix(row.type, n: n, k: k, zeros: 10, seed: 37)
            let x = Tokens(m: m, k: k, ld: k)
            x.fill(.normal, zeros: false, seed: 38)
            for token in stride(from: 0, to: m, by: 2) { for k in 0..<k { x[token, k] = k % 2 == 0 ? 0 : -0.0 } }
            let y = try product(index, row, weights, x)
            for token in stride(from: 0, to: m, by: 2) {
                for column in 0..<n { XCTAssertEqual(y[token, column], 0, "\(row.label) m \(m) [\(token), \(column)]") }
            }
        }
    }
}
