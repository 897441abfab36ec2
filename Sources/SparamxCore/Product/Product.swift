import CKernelABI
import CPlatform

/// Where a product's weights are.
package enum Weights {
    case packed(PackedTensor, matrix: Int)
    case raw(PackedLayout, Rows)  // one matrix in the file's layout; the layout is that of the dense form

    var layout: PackedLayout {
        switch self {
        case .packed(let tensor, _): return tensor.layout
        case .raw(let layout, _): return layout
        }
    }

    var distributed: Bool {
        if case .packed(let tensor, _) = self { return tensor.distributed }
        return false
    }
}

/// Where the threads of a product are, as they came to it. A weight that is distributed over memory nodes has its first
/// panels on the first node: so the threads near that one take the first shares, whatever their numbers are.
private struct PlacesOfThreads {
    private let worker: Worker
    private let places: UnsafeMutablePointer<UInt8>?

    /// Before the barrier: leaves this thread's place where the others find it.
    init(_ plan: Plan, _ products: Int, _ worker: Worker, distributed: Bool) {
        self.worker = worker
        places = distributed && worker.threads > 1
            ? (worker.area + plan.scratchOffset * (products - 1) + plan.placesOffset)
                .assumingMemoryBound(to: UInt8.self) : nil
        places?[worker.index] = UInt8(truncatingIfNeeded: sx_numa_here())
    }

    /// Behind the barrier: which share is this thread's. All threads count alike.
    var share: Int {
        guard let places else { return worker.index }
        let mine = places[worker.index]
        var before = 0
        for thread in 0..<worker.threads
        where places[thread] < mine || places[thread] == mine && thread < worker.index { before += 1 }
        return before
    }
}

package enum Product {
    /// This thread's share of all products, with one barrier between what is packed and what is multiplied. The plan
    /// is that of each of them; worker.area has room for all.
    package static func run(_ plan: Plan, _ batch: Batch, worker: Worker) {
        let work = worker.area, packs = plan.activationFunction != nil
        let places = PlacesOfThreads(plan, batch.count, worker, distributed: batch.first.weights.distributed && packs)
        if packs { packActivations(plan, worker, batch) }
        let scratch = work + plan.scratchOffset * batch.count + worker.index * plan.scratchBytes
        Schedule(plan, batch, threads: plan.threads).each(places.share) { share in
            let one = batch[share.product], packed = packs ? work + plan.scratchOffset * share.product : nil
            var args = makeKernelArgs(plan, one.weights, makeTokens(plan, one.x, one.ldx, packed: packed),
                                      sx_results(data: one.y, ld: Int64(one.ldy)), scratch)
            args.x.first = Int64(share.tokens.lowerBound)
            args.x.m = Int64(share.tokens.upperBound)
            multiplyPanels(plan, one.weights, &args, share.panels.lowerBound, share.panels.upperBound)
        }
    }

    /// For the kernel of this plan; what is missing are the panels.
    static func makeKernelArgs(_ plan: Plan, _ weights: Weights, _ x: sx_tokens, _ y: sx_results,
                           _ scratch: UnsafeMutableRawPointer) -> sx_kernel_args {
        let matrix: sx_weights
        switch weights {
        case .packed(let tensor, let index): matrix = tensor.weights(matrix: index)
        case .raw(let layout, _): matrix = makeRawWeights(plan, layout, scratch)
        }
        return sx_kernel_args(w: matrix, x: x, y: y, panel_begin: 0, panel_end: 0,
                              scratch: scratch.assumingMemoryBound(to: UInt8.self))
    }

    /// The tokens of this plan, where the host has them (nil: the kernel does not look there) and where they are packed
    /// (nil: they are not).
    static func makeTokens(_ plan: Plan, _ x: UnsafePointer<Float>?, _ ld: Int,
                           packed: UnsafeMutableRawPointer?) -> sx_tokens {
        let scales = packed.map { UnsafeRawPointer($0 + plan.scaleOffset).assumingMemoryBound(to: Float.self) }
        let sums = packed.map { UnsafeRawPointer($0 + plan.sumOffset).assumingMemoryBound(to: Int32.self) }
        return sx_tokens(m: Int64(plan.m), data: x, ld: Int64(ld),
                         packed: packed.map { UnsafeRawPointer($0).assumingMemoryBound(to: UInt8.self) },
                         scales: scales, sums: sums, rows: Int64(plan.rows), kblocks: Int64(plan.kblocks), first: 0)
    }

    /// Multiplies panels begin..<end; args.y.data is where column 0 of the matrix would be.
    static func multiplyPanels(_ plan: Plan, _ weights: Weights, _ args: inout sx_kernel_args,
                               _ begin: Int, _ end: Int) {
        if begin >= end { return }
        switch weights {
        case .packed:
            args.panel_begin = Int64(begin)
            args.panel_end = Int64(end)
            plan.kernel.function(&args)
        case .raw(let layout, let rows): runRaw(plan, layout, rows, &args, begin, end)
        }
    }

    /// This thread's share of packing the activations of all products, and the barrier behind it.
    private static func packActivations(_ plan: Plan, _ worker: Worker, _ batch: Batch) {
        guard let pack = plan.activationFunction else { return }
        let items = plan.slabs * plan.rows, all = items * batch.count
        let from = share(worker.index, of: worker.threads, all), to = share(worker.index + 1, of: worker.threads, all)
        var product = from / items
        while product * items < to {
            let one = batch[product], before = product * items
            var activation = makeActivationArgs(plan, one.x, one.ldx, worker.area + plan.scratchOffset * product)
            activation.item_begin = Int64(max(from - before, 0))
            activation.item_end = Int64(min(to - before, items))
            pack(&activation)
            product += 1
        }
        worker.wait()
    }

    private static func share(_ index: Int, of threads: Int, _ all: Int) -> Int {
        all / threads * index + all % threads * index / threads
    }

    /// What packs the activations of this plan at `packed`; the items are missing.
    static func makeActivationArgs(_ plan: Plan, _ x: UnsafePointer<Float>, _ ld: Int,
                                   _ packed: UnsafeMutableRawPointer)
        -> sx_activation_args {
        let q = plan.type.quant
        return sx_activation_args(
            x: x, ldx: Int64(ld), m: Int64(plan.m), k: Int64(plan.k), kblocks: Int64(plan.kblocks),
            rows: Int64(plan.rows), a: packed.assumingMemoryBound(to: UInt8.self),
            a_scale: (packed + plan.scaleOffset).assumingMemoryBound(to: Float.self),
            a_sum: (packed + plan.sumOffset).assumingMemoryBound(to: Int32.self), part_k: q.part_k, offset: q.offset,
            minimum: q.minimum, half_scale: q.half_scale, item_begin: 0, item_end: 0)
    }

    /// Two panels of a matrix that is not packed, in this thread's scratch.
    private static func makeRawWeights(_ plan: Plan, _ layout: PackedLayout,
                                       _ scratch: UnsafeMutableRawPointer) -> sx_weights {
        let bytes = UnsafePointer(scratch.assumingMemoryBound(to: UInt8.self))
        return sx_weights(values: bytes + plan.tilesOffset, bitmap: nil,
                          side: layout.type.isQuantized ? bytes + plan.sideOffset : nil, offsets: nil, n: 0,
                          k: Int64(layout.k), kblocks: Int64(layout.kblocks), chunks: Int64(layout.chunks),
                          type: layout.type.number, sparse: 0, coded: 0)
    }

    /// Packs two panels into this thread's scratch, multiplies them, and goes on to the next two.
    private static func runRaw(_ plan: Plan, _ layout: PackedLayout, _ rows: Rows, _ args: inout sx_kernel_args,
                               _ begin: Int, _ end: Int) {
        let codec = Codec(plan.kernel.isa).functions(layout.type), y = args.y.data
        let scratch = args.scratch + plan.codecOffset
        var first = begin
        while first < end {
            let count = min(2, end - first)
            for i in 0..<count {
                let row = (first + i) * Int(SX_PANEL)
                var panel = sx_codec_args(
                    type: layout.type.number, rows: Int32(min(Int(SX_PANEL), layout.n - row)), k: args.w.k,
                    kblocks: args.w.kblocks, file: rows.base + row * rows.rowStride, row_stride: Int64(rows.rowStride),
                    values: UnsafeMutablePointer(mutating: args.w.values) + i * layout.densePanel, bitmap: nil,
                    side: args.w.side.map {
                        UnsafeMutablePointer(mutating: $0) + i * layout.kblocks * layout.type.sideBytes
                    },
                    counts: nil, kept: nil, offsets: nil, changed: nil, scratch: scratch)
                codec.packDense(&panel)
            }
            args.w.n = Int64(min(count * Int(SX_PANEL), layout.n - first * Int(SX_PANEL)))
            args.y.data = y + first * Int(SX_PANEL)
            args.panel_begin = 0
            args.panel_end = Int64(count)
            plan.kernel.function(&args)
            first += 2
        }
    }
}
