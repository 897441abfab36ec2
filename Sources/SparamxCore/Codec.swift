import CKernelABI
import CPlatform

/// Packing functions of one instruction set level. Both levels write the same bytes.
package struct Codec {
    package let count, encodeDense, encodeSparse, decodeDense, decodeSparse: sx_codec_fn

    package init(_ isa: ISA) {
        if isa == .reference {
            count = sx_reference_count
            encodeDense = sx_reference_encode_dense
            encodeSparse = sx_reference_encode_sparse
            decodeDense = sx_reference_decode_dense
            decodeSparse = sx_reference_decode_sparse
        } else {
            count = sx_avx512_count
            encodeDense = sx_avx512_encode_dense
            encodeSparse = sx_avx512_encode_sparse
            decodeDense = sx_avx512_decode_dense
            decodeSparse = sx_avx512_decode_sparse
        }
    }
}

/// What the host may ask for.
package enum FormChoice: Int32 { case automatic = 0, dense = 1, sparse = 2 }

package struct PackOptions {
    package var form: FormChoice
    package var threads: Int32
    package var interleave: Bool

    package init(form: FormChoice = .automatic, threads: Int32 = 0, interleave: Bool = false) {
        self.form = form
        self.threads = threads
        self.interleave = interleave
    }

    /// Threads for a tensor of this size: one per CPU up to 16, and none for what one core does in a blink.
    func threadCount(_ bytes: Int) -> Int32 {
        let wanted = threads > 0 ? threads : min(sx_cpu_count(), 16)
        return max(1, min(wanted, Int32(clamping: bytes / (256 << 10))))
    }
}
