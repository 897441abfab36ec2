/// That two regions of memory have no byte in common, and that neither wraps around the address space.
package func requireApart(_ a: UnsafeRawPointer, _ aBytes: Int, _ b: UnsafeRawPointer, _ bBytes: Int) throws(Status) {
    let x = UInt(bitPattern: a), y = UInt(bitPattern: b)
    let (xEnd, o1) = x.addingReportingOverflow(UInt(aBytes)), (yEnd, o2) = y.addingReportingOverflow(UInt(bBytes))
    guard !o1, !o2 else { throw .range }
    guard xEnd <= y || yEnd <= x else { throw .overlap }
}

/// Activations and results of an op that may still lack memory: aligned and apart as far as it says where they are.
func requireApart(_ x: Tensor, _ y: Tensor) throws(Status) {
    if let from = x.data, UInt(bitPattern: from) % 4 != 0 { throw .alignment }
    if let to = y.data, UInt(bitPattern: to) % 4 != 0 { throw .alignment }
    if let from = x.data, let to = y.data { try requireApart(from, x.bytes, to, y.bytes) }
}
