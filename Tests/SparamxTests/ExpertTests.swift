import CKernelABI
import CTileEmulator
import Foundation
import Glibc
@testable import SparamxCore
import XCTest

/// Products with experts and the fused kinds: every row as its expert's ordinary product gives it, and the ordinary
/// product is compared with double precision in KernelGridTests.
final class ExpertTests: XCTestCase {
    private static let seed = UInt64(ProcessInfo.processInfo.environment["SPARAMX_TEST_SEED"] ?? "") ?? 1

    /// Who goes where.
    enum Choice: CaseIterable {
        case spread, one, few, skewed, lastOnly

        /// slots different experts per token, as a router chooses them; the same one several times for .one and
        /// .lastOnly.
        func numbers(_ slots: Int, _ tokens: Int, _ experts: Int, _ random: inout Random) -> [Int32] {
            (0..<tokens).flatMap { _ -> [Int32] in
                switch self {
                case .one: return .init(repeating: 0, count: slots)
                case .lastOnly: return .init(repeating: Int32(experts - 1), count: slots)
                case .few: return (0..<slots).map { _ in Int32(random.below(min(experts, 2))) }
                case .skewed: return (0..<slots).map { _ in random.below(10) < 8 ? 0 : Int32(random.below(experts)) }
                case .spread: return Array((0..<Int32(experts)).shuffled(using: &random).prefix(slots))
                }
            }
        }
    }

    private static let kinds = 3  // products with experts; fused with experts; fused without
    private static let tokens = [1, 2, 3, 4, 5, 16, 17, 33, 40], experts = [8, 9, 16, 128], slots = [1, 2, 4, 8]
    private static let outputs = [1, 16, 17, 40, 64, 97], threads = Array(1...8)

    func testReference() throws { try grid(.reference) }

    func testAVX512() throws {
        try Machine.require(.avx512, "products with experts")
        try grid(.avx512)
    }

    func testAMX() throws {
        try Machine.require(.amx, "products with experts")
        try grid(.amx)
        if Machine.emulatesTiles {
            XCTAssertEqual(tile_emulator_configured_threads(), 0, "a tile configuration was left behind")
        }
    }

    private func grid(_ isa: ISA) throws {
        for type in kernelTypes {
            let block = try WeightType(type).blockElements
            let inputs = block == 1 ? [1, 33, 64, 257, 520] : [block, 3 * block, 2 * block]
            let sizes = [Self.kinds, Self.tokens.count, Self.experts.count, Self.slots.count, Self.outputs.count,
                         inputs.count, Place.allCases.count, Place.allCases.count, Choice.allCases.count,
                         Self.threads.count, 2, 2]
            var failures = 0
            for (number, c) in pairwise(sizes, seed: Self.seed &+ UInt64(type)).enumerated() where failures < 3 {
                var random = Random(Self.seed &* 1000 &+ UInt64(number))
                let fused = c[0] > 0, alone = c[0] == 2
                let experts = alone ? 1 : Self.experts[c[2]], slots = alone ? 1 : Self.slots[c[3]]
                let tokens = Self.tokens[c[1]]
                let (n, k) = (Self.outputs[c[4]], inputs[c[5]])
                func weight(_ place: Int, _ zeros: Int) throws -> ExpertWeight {
                    try ExpertWeight(Matrix(type, n: n, k: k, matrices: experts, zeros: zeros, uneven: true,
                                            seed: random.next()),
                                     Place.allCases[place])
                }
                let up = try weight(c[6], 50), gate = fused ? try weight(c[7], 70) : nil
                let choice = Choice.allCases[c[8]]
                let one = ExpertCase(up, gate, slots: slots, xSlots: c[10] == 0 ? 1 : slots, tokens: tokens,
                                     numbers: alone ? nil : choice.numbers(slots, tokens, experts, &random),
                                     gap: [0, 3][c[11]], seed: random.next())
                one.isa = isa
                one.function = Gate(function: random.below(2) == 0 ? .silu : .gelu,
                                    limit: random.below(3) == 0 ? 1.5 : 0)
                let label = "type \(type), case \(number): \(n)x\(k), \(experts) experts, \(slots) of them for "
                    + "\(tokens) tokens, \(choice), \(Self.threads[c[9]]) threads, \(Place.allCases[c[6]])"
                    + (fused ? " and \(Place.allCases[c[7]])" : "")
                let trouble = try one.run(threads: Self.threads[c[9]], shift: random.below(64))
                if let trouble = try trouble ?? one.difference() {
                    XCTFail("\(label): \(trouble)")
                    failures += 1
                }
            }
        }
    }

    /// More rows for one expert than are multiplied at once are the same product as in one go.
    func testManyTokens() throws {
        try Machine.require(.avx512, "many tokens")
        for type in kernelTypes {
            let k = max(64, try WeightType(type).blockElements)
            for place in Place.allCases {
                let weights = try ExpertWeight(Matrix(type, n: 40, k: k, matrices: 3, zeros: 50, seed: 5), place)
                var random = Random(9)
                let numbers = Choice.skewed.numbers(2, 640, 3, &random)
                let one = ExpertCase(weights, nil, slots: 2, xSlots: 1, tokens: 640, numbers: numbers, gap: 0, seed: 3)
                one.isa = .avx512
                XCTAssertNil(try one.run(threads: 3) ?? one.difference(), "type \(type) \(place)")
            }
        }
    }

    /// In double precision, without the library's own products in between.
    func testAgainstDoublePrecision() throws {
        for isa in [ISA.reference, .avx512, .amx] where Machine.missing(isa) == nil {
            for type in kernelTypes {
                let k = 512, n = 48, experts = 8
                for place in Place.allCases {
                    let matrix = Matrix(type, n: n, k: k, matrices: experts, zeros: 50, seed: 11)
                    var random = Random(4)
                    let one = ExpertCase(try ExpertWeight(matrix, place), nil, slots: 2, xSlots: 2, tokens: 20,
                                         numbers: Choice.spread.numbers(2, 20, experts, &random), gap: 1, seed: 8)
                    one.isa = isa
                    XCTAssertNil(try one.run(threads: 2))
                    var error = 0.0, power = 0.0
                    for row in 0..<one.rows {
                        let exact = Oracle(matrix, matrix: one.expert(row), x: one.input(row), ldx: k, m: 1).y
                        for i in 0..<n {
                            error += (Double(one.output(row)[i]) - exact[i]) * (Double(one.output(row)[i]) - exact[i])
                            power += exact[i] * exact[i]
                        }
                    }
                    XCTAssertGreaterThan(power, 0)
                    // As far as ggml's own test of this op lets a backend be.
                    XCTAssertLessThan(error / power, 5e-4, "\(isa) type \(type) \(place)")
                }
            }
        }
    }

    /// Up and gate of different types have different activations.
    func testTwoTypes() throws {
        for isa in [ISA.reference, .avx512, .amx] where Machine.missing(isa) == nil {
            for (i, type) in kernelTypes.enumerated() {
                let other = kernelTypes[(i + 1) % kernelTypes.count]
                for tokens in [1, 7, 40] {
                    func weight(_ type: Int32, _ place: Place) throws -> ExpertWeight {
                        try ExpertWeight(Matrix(type, n: 33, k: 512, matrices: 4, zeros: 50, seed: UInt64(type)), place)
                    }
                    var random = Random(6)
                    let one = ExpertCase(try weight(type, .sparse), try weight(other, .dense), slots: 2, xSlots: 1,
                                         tokens: tokens, numbers: Choice.skewed.numbers(2, tokens, 4, &random),
                                         gap: 0, seed: 1)
                    one.isa = isa
                    XCTAssertNil(try one.run(threads: 3) ?? one.difference(),
                                 "\(isa) types \(type) and \(other), \(tokens) tokens")
                }
            }
        }
    }

    func testThreadsGiveTheSameBits() throws {
        for isa in [ISA.reference, .avx512, .amx] where Machine.missing(isa) == nil {
            for type in kernelTypes {
                let matrix = Matrix(type, n: 200, k: 256, matrices: 8, zeros: 60, uneven: true, seed: 2)
                let up = try ExpertWeight(matrix, .sparse), gate = try ExpertWeight(matrix, .dense)
                for tokens in [1, 40] {
                    var random = Random(6)
                    let one = ExpertCase(up, gate, slots: 3, xSlots: 1, tokens: tokens,
                                         numbers: Choice.skewed.numbers(3, tokens, 8, &random), gap: 0, seed: 1)
                    one.isa = isa
                    var first: [UInt32] = []
                    for threads in 1...8 {
                        XCTAssertNil(try one.run(threads: threads))
                        if threads == 1 { first = one.bits }
                        XCTAssertEqual(one.bits, first, "\(isa) type \(type), \(tokens) tokens, \(threads) threads")
                    }
                }
            }
        }
    }

    /// A number that is no expert: the same status on every thread, nothing written, and no thread left at the barrier.
    func testWrongNumbers() throws {
        let weights = try ExpertWeight(Matrix(bf16, n: 20, k: 64, matrices: 4, zeros: 50, seed: 2), .dense)
        for wrong in [-1, 4, Int32.min, .max] {
            for place in [0, 5, 11] {
                var numbers = (0..<12).map { Int32($0 % 4) }
                numbers[place] = wrong
                let one = ExpertCase(weights, nil, slots: 2, xSlots: 1, tokens: 6, numbers: numbers, gap: 1, seed: 3)
                for threads in [1, 4] {
                    let product = try one.product(threads: threads), work = Region(product.area.bytes)
                    one.clear()
                    for i in 0..<threads {
                        let worker = Worker(index: i, threads: threads, work: work.base, barrier: { _ in abort() },
                                            barrierData: nil)
                        XCTAssertThrowsError(try one.share(product, worker)) { XCTAssertEqual($0 as? Status, .range) }
                    }
                    XCTAssertTrue(one.bits.allSatisfy { $0 == Results.untouched })
                }
            }
        }
    }

    /// Numbers that were good when they were checked and are not when they are used: whatever they are now, sorting
    /// stays in its memory, and every row has an expert.
    func testNumbersThatChange() throws {
        for (rows, experts) in [(1, 1), (7, 3), (40, 8)] {
            var random = Random(UInt64(rows))
            for round in 0..<50 {
                let ids = Region(rows * 4), work = Region(try Routing.bytes(rows: rows, experts: experts))
                let numbers = ids.base.assumingMemoryBound(to: Int32.self)
                for i in 0..<rows {
                    let far = [Int32.min, -1, Int32(experts), 1 << 20, .max][random.below(5)]
                    numbers[i] = random.below(2) == 0 || i == round % rows ? far : Int32(random.below(experts))
                }
                let routing = Routing(work.base, rows: rows, experts: experts)
                routing.sort(ExpertIDs(base: ids.base, slots: 1, tokenStride: 4))
                XCTAssertTrue(work.intact)
                XCTAssertEqual(Set((0..<rows).map { Int(routing.order[$0]) }), Set(0..<rows), "each row once")
                XCTAssertTrue((0..<rows).allSatisfy { (0..<Int32(experts)).contains(routing.ids[$0]) })
                XCTAssertEqual(Int(routing.ends[experts - 1]), rows)
            }
        }
    }

    /// Whatever experts the rows want, there is room for their groups.
    func testGroupsOfAnyChoice() {
        var random = Random(8)
        for rows in [1, 2, 511, 512, 513, 1024, 1025, 5000] {
            for experts in [1, 2, 3, 8, 600] {
                for round in 0..<20 {
                    var counts = [Int](repeating: 0, count: experts)
                    if round == 0 {
                        // The most pieces: one row for each expert but the first.
                        for i in 0..<min(rows, experts) { counts[i] = 1 }
                        counts[0] += rows - min(rows, experts)
                    } else {
                        let favourites = 1 + random.below(experts)
                        for _ in 0..<rows { counts[random.below(favourites)] += 1 }
                    }
                    let groups = counts.reduce(0) { $0 + ($1 + Routing.mostRows - 1) / Routing.mostRows }
                    XCTAssertLessThanOrEqual(groups, Routing.mostGroups(rows: rows, experts: experts),
                                             "\(rows) rows, \(experts) experts")
                }
            }
        }
    }

    /// Experts that no token wants are not read: here they cannot be.
    func testUnwantedExpertsAreNotTouched() throws {
        try Machine.require(.avx512, "unwanted experts")
        let (n, k, experts) = (32, 1024, 6), one = n * k * 2
        let tensor = try Matrix(bf16, n: n, k: k, matrices: experts, zeros: 0, seed: 7).pack(.dense)
        defer { tensor.release() }
        for expert in [0, 2, 3] { XCTAssertEqual(mprotect(tensor.base + expert * one, one, PROT_NONE), 0) }
        defer { for expert in [0, 2, 3] { mprotect(tensor.base + expert * one, one, PROT_READ | PROT_WRITE) } }
        for tokens in [1, 40] {
            var random = Random(1)
            let numbers = (0..<2 * tokens).map { _ in [Int32(1), 4, 5][random.below(3)] }
            let rows = 2 * tokens, x = Region(rows * k * 4), y = Region(rows * n * 4), ids = Region(rows * 4)
            for i in 0..<rows * k { x.floats[i] = random.normal() }
            for i in 0..<rows { ids.base.assumingMemoryBound(to: Int32.self)[i] = numbers[i] }
            let product = try ExpertProduct(rows: rows, experts: experts, threads: 1, isa: .avx512,
                                            first: ExpertOperand(packed: tensor, rows: rows, isa: .avx512), second: nil,
                                            gate: Gate(function: .silu, limit: 0))
            let work = Region(product.area.bytes)
            try product.run(Worker(index: 0, threads: 1, work: work.base, barrier: nil, barrierData: nil),
                            ExpertIDs(base: ids.base, slots: 2, tokenStride: 8),
                            x: RowLayout(base: x.base, ne: (2, tokens), repeats: 2, nb: (k * 4, 2 * k * 4, 0)),
                            y: RowLayout(base: y.base, ne: (2, tokens), repeats: 2, nb: (n * 4, 2 * n * 4, 0)))
            XCTAssertTrue((0..<rows * n).allSatisfy { y.floats[$0].isFinite })
        }
    }

    /// Results that each of four threads computes, per row.
    private func shares(_ one: ExpertCase) throws -> [[Int]] {
        let threads = 4, product = try one.product(threads: threads), work = Region(product.area.bytes)
        let n = one.up.matrix.n
        func share(_ i: Int) throws {
            try one.share(product, Worker(index: i, threads: threads, work: work.base, barrier: nil, barrierData: nil))
        }
        for i in 0..<threads { try share(i) }  // packs all activations
        let shares = try (0..<threads).map { i in
            one.clear()
            try share(i)
            return (0..<one.rows).map { row in
                (0..<n).filter { one.output(row)[$0].bitPattern != Results.untouched }.count
            }
        }
        for row in 0..<one.rows { XCTAssertEqual(shares.reduce(0) { $0 + $1[row] }, n, "each result once") }
        return shares
    }

    /// Many tokens, four of five want one expert: no thread gets many more results to compute than the mean.
    func testManyTokensAreSharedOutByRows() throws {
        try Machine.require(.avx512, "sharing out")
        let weights = try ExpertWeight(Matrix(bf16, n: 512, k: 64, matrices: 3, zeros: 50, seed: 7), .sparse)
        var random = Random(3)
        let one = ExpertCase(weights, nil, slots: 2, xSlots: 1, tokens: 512,
                             numbers: Choice.skewed.numbers(2, 512, 3, &random), gap: 0, seed: 3)
        one.isa = .avx512
        let quarter = Double(one.rows * 512 / 4)
        for share in try shares(one) {
            let mine = share.reduce(0, +)
            XCTAssertLessThanOrEqual(Double(mine), quarter * 1.15)
        }
    }

    /// One token, the second half of its experts is nearly empty: each thread gets about as many bytes to read.
    func testFewTokensAreSharedOutByBytes() throws {
        try Machine.require(.avx512, "sharing out")
        var matrix = Matrix(bf16, n: 512, k: 256, matrices: 8, zeros: 0, seed: 7)
        for row in 0..<matrix.rows where row / 512 >= 4 { for k in 8..<256 { matrix.setCode(row, k, 0) } }
        let tensor = try matrix.pack(.sparse)
        defer { tensor.release() }
        let one = ExpertCase(try ExpertWeight(matrix, .sparse), nil, slots: 8, xSlots: 1, tokens: 1,
                             numbers: Array(0..<8), gap: 0, seed: 3)
        one.isa = .avx512
        let bytes = (0..<8).map { Double(Schedule.countBytes(.packed(tensor, matrix: $0))) }, all = bytes.reduce(0, +)
        XCTAssertGreaterThan(bytes[0], 5 * bytes[7])
        for share in try shares(one) {
            var mine = 0.0
            for expert in 0..<8 { mine += Double(share[expert]) / 512 * bytes[expert] }
            XCTAssertEqual(mine, all / 4, accuracy: all / 4 * 0.15)
        }
    }
}
