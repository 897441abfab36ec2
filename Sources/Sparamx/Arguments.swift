import CPlatform
import CSparamx
import SparamxCore

// Everything a host passes goes through here before anything is done with it.

/// Runs the body and turns what it throws into a status.
@inline(__always)
func reportStatus(_ body: () throws(Status) -> Void) -> sparamx_status {
    do throws(Status) {
        try body()
        return 0
    } catch {
        return error.rawValue
    }
}

func requireOut<T>(_ pointer: UnsafeMutablePointer<T>?) throws(Status) -> UnsafeMutablePointer<T> {
    guard let pointer else { throw .null }
    guard UInt(bitPattern: pointer) % UInt(MemoryLayout<T>.alignment) == 0 else { throw .alignment }
    return pointer
}

func readTensor(_ pointer: UnsafePointer<sparamx_tensor>?) throws(Status) -> Tensor {
    let t = try readStruct(pointer)
    return try Tensor(type: t.type, ne: t.ne, nb: t.nb, data: t.data, name: t.name)
}

func requireBuffer(_ pointer: OpaquePointer?) throws(Status) -> Buffer.Handle { try Buffer.handle(pointer) }

func requireLinear(_ pointer: OpaquePointer?) throws(Status) -> Linear.Handle { try Linear.handle(pointer) }

/// The level in use; a wrong SPARAMX_ISA is an error at every door.
func requireLevel() throws(Status) -> ISA {
    let capability = Capability.current
    guard capability.status == .ok else { throw capability.status }
    return capability.isa
}

func readPackOptions(form: Int32, threads: Int32, numa: Int32) throws(Status) -> PackOptions {
    guard let choice = FormChoice(rawValue: form), (0...64).contains(threads),
          let place = NumaChoice(rawValue: numa) else { throw .range }
    if place != .automatic { sx_numa_prepare() }
    return PackOptions(form: choice, threads: threads, numa: place)
}

func cString(_ string: StaticString) -> UnsafePointer<CChar> {
    UnsafeRawPointer(string.utf8Start).assumingMemoryBound(to: CChar.self)
}

/// One worker of a product: its numbers and its work area.
func readWorker(_ pointer: UnsafePointer<sparamx_params>?) throws(Status) -> Worker {
    let p = try readStruct(pointer)
    guard p.nth >= 1, p.nth <= 1024, p.ith >= 0, p.ith < p.nth else { throw .range }
    guard p.nth == 1 || p.barrier != nil else { throw .null }
    guard p.work_size >= 0 else { throw .range }  // Swift has no larger size
    return Worker(index: Int(p.ith), threads: Int(p.nth), work: p.work, workSize: p.work_size, barrier: p.barrier,
                  barrierData: p.barrier_data)
}

func logFailure(_ error: Status, _ name: UnsafePointer<CChar>?) {
    sx_log(1, cString(error.sentence), name)
}

/// Copies on memory nodes were asked for, there are nodes, and there is one copy.
func logMissingCopies(_ packed: PackedTensor, _ options: PackOptions, _ name: UnsafePointer<CChar>?) {
    guard options.numa == .mirror, packed.copies == 1, sx_numa_nodes() > 1 else { return }
    sx_log(2, sx_numa_places() > 1 ? cString("no address space for copies on other memory nodes: one copy is kept")
        : cString("libnuma.so.1 is missing, or one memory node alone can be used: one copy is kept"), name)
}
