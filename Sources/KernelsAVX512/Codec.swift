import CKernelABI
import CInstructions

// Packing and unpacking of one panel of BF16 or F16, whose codes are the numbers themselves and whose background is 0.

/// Codes of one column and K-block as the file has them, padded with background.
@inline(__always)
private func fileRow(_ args: sx_codec_args, _ column: Int, _ kblock: Int) -> __m512i {
    guard column < Int(args.rows) else { return sx_zero() }
    return sx_mask_load8(sx_zero(), present(args, kblock), args.file + (column * Int(args.row_stride) + kblock * 64))
}

/// The bytes of a K-block that exist in the file.
@inline(__always)
private func present(_ args: sx_codec_args, _ kblock: Int) -> UInt64 {
    let left = Int(args.k) - kblock * 32
    return left >= 32 ? ~0 : (1 << UInt64(left * 2)) - 1
}

/// Row by row, each from its first k to its last: the file is read once in the order in which it lies.
@c(sx_avx512_count) @implementation
public func sx_avx512_count(_ pointer: UnsafePointer<sx_codec_args>) {
    sx_unwind_tables()
    let args = pointer.pointee
    let kblocks = Int(args.kblocks)
    let counts = args.counts.unsafelyUnwrapped
    counts.update(repeating: 0, count: (kblocks + 7) / 8)
    var kept = 0, column = 0
    while column < Int(args.rows) {
        let row = UnsafeRawPointer(args.file) + column * Int(args.row_stride)
        var first = 0, chunk = 0
        while first < kblocks {
            let end = min(first + 8, kblocks)
            var present = 0, kblock = first
            while kblock < end {
                sx_prefetch(row + (kblock * 64 + readAhead))
                present += sx_nonzero16(fileRow(args, column, kblock)).nonzeroBitCount
                kblock += 1
            }
            counts[chunk] += UInt64(present * 2)
            kept += present
            chunk += 1
            first = end
        }
        column += 1
    }
    args.kept.unsafelyUnwrapped[0] += UInt64(kept)
}

/// How far ahead of a row being read its bytes are fetched: sixteen rows at a time are more streams than the
/// hardware's own prefetcher follows.
let readAhead = 1024

@inline(__always)
private func encode(sparse: Bool, _ args: sx_codec_args) {
    var values = UnsafeMutableRawPointer(args.values)
    var mask = sparse ? UnsafeMutableRawPointer(args.bitmap.unsafelyUnwrapped) : values
    // Of the sparse form: the bytes that are left of the chunk, by what was counted. The source may have changed since,
    // and behind them is another thread's panel, or another mapping.
    var room = 0, kept = 0, changed = false
    var kblock = 0
    while kblock < Int(args.kblocks) {
        if sparse && kblock % 8 == 0 {
            changed = changed || room != 0
            let offsets = args.offsets.unsafelyUnwrapped + kblock / 8
            values = UnsafeMutableRawPointer(args.values)
                + Int(sx_offset_bytes(offsets[0]) - sx_offset_bytes(args.offsets.unsafelyUnwrapped[0]))
            room = Int(sx_offset_bytes(offsets[1]) - sx_offset_bytes(offsets[0]))
        }
        var rows = Rows { column in
            sx_prefetch(args.file + (column * Int(args.row_stride) + kblock * 64 + readAhead))
            return fileRow(args, column, kblock)
        }
        rows.transpose()
        rows.each { index, codes in
            if !sparse {
                sx_store(values + index * 64, codes)
            } else {
                // A masked store of the codes themselves: the bytes behind them may belong to another thread's panel.
                let bits = sx_nonzero16(codes)
                var present = bits.nonzeroBitCount
                kept += present
                if present * 2 > room {
                    changed = true
                    present = room / 2
                }
                mask.storeBytes(of: bits, as: UInt32.self)
                sx_mask_store16(values, UInt32(truncatingIfNeeded: (UInt64(1) << UInt64(present)) - 1),
                                sx_compress16(bits, codes))
                values += present * 2
                room -= present * 2
                mask += 4
            }
        }
        if !sparse { values += 1024 }
        kblock += 1
    }
    if sparse {
        args.kept.unsafelyUnwrapped[0] += UInt64(kept)
        if changed || room != 0 { args.changed.unsafelyUnwrapped[0] = 1 }
    }
}

@inline(__always)
private func decode(sparse: Bool, _ args: sx_codec_args) {
    var values = UnsafeRawPointer(args.values)
    var mask = sparse ? UnsafeRawPointer(args.bitmap.unsafelyUnwrapped) : values
    var kblock = 0
    while kblock < Int(args.kblocks) {
        var rows = Rows { index in
            if !sparse { return sx_load(values + index * 64) }
            let bits = mask.load(as: UInt32.self)
            let codes = sx_expand16(bits, sx_load(values))
            values += bits.nonzeroBitCount * 2
            mask += 4
            return codes
        }
        if !sparse { values += 1024 }
        rows.transpose()
        rows.each { column, codes in
            guard column < Int(args.rows) else { return }
            sx_mask_store8(args.file + (column * Int(args.row_stride) + kblock * 64), present(args, kblock), codes)
        }
        kblock += 1
    }
}

@c(sx_avx512_pack_dense) @implementation
public func sx_avx512_pack_dense(_ args: UnsafePointer<sx_codec_args>) { encode(sparse: false, args.pointee) }

@c(sx_avx512_pack_sparse) @implementation
public func sx_avx512_pack_sparse(_ args: UnsafePointer<sx_codec_args>) { encode(sparse: true, args.pointee) }

@c(sx_avx512_unpack_dense) @implementation
public func sx_avx512_unpack_dense(_ args: UnsafePointer<sx_codec_args>) { decode(sparse: false, args.pointee) }

@c(sx_avx512_unpack_sparse) @implementation
public func sx_avx512_unpack_sparse(_ args: UnsafePointer<sx_codec_args>) { decode(sparse: true, args.pointee) }
