import CKernelABI

// Proof that a packed tensor is what Packer could have written, before any kernel reads it. Nothing that is read here
// leaves the mapping, whatever the mapping holds; and where this finds nothing, neither does a kernel:
//
// - a kernel loads 64 bytes of values at most, and starts a load at a chunk's first code plus the codes that the bitmap
//   says went before. With every chunk as long as its bitmap demands and the chunks one behind the other, that is at
//   most at the end of the values, and 64 bytes of padding follow.
// - of the coded forms Validate+Coded.swift says it.
// - bitmap and side stream are read by tile number, offsets by chunk number: the sizes, computed again from type and
//   dimensions, have room for those.
//
// What a code or a scale of a real weight is, nothing says: any bits are a weight.
// So a flipped bit in there is not found.

extension PackedTensor {
    /// Every copy. Throws .damaged.
    package func verifyCopies() throws(Status) {
        for i in 0..<copies { try copy(i).verify() }
    }

    /// Throws .damaged.
    package func verify() throws(Status) {
        try verifySizes()
        let allPanels = layout.panels * layout.matrices
        try requireZeros(from: layout.valueBytes, to: layout.bitmapOffset)
        try requireZeros(from: layout.sideOffset + layout.sideBytes, to: layout.offsetsOffset)
        var codes = SparseCodes(self), coded = CodedChunks(self)
        var panel = 0
        while panel < allPanels {
            let columns = min(Int(SX_PANEL), layout.n - panel % layout.panels * Int(SX_PANEL))
            var chunk = 0
            while chunk < layout.chunks {
                let bounds = ChunkBounds(layout, panel: panel, columns: columns, chunk: chunk)
                if layout.coded {
                    try coded.verifyNext(bounds)
                } else if layout.sparse {
                    try codes.verifyNext(bounds)
                } else {
                    try verifyDensePadding(bounds)
                }
                if layout.type.isQuantized { try verifySide(bounds) }
                chunk += 1
            }
            panel += 1
        }
        if layout.hasOffsets {
            let end = layout.coded ? coded.end : codes.end, kept = layout.coded ? coded.kept : codes.kept
            // Behind the last chunk stands the total, and nothing above it.
            guard end == layout.valueBytes, offsets[allPanels * layout.chunks] == UInt64(end),
                  !layout.sparse || kept == layout.n * layout.k * layout.matrices - background else { throw .damaged }
        }
    }

    /// Everything that follows from type and dimensions, computed again.
    private func verifySizes() throws(Status) {
        let stored = layout
        let fresh: PackedLayout
        do throws(Status) {
            fresh = try PackedLayout(type: WeightType(stored.type.number), sparse: stored.sparse, coded: stored.coded,
                                     n: stored.n, k: stored.k, matrices: stored.matrices,
                                     sparseBytes: stored.valueBytes)
        } catch { throw .damaged }
        guard stored.valueBytes >= 0, fresh.panels == stored.panels, fresh.kblocks == stored.kblocks,
              fresh.chunks == stored.chunks, fresh.densePanel == stored.densePanel,
              fresh.valueBytes == stored.valueBytes, fresh.bitmapOffset == stored.bitmapOffset,
              fresh.sideOffset == stored.sideOffset, fresh.offsetsOffset == stored.offsetsOffset,
              fresh.sideBytes == stored.sideBytes, fresh.totalBytes == stored.totalBytes,
              fresh.type.blockBytes == stored.type.blockBytes,
              fresh.type.blockElements == stored.type.blockElements,
              areSame(fresh.type.quant, stored.type.quant) else { throw .damaged }
    }

    private func areSame(_ a: sx_quant, _ b: sx_quant) -> Bool {
        // Not a chain of ==, which the compiler turns into a call of memcmp: a new thing to ask of libc.
        let file = (a.type ^ b.type) | (a.file_block_k ^ b.file_block_k) | (a.file_block_bytes ^ b.file_block_bytes)
        let codes = (a.low_bits ^ b.low_bits) | (a.high_bits ^ b.high_bits) | (a.part_k ^ b.part_k)
            | (a.offset ^ b.offset)
        let rest = (a.background ^ b.background) | (a.code_levels ^ b.code_levels) | (a.side ^ b.side)
            | (a.side_bytes ^ b.side_bytes)
        return file | codes | rest | (a.minimum ^ b.minimum) | (a.half_scale ^ b.half_scale) == 0
    }

    private func requireZeros(from: Int, to: Int) throws(Status) {
        guard isZero(UnsafeRawPointer(base + from), to - from) else { throw .damaged }
    }

    /// Where the file has no weight, the dense form has the background;
    /// planes that a short chunk does not need are zero.
    private func verifyDensePadding(_ bounds: ChunkBounds) throws(Status) {
        if bounds.whole { return }
        let q = layout.type.quant
        let panel = UnsafeRawPointer(base + bounds.panel * layout.densePanel)
        if !layout.type.isQuantized {
            let rows = (panel + bounds.chunk * 8 * Int(SX_TILE_BYTES)).assumingMemoryBound(to: UInt16.self)
            var i = 0
            while i < bounds.tiles * 512 {
                let k = bounds.chunk * Int(SX_CHUNK_K) + i / 32 * 2 + i % 2
                if (i % 32 / 2 >= bounds.columns || k >= layout.k) && rows[i] != 0 { throw .damaged }
                i += 1
            }
            return
        }
        let start = panel + bounds.chunk * 512 * Int(q.low_bits + q.high_bits)
        let code = UInt8(truncatingIfNeeded: max(q.background, 0))
        let low = code & UInt8(truncatingIfNeeded: (1 << q.low_bits) - 1)
        guard planesHoldBackground(bounds, start, q.low_bits, low) else { throw .damaged }
        let high = code >> UInt8(truncatingIfNeeded: q.low_bits & 7)
        let highPlanes = start + Int(sx_plane_bytes(q.low_bits, Int64(bounds.blocks)))
        guard q.high_bits == 0
            || planesHoldBackground(bounds, highPlanes, q.high_bits, high) else { throw .damaged }
    }

    private func planesHoldBackground(_ bounds: ChunkBounds, _ start: UnsafeRawPointer, _ bits: Int32,
                                      _ background: UInt8) -> Bool {
        let planes = 8 / Int(bits), field = UInt8(truncatingIfNeeded: (1 << Int(bits)) - 1)
        let bytes = start.assumingMemoryBound(to: UInt8.self)
        var row = 0
        while row * planes < bounds.blocks {
            // Of each byte: which bits are known, in a column of the file and in a padded one, and what they are.
            var known: UInt8 = 0, knownPadding: UInt8 = 0, value: UInt8 = 0
            var plane = 0
            while plane < planes {
                let block = row * planes + plane, shift = UInt8(truncatingIfNeeded: plane * Int(bits))
                if block >= bounds.fileBlocks { known |= field << shift }
                if block < bounds.blocks { value |= background << shift }
                knownPadding |= field << shift
                plane += 1
            }
            var i = 0
            while i < 512 {
                let mask = i % 64 / 4 < bounds.columns ? known : knownPadding
                if (bytes[row * 512 + i] ^ value) & mask != 0 { return false }
                i += 1
            }
            row += 1
        }
        return true
    }
}

@inline(__always)
func isZero(_ from: UnsafeRawPointer, _ count: Int) -> Bool {
    var i = 0, any: UInt8 = 0
    while i < count {
        any |= from.load(fromByteOffset: i, as: UInt8.self)
        i += 1
    }
    return any == 0
}

/// A chunk of a panel, and how much of it is padding.
struct ChunkBounds {
    let panel, chunk: Int  // panel counts through all matrices
    let columns: Int       // of the panel, in the file
    let tiles: Int         // of the chunk
    let blocks: Int        // of quantized types: of 32 k, as packed (even) and in the file
    let fileBlocks: Int
    let whole: Bool        // no padding

    init(_ layout: PackedLayout, panel: Int, columns: Int, chunk: Int) {
        self.panel = panel
        self.chunk = chunk
        self.columns = columns
        let perChunk = Int(SX_CHUNK_K) / layout.type.kPerBlock
        tiles = min(perChunk, layout.kblocks - chunk * perChunk)
        blocks = tiles * 2
        let left = layout.k - chunk * Int(SX_CHUNK_K)
        fileBlocks = min(8, left / 32)
        whole = columns == Int(SX_PANEL) && left >= Int(SX_CHUNK_K)
    }
}

/// Goes through the chunks of a sparse tensor in their order.
private struct SparseCodes {
    let tensor: PackedTensor
    var end = 0   // of the values up to here, in bytes
    var kept = 0  // codes
    private var index = 0

    init(_ tensor: PackedTensor) { self.tensor = tensor }

    mutating func verifyNext(_ bounds: ChunkBounds) throws(Status) {
        let layout = tensor.layout, type = layout.type
        let tile = bounds.panel * layout.kblocks + bounds.chunk * (Int(SX_CHUNK_K) / type.kPerBlock)
        let bitmap = UnsafeRawPointer(tensor.bitmap + tile * type.maskBytes).assumingMemoryBound(to: UInt64.self)
        guard hasZeroPadding(bounds, bitmap) else { throw .damaged }
        let entry = tensor.offsets[index]
        guard Int(sx_offset_bytes(entry)) == end else { throw .damaged }
        index += 1
        if !type.isQuantized {
            let count = countBits(bitmap, bounds.tiles * 8)
            guard sx_offset_low(entry) == 0 else { throw .damaged }
            end += 2 * count
            kept += count
            return
        }
        var counts = SIMD8<Int>(repeating: 0), block = 0
        while block < bounds.blocks {
            counts[block] = countBits(bitmap + block * 8, 8)
            block += 1
        }
        kept += counts.wrappedSum()
        let low = findLongestPlane(type.quant.low_bits, counts), high = findLongestPlane(type.quant.high_bits, counts)
        guard Int(sx_offset_low(entry)) == low, end + low + high <= layout.valueBytes else { throw .damaged }
        let values = UnsafeRawPointer(tensor.base + end).assumingMemoryBound(to: UInt8.self)
        guard hasZeroSlack(type.quant.low_bits, counts, values, low),
              hasZeroSlack(type.quant.high_bits, counts, values + low, high) else {
            throw .damaged
        }
        end += low + high
    }

    /// Where the file has no weight, nothing is kept.
    private func hasZeroPadding(_ bounds: ChunkBounds, _ bitmap: UnsafePointer<UInt64>) -> Bool {
        if bounds.whole { return true }
        let layout = tensor.layout, columns = UInt64(bounds.columns)
        if layout.type.isQuantized {
            let none: UInt64 = bounds.columns == 16 ? 0 : ~0 << (columns * 4)
            var i = 0
            while i < bounds.tiles * 16 {
                if bitmap[i] & (i / 8 < bounds.fileBlocks ? none : ~0) != 0 { return false }
                i += 1
            }
            return true
        }
        let rows = UnsafeRawPointer(bitmap).assumingMemoryBound(to: UInt32.self)
        let none: UInt32 = bounds.columns == 16 ? 0 : ~0 << UInt32(bounds.columns * 2)
        var row = 0
        while row < bounds.tiles * 16 {
            let left = layout.k - bounds.chunk * Int(SX_CHUNK_K) - row * 2
            let cut: UInt32 = left >= 2 ? none : left == 1 ? none | 0xaaaa_aaaa : ~0
            if rows[row] & cut != 0 { return false }
            row += 1
        }
        return true
    }

    /// Codes of a plane, 0... of a chunk's low or high bits.
    private func countCodes(inPlane plane: Int, of planes: Int, _ counts: SIMD8<Int>) -> Int {
        var sum = 0, block = plane
        while block < 8 {
            sum += counts[block]
            block += planes
        }
        return sum
    }

    private func findLongestPlane(_ bits: Int32, _ counts: SIMD8<Int>) -> Int {
        if bits == 0 { return 0 }
        let planes = 8 / Int(bits)
        var most = 0, i = 0
        while i < planes {
            most = max(most, countCodes(inPlane: i, of: planes, counts))
            i += 1
        }
        return most
    }

    /// Planes that are shorter than the longest go on with zeros.
    private func hasZeroSlack(_ bits: Int32, _ counts: SIMD8<Int>, _ bytes: UnsafePointer<UInt8>,
                              _ length: Int) -> Bool {
        if bits == 0 { return true }
        let planes = 8 / Int(bits), field = UInt8(truncatingIfNeeded: (1 << Int(bits)) - 1)
        var i = 0, any: UInt8 = 0
        while i < planes {
            let mask = field << UInt8(truncatingIfNeeded: i * Int(bits))
            var at = countCodes(inPlane: i, of: planes, counts)
            while at < length {
                any |= bytes[at] & mask
                at += 1
            }
            i += 1
        }
        return any == 0
    }
}
