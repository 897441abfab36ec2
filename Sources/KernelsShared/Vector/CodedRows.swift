import CKernelABI
import CInstructions

/// A cursor over the tile rows of one panel in a coded form of BF16, four rows (a quad of two twins) at a time. Rows
/// come out as those of the plain form: the exceptions, of which a chunk of a trained weight has one or two, are put
/// right before anything is multiplied.
struct CodedRows {
    private let sparse: Bool
    private let values: UnsafeRawPointer
    private var entry: UnsafePointer<UInt64>      // of the chunk to come
    private var table: UnsafeRawPointer           // its exponents
    private var masks: UnsafeRawPointer           // of the chunk, and before the first one of none
    private var cursor: UnsafeRawPointer          // the next quad
    private var exponents: __m512i
    private var exception, end: UnsafeRawPointer
    private var next = -1                         // the twin of the next exception
    private var number = 64                       // of the twin to come, for `quad`

    /// Where a quad lies.
    struct Quad {
        let first, second, codes: UnsafeRawPointer
        let masks: (UInt64, UInt64)
    }

    /// firstBlock: the first K-block of a chunk.
    @inline(__always)
    init(_ args: sx_kernel_args, sparse: Bool, _ panel: Int, _ firstBlock: Int = 0) {
        self.sparse = sparse
        values = UnsafeRawPointer(args.w.values)
        masks = values
        cursor = values
        exception = values
        end = values
        exponents = sx_zero()
        let chunk = panel * Int(args.w.chunks) + firstBlock / 8
        entry = args.w.offsets.unsafelyUnwrapped + chunk
        table = UnsafeRawPointer(args.w.side.unsafelyUnwrapped + chunk * Int(SX_CODED_RECORD))
        if sparse {
            let tile = panel * Int(args.w.kblocks) + firstBlock
            masks = UnsafeRawPointer(args.w.bitmap.unsafelyUnwrapped) + (tile * 64 - 512)
        }
    }

    /// Begins the next chunk. Where it lies and how many exceptions it has, the offsets say, which nobody can change
    /// once they are proven; places and exponents of exceptions may be anything.
    @inline(__always)
    mutating func enter() {
        let found = entry[0]
        exception = values + Int(sx_offset_bytes(found))
        end = exception + 4 * Int(sx_offset_low(found))
        cursor = end
        exponents = sx_table16(table)
        masks += 512
        entry += 1
        table += Int(SX_CODED_RECORD)
        findNext()
    }

    @inline(__always)
    private mutating func findNext() {
        next = exception < end ? Int(exception.loadUnaligned(as: UInt32.self) >> 14) : -1
    }

    /// The next quad; the cursor goes on behind it. number: of its first twin in the chunk.
    @inline(__always)
    mutating func open(_ number: Int, fetch: Bool) -> Quad {
        if !sparse {
            let quad = Quad(first: cursor, second: cursor + 64, codes: cursor + 128, masks: (0, 0))
            if fetch {
                sx_prefetch(cursor + prefetchAhead)
                sx_prefetch(cursor + (prefetchAhead + 64))
                sx_prefetch(cursor + (prefetchAhead + 128))
            }
            cursor += 192
            return quad
        }
        let bits = (masks.load(fromByteOffset: number * 8, as: UInt64.self),
                    masks.load(fromByteOffset: number * 8 + 8, as: UInt64.self))
        let first = bits.0.nonzeroBitCount, second = bits.1.nonzeroBitCount
        let quad = Quad(first: cursor, second: cursor + first, codes: cursor + (first + second), masks: bits)
        if fetch {
            sx_prefetch(cursor + prefetchAhead)
            sx_prefetch(cursor + (prefetchAhead + 64))
        }
        cursor = quad.codes + max(first, second)
        return quad
    }

    /// The two rows of the first or second twin of a quad. number: of the twin in its chunk.
    @inline(__always)
    mutating func twin(_ quad: Quad, second: Bool, _ number: Int) -> (__m512i, __m512i) {
        let (bits, exponents) = read(quad, second: second)
        return join(bits, _slowPath(number == next) ? replaceExceptions(exponents, number) : exponents)
    }

    /// Signs and mantissas, and exponents, of a twin.
    @inline(__always)
    private func read(_ quad: Quad, second: Bool) -> (__m512i, __m512i) {
        var bits = sx_load(second ? quad.second : quad.first), codes = sx_load(quad.codes)
        if sparse {
            let mask = second ? quad.masks.1 : quad.masks.0
            bits = sx_expand8(sx_zero(), mask, bits)
            codes = sx_expand8(sx_zero(), mask, codes)
        }
        codes = sx_and(second ? sx_half_down(codes) : codes, sx_set8(15))
        // What is not kept has code 0, which is exponent 0.
        return (bits, sx_shuffle8(exponents, codes))
    }

    @inline(__always)
    private func join(_ bits: __m512i, _ exponents: __m512i) -> (__m512i, __m512i) {
        (sx_rotate16(sx_unpack_low8(bits, exponents)), sx_rotate16(sx_unpack_high8(bits, exponents)))
    }

    @inline(__always)
    private mutating func replaceExceptions(_ exponents: __m512i, _ number: Int) -> __m512i {
        var exponents = exponents
        while next == number {
            let found = exception.loadUnaligned(as: UInt32.self)
            exponents = sx_replace8(exponents, 1 &<< UInt64(found >> 8 & 63), UInt8(truncatingIfNeeded: found))
            exception += 4
            findNext()
        }
        return exponents
    }

    /// Writes the next four rows, of whatever chunk they are.
    @inline(__always)
    mutating func quad(_ out: UnsafeMutableRawPointer) {
        if number == 64 {
            enter()
            number = 0
        }
        if number & 7 == 0 { fetchMasks(number) }
        let quad = open(number, fetch: true)
        let first = read(quad, second: false), second = read(quad, second: true)
        let rows = join(first.0, first.1), others = join(second.0, second.1)
        sx_store(out, rows.0)
        sx_store(out + 64, rows.1)
        sx_store(out + 128, others.0)
        sx_store(out + 192, others.1)
        // Put right where it was written: less code than in registers, where this is inlined into loops of tiles.
        while _slowPath(next >= number && next < number + 2) {
            let found = Int(exception.loadUnaligned(as: UInt32.self)), place = found >> 8 & 63
            let code = out + ((next - number) * 128 + (place >> 3 & 1) * 64 + (place >> 4) * 16 + (place & 7) * 2)
            let kept = code.load(as: UInt16.self) & 0x807f
            code.storeBytes(of: kept | UInt16(truncatingIfNeeded: found & 255) << 7, as: UInt16.self)
            exception += 4
            findNext()
        }
        number += 2
    }

    /// Brings the masks of rows to come closer; the dense form has none.
    @inline(__always)
    func fetchMasks(_ number: Int) {
        if sparse { sx_prefetch(masks + (prefetchAhead + number * 8)) }
    }
}
