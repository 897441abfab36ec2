import CKernelABI
@testable import SparamxCore
import XCTest

/// Packing of activations: reference and AVX-512, bit for bit, against what the header of the kernels promises.
final class ActivationTests: XCTestCase {
    private struct Packed: Equatable {
        var rows: [UInt8], scales: [UInt32], sums: [Int32]
    }

    private func function(_ kind: Activation, _ isa: ISA) -> sx_activation_fn {
        switch (kind, isa) {
        case (.bf16, .reference): return sx_reference_activation_bf16
        case (.f32, .reference): return sx_reference_activation_f32
        case (.q8, .reference): return sx_reference_activation_q8
        case (.bf16, _): return sx_avx512_activation_bf16
        case (.f32, _): return sx_avx512_activation_f32
        default: return sx_avx512_activation_q8
        }
    }

    /// cuts: where the range of items is cut into shares, as threads do it.
    private func pack(_ kind: Activation, _ isa: ISA, _ x: Tokens, rows: Int, cuts: [Int] = [], partK: Int = 32,
                      offset: Int32 = 128, halfScale: Bool = false) -> Packed {
        let kblocks = (x.k + kind.kPerBlock - 1) / kind.kPerBlock, count = rows * kblocks
        let a = Region(count * kind.rowBytes), scales = Region(count * 8), sums = Region(count * 256 / partK)
        for region in [a, scales, sums] { region.fill(0xee) }
        let items = (kblocks + 15) / 16 * rows
        let bounds = [0] + cuts.map { $0 % (items + 1) }.sorted() + [items]
        for i in 1..<bounds.count {
            var args = sx_activation_args(
                x: x.region.floats, ldx: Int64(x.ld), m: Int64(x.m), k: Int64(x.k), kblocks: Int64(kblocks),
                rows: Int64(rows), a: a.octets, a_scale: kind == .q8 ? scales.floats : nil,
                a_sum: kind == .q8 ? scales.base.assumingMemoryBound(to: Int32.self) : nil, part_k: Int32(partK),
                offset: offset, minimum: offset == 0 ? 1 : 0, half_scale: halfScale ? 1 : 0,
                item_begin: Int64(bounds[i - 1]), item_end: Int64(bounds[i]))
            if kind == .q8 { args.a_sum = sums.base.assumingMemoryBound(to: Int32.self) }
            function(kind, isa)(&args)
        }
        XCTAssertTrue(a.intact && scales.intact && sums.intact && x.region.intact, "\(kind) \(isa) wrote outside")
        return Packed(rows: [UInt8](UnsafeRawBufferPointer(start: a.base, count: a.bytes)),
                      scales: [UInt32](UnsafeRawBufferPointer(start: scales.base, count: scales.bytes)
                          .bindMemory(to: UInt32.self)),
                      sums: [Int32](UnsafeRawBufferPointer(start: sums.base, count: sums.bytes)
                          .bindMemory(to: Int32.self)))
    }

    /// The layout in words of its own: slab of 16 K-blocks, tile of 16 tokens, K-block, token. For each row its token
    /// and K-block; for each scale its token, K-block and half.
    private func layout(rows: Int, kblocks: Int, parts: Int = 2)
        -> (rows: [(token: Int, kblock: Int)], scales: [(token: Int, kblock: Int, half: Int)]) {
        var places: [(Int, Int)] = [], scales: [(Int, Int, Int)] = []
        for slab in stride(from: 0, to: kblocks, by: 16) {
            for tile in stride(from: 0, to: rows, by: 16) {
                for kblock in slab..<min(slab + 16, kblocks) {
                    for token in tile..<min(tile + 16, rows) { places.append((token, kblock)) }
                    for half in 0..<parts {
                        for token in tile..<min(tile + 16, rows) { scales.append((token, kblock, half)) }
                    }
                }
            }
        }
        return (places, scales)
    }

    private func each(_ body: (Tokens, Int, [Int], String) -> Void) {
        var random = Random(5)
        for m in [1, 2, 3, 15, 16, 17, 33, 40] {
            for k in [1, 31, 32, 33, 63, 64, 65, 96, 511, 512, 513, 1025, 1100] {
                for padded in [false, true] {
                    let x = Tokens(m: m, k: k, ld: k + random.below(3))
                    x.fill(.normal, zeros: true, seed: random.next())
                    body(x, padded ? (m + 15) / 16 * 16 : m,
                         [random.below(1000), random.below(1000), random.below(1000)], "m \(m) k \(k) padded \(padded)")
                }
            }
        }
    }

    private func value(_ x: Tokens, _ token: Int, _ k: Int) -> Float { token < x.m && k < x.k ? x[token, k] : 0 }

    func testBF16AndF32() {
        each { x, rows, cuts, label in
            for kind in [Activation.bf16, .f32] {
                var expected: [UInt8] = []
                for (token, kblock) in layout(rows: rows, kblocks: (x.k + 31) / 32).rows {
                    for k in kblock * 32..<kblock * 32 + 32 {
                        let bits = kind == .f32 ? value(x, token, k).bitPattern
                            : UInt32(nearestBF16(value(x, token, k)))
                        for byte in 0..<(kind == .f32 ? 4 : 2) {
                            expected.append(UInt8(truncatingIfNeeded: bits >> UInt32(8 * byte)))
                        }
                    }
                }
                for isa in Machine.codecs {
                    XCTAssertTrue(pack(kind, isa, x, rows: rows).rows == expected, "\(kind) \(isa) \(label)")
                    XCTAssertTrue(pack(kind, isa, x, rows: rows, cuts: cuts).rows == expected,
                                  "\(kind) \(isa) \(label) in shares")
                }
            }
        }
    }

    func testQ8() {
        each { x, rows, cuts, label in
            let places = layout(rows: rows, kblocks: (x.k + 63) / 64)
            var codes: [UInt8] = []
            func block(_ token: Int, _ first: Int) -> (codes: [Int8], scale: Float) {
                let numbers = (first..<first + 32).map { value(x, token, $0) }
                let largest = numbers.map(\.magnitude).max()!
                let inverse: Float = largest == 0 ? 0 : 127 / largest
                return (numbers.map { Int8(($0 * inverse).rounded(.toNearestOrEven)) }, largest / 127)
            }
            for (token, kblock) in places.rows {
                for half in 0..<2 { codes += block(token, kblock * 64 + half * 32).codes.map { UInt8(bitPattern: $0) } }
            }
            let kinds: [(partK: Int, offset: Int32, halfScale: Bool)] = [
                (32, 128, true), (32, 0, true), (32, 128, false), (32, 0, false), (16, 32, false), (16, 0, false)
            ]
            for (partK, offset, halfScale) in kinds {
                func rounded(_ value: Float) -> Float { halfScale ? Float(Float16(value)) : value }
                let scales = places.scales.map { token, kblock, half in
                    rounded(block(token, kblock * 64 + half * 32).scale).bitPattern
                }
                let places = layout(rows: rows, kblocks: (x.k + 63) / 64, parts: 64 / partK).scales
                let sums = places.map { token, kblock, part in
                    let first = kblock * 64 + part * partK, found = block(token, first / 32 * 32)
                    let sum = found.codes[first % 32..<first % 32 + partK].reduce(0) { $0 + Int32($1) }
                    return offset == 0 ? Int32(bitPattern: rounded(found.scale * Float(sum)).bitPattern) : -offset * sum
                }
                let expected = Packed(rows: codes, scales: scales, sums: sums)
                for isa in Machine.codecs {
                    let label = "\(isa) \(label) sums per \(partK), offset \(offset)"
                    XCTAssertTrue(pack(.q8, isa, x, rows: rows, partK: partK, offset: offset, halfScale: halfScale)
                                  == expected, label)
                    let shared = pack(.q8, isa, x, rows: rows, cuts: cuts, partK: partK, offset: offset,
                                      halfScale: halfScale)
                    XCTAssertTrue(shared == expected, "\(label) in shares")
                }
            }
        }
    }

    /// Nearest-even by distance in double precision; subnormals become zero, NaN stays NaN (quiet).
    private func nearestBF16(_ x: Float) -> UInt16 {
        if x.isNaN { return UInt16(truncatingIfNeeded: x.bitPattern >> 16) | 0x40 }
        let sign: UInt16 = x.sign == .minus ? 0x8000 : 0
        if x.isSubnormal || x == 0 { return sign }
        if x.isInfinite { return sign | 0x7f80 }
        let low = UInt16(truncatingIfNeeded: x.magnitude.bitPattern >> 16), high = low + 1
        func number(_ code: UInt16) -> Double {
            code == 0x7f80 ? 0x1p128 : Double(Float(bitPattern: UInt32(code) << 16))
        }
        let down = Double(x.magnitude) - number(low), up = number(high) - Double(x.magnitude)
        return sign | (down < up ? low : up < down ? high : low & 1 == 0 ? low : high)
    }

    /// Every upper half of a float with the lower halves that matter.
    func testBF16OfEveryPattern() {
        let x = Tokens(m: 1, k: 65536, ld: 65536)
        for low: UInt32 in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1234] {
            for k in 0..<65536 {
                x.region.base.storeBytes(of: UInt32(k) << 16 | low, toByteOffset: k * 4, as: UInt32.self)
            }
            for isa in Machine.codecs {
                let found = pack(.bf16, isa, x, rows: 1).rows
                var wrong = 0
                for k in 0..<65536 {
                    let code = UInt16(found[2 * k]) | UInt16(found[2 * k + 1]) << 8
                    let expected = nearestBF16(Float(bitPattern: UInt32(k) << 16 | low))
                    if code != expected && wrong < 3 {
                        XCTFail("\(isa): bf16 of 0x\(String(UInt32(k) << 16 | low, radix: 16)) is "
                                + "0x\(String(code, radix: 16)), not 0x\(String(expected, radix: 16))")
                        wrong += 1
                    }
                }
                let wide = pack(.f32, isa, x, rows: 1).rows
                XCTAssertEqual(memcmp(wide, x.region.base, 4 * 65536), 0, "f32 \(isa)")
            }
        }
    }

    /// Blocks with NaN, infinities, subnormals, halves of steps: both levels agree on every bit.
    func testQ8SpecialBlocks() throws {
        try Machine.require(.avx512, "activations")
        let specials: [Float] = [.nan, .signalingNaN, .infinity, -.infinity, .greatestFiniteMagnitude,
                                 .leastNonzeroMagnitude, .leastNormalMagnitude, -0.0, 0, 1, -1, 1e-37, 3e38,
                                 Float(bitPattern: 0xff80_0001), 127, 63.5, 0.5]
        var random = Random(9)
        for round in 0..<300 {
            let x = Tokens(m: 3, k: 97, ld: 97)
            x.fill([Spread.normal, .positive, .wide][round % 3], zeros: true, seed: UInt64(round))
            for token in 0..<3 {
                for k in 0..<97 {
                    if round % 5 == 4 { x[token, k] = Float(random.below(255) - 127) / 2 }  // ties
                    if random.below(20) == 0 { x[token, k] = specials[random.below(specials.count)] }
                    if round % 7 == 6 { x[token, k] = Float(bitPattern: random.bits()) }
                }
            }
            let a = pack(.q8, .reference, x, rows: 3), b = pack(.q8, .avx512, x, rows: 3)
            XCTAssertEqual(a.rows, b.rows, "codes, round \(round)")
            XCTAssertEqual(a.sums, b.sums, "sums, round \(round)")
            for (p, q) in zip(a.scales, b.scales) where p != q {
                // A NaN may have either payload.
                XCTAssertTrue(Float(bitPattern: p).isNaN && Float(bitPattern: q).isNaN,
                              "scales, round \(round): \(p) \(q)")
            }
        }
    }
}
