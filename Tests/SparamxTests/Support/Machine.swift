import CPlatform
#if INTERPRETED
import CInterpreter
#endif
import CTileEmulator
import Foundation
@testable import SparamxCore
import XCTest

/// What the kernels can run on here. Unlike the library, the tests accept emulated tiles.
enum Machine {
    /// nil, or why kernels of this level do not run here. SPARAMX_ISA caps the tests as it caps the library.
    static func missing(_ isa: ISA) -> String? {
        switch isa {
        case .reference: return nil
        case .avx512: return avx512
        case .amx: return avx512 ?? amx
        }
    }

    static var emulatesTiles: Bool { missing(.amx) == nil && tile_emulator_active() == 1 }

    private static let cap: ISA = {
        switch ProcessInfo.processInfo.environment["SPARAMX_ISA"] {
        case "reference": return .reference
        case "avx512": return .avx512
        default: return .amx
        }
    }()

    private static let avx512: String? = {
        if cap == .reference { return "SPARAMX_ISA=reference" }
        #if INTERPRETED
        if avx512_interpreter_install() == 0 {
            print("AVX-512 kernels are interpreted")
            return nil
        }
        #endif
        let found = Capability.detect(
            cpuid: { leaf, subleaf in
                var r: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
                withUnsafeMutableBytes(of: &r) {
                    sx_cpuid(leaf, subleaf, $0.baseAddress!.assumingMemoryBound(to: UInt32.self))
                }
                return r
            },
            xgetbv: { sx_xgetbv() }, requestAMX: { 38 }, cap: nil, selfTest: { _ in true })
        return found.avx512 == .ok ? nil : "\(found.avx512.sentence)"
    }()

    private static let amx: String? = {
        if cap != .amx { return "SPARAMX_ISA=avx512" }
        switch tile_emulator_install() {
        case 0:
            print("AMX kernels run on emulated tiles")
            return nil
        case 1:
            let errno = sx_request_amx()
            if errno == 0 { print("AMX kernels run on this CPU's own tiles") }
            return errno == 0 ? nil : "the kernel refused AMX, errno \(errno)"
        case let code:
            return "no AMX in this CPU, and the tile emulator cannot be installed (\(code))"
        }
    }()

    /// Ends the test as skipped, loudly, if kernels of this level do not run here.
    static func require(_ isa: ISA, _ what: String) throws {
        guard let reason = missing(isa) else { return }
        print("SKIPPED 1: \(isa) \(what): \(reason)")
        throw XCTSkip("\(isa): \(reason)")
    }

    /// Levels whose packing functions run here.
    static var codecs: [ISA] { missing(.avx512) == nil ? [.reference, .avx512] : [.reference] }
}

extension KernelRow {
    var label: String { String(cString: name) }
}

/// Rows of the kernel table, by level.
func kernelRows(_ isa: ISA) -> [(index: Int, row: KernelRow)] {
    (0..<KernelTable.count).map { ($0, KernelTable.row($0)) }.filter { $0.1.isa == isa }
}

/// Rows that run here. What does not is said, once.
func runnableRows() -> [(index: Int, row: KernelRow)] { runnable }

private let runnable: [(index: Int, row: KernelRow)] = {
    for isa in [ISA.avx512, .amx] {
        if let reason = Machine.missing(isa) {
            print("NOT COVERED HERE: \(kernelRows(isa).count) \(isa) rows of the kernel table: \(reason)")
        }
    }
    return (0..<KernelTable.count).map { ($0, KernelTable.row($0)) }.filter { Machine.missing($0.1.isa) == nil }
}()
