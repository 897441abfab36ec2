import CKernelABI
import CInstructions

/// A cursor over the tile rows of one panel in a coded form of BF16, four rows (a group of two pairs) at a time. Rows
/// come out as those of the plain form: the exceptions, of which a chunk of a trained weight has one or two, are put
/// right before anything is multiplied.
struct CodedRows {
    private let sparse: Bool
    private let values: UnsafeRawPointer
    private var entry: UnsafePointer<UInt64>      // of the chunk to come
    private var table: UnsafeRawPointer           // its exponents
    private var mask: UnsafeRawPointer
    private var cursor: UnsafeRawPointer          // the next group
    private var exponents: __m512i
    private var exception, end: UnsafeRawPointer
    private var next = -1                         // the pair of the next exception
    private var number = 64                       // of the pair to come, for `group`

    /// Where a group lies.
    struct Group {
        let first, second, codes: UnsafeRawPointer
        let masks: (UInt64, UInt64)
    }

    /// firstBlock: the first K-block of a chunk. coded: whether the weight is in a coded form at all; a cursor that is
    /// not asked for anything vanishes.
    @inline(__always)
    init(_ args: sx_kernel_args, coded: Bool = true, sparse: Bool, _ panel: Int, _ firstBlock: Int = 0) {
        self.sparse = sparse
        values = UnsafeRawPointer(args.w.values)
        mask = values
        cursor = values
        exception = values
        end = values
        exponents = sx_zero()
        if !coded {
            table = values
            entry = values.assumingMemoryBound(to: UInt64.self)
            return
        }
        let chunk = panel * Int(args.w.chunks) + firstBlock / 8
        entry = args.w.offsets.unsafelyUnwrapped + chunk
        table = UnsafeRawPointer(args.w.side.unsafelyUnwrapped + chunk * Int(SX_CODED_RECORD))
        if sparse {
            mask = UnsafeRawPointer(args.w.bitmap.unsafelyUnwrapped + (panel * Int(args.w.kblocks) + firstBlock) * 64)
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
        entry += 1
        table += Int(SX_CODED_RECORD)
        findNext()
    }

    @inline(__always)
    private mutating func findNext() {
        next = exception < end ? Int(exception.loadUnaligned(as: UInt32.self) >> 14) : -1
    }

    /// The next group; the cursor goes on behind it.
    @inline(__always)
    mutating func open(fetch: Bool) -> Group {
        if !sparse {
            let group = Group(first: cursor, second: cursor + 64, codes: cursor + 128, masks: (0, 0))
            if fetch {
                sx_prefetch(cursor + prefetchAhead)
                sx_prefetch(cursor + (prefetchAhead + 64))
                sx_prefetch(cursor + (prefetchAhead + 128))
            }
            cursor += 192
            return group
        }
        let masks = (mask.load(as: UInt64.self), mask.load(fromByteOffset: 8, as: UInt64.self))
        let first = masks.0.nonzeroBitCount, second = masks.1.nonzeroBitCount
        let group = Group(first: cursor, second: cursor + first, codes: cursor + (first + second), masks: masks)
        if fetch {
            sx_prefetch(cursor + prefetchAhead)
            sx_prefetch(cursor + (prefetchAhead + 64))
        }
        cursor = group.codes + max(first, second)
        mask += 16
        return group
    }

    /// The two rows of the first or second pair of a group. number: of the pair in its chunk.
    @inline(__always)
    mutating func pair(_ group: Group, second: Bool, _ number: Int) -> (__m512i, __m512i) {
        var bits = sx_load(second ? group.second : group.first), codes = sx_load(group.codes)
        if sparse {
            let mask = second ? group.masks.1 : group.masks.0
            bits = sx_expand8(sx_zero(), mask, bits)
            codes = sx_expand8(sx_zero(), mask, codes)
        }
        codes = sx_and(second ? sx_half_down(codes) : codes, sx_set8(15))
        // What is not kept has code 0, which is exponent 0.
        var high = sx_shuffle8(exponents, codes)
        if _slowPath(number == next) { high = replaceExceptions(high, number) }
        return (sx_rotate16(sx_unpack_low8(bits, high)), sx_rotate16(sx_unpack_high8(bits, high)))
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
    mutating func group(_ out: UnsafeMutableRawPointer) {
        if number == 64 {
            enter()
            number = 0
        }
        let group = open(fetch: true)
        let first = pair(group, second: false, number), second = pair(group, second: true, number + 1)
        sx_store(out, first.0)
        sx_store(out + 64, first.1)
        sx_store(out + 128, second.0)
        sx_store(out + 192, second.1)
        number += 2
    }

    /// Writes the next 16 rows.
    @inline(__always)
    mutating func tile(_ out: UnsafeMutableRawPointer) {
        fetchMasks()
        var row = 0
        while row < 1024 {
            group(out + row)
            row += 256
        }
    }

    /// Brings the masks of rows to come closer; the dense form has none.
    @inline(__always)
    func fetchMasks() {
        if sparse { sx_prefetch(mask + prefetchAhead) }
    }
}
