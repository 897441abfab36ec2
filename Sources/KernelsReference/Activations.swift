import CKernelABI

/// Calls body(first k, first row index) for each row of 32 or 64 k that this thread packs.
@inline(__always)
private func eachRow(_ args: sx_activation_args, _ body: (_ token: Int, _ kblock: Int, _ row: Int) -> Void) {
    var item = Int(args.item_begin)
    while item < Int(args.item_end) {
        let slab = item / Int(args.rows), token = item % Int(args.rows)
        var kblock = slab * Int(SX_SLAB_KBLOCKS)
        let end = min(kblock + Int(SX_SLAB_KBLOCKS), Int(args.kblocks))
        while kblock < end {
            body(token, kblock, Int(sx_activation_row(args.rows, args.kblocks, Int64(kblock), Int64(token))))
            kblock += 1
        }
        item += 1
    }
}

@inline(__always)
private func element(_ args: sx_activation_args, _ token: Int, _ k: Int) -> Float {
    token < Int(args.m) && k < Int(args.k) ? args.x[token * Int(args.ldx) + k] : 0
}

@c(sx_reference_activation_bf16) @implementation
public func sx_reference_activation_bf16(_ pointer: UnsafePointer<sx_activation_args>) {
    let args = pointer.pointee
    eachRow(args) { token, kblock, row in
        let out = UnsafeMutableRawPointer(args.a + row * 64).assumingMemoryBound(to: UInt16.self)
        var k = 0
        while k < 32 {
            out[k] = bf16FromFloat(element(args, token, kblock * 32 + k))
            k += 1
        }
    }
}

@c(sx_reference_activation_f32) @implementation
public func sx_reference_activation_f32(_ pointer: UnsafePointer<sx_activation_args>) {
    let args = pointer.pointee
    eachRow(args) { token, kblock, row in
        let out = UnsafeMutableRawPointer(args.a + row * 128).assumingMemoryBound(to: Float.self)
        var k = 0
        while k < 32 {
            out[k] = element(args, token, kblock * 32 + k)
            k += 1
        }
    }
}

/// As ggml quantizes to Q8_0 and Q8_1: scale = max |x| / 127 per 32, codes to nearest by the scale before it
/// is rounded.
@c(sx_reference_activation_q8) @implementation
public func sx_reference_activation_q8(_ pointer: UnsafePointer<sx_activation_args>) {
    let args = pointer.pointee
    eachRow(args) { token, kblock, row in
        let out = UnsafeMutableRawPointer(args.a + row * 64).assumingMemoryBound(to: Int8.self)
        var half = 0
        while half < 2 {
            let first = kblock * 64 + half * 32
            // As integers, so that a NaN is the largest value and spreads.
            var largest: UInt32 = 0
            var k = 0
            while k < 32 {
                largest = max(largest, element(args, token, first + k).bitPattern & 0x7fff_ffff)
                k += 1
            }
            let magnitude = Float(bitPattern: largest)
            let exact = magnitude / 127
            let scale = args.half_scale != 0 ? sx_round_to_half(exact) : exact
            let inverse: Float = largest == 0 ? 0 : 127 / magnitude
            let parts = Int(args.part_k) == 16 ? 2 : 1
            var part = 0
            while part < parts {
                var sum: Int32 = 0
                k = part * 16
                while k < (part + 1) * 32 / parts {
                    let code = roundToInt32(element(args, token, first + k) * inverse)
                    let narrow = Int8(max(-128, min(127, code)))
                    out[half * 32 + k] = narrow
                    sum &+= Int32(narrow)
                    k += 1
                }
                let index = Int(sx_activation_part(args.rows, args.kblocks, Int64(kblock), Int64(half * parts + part),
                                                   Int64(parts * 2), Int64(token)))
                let scaled = exact * Float(sum)
                args.a_sum![index] = args.minimum == 0 ? -args.offset * sum
                    : Int32(bitPattern: (args.half_scale != 0 ? sx_round_to_half(scaled) : scaled).bitPattern)
                part += 1
            }
            let index = Int(sx_activation_part(args.rows, args.kblocks, Int64(kblock), Int64(half), 2, Int64(token)))
            args.a_scale![index] = scale
            half += 1
        }
    }
}
