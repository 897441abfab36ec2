import CKernelABI

/// Goes through the chunks of a tensor in a coded form in their order. A kernel starts where the offsets say, reads as
/// many exceptions as they say, and then the quads, which are as long as the bitmap says: so each chunk has to be
/// exactly as long as both come to, and the chunks lie one behind the other.
struct CodedChunks {
    let tensor: PackedTensor
    var end = 0   // of the values up to here, in bytes
    var kept = 0  // codes
    private var index = 0

    init(_ tensor: PackedTensor) { self.tensor = tensor }

    mutating func verifyNext(_ bounds: ChunkBounds) throws(Status) {
        let layout = tensor.layout, entry = tensor.offsets[index], twins = bounds.tiles * 8
        let exceptions = Int(sx_offset_low(entry)), table = tensor.side + index * Int(SX_CODED_RECORD)
        let masks = Masks(tensor, bounds)
        index += 1
        guard Int(sx_offset_bytes(entry)) == end, exceptions <= twins * 64, isTable(table) else { throw .damaged }
        let start = end
        end += 4 * exceptions
        var twin = 0
        while twin < twins {
            let first = masks[twin].nonzeroBitCount, second = masks[twin + 1].nonzeroBitCount
            kept += first + second
            end += first + second + max(first, second)
            twin += 2
        }
        guard end <= layout.valueBytes else { throw .damaged }
        guard areExceptions(UnsafeRawPointer(tensor.base + start), exceptions, masks, table, twins: twins),
              hasZeroPadding(bounds, masks, UnsafePointer(tensor.values + (start + 4 * exceptions))) else {
            throw .damaged
        }
    }

    /// The bits of a chunk's twins; all are there in the dense form.
    private struct Masks {
        private let bits: UnsafePointer<UInt64>?

        init(_ tensor: PackedTensor, _ bounds: ChunkBounds) {
            let tile = bounds.panel * tensor.layout.kblocks + bounds.chunk * 8
            bits = tensor.layout.sparse
                ? UnsafeRawPointer(tensor.bitmap + tile * 64).assumingMemoryBound(to: UInt64.self) : nil
        }

        subscript(_ twin: Int) -> UInt64 { bits.map { $0[twin] } ?? ~0 }
    }

    /// Zero, then exponents that rise, then zeros.
    private func isTable(_ table: UnsafePointer<UInt8>) -> Bool {
        if table[0] != 0 { return false }
        var i = 1
        while i + 1 < Int(SX_CODED_RECORD) {
            if table[i + 1] != 0 && table[i + 1] <= table[i] || table[i] == 0 && table[i + 1] != 0 { return false }
            i += 1
        }
        return true
    }

    /// Places that rise and are kept, exponents that the table does not have.
    private func areExceptions(_ list: UnsafeRawPointer, _ count: Int, _ masks: Masks, _ table: UnsafePointer<UInt8>,
                               twins: Int) -> Bool {
        var before = -1, i = 0
        while i < count {
            let entry = list.loadUnaligned(fromByteOffset: i * 4, as: UInt32.self)
            let place = Int(entry >> 8), exponent = UInt8(truncatingIfNeeded: entry)
            guard place > before, place < twins * 64, masks[place / 64] >> UInt64(place % 64) & 1 == 1 else {
                return false
            }
            var code = 0
            while code < Int(SX_CODED_RECORD) {
                if table[code] == exponent { return false }
                code += 1
            }
            before = place
            i += 1
        }
        return true
    }

    /// Where the file has no weight: in the sparse form nothing is kept, in the dense one are zeros. The shorter half
    /// of a quad's codes goes on with zeros.
    private func hasZeroPadding(_ bounds: ChunkBounds, _ masks: Masks, _ quads: UnsafePointer<UInt8>) -> Bool {
        if bounds.whole && !tensor.layout.sparse { return true }
        var twin = 0, at = quads
        while twin < bounds.tiles * 8 {
            let first = masks[twin].nonzeroBitCount, second = masks[twin + 1].nonzeroBitCount
            let codes = at + (first + second), length = max(first, second)
            if !bounds.whole {
                for half in 0..<2 {
                    let none = padding(bounds, twin + half)
                    if tensor.layout.sparse {
                        if masks[twin + half] & none != 0 { return false }
                        continue
                    }
                    var i = 0
                    while i < 64 {
                        let nibble = half == 0 ? codes[i] & 15 : codes[i] >> 4
                        if none >> UInt64(i) & 1 == 1 && at[half * 64 + i] | nibble != 0 { return false }
                        i += 1
                    }
                }
            }
            var slack: UInt8 = 0, i = min(first, second)
            while i < length {
                slack |= first < second ? codes[i] & 15 : codes[i] >> 4
                i += 1
            }
            if slack != 0 { return false }
            at = codes + length
            twin += 2
        }
        return true
    }

    /// The places of a twin where the file has no weight.
    private func padding(_ bounds: ChunkBounds, _ twin: Int) -> UInt64 {
        var bits: UInt64 = 0, i = 0
        while i < 64 {
            let index = i / 16 * 8 + i % 8
            let k = bounds.chunk * Int(SX_CHUNK_K) + twin * 4 + i / 8 % 2 * 2 + index % 2
            if index / 2 >= bounds.columns || k >= tensor.layout.k { bits |= 1 << UInt64(i) }
            i += 1
        }
        return bits
    }
}
