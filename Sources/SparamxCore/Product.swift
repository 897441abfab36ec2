import CKernelABI

/// One of the host's threads inside a product.
package struct Worker {
    package let index: Int
    package let threads: Int
    package let work: UnsafeMutableRawPointer?
    package let barrier: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?
    package let barrierData: UnsafeMutableRawPointer?

    package init(index: Int, threads: Int, work: UnsafeMutableRawPointer?,
                 barrier: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?, barrierData: UnsafeMutableRawPointer?) {
        self.index = index
        self.threads = threads
        self.work = work
        self.barrier = barrier
        self.barrierData = barrierData
    }

    func wait() {
        if threads > 1 { barrier?(barrierData) }
    }
}

package enum Product {
    /// y = x * W^T for one matrix, this thread's share. again: the work area is still in use from the product before.
    package static func run(_ plan: Plan, _ tensor: PackedTensor, matrix: Int, worker: Worker, x: UnsafePointer<Float>, ldx: Int,
                            y: UnsafeMutablePointer<Float>, ldy: Int, again: Bool) {
        let work = UnsafeMutableRawPointer(bitPattern: (UInt(bitPattern: worker.work) + 63) & ~63)!
        var args = tensor.kernelArgs(matrix: matrix)
        args.x = x
        args.ldx = Int64(ldx)
        args.y = y
        args.ldy = Int64(ldy)
        args.m = Int64(plan.m)
        args.a_rows = Int64(plan.rows)
        args.a_kblocks = Int64(plan.kblocks)
        args.scratch = (work + plan.scratchOffset + worker.index * plan.scratchBytes).assumingMemoryBound(to: UInt8.self)
        if let pack = plan.activationFunction {
            let a = work.assumingMemoryBound(to: UInt8.self)
            let scale = (work + plan.scaleOffset).assumingMemoryBound(to: Float.self)
            let sum = (work + plan.sumOffset).assumingMemoryBound(to: Int32.self)
            let items = plan.chunks * plan.rows
            var activation = sx_activation_args(
                x: x, ldx: Int64(ldx), m: Int64(plan.m), k: Int64(tensor.layout.k), kblocks: Int64(plan.kblocks),
                rows: Int64(plan.rows), a: a, a_scale: scale, a_sum: sum,
                item_begin: Int64(items * worker.index / worker.threads),
                item_end: Int64(items * (worker.index + 1) / worker.threads))
            if again { worker.wait() }
            pack(&activation)
            worker.wait()
            args.a = UnsafePointer(a)
            args.a_scale = UnsafePointer(scale)
            args.a_sum = UnsafePointer(sum)
        }
        args.panel_begin = Int64(Schedule.begin(plan, tensor, matrix: matrix, part: worker.index))
        args.panel_end = Int64(Schedule.begin(plan, tensor, matrix: matrix, part: worker.index + 1))
        if args.panel_begin < args.panel_end { plan.kernel.function(&args) }
    }
}
