import CPlatform

/// Instruction set levels; each includes those below it.
package enum ISA: Int32 {
    case reference = 0, avx512 = 1, amx = 2
}

/// What this process may use, and why not more.
package struct Capability {
    package var isa: ISA = .reference
    package var status: Status = .ok      // .isaName when the environment variable is wrong
    package var avx512: Status = .ok
    package var amx: Status = .ok
    package var errno: Int32 = 0
    package var cpus: Int32 = 1
    /// The brand string, 48 bytes, zero-terminated because the rest is zero.
    package var brand: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)

    /// Caps the level beside SPARAMX_ISA; false: it has been found out already.
    package static func cap(_ isa: ISA) -> Bool { sx_once_cap(isa.rawValue) }

    /// Found out once per process.
    package static var current: Capability {
        let storage = sx_once { storage, hostCap in
            var found = Capability.detect(
                cpuid: { leaf, subleaf in Capability.askCPU(leaf, subleaf) },
                xgetbv: { sx_xgetbv() },
                requestAMX: { sx_request_amx() },
                cap: sx_environment("SPARAMX_ISA"), hostCap: ISA(rawValue: hostCap) ?? .amx, selfTest: SelfTest.passes)
            found.cpus = sx_cpu_count()
            storage.initializeMemory(as: Capability.self, to: found)
        }
        return storage.assumingMemoryBound(to: Capability.self).pointee
    }

    /// The whole decision, with the machine as parameters so that tests can play any machine.
    package static func detect(cpuid: (UInt32, UInt32) -> (UInt32, UInt32, UInt32, UInt32), xgetbv: () -> UInt64,
                               requestAMX: () -> Int32, cap: UnsafePointer<CChar>?, hostCap: ISA = .amx,
                               selfTest: (ISA) -> Bool) -> Capability {
        var found = Capability()
        found.brand = brand(cpuid)
        let cpu = Features(cpuid)
        let xcr0 = cpu.xsave ? xgetbv() : 0
        guard let asked = level(cap) else {
            found.status = .isaName
            found.avx512 = .isaName
            found.amx = .isaName
            return found
        }
        let limit = asked.rawValue < hostCap.rawValue ? asked : hostCap

        if !cpu.avx512 {
            found.avx512 = .noAVX512
        } else if xcr0 & 0xe6 != 0xe6 {  // SSE, AVX, opmask and both ZMM states
            found.avx512 = .hidden
        } else if limit == .reference {
            found.avx512 = .capped
        } else if !selfTest(.avx512) {
            found.avx512 = .selfTest
        }

        // Palette, rows and bytes of tiles are not asked for: hypervisors hide the leaves that tell them, and
        // palette 1 is fixed. A product with the instructions themselves decides.
        if !cpu.amx {
            found.amx = .noAMX
        } else if xcr0 & 0x60000 != 0x60000 {
            found.amx = .hidden
        } else if limit != .amx {
            found.amx = .capped
        } else if found.avx512 != .ok {
            found.amx = found.avx512
        } else {
            found.errno = requestAMX()
            switch found.errno {
            case 0: found.amx = selfTest(.amx) ? .ok : .selfTest
            case 28: found.amx = .amxSignalStack  // ENOSPC
            case 38: found.amx = .amxENOSYS       // ENOSYS
            default: found.amx = .amxPermission   // EPERM, EINVAL and whatever a sandbox returns
            }
        }
        found.isa = found.amx == .ok ? .amx : found.avx512 == .ok ? .avx512 : .reference
        return found
    }

    /// The level that SPARAMX_ISA allows; nil for an unknown name.
    static func level(_ cap: UnsafePointer<CChar>?) -> ISA? {
        guard let cap, cap[0] != 0 else { return .amx }
        if equals(cap, "amx") { return .amx }
        if equals(cap, "avx512") { return .avx512 }
        if equals(cap, "reference") { return .reference }
        return nil
    }

    private static func equals(_ text: UnsafePointer<CChar>, _ name: StaticString) -> Bool {
        for i in 0...name.utf8CodeUnitCount where UInt8(bitPattern: text[i]) != name.utf8Start[i] { return false }
        return true
    }

    /// body gets the brand string of this CPU, zero-terminated. Finds nothing else out.
    static func withBrand<Result>(
        _ body: (UnsafePointer<UInt8>) throws(ProfileFault) -> Result
    ) throws(ProfileFault) -> Result {
        try withUnsafeBytes(of: brand(askCPU)) { bytes throws(ProfileFault) in
            try body(bytes.baseAddress!.assumingMemoryBound(to: UInt8.self))
        }
    }

    private static func askCPU(_ leaf: UInt32, _ subleaf: UInt32) -> (UInt32, UInt32, UInt32, UInt32) {
        var r: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &r) {
            sx_cpuid(leaf, subleaf, $0.baseAddress!.assumingMemoryBound(to: UInt32.self))
        }
        return r
    }

    private static func brand(_ cpuid: (UInt32, UInt32) -> (UInt32, UInt32, UInt32, UInt32))
        -> (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) {
        guard cpuid(0x8000_0000, 0).0 >= 0x8000_0004 else { return (0, 0, 0, 0, 0, 0, 0, 0) }
        func registers(_ leaf: UInt32) -> (UInt64, UInt64) {
            let r = cpuid(leaf, 0)
            return (UInt64(r.1) << 32 | UInt64(r.0), UInt64(r.3) << 32 | UInt64(r.2))
        }
        let a = registers(0x8000_0002), b = registers(0x8000_0003), c = registers(0x8000_0004)
        return (a.0, a.1, b.0, b.1, c.0, c.1, 0, 0)
    }
}

/// What CPUID says. Everything the AVX-512 modules are compiled for counts, not only AVX-512 itself.
private struct Features {
    var xsave = false, avx512 = false, amx = false

    init(_ cpuid: (UInt32, UInt32) -> (UInt32, UInt32, UInt32, UInt32)) {
        guard cpuid(0, 0).0 >= 7 else { return }
        let one = cpuid(1, 0).2, seven = cpuid(7, 0)
        let sevenOne = seven.0 >= 1 ? cpuid(7, 1).0 : 0
        func all(_ register: UInt32, _ mask: UInt32) -> Bool { register & mask == mask }
        xsave = all(one, 1 << 27)
        avx512 = all(one, 1 << 12 | 1 << 23 | 1 << 29)                                    // FMA, POPCNT, F16C
            && all(seven.1, 1 << 3 | 1 << 8 | 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31)        // BMI1, BMI2, F, DQ, BW, VL
            && all(seven.2, 1 << 1 | 1 << 6 | 1 << 11)                                      // VBMI, VBMI2, VNNI
            && all(sevenOne, 1 << 5)                                                        // BF16
        amx = all(seven.3, 1 << 22 | 1 << 24 | 1 << 25)                                     // BF16, TILE, INT8
    }
}
