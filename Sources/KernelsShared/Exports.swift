// Written by cmake/generate.py from types.def and kernels.def; do not edit. Each room compiles what is its own.
import CKernelABI

extension Q8_0 {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q8_0), file_block_k: 32, file_block_bytes: 34,
                 low_bits: 8, high_bits: 0, part_k: 32, offset: 128, minimum: 0, half_scale: 1, background: 128,
                 code_levels: Int32(SX_CODE_LEVELS_PLAIN), side: Int32(SX_SIDE_F16), side_bytes: 64)
    }
}
extension Q4_0 {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q4_0), file_block_k: 32, file_block_bytes: 18,
                 low_bits: 4, high_bits: 0, part_k: 32, offset: 8, minimum: 0, half_scale: 1, background: 8,
                 code_levels: Int32(SX_CODE_LEVELS_PLAIN), side: Int32(SX_SIDE_F16), side_bytes: 64)
    }
}
extension Q4_1 {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q4_1), file_block_k: 32, file_block_bytes: 20,
                 low_bits: 4, high_bits: 0, part_k: 32, offset: 0, minimum: 1, half_scale: 1, background: -1,
                 code_levels: Int32(SX_CODE_LEVELS_PLAIN), side: Int32(SX_SIDE_F16_MIN), side_bytes: 144)
    }
}
extension Q5_0 {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q5_0), file_block_k: 32, file_block_bytes: 22,
                 low_bits: 4, high_bits: 1, part_k: 32, offset: 16, minimum: 0, half_scale: 1, background: 16,
                 code_levels: Int32(SX_CODE_LEVELS_PLAIN), side: Int32(SX_SIDE_F16), side_bytes: 64)
    }
}
extension Q5_1 {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q5_1), file_block_k: 32, file_block_bytes: 24,
                 low_bits: 4, high_bits: 1, part_k: 32, offset: 0, minimum: 1, half_scale: 1, background: -1,
                 code_levels: Int32(SX_CODE_LEVELS_PLAIN), side: Int32(SX_SIDE_F16_MIN), side_bytes: 148)
    }
}
extension Q2_K {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q2_K), file_block_k: 256, file_block_bytes: 84,
                 low_bits: 2, high_bits: 0, part_k: 16, offset: 0, minimum: 1, half_scale: 0, background: -1,
                 code_levels: Int32(SX_CODE_LEVELS_PLAIN), side: Int32(SX_SIDE_K16_MIN), side_bytes: 96)
    }
}
extension Q3_K {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q3_K), file_block_k: 256, file_block_bytes: 110,
                 low_bits: 2, high_bits: 1, part_k: 16, offset: 4, minimum: 0, half_scale: 0, background: 4,
                 code_levels: Int32(SX_CODE_LEVELS_PLAIN), side: Int32(SX_SIDE_I6), side_bytes: 72)
    }
}
extension Q4_K {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q4_K), file_block_k: 256, file_block_bytes: 144,
                 low_bits: 4, high_bits: 0, part_k: 32, offset: 0, minimum: 1, half_scale: 0, background: -1,
                 code_levels: Int32(SX_CODE_LEVELS_PLAIN), side: Int32(SX_SIDE_K32), side_bytes: 80)
    }
}
extension Q5_K {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q5_K), file_block_k: 256, file_block_bytes: 176,
                 low_bits: 4, high_bits: 1, part_k: 32, offset: 0, minimum: 1, half_scale: 0, background: -1,
                 code_levels: Int32(SX_CODE_LEVELS_PLAIN), side: Int32(SX_SIDE_K32), side_bytes: 84)
    }
}
extension Q6_K {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q6_K), file_block_k: 256, file_block_bytes: 210,
                 low_bits: 4, high_bits: 2, part_k: 16, offset: 32, minimum: 0, half_scale: 0, background: 32,
                 code_levels: Int32(SX_CODE_LEVELS_PLAIN), side: Int32(SX_SIDE_I8), side_bytes: 72)
    }
}
extension IQ4_NL {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_IQ4_NL), file_block_k: 32, file_block_bytes: 18,
                 low_bits: 4, high_bits: 0, part_k: 32, offset: 128, minimum: 0, half_scale: 1, background: 8,
                 code_levels: Int32(SX_CODE_LEVELS_IQ4), side: Int32(SX_SIDE_F16), side_bytes: 64)
    }
}
extension IQ4_XS {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_IQ4_XS), file_block_k: 256, file_block_bytes: 136,
                 low_bits: 4, high_bits: 0, part_k: 32, offset: 128, minimum: 0, half_scale: 0, background: 8,
                 code_levels: Int32(SX_CODE_LEVELS_IQ4), side: Int32(SX_SIDE_I6), side_bytes: 40)
    }
}
extension MXFP4 {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_MXFP4), file_block_k: 32, file_block_bytes: 17,
                 low_bits: 4, high_bits: 0, part_k: 32, offset: 12, minimum: 0, half_scale: 1, background: 0,
                 code_levels: Int32(SX_CODE_LEVELS_FP4), side: Int32(SX_SIDE_E8), side_bytes: 32)
    }
}
extension NVFP4 {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_NVFP4), file_block_k: 64, file_block_bytes: 36,
                 low_bits: 4, high_bits: 0, part_k: 16, offset: 12, minimum: 0, half_scale: 1, background: 0,
                 code_levels: Int32(SX_CODE_LEVELS_FP4), side: Int32(SX_SIDE_E4M3), side_bytes: 64)
    }
}
extension Q2_0 {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q2_0), file_block_k: 64, file_block_bytes: 18,
                 low_bits: 2, high_bits: 0, part_k: 32, offset: 1, minimum: 0, half_scale: 1, background: 1,
                 code_levels: Int32(SX_CODE_LEVELS_PLAIN), side: Int32(SX_SIDE_F16), side_bytes: 32)
    }
}
extension Q1_0 {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q1_0), file_block_k: 128, file_block_bytes: 18,
                 low_bits: 1, high_bits: 0, part_k: 32, offset: 1, minimum: 0, half_scale: 1, background: 0,
                 code_levels: Int32(SX_CODE_LEVELS_SIGN), side: Int32(SX_SIDE_F16), side_bytes: 16)
    }
}

#if ROOM_REFERENCE || ROOM_AVX512

func readChunk(
    _ type: Int32, _ file: UnsafeRawPointer, _ blocks: Int, _ codes: UnsafeMutablePointer<UInt8>
) {
    sx_unwind_tables()
    switch type {
    case Int32(SX_Q8_0): Q8_0.readChunk(file, blocks, codes)
    case Int32(SX_Q4_0): Q4_0.readChunk(file, blocks, codes)
    case Int32(SX_Q4_1): Q4_1.readChunk(file, blocks, codes)
    case Int32(SX_Q5_0): Q5_0.readChunk(file, blocks, codes)
    case Int32(SX_Q5_1): Q5_1.readChunk(file, blocks, codes)
    case Int32(SX_Q2_K): Q2_K.readChunk(file, blocks, codes)
    case Int32(SX_Q3_K): Q3_K.readChunk(file, blocks, codes)
    case Int32(SX_Q4_K): Q4_K.readChunk(file, blocks, codes)
    case Int32(SX_Q5_K): Q5_K.readChunk(file, blocks, codes)
    case Int32(SX_Q6_K): Q6_K.readChunk(file, blocks, codes)
    case Int32(SX_IQ4_NL): IQ4_NL.readChunk(file, blocks, codes)
    case Int32(SX_IQ4_XS): IQ4_XS.readChunk(file, blocks, codes)
    case Int32(SX_MXFP4): MXFP4.readChunk(file, blocks, codes)
    case Int32(SX_NVFP4): NVFP4.readChunk(file, blocks, codes)
    case Int32(SX_Q2_0): Q2_0.readChunk(file, blocks, codes)
    case Int32(SX_Q1_0): Q1_0.readChunk(file, blocks, codes)
    default: break
    }
}

func writeChunk(
    _ type: Int32, _ file: UnsafeMutableRawPointer, _ blocks: Int, _ codes: UnsafePointer<UInt8>
) {
    sx_unwind_tables()
    switch type {
    case Int32(SX_Q8_0): Q8_0.writeChunk(file, blocks, codes)
    case Int32(SX_Q4_0): Q4_0.writeChunk(file, blocks, codes)
    case Int32(SX_Q4_1): Q4_1.writeChunk(file, blocks, codes)
    case Int32(SX_Q5_0): Q5_0.writeChunk(file, blocks, codes)
    case Int32(SX_Q5_1): Q5_1.writeChunk(file, blocks, codes)
    case Int32(SX_Q2_K): Q2_K.writeChunk(file, blocks, codes)
    case Int32(SX_Q3_K): Q3_K.writeChunk(file, blocks, codes)
    case Int32(SX_Q4_K): Q4_K.writeChunk(file, blocks, codes)
    case Int32(SX_Q5_K): Q5_K.writeChunk(file, blocks, codes)
    case Int32(SX_Q6_K): Q6_K.writeChunk(file, blocks, codes)
    case Int32(SX_IQ4_NL): IQ4_NL.writeChunk(file, blocks, codes)
    case Int32(SX_IQ4_XS): IQ4_XS.writeChunk(file, blocks, codes)
    case Int32(SX_MXFP4): MXFP4.writeChunk(file, blocks, codes)
    case Int32(SX_NVFP4): NVFP4.writeChunk(file, blocks, codes)
    case Int32(SX_Q2_0): Q2_0.writeChunk(file, blocks, codes)
    case Int32(SX_Q1_0): Q1_0.writeChunk(file, blocks, codes)
    default: break
    }
}

func readSides(
    _ type: Int32, _ file: UnsafeRawPointer, _ blocks: Int, _ side: UnsafeMutableRawPointer, _ column: Int
) {
    sx_unwind_tables()
    switch type {
    case Int32(SX_Q8_0): Q8_0.readSides(file, blocks, side, column)
    case Int32(SX_Q4_0): Q4_0.readSides(file, blocks, side, column)
    case Int32(SX_Q4_1): Q4_1.readSides(file, blocks, side, column)
    case Int32(SX_Q5_0): Q5_0.readSides(file, blocks, side, column)
    case Int32(SX_Q5_1): Q5_1.readSides(file, blocks, side, column)
    case Int32(SX_Q2_K): Q2_K.readSides(file, blocks, side, column)
    case Int32(SX_Q3_K): Q3_K.readSides(file, blocks, side, column)
    case Int32(SX_Q4_K): Q4_K.readSides(file, blocks, side, column)
    case Int32(SX_Q5_K): Q5_K.readSides(file, blocks, side, column)
    case Int32(SX_Q6_K): Q6_K.readSides(file, blocks, side, column)
    case Int32(SX_IQ4_NL): IQ4_NL.readSides(file, blocks, side, column)
    case Int32(SX_IQ4_XS): IQ4_XS.readSides(file, blocks, side, column)
    case Int32(SX_MXFP4): MXFP4.readSides(file, blocks, side, column)
    case Int32(SX_NVFP4): NVFP4.readSides(file, blocks, side, column)
    case Int32(SX_Q2_0): Q2_0.readSides(file, blocks, side, column)
    case Int32(SX_Q1_0): Q1_0.readSides(file, blocks, side, column)
    default: break
    }
}

func writeSides(
    _ type: Int32, _ file: UnsafeMutableRawPointer, _ blocks: Int, _ side: UnsafeRawPointer, _ column: Int
) {
    sx_unwind_tables()
    switch type {
    case Int32(SX_Q8_0): Q8_0.writeSides(file, blocks, side, column)
    case Int32(SX_Q4_0): Q4_0.writeSides(file, blocks, side, column)
    case Int32(SX_Q4_1): Q4_1.writeSides(file, blocks, side, column)
    case Int32(SX_Q5_0): Q5_0.writeSides(file, blocks, side, column)
    case Int32(SX_Q5_1): Q5_1.writeSides(file, blocks, side, column)
    case Int32(SX_Q2_K): Q2_K.writeSides(file, blocks, side, column)
    case Int32(SX_Q3_K): Q3_K.writeSides(file, blocks, side, column)
    case Int32(SX_Q4_K): Q4_K.writeSides(file, blocks, side, column)
    case Int32(SX_Q5_K): Q5_K.writeSides(file, blocks, side, column)
    case Int32(SX_Q6_K): Q6_K.writeSides(file, blocks, side, column)
    case Int32(SX_IQ4_NL): IQ4_NL.writeSides(file, blocks, side, column)
    case Int32(SX_IQ4_XS): IQ4_XS.writeSides(file, blocks, side, column)
    case Int32(SX_MXFP4): MXFP4.writeSides(file, blocks, side, column)
    case Int32(SX_NVFP4): NVFP4.writeSides(file, blocks, side, column)
    case Int32(SX_Q2_0): Q2_0.writeSides(file, blocks, side, column)
    case Int32(SX_Q1_0): Q1_0.writeSides(file, blocks, side, column)
    default: break
    }
}

#endif
#if ROOM_AVX512

@c(sx_avx512_bf16_dense_gemm) @implementation
public func sx_avx512_bf16_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Gemm(sparse: false, args)
}
@c(sx_avx512_bf16_dense_m16) @implementation
public func sx_avx512_bf16_dense_m16(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Decode(8, passes: 2, sparse: false, args)
}
@c(sx_avx512_bf16_dense_m8) @implementation
public func sx_avx512_bf16_dense_m8(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Decode(8, passes: 1, sparse: false, args)
}
@c(sx_avx512_bf16_dense_m4) @implementation
public func sx_avx512_bf16_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Decode(4, passes: 1, sparse: false, args)
}
@c(sx_avx512_bf16_dense_m3) @implementation
public func sx_avx512_bf16_dense_m3(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Decode(3, passes: 1, sparse: false, args)
}
@c(sx_avx512_bf16_dense_m2) @implementation
public func sx_avx512_bf16_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Decode(2, passes: 1, sparse: false, args)
}
@c(sx_avx512_bf16_dense_m1) @implementation
public func sx_avx512_bf16_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Decode(1, passes: 1, sparse: false, args)
}
@c(sx_avx512_bf16_sparse_gemm) @implementation
public func sx_avx512_bf16_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Gemm(sparse: true, args)
}
@c(sx_avx512_bf16_sparse_m16) @implementation
public func sx_avx512_bf16_sparse_m16(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Decode(8, passes: 2, sparse: true, args)
}
@c(sx_avx512_bf16_sparse_m8) @implementation
public func sx_avx512_bf16_sparse_m8(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Decode(8, passes: 1, sparse: true, args)
}
@c(sx_avx512_bf16_sparse_m4) @implementation
public func sx_avx512_bf16_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Decode(4, passes: 1, sparse: true, args)
}
@c(sx_avx512_bf16_sparse_m3) @implementation
public func sx_avx512_bf16_sparse_m3(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Decode(3, passes: 1, sparse: true, args)
}
@c(sx_avx512_bf16_sparse_m2) @implementation
public func sx_avx512_bf16_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Decode(2, passes: 1, sparse: true, args)
}
@c(sx_avx512_bf16_sparse_m1) @implementation
public func sx_avx512_bf16_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Decode(1, passes: 1, sparse: true, args)
}
@c(sx_avx512_bf16_coded_gemm) @implementation
public func sx_avx512_bf16_coded_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Gemm(sparse: false, coded: true, args)
}
@c(sx_avx512_bf16_coded_m16) @implementation
public func sx_avx512_bf16_coded_m16(_ args: UnsafePointer<sx_kernel_args>) {
    codedDecode(8, passes: 2, sparse: false, args)
}
@c(sx_avx512_bf16_coded_m8) @implementation
public func sx_avx512_bf16_coded_m8(_ args: UnsafePointer<sx_kernel_args>) {
    codedDecode(8, passes: 1, sparse: false, args)
}
@c(sx_avx512_bf16_coded_m4) @implementation
public func sx_avx512_bf16_coded_m4(_ args: UnsafePointer<sx_kernel_args>) {
    codedDecode(4, passes: 1, sparse: false, args)
}
@c(sx_avx512_bf16_coded_m3) @implementation
public func sx_avx512_bf16_coded_m3(_ args: UnsafePointer<sx_kernel_args>) {
    codedDecode(3, passes: 1, sparse: false, args)
}
@c(sx_avx512_bf16_coded_m2) @implementation
public func sx_avx512_bf16_coded_m2(_ args: UnsafePointer<sx_kernel_args>) {
    codedDecode(2, passes: 1, sparse: false, args)
}
@c(sx_avx512_bf16_coded_m1) @implementation
public func sx_avx512_bf16_coded_m1(_ args: UnsafePointer<sx_kernel_args>) {
    codedDecode(1, passes: 1, sparse: false, args)
}
@c(sx_avx512_bf16_coded_sparse_gemm) @implementation
public func sx_avx512_bf16_coded_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    bf16Gemm(sparse: true, coded: true, args)
}
@c(sx_avx512_bf16_coded_sparse_m16) @implementation
public func sx_avx512_bf16_coded_sparse_m16(_ args: UnsafePointer<sx_kernel_args>) {
    codedDecode(8, passes: 2, sparse: true, args)
}
@c(sx_avx512_bf16_coded_sparse_m8) @implementation
public func sx_avx512_bf16_coded_sparse_m8(_ args: UnsafePointer<sx_kernel_args>) {
    codedDecode(8, passes: 1, sparse: true, args)
}
@c(sx_avx512_bf16_coded_sparse_m4) @implementation
public func sx_avx512_bf16_coded_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    codedDecode(4, passes: 1, sparse: true, args)
}
@c(sx_avx512_bf16_coded_sparse_m3) @implementation
public func sx_avx512_bf16_coded_sparse_m3(_ args: UnsafePointer<sx_kernel_args>) {
    codedDecode(3, passes: 1, sparse: true, args)
}
@c(sx_avx512_bf16_coded_sparse_m2) @implementation
public func sx_avx512_bf16_coded_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    codedDecode(2, passes: 1, sparse: true, args)
}
@c(sx_avx512_bf16_coded_sparse_m1) @implementation
public func sx_avx512_bf16_coded_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    codedDecode(1, passes: 1, sparse: true, args)
}

@c(sx_avx512_f16_dense_gemm) @implementation
public func sx_avx512_f16_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    f16Gemm(sparse: false, args)
}
@c(sx_avx512_f16_dense_m8) @implementation
public func sx_avx512_f16_dense_m8(_ args: UnsafePointer<sx_kernel_args>) {
    f16Decode(4, passes: 2, sparse: false, args)
}
@c(sx_avx512_f16_dense_m4) @implementation
public func sx_avx512_f16_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    f16Decode(4, passes: 1, sparse: false, args)
}
@c(sx_avx512_f16_dense_m3) @implementation
public func sx_avx512_f16_dense_m3(_ args: UnsafePointer<sx_kernel_args>) {
    f16Decode(3, passes: 1, sparse: false, args)
}
@c(sx_avx512_f16_dense_m2) @implementation
public func sx_avx512_f16_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    f16Decode(2, passes: 1, sparse: false, args)
}
@c(sx_avx512_f16_dense_m1) @implementation
public func sx_avx512_f16_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    f16Decode(1, passes: 1, sparse: false, args)
}
@c(sx_avx512_f16_sparse_gemm) @implementation
public func sx_avx512_f16_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    f16Gemm(sparse: true, args)
}
@c(sx_avx512_f16_sparse_m8) @implementation
public func sx_avx512_f16_sparse_m8(_ args: UnsafePointer<sx_kernel_args>) {
    f16Decode(4, passes: 2, sparse: true, args)
}
@c(sx_avx512_f16_sparse_m4) @implementation
public func sx_avx512_f16_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    f16Decode(4, passes: 1, sparse: true, args)
}
@c(sx_avx512_f16_sparse_m3) @implementation
public func sx_avx512_f16_sparse_m3(_ args: UnsafePointer<sx_kernel_args>) {
    f16Decode(3, passes: 1, sparse: true, args)
}
@c(sx_avx512_f16_sparse_m2) @implementation
public func sx_avx512_f16_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    f16Decode(2, passes: 1, sparse: true, args)
}
@c(sx_avx512_f16_sparse_m1) @implementation
public func sx_avx512_f16_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    f16Decode(1, passes: 1, sparse: true, args)
}

@c(sx_avx512_q8_0_dense_gemm) @implementation
public func sx_avx512_q8_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q8_0.self, Dense.self, args)
}
@c(sx_avx512_q8_0_dense_m4) @implementation
public func sx_avx512_q8_0_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q8_0.self, Dense.self, 4, args)
}
@c(sx_avx512_q8_0_dense_m2) @implementation
public func sx_avx512_q8_0_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q8_0.self, Dense.self, 2, args)
}
@c(sx_avx512_q8_0_dense_m1) @implementation
public func sx_avx512_q8_0_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q8_0.self, Dense.self, 1, args)
}
@c(sx_avx512_q8_0_sparse_gemm) @implementation
public func sx_avx512_q8_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q8_0.self, Sparse.self, args)
}
@c(sx_avx512_q8_0_sparse_m4) @implementation
public func sx_avx512_q8_0_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q8_0.self, Sparse.self, 4, args)
}
@c(sx_avx512_q8_0_sparse_m2) @implementation
public func sx_avx512_q8_0_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q8_0.self, Sparse.self, 2, args)
}
@c(sx_avx512_q8_0_sparse_m1) @implementation
public func sx_avx512_q8_0_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q8_0.self, Sparse.self, 1, args)
}

@c(sx_avx512_q4_0_dense_gemm) @implementation
public func sx_avx512_q4_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q4_0.self, Dense.self, args)
}
@c(sx_avx512_q4_0_dense_m4) @implementation
public func sx_avx512_q4_0_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_0.self, Dense.self, 4, args)
}
@c(sx_avx512_q4_0_dense_m2) @implementation
public func sx_avx512_q4_0_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_0.self, Dense.self, 2, args)
}
@c(sx_avx512_q4_0_dense_m1) @implementation
public func sx_avx512_q4_0_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_0.self, Dense.self, 1, args)
}
@c(sx_avx512_q4_0_sparse_gemm) @implementation
public func sx_avx512_q4_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q4_0.self, Sparse.self, args)
}
@c(sx_avx512_q4_0_sparse_m4) @implementation
public func sx_avx512_q4_0_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_0.self, Sparse.self, 4, args)
}
@c(sx_avx512_q4_0_sparse_m2) @implementation
public func sx_avx512_q4_0_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_0.self, Sparse.self, 2, args)
}
@c(sx_avx512_q4_0_sparse_m1) @implementation
public func sx_avx512_q4_0_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_0.self, Sparse.self, 1, args)
}

@c(sx_avx512_q4_1_dense_gemm) @implementation
public func sx_avx512_q4_1_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q4_1.self, Dense.self, args)
}
@c(sx_avx512_q4_1_dense_m4) @implementation
public func sx_avx512_q4_1_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_1.self, Dense.self, 4, args)
}
@c(sx_avx512_q4_1_dense_m2) @implementation
public func sx_avx512_q4_1_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_1.self, Dense.self, 2, args)
}
@c(sx_avx512_q4_1_dense_m1) @implementation
public func sx_avx512_q4_1_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_1.self, Dense.self, 1, args)
}
@c(sx_avx512_q4_1_sparse_gemm) @implementation
public func sx_avx512_q4_1_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q4_1.self, Sparse.self, args)
}
@c(sx_avx512_q4_1_sparse_m4) @implementation
public func sx_avx512_q4_1_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_1.self, Sparse.self, 4, args)
}
@c(sx_avx512_q4_1_sparse_m2) @implementation
public func sx_avx512_q4_1_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_1.self, Sparse.self, 2, args)
}
@c(sx_avx512_q4_1_sparse_m1) @implementation
public func sx_avx512_q4_1_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_1.self, Sparse.self, 1, args)
}

@c(sx_avx512_q5_0_dense_gemm) @implementation
public func sx_avx512_q5_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q5_0.self, Dense.self, args)
}
@c(sx_avx512_q5_0_dense_m4) @implementation
public func sx_avx512_q5_0_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_0.self, Dense.self, 4, args)
}
@c(sx_avx512_q5_0_dense_m2) @implementation
public func sx_avx512_q5_0_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_0.self, Dense.self, 2, args)
}
@c(sx_avx512_q5_0_dense_m1) @implementation
public func sx_avx512_q5_0_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_0.self, Dense.self, 1, args)
}
@c(sx_avx512_q5_0_sparse_gemm) @implementation
public func sx_avx512_q5_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q5_0.self, Sparse.self, args)
}
@c(sx_avx512_q5_0_sparse_m4) @implementation
public func sx_avx512_q5_0_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_0.self, Sparse.self, 4, args)
}
@c(sx_avx512_q5_0_sparse_m2) @implementation
public func sx_avx512_q5_0_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_0.self, Sparse.self, 2, args)
}
@c(sx_avx512_q5_0_sparse_m1) @implementation
public func sx_avx512_q5_0_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_0.self, Sparse.self, 1, args)
}

@c(sx_avx512_q5_1_dense_gemm) @implementation
public func sx_avx512_q5_1_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q5_1.self, Dense.self, args)
}
@c(sx_avx512_q5_1_dense_m4) @implementation
public func sx_avx512_q5_1_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_1.self, Dense.self, 4, args)
}
@c(sx_avx512_q5_1_dense_m2) @implementation
public func sx_avx512_q5_1_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_1.self, Dense.self, 2, args)
}
@c(sx_avx512_q5_1_dense_m1) @implementation
public func sx_avx512_q5_1_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_1.self, Dense.self, 1, args)
}
@c(sx_avx512_q5_1_sparse_gemm) @implementation
public func sx_avx512_q5_1_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q5_1.self, Sparse.self, args)
}
@c(sx_avx512_q5_1_sparse_m4) @implementation
public func sx_avx512_q5_1_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_1.self, Sparse.self, 4, args)
}
@c(sx_avx512_q5_1_sparse_m2) @implementation
public func sx_avx512_q5_1_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_1.self, Sparse.self, 2, args)
}
@c(sx_avx512_q5_1_sparse_m1) @implementation
public func sx_avx512_q5_1_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_1.self, Sparse.self, 1, args)
}

@c(sx_avx512_q2_k_dense_gemm) @implementation
public func sx_avx512_q2_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q2_K.self, Dense.self, args)
}
@c(sx_avx512_q2_k_dense_m4) @implementation
public func sx_avx512_q2_k_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q2_K.self, Dense.self, 4, args)
}
@c(sx_avx512_q2_k_dense_m2) @implementation
public func sx_avx512_q2_k_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q2_K.self, Dense.self, 2, args)
}
@c(sx_avx512_q2_k_dense_m1) @implementation
public func sx_avx512_q2_k_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q2_K.self, Dense.self, 1, args)
}
@c(sx_avx512_q2_k_sparse_gemm) @implementation
public func sx_avx512_q2_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q2_K.self, Sparse.self, args)
}
@c(sx_avx512_q2_k_sparse_m4) @implementation
public func sx_avx512_q2_k_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q2_K.self, Sparse.self, 4, args)
}
@c(sx_avx512_q2_k_sparse_m2) @implementation
public func sx_avx512_q2_k_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q2_K.self, Sparse.self, 2, args)
}
@c(sx_avx512_q2_k_sparse_m1) @implementation
public func sx_avx512_q2_k_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q2_K.self, Sparse.self, 1, args)
}

@c(sx_avx512_q3_k_dense_gemm) @implementation
public func sx_avx512_q3_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q3_K.self, Dense.self, args)
}
@c(sx_avx512_q3_k_dense_m4) @implementation
public func sx_avx512_q3_k_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q3_K.self, Dense.self, 4, args)
}
@c(sx_avx512_q3_k_dense_m2) @implementation
public func sx_avx512_q3_k_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q3_K.self, Dense.self, 2, args)
}
@c(sx_avx512_q3_k_dense_m1) @implementation
public func sx_avx512_q3_k_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q3_K.self, Dense.self, 1, args)
}
@c(sx_avx512_q3_k_sparse_gemm) @implementation
public func sx_avx512_q3_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q3_K.self, Sparse.self, args)
}
@c(sx_avx512_q3_k_sparse_m4) @implementation
public func sx_avx512_q3_k_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q3_K.self, Sparse.self, 4, args)
}
@c(sx_avx512_q3_k_sparse_m2) @implementation
public func sx_avx512_q3_k_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q3_K.self, Sparse.self, 2, args)
}
@c(sx_avx512_q3_k_sparse_m1) @implementation
public func sx_avx512_q3_k_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q3_K.self, Sparse.self, 1, args)
}

@c(sx_avx512_q4_k_dense_gemm) @implementation
public func sx_avx512_q4_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q4_K.self, Dense.self, args)
}
@c(sx_avx512_q4_k_dense_m4) @implementation
public func sx_avx512_q4_k_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_K.self, Dense.self, 4, args)
}
@c(sx_avx512_q4_k_dense_m2) @implementation
public func sx_avx512_q4_k_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_K.self, Dense.self, 2, args)
}
@c(sx_avx512_q4_k_dense_m1) @implementation
public func sx_avx512_q4_k_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_K.self, Dense.self, 1, args)
}
@c(sx_avx512_q4_k_sparse_gemm) @implementation
public func sx_avx512_q4_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q4_K.self, Sparse.self, args)
}
@c(sx_avx512_q4_k_sparse_m4) @implementation
public func sx_avx512_q4_k_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_K.self, Sparse.self, 4, args)
}
@c(sx_avx512_q4_k_sparse_m2) @implementation
public func sx_avx512_q4_k_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_K.self, Sparse.self, 2, args)
}
@c(sx_avx512_q4_k_sparse_m1) @implementation
public func sx_avx512_q4_k_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q4_K.self, Sparse.self, 1, args)
}

@c(sx_avx512_q5_k_dense_gemm) @implementation
public func sx_avx512_q5_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q5_K.self, Dense.self, args)
}
@c(sx_avx512_q5_k_dense_m4) @implementation
public func sx_avx512_q5_k_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_K.self, Dense.self, 4, args)
}
@c(sx_avx512_q5_k_dense_m2) @implementation
public func sx_avx512_q5_k_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_K.self, Dense.self, 2, args)
}
@c(sx_avx512_q5_k_dense_m1) @implementation
public func sx_avx512_q5_k_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_K.self, Dense.self, 1, args)
}
@c(sx_avx512_q5_k_sparse_gemm) @implementation
public func sx_avx512_q5_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q5_K.self, Sparse.self, args)
}
@c(sx_avx512_q5_k_sparse_m4) @implementation
public func sx_avx512_q5_k_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_K.self, Sparse.self, 4, args)
}
@c(sx_avx512_q5_k_sparse_m2) @implementation
public func sx_avx512_q5_k_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_K.self, Sparse.self, 2, args)
}
@c(sx_avx512_q5_k_sparse_m1) @implementation
public func sx_avx512_q5_k_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q5_K.self, Sparse.self, 1, args)
}

@c(sx_avx512_q6_k_dense_gemm) @implementation
public func sx_avx512_q6_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q6_K.self, Dense.self, args)
}
@c(sx_avx512_q6_k_dense_m4) @implementation
public func sx_avx512_q6_k_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q6_K.self, Dense.self, 4, args)
}
@c(sx_avx512_q6_k_dense_m2) @implementation
public func sx_avx512_q6_k_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q6_K.self, Dense.self, 2, args)
}
@c(sx_avx512_q6_k_dense_m1) @implementation
public func sx_avx512_q6_k_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q6_K.self, Dense.self, 1, args)
}
@c(sx_avx512_q6_k_sparse_gemm) @implementation
public func sx_avx512_q6_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q6_K.self, Sparse.self, args)
}
@c(sx_avx512_q6_k_sparse_m4) @implementation
public func sx_avx512_q6_k_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q6_K.self, Sparse.self, 4, args)
}
@c(sx_avx512_q6_k_sparse_m2) @implementation
public func sx_avx512_q6_k_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q6_K.self, Sparse.self, 2, args)
}
@c(sx_avx512_q6_k_sparse_m1) @implementation
public func sx_avx512_q6_k_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q6_K.self, Sparse.self, 1, args)
}

@c(sx_avx512_iq4_nl_dense_gemm) @implementation
public func sx_avx512_iq4_nl_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(IQ4_NL.self, Dense.self, args)
}
@c(sx_avx512_iq4_nl_dense_m4) @implementation
public func sx_avx512_iq4_nl_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(IQ4_NL.self, Dense.self, 4, args)
}
@c(sx_avx512_iq4_nl_dense_m2) @implementation
public func sx_avx512_iq4_nl_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(IQ4_NL.self, Dense.self, 2, args)
}
@c(sx_avx512_iq4_nl_dense_m1) @implementation
public func sx_avx512_iq4_nl_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(IQ4_NL.self, Dense.self, 1, args)
}
@c(sx_avx512_iq4_nl_sparse_gemm) @implementation
public func sx_avx512_iq4_nl_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(IQ4_NL.self, Sparse.self, args)
}
@c(sx_avx512_iq4_nl_sparse_m4) @implementation
public func sx_avx512_iq4_nl_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(IQ4_NL.self, Sparse.self, 4, args)
}
@c(sx_avx512_iq4_nl_sparse_m2) @implementation
public func sx_avx512_iq4_nl_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(IQ4_NL.self, Sparse.self, 2, args)
}
@c(sx_avx512_iq4_nl_sparse_m1) @implementation
public func sx_avx512_iq4_nl_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(IQ4_NL.self, Sparse.self, 1, args)
}

@c(sx_avx512_iq4_xs_dense_gemm) @implementation
public func sx_avx512_iq4_xs_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(IQ4_XS.self, Dense.self, args)
}
@c(sx_avx512_iq4_xs_dense_m4) @implementation
public func sx_avx512_iq4_xs_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(IQ4_XS.self, Dense.self, 4, args)
}
@c(sx_avx512_iq4_xs_dense_m2) @implementation
public func sx_avx512_iq4_xs_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(IQ4_XS.self, Dense.self, 2, args)
}
@c(sx_avx512_iq4_xs_dense_m1) @implementation
public func sx_avx512_iq4_xs_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(IQ4_XS.self, Dense.self, 1, args)
}
@c(sx_avx512_iq4_xs_sparse_gemm) @implementation
public func sx_avx512_iq4_xs_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(IQ4_XS.self, Sparse.self, args)
}
@c(sx_avx512_iq4_xs_sparse_m4) @implementation
public func sx_avx512_iq4_xs_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(IQ4_XS.self, Sparse.self, 4, args)
}
@c(sx_avx512_iq4_xs_sparse_m2) @implementation
public func sx_avx512_iq4_xs_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(IQ4_XS.self, Sparse.self, 2, args)
}
@c(sx_avx512_iq4_xs_sparse_m1) @implementation
public func sx_avx512_iq4_xs_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(IQ4_XS.self, Sparse.self, 1, args)
}

@c(sx_avx512_mxfp4_dense_gemm) @implementation
public func sx_avx512_mxfp4_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(MXFP4.self, Dense.self, args)
}
@c(sx_avx512_mxfp4_dense_m4) @implementation
public func sx_avx512_mxfp4_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(MXFP4.self, Dense.self, 4, args)
}
@c(sx_avx512_mxfp4_dense_m2) @implementation
public func sx_avx512_mxfp4_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(MXFP4.self, Dense.self, 2, args)
}
@c(sx_avx512_mxfp4_dense_m1) @implementation
public func sx_avx512_mxfp4_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(MXFP4.self, Dense.self, 1, args)
}
@c(sx_avx512_mxfp4_sparse_gemm) @implementation
public func sx_avx512_mxfp4_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(MXFP4.self, Sparse.self, args)
}
@c(sx_avx512_mxfp4_sparse_m4) @implementation
public func sx_avx512_mxfp4_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(MXFP4.self, Sparse.self, 4, args)
}
@c(sx_avx512_mxfp4_sparse_m2) @implementation
public func sx_avx512_mxfp4_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(MXFP4.self, Sparse.self, 2, args)
}
@c(sx_avx512_mxfp4_sparse_m1) @implementation
public func sx_avx512_mxfp4_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(MXFP4.self, Sparse.self, 1, args)
}

@c(sx_avx512_nvfp4_dense_gemm) @implementation
public func sx_avx512_nvfp4_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(NVFP4.self, Dense.self, args)
}
@c(sx_avx512_nvfp4_dense_m4) @implementation
public func sx_avx512_nvfp4_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(NVFP4.self, Dense.self, 4, args)
}
@c(sx_avx512_nvfp4_dense_m2) @implementation
public func sx_avx512_nvfp4_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(NVFP4.self, Dense.self, 2, args)
}
@c(sx_avx512_nvfp4_dense_m1) @implementation
public func sx_avx512_nvfp4_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(NVFP4.self, Dense.self, 1, args)
}
@c(sx_avx512_nvfp4_sparse_gemm) @implementation
public func sx_avx512_nvfp4_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(NVFP4.self, Sparse.self, args)
}
@c(sx_avx512_nvfp4_sparse_m4) @implementation
public func sx_avx512_nvfp4_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(NVFP4.self, Sparse.self, 4, args)
}
@c(sx_avx512_nvfp4_sparse_m2) @implementation
public func sx_avx512_nvfp4_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(NVFP4.self, Sparse.self, 2, args)
}
@c(sx_avx512_nvfp4_sparse_m1) @implementation
public func sx_avx512_nvfp4_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(NVFP4.self, Sparse.self, 1, args)
}

@c(sx_avx512_q2_0_dense_gemm) @implementation
public func sx_avx512_q2_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q2_0.self, Dense.self, args)
}
@c(sx_avx512_q2_0_dense_m4) @implementation
public func sx_avx512_q2_0_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q2_0.self, Dense.self, 4, args)
}
@c(sx_avx512_q2_0_dense_m2) @implementation
public func sx_avx512_q2_0_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q2_0.self, Dense.self, 2, args)
}
@c(sx_avx512_q2_0_dense_m1) @implementation
public func sx_avx512_q2_0_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q2_0.self, Dense.self, 1, args)
}
@c(sx_avx512_q2_0_sparse_gemm) @implementation
public func sx_avx512_q2_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q2_0.self, Sparse.self, args)
}
@c(sx_avx512_q2_0_sparse_m4) @implementation
public func sx_avx512_q2_0_sparse_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q2_0.self, Sparse.self, 4, args)
}
@c(sx_avx512_q2_0_sparse_m2) @implementation
public func sx_avx512_q2_0_sparse_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q2_0.self, Sparse.self, 2, args)
}
@c(sx_avx512_q2_0_sparse_m1) @implementation
public func sx_avx512_q2_0_sparse_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q2_0.self, Sparse.self, 1, args)
}

@c(sx_avx512_q1_0_dense_gemm) @implementation
public func sx_avx512_q1_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(Q1_0.self, Dense.self, args)
}
@c(sx_avx512_q1_0_dense_m4) @implementation
public func sx_avx512_q1_0_dense_m4(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q1_0.self, Dense.self, 4, args)
}
@c(sx_avx512_q1_0_dense_m2) @implementation
public func sx_avx512_q1_0_dense_m2(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q1_0.self, Dense.self, 2, args)
}
@c(sx_avx512_q1_0_dense_m1) @implementation
public func sx_avx512_q1_0_dense_m1(_ args: UnsafePointer<sx_kernel_args>) {
    quantDecode(Q1_0.self, Dense.self, 1, args)
}

#elseif ROOM_AMX

@c(sx_amx_bf16_dense_gemm) @implementation
public func sx_amx_bf16_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    wideGemm(half: false, sparse: false, args)
}
@c(sx_amx_bf16_dense_ring) @implementation
public func sx_amx_bf16_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    wideRing(half: false, sparse: false, args)
}
@c(sx_amx_bf16_sparse_gemm) @implementation
public func sx_amx_bf16_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    wideGemm(half: false, sparse: true, args)
}
@c(sx_amx_bf16_sparse_ring) @implementation
public func sx_amx_bf16_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    wideRing(half: false, sparse: true, args)
}
@c(sx_amx_bf16_coded_gemm) @implementation
public func sx_amx_bf16_coded_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    codedGemm(sparse: false, args)
}
@c(sx_amx_bf16_coded_ring) @implementation
public func sx_amx_bf16_coded_ring(_ args: UnsafePointer<sx_kernel_args>) {
    codedRing(sparse: false, args)
}
@c(sx_amx_bf16_coded_sparse_gemm) @implementation
public func sx_amx_bf16_coded_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    codedGemm(sparse: true, args)
}
@c(sx_amx_bf16_coded_sparse_ring) @implementation
public func sx_amx_bf16_coded_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    codedRing(sparse: true, args)
}

@c(sx_amx_f16_dense_gemm) @implementation
public func sx_amx_f16_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    wideGemm(half: true, sparse: false, args)
}
@c(sx_amx_f16_dense_ring) @implementation
public func sx_amx_f16_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    wideRing(half: true, sparse: false, args)
}
@c(sx_amx_f16_sparse_gemm) @implementation
public func sx_amx_f16_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    wideGemm(half: true, sparse: true, args)
}
@c(sx_amx_f16_sparse_ring) @implementation
public func sx_amx_f16_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    wideRing(half: true, sparse: true, args)
}

@c(sx_amx_q8_0_dense_expand) @implementation
public func sx_amx_q8_0_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q8_0.self, Dense.self, next)
}
@c(sx_amx_q8_0_dense_gemm) @implementation
public func sx_amx_q8_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q8_0.self, sx_amx_q8_0_dense_expand, args)
}
@c(sx_amx_q8_0_dense_ring) @implementation
public func sx_amx_q8_0_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q8_0.self, sx_amx_q8_0_dense_expand, args)
}
@c(sx_amx_q8_0_sparse_expand) @implementation
public func sx_amx_q8_0_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q8_0.self, Sparse.self, next)
}
@c(sx_amx_q8_0_sparse_gemm) @implementation
public func sx_amx_q8_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q8_0.self, sx_amx_q8_0_sparse_expand, args)
}
@c(sx_amx_q8_0_sparse_ring) @implementation
public func sx_amx_q8_0_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q8_0.self, sx_amx_q8_0_sparse_expand, args)
}

@c(sx_amx_q4_0_dense_expand) @implementation
public func sx_amx_q4_0_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q4_0.self, Dense.self, next)
}
@c(sx_amx_q4_0_dense_gemm) @implementation
public func sx_amx_q4_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q4_0.self, sx_amx_q4_0_dense_expand, args)
}
@c(sx_amx_q4_0_dense_ring) @implementation
public func sx_amx_q4_0_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q4_0.self, sx_amx_q4_0_dense_expand, args)
}
@c(sx_amx_q4_0_sparse_expand) @implementation
public func sx_amx_q4_0_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q4_0.self, Sparse.self, next)
}
@c(sx_amx_q4_0_sparse_gemm) @implementation
public func sx_amx_q4_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q4_0.self, sx_amx_q4_0_sparse_expand, args)
}
@c(sx_amx_q4_0_sparse_ring) @implementation
public func sx_amx_q4_0_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q4_0.self, sx_amx_q4_0_sparse_expand, args)
}

@c(sx_amx_q4_1_dense_expand) @implementation
public func sx_amx_q4_1_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q4_1.self, Dense.self, next)
}
@c(sx_amx_q4_1_dense_gemm) @implementation
public func sx_amx_q4_1_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q4_1.self, sx_amx_q4_1_dense_expand, args)
}
@c(sx_amx_q4_1_dense_ring) @implementation
public func sx_amx_q4_1_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q4_1.self, sx_amx_q4_1_dense_expand, args)
}
@c(sx_amx_q4_1_sparse_expand) @implementation
public func sx_amx_q4_1_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q4_1.self, Sparse.self, next)
}
@c(sx_amx_q4_1_sparse_gemm) @implementation
public func sx_amx_q4_1_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q4_1.self, sx_amx_q4_1_sparse_expand, args)
}
@c(sx_amx_q4_1_sparse_ring) @implementation
public func sx_amx_q4_1_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q4_1.self, sx_amx_q4_1_sparse_expand, args)
}

@c(sx_amx_q5_0_dense_expand) @implementation
public func sx_amx_q5_0_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q5_0.self, Dense.self, next)
}
@c(sx_amx_q5_0_dense_gemm) @implementation
public func sx_amx_q5_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q5_0.self, sx_amx_q5_0_dense_expand, args)
}
@c(sx_amx_q5_0_dense_ring) @implementation
public func sx_amx_q5_0_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q5_0.self, sx_amx_q5_0_dense_expand, args)
}
@c(sx_amx_q5_0_sparse_expand) @implementation
public func sx_amx_q5_0_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q5_0.self, Sparse.self, next)
}
@c(sx_amx_q5_0_sparse_gemm) @implementation
public func sx_amx_q5_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q5_0.self, sx_amx_q5_0_sparse_expand, args)
}
@c(sx_amx_q5_0_sparse_ring) @implementation
public func sx_amx_q5_0_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q5_0.self, sx_amx_q5_0_sparse_expand, args)
}

@c(sx_amx_q5_1_dense_expand) @implementation
public func sx_amx_q5_1_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q5_1.self, Dense.self, next)
}
@c(sx_amx_q5_1_dense_gemm) @implementation
public func sx_amx_q5_1_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q5_1.self, sx_amx_q5_1_dense_expand, args)
}
@c(sx_amx_q5_1_dense_ring) @implementation
public func sx_amx_q5_1_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q5_1.self, sx_amx_q5_1_dense_expand, args)
}
@c(sx_amx_q5_1_sparse_expand) @implementation
public func sx_amx_q5_1_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q5_1.self, Sparse.self, next)
}
@c(sx_amx_q5_1_sparse_gemm) @implementation
public func sx_amx_q5_1_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q5_1.self, sx_amx_q5_1_sparse_expand, args)
}
@c(sx_amx_q5_1_sparse_ring) @implementation
public func sx_amx_q5_1_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q5_1.self, sx_amx_q5_1_sparse_expand, args)
}

@c(sx_amx_q2_k_dense_expand) @implementation
public func sx_amx_q2_k_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q2_K.self, Dense.self, next)
}
@c(sx_amx_q2_k_dense_gemm) @implementation
public func sx_amx_q2_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q2_K.self, sx_amx_q2_k_dense_expand, args)
}
@c(sx_amx_q2_k_dense_ring) @implementation
public func sx_amx_q2_k_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q2_K.self, sx_amx_q2_k_dense_expand, args)
}
@c(sx_amx_q2_k_sparse_expand) @implementation
public func sx_amx_q2_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q2_K.self, Sparse.self, next)
}
@c(sx_amx_q2_k_sparse_gemm) @implementation
public func sx_amx_q2_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q2_K.self, sx_amx_q2_k_sparse_expand, args)
}
@c(sx_amx_q2_k_sparse_ring) @implementation
public func sx_amx_q2_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q2_K.self, sx_amx_q2_k_sparse_expand, args)
}

@c(sx_amx_q3_k_dense_expand) @implementation
public func sx_amx_q3_k_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q3_K.self, Dense.self, next)
}
@c(sx_amx_q3_k_dense_gemm) @implementation
public func sx_amx_q3_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q3_K.self, sx_amx_q3_k_dense_expand, args)
}
@c(sx_amx_q3_k_dense_ring) @implementation
public func sx_amx_q3_k_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q3_K.self, sx_amx_q3_k_dense_expand, args)
}
@c(sx_amx_q3_k_sparse_expand) @implementation
public func sx_amx_q3_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q3_K.self, Sparse.self, next)
}
@c(sx_amx_q3_k_sparse_gemm) @implementation
public func sx_amx_q3_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q3_K.self, sx_amx_q3_k_sparse_expand, args)
}
@c(sx_amx_q3_k_sparse_ring) @implementation
public func sx_amx_q3_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q3_K.self, sx_amx_q3_k_sparse_expand, args)
}

@c(sx_amx_q4_k_dense_expand) @implementation
public func sx_amx_q4_k_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q4_K.self, Dense.self, next)
}
@c(sx_amx_q4_k_dense_gemm) @implementation
public func sx_amx_q4_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q4_K.self, sx_amx_q4_k_dense_expand, args)
}
@c(sx_amx_q4_k_dense_ring) @implementation
public func sx_amx_q4_k_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q4_K.self, sx_amx_q4_k_dense_expand, args)
}
@c(sx_amx_q4_k_sparse_expand) @implementation
public func sx_amx_q4_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q4_K.self, Sparse.self, next)
}
@c(sx_amx_q4_k_sparse_gemm) @implementation
public func sx_amx_q4_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q4_K.self, sx_amx_q4_k_sparse_expand, args)
}
@c(sx_amx_q4_k_sparse_ring) @implementation
public func sx_amx_q4_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q4_K.self, sx_amx_q4_k_sparse_expand, args)
}

@c(sx_amx_q5_k_dense_expand) @implementation
public func sx_amx_q5_k_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q5_K.self, Dense.self, next)
}
@c(sx_amx_q5_k_dense_gemm) @implementation
public func sx_amx_q5_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q5_K.self, sx_amx_q5_k_dense_expand, args)
}
@c(sx_amx_q5_k_dense_ring) @implementation
public func sx_amx_q5_k_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q5_K.self, sx_amx_q5_k_dense_expand, args)
}
@c(sx_amx_q5_k_sparse_expand) @implementation
public func sx_amx_q5_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q5_K.self, Sparse.self, next)
}
@c(sx_amx_q5_k_sparse_gemm) @implementation
public func sx_amx_q5_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q5_K.self, sx_amx_q5_k_sparse_expand, args)
}
@c(sx_amx_q5_k_sparse_ring) @implementation
public func sx_amx_q5_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q5_K.self, sx_amx_q5_k_sparse_expand, args)
}

@c(sx_amx_q6_k_dense_expand) @implementation
public func sx_amx_q6_k_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q6_K.self, Dense.self, next)
}
@c(sx_amx_q6_k_dense_gemm) @implementation
public func sx_amx_q6_k_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q6_K.self, sx_amx_q6_k_dense_expand, args)
}
@c(sx_amx_q6_k_dense_ring) @implementation
public func sx_amx_q6_k_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q6_K.self, sx_amx_q6_k_dense_expand, args)
}
@c(sx_amx_q6_k_sparse_expand) @implementation
public func sx_amx_q6_k_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q6_K.self, Sparse.self, next)
}
@c(sx_amx_q6_k_sparse_gemm) @implementation
public func sx_amx_q6_k_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q6_K.self, sx_amx_q6_k_sparse_expand, args)
}
@c(sx_amx_q6_k_sparse_ring) @implementation
public func sx_amx_q6_k_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q6_K.self, sx_amx_q6_k_sparse_expand, args)
}

@c(sx_amx_iq4_nl_dense_expand) @implementation
public func sx_amx_iq4_nl_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(IQ4_NL.self, Dense.self, next)
}
@c(sx_amx_iq4_nl_dense_gemm) @implementation
public func sx_amx_iq4_nl_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(IQ4_NL.self, sx_amx_iq4_nl_dense_expand, args)
}
@c(sx_amx_iq4_nl_dense_ring) @implementation
public func sx_amx_iq4_nl_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(IQ4_NL.self, sx_amx_iq4_nl_dense_expand, args)
}
@c(sx_amx_iq4_nl_sparse_expand) @implementation
public func sx_amx_iq4_nl_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(IQ4_NL.self, Sparse.self, next)
}
@c(sx_amx_iq4_nl_sparse_gemm) @implementation
public func sx_amx_iq4_nl_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(IQ4_NL.self, sx_amx_iq4_nl_sparse_expand, args)
}
@c(sx_amx_iq4_nl_sparse_ring) @implementation
public func sx_amx_iq4_nl_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(IQ4_NL.self, sx_amx_iq4_nl_sparse_expand, args)
}

@c(sx_amx_iq4_xs_dense_expand) @implementation
public func sx_amx_iq4_xs_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(IQ4_XS.self, Dense.self, next)
}
@c(sx_amx_iq4_xs_dense_gemm) @implementation
public func sx_amx_iq4_xs_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(IQ4_XS.self, sx_amx_iq4_xs_dense_expand, args)
}
@c(sx_amx_iq4_xs_dense_ring) @implementation
public func sx_amx_iq4_xs_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(IQ4_XS.self, sx_amx_iq4_xs_dense_expand, args)
}
@c(sx_amx_iq4_xs_sparse_expand) @implementation
public func sx_amx_iq4_xs_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(IQ4_XS.self, Sparse.self, next)
}
@c(sx_amx_iq4_xs_sparse_gemm) @implementation
public func sx_amx_iq4_xs_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(IQ4_XS.self, sx_amx_iq4_xs_sparse_expand, args)
}
@c(sx_amx_iq4_xs_sparse_ring) @implementation
public func sx_amx_iq4_xs_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(IQ4_XS.self, sx_amx_iq4_xs_sparse_expand, args)
}

@c(sx_amx_mxfp4_dense_expand) @implementation
public func sx_amx_mxfp4_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(MXFP4.self, Dense.self, next)
}
@c(sx_amx_mxfp4_dense_gemm) @implementation
public func sx_amx_mxfp4_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(MXFP4.self, sx_amx_mxfp4_dense_expand, args)
}
@c(sx_amx_mxfp4_dense_ring) @implementation
public func sx_amx_mxfp4_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(MXFP4.self, sx_amx_mxfp4_dense_expand, args)
}
@c(sx_amx_mxfp4_sparse_expand) @implementation
public func sx_amx_mxfp4_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(MXFP4.self, Sparse.self, next)
}
@c(sx_amx_mxfp4_sparse_gemm) @implementation
public func sx_amx_mxfp4_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(MXFP4.self, sx_amx_mxfp4_sparse_expand, args)
}
@c(sx_amx_mxfp4_sparse_ring) @implementation
public func sx_amx_mxfp4_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(MXFP4.self, sx_amx_mxfp4_sparse_expand, args)
}

@c(sx_amx_nvfp4_dense_expand) @implementation
public func sx_amx_nvfp4_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(NVFP4.self, Dense.self, next)
}
@c(sx_amx_nvfp4_dense_gemm) @implementation
public func sx_amx_nvfp4_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(NVFP4.self, sx_amx_nvfp4_dense_expand, args)
}
@c(sx_amx_nvfp4_dense_ring) @implementation
public func sx_amx_nvfp4_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(NVFP4.self, sx_amx_nvfp4_dense_expand, args)
}
@c(sx_amx_nvfp4_sparse_expand) @implementation
public func sx_amx_nvfp4_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(NVFP4.self, Sparse.self, next)
}
@c(sx_amx_nvfp4_sparse_gemm) @implementation
public func sx_amx_nvfp4_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(NVFP4.self, sx_amx_nvfp4_sparse_expand, args)
}
@c(sx_amx_nvfp4_sparse_ring) @implementation
public func sx_amx_nvfp4_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(NVFP4.self, sx_amx_nvfp4_sparse_expand, args)
}

@c(sx_amx_q2_0_dense_expand) @implementation
public func sx_amx_q2_0_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q2_0.self, Dense.self, next)
}
@c(sx_amx_q2_0_dense_gemm) @implementation
public func sx_amx_q2_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q2_0.self, sx_amx_q2_0_dense_expand, args)
}
@c(sx_amx_q2_0_dense_ring) @implementation
public func sx_amx_q2_0_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q2_0.self, sx_amx_q2_0_dense_expand, args)
}
@c(sx_amx_q2_0_sparse_expand) @implementation
public func sx_amx_q2_0_sparse_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q2_0.self, Sparse.self, next)
}
@c(sx_amx_q2_0_sparse_gemm) @implementation
public func sx_amx_q2_0_sparse_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q2_0.self, sx_amx_q2_0_sparse_expand, args)
}
@c(sx_amx_q2_0_sparse_ring) @implementation
public func sx_amx_q2_0_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q2_0.self, sx_amx_q2_0_sparse_expand, args)
}

@c(sx_amx_q1_0_dense_expand) @implementation
public func sx_amx_q1_0_dense_expand(_ next: UnsafeMutablePointer<sx_expansion>) {
    sx_unwind_tables()
    expandKBlock(Q1_0.self, Dense.self, next)
}
@c(sx_amx_q1_0_dense_gemm) @implementation
public func sx_amx_q1_0_dense_gemm(_ args: UnsafePointer<sx_kernel_args>) {
    tileGemm(Q1_0.self, sx_amx_q1_0_dense_expand, args)
}
@c(sx_amx_q1_0_dense_ring) @implementation
public func sx_amx_q1_0_dense_ring(_ args: UnsafePointer<sx_kernel_args>) {
    tileRing(Q1_0.self, sx_amx_q1_0_dense_expand, args)
}

#endif
