import CKernelABI

/// Where a panel's codes are in the file's layout.
private struct Source {
    let args: sx_codec_args
    var wide: Bool { args.type != Int32(SX_Q8_0) }

    /// Address of a code or nil in the padding.
    @inline(__always)
    func address(_ column: Int, _ k: Int) -> UnsafeMutablePointer<UInt8>? {
        guard column < Int(args.rows), k < Int(args.k) else { return nil }
        let row = args.source + column * Int(args.row_stride)
        return wide ? row + k * 2 : row + k / 32 * 34 + 2 + k % 32
    }

    /// Q8_0 codes are kept with 128 added: the background is then 0x80 and the kernels multiply unsigned by signed.
    @inline(__always)
    func code(_ column: Int, _ k: Int) -> UInt16 {
        guard let p = address(column, k) else { return wide ? 0 : 0x80 }
        return wide ? UInt16(p[0]) | UInt16(p[1]) << 8 : UInt16(p[0] ^ 0x80)
    }

    @inline(__always)
    func setCode(_ column: Int, _ k: Int, _ code: UInt16) {
        guard let p = address(column, k) else { return }
        if wide {
            p[0] = UInt8(truncatingIfNeeded: code)
            p[1] = UInt8(truncatingIfNeeded: code >> 8)
        } else {
            p[0] = UInt8(truncatingIfNeeded: code) ^ 0x80
        }
    }

    /// Copies the block scales of Q8_0 in or out; those of padding are zero.
    func copyScales(inward: Bool) {
        guard !wide, let scales = args.scales else { return }
        var block = 0
        while block < Int(args.kblocks) * 2 {
            var column = 0
            while column < Int(SX_PANEL) {
                let inside = scales + (block * Int(SX_PANEL) + column) * 2
                let present = column < Int(args.rows) && block * 32 < Int(args.k)
                let outside = args.source + column * Int(args.row_stride) + block * 34
                if inward {
                    inside[0] = present ? outside[0] : 0
                    inside[1] = present ? outside[1] : 0
                } else if present {
                    outside[0] = inside[0]
                    outside[1] = inside[1]
                }
                column += 1
            }
            block += 1
        }
    }
}

@c(sx_reference_count) @implementation
public func sx_reference_count(_ pointer: UnsafePointer<sx_codec_args>) {
    let source = Source(args: pointer.pointee)
    let background: UInt16 = source.wide ? 0 : 0x80
    var chunk = 0
    while chunk * Int(SX_CHUNK_K) < Int(source.args.k) {
        var count: UInt64 = 0
        var k = chunk * Int(SX_CHUNK_K)
        let end = min(k + Int(SX_CHUNK_K), Int(source.args.k))
        while k < end {
            var column = 0
            while column < Int(source.args.rows) {
                if source.code(column, k) != background { count += 1 }
                column += 1
            }
            k += 1
        }
        source.args.counts![chunk] = count
        chunk += 1
    }
}

/// Calls body(tile row, index in the row, column, k) in stored order.
@inline(__always)
private func eachCode(_ source: Source, _ body: (_ row: Int, _ index: Int, _ column: Int, _ k: Int) -> Void) {
    let perColumn = source.wide ? 2 : 4
    var row = 0
    while row < Int(source.args.kblocks) * 16 {
        var index = 0
        while index < perColumn * Int(SX_PANEL) {
            body(row, index, index / perColumn, row * perColumn + index % perColumn)
            index += 1
        }
        row += 1
    }
}

@c(sx_reference_encode_dense) @implementation
public func sx_reference_encode_dense(_ pointer: UnsafePointer<sx_codec_args>) {
    let source = Source(args: pointer.pointee)
    var out = source.args.values
    eachCode(source) { _, _, column, k in
        let code = source.code(column, k)
        out[0] = UInt8(truncatingIfNeeded: code)
        if source.wide { out[1] = UInt8(truncatingIfNeeded: code >> 8) }
        out += source.wide ? 2 : 1
    }
    source.copyScales(inward: true)
}

@c(sx_reference_encode_sparse) @implementation
public func sx_reference_encode_sparse(_ pointer: UnsafePointer<sx_codec_args>) {
    let source = Source(args: pointer.pointee)
    let background: UInt16 = source.wide ? 0 : 0x80, maskBytes = source.wide ? 4 : 8
    var out = source.args.values
    eachCode(source) { row, index, column, k in
        let mask = source.args.bitmap! + row * maskBytes + index / 8
        if index % 8 == 0 { mask[0] = 0 }
        let code = source.code(column, k)
        guard code != background else { return }
        mask[0] |= 1 << UInt8(index % 8)
        out[0] = UInt8(truncatingIfNeeded: code)
        if source.wide { out[1] = UInt8(truncatingIfNeeded: code >> 8) }
        out += source.wide ? 2 : 1
    }
    source.copyScales(inward: true)
}

@c(sx_reference_decode_dense) @implementation
public func sx_reference_decode_dense(_ pointer: UnsafePointer<sx_codec_args>) { decode(pointer.pointee, sparse: false) }

@c(sx_reference_decode_sparse) @implementation
public func sx_reference_decode_sparse(_ pointer: UnsafePointer<sx_codec_args>) { decode(pointer.pointee, sparse: true) }

private func decode(_ args: sx_codec_args, sparse: Bool) {
    let source = Source(args: args)
    var codes = PanelCodes(type: args.type, sparse: sparse, values: args.values, bitmap: args.bitmap)
    let perColumn = codes.codesPerColumn
    var row = 0
    while row < Int(args.kblocks) * 16 {
        codes.nextRow { index, code in source.setCode(index / perColumn, row * perColumn + index % perColumn, code) }
        row += 1
    }
    source.copyScales(inward: false)
}
