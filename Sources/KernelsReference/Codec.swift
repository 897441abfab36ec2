import CKernelABI

// Packing and unpacking of BF16 and F16, whose codes are the numbers themselves and whose background is 0.

/// Where a panel's codes are in the file's layout.
private struct Source {
    let args: sx_codec_args

    /// Address of a code or nil in the padding.
    @inline(__always)
    func address(_ column: Int, _ k: Int) -> UnsafeMutablePointer<UInt8>? {
        guard column < Int(args.rows), k < Int(args.k) else { return nil }
        return args.file + (column * Int(args.row_stride) + k * 2)
    }

    @inline(__always)
    func code(_ column: Int, _ k: Int) -> UInt16 {
        guard let p = address(column, k) else { return 0 }
        return UInt16(p[0]) | UInt16(p[1]) << 8
    }

    @inline(__always)
    func setCode(_ column: Int, _ k: Int, _ code: UInt16) {
        guard let p = address(column, k) else { return }
        p[0] = UInt8(truncatingIfNeeded: code)
        p[1] = UInt8(truncatingIfNeeded: code >> 8)
    }
}

@c(sx_reference_count) @implementation
public func sx_reference_count(_ pointer: UnsafePointer<sx_codec_args>) {
    let source = Source(args: pointer.pointee)
    var chunk = 0
    while chunk * Int(SX_CHUNK_K) < Int(source.args.k) {
        var count: UInt64 = 0
        var k = chunk * Int(SX_CHUNK_K)
        let end = min(k + Int(SX_CHUNK_K), Int(source.args.k))
        while k < end {
            var column = 0
            while column < Int(source.args.rows) {
                if source.code(column, k) != 0 { count += 1 }
                column += 1
            }
            k += 1
        }
        source.args.counts![chunk] = count * 2
        source.args.kept![0] += count
        chunk += 1
    }
}

/// Calls body(tile row, index in the row, column, k) in stored order.
@inline(__always)
private func eachCode(_ source: Source, _ body: (_ row: Int, _ index: Int, _ column: Int, _ k: Int) -> Void) {
    var row = 0
    while row < Int(source.args.kblocks) * 16 {
        var index = 0
        while index < 2 * Int(SX_PANEL) {
            body(row, index, index / 2, row * 2 + index % 2)
            index += 1
        }
        row += 1
    }
}

@c(sx_reference_pack_dense) @implementation
public func sx_reference_pack_dense(_ pointer: UnsafePointer<sx_codec_args>) {
    let source = Source(args: pointer.pointee)
    var out = source.args.values
    eachCode(source) { _, _, column, k in
        let code = source.code(column, k)
        out[0] = UInt8(truncatingIfNeeded: code)
        out[1] = UInt8(truncatingIfNeeded: code >> 8)
        out += 2
    }
}

@c(sx_reference_pack_sparse) @implementation
public func sx_reference_pack_sparse(_ pointer: UnsafePointer<sx_codec_args>) {
    let source = Source(args: pointer.pointee), args = source.args, offsets = args.offsets!
    let rowsPerChunk = Int(SX_CHUNK_K) / 2
    var at = 0, chunkEnd = 0, kept: UInt64 = 0
    eachCode(source) { row, index, column, k in
        if index == 0 && row % rowsPerChunk == 0 {
            if at != chunkEnd { args.changed![0] = 1 }
            let chunk = row / rowsPerChunk
            at = Int(sx_offset_bytes(offsets[chunk]) - sx_offset_bytes(offsets[0]))
            chunkEnd = Int(sx_offset_bytes(offsets[chunk + 1]) - sx_offset_bytes(offsets[0]))
        }
        let mask = args.bitmap! + row * 4 + index / 8
        if index % 8 == 0 { mask[0] = 0 }
        let code = source.code(column, k)
        guard code != 0 else { return }
        guard at + 2 <= chunkEnd else {
            args.changed![0] = 1
            return
        }
        mask[0] |= 1 << UInt8(index % 8)
        args.values[at] = UInt8(truncatingIfNeeded: code)
        args.values[at + 1] = UInt8(truncatingIfNeeded: code >> 8)
        at += 2
        kept += 1
    }
    if at != chunkEnd { args.changed![0] = 1 }
    args.kept![0] += kept
}

@c(sx_reference_unpack_dense) @implementation
public func sx_reference_unpack_dense(_ pointer: UnsafePointer<sx_codec_args>) {
    decode(pointer.pointee, sparse: false)
}

@c(sx_reference_unpack_sparse) @implementation
public func sx_reference_unpack_sparse(_ pointer: UnsafePointer<sx_codec_args>) {
    decode(pointer.pointee, sparse: true)
}

private func decode(_ args: sx_codec_args, sparse: Bool) {
    let source = Source(args: args)
    var codes = PanelCodes(sparse: sparse, values: args.values, bitmap: args.bitmap)
    var row = 0
    while row < Int(args.kblocks) * 16 {
        codes.nextRow { index, code in source.setCode(index / 2, row * 2 + index % 2, code) }
        row += 1
    }
}
