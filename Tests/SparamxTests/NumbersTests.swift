import CKernelABI
import Foundation
@testable import KernelsReference
import XCTest

/// The conversions and the fused multiplication that the reference kernels do without the CPU's own.
final class NumbersTests: XCTestCase {
    func testFloatFromF16() {
        for bits in 0...UInt16.max {
            let found = floatFromF16(bits), expected = Float(Float16(bitPattern: bits))
            if expected.isNaN {
                XCTAssertTrue(found.isNaN)
                // Sign and payload stay.
                XCTAssertEqual(found.bitPattern, UInt32(bits & 0x8000) << 16 | 0x7f80_0000 | UInt32(bits & 0x3ff) << 13)
            } else {
                XCTAssertEqual(found.bitPattern, expected.bitPattern, "0x\(String(bits, radix: 16))")
            }
            // The same by the definition of the format.
            let sign = bits & 0x8000 == 0 ? 1.0 : -1.0, exponent = Int(bits >> 10 & 31), fraction = Double(bits & 0x3ff)
            if exponent < 31 {
                let magnitude = exponent == 0 ? fraction * 0x1p-24 : (1024 + fraction) * exp2(Double(exponent - 25))
                XCTAssertEqual(Double(found), sign * magnitude)
                XCTAssertEqual(found.sign == .minus, sign < 0)
            }
        }
    }

    /// Against the compiler's own float16, over all exponents and the ties between neighbours.
    func testRoundToHalf() {
        func check(_ value: Float) {
            let nearest = Float(Float16(value)), expected = nearest.isFinite ? nearest : value
            XCTAssertEqual(sx_round_to_half(value).bitPattern, expected.bitPattern, "\(value)")
        }
        for pattern in stride(from: UInt32(0), to: 0x7f80_0000, by: 4099) {
            check(Float(bitPattern: pattern))
            check(-Float(bitPattern: pattern))
        }
        for bits in 0..<UInt16(0x7bff) {
            let here = Float(Float16(bitPattern: bits)), next = Float(Float16(bitPattern: bits + 1))
            let tie = (here + next) / 2
            for value in [here, tie, tie.nextUp, tie.nextDown] { check(value) }
        }
        for value in [Float.infinity, -.infinity, 65504, 65519.996, 65520, .greatestFiniteMagnitude] { check(value) }
        XCTAssertTrue(sx_round_to_half(.nan).isNaN)
    }

    func testFloatFromBF16() {
        for bits in 0...UInt16.max { XCTAssertEqual(floatFromBF16(bits).bitPattern, UInt32(bits) << 16) }
    }

    func testBF16FromFloat() {
        // Every bf16 number stays what it is, subnormals become zero.
        for bits in 0...UInt16.max {
            let x = Float(bitPattern: UInt32(bits) << 16), found = bf16FromFloat(x)
            if x.isNaN {
                XCTAssertEqual(found, bits | 0x40)
            } else {
                XCTAssertEqual(found, x.isSubnormal ? bits & 0x8000 : bits)
            }
        }
        var random = Random(1)
        for _ in 0..<2_000_000 {
            let x = Float(bitPattern: random.bits()), found = Float(bitPattern: UInt32(bf16FromFloat(x)) << 16)
            if x.isNaN { XCTAssertTrue(found.isNaN); continue }
            if !x.isNormal { XCTAssertEqual(found, x.isSubnormal ? 0 : x); continue }
            // No bf16 number is nearer.
            if found.isInfinite { XCTAssertGreaterThanOrEqual(x.magnitude, 0x1.ffp127); continue }
            let half = Double(found.magnitude.bitPattern & 0x7f80_0000 == 0 ? 0 : 1) * exp2(Double(x.exponent) - 8)
            XCTAssertLessThanOrEqual(abs(Double(x) - Double(found)), half)
            XCTAssertEqual(found.sign, x.sign)
        }
        // Ties go to the even neighbour.
        XCTAssertEqual(bf16FromFloat(Float(bitPattern: 0x3f80_8000)), 0x3f80)
        XCTAssertEqual(bf16FromFloat(Float(bitPattern: 0x3f81_8000)), 0x3f82)
        XCTAssertEqual(bf16FromFloat(Float(bitPattern: 0xbf81_8000)), 0xbf82)
        XCTAssertEqual(bf16FromFloat(.greatestFiniteMagnitude), 0x7f80)
        XCTAssertEqual(bf16FromFloat(Float(bitPattern: 0x7f7f_7fff)), 0x7f7f)
        XCTAssertEqual(bf16FromFloat(Float(bitPattern: 0x007f_ffff)), 0)
        XCTAssertEqual(bf16FromFloat(Float(bitPattern: 0x807f_ffff)), 0x8000)
    }

    private func checkFMA(_ a: Float, _ b: Float, _ c: Float) -> Bool {
        let found = fusedMultiplyAdd(a, b, c), expected = Foundation.fma(a, b, c)
        return found.bitPattern == expected.bitPattern || found.isNaN && expected.isNaN
    }

    func testFusedMultiplyAddRandom() {
        var random = Random(2)
        var wrong = 0
        func check(_ a: Float, _ b: Float, _ c: Float) {
            if checkFMA(a, b, c) { return }
            wrong += 1
            if wrong < 5 {
                XCTFail("fma(\(a), \(b), \(c)) = \(fusedMultiplyAdd(a, b, c)), not \(Foundation.fma(a, b, c))")
            }
        }
        for _ in 0..<3_000_000 {
            check(Float(bitPattern: random.bits()), Float(bitPattern: random.bits()), Float(bitPattern: random.bits()))
            // As in the Q8_0 product: an integer, a small scale, a total of about the same size.
            check(Float(random.below(1 << 20) - 1 << 19), random.normal() * 0x1p-10, random.normal() * 0x1p8)
            // Addend and product near each other, nearly cancelling, or far apart.
            let a = random.normal(), b = random.normal(), product = a * b
            let shift = Float(sign: .plus, exponent: random.below(80) - 40, significand: 1)
            check(a, b, -product)
            check(a, b, (random.below(2) == 0 ? product : -product) * shift)
            check(a, b, product.nextUp * shift)
        }
        XCTAssertEqual(wrong, 0)
    }

    /// Sums that lie next to the middle between two floats, where rounding twice goes wrong, and the ends of the range.
    func testFusedMultiplyAddAdversarial() {
        var random = Random(3)
        var wrong = 0
        for _ in 0..<1_000_000 {
            // c and half of its last place, plus or minus something tiny.
            let exponent = random.below(60) - 30
            let c = Float(sign: random.below(2) == 0 ? .plus : .minus, exponent: exponent,
                          significand: 1 + Float(random.below(1 << 23)) * 0x1p-23)
            let half = Float(sign: .plus, exponent: exponent - 24, significand: 1)
            let near = half * (1 + [Float(0), 0x1p-23, -0x1p-24, 0x1p-12, -0x1p-12][random.below(5)])
            let split = Float(sign: .plus, exponent: random.below(20) - 10, significand: 1)
            for sign: Float in [1, -1] { if !checkFMA(near * split, sign / split, c) { wrong += 1 } }
            // Products with many bits: (1 + i 2^-23)(1 + j 2^-23).
            let a = 1 + Float(random.below(1 << 23)) * 0x1p-23, b = 1 + Float(random.below(1 << 23)) * 0x1p-23
            if !checkFMA(a, b, Float(sign: .minus, exponent: random.below(50) - 25, significand: a)) { wrong += 1 }
            // Results among the subnormals.
            let down = Float(sign: .plus, exponent: -(100 + random.below(49)), significand: 1)
            if !checkFMA(a * down, b * 0x1p-20, c * 0x1p-126) { wrong += 1 }
            if !checkFMA(a * 0x1p-75, b * 0x1p-75, Float(bitPattern: UInt32(random.below(1 << 10)))) { wrong += 1 }
        }
        XCTAssertEqual(wrong, 0)
        let edges: [Float] = [0, -0.0, 1, -1, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, .leastNormalMagnitude,
                              .greatestFiniteMagnitude, -.greatestFiniteMagnitude, .infinity, -.infinity, .nan, 0x1p-75,
                              0x1p-74, 0x1p64, 0x1.fffffep63, 0x1p-149, 0x1.fffffep127, 0x1.000002p0, 3, 1.0 / 3]
        for a in edges {
            for b in edges {
                for c in edges { XCTAssertTrue(checkFMA(a, b, c), "fma(\(a), \(b), \(c))") }
            }
        }
    }

    func testRoundToInt32() {
        func expected(_ x: Float) -> Int32 {
            let rounded = Double(x).rounded(.toNearestOrEven)
            return rounded >= -0x1p31 && rounded < 0x1p31 ? Int32(rounded) : .min
        }
        var random = Random(4)
        for _ in 0..<2_000_000 {
            for x in [Float(bitPattern: random.bits()), random.normal() * 200,
                      Float(random.below(1 << 26) - 1 << 25) / 2] {
                XCTAssertEqual(roundToInt32(x), expected(x), "\(x)")
            }
        }
        for x: Float in [0, -0.0, 0.5, -0.5, 1.5, 2.5, -1.5, -2.5, 0.49999997, -0.49999997, 126.5, 127.5, -128.5,
                         0x1p31, -0x1p31, 0x1.fffffep30, -0x1.fffffep30, 0x1p32, .infinity, -.infinity, .nan,
                         .greatestFiniteMagnitude, 8388607.5, 0x1p23, -0x1p24] {
            XCTAssertEqual(roundToInt32(x), expected(x), "\(x)")
        }
    }
}
