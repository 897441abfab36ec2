import CKernelABI
import CInstructions

// Reading the codes of one panel of a quantized type, 64 at a time (16 columns x 4 k). Planes instead of whole
// codes mean: no padding, nothing to unpack; a row is one load, one AND (and in types of more than 4 bits one rotation
// and one merge), and one expansion over the background.

/// Where a panel's streams stand at a chunk.
struct QuantStreams {
    var mask: UnsafePointer<UInt64>     // not used in the dense form
    var low, high: UnsafeRawPointer
    var side: UnsafeRawPointer
    var blockBytes: Int                 // an eighth of the chunk's values

    @inline(__always)
    init(_ q: sx_quant, sparse: Bool, _ args: sx_kernel_args, _ panel: Int, _ chunk: Int) {
        let tile = panel * Int(args.w.kblocks) + chunk * 4
        side = UnsafeRawPointer(args.w.side.unsafelyUnwrapped) + tile * Int(q.side_bytes)
        if sparse {
            let entries = args.w.offsets.unsafelyUnwrapped + (panel * Int(args.w.chunks) + chunk), entry = entries[0]
            blockBytes = (Int(sx_offset_bytes(entries[1])) - Int(sx_offset_bytes(entry))) >> 3
            low = UnsafeRawPointer(args.w.values) + Int(sx_offset_bytes(entry))
            high = low + Int(sx_offset_low(entry))
            mask = UnsafeRawPointer(args.w.bitmap.unsafelyUnwrapped + tile * 128).assumingMemoryBound(to: UInt64.self)
        } else {
            low = UnsafeRawPointer(args.w.values) + (panel * Int(sx_dense_panel_bytes(q, args.w.kblocks))
                                                   + chunk * 512 * Int(q.low_bits + q.high_bits))
            blockBytes = 64 * Int(q.low_bits + q.high_bits)
            let blocks = min(4, Int(args.w.kblocks) - chunk * 4) * 2
            high = low + Int(sx_plane_bytes(q.low_bits, Int64(blocks)))
            mask = low.assumingMemoryBound(to: UInt64.self)
        }
    }
}

/// A reader inside one chunk. Blocks are read in order; of the planes it keeps the places that blocks to come need.
struct QuantRows {
    private var mask: UnsafePointer<UInt64>
    private var even, odd: UnsafeRawPointer     // 4 and 8 bits: where the next block of that parity starts
    private let low, high: UnsafeRawPointer
    // What blocks 0...3 took, before them 0: where a plane of 2 bits goes on.
    private let ends: UnsafeMutablePointer<Int>
    private var lowTurn, highTurn: __m512i       // rotation that brings a plane of 2 bits or 1 down
    private var lowNow: UnsafeRawPointer
    private var highDistance: Int                // from lowNow to where the high bits are: both advance alike
    private var ahead: UnsafeRawPointer          // values to be brought closer while this block is read
    private let blockBytes: Int
    /// Of the part that is being read, already as the row function returns it.
    var background: __m512i

    /// memory: 32 bytes that belong to this reader.
    @inline(__always)
    init(_ streams: QuantStreams, _ memory: UnsafeMutableRawPointer) {
        self.init(UnsafeRawPointer(streams.mask), streams.low, streams.high, streams.low, streams.low,
                  streams.low + prefetchAhead, streams.blockBytes, memory)
        sx_store32(memory, sx_zero())
    }

    @inline(__always)
    private init(_ mask: UnsafeRawPointer, _ low: UnsafeRawPointer, _ high: UnsafeRawPointer, _ even: UnsafeRawPointer,
                 _ odd: UnsafeRawPointer, _ ahead: UnsafeRawPointer, _ blockBytes: Int,
                 _ memory: UnsafeMutableRawPointer) {
        self.mask = mask.assumingMemoryBound(to: UInt64.self)
        self.low = low
        self.high = high
        self.even = even
        self.odd = odd
        self.ahead = ahead
        self.blockBytes = blockBytes
        lowNow = low
        highDistance = 0
        ends = memory.assumingMemoryBound(to: Int.self)
        lowTurn = sx_zero()
        highTurn = sx_zero()
        background = sx_zero()
    }

    /// For a reader that stops after an odd block and goes on later. memory: 88 bytes that began as those of the init.
    @inline(__always)
    init(resuming memory: UnsafeMutableRawPointer) {
        let words = memory.assumingMemoryBound(to: UnsafeRawPointer.self) + 4
        self.init(words[0], words[1], words[2], words[3], words[4], words[5],
                  memory.load(fromByteOffset: 80, as: Int.self), memory)
    }

    @inline(__always)
    func stop(_ memory: UnsafeMutableRawPointer) {
        let words = memory.assumingMemoryBound(to: UnsafeRawPointer.self) + 4
        words[0] = UnsafeRawPointer(mask)
        words[1] = low
        words[2] = high
        words[3] = even
        words[4] = odd
        words[5] = ahead
        memory.storeBytes(of: blockBytes, toByteOffset: 80, as: Int.self)
    }

    /// True where row() returns codes of odd blocks times 16: the high halves of bytes, not shifted down.
    @inline(__always)
    static func sixteenfold(_ q: sx_quant) -> Bool {
        q.low_bits == 4 && q.high_bits == 0 && q.code_levels == Int32(SX_CODE_LEVELS_PLAIN)
    }

    @inline(__always)
    mutating func begin(_ q: sx_quant, _ block: Int, odd isOdd: Bool) {
        switch q.low_bits {
        case 8: lowNow = even
        case 4: lowNow = isOdd ? odd : even
        case 1:
            // To the second bit: with one bit a code stands for 0 or 2. Only in the dense form.
            lowNow = low
            lowTurn = sx_set32((Int32(truncatingIfNeeded: block) - 1) & 31)
        default:
            lowNow = low + ends[block & 3]
            lowTurn = sx_set32(Int32(truncatingIfNeeded: block & 3) * 2)
        }
        if q.high_bits == 2 {
            highDistance = high + ends[block & 3] - lowNow
            highTurn = sx_set32((Int32(truncatingIfNeeded: block & 3) * 2 - q.low_bits) & 31)
        } else if q.high_bits == 1 {
            highDistance = high - lowNow
            highTurn = sx_set32((Int32(truncatingIfNeeded: block) - q.low_bits) & 31)
        }
    }

    @inline(__always)
    mutating func end(_ q: sx_quant, sparse: Bool, _ block: Int, odd isOdd: Bool) {
        if q.low_bits == 2 || q.high_bits == 2 {
            // Planes of 2 bits hold two blocks of a chunk; both kinds of plane advance alike.
            let start = q.low_bits == 4 ? (isOdd ? odd : even) : low + ends[block & 3]
            ends[block & 3] = lowNow - start
        }
        if q.low_bits == 8 { even = lowNow }
        if q.low_bits == 4 {
            if isOdd { odd = lowNow } else { even = lowNow }
        }
        if sparse { mask += 8 }
        if q.high_bits > 0 { ahead += blockBytes }
    }

    /// Row 0...7 of the block. sixteenfold: leave odd blocks of plain 4-bit types as they lie.
    @inline(__always)
    mutating func row(_ q: sx_quant, sparse: Bool, _ index: Int, odd isOdd: Bool, sixteenfold: Bool) -> __m512i {
        var codes = sx_load(lowNow)
        if q.low_bits == 4 && q.high_bits == 0 {
            if isOdd && !sixteenfold { codes = sx_half_down(codes) }
            codes = sx_and(codes, sx_set8(isOdd && sixteenfold ? -16 : 15))
        } else if q.low_bits == 4 {
            if isOdd { codes = sx_half_down(codes) }
            codes = sx_select(sx_set8(15), codes, sx_rotate32(sx_load(lowNow + highDistance), highTurn))
            codes = sx_and(codes, sx_set8(q.high_bits == 2 ? 63 : 31))
        } else if q.low_bits == 2 {
            codes = sx_rotate32(codes, lowTurn)
            if q.high_bits == 1 {
                codes = sx_select(sx_set8(3), codes, sx_rotate32(sx_load(lowNow + highDistance), highTurn))
            }
            codes = sx_and(codes, sx_set8(q.high_bits == 1 ? 7 : 3))
        }
        if q.low_bits == 1 { codes = sx_and(sx_rotate32(codes, lowTurn), sx_set8(2)) }
        if q.code_levels == Int32(SX_CODE_LEVELS_IQ4) { codes = sx_shuffle8(sx_levels_iq4(), codes) }
        if q.code_levels == Int32(SX_CODE_LEVELS_FP4) { codes = sx_shuffle8(sx_levels_fp4(), codes) }
        var taken = 64
        if sparse {
            let bits = mask[index]
            codes = sx_expand8(background, bits, codes)
            taken = bits.nonzeroBitCount
        }
        lowNow += taken
        return codes
    }

    /// Brings closer what the next blocks of this reader will need. With high bits: in the order of memory and not of
    /// the planes, because blocks of a chunk share lines, and the high bits lie between the low bits of this chunk and
    /// of the next, where nothing fetched them in time (Q6_K dense, one token, Zen 5: 13 cycles per 64 weights, in this
    /// order 7). Called for rows 0...7 of a block, an eighth of a chunk: `bits` lines at most, and in the sparse form
    /// rarely more than two thirds of that.
    @inline(__always)
    func prefetch(_ q: sx_quant, sparse: Bool, _ index: Int) {
        if q.high_bits == 0 {
            if index & 1 == 0 || q.low_bits == 8 || !sparse { sx_prefetch(lowNow + prefetchAhead) }
        } else {
            let bits = Int(q.low_bits + q.high_bits), lines = sparse ? (2 * bits + 2) / 3 : bits
            let line = index * lines / 8
            if (index + 1) * lines / 8 > line { sx_prefetch(ahead + line * 64) }
        }
    }

    @inline(__always)
    func prefetchMask(sparse: Bool) {
        if sparse { sx_prefetch(UnsafeRawPointer(mask) + prefetchAhead) }
    }
}
