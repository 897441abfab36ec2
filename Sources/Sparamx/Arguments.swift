import CPlatform
import CSparamx
import SparamxCore

// Everything a host passes goes through here before anything is done with it.

/// Runs the body and turns what it throws into a status.
@inline(__always)
func status(_ body: () throws(Status) -> Void) -> sparamx_status {
    do throws(Status) {
        try body()
        return 0
    } catch {
        return error.rawValue
    }
}

func present<T>(_ pointer: UnsafeMutablePointer<T>?) throws(Status) -> UnsafeMutablePointer<T> {
    guard let pointer else { throw .null }
    guard UInt(bitPattern: pointer) % UInt(MemoryLayout<T>.alignment) == 0 else { throw .alignment }
    return pointer
}

func tensor(_ pointer: UnsafePointer<sparamx_tensor>?) throws(Status) -> Tensor {
    let t = try structure(pointer)
    return try Tensor(type: t.type, ne: t.ne, nb: t.nb, data: t.data, name: t.name)
}

func buffer(_ pointer: OpaquePointer?) throws(Status) -> Buffer.Handle {
    guard let pointer else { throw .null }
    guard UInt(bitPattern: pointer) % 16 == 0 else { throw .alignment }
    let handle = Buffer.Handle(pointer)
    guard handle.pointee.isValid else { throw .state }
    return handle
}

func linear(_ pointer: OpaquePointer?) throws(Status) -> Linear.Handle {
    guard let pointer else { throw .null }
    guard UInt(bitPattern: pointer) % 16 == 0 else { throw .alignment }
    let handle = Linear.Handle(pointer)
    guard handle.pointee.isValid else { throw .state }
    return handle
}

/// The level in use; a wrong SPARAMX_ISA is an error at every door.
func level() throws(Status) -> ISA {
    let capability = Capability.current
    guard capability.status == .ok else { throw capability.status }
    return capability.isa
}

func packOptions(form: Int32, threads: Int32, numa: Int32) throws(Status) -> PackOptions {
    guard let choice = FormChoice(rawValue: form), (0...64).contains(threads), numa == 0 || numa == 1 else {
        throw .range
    }
    if numa == 1 { sx_numa_prepare() }
    return PackOptions(form: choice, threads: threads, interleave: numa == 1)
}

func text(_ string: StaticString) -> UnsafePointer<CChar> {
    UnsafeRawPointer(string.utf8Start).assumingMemoryBound(to: CChar.self)
}

/// One worker of a product: its numbers and its work area.
func worker(_ pointer: UnsafePointer<sparamx_params>?) throws(Status) -> (Worker, workSize: Int) {
    let p = try structure(pointer)
    guard p.nth >= 1, p.nth <= 1024, p.ith >= 0, p.ith < p.nth else { throw .range }
    guard p.nth == 1 || p.barrier != nil else { throw .null }
    guard p.work_size >= 0 else { throw .range }  // Swift has no larger size
    return (Worker(index: Int(p.ith), threads: Int(p.nth), work: p.work, barrier: p.barrier,
                   barrierData: p.barrier_data),
            p.work_size)
}

/// That two regions of memory are apart.
func apart(_ a: UnsafeRawPointer, _ aBytes: Int, _ b: UnsafeRawPointer, _ bBytes: Int) throws(Status) {
    let x = UInt(bitPattern: a), y = UInt(bitPattern: b)
    let (xEnd, o1) = x.addingReportingOverflow(UInt(aBytes)), (yEnd, o2) = y.addingReportingOverflow(UInt(bBytes))
    guard !o1, !o2 else { throw .range }
    guard xEnd <= y || yEnd <= x else { throw .overlap }
}

/// Work area, activations and results of a product, checked against each other.
func checkMemory(_ workBytes: Int, _ worker: Worker, _ workSize: Int, x: UnsafeRawPointer, _ xBytes: Int,
                 y: UnsafeRawPointer, _ yBytes: Int) throws(Status) {
    guard UInt(bitPattern: x) % 4 == 0, UInt(bitPattern: y) % 4 == 0 else { throw .alignment }
    guard let work = worker.work else { throw .null }
    guard workSize >= workBytes else { throw .workSize }
    try apart(x, xBytes, y, yBytes)
    try apart(work, workBytes, x, xBytes)
    try apart(work, workBytes, y, yBytes)
}

func report(_ error: Status, _ name: UnsafePointer<CChar>?) {
    sx_log(1, text(error.sentence), name)
}
