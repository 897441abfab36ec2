import CKernelABI

/// A weight type the kernels know: its GGUF number and its layout in the file.
package struct WeightType {
    package let number: Int32
    package let quant: sx_quant     // of the quantized types
    package let blockElements: Int  // K is a multiple of this
    package let blockBytes: Int
    package var isQuantized: Bool { quant.type != 0 }
    static func isQuantized(_ number: Int32) -> Bool { sx_quant_of(number).type != 0 }
    /// Whether there is a sparse form: not where it could not be smaller.
    package var hasSparseForm: Bool { !KernelTable.rows(type: number, sparse: true).isEmpty }
    package var hasCodedForms: Bool { !KernelTable.rows(type: number, sparse: false, coded: true).isEmpty }
    /// K covered by a tile row set: 16 rows for 16 columns, 2 or 4 codes of a column in a row.
    package var kPerBlock: Int { isQuantized ? 64 : 32 }
    /// Bytes of bitmap per tile.
    package var maskBytes: Int { isQuantized ? 128 : 64 }
    /// Bytes per tile of what a quantized type has beside its codes.
    package var sideBytes: Int { Int(quant.side_bytes) }

    package init(_ number: Int32) throws(Status) {
        self.number = number
        quant = sx_quant_of(number)
        if quant.type != 0 {
            blockElements = Int(quant.file_block_k)
            blockBytes = Int(quant.file_block_bytes)
        } else {
            guard number == Int32(SX_BF16) || number == Int32(SX_F16) else { throw .type }
            blockElements = 1
            blockBytes = 2
        }
    }

    package func rowBytes(_ k: Int) throws(Status) -> Int {
        if k < 1 || k % blockElements != 0 { throw .shape }
        return try Checked.product(k / blockElements, blockBytes)
    }

    /// Bytes of a dense panel of this many tiles.
    package func densePanelBytes(_ kblocks: Int) throws(Status) -> Int {
        // A tile takes at most 1024 bytes, so if that fits then so does what the type needs.
        let most = try Checked.product(kblocks, Int(SX_TILE_BYTES))
        return isQuantized ? Int(sx_dense_panel_bytes(quant, Int64(kblocks))) : most
    }
}
