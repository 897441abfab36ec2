import CKernelABI

/// The AMX kernels of the quantized types. place: type and form.
extension KernelTable {
    static func tileGemm(_ place: Int) -> (StaticString, sx_kernel_fn) {
        switch place {
        case 0: return ("amx-q4_0-dense-gemm", sx_amx_q4_0_dense_gemm)
        case 1: return ("amx-q4_1-dense-gemm", sx_amx_q4_1_dense_gemm)
        case 2: return ("amx-q5_0-dense-gemm", sx_amx_q5_0_dense_gemm)
        case 3: return ("amx-q5_1-dense-gemm", sx_amx_q5_1_dense_gemm)
        case 4: return ("amx-q8_0-dense-gemm", sx_amx_q8_0_dense_gemm)
        case 5: return ("amx-q2_k-dense-gemm", sx_amx_q2_k_dense_gemm)
        case 6: return ("amx-q3_k-dense-gemm", sx_amx_q3_k_dense_gemm)
        case 7: return ("amx-q4_k-dense-gemm", sx_amx_q4_k_dense_gemm)
        case 8: return ("amx-q5_k-dense-gemm", sx_amx_q5_k_dense_gemm)
        case 9: return ("amx-q6_k-dense-gemm", sx_amx_q6_k_dense_gemm)
        case 10: return ("amx-iq4_nl-dense-gemm", sx_amx_iq4_nl_dense_gemm)
        case 11: return ("amx-iq4_xs-dense-gemm", sx_amx_iq4_xs_dense_gemm)
        case 12: return ("amx-mxfp4-dense-gemm", sx_amx_mxfp4_dense_gemm)
        case 13: return ("amx-q4_0-sparse-gemm", sx_amx_q4_0_sparse_gemm)
        case 14: return ("amx-q4_1-sparse-gemm", sx_amx_q4_1_sparse_gemm)
        case 15: return ("amx-q5_0-sparse-gemm", sx_amx_q5_0_sparse_gemm)
        case 16: return ("amx-q5_1-sparse-gemm", sx_amx_q5_1_sparse_gemm)
        case 17: return ("amx-q8_0-sparse-gemm", sx_amx_q8_0_sparse_gemm)
        case 18: return ("amx-q2_k-sparse-gemm", sx_amx_q2_k_sparse_gemm)
        case 19: return ("amx-q3_k-sparse-gemm", sx_amx_q3_k_sparse_gemm)
        case 20: return ("amx-q4_k-sparse-gemm", sx_amx_q4_k_sparse_gemm)
        case 21: return ("amx-q5_k-sparse-gemm", sx_amx_q5_k_sparse_gemm)
        case 22: return ("amx-q6_k-sparse-gemm", sx_amx_q6_k_sparse_gemm)
        case 23: return ("amx-iq4_nl-sparse-gemm", sx_amx_iq4_nl_sparse_gemm)
        case 24: return ("amx-iq4_xs-sparse-gemm", sx_amx_iq4_xs_sparse_gemm)
        default: return ("amx-mxfp4-sparse-gemm", sx_amx_mxfp4_sparse_gemm)
        }
    }

    static func tileRing(_ place: Int) -> (StaticString, sx_kernel_fn) {
        switch place {
        case 0: return ("amx-q4_0-dense-ring", sx_amx_q4_0_dense_ring)
        case 1: return ("amx-q4_1-dense-ring", sx_amx_q4_1_dense_ring)
        case 2: return ("amx-q5_0-dense-ring", sx_amx_q5_0_dense_ring)
        case 3: return ("amx-q5_1-dense-ring", sx_amx_q5_1_dense_ring)
        case 4: return ("amx-q8_0-dense-ring", sx_amx_q8_0_dense_ring)
        case 5: return ("amx-q2_k-dense-ring", sx_amx_q2_k_dense_ring)
        case 6: return ("amx-q3_k-dense-ring", sx_amx_q3_k_dense_ring)
        case 7: return ("amx-q4_k-dense-ring", sx_amx_q4_k_dense_ring)
        case 8: return ("amx-q5_k-dense-ring", sx_amx_q5_k_dense_ring)
        case 9: return ("amx-q6_k-dense-ring", sx_amx_q6_k_dense_ring)
        case 10: return ("amx-iq4_nl-dense-ring", sx_amx_iq4_nl_dense_ring)
        case 11: return ("amx-iq4_xs-dense-ring", sx_amx_iq4_xs_dense_ring)
        case 12: return ("amx-mxfp4-dense-ring", sx_amx_mxfp4_dense_ring)
        case 13: return ("amx-q4_0-sparse-ring", sx_amx_q4_0_sparse_ring)
        case 14: return ("amx-q4_1-sparse-ring", sx_amx_q4_1_sparse_ring)
        case 15: return ("amx-q5_0-sparse-ring", sx_amx_q5_0_sparse_ring)
        case 16: return ("amx-q5_1-sparse-ring", sx_amx_q5_1_sparse_ring)
        case 17: return ("amx-q8_0-sparse-ring", sx_amx_q8_0_sparse_ring)
        case 18: return ("amx-q2_k-sparse-ring", sx_amx_q2_k_sparse_ring)
        case 19: return ("amx-q3_k-sparse-ring", sx_amx_q3_k_sparse_ring)
        case 20: return ("amx-q4_k-sparse-ring", sx_amx_q4_k_sparse_ring)
        case 21: return ("amx-q5_k-sparse-ring", sx_amx_q5_k_sparse_ring)
        case 22: return ("amx-q6_k-sparse-ring", sx_amx_q6_k_sparse_ring)
        case 23: return ("amx-iq4_nl-sparse-ring", sx_amx_iq4_nl_sparse_ring)
        case 24: return ("amx-iq4_xs-sparse-ring", sx_amx_iq4_xs_sparse_ring)
        default: return ("amx-mxfp4-sparse-ring", sx_amx_mxfp4_sparse_ring)
        }
    }
}
