import CKernelABI
@testable import SparamxCore

/// The product in double precision, and how far a kernel may be from it.
///
/// Let y = sum of w * x over k. What a kernel does to it, with u = 2^-8 the unit roundoff of bf16 (8 significant bits)
/// and v = 2^-24 that of single precision:
///
/// 1. Activations rounded to bf16 once: x(1 + a), |a| <= u. Matrix of F16 and quantized types rounded to bf16 once
///    where
///    the activations are bf16: w(1 + b), |b| <= u. Quantized weights are rounded to single precision before:
///    w(1 + b)(1 + d), |d| <= v. Once only, whether a minimum is subtracted or not: scale * (level - offset) - minimum
///    is one fused operation on numbers that single precision holds exactly (scales and minimums have at most 11 + 8
///    significant bits, levels 8), so it is the exact difference that is rounded. Elsewhere a, b and d are 0.
/// 2. A product of two bf16 numbers has 16 bits and is exact; otherwise the multiplication is fused with an addition
///    and rounds with it.
/// 3. A term passes through at most `steps` additions that round, whatever their order: each multiplies it by 1 + c,
///    |c| <= v. All of them together: |c'| <= g = steps * v / (1 - steps * v).
///
/// So |error| <= sum |w||x| * ((1 + u)^roundings * (1 + v or 1) * (1 + g) - 1), plus what is lost where numbers are
/// subnormal: vdpbf16ps and tdpbf16ps treat subnormal factors as zero and flush subnormal sums, conversions to bf16
/// flush; each loses less than t = 2^-126, times the other factor where it is a factor: t * (sum |w| + (1 + u) * sum
/// |x| + steps). In single precision subnormals are kept, a rounding there loses at most 2^-150.
///
/// steps: an element of K is one addition in its chain; chains over even and odd k, and over both halves, meet in one
/// or two more. vdpbf16ps adds k and k+1 to one sum, one after the other: k + 2. The F16 kernels keep even and odd k
/// apart: (k + 1) / 2 + 1. tdpbf16ps has chains of 16 in each tile and adds each tile's sum: fewer than k + 2. The
/// reference sums in double and rounds once.
struct Oracle {
    let m, n, k: Int
    var y, magnitude: [Double]       // m x n
    private var weightSums: [Double]  // n
    private var tokenSums: [Double]   // m

    init(_ weights: Matrix, matrix: Int, x: UnsafePointer<Float>, ldx: Int, m: Int) {
        self.m = m
        n = weights.n
        k = weights.k
        y = .init(repeating: 0, count: m * n)
        magnitude = y
        weightSums = .init(repeating: 0, count: n)
        tokenSums = .init(repeating: 0, count: m)
        var columns = [Double](repeating: 0, count: n * k)  // [k][n]: the inner loop runs over contiguous outputs
        for row in 0..<n {
            var scale = 1.0, minimum = 0.0
            for k in 0..<k {
                var value: Double
                if let block = weights.block {
                    if k % block.part == 0 {
                        (scale, minimum) = block.scaleAndMinimum(weights.blockBytes(matrix * n + row, k),
                                                                 k % block.elements / block.part)
                    }
                    value = scale * Double(block.level(Int(weights.code(matrix * n + row, k)))) - minimum
                } else {
                    value = weights.value(matrix * n + row, k)
                }
                columns[k * n + row] = value
                weightSums[row] += value.magnitude
            }
        }
        for token in 0..<m {
            y.withUnsafeMutableBufferPointer { y in
                magnitude.withUnsafeMutableBufferPointer { magnitude in
                    columns.withUnsafeBufferPointer { columns in
                        let sums = y.baseAddress! + token * n, sizes = magnitude.baseAddress! + token * n
                        for k in 0..<k {
                            let value = Double(x[token * ldx + k]), w = columns.baseAddress! + k * n
                            tokenSums[token] += value.magnitude
                            for j in 0..<n {
                                let term = value * w[j]
                                sums[j] += term
                                sizes[j] += term.magnitude
                            }
                        }
                    }
                }
            }
        }
    }

    /// The bound for output (token, column) of a kernel whose products are in floating point.
    func bound(_ row: KernelRow, _ token: Int, _ column: Int) -> Double {
        let u = 0x1p-8, v = 0x1p-24
        let narrow = row.activation == .bf16
        let roundings = !narrow ? 0 : row.type == bf16 ? 1 : 2
        let steps: Double
        switch row.activation {
        case .plain: steps = 1
        case .f32: steps = Double((k + 1) / 2 + 1)
        default: steps = Double(k + 2)
        }
        let g = steps * v / (1 - steps * v)
        var relative = (1 + u) * (1 + g) - 1
        if roundings == 0 { relative = g }
        if roundings == 2 { relative = (1 + u) * (1 + u) * (1 + g) * (row.type == f16 ? 1 : 1 + v) - 1 }
        let tiny = narrow ? 0x1p-126 * (weightSums[column] + (1 + u) * tokenSums[token] + steps) : 0x1p-150 * steps
        return magnitude[token * n + column] * (relative + 0x1p-40) + tiny
    }
}
