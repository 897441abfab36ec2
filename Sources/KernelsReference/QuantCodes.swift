import CKernelABI

/// The codes of one chunk of one panel in the packed form, read one by one: the plain statement of FORMAT.md.
struct QuantChunk {
    let q: sx_quant
    let blocks: Int                        // of 32 k
    let low, high: UnsafePointer<UInt8>    // the two parts of the chunk's values
    let bitmap: UnsafePointer<UInt8>?
    let side: UnsafeRawPointer

    /// Of a whole panel's streams: values at the panel's first byte (dense) or at the chunk's first byte (sparse).
    init(_ q: sx_quant, chunk: Int, kblocks: Int, values: UnsafePointer<UInt8>, lowBytes: Int,
         bitmap: UnsafePointer<UInt8>?, side: UnsafePointer<UInt8>) {
        self.q = q
        blocks = min(4, kblocks - chunk * 4) * 2
        if let bitmap {
            low = values
            high = values + lowBytes
            self.bitmap = bitmap + chunk * 512
        } else {
            low = values + chunk * 512 * Int(q.low_bits + q.high_bits)
            high = low + Int(sx_plane_bytes(q.low_bits, Int64(blocks)))
            self.bitmap = nil
        }
        self.side = UnsafeRawPointer(side + chunk * 4 * Int(q.side_bytes))
    }

    func background(_ block: Int, _ row: Int, _ column: Int) -> UInt8 {
        let parts = 32 / Int(q.part_k)
        return KernelsReference.background(q, side, block * parts + row * 4 / Int(q.part_k), column)
    }

    /// Calls body for every code in stored order. index: column * 4 + k % 4 of the row.
    @inline(__always)
    func each(_ body: (_ block: Int, _ row: Int, _ index: Int, _ code: UInt8) -> Void) {
        let lowPlanes = 8 / Int(q.low_bits), highPlanes = q.high_bits == 0 ? 8 : 8 / Int(q.high_bits)
        // How many codes stand before this block in its plane.
        var before: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
        withUnsafeMutableBytes(of: &before) { kept in
            let kept = kept.bindMemory(to: Int.self)
            var block = 0
            while block < blocks {
                var lowAt = 0, highAt = 0, earlier = block - lowPlanes
                while earlier >= 0 {
                    lowAt += kept[earlier]
                    earlier -= lowPlanes
                }
                earlier = block - highPlanes
                while earlier >= 0 {
                    highAt += kept[earlier]
                    earlier -= highPlanes
                }
                var count = 0, i = 0
                while i < 512 {
                    let row = i / 64, index = i % 64
                    if let bitmap, bitmap[block * 64 + i / 8] >> UInt8(truncatingIfNeeded: i % 8) & 1 == 0 {
                        body(block, row, index, background(block, row, index / 4))
                    } else {
                        body(block, row, index, code(block, lowAt + count, highAt + count))
                        count += 1
                    }
                    i += 1
                }
                kept[block] = count
                block += 1
            }
        }
    }

    private func code(_ block: Int, _ lowAt: Int, _ highAt: Int) -> UInt8 {
        if q.low_bits == 8 { return low[lowAt] }
        let lowShift = UInt8(truncatingIfNeeded: block % (8 / Int(q.low_bits)) * Int(q.low_bits))
        var code = low[lowAt] >> lowShift & ((1 << UInt8(q.low_bits)) - 1)
        if q.high_bits > 0 {
            let shift = UInt8(truncatingIfNeeded: block % (8 / Int(q.high_bits)) * Int(q.high_bits))
            code |= (high[highAt] >> shift & ((1 << UInt8(q.high_bits)) - 1)) << UInt8(q.low_bits)
        }
        return code
    }
}
