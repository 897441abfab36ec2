import CExports
import CPlatform
public import CSparamx
import SparamxCore

// What is this library, and what can it do here.

@c(sparamx_version) @implementation
public func sparamx_version() -> UnsafePointer<CChar>! { sx_version() }

@c(sparamx_status_string) @implementation
public func sparamx_status_string(_ status: sparamx_status) -> UnsafePointer<CChar>! {
    text(Status(rawValue: status)?.sentence ?? "not a status of this library: compare with the values in sparamx.h")
}

@c(sparamx_set_log) @implementation
public func sparamx_set_log(_ log: sparamx_log_fn!, _ user: UnsafeMutableRawPointer!) -> sparamx_status {
    sx_log_set(log, user)
    return 0
}

@c(sparamx_get_capability) @implementation
public func sparamx_get_capability(_ pointer: UnsafeMutablePointer<sparamx_capability>!) -> sparamx_status {
    status { () throws(Status) in
        let result = try out(pointer)
        let found = Capability.current
        result.pointee.isa = found.isa.rawValue
        result.pointee.status = found.status.rawValue
        result.pointee.avx512 = found.avx512.rawValue
        result.pointee.amx = found.amx.rawValue
        result.pointee.cpus = found.cpus
        result.pointee.numa_nodes = sx_numa_nodes()
        result.pointee.amx_errno = found.errno
        result.pointee.avx512_reason = text(found.avx512.sentence)
        result.pointee.amx_reason = text(found.amx.sentence)
        withUnsafeMutableBytes(of: &result.pointee.cpu) { to in
            withUnsafeBytes(of: found.brand) { from in to.copyMemory(from: from) }
        }
    }
}

@c(sparamx_cap_isa) @implementation
public func sparamx_cap_isa(_ isa: Int32) -> sparamx_status {
    status { () throws(Status) in
        guard let level = ISA(rawValue: isa) else { throw .range }
        guard Capability.cap(level) else { throw .state }
    }
}

@c(sparamx_get_api) @implementation
public func sparamx_get_api(_ abi: UInt32) -> UnsafePointer<sparamx_api>! {
    abi == UInt32(SPARAMX_ABI) ? sx_api_table().assumingMemoryBound(to: sparamx_api.self) : nil
}

@c(sparamx_kernel_count) @implementation
public func sparamx_kernel_count() -> Int32 { Int32(KernelTable.count) }

@c(sparamx_kernel_get) @implementation
public func sparamx_kernel_get(_ index: Int32, _ pointer: UnsafeMutablePointer<sparamx_kernel_info>!) -> sparamx_status {
    status { () throws(Status) in
        let result = try out(pointer)
        guard index >= 0, index < KernelTable.count else { throw .range }
        let row = KernelTable.row(Int(index))
        result.pointee.isa = row.isa.rawValue
        result.pointee.type = row.type
        result.pointee.form = row.sparse ? Int32(SPARAMX_FORM_SPARSE) : Int32(SPARAMX_FORM_DENSE)
        result.pointee.m_min = Int64(row.serves.lowerBound)
        result.pointee.m_max = lastToken(row)
        result.pointee.m_plan = Int64(row.from)
        result.pointee.exact = row.exact ? 1 : 0
        result.pointee.usable = usable(row).rawValue
        result.pointee.name = row.name
    }
}

/// The most tokens a kernel serves, in the terms of the header.
func lastToken(_ row: KernelRow) -> Int64 {
    row.serves.upperBound == KernelTable.many ? Int64.max : Int64(row.serves.upperBound)
}

/// Why this machine does not run a kernel, or .ok.
func usable(_ row: KernelRow) -> Status {
    let found = Capability.current
    if found.status != .ok { return found.status }
    switch row.isa {
    case .reference: return .ok
    case .avx512: return found.avx512
    case .amx: return found.amx
    }
}
