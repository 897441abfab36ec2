import CKernelABI
import CPlatform

/// Packing functions of one instruction set level and one kind of type. All levels write the same bytes.
struct CodecFunctions {
    let count, packDense, packSparse, unpackDense, unpackSparse: sx_codec_fn
}

/// How weights are packed and unpacked at an instruction set level.
package struct Codec {
    let isa: ISA

    package init(_ isa: ISA) { self.isa = isa }

    func functions(_ layout: PackedLayout) -> CodecFunctions {
        layout.coded ? Codec.coded : functions(layout.type)
    }

    /// Of the coded forms there is one codec, for all levels.
    static var coded: CodecFunctions {
        CodecFunctions(count: sx_reference_coded_count, packDense: sx_reference_coded_pack_dense,
                       packSparse: sx_reference_coded_pack_sparse, unpackDense: sx_reference_coded_unpack_dense,
                       unpackSparse: sx_reference_coded_unpack_sparse)
    }

    func functions(_ type: WeightType) -> CodecFunctions {
        if isa == .reference {
            return type.isQuantized
                ? CodecFunctions(count: sx_reference_quant_count, packDense: sx_reference_quant_pack_dense,
                                 packSparse: sx_reference_quant_pack_sparse,
                                 unpackDense: sx_reference_quant_unpack_dense,
                                 unpackSparse: sx_reference_quant_unpack_sparse)
                : CodecFunctions(count: sx_reference_count, packDense: sx_reference_pack_dense,
                                 packSparse: sx_reference_pack_sparse, unpackDense: sx_reference_unpack_dense,
                                 unpackSparse: sx_reference_unpack_sparse)
        }
        return type.isQuantized
            ? CodecFunctions(count: sx_avx512_quant_count, packDense: sx_avx512_quant_pack_dense,
                             packSparse: sx_avx512_quant_pack_sparse, unpackDense: sx_avx512_quant_unpack_dense,
                             unpackSparse: sx_avx512_quant_unpack_sparse)
            : CodecFunctions(count: sx_avx512_count, packDense: sx_avx512_pack_dense,
                             packSparse: sx_avx512_pack_sparse, unpackDense: sx_avx512_unpack_dense,
                             unpackSparse: sx_avx512_unpack_sparse)
    }
}

/// What the host may ask for.
package enum FormChoice: Int32 {
    case automatic = 0, dense = 1, sparse = 2, coded = 4, codedSparse = 5, automaticCoded = 6

    /// For a type without coded forms: the same of the forms that it has.
    func available(_ type: WeightType) -> FormChoice {
        if type.hasCodedForms { return self }
        switch self {
        case .coded: return .dense
        case .codedSparse: return .sparse
        case .automaticCoded: return .automatic
        default: return self
        }
    }

    var mayBeCoded: Bool { rawValue > 3 }
    /// The form, if it does not depend on the weight, as hosts and files name it.
    package func form(_ type: WeightType) -> Int32? {
        let choice = available(type)
        return choice == .automatic || choice == .automaticCoded ? nil : choice.rawValue
    }
}

package struct PackOptions {
    package var form: FormChoice
    package var threads: Int32
    package var numa: NumaChoice

    package init(form: FormChoice = .automatic, threads: Int32 = 0, numa: NumaChoice = .automatic) {
        self.form = form
        self.threads = threads
        self.numa = numa
    }

    /// Threads for a tensor of this size: one per CPU up to 16, and none for what one core does in a blink.
    func threadCount(_ bytes: Int) -> Int32 {
        let wanted = threads > 0 ? threads : min(sx_cpu_count(), 16)
        return max(1, min(wanted, Int32(clamping: bytes / (256 << 10))))
    }
}
