import CKernelABI
@testable import SparamxCore
import XCTest

/// The kernel table and the plan made from it.
final class PlanTests: XCTestCase {
    private let tokens = Array(1...40) + [63, 64, 65, 100, 511, 512, 513, 1000, 5000, 100_000]

    private func layout(_ type: Int32, sparse: Bool, coded: Bool = false, _ n: Int, _ k: Int) throws -> PackedLayout {
        try PackedLayout(type: WeightType(type), sparse: sparse, coded: coded, n: n, k: k, matrices: 1, sparseBytes: 0)
    }

    // The table.

    func testRows() {
        var names = Set<String>()
        for index in 0..<KernelTable.count {
            let row = KernelTable.row(index), name = row.label
            XCTAssertTrue(names.insert(name).inserted, "\(name) twice")
            XCTAssertTrue(row.serves.contains(row.from) || row.serves.upperBound < row.from, name)
            XCTAssertGreaterThanOrEqual(row.serves.lowerBound, 1)
            // A name is a coordinate.
            let parts = name.split(separator: "-")
            XCTAssertEqual(String(parts[0]), "\(row.isa)", name)
            XCTAssertEqual(String(parts[1]), typeNames[row.type], name)
            XCTAssertEqual(String(parts[2]), ["dense", "sparse", "", "coded", "coded_sparse"][Int(row.form) - 1], name)
            if row.exact && row.isa != .reference { XCTAssertEqual(row.activation, .q8, name) }
        }
    }

    /// For every type, form, level and number of tokens there is a kernel, and it is the one the header promises: the
    /// last usable row with m_plan <= M and m_min <= M <= m_max.
    func testChoice() {
        for type in weightTypes {
            for choice in formChoices(type) {
                let sparse = choice.isSparse, coded = choice.isCoded
                for isa in [ISA.reference, .avx512, .amx] {
                    for m in tokens + [KernelTable.many] {
                        let promised = (0..<KernelTable.count).last {
                            let row = KernelTable.row($0)
                            return row.type == type && row.choice == choice && row.isa.rawValue <= isa.rawValue
                                && row.from <= m && row.serves.contains(m)
                        }
                        XCTAssertNotNil(promised)
                        XCTAssertEqual(KernelTable.choose(type: type, sparse: sparse, coded: coded, m: m, isa: isa),
                                       promised)
                        let row = KernelTable.row(promised!)
                        XCTAssertEqual(row.isa == .reference, isa == .reference, "\(row.label) at \(isa)")
                        // F16 keeps its accuracy where there are few tokens.
                        if type == f16 && m <= 16 && isa != .reference {
                            XCTAssertEqual(row.activation, .f32, row.label)
                        }
                    }
                }
            }
        }
        XCTAssertNil(KernelTable.choose(type: 9, sparse: false, m: 1, isa: .amx))
    }

    /// The range of a type and form has all its rows and no others.
    func testRowsOfAType() {
        var counted = 0
        for type in weightTypes {
            for choice in [FormChoice.dense, .sparse, .coded, .codedSparse] {
                let rows = (0..<KernelTable.count).filter {
                    KernelTable.row($0).type == type && KernelTable.row($0).choice == choice
                }
                let found = KernelTable.rows(type: type, sparse: choice.isSparse, coded: choice.isCoded)
                XCTAssertEqual(Array(found), rows, "type \(type)")
                counted += rows.count
            }
        }
        XCTAssertEqual(counted, KernelTable.count)
        for unknown: Int32 in [9, -1, 1000, Int32.max, Int32.min] {
            XCTAssertTrue(KernelTable.rows(type: unknown, sparse: false).isEmpty
                          && KernelTable.rows(type: unknown, sparse: true).isEmpty)
        }
    }

    /// Packed activations have room for whole groups, and the padding is the most that any number of tokens has.
    func testRowsOfActivations() throws {
        for index in 0..<KernelTable.count {
            let row = KernelTable.row(index)
            var most = 0
            for m in row.serves.lowerBound...min(row.serves.upperBound, 600) {
                let rows = try row.rows(m)
                XCTAssertGreaterThanOrEqual(rows, m, row.label)
                most = max(most, rows - m)
            }
            XCTAssertEqual(row.padding, most, row.label)
        }
    }

    // The plan.

    func testPartsOfTheWorkAreaAreApart() throws {
        for index in 0..<KernelTable.count {
            let row = KernelTable.row(index)
            for m in tokens where row.serves.contains(m) {
                for (n, least) in [(16, 32), (100, 1056), (4096, 4096)] {
                    let k = whole(row.type, least)
                    for threads in [1, 2, 7, 1024] {
                        for raw in row.choice == .dense ? [false, true] : [false] {
                            let shape = try layout(row.type, sparse: row.sparse, coded: row.coded, n, k)
                            let plan = try Plan(shape, m: m, threads: threads,
                                                isa: .amx, forced: index, raw: raw)
                            try parts(plan, n, k, raw, "\(row.label) m \(m) \(n)x\(k) \(threads) threads raw \(raw)")
                        }
                    }
                }
            }
        }
    }

    private func parts(_ plan: Plan, _ n: Int, _ k: Int, _ raw: Bool, _ label: String) throws {
        let row = plan.kernel
        // What is written there, from the formats of the kernels' header.
        let kPer = row.activation == .q8 ? 64 : 32, rowBytes = row.activation == .f32 ? 128 : 64
        let wide = row.type == bf16 || row.type == f16, kTile = wide ? 32 : 64
        let blocks = row.activation == .plain ? 0 : (k + kTile - 1) / kTile * kTile / kPer
        XCTAssertEqual(plan.kblocks, blocks, label)
        XCTAssertGreaterThanOrEqual(plan.rows, plan.m, label)
        let entries = row.activation == .q8 ? plan.rows * blocks * 2 * 4 : 0
        let sums = row.activation == .q8 ? plan.rows * blocks * 64 / Block(type: row.type).part * 4 : 0
        XCTAssertLessThanOrEqual(plan.rows * blocks * rowBytes, plan.scaleOffset, label)
        XCTAssertLessThanOrEqual(plan.scaleOffset + entries, plan.sumOffset, label)
        XCTAssertLessThanOrEqual(plan.sumOffset + sums, plan.scratchOffset, label)
        // Scratch: the kernel's own, then two dense panels with room for a whole load behind them, then their side
        // stream, then what packing needs.
        let layout = try layout(row.type, sparse: false, n, k)
        let panels = raw ? 2 * layout.densePanel + 64 : 0, side = raw ? 2 * layout.kblocks * layout.type.sideBytes : 0
        XCTAssertGreaterThanOrEqual(plan.tilesOffset, row.scratchBytes(plan.m), label)
        XCTAssertLessThanOrEqual(plan.tilesOffset + panels, plan.sideOffset, label)
        XCTAssertLessThanOrEqual(plan.sideOffset + side, plan.codecOffset, label)
        XCTAssertLessThanOrEqual(plan.codecOffset + (raw && !wide ? Int(SX_CODEC_SCRATCH) : 0),
                                 plan.scratchBytes, label)
        for offset in [plan.scaleOffset, plan.sumOffset, plan.scratchOffset, plan.scratchBytes, plan.tilesOffset,
                       plan.codecOffset] {
            XCTAssertEqual(offset % 64, 0, label)
        }
        // 63 bytes at most go to alignment.
        XCTAssertLessThanOrEqual(63 + plan.scratchOffset + plan.threads * plan.scratchBytes, plan.workBytes, label)
    }

    func testWhatIsRefused() throws {
        let small = try layout(bf16, sparse: false, 16, 32)
        for (m, threads) in [(0, 1), (-1, 1), (Int.max, 1), (KernelTable.many + 1, 1), (1, 0), (1, 1025), (1, -1),
                             (1, Int.max)] {
            XCTAssertThrowsError(try Plan(small, m: m, threads: threads, isa: .amx)) {
                XCTAssertEqual($0 as? Status, .range)
            }
        }
        for index in 0..<KernelTable.count {
            let row = KernelTable.row(index)
            for m in [row.serves.lowerBound - 1, row.serves.upperBound + 1] {
                XCTAssertThrowsError(try Plan(layout(row.type, sparse: row.sparse, 16, 256), m: m, threads: 1,
                                              isa: .amx, forced: index)) {
                    XCTAssertEqual($0 as? Status, .range, row.label)
                }
            }
        }
        // The largest product that is allowed at all does not trap.
        for type in weightTypes {
            let huge = try PackedLayout(type: WeightType(type), sparse: true, n: Int(Int32.max),
                                        k: Int(Int32.max) - 255, matrices: 1, sparseBytes: 0)
            _ = try? Plan(huge, m: KernelTable.many, threads: 1024, isa: .amx)
            _ = try? Plan(huge, m: KernelTable.many, threads: 1024, isa: .amx, raw: true)
        }
    }
}
