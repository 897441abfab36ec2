import CKernelABI
import CTileShims

// Packing and unpacking of one panel. A tile is a 16x16 transposition of 4-byte groups: a row of the file gives 16
// groups of one column, a row of the tile has one group of 16 columns. It serves every type with codes of 1 or 2 bytes.

/// 16 vectors; rows of a tile, or of the file.
private struct Rows {
    var r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13, r14, r15: __m512i

    @inline(__always)
    init(_ row: (Int) -> __m512i) {
        r0 = row(0); r1 = row(1); r2 = row(2); r3 = row(3); r4 = row(4); r5 = row(5); r6 = row(6); r7 = row(7)
        r8 = row(8); r9 = row(9); r10 = row(10); r11 = row(11); r12 = row(12); r13 = row(13); r14 = row(14)
        r15 = row(15)
    }

    @inline(__always)
    func each(_ body: (Int, __m512i) -> Void) {
        body(0, r0); body(1, r1); body(2, r2); body(3, r3); body(4, r4); body(5, r5); body(6, r6); body(7, r7)
        body(8, r8); body(9, r9); body(10, r10); body(11, r11); body(12, r12); body(13, r13); body(14, r14)
        body(15, r15)
    }

    @inline(__always)
    mutating func transpose() {
        // 4x4 blocks inside each 128-bit lane ...
        Self.lanes(&r0, &r1, &r2, &r3)
        Self.lanes(&r4, &r5, &r6, &r7)
        Self.lanes(&r8, &r9, &r10, &r11)
        Self.lanes(&r12, &r13, &r14, &r15)
        // ... then the lanes.
        Self.across(&r0, &r4, &r8, &r12)
        Self.across(&r1, &r5, &r9, &r13)
        Self.across(&r2, &r6, &r10, &r14)
        Self.across(&r3, &r7, &r11, &r15)
    }

    @inline(__always)
    private static func lanes(_ a: inout __m512i, _ b: inout __m512i, _ c: inout __m512i, _ d: inout __m512i) {
        let ab0 = sx_unpack_low32(a, b), ab1 = sx_unpack_high32(a, b)
        let cd0 = sx_unpack_low32(c, d), cd1 = sx_unpack_high32(c, d)
        a = sx_unpack_low64(ab0, cd0)
        b = sx_unpack_high64(ab0, cd0)
        c = sx_unpack_low64(ab1, cd1)
        d = sx_unpack_high64(ab1, cd1)
    }

    @inline(__always)
    private static func across(_ a: inout __m512i, _ b: inout __m512i, _ c: inout __m512i, _ d: inout __m512i) {
        let ab0 = sx_lanes_even(a, b), ab1 = sx_lanes_odd(a, b)
        let cd0 = sx_lanes_even(c, d), cd1 = sx_lanes_odd(c, d)
        a = sx_lanes_even(ab0, cd0)
        b = sx_lanes_even(ab1, cd1)
        c = sx_lanes_odd(ab0, cd0)
        d = sx_lanes_odd(ab1, cd1)
    }
}

/// Codes of one column and K-block as the file has them, padded with background; Q8_0 with 128 added.
@inline(__always)
private func fileRow(_ args: sx_codec_args, wide: Bool, _ column: Int, _ kblock: Int) -> __m512i {
    if wide {
        let left = Int(args.k) - kblock * 32
        let mask: UInt64 = left >= 32 ? ~0 : (1 << UInt64(left * 2)) - 1
        let row = args.source + (column * Int(args.row_stride) + kblock * 64)
        return column < Int(args.rows) ? sx_mask_load8(sx_zero(), mask, row) : sx_zero()
    }
    let background = sx_set8(-128)
    guard column < Int(args.rows) else { return background }
    let blocks = args.source + (column * Int(args.row_stride) + kblock * 68)
    let low = sx_load32(blocks + 2)
    let codes = kblock * 64 + 32 < Int(args.k) ? sx_join256(low, sx_load32(blocks + 36)) : sx_join256(low, sx_zero())
    return sx_xor(codes, background)
}

/// Puts codes back where they were in the file; the reverse of fileRow.
@inline(__always)
private func setFileRow(_ args: sx_codec_args, wide: Bool, _ column: Int, _ kblock: Int, _ codes: __m512i) {
    guard column < Int(args.rows) else { return }
    if wide {
        let left = Int(args.k) - kblock * 32
        let mask: UInt64 = left >= 32 ? ~0 : (1 << UInt64(left * 2)) - 1
        sx_mask_store8(args.source + (column * Int(args.row_stride) + kblock * 64), mask, codes)
        return
    }
    let signed = sx_xor(codes, sx_set8(-128))
    let blocks = args.source + (column * Int(args.row_stride) + kblock * 68)
    sx_store32(blocks + 2, signed)
    if kblock * 64 + 32 < Int(args.k) { sx_store32(blocks + 36, sx_high256(signed)) }
}

/// Block scales of Q8_0, in or out; those of padding are zero.
@inline(__always)
private func copyScales(_ args: sx_codec_args, inward: Bool) {
    guard let scales = args.scales else { return }
    let inside = UnsafeMutableRawPointer(scales).assumingMemoryBound(to: UInt16.self)
    let blocks = Int(args.k) / 32
    if inward && (blocks & 1 == 1 || args.rows < 16) { scales.update(repeating: 0, count: Int(args.kblocks) * 64) }
    var column = 0
    while column < Int(args.rows) {
        var outside = UnsafeMutableRawPointer(args.source + column * Int(args.row_stride))
        var block = 0
        while block < blocks {
            if inward {
                inside[block * 16 + column] = outside.loadUnaligned(as: UInt16.self)
            } else {
                outside.storeBytes(of: inside[block * 16 + column], as: UInt16.self)
            }
            outside += 34
            block += 1
        }
        column += 1
    }
}

/// Row by row, each from its first k to its last: the file is read once in the order in which it lies.
@inline(__always)
private func count(wide: Bool, _ args: sx_codec_args) {
    let perChunk = wide ? 8 : 4, kblocks = Int(args.kblocks)
    let background = sx_set8(-128)
    let counts = args.counts.unsafelyUnwrapped
    counts.update(repeating: 0, count: (kblocks + perChunk - 1) / perChunk)
    var column = 0
    while column < Int(args.rows) {
        let row = UnsafeRawPointer(args.source) + column * Int(args.row_stride)
        var first = 0, chunk = 0
        while first < kblocks {
            let end = min(first + perChunk, kblocks)
            var present = 0, kblock = first
            while kblock < end {
                sx_prefetch(row + (kblock * (wide ? 64 : 68) + readAhead))
                let codes = fileRow(args, wide: wide, column, kblock)
                // Padding is background and does not count.
                present += wide ? sx_nonzero16(codes).nonzeroBitCount : sx_differs8(codes, background).nonzeroBitCount
                kblock += 1
            }
            counts[chunk] += UInt64(present)
            chunk += 1
            first = end
        }
        column += 1
    }
}

/// How far ahead of a row being read its bytes are fetched: sixteen rows at a time are more streams than the
/// hardware's own prefetcher follows.
private let readAhead = 1024

@inline(__always)
private func encode(wide: Bool, sparse: Bool, _ args: sx_codec_args) {
    var values = UnsafeMutableRawPointer(args.values)
    var mask = sparse ? UnsafeMutableRawPointer(args.bitmap.unsafelyUnwrapped) : values
    let background = sx_set8(-128)
    var kblock = 0
    while kblock < Int(args.kblocks) {
        var rows = Rows { column in
            sx_prefetch(args.source + (column * Int(args.row_stride) + kblock * (wide ? 64 : 68) + readAhead))
            return fileRow(args, wide: wide, column, kblock)
        }
        rows.transpose()
        rows.each { index, codes in
            if !sparse {
                sx_store(values + index * 64, codes)
            } else if wide {
                // A masked store of the codes themselves: the bytes behind them may belong to another thread's panel.
                let bits = sx_nonzero16(codes)
                let present = bits.nonzeroBitCount
                mask.storeBytes(of: bits, as: UInt32.self)
                sx_mask_store16(values, UInt32(truncatingIfNeeded: (UInt64(1) << UInt64(present)) - 1), sx_compress16(bits, codes))
                values += present * 2
                mask += 4
            } else {
                let bits = sx_differs8(codes, background)
                let present = bits.nonzeroBitCount
                mask.storeBytes(of: bits, as: UInt64.self)
                let low: UInt64 = present == 64 ? ~0 : (1 << UInt64(present)) - 1
                sx_mask_store8(values, low, sx_compress8(bits, codes))
                values += present
                mask += 8
            }
        }
        if !sparse { values += 1024 }
        kblock += 1
    }
    if !wide { copyScales(args, inward: true) }
}

@inline(__always)
private func decode(wide: Bool, sparse: Bool, _ args: sx_codec_args) {
    var values = UnsafeRawPointer(args.values)
    var mask = sparse ? UnsafeRawPointer(args.bitmap.unsafelyUnwrapped) : values
    let background = sx_set8(-128)
    var kblock = 0
    while kblock < Int(args.kblocks) {
        var rows = Rows { index in
            if !sparse { return sx_load(values + index * 64) }
            if wide {
                let bits = mask.load(as: UInt32.self)
                let codes = sx_expand16(bits, sx_load(values))
                values += bits.nonzeroBitCount * 2
                mask += 4
                return codes
            }
            let bits = mask.load(as: UInt64.self)
            let codes = sx_expand8(background, bits, sx_load(values))
            values += bits.nonzeroBitCount
            mask += 8
            return codes
        }
        if !sparse { values += 1024 }
        rows.transpose()
        rows.each { column, codes in setFileRow(args, wide: wide, column, kblock, codes) }
        kblock += 1
    }
    if !wide { copyScales(args, inward: false) }
}

@inline(__always)
private func isWide(_ pointer: UnsafePointer<sx_codec_args>) -> Bool { pointer.pointee.type != Int32(SX_Q8_0) }

@c(sx_avx512_count) @implementation
public func sx_avx512_count(_ args: UnsafePointer<sx_codec_args>) {
    if isWide(args) { count(wide: true, args.pointee) } else { count(wide: false, args.pointee) }
}

@c(sx_avx512_encode_dense) @implementation
public func sx_avx512_encode_dense(_ args: UnsafePointer<sx_codec_args>) {
    if isWide(args) { encode(wide: true, sparse: false, args.pointee) } else { encode(wide: false, sparse: false, args.pointee) }
}

@c(sx_avx512_encode_sparse) @implementation
public func sx_avx512_encode_sparse(_ args: UnsafePointer<sx_codec_args>) {
    if isWide(args) { encode(wide: true, sparse: true, args.pointee) } else { encode(wide: false, sparse: true, args.pointee) }
}

@c(sx_avx512_decode_dense) @implementation
public func sx_avx512_decode_dense(_ args: UnsafePointer<sx_codec_args>) {
    if isWide(args) { decode(wide: true, sparse: false, args.pointee) } else { decode(wide: false, sparse: false, args.pointee) }
}

@c(sx_avx512_decode_sparse) @implementation
public func sx_avx512_decode_sparse(_ args: UnsafePointer<sx_codec_args>) {
    if isWide(args) { decode(wide: true, sparse: true, args.pointee) } else { decode(wide: false, sparse: true, args.pointee) }
}
