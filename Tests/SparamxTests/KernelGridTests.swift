import CTileEmulator
import Foundation
@testable import SparamxCore
import XCTest

/// Every row of the kernel table against the product in double precision and against the reference kernel, over a grid
/// of tokens, shapes, sparsity and threads in which every pair of values occurs (see Covering.swift).
///
/// SPARAMX_TEST_SEED=n takes other cases and other numbers, SPARAMX_TEST_VERBOSE=1 prints each case before it runs.
final class KernelGridTests: XCTestCase {
    private static let tokens = Array(1...17) + [31, 32, 33, 64, 100, 512, 513]  // 512 tokens are a pass
    /// At, below and above the edges of columns, panels, pairs of panels and blocks of 8 pairs.
    private static let outputs = [1, 15, 16, 17, 31, 32, 33, 48, 255, 256, 257, 272]
    /// The same for tiles (32 or 64 of K), offsets (256 of K) and slabs of activations (512 or 1024 of K).
    private static func inputs(_ type: Int32) -> [Int] {
        if type == bf16 || type == f16 { return wideInputs }
        if Block(type: type).elements == 256 { return [256, 512, 768, 1024, 1280] }
        return Set([32, 64, 96, 224, 256, 288, 512, 544, 992, 1024, 1056].map { whole(type, $0) }).sorted()
    }
    private static let wideInputs = [1, 2, 31, 32, 33, 63, 64, 65, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025]
    private static let zeros = [0, 1, 30, 50, 70, 90, 99, 100]
    private static let threads = Array(1...8)

    private static let seed = UInt64(ProcessInfo.processInfo.environment["SPARAMX_TEST_SEED"] ?? "") ?? 1
    private static let verbose = ProcessInfo.processInfo.environment["SPARAMX_TEST_VERBOSE"] != nil

    func testReference() throws { try grid(.reference) }

    func testAVX512() throws {
        try Machine.require(.avx512, "kernels against the reference")
        try grid(.avx512)
    }

    func testAMX() throws {
        try Machine.require(.amx, "kernels against the reference")
        try grid(.amx)
    }

    func testEveryRowHasALevel() {
        XCTAssertEqual(kernelRows(.reference).count + kernelRows(.avx512).count + kernelRows(.amx).count,
                       KernelTable.count)
    }

    private struct Point {
        let m, n, k, zeros, threads: Int
        var seed: UInt64 = 0
    }

    /// What all cases of a row came to.
    private struct Score {
        var worst = 0.0              // largest |error| / bound
        var error = 0.0, power = 0.0  // sums of squares, for the error of quantized activations
        var failures = 0
    }

    private static func points(_ row: KernelRow, _ index: Int) -> [Point] {
        let wide = row.type == bf16 || row.type == f16, inputs = inputs(row.type)
        // The quantized types share their kernels' text: a thinner grid for each of them.
        let few = row.isa == .amx ? [1, 4, 5, 15, 16, 17, 31, 32, 33, 64, 100] : [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33]
        let tokens = (wide ? Self.tokens : few).filter { row.serves.contains($0) }
        let outputs = wide ? Self.outputs : [1, 15, 17, 32, 33, 255, 272]
        let zeros = wide ? Self.zeros : [0, 30, 50, 70, 100]
        let sizes = [tokens.count, outputs.count, inputs.count, zeros.count, threads.count]
        var points = pairwise(sizes, seed: seed &+ UInt64(index)).map {
            Point(m: tokens[$0[0]], n: outputs[$0[1]], k: inputs[$0[2]], zeros: zeros[$0[3]], threads: threads[$0[4]])
        }
        if row.serves.upperBound == KernelTable.many {
            // Several passes over the tokens, several blocks of pairs and several chunks in one thread.
            points += wide
                ? [Point(m: 520, n: 290, k: inputs.last!, zeros: 50, threads: 1),
                   Point(m: 1030, n: 264, k: 544, zeros: 70, threads: 2)]
                : [Point(m: 520, n: 40, k: inputs.last!, zeros: 50, threads: 1),
                   Point(m: 40, n: 290, k: inputs.last!, zeros: 70, threads: 2)]
        }
        for number in points.indices { points[number].seed = seed &* 1000 &+ UInt64(index * 10_000 + number) }
        return points
    }

    private func grid(_ isa: ISA) throws {
        for (index, row) in kernelRows(isa) {
            let points = Self.points(row, index), began = Date(), dots = tileDots()
            var score = Score()
            // Said first: a kernel that leaves its memory ends the process.
            print("\(row.label): ", terminator: "")
            fflush(nil)
            for point in points {
                if Self.verbose { print(point) }
                guard let failure = try check(row, index, point, &score) else { continue }
                XCTFail("\(row.label) \(point): \(failure)")
                score.failures += 1
                if score.failures == 3 { break }
            }
            if isa == .amx && Machine.emulatesTiles {
                XCTAssertGreaterThan(tileDots(), dots, "\(row.label) did not multiply tiles")
                XCTAssertEqual(tile_emulator_configured_threads(), 0, "\(row.label) left a tile configuration behind")
            }
            XCTAssertGreaterThan(score.worst, 0, "\(row.label): the data tests nothing")
            let worst = String(format: "%.1f%%", 100 * score.worst)
            var line = "\(points.count) cases, largest error \(worst) of the bound"
            if row.activation == .q8 {
                let nmse = score.error / max(score.power, .leastNonzeroMagnitude)
                XCTAssertLessThan(nmse, 1e-4, row.label)
                line += ", NMSE of 8-bit activations \(String(format: "%.2g", nmse))"
            }
            print(line + String(format: ", %.1f s", Date().timeIntervalSince(began)))
        }
    }

    private func tileDots() -> UInt64 {
        tile_emulator_count(Int32(TILE_TDPBF16PS)) + tile_emulator_count(Int32(TILE_TDPBSUD))
    }

    /// nil, or what is wrong.
    private func check(_ row: KernelRow, _ index: Int, _ p: Point, _ score: inout Score) throws -> String? {
        var random = Random(p.seed)
        let spread = Spread.allCases[random.below(3)]
        let matrices = p.n * p.k < 40_000 ? 1 + random.below(3) : 1, matrix = random.below(matrices)
        let weights = Matrix(row.type, n: p.n, k: p.k, matrices: matrices, zeros: p.zeros, spread: spread,
                             uneven: random.below(4) == 0, seed: random.next())
        let packed = try weights.pack(row.choice)
        defer { packed.release() }
        let (tensor, region) = packed.guarded()
        let edge: Region.Edge = random.below(2) == 0 ? .front : .back
        let x = Tokens(m: p.m, k: p.k, ld: p.k + [0, 1, 7, 16][random.below(4)], edge: edge)
        x.fill(spread, zeros: random.below(2) == 0, seed: random.next())
        let y = Results(m: p.m, n: p.n, ld: p.n + [0, 1, 5, 16][random.below(4)], edge: edge)
        let plan = try Plan(tensor.layout, m: p.m, threads: p.threads, isa: row.isa, forced: index)
        let shift = [63, random.below(64)][random.below(2)]
        if let trouble = multiply(plan, tensor, matrix: matrix, x, y, shift: shift) { return trouble }
        if !region.intact { return "wrote outside the weights" }
        if row.choice == .dense && random.below(2) == 0 {
            if let trouble = try raw(row, index, p, matrix, weights, x, y) { return "not packed: " + trouble }
        }

        let reference = Results(m: p.m, n: p.n, ld: p.n)
        if row.isa != .reference {
            let simple = try Plan(tensor.layout, m: p.m, threads: 1, isa: .reference)
            if let trouble = multiply(simple, tensor, matrix: matrix, x, reference) { return "reference: " + trouble }
            if row.exact, let difference = y.difference(reference) {
                return "not bit-equal to the reference, " + difference
            }
        }
        let known = row.isa == .reference ? nil : reference
        let exact = Oracle(weights, matrix: matrix, x: x.region.floats, ldx: x.ld, m: p.m)
        let quantized = weights.block != nil
            ? QuantizedOracle(weights, matrix: matrix, x: x.region.floats, ldx: x.ld, m: p.m) : nil
        if row.activation == .q8 { return compare(y, exact, quantized!, nmse: spread == .normal, &score) }
        return compare(row, y, exact, known, quantized, &score)
    }

    /// A weight that is packed as the product goes gives the same bits. The file's rows end at a guard page.
    private func raw(_ row: KernelRow, _ index: Int, _ p: Point, _ matrix: Int, _ weights: Matrix, _ x: Tokens,
                     _ y: Results)
        throws -> String? {
        let size = weights.rowBytes * p.n, file = Region(size)
        weights.bytes.withUnsafeBytes { file.base.copyMemory(from: $0.baseAddress! + matrix * size, byteCount: size) }
        let layout = try PackedLayout(type: weights.type, sparse: false, n: p.n, k: p.k, matrices: 1, sparseBytes: 0)
        let plan = try Plan(layout, m: p.m, threads: p.threads, isa: row.isa, forced: index, raw: true)
        let again = Results(m: p.m, n: p.n, ld: p.n)
        let rows = Rows(base: file.base, rowStride: weights.rowBytes, matrixStride: 0)
        if let trouble = multiply(plan, .raw(layout, rows), x, again) { return trouble }
        return again.difference(y)
    }

    /// Kernels with products in floating point, against the bound. quantized: for types whose reference quantizes the
    /// activations where these kernels do not.
    private func compare(_ row: KernelRow, _ y: Results, _ exact: Oracle, _ reference: Results?,
                         _ quantized: QuantizedOracle?, _ score: inout Score) -> String? {
        for token in 0..<y.m {
            for column in 0..<y.n {
                let value = Double(y[token, column]), bound = exact.bound(row, token, column)
                let truth = exact.y[token * y.n + column]
                let error = abs(value - truth)
                if !(error <= bound) { return "y[\(token), \(column)] is \(value), not \(truth) (bound \(bound))" }
                if bound > 0 { score.worst = max(score.worst, error / bound) }
                guard let reference else { continue }
                let known = Double(reference[token, column]), slack = quantized?.trueBound(token, column) ?? 0
                if !(abs(value - known) <= bound + slack + abs(known) * 0x1p-23) {
                    return "y[\(token), \(column)] is \(value), the reference has \(known)"
                }
            }
        }
        return nil
    }

    /// Kernels that quantize the activations, against the quantized problem and against the true one.
    private func compare(_ y: Results, _ exact: Oracle, _ quantized: QuantizedOracle, nmse: Bool,
                         _ score: inout Score) -> String? {
        for token in 0..<y.m {
            for column in 0..<y.n {
                let value = Double(y[token, column]), i = token * y.n + column
                let error = abs(value - quantized.y[i]), bound = quantized.bound(token, column)
                if !(error <= bound) {
                    return "y[\(token), \(column)] is \(value), not \(quantized.y[i]) (quantized; bound \(bound))"
                }
                score.worst = max(score.worst, error / bound)
                let off = value - exact.y[i]
                if !(abs(off) <= quantized.trueBound(token, column)) {
                    return "y[\(token), \(column)] is \(value), not \(exact.y[i])"
                }
                if nmse {
                    score.error += off * off
                    score.power += exact.y[i] * exact.y[i]
                }
            }
        }
        return nil
    }
}
