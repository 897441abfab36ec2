import CKernelABI
import CInstructions

// BF16 in its coded forms, 1 to 16 tokens: rows are put together in registers and multiplied as in BF16.swift, token by
// token in the same order, so that the results have the same bits.

/// Tokens in `passes` groups of `count`, as in bf16Decode.
@inline(__always)
func codedDecode(_ count: Int, passes: Int, sparse: Bool, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    let step = count * passes * 64
    eachDistantPair(args) { first, second in
        var pass = 0
        while pass < passes {
            var even = FloatSums(), odd = FloatSums()
            var x = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped) + pass * count * 64
            var p0 = CodedRows(args, sparse: sparse, first), p1 = CodedRows(args, sparse: sparse, second)
            var kblock = 0
            while kblock < Int(args.w.kblocks) {
                p0.enter()
                p1.enter()
                var number = 0
                let end = min(8, Int(args.w.kblocks) - kblock) * 8
                while number < end {
                    if number & 7 == 0 {
                        p0.fetchMasks(number)
                        p1.fetchMasks(number)
                    }
                    let at = x + (number & 7) * 8
                    let g0 = p0.open(number, fetch: true), g1 = p1.open(number, fetch: true)
                    let v0 = p0.twin(g0, second: false, number), v1 = p1.twin(g1, second: false, number)
                    multiply(count, &even, &odd, v0, v1, at)
                    let w0 = p0.twin(g0, second: true, number + 1), w1 = p1.twin(g1, second: true, number + 1)
                    multiply(count, &even, &odd, w0, w1, at + 8)
                    number += 2
                    if number & 7 == 0 { x += step }
                }
                kblock += 8
            }
            storeSums(args, count, pass, first, second, &even, odd)
            pass += 1
        }
    }
}

/// Two tile rows of two panels. One token has two chains per panel, as in bf16Decode.
@inline(__always)
private func multiply(_ count: Int, _ even: inout FloatSums, _ odd: inout FloatSums, _ w0: (__m512i, __m512i),
                      _ w1: (__m512i, __m512i), _ x: UnsafeRawPointer) {
    multiplyRow(count, &even, w0.0, w1.0, x)
    if count == 1 {
        multiplyRow(1, &odd, w0.1, w1.1, x + 4)
    } else {
        multiplyRow(count, &even, w0.1, w1.1, x + 4)
    }
}
