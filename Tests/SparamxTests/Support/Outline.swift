import CPlatform
@testable import SparamxCore

/// A packed weight of which only the offsets are there: as much as sharing out work looks at. The largest weights of
/// large models take some hundred kilobytes in this way.
final class Outline: @unchecked Sendable {
    /// dense; half of the codes zero, each by chance; or a share of zeros for each row, drawn from 30% to 70%.
    enum Zeros: String, CaseIterable { case none = "dense", even = "50%", uneven = "30% to 70% by row" }

    let tensor: PackedTensor

    init(n: Int, k: Int, matrices: Int = 1, _ zeros: Zeros, seed: UInt64 = 1) throws {
        let type = try WeightType(bf16), sparse = zeros != .none
        let dense = try PackedLayout(type: type, sparse: false, n: n, k: k, matrices: matrices, sparseBytes: 0)
        var starts: [UInt64] = [0]
        if sparse {
            var random = Random(seed)
            for _ in 0..<dense.panels * matrices {
                let rows = (0..<16).map { _ in zeros == .even ? 0.5 : 0.3 + 0.4 * Double(random.unit()) }
                let kept = rows.reduce(0, +) * 256, spread = (rows.reduce(0) { $0 + $1 * (1 - $1) } * 256).squareRoot()
                for _ in 0..<dense.chunks {
                    let codes = max(0, Int(kept + spread * Double(random.normal())))
                    starts.append(starts.last! + UInt64(codes * 2))
                }
            }
        }
        let layout = try PackedLayout(type: type, sparse: sparse, n: n, k: k, matrices: matrices,
                                      sparseBytes: Int(starts.last!))
        // Address space: pages that nobody writes take no memory.
        var tensor = PackedTensor(layout: layout, base: sx_map(layout.totalBytes)!, background: 0, reason: .sparseAsked)
        if sparse {
            tensor.offsets.update(from: starts, count: starts.count)
            tensor.largestPanel = Schedule.largestPanel(tensor, tensor.offsets)
        }
        self.tensor = tensor
    }

    deinit { tensor.release() }

    /// Of panels from..<to of a matrix, counted without the schedule: values, bitmap, side records.
    func bytes(_ matrix: Int, _ from: Int, _ to: Int) -> Double {
        let layout = tensor.layout, first = matrix * layout.panels
        let values = tensor.valueOffset(panel: first + to) - tensor.valueOffset(panel: first + from)
        return Double(values + (to - from) * layout.kblocks * (layout.sparse ? 64 : 0))
    }
}
