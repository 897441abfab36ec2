import CKernelABI

// The kernels of the quantized types in the dense form: the same two functions, compiled for each type.

@c(sx_avx512_q4_0_dense_m1) @implementation
public func sx_avx512_q4_0_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_0.self, Dense.self, 1, args) }
@c(sx_avx512_q4_0_dense_m2) @implementation
public func sx_avx512_q4_0_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_0.self, Dense.self, 2, args) }
@c(sx_avx512_q4_0_dense_m4) @implementation
public func sx_avx512_q4_0_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_0.self, Dense.self, 4, args) }
@c(sx_avx512_q4_0_dense_gemm) @implementation
public func sx_avx512_q4_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    sx_unwind_tables()
    quantGemm(Q4_0.self, Dense.self, args)
}

@c(sx_avx512_q4_1_dense_m1) @implementation
public func sx_avx512_q4_1_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_1.self, Dense.self, 1, args) }
@c(sx_avx512_q4_1_dense_m2) @implementation
public func sx_avx512_q4_1_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_1.self, Dense.self, 2, args) }
@c(sx_avx512_q4_1_dense_m4) @implementation
public func sx_avx512_q4_1_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_1.self, Dense.self, 4, args) }
@c(sx_avx512_q4_1_dense_gemm) @implementation
public func sx_avx512_q4_1_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q4_1.self, Dense.self, args) }

@c(sx_avx512_q5_0_dense_m1) @implementation
public func sx_avx512_q5_0_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_0.self, Dense.self, 1, args) }
@c(sx_avx512_q5_0_dense_m2) @implementation
public func sx_avx512_q5_0_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_0.self, Dense.self, 2, args) }
@c(sx_avx512_q5_0_dense_m4) @implementation
public func sx_avx512_q5_0_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_0.self, Dense.self, 4, args) }
@c(sx_avx512_q5_0_dense_gemm) @implementation
public func sx_avx512_q5_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q5_0.self, Dense.self, args) }

@c(sx_avx512_q5_1_dense_m1) @implementation
public func sx_avx512_q5_1_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_1.self, Dense.self, 1, args) }
@c(sx_avx512_q5_1_dense_m2) @implementation
public func sx_avx512_q5_1_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_1.self, Dense.self, 2, args) }
@c(sx_avx512_q5_1_dense_m4) @implementation
public func sx_avx512_q5_1_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_1.self, Dense.self, 4, args) }
@c(sx_avx512_q5_1_dense_gemm) @implementation
public func sx_avx512_q5_1_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q5_1.self, Dense.self, args) }

@c(sx_avx512_q8_0_dense_m1) @implementation
public func sx_avx512_q8_0_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q8_0.self, Dense.self, 1, args) }
@c(sx_avx512_q8_0_dense_m2) @implementation
public func sx_avx512_q8_0_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q8_0.self, Dense.self, 2, args) }
@c(sx_avx512_q8_0_dense_m4) @implementation
public func sx_avx512_q8_0_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q8_0.self, Dense.self, 4, args) }
@c(sx_avx512_q8_0_dense_gemm) @implementation
public func sx_avx512_q8_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q8_0.self, Dense.self, args) }

@c(sx_avx512_q2_k_dense_m1) @implementation
public func sx_avx512_q2_k_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q2_K.self, Dense.self, 1, args) }
@c(sx_avx512_q2_k_dense_m2) @implementation
public func sx_avx512_q2_k_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q2_K.self, Dense.self, 2, args) }
@c(sx_avx512_q2_k_dense_m4) @implementation
public func sx_avx512_q2_k_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q2_K.self, Dense.self, 4, args) }
@c(sx_avx512_q2_k_dense_gemm) @implementation
public func sx_avx512_q2_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q2_K.self, Dense.self, args) }

@c(sx_avx512_q3_k_dense_m1) @implementation
public func sx_avx512_q3_k_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q3_K.self, Dense.self, 1, args) }
@c(sx_avx512_q3_k_dense_m2) @implementation
public func sx_avx512_q3_k_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q3_K.self, Dense.self, 2, args) }
@c(sx_avx512_q3_k_dense_m4) @implementation
public func sx_avx512_q3_k_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q3_K.self, Dense.self, 4, args) }
@c(sx_avx512_q3_k_dense_gemm) @implementation
public func sx_avx512_q3_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q3_K.self, Dense.self, args) }

@c(sx_avx512_q4_k_dense_m1) @implementation
public func sx_avx512_q4_k_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_K.self, Dense.self, 1, args) }
@c(sx_avx512_q4_k_dense_m2) @implementation
public func sx_avx512_q4_k_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_K.self, Dense.self, 2, args) }
@c(sx_avx512_q4_k_dense_m4) @implementation
public func sx_avx512_q4_k_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q4_K.self, Dense.self, 4, args) }
@c(sx_avx512_q4_k_dense_gemm) @implementation
public func sx_avx512_q4_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q4_K.self, Dense.self, args) }

@c(sx_avx512_q5_k_dense_m1) @implementation
public func sx_avx512_q5_k_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_K.self, Dense.self, 1, args) }
@c(sx_avx512_q5_k_dense_m2) @implementation
public func sx_avx512_q5_k_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_K.self, Dense.self, 2, args) }
@c(sx_avx512_q5_k_dense_m4) @implementation
public func sx_avx512_q5_k_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q5_K.self, Dense.self, 4, args) }
@c(sx_avx512_q5_k_dense_gemm) @implementation
public func sx_avx512_q5_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q5_K.self, Dense.self, args) }

@c(sx_avx512_q6_k_dense_m1) @implementation
public func sx_avx512_q6_k_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q6_K.self, Dense.self, 1, args) }
@c(sx_avx512_q6_k_dense_m2) @implementation
public func sx_avx512_q6_k_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q6_K.self, Dense.self, 2, args) }
@c(sx_avx512_q6_k_dense_m4) @implementation
public func sx_avx512_q6_k_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(Q6_K.self, Dense.self, 4, args) }
@c(sx_avx512_q6_k_dense_gemm) @implementation
public func sx_avx512_q6_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(Q6_K.self, Dense.self, args) }

@c(sx_avx512_iq4_nl_dense_m1) @implementation
public func sx_avx512_iq4_nl_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(IQ4_NL.self, Dense.self, 1, args) }
@c(sx_avx512_iq4_nl_dense_m2) @implementation
public func sx_avx512_iq4_nl_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(IQ4_NL.self, Dense.self, 2, args) }
@c(sx_avx512_iq4_nl_dense_m4) @implementation
public func sx_avx512_iq4_nl_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(IQ4_NL.self, Dense.self, 4, args) }
@c(sx_avx512_iq4_nl_dense_gemm) @implementation
public func sx_avx512_iq4_nl_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(IQ4_NL.self, Dense.self, args) }

@c(sx_avx512_iq4_xs_dense_m1) @implementation
public func sx_avx512_iq4_xs_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(IQ4_XS.self, Dense.self, 1, args) }
@c(sx_avx512_iq4_xs_dense_m2) @implementation
public func sx_avx512_iq4_xs_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(IQ4_XS.self, Dense.self, 2, args) }
@c(sx_avx512_iq4_xs_dense_m4) @implementation
public func sx_avx512_iq4_xs_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(IQ4_XS.self, Dense.self, 4, args) }
@c(sx_avx512_iq4_xs_dense_gemm) @implementation
public func sx_avx512_iq4_xs_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(IQ4_XS.self, Dense.self, args) }

@c(sx_avx512_mxfp4_dense_m1) @implementation
public func sx_avx512_mxfp4_dense_m1(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(MXFP4.self, Dense.self, 1, args) }
@c(sx_avx512_mxfp4_dense_m2) @implementation
public func sx_avx512_mxfp4_dense_m2(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(MXFP4.self, Dense.self, 2, args) }
@c(sx_avx512_mxfp4_dense_m4) @implementation
public func sx_avx512_mxfp4_dense_m4(_ args: UnsafePointer<sx_kernel_args>) { quantDecode(MXFP4.self, Dense.self, 4, args) }
@c(sx_avx512_mxfp4_dense_gemm) @implementation
public func sx_avx512_mxfp4_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(MXFP4.self, Dense.self, args) }
