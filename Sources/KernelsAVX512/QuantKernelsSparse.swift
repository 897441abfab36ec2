import CKernelABI

// The kernels of the quantized types in the sparse form: the same two functions, compiled for each type.

@c(sx_avx512_q4_0_sparse_m1) @implementation
public func sx_avx512_q4_0_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_0.self, Sparse.self, 1, args) }
@c(sx_avx512_q4_0_sparse_m2) @implementation
public func sx_avx512_q4_0_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_0.self, Sparse.self, 2, args) }
@c(sx_avx512_q4_0_sparse_m4) @implementation
public func sx_avx512_q4_0_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_0.self, Sparse.self, 4, args) }
@c(sx_avx512_q4_0_sparse_gemm) @implementation
public func sx_avx512_q4_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    sx_unwind_tables()
    quantGemm(Q4_0.self, Sparse.self, args)
}

@c(sx_avx512_q4_1_sparse_m1) @implementation
public func sx_avx512_q4_1_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_1.self, Sparse.self, 1, args) }
@c(sx_avx512_q4_1_sparse_m2) @implementation
public func sx_avx512_q4_1_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_1.self, Sparse.self, 2, args) }
@c(sx_avx512_q4_1_sparse_m4) @implementation
public func sx_avx512_q4_1_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_1.self, Sparse.self, 4, args) }
@c(sx_avx512_q4_1_sparse_gemm) @implementation
public func sx_avx512_q4_1_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q4_1.self, Sparse.self, args) }

@c(sx_avx512_q5_0_sparse_m1) @implementation
public func sx_avx512_q5_0_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_0.self, Sparse.self, 1, args) }
@c(sx_avx512_q5_0_sparse_m2) @implementation
public func sx_avx512_q5_0_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_0.self, Sparse.self, 2, args) }
@c(sx_avx512_q5_0_sparse_m4) @implementation
public func sx_avx512_q5_0_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_0.self, Sparse.self, 4, args) }
@c(sx_avx512_q5_0_sparse_gemm) @implementation
public func sx_avx512_q5_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q5_0.self, Sparse.self, args) }

@c(sx_avx512_q5_1_sparse_m1) @implementation
public func sx_avx512_q5_1_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_1.self, Sparse.self, 1, args) }
@c(sx_avx512_q5_1_sparse_m2) @implementation
public func sx_avx512_q5_1_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_1.self, Sparse.self, 2, args) }
@c(sx_avx512_q5_1_sparse_m4) @implementation
public func sx_avx512_q5_1_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_1.self, Sparse.self, 4, args) }
@c(sx_avx512_q5_1_sparse_gemm) @implementation
public func sx_avx512_q5_1_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q5_1.self, Sparse.self, args) }

@c(sx_avx512_q8_0_sparse_m1) @implementation
public func sx_avx512_q8_0_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q8_0.self, Sparse.self, 1, args) }
@c(sx_avx512_q8_0_sparse_m2) @implementation
public func sx_avx512_q8_0_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q8_0.self, Sparse.self, 2, args) }
@c(sx_avx512_q8_0_sparse_m4) @implementation
public func sx_avx512_q8_0_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q8_0.self, Sparse.self, 4, args) }
@c(sx_avx512_q8_0_sparse_gemm) @implementation
public func sx_avx512_q8_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q8_0.self, Sparse.self, args) }

@c(sx_avx512_q2_k_sparse_m1) @implementation
public func sx_avx512_q2_k_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q2_K.self, Sparse.self, 1, args) }
@c(sx_avx512_q2_k_sparse_m2) @implementation
public func sx_avx512_q2_k_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q2_K.self, Sparse.self, 2, args) }
@c(sx_avx512_q2_k_sparse_m4) @implementation
public func sx_avx512_q2_k_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q2_K.self, Sparse.self, 4, args) }
@c(sx_avx512_q2_k_sparse_gemm) @implementation
public func sx_avx512_q2_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q2_K.self, Sparse.self, args) }

@c(sx_avx512_q3_k_sparse_m1) @implementation
public func sx_avx512_q3_k_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q3_K.self, Sparse.self, 1, args) }
@c(sx_avx512_q3_k_sparse_m2) @implementation
public func sx_avx512_q3_k_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q3_K.self, Sparse.self, 2, args) }
@c(sx_avx512_q3_k_sparse_m4) @implementation
public func sx_avx512_q3_k_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q3_K.self, Sparse.self, 4, args) }
@c(sx_avx512_q3_k_sparse_gemm) @implementation
public func sx_avx512_q3_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q3_K.self, Sparse.self, args) }

@c(sx_avx512_q4_k_sparse_m1) @implementation
public func sx_avx512_q4_k_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_K.self, Sparse.self, 1, args) }
@c(sx_avx512_q4_k_sparse_m2) @implementation
public func sx_avx512_q4_k_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_K.self, Sparse.self, 2, args) }
@c(sx_avx512_q4_k_sparse_m4) @implementation
public func sx_avx512_q4_k_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_K.self, Sparse.self, 4, args) }
@c(sx_avx512_q4_k_sparse_gemm) @implementation
public func sx_avx512_q4_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q4_K.self, Sparse.self, args) }

@c(sx_avx512_q5_k_sparse_m1) @implementation
public func sx_avx512_q5_k_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_K.self, Sparse.self, 1, args) }
@c(sx_avx512_q5_k_sparse_m2) @implementation
public func sx_avx512_q5_k_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_K.self, Sparse.self, 2, args) }
@c(sx_avx512_q5_k_sparse_m4) @implementation
public func sx_avx512_q5_k_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_K.self, Sparse.self, 4, args) }
@c(sx_avx512_q5_k_sparse_gemm) @implementation
public func sx_avx512_q5_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q5_K.self, Sparse.self, args) }

@c(sx_avx512_q6_k_sparse_m1) @implementation
public func sx_avx512_q6_k_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q6_K.self, Sparse.self, 1, args) }
@c(sx_avx512_q6_k_sparse_m2) @implementation
public func sx_avx512_q6_k_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q6_K.self, Sparse.self, 2, args) }
@c(sx_avx512_q6_k_sparse_m4) @implementation
public func sx_avx512_q6_k_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q6_K.self, Sparse.self, 4, args) }
@c(sx_avx512_q6_k_sparse_gemm) @implementation
public func sx_avx512_q6_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q6_K.self, Sparse.self, args) }

@c(sx_avx512_iq4_nl_sparse_m1) @implementation
public func sx_avx512_iq4_nl_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(IQ4_NL.self, Sparse.self, 1, args) }
@c(sx_avx512_iq4_nl_sparse_m2) @implementation
public func sx_avx512_iq4_nl_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(IQ4_NL.self, Sparse.self, 2, args) }
@c(sx_avx512_iq4_nl_sparse_m4) @implementation
public func sx_avx512_iq4_nl_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(IQ4_NL.self, Sparse.self, 4, args) }
@c(sx_avx512_iq4_nl_sparse_gemm) @implementation
public func sx_avx512_iq4_nl_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(IQ4_NL.self, Sparse.self, args) }

@c(sx_avx512_iq4_xs_sparse_m1) @implementation
public func sx_avx512_iq4_xs_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(IQ4_XS.self, Sparse.self, 1, args) }
@c(sx_avx512_iq4_xs_sparse_m2) @implementation
public func sx_avx512_iq4_xs_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(IQ4_XS.self, Sparse.self, 2, args) }
@c(sx_avx512_iq4_xs_sparse_m4) @implementation
public func sx_avx512_iq4_xs_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(IQ4_XS.self, Sparse.self, 4, args) }
@c(sx_avx512_iq4_xs_sparse_gemm) @implementation
public func sx_avx512_iq4_xs_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(IQ4_XS.self, Sparse.self, args) }

@c(sx_avx512_mxfp4_sparse_m1) @implementation
public func sx_avx512_mxfp4_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(MXFP4.self, Sparse.self, 1, args) }
@c(sx_avx512_mxfp4_sparse_m2) @implementation
public func sx_avx512_mxfp4_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(MXFP4.self, Sparse.self, 2, args) }
@c(sx_avx512_mxfp4_sparse_m4) @implementation
public func sx_avx512_mxfp4_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(MXFP4.self, Sparse.self, 4, args) }
@c(sx_avx512_mxfp4_sparse_gemm) @implementation
public func sx_avx512_mxfp4_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(MXFP4.self, Sparse.self, args) }
