import CKernelABI

// The coded forms of BF16, read code by code. A twin of tile rows is 64 codes, in the order that two interleavings of
// bytes undo: place i of a twin is code i / 16 * 8 + i % 8 of its row i / 8 % 2.

/// Walks the codes of one panel in the order of the tile rows.
struct CodedCodes {
    private let values: UnsafePointer<UInt8>      // what the offsets count from
    private let offsets: UnsafePointer<UInt64>    // of the panel
    private let tables: UnsafePointer<UInt8>
    private let bitmap: UnsafePointer<UInt8>?
    private var row = 0
    private var quad: UnsafePointer<UInt8>       // where the next quad of two twins begins
    private var bits: (UnsafePointer<UInt8>, UnsafePointer<UInt8>)  // signs and mantissas of both twins of the quad
    private var codes: UnsafePointer<UInt8>       // of their exponents, four bits each
    private var exception: UnsafePointer<UInt8>   // the first that is not before the twin
    private var end: UnsafePointer<UInt8>

    init(values: UnsafePointer<UInt8>, offsets: UnsafePointer<UInt64>, tables: UnsafePointer<UInt8>,
         bitmap: UnsafePointer<UInt8>?) {
        self.values = values
        self.offsets = offsets
        self.tables = tables
        self.bitmap = bitmap
        quad = values
        bits = (values, values)
        codes = values
        exception = values
        end = values
    }

    init(_ args: sx_kernel_args, panel: Int) {
        let chunks = panel * Int(args.w.chunks)
        self.init(values: args.w.values, offsets: args.w.offsets! + chunks,
                  tables: args.w.side! + chunks * Int(SX_CODED_RECORD),
                  bitmap: args.w.bitmap.map { $0 + panel * Int(args.w.kblocks) * 64 })
    }

    init(_ args: sx_codec_args) {
        self.init(values: args.values - Int(sx_offset_bytes(args.offsets![0])), offsets: args.offsets!,
                  tables: args.side!, bitmap: args.bitmap.map { UnsafePointer($0) })
    }

    /// The 32 codes of the next tile row, in stored order, handed to the body with their index in the row.
    @inline(__always)
    mutating func nextRow(_ body: (Int, UInt16) -> Void) {
        let chunk = row / 128, twin = row % 128 / 2
        if row % 128 == 0 { beginChunk(chunk) }
        if row % 4 == 0 { beginQuad() }
        let mask = mask(row / 2), low = twin % 2 == 0, from = low ? bits.0 : bits.1
        let table = tables + chunk * Int(SX_CODED_RECORD)
        var rank = 0, at = exception, i = 0
        while i < 64 {
            var exponent: UInt8? = nil
            if at < end && place(at) == twin * 64 + i {
                exponent = at[0]
                at += 4
            }
            let present = mask >> UInt64(i) & 1 == 1
            if i / 8 % 2 == row % 2 {
                var code: UInt16 = 0
                if present {
                    let nibble = low ? codes[rank] & 15 : codes[rank] >> 4
                    code = UInt16(exponent ?? table[Int(nibble)]) << 7 | UInt16(from[rank] >> 1)
                        | UInt16(from[rank] & 1) << 15
                }
                body(i / 16 * 8 + i % 8, code)
            }
            if present { rank += 1 }
            i += 1
        }
        if row & 1 == 1 { exception = at }
        row += 1
    }

    private mutating func beginChunk(_ chunk: Int) {
        exception = values + Int(sx_offset_bytes(offsets[chunk]))
        end = exception + 4 * Int(sx_offset_low(offsets[chunk]))
        quad = end
    }

    private mutating func beginQuad() {
        let first = mask(row / 2).nonzeroBitCount, second = mask(row / 2 + 1).nonzeroBitCount
        bits = (quad, quad + first)
        codes = quad + (first + second)
        quad = codes + max(first, second)
    }

    /// The places of a twin that are kept.
    private func mask(_ twin: Int) -> UInt64 {
        guard let bitmap else { return ~0 }
        return UnsafeRawPointer(bitmap).load(fromByteOffset: twin * 8, as: UInt64.self)
    }

    /// Of an exception: its place in the chunk. Its exponent stands in the byte before.
    private func place(_ at: UnsafePointer<UInt8>) -> Int { Int(at[1]) | Int(at[2]) << 8 | Int(at[3]) << 16 }
}
