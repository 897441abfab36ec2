import CKernelABI

// Rows of key-value caches: numbers of a head in the types that hosts have, to float32 and back.

/// Numbers of one head's part of a row, exactly.
@inline(__always)
func loadRow(_ side: UnsafePointer<sx_kv_side>, _ row: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
    let dim = Int(side.pointee.dim)
    var d = 0
    switch side.pointee.type {
    case 1:
        while d < dim {
            out[d] = floatFromF16(row.loadUnaligned(fromByteOffset: 2 &* d, as: UInt16.self))
            d &+= 1
        }
    case 30:
        while d < dim {
            out[d] = floatFromBF16(row.loadUnaligned(fromByteOffset: 2 &* d, as: UInt16.self))
            d &+= 1
        }
    case 8:
        while d < dim {
            let block = row + (d / 32) &* 34
            let scale = floatFromF16(block.loadUnaligned(as: UInt16.self))
            out[d] = scale * Float(block.loadUnaligned(fromByteOffset: 2 &+ d % 32, as: Int8.self))
            d &+= 1
        }
    default:
        while d < dim {
            out[d] = row.loadUnaligned(fromByteOffset: 4 &* d, as: Float.self)
            d &+= 1
        }
    }
}

/// Numbers to one head's part of a row.
private func storeRow(_ side: UnsafePointer<sx_kv_side>, _ row: UnsafeMutableRawPointer,
                      _ from: UnsafePointer<Float>) {
    let dim = Int(side.pointee.dim)
    if side.pointee.type == 8 {
        for block in 0..<dim / 32 { storeQ8Block(row + block * 34, from + block * 32) }
        return
    }
    var args = sx_elements_args(from: from, to: row, bias: nil, count: Int64(dim), type: side.pointee.type)
    sx_reference_narrow(&args)
}

/// As ggml's quantizer has it: the largest magnitude becomes 127. What is no number becomes zero.
private func storeQ8Block(_ block: UnsafeMutableRawPointer, _ from: UnsafePointer<Float>) {
    var most: Float = 0
    for i in 0..<32 where from[i].magnitude > most { most = from[i].magnitude }
    let step = most / 127
    var bits: UInt16 = 0
    var args = sx_elements_args(from: withUnsafePointer(to: step) { UnsafeRawPointer($0) }, to: block, bias: nil,
                                count: 1, type: 1)
    withUnsafePointer(to: step) {
        args.from = UnsafeRawPointer($0)
        withUnsafeMutablePointer(to: &bits) {
            args.to = UnsafeMutableRawPointer($0)
            sx_reference_narrow(&args)
        }
    }
    block.storeBytes(of: bits, as: UInt16.self)
    let inverse = step > 0 && step.isFinite ? 1 / step : 0
    for i in 0..<32 {
        let code = roundToInt32(from[i] * inverse)
        block.storeBytes(of: Int8(clamping: code == Int32.min ? 0 : code), toByteOffset: 2 + i, as: Int8.self)
    }
}

/// The numbers that packing kept of a cell, and zeros.
private func loadPacked(_ args: sx_kv_read_args) {
    let cache = args.cache, side = args.side.pointee, dim = Int(side.dim), cell = Int(args.cell)
    let part = cache.pointee.packed + Int(args.block) * Int(cache.pointee.block_bytes)
        + Int(args.head) * Int(cache.pointee.head_bytes)
    let codes = part + Int(side.codes), int8 = side.values == Int32(SX_KV_INT8)
    let scale = int8 ? floatFromBF16((part + Int(side.scales)).withMemoryRebound(to: UInt16.self, capacity: 64) {
        $0[cell]
    }) : 1
    var counted = 0, before = 0  // places whose bits have been counted, and how many of them are kept
    let order = side.is_values == 0  // rising places
    for d in 0..<dim {
        let place = Int(sx_kv_place(args.side, args.cell, Int64(d)))
        var index = place
        if side.bitmap >= 0 {
            let bits = part + Int(side.bitmap)
            if !order && place < counted { (counted, before) = (0, 0) }
            while counted + 8 <= place {
                before += bits[counted / 8].nonzeroBitCount
                counted += 8
            }
            let byte = bits[place / 8]
            guard byte >> UInt8(place % 8) & 1 == 1 else {
                args.out[d] = 0
                continue
            }
            index = before + (byte & (1 << UInt8(place % 8) - 1)).nonzeroBitCount
        }
        if int8 {
            let code = order ? Int(codes[index]) - 128 : Int(Int8(bitPattern: codes[index]))
            args.out[d] = scale * Float(code)
        } else {
            let bits = UnsafeRawPointer(codes).loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)
            args.out[d] = side.type == 1 ? floatFromF16(bits) : floatFromBF16(bits)
        }
    }
}

@c(sx_reference_kv_read) @implementation
public func sx_reference_kv_read(_ pointer: UnsafePointer<sx_kv_read_args>) {
    let args = pointer.pointee
    if args.cache.pointee.state[Int(args.block)] == UInt8(SX_KV_PACKED) { return loadPacked(args) }
    loadRow(args.side, sx_kv_row(args.side, args.block, args.cell, args.head), args.out)
}

@c(sx_reference_kv_write) @implementation
public func sx_reference_kv_write(_ pointer: UnsafePointer<sx_kv_read_args>) {
    let args = pointer.pointee
    storeRow(args.side, sx_kv_row(args.side, args.block, args.cell, args.head), args.out)
}
