import CKernelABI

/// How a kernel wants its activations.
package enum Activation: Int32 {
    case plain   // as the host has them
    case bf16, f32, q8

    /// Bytes per token and K-block of the packed layout.
    var rowBytes: Int { self == .f32 ? 128 : 64 }
    /// K per K-block.
    var kPerBlock: Int { self == .q8 ? 64 : 32 }
}

/// One kernel: what it is for and where it is.
package struct KernelRow {
    package let name: StaticString
    package let isa: ISA
    package let type: Int32
    package let sparse: Bool
    package let serves: ClosedRange<Int>  // tokens it can serve
    package let from: Int                 // tokens from which the plan wants it
    package let activation: Activation
    package let exact: Bool               // bit-equal to the reference on the same input
    let scratch: Scratch                  // what a thread needs beside the activations
    package let function: sx_kernel_fn
}

/// Scratch memory of one thread, by what the kernel keeps there. Numbers, not closures: a closure would bring the Swift
/// runtime into the library.
struct Scratch {
    let fixed: Int          // bytes whatever the tokens
    let perGroup: Int       // bytes per group of tokens, up to SX_GEMM_M tokens
    let group: Int          // tokens

    func bytes(_ m: Int) -> Int { fixed + (min(m, Int(SX_GEMM_M)) + group - 1) / group * perGroup }

    static var registers: Scratch { Scratch(fixed: 256, perGroup: 0, group: 1) }
    /// The levels of a chunk.
    static var reference: Scratch { Scratch(fixed: 8192, perGroup: 0, group: 1) }
    static var ring: Scratch { Scratch(fixed: 32768, perGroup: 0, group: 1) }
    /// Two expanded chunks, then results: per token and pair of panels 128 bytes, for F16 per panel.
    static func gemm512(half: Bool) -> Scratch { Scratch(fixed: 65536, perGroup: (half ? 16 : 8) * 128, group: 1) }
    /// Two slots of two expanded chunks, then a cell of four result tiles per 32 tokens and pair of panels.
    static var gemmAMX: Scratch { Scratch(fixed: 131072, perGroup: 8 * 4096, group: 32) }
}

/// The only list of kernels, with KernelTable+Quant.swift. The plan, the tests, the benchmark and the support matrix all
/// read it. For a weight's type and form the plan takes the last row whose level is usable and whose tokens fit.
package enum KernelTable {
    package static let count = wideRows + quantRows
    package static let many = Int(Int32.max)
    private static let wideRows = 38

    package static func row(_ index: Int) -> KernelRow {
        let bf16 = Int32(SX_BF16), f16 = Int32(SX_F16)
        switch index {
        case 0: return reference("reference-bf16-dense", bf16, false, sx_reference_product)
        case 1: return reference("reference-bf16-sparse", bf16, true, sx_reference_product)
        case 2: return reference("reference-f16-dense", f16, false, sx_reference_product)
        case 3: return reference("reference-f16-sparse", f16, true, sx_reference_product)

        case 4: return gemm512("avx512-bf16-dense-gemm", bf16, false, sx_avx512_bf16_dense_gemm)
        case 5: return gemm512("avx512-bf16-sparse-gemm", bf16, true, sx_avx512_bf16_sparse_gemm)
        case 6: return gemm512("avx512-f16-dense-gemm", f16, false, sx_avx512_f16_dense_gemm)
        case 7: return gemm512("avx512-f16-sparse-gemm", f16, true, sx_avx512_f16_sparse_gemm)

        case 8: return decode("avx512-bf16-dense-m16", bf16, false, 9...16, sx_avx512_bf16_dense_m16)
        case 9: return decode("avx512-bf16-sparse-m16", bf16, true, 9...16, sx_avx512_bf16_sparse_m16)
        case 10: return decode("avx512-bf16-dense-m1", bf16, false, 1...1, sx_avx512_bf16_dense_m1)
        case 11: return decode("avx512-bf16-sparse-m1", bf16, true, 1...1, sx_avx512_bf16_sparse_m1)
        case 12: return decode("avx512-f16-dense-m1", f16, false, 1...1, sx_avx512_f16_dense_m1)
        case 13: return decode("avx512-f16-sparse-m1", f16, true, 1...1, sx_avx512_f16_sparse_m1)
        case 14: return decode("avx512-bf16-dense-m2", bf16, false, 2...2, sx_avx512_bf16_dense_m2)
        case 15: return decode("avx512-bf16-sparse-m2", bf16, true, 2...2, sx_avx512_bf16_sparse_m2)
        case 16: return decode("avx512-f16-dense-m2", f16, false, 2...2, sx_avx512_f16_dense_m2)
        case 17: return decode("avx512-f16-sparse-m2", f16, true, 2...2, sx_avx512_f16_sparse_m2)
        case 18: return decode("avx512-bf16-dense-m3", bf16, false, 3...3, sx_avx512_bf16_dense_m3)
        case 19: return decode("avx512-bf16-sparse-m3", bf16, true, 3...3, sx_avx512_bf16_sparse_m3)
        case 20: return decode("avx512-f16-dense-m3", f16, false, 3...3, sx_avx512_f16_dense_m3)
        case 21: return decode("avx512-f16-sparse-m3", f16, true, 3...3, sx_avx512_f16_sparse_m3)
        case 22: return decode("avx512-bf16-dense-m4", bf16, false, 4...4, sx_avx512_bf16_dense_m4)
        case 23: return decode("avx512-bf16-sparse-m4", bf16, true, 4...4, sx_avx512_bf16_sparse_m4)
        case 24: return decode("avx512-f16-dense-m4", f16, false, 4...4, sx_avx512_f16_dense_m4)
        case 25: return decode("avx512-f16-sparse-m4", f16, true, 4...4, sx_avx512_f16_sparse_m4)
        case 26: return decode("avx512-bf16-dense-m8", bf16, false, 5...8, sx_avx512_bf16_dense_m8)
        case 27: return decode("avx512-bf16-sparse-m8", bf16, true, 5...8, sx_avx512_bf16_sparse_m8)
        case 28: return decode("avx512-f16-dense-m8", f16, false, 5...8, sx_avx512_f16_dense_m8)
        case 29: return decode("avx512-f16-sparse-m8", f16, true, 5...8, sx_avx512_f16_sparse_m8)

        // Where the tile unit takes over: bf16 from 2 tokens, and sparse from the first, because above 60% zeros
        // vdpbf16ps is expected to cost more than memory does (5 cycles per tile row against 4.3 at 70%, by count; the
        // switch points come from prototypes on Emerald Rapids, not from these kernels); F16 keeps its full accuracy to
        // 16 tokens and is rounded to bf16 beyond.
        case 30: return gemmAMX("amx-bf16-dense-gemm", bf16, false, sx_amx_bf16_dense_gemm)
        case 31: return gemmAMX("amx-bf16-sparse-gemm", bf16, true, sx_amx_bf16_sparse_gemm)
        case 32: return gemmAMX("amx-f16-dense-gemm", f16, false, sx_amx_f16_dense_gemm)
        case 33: return gemmAMX("amx-f16-sparse-gemm", f16, true, sx_amx_f16_sparse_gemm)
        case 34: return ring("amx-bf16-dense-ring", bf16, false, 2, sx_amx_bf16_dense_ring)
        case 35: return ring("amx-bf16-sparse-ring", bf16, true, 1, sx_amx_bf16_sparse_ring)
        case 36: return ring("amx-f16-dense-ring", f16, false, 17, sx_amx_f16_dense_ring)
        case 37: return ring("amx-f16-sparse-ring", f16, true, 17, sx_amx_f16_sparse_ring)
        default: return quantRow(index - wideRows)
        }
    }

    /// Rows of one type and form are in fixed places, so that a product does not go through the whole table: place 0 up to
    /// `places`, in the order of the table. nil: the type has no such row.
    package static let places = 10

    package static func index(_ place: Int, type: Int32, sparse: Bool) -> Int? {
        guard type == Int32(SX_BF16) || type == Int32(SX_F16) else {
            guard let index = quantIndex(place, type: type, sparse: sparse) else { return nil }
            return wideRows + index
        }
        let column = (type == Int32(SX_F16) ? 2 : 0) + (sparse ? 1 : 0)
        if place < 2 { return place * 4 + column }
        if place == 2 { return type == Int32(SX_BF16) ? 8 + column : nil }
        return 10 + (place - 3) * 4 + column
    }

    private static func reference(_ name: StaticString, _ type: Int32, _ sparse: Bool, _ f: sx_kernel_fn) -> KernelRow {
        KernelRow(name: name, isa: .reference, type: type, sparse: sparse, serves: 1...many, from: 1,
                  activation: .plain, exact: true, scratch: .registers, function: f)
    }

    private static func decode(_ name: StaticString, _ type: Int32, _ sparse: Bool, _ m: ClosedRange<Int>,
                               _ f: sx_kernel_fn) -> KernelRow {
        KernelRow(name: name, isa: .avx512, type: type, sparse: sparse, serves: m, from: m.lowerBound, activation: vector(type),
                  exact: false, scratch: .registers, function: f)
    }

    private static func gemm512(_ name: StaticString, _ type: Int32, _ sparse: Bool, _ f: sx_kernel_fn) -> KernelRow {
        KernelRow(name: name, isa: .avx512, type: type, sparse: sparse, serves: 1...many, from: 1, activation: vector(type),
                  exact: false, scratch: .gemm512(half: type == Int32(SX_F16)), function: f)
    }

    private static func ring(_ name: StaticString, _ type: Int32, _ sparse: Bool, _ from: Int, _ f: sx_kernel_fn) -> KernelRow {
        KernelRow(name: name, isa: .amx, type: type, sparse: sparse, serves: 1...32, from: from, activation: .bf16,
                  exact: false, scratch: .ring, function: f)
    }

    static func gemmAMX(_ name: StaticString, _ type: Int32, _ sparse: Bool, _ f: sx_kernel_fn) -> KernelRow {
        KernelRow(name: name, isa: .amx, type: type, sparse: sparse, serves: 1...many, from: 33, activation: .bf16,
                  exact: false, scratch: .gemmAMX, function: f)
    }

    private static func vector(_ type: Int32) -> Activation { type == Int32(SX_F16) ? .f32 : .bf16 }

    /// The next number of tokens from which another row can be the choice, or nil: there is none.
    package static func change(type: Int32, sparse: Bool, after m: Int) -> Int? {
        var next: Int? = nil
        for place in 0..<places {
            guard let index = index(place, type: type, sparse: sparse) else { continue }
            let row = row(index)
            for bound in 0..<3 {
                let tokens = bound == 0 ? row.from : bound == 1 ? row.serves.lowerBound : row.serves.upperBound + 1
                if tokens > m && tokens <= many { next = min(next ?? many, tokens) }
            }
        }
        return next
    }

    /// The row for a product, or nil if nothing serves the type.
    package static func choose(type: Int32, sparse: Bool, m: Int, isa: ISA) -> Int? {
        var place = places - 1
        while place >= 0 {
            if let index = index(place, type: type, sparse: sparse) {
                let candidate = row(index)
                if candidate.isa.rawValue <= isa.rawValue && candidate.serves.contains(m) && candidate.from <= m { return index }
            }
            place -= 1
        }
        return nil
    }
}
