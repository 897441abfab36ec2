import CKernelABI

/// The scale and the minimum of one column's part (32 or 16 weights) in single precision. side: of the panel's chunk.
private func scaleAndMinimum(_ q: sx_quant, _ side: UnsafeRawPointer, _ part: Int, _ column: Int) -> (Float, Float) {
    func half(_ offset: Int) -> Float {
        floatFromF16(side.loadUnaligned(fromByteOffset: offset + column * 2, as: UInt16.self))
    }
    switch q.side {
    case Int32(SX_SIDE_F16): return (half(part / Int(q.file_block_k / q.part_k) * 32), 0)
    case Int32(SX_SIDE_E8):
        let e = UInt32(side.load(fromByteOffset: part * 16 + column, as: UInt8.self))
        return (Float(bitPattern: e < 2 ? 0x0020_0000 << e : (e - 1) << 23), 0)
    case Int32(SX_SIDE_E4M3):
        // 2^(exponent - 8) * (1 + fraction / 8), without an exponent 2^-10 * fraction; 0x7f is no number in this format
        // and 0 in ggml, which looks at all 8 bits.
        let code = UInt32(side.load(fromByteOffset: part * 16 + column, as: UInt8.self)), e = code & 0x7f
        return (code == 0x7f ? 0 : e < 8 ? Float(e) * 0x1p-10 : Float(bitPattern: e << 20 + 119 << 23), 0)
    case Int32(SX_SIDE_F16_MIN):
        let record = part * Int(q.side_bytes) / 2
        return (half(record), -half(record + 32))
    case Int32(SX_SIDE_K32):
        let entry = side.loadUnaligned(fromByteOffset: part * 32 + column * 2, as: UInt16.self)
        return (Float(entry >> 4 & 63) * half(256), Float(entry >> 10) * half(288))
    case Int32(SX_SIDE_K16_MIN):
        let entry = side.load(fromByteOffset: part * 16 + column, as: UInt8.self)
        return (Float(entry & 15) * half(256), Float(entry >> 4) * half(288))
    default:
        let scale = side.load(fromByteOffset: part * 16 + column, as: Int8.self)
        return (Float(scale) * half(q.part_k == 16 ? 256 : 128), 0)
    }
}

/// Quantized types: activations quantized in blocks of 32, integer sums per part, then in order of k
///     y = fma(sum, scale * activation scale, y), and with a minimum
///     y = fma(-minimum, activation scale * sum of codes, y)
/// in single precision. Integer sums are exact and the rest is fixed, so kernels can equal this bit for bit.
@c(sx_reference_product_codes) @implementation
public func sx_reference_product_codes(_ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    let q = sx_quant_of(args.w.type)
    // A chunk's levels, less the offset: [16 columns][256 k]. Results grow in y.
    let levels = UnsafeMutableRawPointer(args.scratch).assumingMemoryBound(to: Int16.self)
    var panel = Int(args.panel_begin)
    while panel < Int(args.panel_end) {
        var token = 0
        while token < Int(args.x.m) {
            store(args, token, panel) { _ in 0 }
            token += 1
        }
        var chunk = 0
        while chunk * 4 < Int(args.w.kblocks) {
            let packed = QuantChunk(args, q, panel, chunk)
            packed.each { block, row, index, code in
                let level = sx_code_level(q.code_levels, Int32(code)) - q.offset
                levels[index / 4 * 256 + block * 32 + row * 4 + index % 4] = Int16(truncatingIfNeeded: level)
            }
            let parts = packed.blocks * 32 / Int(q.part_k)
            var part = 0
            while part < parts {
                addPart(args, q, packed.side, panel, chunk, part, levels)
                part += 1
            }
            chunk += 1
        }
        panel += 1
    }
}

/// Adds what one part (32 or 16 weights of 16 columns) contributes to every token.
private func addPart(_ args: sx_kernel_args, _ q: sx_quant, _ side: UnsafeRawPointer, _ panel: Int, _ chunk: Int,
                     _ part: Int, _ levels: UnsafePointer<Int16>) {
    let perBlock = 64 / Int(q.part_k), kblock = Int64(chunk * 4 + part / perBlock), inBlock = part % perBlock
    let columns = min(Int(SX_PANEL), Int(args.w.n) - panel * Int(SX_PANEL))
    var token = 0
    while token < Int(args.x.m) {
        let row = Int(sx_activation_row(args.x.rows, args.w.kblocks, kblock, Int64(token)))
        let codes = UnsafeRawPointer(args.x.packed! + (row * 64 + inBlock * Int(q.part_k)))
            .assumingMemoryBound(to: Int8.self)
        let half = Int64(inBlock * 2 / perBlock)
        let x = args.x.scales![Int(sx_activation_part(args.x.rows, args.w.kblocks, kblock, half, 2, Int64(token)))]
        let xSum = args.x.sums![Int(sx_activation_part(args.x.rows, args.w.kblocks, kblock, Int64(inBlock),
                                                       Int64(perBlock), Int64(token)))]
        let y = args.y.data + (token * Int(args.y.ld) + panel * Int(SX_PANEL))
        var column = 0
        while column < columns {
            let weights = levels + (column * 256 + part * Int(q.part_k))
            var sum: Int32 = 0, k = 0
            while k < Int(q.part_k) {
                sum &+= Int32(weights[k]) &* Int32(codes[k])
                k += 1
            }
            let (scale, minimum) = scaleAndMinimum(q, side, part, column)
            y[column] = fusedMultiplyAdd(Float(sum), scale * x, y[column])
            if q.minimum != 0 {
                y[column] = fusedMultiplyAdd(-minimum, Float(bitPattern: UInt32(bitPattern: xSum)), y[column])
            }
            column += 1
        }
        token += 1
    }
}

extension QuantChunk {
    init(_ args: sx_kernel_args, _ q: sx_quant, _ panel: Int, _ chunk: Int) {
        let tiles = panel * Int(args.w.kblocks)
        var values = args.w.values, lowBytes = 0
        if args.w.sparse != 0 {
            let entry = args.w.offsets![panel * Int(args.w.chunks) + chunk]
            values += Int(sx_offset_bytes(entry))
            lowBytes = Int(sx_offset_low(entry))
        } else {
            values += panel * Int(sx_dense_panel_bytes(q, args.w.kblocks))
        }
        self.init(q, chunk: chunk, kblocks: Int(args.w.kblocks), values: values, lowBytes: lowBytes,
                  bitmap: args.w.sparse == 0 ? nil : args.w.bitmap! + tiles * 128,
                  side: args.w.side! + tiles * Int(q.side_bytes))
    }
}
