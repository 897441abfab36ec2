import CKernelABI

// The kernels of the quantized types in the sparse form. All types share the bodies in QuantRing.swift, QuantRingWide.swift and
// QuantGemm.swift, which reach a type's own expansion through a function pointer: 26 copies of each body would cost
// 200 KB of code.

@c(sx_amx_q4_0_sparse_expand) @implementation
public func sx_amx_q4_0_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q4_0.self, Sparse.self, next) }
@c(sx_amx_q4_0_sparse_ring) @implementation
public func sx_amx_q4_0_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q4_0_sparse_expand, minimum: false) }
@c(sx_amx_q4_0_sparse_gemm) @implementation
public func sx_amx_q4_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q4_0_sparse_expand, sub: 32, offset: 8) }

@c(sx_amx_q4_1_sparse_expand) @implementation
public func sx_amx_q4_1_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q4_1.self, Sparse.self, next) }
@c(sx_amx_q4_1_sparse_ring) @implementation
public func sx_amx_q4_1_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q4_1_sparse_expand, minimum: true) }
@c(sx_amx_q4_1_sparse_gemm) @implementation
public func sx_amx_q4_1_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q4_1_sparse_expand, sub: 32, offset: 0) }

@c(sx_amx_q5_0_sparse_expand) @implementation
public func sx_amx_q5_0_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q5_0.self, Sparse.self, next) }
@c(sx_amx_q5_0_sparse_ring) @implementation
public func sx_amx_q5_0_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q5_0_sparse_expand, minimum: false) }
@c(sx_amx_q5_0_sparse_gemm) @implementation
public func sx_amx_q5_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q5_0_sparse_expand, sub: 32, offset: 16) }

@c(sx_amx_q5_1_sparse_expand) @implementation
public func sx_amx_q5_1_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q5_1.self, Sparse.self, next) }
@c(sx_amx_q5_1_sparse_ring) @implementation
public func sx_amx_q5_1_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q5_1_sparse_expand, minimum: true) }
@c(sx_amx_q5_1_sparse_gemm) @implementation
public func sx_amx_q5_1_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q5_1_sparse_expand, sub: 32, offset: 0) }

@c(sx_amx_q8_0_sparse_expand) @implementation
public func sx_amx_q8_0_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q8_0.self, Sparse.self, next) }
@c(sx_amx_q8_0_sparse_ring) @implementation
public func sx_amx_q8_0_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q8_0_sparse_expand, minimum: false) }
@c(sx_amx_q8_0_sparse_gemm) @implementation
public func sx_amx_q8_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q8_0_sparse_expand, sub: 32, offset: 128) }

@c(sx_amx_q2_k_sparse_expand) @implementation
public func sx_amx_q2_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q2_K.self, Sparse.self, next) }
@c(sx_amx_q2_k_sparse_ring) @implementation
public func sx_amx_q2_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRingWide(args, sx_amx_q2_k_sparse_expand, offset: 0) }
@c(sx_amx_q2_k_sparse_gemm) @implementation
public func sx_amx_q2_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q2_k_sparse_expand, sub: 16, offset: 0) }

@c(sx_amx_q3_k_sparse_expand) @implementation
public func sx_amx_q3_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q3_K.self, Sparse.self, next) }
@c(sx_amx_q3_k_sparse_ring) @implementation
public func sx_amx_q3_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRingWide(args, sx_amx_q3_k_sparse_expand, offset: 4) }
@c(sx_amx_q3_k_sparse_gemm) @implementation
public func sx_amx_q3_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q3_k_sparse_expand, sub: 16, offset: 4) }

@c(sx_amx_q4_k_sparse_expand) @implementation
public func sx_amx_q4_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q4_K.self, Sparse.self, next) }
@c(sx_amx_q4_k_sparse_ring) @implementation
public func sx_amx_q4_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q4_k_sparse_expand, minimum: true) }
@c(sx_amx_q4_k_sparse_gemm) @implementation
public func sx_amx_q4_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q4_k_sparse_expand, sub: 32, offset: 0) }

@c(sx_amx_q5_k_sparse_expand) @implementation
public func sx_amx_q5_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q5_K.self, Sparse.self, next) }
@c(sx_amx_q5_k_sparse_ring) @implementation
public func sx_amx_q5_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q5_k_sparse_expand, minimum: true) }
@c(sx_amx_q5_k_sparse_gemm) @implementation
public func sx_amx_q5_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q5_k_sparse_expand, sub: 32, offset: 0) }

@c(sx_amx_q6_k_sparse_expand) @implementation
public func sx_amx_q6_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q6_K.self, Sparse.self, next) }
@c(sx_amx_q6_k_sparse_ring) @implementation
public func sx_amx_q6_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRingWide(args, sx_amx_q6_k_sparse_expand, offset: 32) }
@c(sx_amx_q6_k_sparse_gemm) @implementation
public func sx_amx_q6_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q6_k_sparse_expand, sub: 16, offset: 32) }

@c(sx_amx_iq4_nl_sparse_expand) @implementation
public func sx_amx_iq4_nl_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(IQ4_NL.self, Sparse.self, next) }
@c(sx_amx_iq4_nl_sparse_ring) @implementation
public func sx_amx_iq4_nl_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_iq4_nl_sparse_expand, minimum: false) }
@c(sx_amx_iq4_nl_sparse_gemm) @implementation
public func sx_amx_iq4_nl_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_iq4_nl_sparse_expand, sub: 32, offset: 128) }

@c(sx_amx_iq4_xs_sparse_expand) @implementation
public func sx_amx_iq4_xs_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(IQ4_XS.self, Sparse.self, next) }
@c(sx_amx_iq4_xs_sparse_ring) @implementation
public func sx_amx_iq4_xs_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_iq4_xs_sparse_expand, minimum: false) }
@c(sx_amx_iq4_xs_sparse_gemm) @implementation
public func sx_amx_iq4_xs_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_iq4_xs_sparse_expand, sub: 32, offset: 128) }

@c(sx_amx_mxfp4_sparse_expand) @implementation
public func sx_amx_mxfp4_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(MXFP4.self, Sparse.self, next) }
@c(sx_amx_mxfp4_sparse_ring) @implementation
public func sx_amx_mxfp4_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_mxfp4_sparse_expand, minimum: false) }
@c(sx_amx_mxfp4_sparse_gemm) @implementation
public func sx_amx_mxfp4_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_mxfp4_sparse_expand, sub: 32, offset: 12) }
