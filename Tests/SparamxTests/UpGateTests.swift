import CKernelABI
import Foundation
@testable import SparamxCore
import XCTest

/// The activation of the fused kinds against the C library's double precision, and the levels against each other.
final class UpGateTests: XCTestCase {
    /// Every exponent with some fractions, the range that matters densely, and what is no number.
    private static let gates: [Float] = {
        var random = Random(1)
        var list: [Float] = [0, -0.0, .infinity, -.infinity, .nan, .leastNonzeroMagnitude, .greatestFiniteMagnitude]
        for exponent in 0..<255 {
            for _ in 0..<64 { list.append(Float(bitPattern: random.bits() & 0x807f_ffff | UInt32(exponent) << 23)) }
        }
        for _ in 0..<200_000 { list.append((random.unit() - 0.5) * 260) }
        for _ in 0..<200_000 { list.append((random.unit() - 0.5) * 20) }
        return list
    }()

    private func apply(_ function: GateFunction, _ limit: Float, _ up: [Float], _ gates: [Float],
                       _ isa: ISA) -> [Float] {
        var out = [Float](repeating: .nan, count: gates.count)
        Gate(function: function, limit: limit).apply(up: up, gate: gates, out: &out, count: gates.count, isa: isa)
        return out
    }

    func testAgainstDoublePrecision() {
        for function in [GateFunction.silu, .gelu] {
            let gates = Self.gates
            let values = apply(function, 0, .init(repeating: 1, count: gates.count), gates, .reference)
            var worst = 0.0
            for (g, value) in zip(gates, values) {
                guard g.isFinite else { continue }
                let x = Double(g)
                let z = function == .silu ? x : 2 * (2 / Double.pi).squareRoot() * x * (1 + 0.044715 * x * x)
                let exact = x / (1 + exp(-z))
                // GELU's exponent is a product of rounded numbers: its error grows with its size. Below the normal
                // numbers what is lost is absolute.
                let size = abs(exact) * (function == .gelu ? 1 + abs(z) : 1) + 0x1p-105 * max(1, abs(x))
                let error = abs(Double(value) - exact) / size
                worst = max(worst, error)
                XCTAssertLessThan(error, 0x1p-22, "\(function)(\(g)) is \(value), not \(exact)")
            }
            print("\(function): largest error \(worst * 0x1p24) * 2^-24 of the value"
                  + (function == .gelu ? " times 1 + |z|" : ""))
        }
    }

    func testNotNumbers() {
        for isa in [ISA.reference, .avx512] where Machine.missing(isa) == nil {
            for function in [GateFunction.silu, .gelu] {
                let values = apply(function, 0, [1, 1, 1, 2, .nan], [.nan, .infinity, -200, 0, 1], isa)
                XCTAssertTrue(values[0].isNaN && values[4].isNaN, "\(isa)")
                XCTAssertEqual(values[1], .infinity)
                XCTAssertEqual(values[2], 0)
                XCTAssertEqual(values[3], 0)
            }
        }
    }

    func testLimit() {
        for isa in [ISA.reference, .avx512] where Machine.missing(isa) == nil {
            XCTAssertEqual(apply(.silu, 2, [1, 10, -10, -10], [100, 1, 100, -100], isa)[0], 2)
            let one = apply(.silu, 0, [1], [1], isa)[0]
            XCTAssertEqual(apply(.silu, 2, [1, 10, -10, -10], [100, 1, 100, 0], isa), [2, 2 * one, -4, -0.0])
        }
    }

    func testLevelsAgree() throws {
        try Machine.require(.avx512, "activation")
        var random = Random(5)
        let up = Self.gates.map { _ in random.normal() }
        for function in [GateFunction.silu, .gelu] {
            for limit: Float in [0, 3] {
                let a = apply(function, limit, up, Self.gates, .reference)
                let b = apply(function, limit, up, Self.gates, .avx512)
                for i in a.indices where a[i].bitPattern != b[i].bitPattern && !(a[i].isNaN && b[i].isNaN) {
                    XCTFail("\(function)(\(Self.gates[i])) * \(up[i]): \(a[i]) and \(b[i])")
                }
            }
        }
    }

    /// No float beyond the last is read or written.
    func testEnds() throws {
        for isa in [ISA.reference, .avx512] where Machine.missing(isa) == nil {
            for count in 1...40 {
                let up = Region(count * 4), gate = Region(count * 4), out = Region(count * 4)
                for i in 0..<count { (up.floats[i], gate.floats[i]) = (2, 1) }
                Gate(function: .silu, limit: 0).apply(up: up.floats, gate: gate.floats, out: out.floats,
                                                      count: count, isa: isa)
                let equal = (0..<count).allSatisfy { out.floats[$0] == out.floats[0] && out.floats[0] > 1.4 }
                XCTAssertTrue(out.intact && equal)
            }
        }
    }
}
