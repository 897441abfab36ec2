import CKernelABI

/// What a cache is made of, checked once: every size here is positive and its products fit.
package struct KVOptions: Equatable {
    /// Keys or values: types, sizes of a row, how much of it packing keeps.
    package struct Side: Equatable {
        package let type: Int32
        package let dim, keep: Int
        package let headBytes, elementBytes: Int

        package init(type: Int32, dim: Int32, zeros: Float) throws(Status) {
            guard zeros >= 0, zeros <= 0.95 else { throw .range }
            try self.init(type: type, dim: dim, keep: max(1, Int((1 - Double(zeros)) * Double(dim) + 0.5)))
        }

        init(type: Int32, dim: Int32, keep: Int) throws(Status) {
            guard dim >= 16, dim <= Int32(SX_KV_DIM), dim % 16 == 0 else { throw .shape }
            guard keep >= 1, keep <= Int(dim) else { throw .range }
            self.keep = keep
            self.type = type
            self.dim = Int(dim)
            switch type {
            case 0: (headBytes, elementBytes) = (4 * self.dim, 4)
            case 1, 30: (headBytes, elementBytes) = (2 * self.dim, 2)
            case 8:
                guard dim % 32 == 0 else { throw .shape }
                (headBytes, elementBytes) = (self.dim / 32 * 34, 2)
            default: throw .type
            }
        }
    }

    package let k, v: Side
    package let values: Int32
    package let heads, cells: Int
    package let window, sinks: Int

    package init(k: Side, v: Side, values: Int32, heads: Int32, cells: Int64, window: Int32,
                 sinks: Int32) throws(Status) {
        guard values == Int32(SX_KV_INT8) || values == Int32(SX_KV_KEPT) else { throw .range }
        if values == Int32(SX_KV_KEPT) {
            guard k.elementBytes == 2, v.elementBytes == 2, k.type != 8, v.type != 8 else { throw .type }
        }
        guard heads >= 1, heads <= 1024, cells >= 1, cells <= Int64(Int32.max), window >= -1, sinks >= -1 else {
            throw .range
        }
        (self.k, self.v, self.values) = (k, v, values)
        (self.heads, self.cells) = (Int(heads), Int(cells))
        // Where something is left out, the cells that matter most keep all of it.
        let dense = k.keep < k.dim || v.keep < v.dim ? Int(SX_KV_CELLS) : 0
        self.window = window > 0 ? Int(window) : window == 0 ? dense : 0
        self.sinks = sinks > 0 ? Int(sinks) : sinks == 0 ? dense : 0
    }

    package var blocks: Int { (cells + Int(SX_KV_CELLS) - 1) / Int(SX_KV_CELLS) }

    /// That cells of one can be those of the other.
    package func isLike(_ other: KVOptions) -> Bool {
        k == other.k && v == other.v && values == other.values && heads == other.heads
    }
}
