import CKernelABI
import CPlatform

/// One of the host's threads inside a product.
package struct Worker {
    package let index: Int
    package let threads: Int
    package let work: UnsafeMutableRawPointer?
    package let barrier: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?
    package let barrierData: UnsafeMutableRawPointer?
    /// The floating-point mode that the host's thread came with.
    private var hostMode: UInt32 = 0

    package init(index: Int, threads: Int, work: UnsafeMutableRawPointer?,
                 barrier: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?, barrierData: UnsafeMutableRawPointer?) {
        self.index = index
        self.threads = threads
        self.work = work
        self.barrier = barrier
        self.barrierData = barrierData
    }

    /// Around everything that computes: results must not depend on a mode that one of several threads happens to have.
    package mutating func begin() { hostMode = sx_float_standard() }
    package func end() { sx_float_restore(hostMode) }

    /// The barrier is the host's code and runs in the host's mode.
    func wait() {
        guard threads > 1, let barrier else { return }
        sx_float_restore(hostMode)
        barrier(barrierData)
        _ = sx_float_standard()
    }
}

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
}

package enum Product {
    /// y = x * W^T for one matrix, this thread's share. again: the work area is still in use from the product before.
    package static func run(_ plan: Plan, _ weights: Weights, worker: Worker, x: UnsafePointer<Float>, ldx: Int,
                            y: UnsafeMutablePointer<Float>, ldy: Int, again: Bool) {
        let work = UnsafeMutableRawPointer(bitPattern: (UInt(bitPattern: worker.work) + 63) & ~63)!
        let scratch = work + plan.scratchOffset + worker.index * plan.scratchBytes
        var args = kernelArgs(plan, weights, scratch)
        args.x = x
        args.ldx = Int64(ldx)
        args.y = y
        args.ldy = Int64(ldy)
        packActivations(plan, worker, work, &args, again: again)
        let begin = Schedule.begin(plan, weights, part: worker.index, of: plan.threads)
        let end = Schedule.begin(plan, weights, part: worker.index + 1, of: plan.threads)
        panels(plan, weights, &args, begin, end)
    }

    /// For the kernel of this plan; what is missing are activations, results and panels.
    static func kernelArgs(_ plan: Plan, _ weights: Weights, _ scratch: UnsafeMutableRawPointer) -> sx_kernel_args {
        var args: sx_kernel_args
        switch weights {
        case .packed(let tensor, let matrix): args = tensor.kernelArgs(matrix: matrix)
        case .raw(let layout, _): args = rawArgs(plan, layout, scratch)
        }
        args.m = Int64(plan.m)
        args.a_rows = Int64(plan.rows)
        args.a_kblocks = Int64(plan.kblocks)
        args.scratch = scratch.assumingMemoryBound(to: UInt8.self)
        return args
    }

    /// Multiplies panels begin..<end; args.y is where column 0 of the matrix would be.
    static func panels(_ plan: Plan, _ weights: Weights, _ args: inout sx_kernel_args, _ begin: Int, _ end: Int) {
        if begin >= end { return }
        switch weights {
        case .packed:
            args.panel_begin = Int64(begin)
            args.panel_end = Int64(end)
            plan.kernel.function(&args)
        case .raw(let layout, let rows): runRaw(plan, layout, rows, &args, begin, end)
        }
    }

    private static func packActivations(_ plan: Plan, _ worker: Worker, _ work: UnsafeMutableRawPointer,
                                        _ args: inout sx_kernel_args, again: Bool) {
        guard let pack = plan.activationFunction else { return }
        let items = plan.chunks * plan.rows
        var activation = activationArgs(plan, &args, work)
        activation.item_begin = Int64(items * worker.index / worker.threads)
        activation.item_end = Int64(items * (worker.index + 1) / worker.threads)
        if again { worker.wait() }
        pack(&activation)
        worker.wait()
    }

    /// Tells a kernel that its packed activations are at base, and gives what packs them there; the items are missing.
    static func activationArgs(_ plan: Plan, _ args: inout sx_kernel_args, _ base: UnsafeMutableRawPointer) -> sx_activation_args {
        let a = base.assumingMemoryBound(to: UInt8.self)
        let scale = (base + plan.scaleOffset).assumingMemoryBound(to: Float.self)
        let sum = (base + plan.sumOffset).assumingMemoryBound(to: Int32.self)
        args.a = UnsafePointer(a)
        args.a_scale = UnsafePointer(scale)
        args.a_sum = UnsafePointer(sum)
        return sx_activation_args(x: args.x, ldx: args.ldx, m: args.m, k: args.k, kblocks: args.a_kblocks, rows: args.a_rows,
                                  a: a, a_scale: scale, a_sum: sum, sub: plan.type.quant.sub, offset: plan.type.quant.offset,
                                  half_scale: plan.type.quant.block_k == 32 ? 1 : 0, item_begin: 0, item_end: 0)
    }

    private static func rawArgs(_ plan: Plan, _ layout: PackedLayout, _ scratch: UnsafeMutableRawPointer) -> sx_kernel_args {
        let floats = scratch.assumingMemoryBound(to: Float.self), bytes = scratch.assumingMemoryBound(to: UInt8.self)
        return sx_kernel_args(
            values: UnsafePointer(bytes + plan.tilesOffset), bitmap: nil,
            scales: layout.type.isQuantized ? UnsafePointer(bytes + plan.sideOffset) : nil, offsets: nil, n: 0,
            k: Int64(layout.k), kblocks: Int64(layout.kblocks), chunks: Int64(layout.chunks), a: UnsafePointer(bytes),
            a_scale: nil, a_sum: nil, x: UnsafePointer(floats), ldx: 0, a_rows: 0, a_kblocks: 0, m: 0, y: floats, ldy: 0,
            panel_begin: 0, panel_end: 0, scratch: bytes, type: layout.type.number, sparse: 0)
    }

    /// Packs two panels into this thread's scratch, multiplies them, and goes on to the next two.
    private static func runRaw(_ plan: Plan, _ layout: PackedLayout, _ rows: Rows, _ args: inout sx_kernel_args, _ begin: Int, _ end: Int) {
        let codec = Codec(plan.kernel.isa).functions(layout.type), y = args.y
        let scratch = args.scratch + plan.codecOffset
        var first = begin
        while first < end {
            let count = min(2, end - first)
            for i in 0..<count {
                let row = (first + i) * Int(SX_PANEL)
                var panel = sx_codec_args(
                    type: layout.type.number, rows: Int32(min(Int(SX_PANEL), layout.n - row)), k: args.k,
                    kblocks: args.kblocks, source: rows.base + row * rows.rowStride, row_stride: Int64(rows.rowStride),
                    values: UnsafeMutablePointer(mutating: args.values) + i * layout.densePanel, bitmap: nil,
                    scales: args.scales.map { UnsafeMutablePointer(mutating: $0) + i * layout.kblocks * layout.type.sideBytes },
                    counts: nil, kept: nil, offsets: nil, changed: nil, scratch: scratch)
                codec.encodeDense(&panel)
            }
            args.n = Int64(min(count * Int(SX_PANEL), layout.n - first * Int(SX_PANEL)))
            args.y = y + first * Int(SX_PANEL)
            args.panel_begin = 0
            args.panel_end = Int64(count)
            plan.kernel.function(&args)
            first += 2
        }
    }
}
