import CKernelABI
import Foundation
@testable import SparamxCore
import XCTest

/// How the work of a product is shared out: all of it, each piece once, and evenly.
final class ScheduleTests: XCTestCase {
    func testEachResultOnce() throws {
        for type in weightTypes {
            for (n, shape) in [(1, 32), (16, 64), (33, 96), (200, 544), (1000, 256)] {
                let k = whole(type, shape)
                for (zeros, uneven) in [(0, false), (50, true), (100, false)] {
                    let matrix = Matrix(type, n: n, k: k, matrices: 2, zeros: zeros, uneven: uneven,
                                        seed: UInt64(n + zeros))
                    for form in formChoices(type) {
                        let tensor = try matrix.pack(form)
                        defer { tensor.release() }
                        for m in [1, 32, 33, 300, 512] {
                            for threads in [1, 2, 3, 7, 16, 31, 64, 1000] {
                                for (matrices, repeats) in [(0..<1, 1), (1..<2, 1), (0..<2, 3)] {
                                    try cover(tensor, matrices, repeats, m, threads, "type \(type) \(form) "
                                        + "\(n)x\(k) \(zeros)% m \(m), \(threads) threads, \(repeats) x \(matrices)")
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Every panel and every tile of tokens belongs to one thread, and no thread has more than its share and what
    /// cannot be cut.
    private func cover(_ tensor: PackedTensor, _ range: Range<Int>, _ repeats: Int, _ m: Int, _ threads: Int,
                       _ label: String) throws {
        let matrices = range.flatMap { [Int](repeating: $0, count: repeats) }
        let plan = try Plan(tensor.layout, m: m, threads: threads, isa: .amx), panels = tensor.layout.panels
        let tiles = (m + 15) / 16
        var times = [UInt8](repeating: 0, count: matrices.count * panels * tiles), all = 0.0, unit = 0.0
        func load(_ share: Schedule.Share) -> Double {
            if m > 32 { return Double((share.panels.count + 1) / 2 * share.tokens.count) }
            return share.panels.reduce(0.0) {
                $0 + Double(Schedule.countBytes(tensor, tensor.offsets, matrices[share.product], before: $1 + 1)
                    - Schedule.countBytes(tensor, tensor.offsets, matrices[share.product], before: $1))
            }
        }
        for product in matrices.indices {
            for panel in stride(from: 0, to: panels, by: m > 32 ? 2 : 1) {
                let one = load(Schedule.Share(product: product, panels: panel..<panel + 1, tokens: 0..<m))
                all += one
                unit = max(unit, one)
            }
        }
        let schedule = Schedule(plan, Simulator.batch(tensor, matrices: range, repeats: repeats), threads: threads)
        for index in 0..<threads {
            var mine: [Schedule.Share] = []
            schedule.each(index) { mine.append($0) }
            for share in mine {
                let first = share.tokens.lowerBound, end = share.tokens.upperBound
                if first % 16 != 0 || end % 16 != 0 && end != m {
                    return XCTFail("\(label): tokens \(share.tokens)")
                }
                for panel in share.panels {
                    for tile in share.tokens.lowerBound / 16..<(share.tokens.upperBound + 15) / 16 {
                        times[(share.product * panels + panel) * tiles + tile] += 1
                    }
                }
            }
            if mine.reduce(0, { $0 + load($1) }) > all / Double(threads) + unit {
                return XCTFail("\(label): \(mine) is too much")
            }
        }
        if times.contains(where: { $0 != 1 }) { XCTFail("\(label): not each result once") }
    }

    // How evenly.

    private static let counts = [8, 16, 32, 64, 128, 256]
    private static let goals = [64: 0.03, 128: 0.05]

    /// The least that whole panels allow. zeros: panels differ.
    private func least(_ n: Int, times products: Int, _ threads: Int) -> Double {
        let panels = (n + 15) / 16 * products
        return Double((panels + threads - 1) / threads * threads) / Double(panels) - 1
    }

    private func require(_ imbalance: Double, least: Double, _ threads: Int, _ label: String) {
        guard let goal = Self.goals[threads] else { return }
        let most = (1 + least) * (1 + goal) - 1
        XCTAssertLessThanOrEqual(imbalance, least == 0 ? goal : most, "\(label), \(threads) threads")
    }

    private var sizes: [(n: Int, k: Int)] {
        var seen: [(n: Int, k: Int)] = []
        for model in Model.all {
            for one in model.matrices where one.experts.of == 1 && !seen.contains(where: { $0 == (one.n, one.k) }) {
                seen.append((one.n, one.k))
            }
        }
        return seen.sorted { $0 < $1 }
    }

    func testEvenly() throws {
        var text = "| N x K | zeros | tokens |" + Self.counts.map { " \($0) |" }.joined() + "\n"
        text += "|---|---|---|" + Self.counts.map { _ in "---|" }.joined() + "\n"
        for (n, k) in sizes {
            for (zeros, m) in [(Outline.Zeros.none, 1), (.even, 1), (.uneven, 1), (.none, 512)] {
                let weight = try Outline(n: n, k: k, zeros)
                let row = try Self.counts.map { threads in
                    let found = Simulator.imbalance(try Simulator.loads(weight, m: m, threads: threads))
                    if zeros != .uneven {
                        require(found, least: m == 1 ? least(n, times: 1, threads) : 0, threads,
                                "\(n) x \(k), \(zeros.rawValue), \(m) tokens")
                    }
                    return found
                }
                text += line("\(n) x \(k) | \(zeros.rawValue) | \(m)", row)
            }
        }
        text += "\n" + (try experts())
        text += "\n" + (try models())
        try compareWithDocument(text)
    }

    private func line(_ name: String, _ row: [Double]) -> String {
        "| \(name) |" + row.map { " " + String(format: "%.1f%%", max(0, $0) * 100) + " |" }.joined() + "\n"
    }

    private func experts() throws -> String {
        var text = "| experts | zeros | tokens |" + Self.counts.map { " \($0) |" }.joined() + "\n"
        text += "|---|---|---|" + Self.counts.map { _ in "---|" }.joined() + "\n"
        for model in Model.all {
            for one in model.layer where one.experts.of > 1 {
                for zeros in [Outline.Zeros.none, .even] {
                    let weight = try Outline(n: one.n, k: one.k, matrices: one.experts.of, zeros)
                    for tokens in [1, 4, 32, 512] {
                        let name = "\(model.name), \(one.name), \(zeros.rawValue), \(tokens) tokens"
                        let row = try Self.counts.map { threads in
                            try (1...4).map { seed in
                                let (loads, unit) = try Simulator.loads(weight, tokens: tokens, used: one.experts.used,
                                                                        threads: threads, seed: UInt64(seed))
                                let found = Simulator.imbalance(loads), goal = Self.goals[threads] ?? .infinity
                                // Several tokens cut the work into pieces of many sizes: one of them may be too much.
                                let one = tokens == 1 ? least(one.n, times: one.experts.used, threads)
                                    : unit * Double(threads) / loads.reduce(0, +)
                                XCTAssertLessThanOrEqual(found, max(goal, one), "\(name), \(threads) threads")
                                return found
                            }.max()!
                        }
                        text += line("\(model.name), \(one.name) | \(zeros.rawValue) | \(tokens)", row)
                    }
                }
            }
        }
        return text
    }

    /// All products of one token: the sum of the slowest threads of each over the sum of the means.
    private func models() throws -> String {
        var text = "| all products of a token | zeros |" + Self.counts.map { " \($0) |" }.joined() + "\n"
        text += "|---|---|" + Self.counts.map { _ in "---|" }.joined() + "\n"
        for model in Model.all {
            for zeros in Outline.Zeros.allCases {
                var slowest = [Double](repeating: 0, count: Self.counts.count), mean = slowest
                for one in model.matrices {
                    let weight = try Outline(n: one.n, k: one.k, matrices: one.experts.of, zeros)
                    let times = Double(one.times * (one.name == "output" ? 1 : model.layers))
                    for (i, threads) in Self.counts.enumerated() {
                        let loads = one.experts.of == 1 ? try Simulator.loads(weight, m: 1, threads: threads)
                            : try Simulator.loads(weight, tokens: 1, used: one.experts.used, threads: threads,
                                                  seed: 1).loads
                        slowest[i] += times * loads.max()!
                        mean[i] += times * loads.reduce(0, +) / Double(threads)
                    }
                }
                text += line("\(model.name) | \(zeros.rawValue)", zip(slowest, mean).map { $0 / $1 - 1 })
            }
        }
        return text
    }

    /// The tables of BENCHMARKS.md are these. SPARAMX_WRITE_TABLES=1 writes them there.
    private func compareWithDocument(_ tables: String) throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("BENCHMARKS.md")
        let text = try String(contentsOf: file, encoding: .utf8), name = "shares of threads"
        guard let begin = text.range(of: "<!-- \(name) -->\n"),
              let end = text.range(of: "<!-- end \(name) -->\n") else {
            return XCTFail("BENCHMARKS.md has no place for the \(name)")
        }
        let there = begin.upperBound..<end.lowerBound
        if ProcessInfo.processInfo.environment["SPARAMX_WRITE_TABLES"] == "1" {
            return try text.replacingCharacters(in: there, with: tables)
                .write(to: file, atomically: true, encoding: .utf8)
        }
        XCTAssertEqual(String(text[there]), tables,
                       "BENCHMARKS.md is not up to date: run this test with SPARAMX_WRITE_TABLES=1")
    }
}
