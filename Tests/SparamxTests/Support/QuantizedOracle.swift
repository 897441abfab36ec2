import CKernelABI
@testable import SparamxCore

/// Kernels that quantize the activations to 8 bits: the product of the quantized problem, and how far it is from the
/// true one.
struct QuantizedOracle {
    private let n, blocks, steps: Int
    var y, magnitude: [Double]         // of the quantized problem; sums of |what is added| over the parts
    private var weightSums: [Double]   // [block of 32][n]
    private var tokenSteps: [Double]   // [m][block of 32]
    private var halves: [Double]       // [m][n]: what rounding scales and scaled sums to float16 moves

    init(_ weights: Matrix, matrix: Int, x: UnsafePointer<Float>, ldx: Int, m: Int) {
        let block = weights.block!, part = block.part, parts = weights.k / part
        n = weights.n
        blocks = weights.k / 32
        // Each part adds one term, or two; the factor of a term is a product that rounds.
        steps = parts * (block.hasMinimum ? 2 : 1) + 2
        y = .init(repeating: 0, count: m * n)
        magnitude = y
        weightSums = .init(repeating: 0, count: blocks * n)
        tokenSteps = .init(repeating: 0, count: m * blocks)
        halves = y
        // ggml's blocks of 32 for activations have a float16 scale; for types in blocks of 256 it takes others, and the
        // library keeps single precision.
        // What a float16 cannot hold stays as it is.
        func rounded(_ value: Float) -> Float {
            let half = Float(Float16(value))
            return block.elements < 256 && half.isFinite ? half : value
        }
        // Integers, exact in single precision, as all sums here.
        var levels = [Float](repeating: 0, count: n * weights.k)
        var scales = [(scale: Double, minimum: Double)](repeating: (0, 0), count: parts * n)
        for row in 0..<n {
            let source = matrix * n + row
            for i in 0..<parts {
                scales[i * n + row] = block.scaleAndMinimum(weights.blockBytes(source, i * part),
                                                            i * part % block.elements / part)
            }
            for k in 0..<weights.k {
                let level = block.level(Int(weights.code(source, k))), (scale, minimum) = scales[k / part * n + row]
                // Levels as the kernels multiply them: Q4_1 and the like have no offset.
                levels[k * n + row] = Float(level)
                weightSums[k / 32 * n + row] += (scale * Double(level) - minimum).magnitude
            }
        }
        var codes = [Float](repeating: 0, count: 32), sums = [Float](repeating: 0, count: n)
        for token in 0..<m {
            for first in 0..<blocks {
                let from = x + token * ldx + first * 32
                var largest: Float = 0
                for k in 0..<32 { largest = max(largest, from[k].magnitude) }
                let inverse = largest == 0 ? 0 : 127 / largest, exact = largest / 127, step = rounded(exact)
                for k in 0..<32 { codes[k] = (from[k] * inverse).rounded(.toNearestOrEven) }
                tokenSteps[token * blocks + first] = Double(exact)
                for i in first * 32 / part..<(first + 1) * 32 / part {
                    var total: Float = 0
                    for j in 0..<n { sums[j] = 0 }
                    levels.withUnsafeBufferPointer { levels in
                        sums.withUnsafeMutableBufferPointer { sums in
                            for k in i * part % 32..<i * part % 32 + part {
                                total += codes[k]
                                if codes[k] == 0 { continue }
                                let w = levels.baseAddress! + (first * 32 + k) * n, code = codes[k]
                                for j in 0..<n { sums[j] += code * w[j] }
                            }
                        }
                    }
                    for j in 0..<n {
                        let (scale, minimum) = scales[i * n + j]
                        let term = Double(sums[j]) * scale * Double(step)
                        let less = minimum * Double(rounded(exact * total))
                        y[token * n + j] += term - less
                        magnitude[token * n + j] += term.magnitude + less.magnitude
                        halves[token * n + j] += (Double(sums[j]) * scale * (Double(step) - Double(exact))).magnitude
                            + (minimum * (Double(rounded(exact * total)) - Double(exact) * Double(total))).magnitude
                    }
                }
            }
        }
    }

    /// From the quantized problem: integer sums are exact and fit single precision (32 * 128 * 127 < 2^24); the product
    /// of two scales rounds once (a third factor of 6 or 8 bits was exact), then one fused addition per term.
    func bound(_ token: Int, _ column: Int) -> Double {
        let steps = Double(steps)
        return magnitude[token * n + column] * (steps * 0x1p-24 / (1 - steps * 0x1p-24) + 0x1p-40) + 0x1p-120
    }

    /// From the true product: a code is off by half a step, and a little more because 127 / largest, the product with
    /// it and largest / 127 are rounded (three roundings of at most 127 steps: less than 2^-14 steps).
    func trueBound(_ token: Int, _ column: Int) -> Double {
        var total = bound(token, column) + halves[token * n + column]
        for block in 0..<blocks {
            total += weightSums[block * n + column] * tokenSteps[token * blocks + block] * (0.5 + 0x1p-14)
        }
        return total
    }
}
