public import CSparamx
import SparamxCore

// Explanations: what became of a weight, and the kernel table.

/// The kernels that the plan chooses for a weight, one range of tokens after the other.
private struct Ranges {
    let type: Int32, sparse, coded: Bool, isa: ISA
    /// The first of the next range; nil: there is none.
    private var first: Int? = 1

    init(_ layout: PackedLayout, _ isa: ISA) {
        (type, sparse, coded) = (layout.type.number, layout.sparse, layout.coded)
        self.isa = isa
    }

    private func choice(_ m: Int) -> Int? {
        KernelTable.choose(type: type, sparse: sparse, coded: coded, m: m, isa: isa)
    }

    private func change(_ m: Int) -> Int? {
        KernelTable.change(type: type, sparse: sparse, coded: coded, after: m)
    }

    mutating func next() throws(Status) -> sparamx_kernel_range? {
        guard let first else { return nil }
        guard let index = choice(first) else { throw .type }
        var after = change(first)
        while let m = after, choice(m) == index { after = change(m) }
        self.first = after
        return sparamx_kernel_range(m_min: Int64(first), m_max: after.map { Int64($0 - 1) } ?? Int64.max,
                                    name: KernelTable.row(index).name)
    }
}

extension sparamx_tensor_info {
    /// One more range, as far as there is room.
    fileprivate mutating func add(_ range: sparamx_kernel_range) {
        n_ranges = sparamx_tensor_info.add(range, to: &ranges, used: n_ranges)
        n_kernels = sparamx_tensor_info.add(range, to: &kernels, used: n_kernels)
    }

    /// How many entries of the list are used afterwards.
    private static func add<List>(_ range: sparamx_kernel_range, to list: inout List, used: Int32) -> Int32 {
        withUnsafeMutableBytes(of: &list) { bytes in
            let ranges = bytes.bindMemory(to: sparamx_kernel_range.self)
            guard Int(used) < ranges.count else { return used }
            ranges[Int(used)] = range
            return used + 1
        }
    }
}

/// What became of a packed weight.
private func describe(_ tensor: PackedTensor, forced: Int?, isa: ISA) throws(Status) -> sparamx_tensor_info {
    let layout = tensor.layout
    let elements = layout.n * layout.k * layout.matrices
    var info = sparamx_tensor_info()
    info.type = layout.type.number
    info.form = layout.form
    info.n = Int64(layout.n)
    info.k = Int64(layout.k)
    info.matrices = Int64(layout.matrices)
    info.source_bytes = UInt64(try layout.type.rowBytes(layout.k) * layout.n * layout.matrices)
    info.packed_bytes = UInt64(layout.totalBytes)
    info.background = UInt64(tensor.background)
    info.sparsity = Double(tensor.background) / Double(elements)
    info.bits_per_weight = 8 * Double(layout.totalBytes) / Double(elements)
    info.reason = cString(tensor.reason.sentence)
    info.mapped = tensor.isMapped ? 1 : 0
    if let forced {
        let row = KernelTable.row(forced)
        info.add(sparamx_kernel_range(m_min: Int64(row.serves.lowerBound), m_max: lastToken(row), name: row.name))
        return info
    }
    var ranges = Ranges(layout, isa)
    while let range = try ranges.next() { info.add(range) }
    return info
}

/// A tensor whose bytes are kept as they came.
private func describe(raw view: Tensor, reason: StaticString) -> sparamx_tensor_info {
    var info = sparamx_tensor_info()
    info.type = view.type
    info.form = Int32(SPARAMX_FORM_RAW)
    info.n = Int64(view.ne.1)
    info.k = Int64(view.ne.0)
    info.matrices = Int64(view.ne.2) * Int64(view.ne.3)
    info.source_bytes = UInt64(view.bytes)
    info.packed_bytes = UInt64(view.bytes)
    info.bits_per_weight = 8 * Double(view.bytes)
        / (Double(view.ne.0) * Double(view.ne.1) * Double(view.ne.2) * Double(view.ne.3))
    info.reason = cString(reason)
    return info
}

@c(sparamx_linear_info) @implementation
public func sparamx_linear_info(_ pointer: OpaquePointer!,
                                _ info: UnsafeMutablePointer<sparamx_tensor_info>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireLinear(pointer), result = try Answer(info)
        result.write(try describe(handle.pointee.tensor, forced: handle.pointee.forced, isa: handle.pointee.isa))
    }
}

@c(sparamx_buffer_tensor_info) @implementation
public func sparamx_buffer_tensor_info(_ pointer: OpaquePointer!, _ t: UnsafePointer<sparamx_tensor>!,
                                       _ info: UnsafeMutablePointer<sparamx_tensor_info>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireBuffer(pointer), view = try readTensor(t), result = try Answer(info)
        let (packed, reason) = try handle.pointee.explain(view)
        if let packed {
            result.write(try describe(packed, forced: nil, isa: try requireLevel()))
        } else {
            result.write(describe(raw: view, reason: reason.sentence))
        }
    }
}

@c(sparamx_kernel_count) @implementation
public func sparamx_kernel_count() -> Int32 { Int32(KernelTable.count) }

@c(sparamx_kernel_get) @implementation
public func sparamx_kernel_get(_ index: Int32,
                               _ pointer: UnsafeMutablePointer<sparamx_kernel_info>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let result = try Answer(pointer)
        guard index >= 0, index < KernelTable.count else { throw .range }
        let row = KernelTable.row(Int(index))
        var answer = sparamx_kernel_info()
        answer.isa = row.isa.rawValue
        answer.type = row.type
        answer.form = row.form
        answer.m_min = Int64(row.serves.lowerBound)
        answer.m_max = lastToken(row)
        answer.m_plan = Int64(row.from)
        answer.exact = row.exact ? 1 : 0
        answer.accuracy = row.accuracy.rawValue
        answer.usable = usability(row).rawValue
        answer.name = row.name
        result.write(answer)
    }
}

/// The most tokens a kernel serves, in the terms of the header.
func lastToken(_ row: KernelRow) -> Int64 {
    row.serves.upperBound == KernelTable.many ? Int64.max : Int64(row.serves.upperBound)
}

/// Why this machine does not run a kernel, or .ok.
func usability(_ row: KernelRow) -> Status {
    let found = Capability.current
    if found.status != .ok { return found.status }
    switch row.isa {
    case .reference: return .ok
    case .avx512: return found.avx512
    case .amx: return found.amx
    }
}
