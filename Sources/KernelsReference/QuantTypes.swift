import CKernelABI

// What each quantized type looks like to the packed form and to kernels: quant.h says what the numbers mean. Compiled
// into every module that needs it (links), so that in kernels, which are generic over these types, the numbers are
// constants before anything is inlined.

protocol QuantType {
    static var quant: sx_quant { get }
}

/// Dense or sparse, as a type for the same reason.
protocol WeightForm {
    static var sparse: Bool { get }
}

enum Dense: WeightForm {
    @inline(__always) static var sparse: Bool { false }
}

enum Sparse: WeightForm {
    @inline(__always) static var sparse: Bool { true }
}

enum Q4_0: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q4_0), block_k: 32, block_bytes: 18, low_bits: 4, high_bits: 0, sub: 32, offset: 8,
                 background: 8, levels: Int32(SX_LEVELS_PLAIN), side: Int32(SX_SIDE_F16), side_bytes: 64)
    }
}

enum Q4_1: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q4_1), block_k: 32, block_bytes: 20, low_bits: 4, high_bits: 0, sub: 32, offset: 0,
                 background: -1, levels: Int32(SX_LEVELS_PLAIN), side: Int32(SX_SIDE_F16_MIN), side_bytes: 144)
    }
}

enum Q5_0: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q5_0), block_k: 32, block_bytes: 22, low_bits: 4, high_bits: 1, sub: 32, offset: 16,
                 background: 16, levels: Int32(SX_LEVELS_PLAIN), side: Int32(SX_SIDE_F16), side_bytes: 64)
    }
}

enum Q5_1: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q5_1), block_k: 32, block_bytes: 24, low_bits: 4, high_bits: 1, sub: 32, offset: 0,
                 background: -1, levels: Int32(SX_LEVELS_PLAIN), side: Int32(SX_SIDE_F16_MIN), side_bytes: 148)
    }
}

enum Q8_0: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q8_0), block_k: 32, block_bytes: 34, low_bits: 8, high_bits: 0, sub: 32, offset: 128,
                 background: 128, levels: Int32(SX_LEVELS_PLAIN), side: Int32(SX_SIDE_F16), side_bytes: 64)
    }
}

enum Q2_K: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q2_K), block_k: 256, block_bytes: 84, low_bits: 2, high_bits: 0, sub: 16, offset: 0,
                 background: -1, levels: Int32(SX_LEVELS_PLAIN), side: Int32(SX_SIDE_K16_MIN), side_bytes: 96)
    }
}

enum Q3_K: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q3_K), block_k: 256, block_bytes: 110, low_bits: 2, high_bits: 1, sub: 16, offset: 4,
                 background: 4, levels: Int32(SX_LEVELS_PLAIN), side: Int32(SX_SIDE_I8), side_bytes: 72)
    }
}

enum Q4_K: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q4_K), block_k: 256, block_bytes: 144, low_bits: 4, high_bits: 0, sub: 32, offset: 0,
                 background: -1, levels: Int32(SX_LEVELS_PLAIN), side: Int32(SX_SIDE_K32), side_bytes: 80)
    }
}

enum Q5_K: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q5_K), block_k: 256, block_bytes: 176, low_bits: 4, high_bits: 1, sub: 32, offset: 0,
                 background: -1, levels: Int32(SX_LEVELS_PLAIN), side: Int32(SX_SIDE_K32), side_bytes: 84)
    }
}

enum Q6_K: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_Q6_K), block_k: 256, block_bytes: 210, low_bits: 4, high_bits: 2, sub: 16, offset: 32,
                 background: 32, levels: Int32(SX_LEVELS_PLAIN), side: Int32(SX_SIDE_I8), side_bytes: 72)
    }
}

enum IQ4_NL: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_IQ4_NL), block_k: 32, block_bytes: 18, low_bits: 4, high_bits: 0, sub: 32, offset: 128,
                 background: 8, levels: Int32(SX_LEVELS_IQ4), side: Int32(SX_SIDE_F16), side_bytes: 64)
    }
}

enum IQ4_XS: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_IQ4_XS), block_k: 256, block_bytes: 136, low_bits: 4, high_bits: 0, sub: 32, offset: 128,
                 background: 8, levels: Int32(SX_LEVELS_IQ4), side: Int32(SX_SIDE_I8), side_bytes: 40)
    }
}

enum MXFP4: QuantType {
    @inline(__always) static var quant: sx_quant {
        sx_quant(type: Int32(SX_MXFP4), block_k: 32, block_bytes: 17, low_bits: 4, high_bits: 0, sub: 32, offset: 12,
                 background: 0, levels: Int32(SX_LEVELS_FP4), side: Int32(SX_SIDE_E8), side_bytes: 32)
    }
}

/// The same for a type known at run time; type 0 for one that is not quantized.
func quant(_ type: Int32) -> sx_quant {
    switch type {
    case Int32(SX_Q4_0): return Q4_0.quant
    case Int32(SX_Q4_1): return Q4_1.quant
    case Int32(SX_Q5_0): return Q5_0.quant
    case Int32(SX_Q5_1): return Q5_1.quant
    case Int32(SX_Q8_0): return Q8_0.quant
    case Int32(SX_Q2_K): return Q2_K.quant
    case Int32(SX_Q3_K): return Q3_K.quant
    case Int32(SX_Q4_K): return Q4_K.quant
    case Int32(SX_Q5_K): return Q5_K.quant
    case Int32(SX_Q6_K): return Q6_K.quant
    case Int32(SX_IQ4_NL): return IQ4_NL.quant
    case Int32(SX_IQ4_XS): return IQ4_XS.quant
    case Int32(SX_MXFP4): return MXFP4.quant
    default:
        return sx_quant(type: 0, block_k: 1, block_bytes: 2, low_bits: 8, high_bits: 0, sub: 32, offset: 0, background: 0,
                        levels: 0, side: 0, side_bytes: 0)
    }
}
