import CKernelABI
import CPlatform

/// A packed key-value cache: one layer, one stream. Lives in memory of its own; the C handle is its address. All that
/// it can ever need is mapped when it is made: rows kept here by blocks of whole pages, so that those of a block that
/// is packed go back to the Linux kernel.
package struct KVCache: HostObject {
    package static let sign: UInt64 = 0x7370_6172_616d_786b
    private static let page = 4096

    package private(set) var sign: UInt64
    package let options: KVOptions
    package let attached: Bool
    package let isa: ISA
    /// What kernels see of it: at the end of the memory of this object.
    package let cache: UnsafeMutablePointer<sx_kv_cache>
    let numbers: UnsafeMutablePointer<Float>      // SX_KV_DIM: working memory of what changes the cache
    let meanSquares: UnsafeMutablePointer<Float>  // of queries, [head][k_dim]
    let weights: UnsafeMutablePointer<Float>      // their roots
    package var observed: UInt64 = 0
    private let rowBytes: (k: Int, v: Int)        // mapped for rows
    private let packedBytes: Int                  // mapped for packed blocks

    /// Rows of the host's: where cell 0 is, and bytes from cell to cell.
    package struct Rows {
        package let k, v: UnsafeMutableRawPointer
        package let kStride, vStride: Int

        package init(k: UnsafeMutableRawPointer, kStride: Int, v: UnsafeMutableRawPointer, vStride: Int) {
            (self.k, self.v, self.kStride, self.vStride) = (k, v, kStride, vStride)
        }
    }

    package static func create(_ options: KVOptions, rows: Rows?, isa: ISA) throws(Status) -> Handle {
        let blocks = options.blocks
        let layout = try KVLayout(options)
        let kBlock = try rowBlock(options, options.k), vBlock = try rowBlock(options, options.v)
        let rowBytes = rows == nil ? (k: try Checked.product(kBlock, blocks), v: try Checked.product(vBlock, blocks))
            : (k: 0, v: 0)
        let packedBytes = try Checked.roundUp(try Checked.sum(try Checked.product(layout.blockBytes, blocks),
                                                              Int(SX_KV_VALUE_PAD)), to: page)
        // The object, what kernels see, working memory, then the lists.
        let channels = options.heads * options.k.dim
        var at = (MemoryLayout<KVCache>.stride + 63) / 64 * 64
        let cacheAt = at
        at += (MemoryLayout<sx_kv_cache>.stride + 63) / 64 * 64
        let numbersAt = at
        at += Int(SX_KV_DIM) * 4
        let squaresAt = at
        at += 2 * channels * 4
        let presentAt = at
        at = try Checked.sum(at, try Checked.product(blocks, 9))
        guard let memory = sx_allocate(at) else { throw .noMemory }
        var maps: (k: UnsafeMutableRawPointer?, v: UnsafeMutableRawPointer?) = (rows?.k, rows?.v)
        var packed: UnsafeMutableRawPointer? = nil
        if rows == nil {
            maps.k = sx_map(rowBytes.k)
            if maps.k != nil { maps.v = sx_map(rowBytes.v) }
        }
        if maps.k != nil && maps.v != nil { packed = sx_map(packedBytes) }
        guard let k = maps.k, let v = maps.v, let packed else {
            if rows == nil {
                if let k = maps.k { sx_unmap(k, rowBytes.k) }
                if let v = maps.v { sx_unmap(v, rowBytes.v) }
            }
            sx_free(memory)
            throw .noMemory
        }
        sx_huge_pages(packed, packedBytes)
        let cache = (memory + cacheAt).bindMemory(to: sx_kv_cache.self, capacity: 1)
        let cells = Int(SX_KV_CELLS)
        let kStride = rows?.kStride ?? options.k.headBytes * options.heads
        let vStride = rows?.vStride ?? options.v.headBytes * options.heads
        cache.pointee = sx_kv_cache(
            k: layout.side(options, options.k, k, cellStride: kStride, block: rows == nil ? kBlock : kStride * cells,
                           values: false),
            v: layout.side(options, options.v, v, cellStride: vStride, block: rows == nil ? vBlock : vStride * cells,
                           values: true),
            packed: packed.assumingMemoryBound(to: UInt8.self),
            present: (memory + presentAt).assumingMemoryBound(to: UInt64.self),
            state: (memory + presentAt + 8 * blocks).assumingMemoryBound(to: UInt8.self),
            head_bytes: Int64(layout.headBytes), block_bytes: Int64(layout.blockBytes), blocks: Int64(blocks),
            heads: Int32(options.heads), values: options.values)
        let squares = (memory + squaresAt).assumingMemoryBound(to: Float.self)
        let handle = memory.bindMemory(to: KVCache.self, capacity: 1)
        handle.initialize(to: KVCache(
            sign: sign, options: options, attached: rows != nil, isa: isa, cache: cache,
            numbers: (memory + numbersAt).assumingMemoryBound(to: Float.self), meanSquares: squares,
            weights: squares + channels, rowBytes: rowBytes, packedBytes: packedBytes))
        return handle
    }

    /// Bytes of a block's rows: whole pages.
    private static func rowBlock(_ options: KVOptions, _ side: KVOptions.Side) throws(Status) -> Int {
        try Checked.roundUp(try Checked.product(Int(SX_KV_CELLS) * options.heads, side.headBytes), to: page)
    }

    package static func destroy(_ handle: Handle) {
        let kv = handle.pointee, cache = kv.cache.pointee
        sx_unmap(cache.packed, kv.packedBytes)
        if !kv.attached {
            sx_unmap(cache.k.rows, kv.rowBytes.k)
            sx_unmap(cache.v.rows, kv.rowBytes.v)
        }
        handle.pointee.sign = 0
        sx_free(handle)
    }

    /// From the first byte to the last, if the rows are the host's.
    var hostRows: (k: (start: UnsafeRawPointer, bytes: Int), v: (start: UnsafeRawPointer, bytes: Int))? {
        if !attached { return nil }
        let c = cache.pointee, heads = options.heads, strides = options.cells - 1
        return (k: (UnsafeRawPointer(c.k.rows), strides * Int(c.k.cell_stride) + heads * options.k.headBytes),
                v: (UnsafeRawPointer(c.v.rows), strides * Int(c.v.cell_stride) + heads * options.v.headBytes))
    }

    // What kernels see, in pieces.

    package var kSide: UnsafePointer<sx_kv_side> { UnsafeRawPointer(cache).assumingMemoryBound(to: sx_kv_side.self) }
    package var vSide: UnsafePointer<sx_kv_side> { kSide + 1 }
    package func isPacked(_ block: Int) -> Bool { cache.pointee.state[block] == UInt8(SX_KV_PACKED) }
    package func present(_ block: Int) -> UInt64 { cache.pointee.present[block] }
    package func isPresent(_ cell: Int) -> Bool { present(cell / 64) >> UInt64(cell % 64) & 1 == 1 }

    /// Bits of the cells of a block that lie in a range of cells.
    package static func bits(_ block: Int, _ first: Int, _ end: Int) -> UInt64 {
        let from = max(0, first - block * 64), to = min(64, end - block * 64)
        if from >= to { return 0 }
        return (to == 64 ? ~0 : (1 << UInt64(to)) - 1) & ~((1 << UInt64(from)) - 1)
    }

    /// The pages of a block's rows that are kept here.
    func giveBackRows(_ block: Int) {
        if attached { return }
        let k = cache.pointee.k, v = cache.pointee.v
        sx_zero_pages(k.rows + block * Int(k.block_stride), Int(k.block_stride))
        sx_zero_pages(v.rows + block * Int(v.block_stride), Int(v.block_stride))
    }
}

/// Where things are in a packed block. FORMAT.md has it in words.
package struct KVLayout {
    package let headBytes, blockBytes: Int
    private let kStart, vStart: Int

    package init(_ options: KVOptions) throws(Status) {
        kStart = 0
        vStart = KVLayout.sideBytes(options, options.k)
        headBytes = vStart + KVLayout.sideBytes(options, options.v)
        blockBytes = try Checked.product(headBytes, options.heads)
    }

    /// Scales, bits, values: each a multiple of 64 bytes.
    private static func parts(_ options: KVOptions, _ side: KVOptions.Side) -> (scales: Int, bits: Int, codes: Int) {
        let cells = Int(SX_KV_CELLS), int8 = options.values == Int32(SX_KV_INT8)
        return (int8 ? Int(SX_KV_SCALE_BYTES) : 0, side.keep < side.dim ? cells * side.dim / 8 : 0,
                cells * side.keep * (int8 ? 1 : 2))
    }

    private static func sideBytes(_ options: KVOptions, _ side: KVOptions.Side) -> Int {
        let parts = parts(options, side)
        return parts.scales + parts.bits + parts.codes
    }

    func side(_ options: KVOptions, _ side: KVOptions.Side, _ rows: UnsafeMutableRawPointer, cellStride: Int,
              block: Int, values: Bool) -> sx_kv_side {
        let start = values ? vStart : kStart, parts = KVLayout.parts(options, side)
        return sx_kv_side(
            rows: rows.assumingMemoryBound(to: UInt8.self), block_stride: Int64(block), cell_stride: Int64(cellStride),
            head_stride: Int64(side.headBytes), type: side.type, dim: Int32(side.dim), keep: Int32(side.keep),
            values: options.values, is_values: values ? 1 : 0, reserved: 0,
            scales: parts.scales > 0 ? Int64(start) : -1,
            bitmap: parts.bits > 0 ? Int64(start + parts.scales) : -1,
            codes: Int64(start + parts.scales + parts.bits))
    }
}
