import CKernelABI

// The oracle, with QuantProduct.swift: every other kernel is compared with these two functions, so they are written to
// be read.

/// BF16 and F16: exact weights times float32 activations, summed in double, rounded once.
@c(sx_reference_product_plain) @implementation
public func sx_reference_product_plain(_ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    let sums = UnsafeMutableRawPointer(args.scratch).assumingMemoryBound(to: Double.self)
    let half = args.w.type == Int32(SX_F16)
    var token = 0
    while token < Int(args.x.m) {
        let x = args.x.data! + token * Int(args.x.ld)
        var panel = Int(args.panel_begin)
        while panel < Int(args.panel_end) {
            sums.update(repeating: 0, count: Int(SX_PANEL))
            var codes = PanelCodes(args, panel: panel)
            var row = 0
            while row < Int(args.w.kblocks) * 16 {
                codes.nextRow { index, code in
                    let k = row * 2 + index % 2
                    if k < Int(args.w.k) {
                        let weight = half ? floatFromF16(code) : floatFromBF16(code)
                        sums[index / 2] += Double(weight) * Double(x[k])
                    }
                }
                row += 1
            }
            store(args, token, panel) { Float(sums[$0]) }
            panel += 1
        }
        token += 1
    }
}

@inline(__always)
func store(_ args: sx_kernel_args, _ token: Int, _ panel: Int, _ value: (Int) -> Float) {
    let y = args.y.data + token * Int(args.y.ld) + panel * Int(SX_PANEL)
    let columns = min(Int(SX_PANEL), Int(args.w.n) - panel * Int(SX_PANEL))
    var column = 0
    while column < columns {
        y[column] = value(column)
        column += 1
    }
}
