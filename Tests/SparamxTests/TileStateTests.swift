import CTileEmulator
import CInstructions
@testable import SparamxCore
import XCTest

/// The tile configuration of the host's thread is the same before and after a product, whatever it was.
final class TileStateTests: XCTestCase {
    /// No tiles; rows and bytes per row that no kernel here uses; palette 2 (ACE), whose other bytes are not ours to
    /// understand.
    private var configurations: [[UInt8]] {
        let ace = [2] + (1..<64).map { UInt8($0 * 37 % 251) }
        return [configure(0), configure(1), configure(8)] + (Machine.emulatesTiles ? [ace] : [])
    }

    private func configure(_ tiles: Int) -> [UInt8] {
        var config = [UInt8](repeating: 0, count: 64)
        if tiles == 0 { return config }
        config[0] = 1
        for tile in 0..<tiles {
            config[16 + 2 * tile] = UInt8(12 + 4 * tile)
            config[48 + tile] = UInt8(3 + tile)
        }
        return config
    }

    func testConfigurationSurvives() throws {
        try Machine.require(.amx, "tile configuration")
        for (index, row) in kernelRows(.amx) {
            let k = whole(row.type, 96)
            let weights = Matrix(row.type, n: 40, k: k, zeros: 50, seed: 1)
            let tensor = try weights.pack(row.sparse ? .sparse : .dense)
            defer { tensor.release() }
            for m in [1, 16, 17, 32, 33] where row.serves.contains(m) {
                for config in configurations {
                    let x = Tokens(m: m, k: k, ld: k), y = Results(m: m, n: 40, ld: 40)
                    x.fill(.normal, zeros: false, seed: 2)
                    let plan = try Plan(tensor.layout, m: m, threads: 1, isa: .amx, forced: index)
                    if config[0] > 0 { config.withUnsafeBytes { sx_tile_load_config($0.baseAddress!) } }
                    let trouble = multiply(plan, tensor, x, y)
                    var after = [UInt8](repeating: 0xff, count: 64)
                    let loaded = after.withUnsafeMutableBytes {
                        tile_emulator_state($0.baseAddress!.assumingMemoryBound(to: UInt8.self))
                    }
                    sx_tile_release()
                    XCTAssertNil(trouble, row.label)
                    XCTAssertEqual(loaded, config[0] > 0 ? 1 : 0, "\(row.label) m \(m)")
                    XCTAssertEqual(after, config, "\(row.label) m \(m), palette \(config[0])")
                }
            }
        }
    }

    func testOtherKernelsDoNotTouchTiles() throws {
        try Machine.require(.amx, "tile configuration")
        guard Machine.emulatesTiles else { return print("tile instructions of this CPU itself are not counted") }
        tile_emulator_reset_counts()
        for (index, row) in runnableRows() where row.isa != .amx {
            let weights = Matrix(row.type, n: 20, k: whole(row.type, 32), zeros: 50, seed: 1)
            let tensor = try weights.pack(row.sparse ? .sparse : .dense)
            defer { tensor.release() }
            let m = row.serves.lowerBound
            let x = Tokens(m: m, k: weights.k, ld: weights.k), y = Results(m: m, n: 20, ld: 20)
            x.fill(.normal, zeros: false, seed: 2)
            XCTAssertNil(multiply(try Plan(tensor.layout, m: m, threads: 1, isa: row.isa, forced: index), tensor, x, y))
        }
        for op in 0..<Int32(TILE_OP_COUNT) { XCTAssertEqual(tile_emulator_count(op), 0) }
    }
}
