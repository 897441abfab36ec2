import CKernelABI

// The oracle. Every other kernel is compared with these two functions, so they are written to be read.

/// BF16 and F16: exact weights times float32 activations, summed in double, rounded once.
@c(sx_reference_product) @implementation
public func sx_reference_product(_ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    let sums = UnsafeMutableRawPointer(args.scratch).assumingMemoryBound(to: Double.self)
    let half = args.type == Int32(SX_F16)
    var token = 0
    while token < Int(args.m) {
        let x = args.x + token * Int(args.ldx)
        var panel = Int(args.panel_begin)
        while panel < Int(args.panel_end) {
            sums.update(repeating: 0, count: Int(SX_PANEL))
            var codes = PanelCodes(args, panel: panel)
            var row = 0
            while row < Int(args.kblocks) * 16 {
                codes.nextRow { index, code in
                    let k = row * 2 + index % 2
                    if k < Int(args.k) {
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

/// Q8_0: activations quantized in blocks of 32, integer sums per block, then
/// y = fma(Float(sum), weight scale * activation scale, y) from the first block to the last.
@c(sx_reference_product_q8) @implementation
public func sx_reference_product_q8(_ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    let totals = UnsafeMutableRawPointer(args.scratch).assumingMemoryBound(to: Float.self)
    let sums = UnsafeMutableRawPointer(args.scratch + 64).assumingMemoryBound(to: Int32.self)
    let activations = UnsafeRawPointer(args.a).assumingMemoryBound(to: Int8.self)
    var token = 0
    while token < Int(args.m) {
        var panel = Int(args.panel_begin)
        while panel < Int(args.panel_end) {
            totals.update(repeating: 0, count: Int(SX_PANEL))
            var codes = PanelCodes(args, panel: panel)
            var block = 0
            while block < Int(args.kblocks) * 2 {
                let kblock = Int64(block / 2), side = Int64(block % 2)
                let first = Int(sx_activation_row(args.a_rows, args.kblocks, kblock, Int64(token))) * 64 + block % 2 * 32
                sums.update(repeating: 0, count: Int(SX_PANEL))
                var row = 0
                while row < 8 {
                    codes.nextRow { index, code in
                        let weight = Int32(code) - 128
                        sums[index / 4] += weight * Int32(activations[first + row * 4 + index % 4])
                    }
                    row += 1
                }
                let scale = args.a_scale![Int(sx_activation_scale(args.a_rows, args.kblocks, kblock, side, Int64(token)))]
                let scales = UnsafeRawPointer(args.scales! + (panel * Int(args.kblocks) * 2 + block) * 32)
                var column = 0
                while column < Int(SX_PANEL) {
                    let weightScale = floatFromF16(scales.loadUnaligned(fromByteOffset: column * 2, as: UInt16.self))
                    totals[column] = fusedMultiplyAdd(Float(sums[column]), weightScale * scale, totals[column])
                    column += 1
                }
                block += 1
            }
            store(args, token, panel) { totals[$0] }
            panel += 1
        }
        token += 1
    }
}

@inline(__always)
private func store(_ args: sx_kernel_args, _ token: Int, _ panel: Int, _ value: (Int) -> Float) {
    let y = args.y + token * Int(args.ldy) + panel * Int(SX_PANEL)
    let columns = min(Int(SX_PANEL), Int(args.n) - panel * Int(SX_PANEL))
    var column = 0
    while column < columns {
        y[column] = value(column)
        column += 1
    }
}
