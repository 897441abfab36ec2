import CPlatform

/// One of the host's threads inside a product, with the work area that all of them share.
package struct Worker {
    package let index: Int
    package let threads: Int
    package let work: UnsafeMutableRawPointer?
    /// Of the work area, in bytes.
    package let workSize: Int
    package let barrier: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?
    package let barrierData: UnsafeMutableRawPointer?
    /// The floating-point mode that the host's thread came with.
    private var hostMode: UInt32 = 0

    package init(index: Int, threads: Int, work: UnsafeMutableRawPointer?, workSize: Int = 0,
                 barrier: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?,
                 barrierData: UnsafeMutableRawPointer?) {
        self.index = index
        self.threads = threads
        self.work = work
        self.workSize = workSize
        self.barrier = barrier
        self.barrierData = barrierData
    }

    /// Work area, activations and results of a product: present, aligned, large enough, and apart from each other.
    package func requireMemory(_ workBytes: Int, x: UnsafeRawPointer, _ xBytes: Int, y: UnsafeRawPointer,
                               _ yBytes: Int) throws(Status) {
        guard UInt(bitPattern: x) % 4 == 0, UInt(bitPattern: y) % 4 == 0 else { throw .alignment }
        guard let work else { throw .null }
        guard workSize >= workBytes else { throw .workSize }
        try requireApart(x, xBytes, y, yBytes)
        try requireApart(work, workBytes, x, xBytes)
        try requireApart(work, workBytes, y, yBytes)
    }

    /// Of the work area, from its first cache line on.
    var area: UnsafeMutableRawPointer { UnsafeMutableRawPointer(bitPattern: (UInt(bitPattern: work) + 63) & ~63)! }

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
