import CKernelABI
import CInstructions

/// Scales integer sums of a K-block of one panel and adds them to the totals of the tokens, as the reference does it: a
/// few tokens at a time, so that it can be done between the rows of an expansion.
struct Scaler {
    private let minimum: Bool
    private var sums, x: UnsafeRawPointer
    private var totals: UnsafeMutableRawPointer
    private var left = 0            // tokens
    private let perStep: Int
    private let low, high, lowMinimum, highMinimum: __m512

    @inline(__always)
    init(minimum: Bool, _ waiting: UnsafeMutablePointer<sx_scaling>?) {
        self.minimum = minimum
        guard let waiting else {
            sums = UnsafeRawPointer(bitPattern: 64).unsafelyUnwrapped
            totals = UnsafeMutableRawPointer(mutating: sums)
            x = sums
            perStep = 0
            low = sx_zero_ps()
            high = sx_zero_ps()
            lowMinimum = sx_zero_ps()
            highMinimum = sx_zero_ps()
            return
        }
        sums = UnsafeRawPointer(waiting.pointee.sums)
        totals = UnsafeMutableRawPointer(waiting.pointee.totals)
        x = UnsafeRawPointer(waiting.pointee.x)
        left = Int(waiting.pointee.tokens)
        perStep = (left + 3) >> 2
        let scales = waiting.pointee.scales
        low = sx_load_ps(scales)
        high = sx_load_ps(scales + 16)
        lowMinimum = minimum ? sx_load_ps(scales + 64) : sx_zero_ps()
        highMinimum = minimum ? sx_load_ps(scales + 80) : sx_zero_ps()
    }

    /// A quarter of the tokens.
    @inline(__always)
    mutating func step() { scale(min(perStep, left)) }

    @inline(__always)
    mutating func finish() { scale(left) }

    @inline(__always)
    private mutating func scale(_ tokens: Int) {
        left -= tokens
        var tokens = tokens
        while tokens > 0 {
            let xLow = sx_broadcast_ps(x), xHigh = sx_broadcast_ps(x + 128)
            var total = sx_load_ps(totals)
            if minimum {
                total = sx_fma(sx_float(sx_load(sums)), sx_mul(low, xLow), total)
                total = sx_fnmadd(lowMinimum, sx_broadcast_ps(x + 256), total)
                total = sx_fma(sx_float(sx_load(sums + 2048)), sx_mul(high, xHigh), total)
                total = sx_fnmadd(highMinimum, sx_broadcast_ps(x + 384), total)
            } else {
                let shiftLow = sx_broadcast32(x + 256), shiftHigh = sx_broadcast32(x + 384)
                total = sx_fma(sx_float(sx_add32(sx_load(sums), shiftLow)), sx_mul(low, xLow), total)
                total = sx_fma(sx_float(sx_add32(sx_load(sums + 2048), shiftHigh)), sx_mul(high, xHigh), total)
            }
            sx_store_ps(totals, total)
            sums += 64
            totals += 64
            x += 4
            tokens -= 1
        }
    }
}
