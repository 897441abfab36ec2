import CKernelABI
import CInstructions

/// Which of the next 16 elements there are.
@inline(__always)
private func mask(_ left: Int) -> UInt16 { left >= 16 ? 0xffff : UInt16(truncatingIfNeeded: (1 &<< left) - 1) }

/// Elements of the host's to float32, 16 at a time.
@c(sx_avx512_widen) @implementation
public func sx_avx512_widen(_ pointer: UnsafePointer<sx_elements_args>) {
    sx_unwind_tables()
    let args = pointer.pointee, bfloat = args.type == Int32(SX_ELEMENT_BF16)
    var i = 0
    while i < Int(args.count) {
        let some = mask(Int(args.count) - i), from = args.from + i * 2
        sx_mask_store_ps(args.to + i * 4, some, bfloat ? sx_widen_bf16(some, from) : sx_widen_f16(some, from))
        i += 16
    }
}

/// float32, with a bias or without, to elements of the host's, 16 at a time.
@c(sx_avx512_narrow) @implementation
public func sx_avx512_narrow(_ pointer: UnsafePointer<sx_elements_args>) {
    let args = pointer.pointee
    var i = 0
    while i < Int(args.count) {
        let some = mask(Int(args.count) - i)
        var value = sx_mask_load_ps(some, args.from + i * 4)
        if let bias = args.bias { value = sx_add(value, sx_mask_load_ps(some, bias + i)) }
        switch args.type {
        case Int32(SX_ELEMENT_BF16): sx_narrow_bf16(args.to + i * 2, some, value)
        case Int32(SX_ELEMENT_F16): sx_narrow_f16(args.to + i * 2, some, value)
        default: sx_mask_store_ps(args.to + i * 4, some, value)
        }
        i += 16
    }
}
