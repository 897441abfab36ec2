import CKernelABI

/// Where everything is in one packed tensor. FORMAT.md describes the same in words.
package struct PackedLayout {
    package let type: WeightType
    package let sparse: Bool
    package let coded: Bool       // BF16 with four bits for each exponent
    package let n, k, matrices: Int
    package let panels: Int       // per matrix
    package let kblocks: Int      // tiles per panel
    package let chunks: Int       // offsets per panel
    package let densePanel: Int   // bytes of values of a panel in the dense form
    package let valueBytes: Int   // without padding
    package let bitmapOffset, sideOffset, offsetsOffset: Int
    package let sideBytes: Int    // of all panels
    package let totalBytes: Int

    /// sparseBytes: of the values in the sparse form and in coded ones; ignored for the dense one.
    package init(type: WeightType, sparse: Bool, coded: Bool = false, n: Int, k: Int, matrices: Int,
                 sparseBytes: Int) throws(Status) {
        guard n >= 1, k >= 1, matrices >= 1, k % type.blockElements == 0 else { throw .shape }
        guard !coded || type.hasCodedForms else { throw .type }
        self.type = type
        self.sparse = sparse
        self.coded = coded
        self.n = n
        self.k = k
        self.matrices = matrices
        panels = try Checked.roundUp(n, to: Int(SX_PANEL)) / Int(SX_PANEL)
        kblocks = try Checked.roundUp(k, to: type.kPerBlock) / type.kPerBlock
        chunks = try Checked.roundUp(k, to: Int(SX_CHUNK_K)) / Int(SX_CHUNK_K)
        let allPanels = try Checked.product(panels, matrices)
        let tiles = try Checked.product(allPanels, kblocks)
        densePanel = try type.densePanelBytes(kblocks)
        valueBytes = sparse || coded ? sparseBytes : try Checked.product(allPanels, densePanel)
        // Offsets keep 48 bits.
        guard valueBytes < 1 << 48 else { throw .range }
        bitmapOffset = try Checked.roundUp(try Checked.sum(valueBytes, Int(SX_VALUE_PAD)), to: 64)
        sideOffset = try Checked.sum(bitmapOffset, sparse ? try Checked.product(tiles, type.maskBytes) : 0)
        let records = try Checked.product(allPanels, chunks)
        sideBytes = coded ? try Checked.product(records, Int(SX_CODED_RECORD))
            : try Checked.product(tiles, type.sideBytes)
        offsetsOffset = try Checked.roundUp(try Checked.sum(sideOffset, sideBytes), to: 8)
        let entries = sparse || coded ? try Checked.sum(records, 1) : 0
        totalBytes = try Checked.sum(offsetsOffset, try Checked.product(entries, 8))
    }

    /// In the coded dense form: 12 bits for each weight.
    static let codedTileBytes = 768

    /// Whether values are found by the offsets: their chunks are not all of one length.
    package var hasOffsets: Bool { sparse || coded }
    package var hasSide: Bool { coded || type.isQuantized }
    /// The form, as hosts and files name it.
    package var form: Int32 { PackedLayout.form(sparse: sparse, coded: coded) }

    /// Side bytes before a panel, which counts through all matrices.
    package func sideBytes(before panel: Int) -> Int {
        coded ? panel * chunks * Int(SX_CODED_RECORD) : panel * kblocks * type.sideBytes
    }

    package static func form(sparse: Bool, coded: Bool) -> Int32 { (sparse ? 2 : 1) + (coded ? 3 : 0) }
}
