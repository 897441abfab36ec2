import CKernelABI

// The kernels of the quantized types in the sparse form. All types share the bodies in QuantRing.swift,
// QuantRingWide.swift and QuantGemm.swift, which reach a type's own expansion through a function pointer: a copy of the
// bodies for each kernel would be 330 KB of code.

@c(sx_amx_q4_0_sparse_expand) @implementation
public func sx_amx_q4_0_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q4_0.self, Sparse.self, next)
}
@c(sx_amx_q4_0_sparse_ring) @implementation
public func sx_amx_q4_0_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(Q4_0.self, sx_amx_q4_0_sparse_expand, args) }
@c(sx_amx_q4_0_sparse_gemm) @implementation
public func sx_amx_q4_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(Q4_0.self, sx_amx_q4_0_sparse_expand, args) }

@c(sx_amx_q4_1_sparse_expand) @implementation
public func sx_amx_q4_1_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q4_1.self, Sparse.self, next) }
@c(sx_amx_q4_1_sparse_ring) @implementation
public func sx_amx_q4_1_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(Q4_1.self, sx_amx_q4_1_sparse_expand, args) }
@c(sx_amx_q4_1_sparse_gemm) @implementation
public func sx_amx_q4_1_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(Q4_1.self, sx_amx_q4_1_sparse_expand, args) }

@c(sx_amx_q5_0_sparse_expand) @implementation
public func sx_amx_q5_0_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q5_0.self, Sparse.self, next) }
@c(sx_amx_q5_0_sparse_ring) @implementation
public func sx_amx_q5_0_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(Q5_0.self, sx_amx_q5_0_sparse_expand, args) }
@c(sx_amx_q5_0_sparse_gemm) @implementation
public func sx_amx_q5_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(Q5_0.self, sx_amx_q5_0_sparse_expand, args) }

@c(sx_amx_q5_1_sparse_expand) @implementation
public func sx_amx_q5_1_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q5_1.self, Sparse.self, next) }
@c(sx_amx_q5_1_sparse_ring) @implementation
public func sx_amx_q5_1_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(Q5_1.self, sx_amx_q5_1_sparse_expand, args) }
@c(sx_amx_q5_1_sparse_gemm) @implementation
public func sx_amx_q5_1_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(Q5_1.self, sx_amx_q5_1_sparse_expand, args) }

@c(sx_amx_q8_0_sparse_expand) @implementation
public func sx_amx_q8_0_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q8_0.self, Sparse.self, next) }
@c(sx_amx_q8_0_sparse_ring) @implementation
public func sx_amx_q8_0_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(Q8_0.self, sx_amx_q8_0_sparse_expand, args) }
@c(sx_amx_q8_0_sparse_gemm) @implementation
public func sx_amx_q8_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(Q8_0.self, sx_amx_q8_0_sparse_expand, args) }

@c(sx_amx_q2_k_sparse_expand) @implementation
public func sx_amx_q2_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q2_K.self, Sparse.self, next) }
@c(sx_amx_q2_k_sparse_ring) @implementation
public func sx_amx_q2_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(Q2_K.self, sx_amx_q2_k_sparse_expand, args) }
@c(sx_amx_q2_k_sparse_gemm) @implementation
public func sx_amx_q2_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(Q2_K.self, sx_amx_q2_k_sparse_expand, args) }

@c(sx_amx_q3_k_sparse_expand) @implementation
public func sx_amx_q3_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q3_K.self, Sparse.self, next) }
@c(sx_amx_q3_k_sparse_ring) @implementation
public func sx_amx_q3_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(Q3_K.self, sx_amx_q3_k_sparse_expand, args) }
@c(sx_amx_q3_k_sparse_gemm) @implementation
public func sx_amx_q3_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(Q3_K.self, sx_amx_q3_k_sparse_expand, args) }

@c(sx_amx_q4_k_sparse_expand) @implementation
public func sx_amx_q4_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q4_K.self, Sparse.self, next) }
@c(sx_amx_q4_k_sparse_ring) @implementation
public func sx_amx_q4_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(Q4_K.self, sx_amx_q4_k_sparse_expand, args) }
@c(sx_amx_q4_k_sparse_gemm) @implementation
public func sx_amx_q4_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(Q4_K.self, sx_amx_q4_k_sparse_expand, args) }

@c(sx_amx_q5_k_sparse_expand) @implementation
public func sx_amx_q5_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q5_K.self, Sparse.self, next) }
@c(sx_amx_q5_k_sparse_ring) @implementation
public func sx_amx_q5_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(Q5_K.self, sx_amx_q5_k_sparse_expand, args) }
@c(sx_amx_q5_k_sparse_gemm) @implementation
public func sx_amx_q5_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(Q5_K.self, sx_amx_q5_k_sparse_expand, args) }

@c(sx_amx_q6_k_sparse_expand) @implementation
public func sx_amx_q6_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q6_K.self, Sparse.self, next) }
@c(sx_amx_q6_k_sparse_ring) @implementation
public func sx_amx_q6_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(Q6_K.self, sx_amx_q6_k_sparse_expand, args) }
@c(sx_amx_q6_k_sparse_gemm) @implementation
public func sx_amx_q6_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(Q6_K.self, sx_amx_q6_k_sparse_expand, args) }

@c(sx_amx_iq4_nl_sparse_expand) @implementation
public func sx_amx_iq4_nl_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(IQ4_NL.self, Sparse.self, next) }
@c(sx_amx_iq4_nl_sparse_ring) @implementation
public func sx_amx_iq4_nl_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(IQ4_NL.self, sx_amx_iq4_nl_sparse_expand, args) }
@c(sx_amx_iq4_nl_sparse_gemm) @implementation
public func sx_amx_iq4_nl_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(IQ4_NL.self, sx_amx_iq4_nl_sparse_expand, args) }

@c(sx_amx_iq4_xs_sparse_expand) @implementation
public func sx_amx_iq4_xs_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(IQ4_XS.self, Sparse.self, next) }
@c(sx_amx_iq4_xs_sparse_ring) @implementation
public func sx_amx_iq4_xs_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(IQ4_XS.self, sx_amx_iq4_xs_sparse_expand, args) }
@c(sx_amx_iq4_xs_sparse_gemm) @implementation
public func sx_amx_iq4_xs_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(IQ4_XS.self, sx_amx_iq4_xs_sparse_expand, args) }

@c(sx_amx_mxfp4_sparse_expand) @implementation
public func sx_amx_mxfp4_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(MXFP4.self, Sparse.self, next) }
@c(sx_amx_mxfp4_sparse_ring) @implementation
public func sx_amx_mxfp4_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { tileRing(MXFP4.self, sx_amx_mxfp4_sparse_expand, args) }
@c(sx_amx_mxfp4_sparse_gemm) @implementation
public func sx_amx_mxfp4_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { tileGemm(MXFP4.self, sx_amx_mxfp4_sparse_expand, args) }
