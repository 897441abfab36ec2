import CKernelABI

/// The rows of the quantized types: the same kernels for each type and form.
extension KernelTable {
    private static let types = 13
    private static let perKind = 2 * types
    static let quantRows = 7 * perKind

    static func quantRow(_ index: Int) -> KernelRow {
        let kind = index / perKind, decodes = kind >= 2 && kind < 5
        let place = decodes ? (index - 2 * perKind) / 3 : index % perKind, sparse = place >= types
        let type = quantType(place % types)
        switch kind {
        case 0:
            return KernelRow(name: referenceName(place), isa: .reference, type: type, sparse: sparse, serves: 1...many,
                             from: 1, activation: .q8, exact: true, scratch: .reference, function: sx_reference_product_quant)
        case 1:
            let (name, function) = gemm(place)
            return KernelRow(name: name, isa: .avx512, type: type, sparse: sparse, serves: 1...many, from: 1,
                             activation: .q8, exact: true, scratch: .gemm512(half: false), function: function)
        case 2..<5:
            let size = (index - 2 * perKind) % 3, m = size + 1, (name, function) = decode(index - 2 * perKind)
            return KernelRow(name: name, isa: .avx512, type: type, sparse: sparse, serves: m...(size == 2 ? 4 : m), from: m,
                             activation: .q8, exact: true, scratch: .registers, function: function)
        case 5:
            let (name, function) = tileGemm(place)
            return gemmAMX(name, type, sparse, function)
        default: return ring(place, type, sparse)
        }
    }

    /// From 5 tokens, where scaling part by part no longer fits the vector units (prototypes on Emerald Rapids). Types
    /// with scales per 16 multiply in bf16: tiles of bytes would be a quarter full.
    private static func ring(_ place: Int, _ type: Int32, _ sparse: Bool) -> KernelRow {
        let (name, function) = tileRing(place), exact = quant(type).sub == 32
        return KernelRow(name: name, isa: .amx, type: type, sparse: sparse, serves: 1...32, from: 5,
                         activation: exact ? .q8 : .bf16, exact: exact, scratch: .ring, function: function)
    }

    /// As `index` of the wide types.
    static func quantIndex(_ place: Int, type: Int32, sparse: Bool) -> Int? {
        guard place < 7, let number = number(type) else { return nil }
        let column = number + (sparse ? types : 0)
        switch place {
        case 0, 1: return place * perKind + column
        case 2..<5: return 2 * perKind + column * 3 + place - 2
        default: return place * perKind + column
        }
    }

    private static func number(_ type: Int32) -> Int? {
        switch type {
        case Int32(SX_Q4_0): return 0
        case Int32(SX_Q4_1): return 1
        case Int32(SX_Q5_0): return 2
        case Int32(SX_Q5_1): return 3
        case Int32(SX_Q8_0): return 4
        case Int32(SX_Q2_K): return 5
        case Int32(SX_Q3_K): return 6
        case Int32(SX_Q4_K): return 7
        case Int32(SX_Q5_K): return 8
        case Int32(SX_Q6_K): return 9
        case Int32(SX_IQ4_NL): return 10
        case Int32(SX_IQ4_XS): return 11
        case Int32(SX_MXFP4): return 12
        default: return nil
        }
    }

    private static func quantType(_ index: Int) -> Int32 {
        switch index {
        case 0: return Int32(SX_Q4_0)
        case 1: return Int32(SX_Q4_1)
        case 2: return Int32(SX_Q5_0)
        case 3: return Int32(SX_Q5_1)
        case 4: return Int32(SX_Q8_0)
        case 5: return Int32(SX_Q2_K)
        case 6: return Int32(SX_Q3_K)
        case 7: return Int32(SX_Q4_K)
        case 8: return Int32(SX_Q5_K)
        case 9: return Int32(SX_Q6_K)
        case 10: return Int32(SX_IQ4_NL)
        case 11: return Int32(SX_IQ4_XS)
        default: return Int32(SX_MXFP4)
        }
    }

    private static func referenceName(_ place: Int) -> StaticString {
        switch place {
        case 0: return "reference-q4_0-dense"
        case 1: return "reference-q4_1-dense"
        case 2: return "reference-q5_0-dense"
        case 3: return "reference-q5_1-dense"
        case 4: return "reference-q8_0-dense"
        case 5: return "reference-q2_k-dense"
        case 6: return "reference-q3_k-dense"
        case 7: return "reference-q4_k-dense"
        case 8: return "reference-q5_k-dense"
        case 9: return "reference-q6_k-dense"
        case 10: return "reference-iq4_nl-dense"
        case 11: return "reference-iq4_xs-dense"
        case 12: return "reference-mxfp4-dense"
        case 13: return "reference-q4_0-sparse"
        case 14: return "reference-q4_1-sparse"
        case 15: return "reference-q5_0-sparse"
        case 16: return "reference-q5_1-sparse"
        case 17: return "reference-q8_0-sparse"
        case 18: return "reference-q2_k-sparse"
        case 19: return "reference-q3_k-sparse"
        case 20: return "reference-q4_k-sparse"
        case 21: return "reference-q5_k-sparse"
        case 22: return "reference-q6_k-sparse"
        case 23: return "reference-iq4_nl-sparse"
        case 24: return "reference-iq4_xs-sparse"
        default: return "reference-mxfp4-sparse"
        }
    }

    private static func gemm(_ place: Int) -> (StaticString, sx_kernel_fn) {
        switch place {
        case 0: return ("avx512-q4_0-dense-gemm", sx_avx512_q4_0_dense_gemm)
        case 1: return ("avx512-q4_1-dense-gemm", sx_avx512_q4_1_dense_gemm)
        case 2: return ("avx512-q5_0-dense-gemm", sx_avx512_q5_0_dense_gemm)
        case 3: return ("avx512-q5_1-dense-gemm", sx_avx512_q5_1_dense_gemm)
        case 4: return ("avx512-q8_0-dense-gemm", sx_avx512_q8_0_dense_gemm)
        case 5: return ("avx512-q2_k-dense-gemm", sx_avx512_q2_k_dense_gemm)
        case 6: return ("avx512-q3_k-dense-gemm", sx_avx512_q3_k_dense_gemm)
        case 7: return ("avx512-q4_k-dense-gemm", sx_avx512_q4_k_dense_gemm)
        case 8: return ("avx512-q5_k-dense-gemm", sx_avx512_q5_k_dense_gemm)
        case 9: return ("avx512-q6_k-dense-gemm", sx_avx512_q6_k_dense_gemm)
        case 10: return ("avx512-iq4_nl-dense-gemm", sx_avx512_iq4_nl_dense_gemm)
        case 11: return ("avx512-iq4_xs-dense-gemm", sx_avx512_iq4_xs_dense_gemm)
        case 12: return ("avx512-mxfp4-dense-gemm", sx_avx512_mxfp4_dense_gemm)
        case 13: return ("avx512-q4_0-sparse-gemm", sx_avx512_q4_0_sparse_gemm)
        case 14: return ("avx512-q4_1-sparse-gemm", sx_avx512_q4_1_sparse_gemm)
        case 15: return ("avx512-q5_0-sparse-gemm", sx_avx512_q5_0_sparse_gemm)
        case 16: return ("avx512-q5_1-sparse-gemm", sx_avx512_q5_1_sparse_gemm)
        case 17: return ("avx512-q8_0-sparse-gemm", sx_avx512_q8_0_sparse_gemm)
        case 18: return ("avx512-q2_k-sparse-gemm", sx_avx512_q2_k_sparse_gemm)
        case 19: return ("avx512-q3_k-sparse-gemm", sx_avx512_q3_k_sparse_gemm)
        case 20: return ("avx512-q4_k-sparse-gemm", sx_avx512_q4_k_sparse_gemm)
        case 21: return ("avx512-q5_k-sparse-gemm", sx_avx512_q5_k_sparse_gemm)
        case 22: return ("avx512-q6_k-sparse-gemm", sx_avx512_q6_k_sparse_gemm)
        case 23: return ("avx512-iq4_nl-sparse-gemm", sx_avx512_iq4_nl_sparse_gemm)
        case 24: return ("avx512-iq4_xs-sparse-gemm", sx_avx512_iq4_xs_sparse_gemm)
        default: return ("avx512-mxfp4-sparse-gemm", sx_avx512_mxfp4_sparse_gemm)
        }
    }

    /// place: type and form, then 1, 2 or up to 4 tokens.
    private static func decode(_ place: Int) -> (StaticString, sx_kernel_fn) {
        switch place {
        case 0: return ("avx512-q4_0-dense-m1", sx_avx512_q4_0_dense_m1)
        case 1: return ("avx512-q4_0-dense-m2", sx_avx512_q4_0_dense_m2)
        case 2: return ("avx512-q4_0-dense-m4", sx_avx512_q4_0_dense_m4)
        case 3: return ("avx512-q4_1-dense-m1", sx_avx512_q4_1_dense_m1)
        case 4: return ("avx512-q4_1-dense-m2", sx_avx512_q4_1_dense_m2)
        case 5: return ("avx512-q4_1-dense-m4", sx_avx512_q4_1_dense_m4)
        case 6: return ("avx512-q5_0-dense-m1", sx_avx512_q5_0_dense_m1)
        case 7: return ("avx512-q5_0-dense-m2", sx_avx512_q5_0_dense_m2)
        case 8: return ("avx512-q5_0-dense-m4", sx_avx512_q5_0_dense_m4)
        case 9: return ("avx512-q5_1-dense-m1", sx_avx512_q5_1_dense_m1)
        case 10: return ("avx512-q5_1-dense-m2", sx_avx512_q5_1_dense_m2)
        case 11: return ("avx512-q5_1-dense-m4", sx_avx512_q5_1_dense_m4)
        case 12: return ("avx512-q8_0-dense-m1", sx_avx512_q8_0_dense_m1)
        case 13: return ("avx512-q8_0-dense-m2", sx_avx512_q8_0_dense_m2)
        case 14: return ("avx512-q8_0-dense-m4", sx_avx512_q8_0_dense_m4)
        case 15: return ("avx512-q2_k-dense-m1", sx_avx512_q2_k_dense_m1)
        case 16: return ("avx512-q2_k-dense-m2", sx_avx512_q2_k_dense_m2)
        case 17: return ("avx512-q2_k-dense-m4", sx_avx512_q2_k_dense_m4)
        case 18: return ("avx512-q3_k-dense-m1", sx_avx512_q3_k_dense_m1)
        case 19: return ("avx512-q3_k-dense-m2", sx_avx512_q3_k_dense_m2)
        case 20: return ("avx512-q3_k-dense-m4", sx_avx512_q3_k_dense_m4)
        case 21: return ("avx512-q4_k-dense-m1", sx_avx512_q4_k_dense_m1)
        case 22: return ("avx512-q4_k-dense-m2", sx_avx512_q4_k_dense_m2)
        case 23: return ("avx512-q4_k-dense-m4", sx_avx512_q4_k_dense_m4)
        case 24: return ("avx512-q5_k-dense-m1", sx_avx512_q5_k_dense_m1)
        case 25: return ("avx512-q5_k-dense-m2", sx_avx512_q5_k_dense_m2)
        case 26: return ("avx512-q5_k-dense-m4", sx_avx512_q5_k_dense_m4)
        case 27: return ("avx512-q6_k-dense-m1", sx_avx512_q6_k_dense_m1)
        case 28: return ("avx512-q6_k-dense-m2", sx_avx512_q6_k_dense_m2)
        case 29: return ("avx512-q6_k-dense-m4", sx_avx512_q6_k_dense_m4)
        case 30: return ("avx512-iq4_nl-dense-m1", sx_avx512_iq4_nl_dense_m1)
        case 31: return ("avx512-iq4_nl-dense-m2", sx_avx512_iq4_nl_dense_m2)
        case 32: return ("avx512-iq4_nl-dense-m4", sx_avx512_iq4_nl_dense_m4)
        case 33: return ("avx512-iq4_xs-dense-m1", sx_avx512_iq4_xs_dense_m1)
        case 34: return ("avx512-iq4_xs-dense-m2", sx_avx512_iq4_xs_dense_m2)
        case 35: return ("avx512-iq4_xs-dense-m4", sx_avx512_iq4_xs_dense_m4)
        case 36: return ("avx512-mxfp4-dense-m1", sx_avx512_mxfp4_dense_m1)
        case 37: return ("avx512-mxfp4-dense-m2", sx_avx512_mxfp4_dense_m2)
        case 38: return ("avx512-mxfp4-dense-m4", sx_avx512_mxfp4_dense_m4)
        case 39: return ("avx512-q4_0-sparse-m1", sx_avx512_q4_0_sparse_m1)
        case 40: return ("avx512-q4_0-sparse-m2", sx_avx512_q4_0_sparse_m2)
        case 41: return ("avx512-q4_0-sparse-m4", sx_avx512_q4_0_sparse_m4)
        case 42: return ("avx512-q4_1-sparse-m1", sx_avx512_q4_1_sparse_m1)
        case 43: return ("avx512-q4_1-sparse-m2", sx_avx512_q4_1_sparse_m2)
        case 44: return ("avx512-q4_1-sparse-m4", sx_avx512_q4_1_sparse_m4)
        case 45: return ("avx512-q5_0-sparse-m1", sx_avx512_q5_0_sparse_m1)
        case 46: return ("avx512-q5_0-sparse-m2", sx_avx512_q5_0_sparse_m2)
        case 47: return ("avx512-q5_0-sparse-m4", sx_avx512_q5_0_sparse_m4)
        case 48: return ("avx512-q5_1-sparse-m1", sx_avx512_q5_1_sparse_m1)
        case 49: return ("avx512-q5_1-sparse-m2", sx_avx512_q5_1_sparse_m2)
        case 50: return ("avx512-q5_1-sparse-m4", sx_avx512_q5_1_sparse_m4)
        case 51: return ("avx512-q8_0-sparse-m1", sx_avx512_q8_0_sparse_m1)
        case 52: return ("avx512-q8_0-sparse-m2", sx_avx512_q8_0_sparse_m2)
        case 53: return ("avx512-q8_0-sparse-m4", sx_avx512_q8_0_sparse_m4)
        case 54: return ("avx512-q2_k-sparse-m1", sx_avx512_q2_k_sparse_m1)
        case 55: return ("avx512-q2_k-sparse-m2", sx_avx512_q2_k_sparse_m2)
        case 56: return ("avx512-q2_k-sparse-m4", sx_avx512_q2_k_sparse_m4)
        case 57: return ("avx512-q3_k-sparse-m1", sx_avx512_q3_k_sparse_m1)
        case 58: return ("avx512-q3_k-sparse-m2", sx_avx512_q3_k_sparse_m2)
        case 59: return ("avx512-q3_k-sparse-m4", sx_avx512_q3_k_sparse_m4)
        case 60: return ("avx512-q4_k-sparse-m1", sx_avx512_q4_k_sparse_m1)
        case 61: return ("avx512-q4_k-sparse-m2", sx_avx512_q4_k_sparse_m2)
        case 62: return ("avx512-q4_k-sparse-m4", sx_avx512_q4_k_sparse_m4)
        case 63: return ("avx512-q5_k-sparse-m1", sx_avx512_q5_k_sparse_m1)
        case 64: return ("avx512-q5_k-sparse-m2", sx_avx512_q5_k_sparse_m2)
        case 65: return ("avx512-q5_k-sparse-m4", sx_avx512_q5_k_sparse_m4)
        case 66: return ("avx512-q6_k-sparse-m1", sx_avx512_q6_k_sparse_m1)
        case 67: return ("avx512-q6_k-sparse-m2", sx_avx512_q6_k_sparse_m2)
        case 68: return ("avx512-q6_k-sparse-m4", sx_avx512_q6_k_sparse_m4)
        case 69: return ("avx512-iq4_nl-sparse-m1", sx_avx512_iq4_nl_sparse_m1)
        case 70: return ("avx512-iq4_nl-sparse-m2", sx_avx512_iq4_nl_sparse_m2)
        case 71: return ("avx512-iq4_nl-sparse-m4", sx_avx512_iq4_nl_sparse_m4)
        case 72: return ("avx512-iq4_xs-sparse-m1", sx_avx512_iq4_xs_sparse_m1)
        case 73: return ("avx512-iq4_xs-sparse-m2", sx_avx512_iq4_xs_sparse_m2)
        case 74: return ("avx512-iq4_xs-sparse-m4", sx_avx512_iq4_xs_sparse_m4)
        case 75: return ("avx512-mxfp4-sparse-m1", sx_avx512_mxfp4_sparse_m1)
        case 76: return ("avx512-mxfp4-sparse-m2", sx_avx512_mxfp4_sparse_m2)
        default: return ("avx512-mxfp4-sparse-m4", sx_avx512_mxfp4_sparse_m4)
        }
    }
}
