import CKernelABI

// The kernels of the quantized types in the dense form. All types share the bodies in QuantRing.swift, QuantRingWide.swift and
// QuantGemm.swift, which reach a type's own expansion through a function pointer: 26 copies of each body would cost
// 200 KB of code.

@c(sx_amx_q4_0_dense_expand) @implementation
public func sx_amx_q4_0_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q4_0.self, Dense.self, next) }
@c(sx_amx_q4_0_dense_ring) @implementation
public func sx_amx_q4_0_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q4_0_dense_expand, minimum: false) }
@c(sx_amx_q4_0_dense_gemm) @implementation
public func sx_amx_q4_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q4_0_dense_expand, sub: 32, offset: 8) }

@c(sx_amx_q4_1_dense_expand) @implementation
public func sx_amx_q4_1_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q4_1.self, Dense.self, next) }
@c(sx_amx_q4_1_dense_ring) @implementation
public func sx_amx_q4_1_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q4_1_dense_expand, minimum: true) }
@c(sx_amx_q4_1_dense_gemm) @implementation
public func sx_amx_q4_1_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q4_1_dense_expand, sub: 32, offset: 0) }

@c(sx_amx_q5_0_dense_expand) @implementation
public func sx_amx_q5_0_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q5_0.self, Dense.self, next) }
@c(sx_amx_q5_0_dense_ring) @implementation
public func sx_amx_q5_0_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q5_0_dense_expand, minimum: false) }
@c(sx_amx_q5_0_dense_gemm) @implementation
public func sx_amx_q5_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q5_0_dense_expand, sub: 32, offset: 16) }

@c(sx_amx_q5_1_dense_expand) @implementation
public func sx_amx_q5_1_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q5_1.self, Dense.self, next) }
@c(sx_amx_q5_1_dense_ring) @implementation
public func sx_amx_q5_1_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q5_1_dense_expand, minimum: true) }
@c(sx_amx_q5_1_dense_gemm) @implementation
public func sx_amx_q5_1_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q5_1_dense_expand, sub: 32, offset: 0) }

@c(sx_amx_q8_0_dense_expand) @implementation
public func sx_amx_q8_0_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q8_0.self, Dense.self, next) }
@c(sx_amx_q8_0_dense_ring) @implementation
public func sx_amx_q8_0_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q8_0_dense_expand, minimum: false) }
@c(sx_amx_q8_0_dense_gemm) @implementation
public func sx_amx_q8_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q8_0_dense_expand, sub: 32, offset: 128) }

@c(sx_amx_q2_k_dense_expand) @implementation
public func sx_amx_q2_k_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q2_K.self, Dense.self, next) }
@c(sx_amx_q2_k_dense_ring) @implementation
public func sx_amx_q2_k_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRingWide(args, sx_amx_q2_k_dense_expand, offset: 0) }
@c(sx_amx_q2_k_dense_gemm) @implementation
public func sx_amx_q2_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q2_k_dense_expand, sub: 16, offset: 0) }

@c(sx_amx_q3_k_dense_expand) @implementation
public func sx_amx_q3_k_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q3_K.self, Dense.self, next) }
@c(sx_amx_q3_k_dense_ring) @implementation
public func sx_amx_q3_k_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRingWide(args, sx_amx_q3_k_dense_expand, offset: 4) }
@c(sx_amx_q3_k_dense_gemm) @implementation
public func sx_amx_q3_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q3_k_dense_expand, sub: 16, offset: 4) }

@c(sx_amx_q4_k_dense_expand) @implementation
public func sx_amx_q4_k_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q4_K.self, Dense.self, next) }
@c(sx_amx_q4_k_dense_ring) @implementation
public func sx_amx_q4_k_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q4_k_dense_expand, minimum: true) }
@c(sx_amx_q4_k_dense_gemm) @implementation
public func sx_amx_q4_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q4_k_dense_expand, sub: 32, offset: 0) }

@c(sx_amx_q5_k_dense_expand) @implementation
public func sx_amx_q5_k_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q5_K.self, Dense.self, next) }
@c(sx_amx_q5_k_dense_ring) @implementation
public func sx_amx_q5_k_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_q5_k_dense_expand, minimum: true) }
@c(sx_amx_q5_k_dense_gemm) @implementation
public func sx_amx_q5_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q5_k_dense_expand, sub: 32, offset: 0) }

@c(sx_amx_q6_k_dense_expand) @implementation
public func sx_amx_q6_k_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(Q6_K.self, Dense.self, next) }
@c(sx_amx_q6_k_dense_ring) @implementation
public func sx_amx_q6_k_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRingWide(args, sx_amx_q6_k_dense_expand, offset: 32) }
@c(sx_amx_q6_k_dense_gemm) @implementation
public func sx_amx_q6_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_q6_k_dense_expand, sub: 16, offset: 32) }

@c(sx_amx_iq4_nl_dense_expand) @implementation
public func sx_amx_iq4_nl_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(IQ4_NL.self, Dense.self, next) }
@c(sx_amx_iq4_nl_dense_ring) @implementation
public func sx_amx_iq4_nl_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_iq4_nl_dense_expand, minimum: false) }
@c(sx_amx_iq4_nl_dense_gemm) @implementation
public func sx_amx_iq4_nl_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_iq4_nl_dense_expand, sub: 32, offset: 128) }

@c(sx_amx_iq4_xs_dense_expand) @implementation
public func sx_amx_iq4_xs_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(IQ4_XS.self, Dense.self, next) }
@c(sx_amx_iq4_xs_dense_ring) @implementation
public func sx_amx_iq4_xs_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_iq4_xs_dense_expand, minimum: false) }
@c(sx_amx_iq4_xs_dense_gemm) @implementation
public func sx_amx_iq4_xs_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_iq4_xs_dense_expand, sub: 32, offset: 128) }

@c(sx_amx_mxfp4_dense_expand) @implementation
public func sx_amx_mxfp4_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) { expandKBlock(MXFP4.self, Dense.self, next) }
@c(sx_amx_mxfp4_dense_ring) @implementation
public func sx_amx_mxfp4_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { quantRing(args, sx_amx_mxfp4_dense_expand, minimum: false) }
@c(sx_amx_mxfp4_dense_gemm) @implementation
public func sx_amx_mxfp4_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) { quantGemm(args, sx_amx_mxfp4_dense_expand, sub: 32, offset: 12) }
