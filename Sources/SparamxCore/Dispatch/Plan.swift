import CKernelABI

/// How one product of m tokens is computed: the kernel, and how the host's work area is cut up: packed
/// activations, their scales and sums, then each thread's scratch; all aligned to 64 bytes.
package struct Plan {
    package let kernel: KernelRow
    let type: WeightType
    package let k: Int                   // of the weight
    package let m, rows, kblocks: Int    // tokens, tokens with padding, K-blocks of packed activations
    package let threads: Int
    let scaleOffset, sumOffset, scratchOffset, scratchBytes: Int
    /// Of a thread's scratch: where a weight that is not packed gets its values, two panels at a time, and their side
    /// stream, and what packing them needs.
    let tilesOffset, sideOffset, codecOffset: Int
    /// Where each thread leaves a byte for the others, behind all scratch of one product.
    let placesOffset: Int
    /// What the host has to bring, alignment included.
    package let workBytes: Int

    /// raw: the weight is in the file's layout and is packed as the product goes.
    package init(_ layout: PackedLayout, m: Int, threads: Int, isa: ISA, forced: Int? = nil,
                 raw: Bool = false) throws(Status) {
        guard m >= 1, m <= KernelTable.many, threads >= 1, threads <= 1024 else { throw .range }
        guard let index = forced
            ?? KernelTable.choose(type: layout.type.number, sparse: layout.sparse, coded: layout.coded, m: m,
                                     isa: isa) else {
            throw .type
        }
        kernel = KernelTable.row(index)
        guard kernel.serves.contains(m) else { throw .range }
        type = layout.type
        k = layout.k
        self.m = m
        self.threads = threads
        rows = try kernel.rows(m)
        let blocks = kernel.activation == .plain
            ? 0 : layout.kblocks * layout.type.kPerBlock / kernel.activation.kPerBlock
        kblocks = blocks
        let activationRows = try Checked.product(rows, blocks)
        let activationBytes = try Checked.product(activationRows, kernel.activation.rowBytes)
        let q8 = kernel.activation == .q8
        let scales = q8 ? try Checked.product(activationRows, 8) : 0
        let sums = q8 ? try Checked.product(activationRows, 256 / Int(type.quant.part_k)) : 0
        scaleOffset = try Checked.roundUp(activationBytes, to: 64)
        sumOffset = try Checked.roundUp(try Checked.sum(scaleOffset, scales), to: 64)
        scratchOffset = try Checked.roundUp(try Checked.sum(sumOffset, sums), to: 64)
        tilesOffset = try Checked.roundUp(kernel.scratchBytes(m), to: 64)
        let values = raw ? try Checked.sum(try Checked.product(layout.densePanel, 2), Int(SX_VALUE_PAD)) : 0
        let side = raw ? try Checked.product(layout.kblocks, 2 * type.sideBytes) : 0
        sideOffset = try Checked.sum(tilesOffset, values)
        codecOffset = try Checked.roundUp(try Checked.sum(sideOffset, side), to: 64)
        scratchBytes = try Checked.roundUp(
            try Checked.sum(codecOffset, raw && type.isQuantized ? Int(SX_CODEC_SCRATCH) : 0), to: 64)
        placesOffset = try Checked.sum(scratchOffset, try Checked.product(scratchBytes, threads))
        workBytes = try Checked.sum(placesOffset, threads + 64)
    }

    /// What the host has to bring for several products that pack their activations before one barrier: those lie behind
    /// each other, and behind them lies the threads' scratch.
    package func workBytes(products: Int) throws(Status) -> Int {
        try Checked.sum(workBytes, try Checked.product(products - 1, scratchOffset))
    }

    /// Slabs of packed activations.
    var slabs: Int { (kblocks + Int(SX_SLAB_KBLOCKS) - 1) / Int(SX_SLAB_KBLOCKS) }

    /// Elements of a token in one slab.
    var slabElements: Int { Int(SX_SLAB_KBLOCKS) * kernel.activation.kPerBlock }

    /// Whether activations that are packed for one plan serve the other: for weights of one type.
    func packsAlike(_ other: Plan) -> Bool {
        kernel.activation == other.kernel.activation && rows == other.rows && kblocks == other.kblocks
            && scratchOffset == other.scratchOffset
    }

    var activationFunction: sx_activation_fn? {
        let vector = kernel.isa != .reference
        switch kernel.activation {
        case .plain: return nil
        case .bf16: return vector ? sx_avx512_activation_bf16 : sx_reference_activation_bf16
        case .f32: return vector ? sx_avx512_activation_f32 : sx_reference_activation_f32
        case .q8: return vector ? sx_avx512_activation_q8 : sx_reference_activation_q8
        }
    }
}
