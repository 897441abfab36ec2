@testable import SparamxCore
import Glibc

/// What each thread of a product does, as the library's own schedule has it. Nothing is computed.
enum Simulator {
    /// Slowest thread over the mean, minus 1.
    static func imbalance(_ loads: [Double]) -> Double {
        loads.max()! / (loads.reduce(0, +) / Double(loads.count)) - 1
    }

    /// Products with these matrices in turn, each taken so many times, of which nothing will be computed.
    static func batch(_ tensor: PackedTensor, matrices: Range<Int>, repeats: Int = 1) -> Batch {
        var dimensions = Batch.Dimensions()
        dimensions.products = (matrices.count * repeats, 1)
        dimensions.repeats = (repeats, 1)
        dimensions.matrices = matrices.count
        let nowhere = tensor.base.assumingMemoryBound(to: Float.self)
        return Batch(.packed(tensor, matrix: matrices.lowerBound), x: nowhere, ldx: 0, y: nowhere, ldy: 0, dimensions)
    }

    /// Up to 32 tokens: bytes that each thread reads. More: rows times tokens that it multiplies, where a kernel that
    /// is left with one panel takes as long as for two.
    static func loads(_ weight: Outline, m: Int, threads: Int, isa: ISA = .amx) throws -> [Double] {
        let layout = weight.tensor.layout, plan = try Plan(layout, m: m, threads: threads, isa: isa)
        let schedule = Schedule(plan, batch(weight.tensor, matrices: 0..<layout.matrices), threads: threads)
        return (0..<threads).map { index in
            var load = 0.0
            schedule.each(index) { share in
                load += m <= 32
                    ? weight.bytes(share.product, share.panels.lowerBound, share.panels.upperBound)
                    : Double((share.panels.count + 1) / 2 * 32 * share.tokens.count)
            }
            return load
        }
    }

    /// Products with experts, which are chosen by chance. Also what the largest panel, or pair of panels, costs that is
    /// not cut. To read a byte costs 1; to multiply a column of a panel with a row of x costs what was measured on
    /// AVX-512, or on AMX by the prototypes.
    static func loads(_ weight: Outline, tokens: Int, used: Int, threads: Int, seed: UInt64,
                      isa: ISA = .amx) throws -> (loads: [Double], unit: Double) {
        let layout = weight.tensor.layout, rows = tokens * used
        let product = try ExpertProduct(rows: rows, experts: layout.matrices, threads: threads, isa: isa,
                                        first: ExpertOperand(packed: weight.tensor, rows: rows, isa: isa), second: nil,
                                        gate: Gate(function: .silu, limit: 0))
        var random = Random(seed)
        let numbers = (0..<tokens).flatMap { _ in
            Array((0..<Int32(layout.matrices)).shuffled(using: &random).prefix(used))
        }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: product.area.threadBytes, alignment: 64)
        defer { memory.deallocate() }
        return try numbers.withUnsafeBytes { ids in
            let routing = Routing(memory, rows: rows, experts: layout.matrices)
            routing.sort(ExpertIDs(base: ids.baseAddress!, slots: used, tokenStride: used * 4))
            let place = (memory + product.area.groupsOffset).assumingMemoryBound(to: Group.self)
            let groups = try Groups(product, routing, place), perRow = isa == .amx ? 0.34 : 1.2
            var unit = 0.0
            let loads = (0..<threads).map { index in
                var load = 0.0
                groups.each(index, of: threads, product) { group, begin, end in
                    let cost = weight.bytes(group.expert, begin, end)
                        + Double((end - begin) * layout.k * group.count) * perRow
                    load += cost
                    unit = max(unit, cost / Double(end - begin) * (group.count > 32 ? 2 : 1))
                }
                return load
            }
            return (loads, unit)
        }
    }
}
