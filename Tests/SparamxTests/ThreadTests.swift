@testable import SparamxCore
import XCTest

/// Results do not depend on the number of threads, not in a single bit, and products that follow each other in one work
/// area do not disturb each other.
final class ThreadTests: XCTestCase {
    func testReference() throws { try compare(.reference) }

    func testAVX512() throws {
        try Machine.require(.avx512, "threads")
        try compare(.avx512)
    }

    func testAMX() throws {
        try Machine.require(.amx, "threads")
        try compare(.amx)
    }

    private func compare(_ isa: ISA) throws {
        for (index, row) in kernelRows(isa) {
            // The quantized types share the bodies of their AMX kernels.
            let shared = isa == .amx && row.type != bf16 && row.type != f16
            let many = isa == .reference ? [1, 17] : shared ? [5, 17, 33] : [1, 4, 16, 17, 32, 33, 70]
            var tokens = many.filter { row.serves.contains($0) }
            if !tokens.contains(row.serves.lowerBound) { tokens.append(row.serves.lowerBound) }
            for (shape, (n, k)) in [(272, whole(row.type, 1025)), (33, whole(row.type, 270)),
                                    (5, whole(row.type, 32))].enumerated() {
                let weights = Matrix(row.type, n: n, k: k, matrices: 2, zeros: 60, uneven: true,
                                     seed: UInt64(index * 10 + shape))
                let tensor = try weights.pack(row.sparse ? .sparse : .dense)
                defer { tensor.release() }
                for m in shape == 0 ? tokens : [tokens.last!] {
                    try compare(row, index, tensor, m)
                }
            }
        }
    }

    /// So many tokens for so few panels that threads share a pair of them, each with some of the tokens.
    func testTokensAreCut() throws {
        for isa in [ISA.avx512, .amx] where Machine.missing(isa) == nil {
            for (index, row) in kernelRows(isa) where row.serves.upperBound == KernelTable.many {
                let k = whole(row.type, 1100), m = 300, threads = 7
                let weights = Matrix(row.type, n: 40, k: k, zeros: 60, uneven: true, seed: UInt64(index))
                let tensor = try weights.pack(row.sparse ? .sparse : .dense)
                defer { tensor.release() }
                let x = Tokens(m: m, k: k, ld: k), y = (0..<2).map { _ in Results(m: m, n: 40, ld: 40) }
                x.fill(.normal, zeros: true, seed: 5)
                let one = try Plan(tensor.layout, m: m, threads: 1, isa: isa, forced: index)
                let many = try Plan(tensor.layout, m: m, threads: threads, isa: isa, forced: index)
                var cut = false
                let batch = Batch(.packed(tensor, matrix: 0), x: x.region.floats, ldx: k, y: y[1].region.floats,
                                  ldy: 40)
                let schedule = Schedule(many, batch, threads: threads)
                for thread in 0..<threads {
                    schedule.each(thread) { cut = cut || $0.tokens.count < m }
                }
                XCTAssertTrue(cut, "\(row.label): no pair of panels is shared")
                let trouble = multiply(one, tensor, x, y[0]) ?? multiply(many, tensor, x, y[1])
                    ?? y[0].difference(y[1])
                if let trouble { XCTFail("\(row.label): \(trouble)") }
            }
        }
    }

    private func compare(_ row: KernelRow, _ index: Int, _ tensor: PackedTensor, _ m: Int) throws {
        let layout = tensor.layout
        let x = Tokens(m: m, k: layout.k, ld: layout.k)
        x.fill(.normal, zeros: true, seed: UInt64(m))
        let known = (0..<2).map { _ in Results(m: m, n: layout.n, ld: layout.n) }
        let alone = try Plan(layout, m: m, threads: 1, isa: row.isa, forced: index)
        for matrix in 0..<2 {
            if let trouble = multiply(alone, tensor, matrix: matrix, x, known[matrix]) {
                return XCTFail("\(row.label) m \(m): \(trouble)")
            }
        }
        for threads in Array(1...8) + [16] {
            let plan = try Plan(layout, m: m, threads: threads, isa: row.isa, forced: index)
            // Two products that share a matrix, and two that share the other one.
            var dimensions = Batch.Dimensions()
            dimensions.products = (2, 2)
            dimensions.repeats = (1, 2)
            dimensions.matrices = 2
            let found = Results(m: 4 * m, n: layout.n, ld: layout.n + 3), plane = m * found.ld * 4
            dimensions.y = (plane, 2 * plane)
            let trouble = multiply(plan, .packed(tensor, matrix: 0), x, found, dimensions)
                ?? (0..<4).compactMap { known[$0 % 2].difference(found, from: $0 * m) }.first
            if let trouble { return XCTFail("\(row.label) m \(m), \(threads) threads: \(trouble)") }
        }
    }
}
