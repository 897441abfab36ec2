import CExports
import CPlatform
public import CSparamx
import SparamxCore

// What is this library, and what can it do here.

@c(sparamx_version) @implementation
public func sparamx_version() -> UnsafePointer<CChar>! { sx_version() }

@c(sparamx_status_string) @implementation
public func sparamx_status_string(_ status: sparamx_status) -> UnsafePointer<CChar>! {
    cString(Status(rawValue: status)?.sentence ?? "not a status of this library: compare with the values in sparamx.h")
}

@c(sparamx_set_log) @implementation
public func sparamx_set_log(_ log: sparamx_log_fn!, _ user: UnsafeMutableRawPointer!) -> sparamx_status {
    sx_log_set(log, user)
    return 0
}

@c(sparamx_get_capability) @implementation
public func sparamx_get_capability(_ pointer: UnsafeMutablePointer<sparamx_capability>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let result = try Answer(pointer)
        let found = Capability.current
        var answer = sparamx_capability()
        answer.isa = found.isa.rawValue
        answer.status = found.status.rawValue
        answer.avx512 = found.avx512.rawValue
        answer.amx = found.amx.rawValue
        answer.cpus = found.cpus
        answer.numa_nodes = sx_numa_nodes()
        answer.amx_errno = found.errno
        answer.avx512_reason = cString(found.avx512.sentence)
        answer.amx_reason = cString(found.amx.sentence)
        withUnsafeMutableBytes(of: &answer.cpu) { to in
            withUnsafeBytes(of: found.brand) { from in to.copyMemory(from: from) }
        }
        result.write(answer)
    }
}

@c(sparamx_cap_isa) @implementation
public func sparamx_cap_isa(_ isa: Int32) -> sparamx_status {
    reportStatus { () throws(Status) in
        guard let level = ISA(rawValue: isa) else { throw .range }
        guard Capability.cap(level) else { throw .state }
    }
}

@c(sparamx_profile_load) @implementation
public func sparamx_profile_load(_ path: UnsafePointer<CChar>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        guard let path else { throw .null }
        do throws(ProfileFault) { try Profile.load(path) } catch {
            let number = sx_errno()
            error.log(path)
            sx_set_errno(number)
            throw error.status
        }
    }
}

@c(sparamx_get_api) @implementation
public func sparamx_get_api(_ abi: UInt32) -> UnsafePointer<sparamx_api>! {
    abi == UInt32(SPARAMX_ABI) ? sx_api_table().assumingMemoryBound(to: sparamx_api.self) : nil
}
