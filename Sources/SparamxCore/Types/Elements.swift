import CKernelABI

/// What activations, biases and results of a call may consist of, by the number in the GGUF format.
package enum ElementType: Int32 {
    case f32 = 0, f16 = 1, bf16 = 30

    package var bytes: Int { self == .f32 ? 4 : 2 }

    /// count elements to float32; not of float32 itself.
    func widen(_ from: UnsafeRawPointer, to: UnsafeMutablePointer<Float>, count: Int, isa: ISA) {
        var args = sx_elements_args(from: from, to: to, bias: nil, count: Int64(count), type: rawValue)
        if isa == .reference { sx_reference_widen(&args) } else { sx_avx512_widen(&args) }
    }

    /// count numbers and the bias, if there is one, to elements of this type.
    func narrow(_ from: UnsafePointer<Float>, bias: UnsafePointer<Float>?, to: UnsafeMutableRawPointer, count: Int,
                isa: ISA) {
        var args = sx_elements_args(from: from, to: to, bias: bias, count: Int64(count), type: rawValue)
        if isa == .reference { sx_reference_narrow(&args) } else { sx_avx512_narrow(&args) }
    }
}
