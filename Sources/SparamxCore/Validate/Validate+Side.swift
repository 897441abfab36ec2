import CKernelABI

// The side stream: FORMAT.md has its records. What belongs to no weight of the file is zero, the dense form has no
// backgrounds, and scales that the file keeps in 6 bits are in range. The rest may hold any bits.

extension PackedTensor {
    func verifySide(_ bounds: ChunkBounds) throws(Status) {
        let q = layout.type.quant
        let record = UnsafeRawPointer(side + (bounds.panel * layout.kblocks + bounds.chunk * 4) * layout.type.sideBytes)
        let fields = Fields(record, padding: bounds.columns)
        let fine: Bool
        switch q.side {
        case Int32(SX_SIDE_F16), Int32(SX_SIDE_E8), Int32(SX_SIDE_F16_MIN), Int32(SX_SIDE_E4M3):
            fine = verifyBlocks(bounds, q, record)
        case Int32(SX_SIDE_K32):
            fine = fields.halves(at: 0, count: 10) && (layout.sparse || fields.noLowBits(8))
                && (q.high_bits == 0 || fields.bits(at: 320, count: 8, none: !layout.sparse))
        case Int32(SX_SIDE_K16_MIN):
            fine = fields.bytes(at: 0, count: 16) && fields.halves(at: 256, count: 2)
                && fields.twoBitFields(at: 320, count: 16, none: !layout.sparse)
        default:
            let scales = 256 / Int(q.part_k)
            fine = fields.bytes(at: 0, count: scales) && fields.halves(at: scales * 16, count: 1)
                && (q.side != Int32(SX_SIDE_I6) || fields.sixBits(scales * 16))
        }
        if !fine { throw .damaged }
    }

    /// Types with a record per block of the file.
    private func verifyBlocks(_ bounds: ChunkBounds, _ q: sx_quant, _ start: UnsafeRawPointer) -> Bool {
        if bounds.whole && q.side != Int32(SX_SIDE_F16_MIN) { return true }
        let bytes = Int(q.side_bytes * q.file_block_k / 64), step = Int(q.file_block_k) / 32
        var block = 0
        while block < bounds.blocks {
            let record = start + block / step * bytes, fields = Fields(record, padding: bounds.columns)
            if block >= bounds.fileBlocks {
                if !isZero(record, bytes) { return false }
            } else if q.side == Int32(SX_SIDE_E8) || q.side == Int32(SX_SIDE_E4M3) {
                if !fields.bytes(at: 0, count: bytes / 16) { return false }
            } else if !fields.halves(at: 0, count: q.side == Int32(SX_SIDE_F16_MIN) ? 2 : 1) {
                return false
            }
            if q.side == Int32(SX_SIDE_F16_MIN) {
                if !fields.nibbles(at: 64, none: !layout.sparse) { return false }
                if q.high_bits == 1 && !fields.bits(at: 72, count: 1, none: !layout.sparse) { return false }
            }
            block += step
        }
        return true
    }
}

/// Arrays of 16 entries, one per column, of a side record. Each function: whether those of padded columns are zero
/// (none: those of all columns).
private struct Fields {
    let record: UnsafeRawPointer
    let columns: Int  // in the file

    init(_ record: UnsafeRawPointer, padding columns: Int) {
        self.record = record
        self.columns = columns
    }

    func halves(at: Int, count: Int) -> Bool {
        var i = 0
        while i < count && columns < 16 {
            if !isZero(record + (at + i * 32 + columns * 2), 32 - columns * 2) { return false }
            i += 1
        }
        return true
    }

    func bytes(at: Int, count: Int) -> Bool {
        var i = 0
        while i < count && columns < 16 {
            if !isZero(record + (at + i * 16 + columns), 16 - columns) { return false }
            i += 1
        }
        return true
    }

    private func half(_ at: Int) -> UInt16 { record.loadUnaligned(fromByteOffset: at, as: UInt16.self) }

    /// 16 bits, one per column.
    func bits(at: Int, count: Int, none: Bool) -> Bool {
        let from = none ? 0 : columns
        let mask: UInt16 = from >= 16 ? 0 : ~0 << UInt16(from)
        var i = 0
        while i < count {
            if half(at + i * 2) & mask != 0 { return false }
            i += 1
        }
        return true
    }

    /// 2 bits per column.
    func twoBitFields(at: Int, count: Int, none: Bool) -> Bool {
        let from = none ? 0 : columns
        let mask: UInt32 = from >= 16 ? 0 : ~0 << UInt32(from * 2)
        var i = 0
        while i < count {
            if record.loadUnaligned(fromByteOffset: at + i * 4, as: UInt32.self) & mask != 0 { return false }
            i += 1
        }
        return true
    }

    /// Columns c and c + 8 in the low and the high half of byte c.
    func nibbles(at: Int, none: Bool) -> Bool {
        let from = none ? 0 : columns
        var c = 0
        while c < 8 {
            let mask: UInt8 = (c >= from ? 15 : 0) | (c + 8 >= from ? 0xf0 : 0)
            if record.load(fromByteOffset: at + c, as: UInt8.self) & mask != 0 { return false }
            c += 1
        }
        return true
    }

    /// The low 4 bits of the first arrays of 16-bit entries.
    func noLowBits(_ count: Int) -> Bool {
        var i = 0, any: UInt16 = 0
        while i < count * 16 {
            any |= half(i * 2) & 15
            i += 1
        }
        return any == 0
    }

    /// Scales that the file has as 6 bits, less 32.
    func sixBits(_ count: Int) -> Bool {
        var i = 0, worst: Int8 = 0, least: Int8 = 0
        while i < count {
            let scale = record.load(fromByteOffset: i, as: Int8.self)
            worst = max(worst, scale)
            least = min(least, scale)
            i += 1
        }
        return worst < 32 && least >= -32
    }
}
