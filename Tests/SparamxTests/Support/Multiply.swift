import Glibc
@testable import SparamxCore

/// Results in guarded memory, every float a NaN that no kernel makes.
final class Results: @unchecked Sendable {
    let m, n, ld: Int
    let region: Region
    static let untouched: UInt32 = 0x7fc0_beef

    init(m: Int, n: Int, ld: Int, edge: Region.Edge = .back) {
        (self.m, self.n, self.ld) = (m, n, ld)
        region = Region(((m - 1) * ld + n) * 4, edge: edge)
        reset()
    }

    func reset() {
        let words = region.base.assumingMemoryBound(to: UInt32.self)
        for i in 0..<region.bytes / 4 { words[i] = Self.untouched }
    }

    subscript(token: Int, column: Int) -> Float { region.floats[token * ld + column] }

    func bits(_ token: Int, _ column: Int) -> UInt32 { self[token, column].bitPattern }

    /// nil, or what is wrong: every result is written, nothing between the rows and around them is.
    var trouble: String? {
        for token in 0..<m {
            for column in 0..<n where bits(token, column) == Self.untouched {
                return "y[\(token), \(column)] was not written"
            }
            if token == m - 1 { break }
            for column in n..<max(n, ld) where bits(token, column) != Self.untouched {
                return "wrote behind row \(token), column \(column)"
            }
        }
        return region.intact ? nil : "wrote outside y"
    }

    /// The first place where two results differ in any bit.
    /// from: which row of the other is the first row of this one.
    func difference(_ other: Results, from: Int = 0) -> String? {
        for token in 0..<m {
            for column in 0..<n where bits(token, column) != other.bits(from + token, column) {
                return "y[\(token), \(column)]: \(self[token, column]) and \(other[from + token, column])"
            }
        }
        return nil
    }
}

/// Activations in guarded memory; what lies between the rows is NaN.
final class Tokens: @unchecked Sendable {
    let m, k, ld: Int
    let region: Region

    init(m: Int, k: Int, ld: Int, edge: Region.Edge = .back) {
        (self.m, self.k, self.ld) = (m, k, ld)
        region = Region(((m - 1) * ld + k) * 4, edge: edge)
        region.fill(0xff)
    }

    /// zeros: some tokens and some blocks of 32 become zero.
    func fill(_ spread: Spread, zeros: Bool, seed: UInt64) {
        var random = Random(seed)
        for token in 0..<m {
            let allZero = zeros && random.below(8) == 0
            for first in stride(from: 0, to: k, by: 32) {
                let zero = allZero || zeros && random.below(8) == 0
                for k in first..<min(first + 32, k) { self[token, k] = zero ? 0 : random.number(spread) }
            }
        }
    }

    subscript(token: Int, k: Int) -> Float {
        get { region.floats[token * ld + k] }
        set { region.floats[token * ld + k] = newValue }
    }
}

/// The product as a host computes it: threads of its own that meet at a barrier, and a work area of exactly the size it
/// was told, at any address. dimensions: of several products of one op, all with the same x; their results follow each
/// other. Returns nil or what is wrong with the memory around.
func multiply(_ plan: Plan, _ weights: Weights, _ x: Tokens, _ y: Results, shift: Int = 63,
              _ dimensions: Batch.Dimensions = Batch.Dimensions()) -> String? {
    let batch = Shared(Batch(weights, x: x.region.floats, ldx: x.ld, y: y.region.floats, ldy: y.ld, dimensions))
    guard let bytes = try? plan.workBytes(products: batch.value.count) else { return "too large" }
    let work = Region(bytes, distance: shift)
    work.fill(0xff)  // NaN and -1: nothing may be read before it is written
    let barrier = Barrier(plan.threads)
    inParallel(plan.threads) { thread in
        let worker = Worker(index: thread, threads: plan.threads, work: work.base, barrier: Barrier.wait,
                            barrierData: UnsafeMutableRawPointer(barrier.pointer))
        Product.run(plan, batch.value, worker: worker)
    }
    if !work.intact { return "wrote outside the work area" }
    if !x.region.intact { return "wrote outside x" }
    return y.trouble
}

func multiply(_ plan: Plan, _ tensor: PackedTensor, matrix: Int = 0, _ x: Tokens, _ y: Results,
              shift: Int = 63) -> String? {
    multiply(plan, .packed(tensor, matrix: matrix), x, y, shift: shift)
}

/// A value that several threads only read.
final class Shared<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
