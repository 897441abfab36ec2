import CKernelABI
import CInstructions

// One panel of a quantized type on its way into the packed form or out of it, a chunk of 256 k at a time: the file's
// blocks as one byte per code, transposed to the stored order.

/// A panel and the scratch memory of its thread.
struct QuantPanel {
    let args: sx_codec_args
    let q: sx_quant
    let natural: UnsafeMutableRawPointer      // codes of 16 columns x 256 k
    let ordered: UnsafeMutableRawPointer      // the same in stored order: 8 blocks of 8 rows of 64
    let backgrounds: UnsafeMutableRawPointer  // per part 64 bytes: each column's background four times
    let lows, highs: UnsafeMutableRawPointer  // planes being filled

    @inline(__always)
    init(_ pointer: UnsafePointer<sx_codec_args>) {
        args = pointer.pointee
        q = sx_quant_of(args.type)
        natural = UnsafeMutableRawPointer(args.scratch.unsafelyUnwrapped)
        ordered = natural + 4096
        backgrounds = ordered + 4096
        lows = backgrounds + 1024
        highs = lows + 5120
    }

    var chunks: Int { (Int(args.kblocks) + 3) / 4 }
    var parts: Int { 32 / Int(q.part_k) }

    /// Blocks of 32 of a chunk: as packed (even), and as the file has them.
    func blocks(_ chunk: Int) -> Int { min(4, Int(args.kblocks) - chunk * 4) * 2 }
    func fileBlocks(_ chunk: Int) -> Int { min(8, Int(args.k) / 32 - chunk * 8) }

    func file(_ column: Int, _ chunk: Int) -> UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(args.file + (column * Int(args.row_stride) + chunk * chunkBytes(q)))
    }

    func side(_ chunk: Int) -> UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(args.side.unsafelyUnwrapped + chunk * 4 * Int(q.side_bytes))
    }

    /// Reads a chunk. What is only padding becomes background, or 0 where the background is found by counting.
    func read(_ chunk: Int) {
        sx_unwind_tables()
        let present = fileBlocks(chunk), padding = UInt8(truncatingIfNeeded: max(q.background, 0))
        if Int(args.rows) < 16 || present < blocks(chunk) {
            natural.initializeMemory(as: UInt8.self, repeating: padding, count: 4096)
        }
        var column = 0
        while column < Int(args.rows) {
            let from = file(column, chunk)
            prefetchBlocks(UnsafeRawPointer(from) + chunkBytes(q), chunkBytes(q))
            readChunk(q.type, from, present, natural.assumingMemoryBound(to: UInt8.self) + column * 256)
            column += 1
        }
        var kblock = 0
        while kblock * 2 < blocks(chunk) {
            var rows = Rows { sx_load(natural + ($0 * 256 + kblock * 64)) }
            rows.transpose()
            rows.each { index, codes in sx_store(ordered + (kblock * 1024 + index * 64), codes) }
            kblock += 1
        }
    }

    /// Finds the background of every part.
    func findBackgrounds(_ chunk: Int) {
        let count = blocks(chunk) * parts
        var part = 0
        while part < count {
            sx_store(backgrounds + part * 64, background(part))
            part += 1
        }
    }

    /// The type's background, or per column the most frequent code of a part (the lowest of several).
    private func background(_ part: Int) -> __m512i {
        if q.background >= 0 { return sx_set8(Int8(truncatingIfNeeded: q.background)) }
        let rows = Int(q.part_k) / 4, first = ordered + part * rows * 64
        var best = sx_set32(0), most = sx_set32(-1)
        var code: Int32 = 0
        while code < 1 << (q.low_bits + q.high_bits) {
            let candidate = sx_set8(Int8(truncatingIfNeeded: code)), one = sx_set8(1)
            var minus = sx_zero(), row = 0
            while row < rows {
                minus = sx_mask_sub8(minus, sx_equals8(sx_load(first + row * 64), candidate), sx_set8(-1))
                row += 1
            }
            let count = sx_dpbusd(sx_zero(), minus, one)
            let more = sx_greater32(count, most)
            most = sx_choose32(more, count, most)
            best = sx_choose32(more, sx_set32(code), best)
            code += 1
        }
        return sx_four_times(best)
    }

    /// What differs from the background in row 0...7 of a block.
    @inline(__always)
    func kept(_ block: Int, _ row: Int, _ codes: __m512i) -> UInt64 {
        sx_differs8(codes, sx_load(backgrounds + (block * parts + row * 4 / Int(q.part_k)) * 64))
    }
}

@inline(__always)
private func prefetchBlocks(_ from: UnsafeRawPointer, _ bytes: Int) {
    var offset = 0
    while offset < bytes {
        sx_prefetch(from + offset)
        offset += 64
    }
}
