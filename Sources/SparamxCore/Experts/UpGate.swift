import CKernelABI

/// What the fused kinds do to the gate's product before it multiplies the up product.
package enum GateFunction: Int32 {
    case silu = 0, gelu = 1
}

package struct Gate {
    package let function: GateFunction
    package let limit: Float  // 0: none

    package init(function: GateFunction, limit: Float) {
        self.function = function
        self.limit = limit
    }

    /// out = f(gate) * up; out may be one of the two.
    package func apply(up: UnsafePointer<Float>, gate: UnsafePointer<Float>, out: UnsafeMutablePointer<Float>,
                       count: Int, isa: ISA) {
        var args = sx_up_gate_args(up: up, gate: gate, out: out, count: Int64(count), function: function.rawValue,
                                   limit: limit)
        if isa == .reference { sx_reference_up_gate(&args) } else { sx_avx512_up_gate(&args) }
    }
}
