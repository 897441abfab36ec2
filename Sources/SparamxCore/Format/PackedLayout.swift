import CKernelABI

/// Where everything is in one packed tensor. FORMAT.md describes the same in words.
package struct PackedLayout {
    package let type: WeightType
    package let sparse: Bool
    package let n, k, matrices: Int
    package let panels: Int       // per matrix
    package let kblocks: Int      // tiles per panel
    package let chunks: Int       // offsets per panel
    package let densePanel: Int   // bytes of values of a panel in the dense form
    package let valueBytes: Int   // without padding
    package let bitmapOffset, sideOffset, offsetsOffset: Int
    package let totalBytes: Int

    /// sparseBytes: of the values in the sparse form; ignored for the dense one.
    package init(type: WeightType, sparse: Bool, n: Int, k: Int, matrices: Int, sparseBytes: Int) throws(Status) {
        guard n >= 1, k >= 1, matrices >= 1, k % type.blockElements == 0 else { throw .shape }
        self.type = type
        self.sparse = sparse
        self.n = n
        self.k = k
        self.matrices = matrices
        panels = try Checked.roundUp(n, to: Int(SX_PANEL)) / Int(SX_PANEL)
        kblocks = try Checked.roundUp(k, to: type.kPerBlock) / type.kPerBlock
        chunks = try Checked.roundUp(k, to: Int(SX_CHUNK_K)) / Int(SX_CHUNK_K)
        let allPanels = try Checked.product(panels, matrices)
        let tiles = try Checked.product(allPanels, kblocks)
        densePanel = try type.densePanelBytes(kblocks)
        valueBytes = sparse ? sparseBytes : try Checked.product(allPanels, densePanel)
        // Offsets keep 48 bits.
        guard valueBytes < 1 << 48 else { throw .range }
        bitmapOffset = try Checked.roundUp(try Checked.sum(valueBytes, Int(SX_VALUE_PAD)), to: 64)
        sideOffset = try Checked.sum(bitmapOffset, sparse ? try Checked.product(tiles, type.maskBytes) : 0)
        offsetsOffset = try Checked.roundUp(try Checked.sum(sideOffset, try Checked.product(tiles, type.sideBytes)),
                                            to: 8)
        let entries = sparse ? try Checked.sum(try Checked.product(allPanels, chunks), 1) : 0
        totalBytes = try Checked.sum(offsetsOffset, try Checked.product(entries, 8))
    }
}
