import Foundation
@testable import SparamxCore
import XCTest

/// What the library finds out about a machine, with machines that are played.
final class CapabilityTests: XCTestCase {
    /// A CPU, a kernel and an environment.
    private struct Played {
        var leaves: [UInt64: (UInt32, UInt32, UInt32, UInt32)] = [:]
        var xcr0: UInt64 = 0x602e7
        var errno: Int32 = 0
        var cap: String? = nil
        var hostCap = ISA.amx
        var failing: [ISA] = []

        /// Emerald Rapids under a hypervisor that hides leaves 0x1D and 0x1E.
        static var full: Played {
            var p = Played()
            p[0] = (0x1c, 0, 0, 0)
            p[1] = (0, 0, 1 << 12 | 1 << 23 | 1 << 27 | 1 << 29, 0)
            p[7] = (2, 1 << 3 | 1 << 8 | 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31, 1 << 1 | 1 << 6 | 1 << 11,
                    1 << 22 | 1 << 24 | 1 << 25)
            p[7, 1] = (1 << 5, 0, 0, 0)
            p[0x8000_0000] = (0x8000_0008, 0, 0, 0)
            p[0x8000_0002] = (0x6574_6e49, 0x2952_286c, 0x6f65_5820, 0x2952_286e)  // "Intel(R) Xeon(R)"
            p[0x8000_0003] = (0x616c_5020, 0x756e_6974, 0x3538_206d, 0x0043_3139)  // " Platinum 8591C"
            p[0x8000_0004] = (0, 0, 0, 0)
            return p
        }

        subscript(leaf: UInt32, subleaf: UInt32 = 0) -> (UInt32, UInt32, UInt32, UInt32) {
            get { leaves[UInt64(leaf) << 32 | UInt64(subleaf)] ?? (0, 0, 0, 0) }
            set { leaves[UInt64(leaf) << 32 | UInt64(subleaf)] = newValue }
        }

        final class Calls { var cpuid: [UInt32] = [], xgetbv = 0, requests = 0, tests: [ISA] = [] }

        func detect(_ calls: Calls = Calls()) -> Capability {
            func found(_ cap: UnsafePointer<CChar>?) -> Capability {
                Capability.detect(
                    cpuid: { leaf, subleaf in
                        calls.cpuid.append(leaf)
                        return self[leaf, subleaf]
                    },
                    xgetbv: { calls.xgetbv += 1; return xcr0 },
                    requestAMX: { calls.requests += 1; return errno },
                    cap: cap, hostCap: hostCap,
                    selfTest: { calls.tests.append($0); return !failing.contains($0) })
            }
            guard let cap else { return found(nil) }
            return cap.withCString { found($0) }
        }
    }

    private func expect(_ p: Played, _ isa: ISA, avx512: Status, amx: Status, status: Status = .ok,
                        _ line: UInt = #line) {
        let found = p.detect()
        XCTAssertEqual(found.isa, isa, line: line)
        XCTAssertEqual(found.avx512, avx512, "AVX-512", line: line)
        XCTAssertEqual(found.amx, amx, "AMX", line: line)
        XCTAssertEqual(found.status, status, line: line)
    }

    func testFull() {
        let calls = Played.Calls(), found = Played.full.detect(calls)
        XCTAssertEqual(found.isa, .amx)
        XCTAssertEqual(calls.tests, [.avx512, .amx])
        XCTAssertEqual(calls.requests, 1)
        XCTAssertEqual(found.errno, 0)
        // Tile geometry never comes from CPUID: hypervisors hide those leaves.
        XCTAssertFalse(calls.cpuid.contains(0x1d) || calls.cpuid.contains(0x1e) || calls.cpuid.contains(0xd))
        XCTAssertTrue(calls.cpuid.allSatisfy { $0 <= 7 || $0 >= 0x8000_0000 })
        let brand = withUnsafeBytes(of: found.brand) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        XCTAssertEqual(brand, "Intel(R) Xeon(R) Platinum 8591C")
    }

    func testBrandMayBeMissing() {
        var p = Played.full
        p[0x8000_0000] = (0x8000_0003, 0, 0, 0)
        let found = p.detect()
        XCTAssertTrue(withUnsafeBytes(of: found.brand) { $0.allSatisfy { $0 == 0 } })
        XCTAssertEqual(found.isa, .amx)
    }

    /// Every single feature bit that the kernels are compiled for is asked for.
    func testEachFeatureCounts() {
        let avx512: [(UInt32, UInt32, WritableKeyPath<(UInt32, UInt32, UInt32, UInt32), UInt32>, [Int])] = [
            (1, 0, \.2, [12, 23, 29]), (7, 0, \.1, [3, 8, 16, 17, 30, 31]), (7, 0, \.2, [1, 6, 11]), (7, 1, \.0, [5]),
        ]
        for (leaf, subleaf, register, bits) in avx512 {
            for bit in bits {
                var p = Played.full
                p[leaf, subleaf][keyPath: register] &= ~(1 << UInt32(bit))
                expect(p, .reference, avx512: .noAVX512, amx: .noAVX512)
            }
        }
        for bit in [22, 24, 25] {
            var p = Played.full
            p[7].3 &= ~(1 << UInt32(bit))
            expect(p, .avx512, avx512: .ok, amx: .noAMX)
        }
    }

    func testOldCPUs() {
        expect(Played(), .reference, avx512: .noAVX512, amx: .noAMX)
        var p = Played.full  // without leaf 7, whatever else answers there
        p[0] = (6, 0, 0, 0)
        expect(p, .reference, avx512: .noAVX512, amx: .noAMX)
        p = .full            // leaf 7 without subleaf 1
        p[7].0 = 0
        expect(p, .reference, avx512: .noAVX512, amx: .noAVX512)
        p = .full            // no XSAVE: XGETBV would be an illegal instruction
        p[1].2 &= ~(1 << 27)
        let calls = Played.Calls()
        XCTAssertEqual(p.detect(calls).isa, .reference)
        XCTAssertEqual(calls.xgetbv, 0)
        expect(p, .reference, avx512: .hidden, amx: .hidden)
    }

    func testHidden() {
        var p = Played.full
        for bit in [1, 2, 5, 6, 7] {
            p.xcr0 = 0x602e7 & ~(1 << UInt64(bit))
            expect(p, .reference, avx512: .hidden, amx: .hidden)
        }
        for bit in [17, 18] {
            p.xcr0 = 0x602e7 & ~(1 << UInt64(bit))
            let calls = Played.Calls()
            _ = p.detect(calls)
            XCTAssertEqual(calls.requests, 0, "the kernel was asked for nothing")
            expect(p, .avx512, avx512: .ok, amx: .hidden)
        }
    }

    func testKernelRefusals() {
        var p = Played.full
        for (errno, status) in [(1, Status.amxPermission), (22, .amxPermission), (38, .amxENOSYS),
                                (28, .amxSignalStack), (13, .amxPermission), (95, .amxPermission)] {
            p.errno = Int32(errno)
            expect(p, .avx512, avx512: .ok, amx: status)
            XCTAssertEqual(p.detect().errno, Int32(errno))
            let calls = Played.Calls()
            _ = p.detect(calls)
            XCTAssertEqual(calls.tests, [.avx512], "no tile instruction without permission")
        }
    }

    func testCapped() {
        var p = Played.full
        p.cap = "amx"
        expect(p, .amx, avx512: .ok, amx: .ok)
        p.cap = ""
        expect(p, .amx, avx512: .ok, amx: .ok)
        p.cap = "avx512"
        expect(p, .avx512, avx512: .ok, amx: .capped)
        p.cap = "reference"
        expect(p, .reference, avx512: .capped, amx: .capped)
        let calls = Played.Calls()
        _ = p.detect(calls)
        XCTAssertEqual(calls.requests, 0, "capped, so the kernel is not asked")
        XCTAssertEqual(calls.tests, [], "capped, so nothing is executed")
        // What the CPU lacks is the better reason.
        var old = Played()
        old.cap = "reference"
        expect(old, .reference, avx512: .noAVX512, amx: .noAMX)
        p.cap = "amx"
        p[7].3 = 0
        expect(p, .avx512, avx512: .ok, amx: .noAMX)
    }

    /// sparamx_cap_isa and the variable: the lower one holds.
    func testCappedByTheHost() {
        let levels: [(String?, ISA)] = [(nil, .amx), ("amx", .amx), ("avx512", .avx512), ("reference", .reference)]
        for (name, level) in levels {
            for host in [ISA.reference, .avx512, .amx] {
                var p = Played.full
                (p.cap, p.hostCap) = (name, host)
                let lower = level.rawValue < host.rawValue ? level : host
                expect(p, lower, avx512: lower == .reference ? .capped : .ok, amx: lower == .amx ? .ok : .capped)
                let calls = Played.Calls()
                _ = p.detect(calls)
                XCTAssertEqual(calls.requests, lower == .amx ? 1 : 0)
            }
        }
    }

    func testUnknownNames() {
        for name in ["AMX", "Reference", "avx", "avx5122", "amx ", " amx", "none", "0", "re", "referenc",
                     "references"] {
            var p = Played.full
            p.cap = name
            let calls = Played.Calls()
            XCTAssertEqual(p.detect(calls).isa, .reference, name)
            XCTAssertEqual(calls.tests, [], name)
            XCTAssertEqual(calls.requests, 0, name)
            expect(p, .reference, avx512: .isaName, amx: .isaName, status: .isaName)
        }
    }

    func testSelfTestFails() {
        var p = Played.full
        p.failing = [.avx512]
        expect(p, .reference, avx512: .selfTest, amx: .selfTest)
        let calls = Played.Calls()
        _ = p.detect(calls)
        XCTAssertEqual(calls.tests, [.avx512])
        XCTAssertEqual(calls.requests, 0)
        p.failing = [.amx]
        expect(p, .avx512, avx512: .ok, amx: .selfTest)
        p.failing = [.avx512, .amx]
        expect(p, .reference, avx512: .selfTest, amx: .selfTest)
    }

    /// The self-test itself, on the instructions of this machine.
    func testSelfTestPassesWithAVX512() throws {
        try Machine.require(.avx512, "self-test")
        XCTAssertTrue(SelfTest.passes(.avx512))
    }

    func testSelfTestPassesWithAMX() throws {
        try Machine.require(.amx, "self-test")
        XCTAssertTrue(SelfTest.passes(.amx))
    }

    /// The real machine: consistent with itself and with the environment.
    func testCurrent() {
        let found = Capability.current
        XCTAssertGreaterThanOrEqual(found.cpus, 1)
        XCTAssertLessThanOrEqual(MemoryLayout<Capability>.size, 1024, "sx_once has 1 KB")
        let brand = withUnsafeBytes(of: found.brand) { Array($0) }
        XCTAssertEqual(brand.last, 0)
        if found.isa == .amx { XCTAssertEqual(found.amx, .ok) }
        if found.isa.rawValue >= ISA.avx512.rawValue {
            XCTAssertEqual(found.avx512, .ok)
        } else {
            XCTAssertNotEqual(found.avx512, .ok)
        }
        switch ProcessInfo.processInfo.environment["SPARAMX_ISA"] {
        case "reference": XCTAssertEqual(found.isa, .reference)
        case "avx512": XCTAssertNotEqual(found.isa, .amx)
        default: break
        }
    }
}
