import CKernelABI
@testable import SparamxCore
import XCTest

/// Packing: both levels write the same bytes, those of FORMAT.md, and give the file's bytes back.
final class CodecTests: XCTestCase {
    /// n, k (for codes of 2 bytes; rounded up to 32 for Q8_0), matrices.
    private let shapes = [
        (1, 1, 1), (1, 2, 3), (15, 31, 1), (16, 32, 2), (17, 33, 1), (33, 63, 2), (48, 64, 1), (5, 255, 4), (16, 256, 1),
        (31, 257, 3), (18, 513, 1), (64, 600, 1), (257, 40, 1),
    ]

    private func each(_ body: (Matrix, FormChoice, String) throws -> Void) rethrows {
        for type in weightTypes {
            for (i, (n, k, matrices)) in shapes.enumerated() {
                let whole = type == q8 ? (k + 31) / 32 * 32 : k
                for zeros in [0, 1, 30, 50, 70, 90, 99, 100] {
                    let weights = Matrix(type, n: n, k: whole, matrices: matrices, zeros: zeros, uneven: i % 3 == 2,
                                         seed: UInt64(i * 100 + zeros))
                    for form in [FormChoice.dense, .sparse] {
                        try body(weights, form, "type \(type) \(form) \(n)x\(whole)x\(matrices) \(zeros)%")
                    }
                }
            }
        }
    }

    private func bytes(_ tensor: PackedTensor) -> [UInt8] {
        [UInt8](UnsafeRawBufferPointer(start: tensor.base, count: tensor.bytes))
    }

    func testBytesAreThoseOfTheFormat() throws {
        try each { weights, form, label in
            for isa in Machine.codecs {
                let tensor = try weights.pack(form, codec: isa)
                defer { tensor.release() }
                let expected = FormatOracle(weights, sparse: form == .sparse)
                XCTAssertEqual(tensor.bytes, expected.bytes.count, label)
                XCTAssertEqual(tensor.background, weights.background, label)
                XCTAssertEqual(tensor.layout.sparse, form == .sparse, label)
                let found = bytes(tensor)
                if found != expected.bytes {
                    let place = zip(found, expected.bytes).enumerated().first { $1.0 != $1.1 }?.offset
                    XCTFail("\(label) \(isa): byte \(place ?? -1) of \(found.count)")
                }
            }
        }
    }

    func testUnpackingGivesTheFileBack() throws {
        try each { weights, form, label in
            let tensor = try weights.pack(form)
            defer { tensor.release() }
            for isa in Machine.codecs {
                let out = Region(weights.bytes.count)
                try Unpacker.bytes(tensor, offset: 0, size: out.bytes, out: out.octets, codec: Codec(isa))
                XCTAssertEqual(memcmp(out.base, weights.bytes, out.bytes), 0, "\(label) \(isa)")
                XCTAssertTrue(out.intact, "\(label) \(isa)")
            }
        }
    }

    func testEveryCodeSurvives() throws {
        for type in [bf16, f16] {
            for (n, k) in [(64, 1024), (65, 1040), (1, 65536)] {
                var weights = Matrix(type, n: n, k: k)
                for row in 0..<n { for j in 0..<k { weights.setCode(row, j, UInt16(truncatingIfNeeded: (row * k + j) &* 40503)) } }
                try survives(weights, "type \(type) \(n)x\(k)")
            }
        }
        // Every byte at every place of a block, every pattern of a scale.
        var weights = Matrix(q8, n: 64, k: 32 * 1024)
        for row in 0..<64 {
            for block in 0..<1024 { weights.setScale(row, block, UInt16(row * 1024 + block)) }
            for j in 0..<weights.k { weights.setCode(row, j, UInt16((j / 32 + j + row * 4) & 0xff)) }
        }
        try survives(weights, "Q8_0")
    }

    private func survives(_ weights: Matrix, _ label: String) throws {
        for form in [FormChoice.dense, .sparse] {
            let tensors = try Machine.codecs.map { try weights.pack(form, codec: $0) }
            defer { for tensor in tensors { tensor.release() } }
            for tensor in tensors {
                XCTAssertEqual(tensor.bytes, tensors[0].bytes, label)
                XCTAssertEqual(memcmp(tensor.base, tensors[0].base, tensor.bytes), 0, "\(label) \(form): packed bytes differ")
                for isa in Machine.codecs {
                    var out = [UInt8](repeating: 0xaa, count: weights.bytes.count)
                    try Unpacker.bytes(tensor, offset: 0, size: out.count, out: &out, codec: Codec(isa))
                    XCTAssertTrue(out == weights.bytes, "\(label) \(form) \(isa): not what it was")
                }
            }
        }
    }

    func testThreadsDoNotMatter() throws {
        for type in weightTypes {
            // More than 256 KB per thread, so that eight threads really run.
            let weights = Matrix(type, n: 530, k: type == q8 ? 4128 : 2049, matrices: 2, zeros: 60, uneven: true, seed: 5)
            XCTAssertEqual(PackOptions(threads: 8).threadCount(weights.bytes.count), 8)
            for form in [FormChoice.dense, .sparse] {
                for isa in Machine.codecs {
                    let known = try weights.pack(form, threads: 1, codec: isa)
                    defer { known.release() }
                    for threads: Int32 in [2, 3, 8, 0] {
                        let tensor = try weights.pack(form, threads: threads, codec: isa)
                        defer { tensor.release() }
                        XCTAssertEqual(tensor.bytes, known.bytes)
                        XCTAssertEqual(memcmp(tensor.base, known.base, known.bytes), 0, "type \(type) \(form) \(isa) \(threads) threads")
                    }
                }
            }
        }
    }

    /// Rows that are apart in the source, and a source that ends at a guard page.
    func testStridesAndTheEndOfTheSource() throws {
        for type in weightTypes {
            for (n, k) in [(17, 96), (16, 64), (3, 32)] {
                let weights = Matrix(type, n: n, k: k, matrices: 2, zeros: 40, seed: 9)
                for gap in [0, 1, 34, 100] {
                    let stride = weights.rowBytes + gap, plane = stride * n + 7
                    let source = Region(plane + (n - 1) * stride + weights.rowBytes)
                    source.fill(0x77)
                    weights.bytes.withUnsafeBytes { bytes in
                        for row in 0..<2 * n {
                            (source.base + row / n * plane + row % n * stride).copyMemory(
                                from: bytes.baseAddress! + row * weights.rowBytes, byteCount: weights.rowBytes)
                        }
                    }
                    for form in [FormChoice.dense, .sparse] {
                        for isa in Machine.codecs {
                            let expected = try weights.pack(form, codec: isa)
                            let rows = Rows(base: source.base, rowStride: stride, matrixStride: plane)
                            let tensor = try Packer.pack(weights.type, n: n, k: k, matrices: 2, rows: rows,
                                                         options: PackOptions(form: form, threads: 1), codec: Codec(isa))
                            XCTAssertEqual(tensor.bytes, expected.bytes)
                            XCTAssertEqual(memcmp(tensor.base, expected.base, expected.bytes), 0, "type \(type) \(form) \(isa) gap \(gap)")
                            expected.release()
                            tensor.release()
                        }
                    }
                }
            }
        }
    }
}

/// The packed form, written down a second time: no shared code with the library, no cleverness.
///
/// values: per panel of 16 rows, tile, tile row, column and code in the column; sparse leaves the background out. Then 64
/// bytes of zero at least, up to a multiple of 64. bitmap (sparse): one bit per code in the same order, lowest first.
/// scales (Q8_0): per panel, block of 32 and column. offsets (sparse): per panel and 256 of K the byte where its values
/// start, and the end.
struct FormatOracle {
    private(set) var bytes: [UInt8] = []

    init(_ weights: Matrix, sparse: Bool) {
        let wide = !weights.type.hasScales
        let perColumn = wide ? 2 : 4, perTile = 16 * perColumn
        let panels = (weights.n + 15) / 16, tiles = (weights.k + perTile - 1) / perTile
        var bitmap: [UInt8] = [], scales: [UInt8] = [], offsets: [UInt64] = []
        for matrix in 0..<weights.matrices {
            for panel in 0..<panels {
                for tile in 0..<tiles {
                    if tile * perTile % 256 == 0 { offsets.append(UInt64(bytes.count)) }
                    var bit = 0
                    for row in 0..<16 {
                        for column in 0..<16 {
                            for i in 0..<perColumn {
                                let j = panel * 16 + column, k = tile * perTile + row * perColumn + i
                                let code = j < weights.n && k < weights.k ? weights.code(matrix * weights.n + j, k) : 0
                                if bit % 8 == 0 { bitmap.append(0) }
                                if code != 0 || !sparse {
                                    bitmap[bitmap.count - 1] |= 1 << UInt8(bit % 8)
                                    if wide {
                                        bytes += [UInt8(code & 0xff), UInt8(code >> 8)]
                                    } else {
                                        bytes.append(UInt8(code) ^ 0x80)
                                    }
                                }
                                bit += 1
                            }
                        }
                    }
                    for half in 0..<2 where !wide {
                        for column in 0..<16 {
                            let j = panel * 16 + column, block = tile * 2 + half
                            let present = j < weights.n && block * 32 < weights.k
                            let scale = present ? weights.scale(matrix * weights.n + j, block) : 0
                            scales += [UInt8(scale & 0xff), UInt8(scale >> 8)]
                        }
                    }
                }
            }
        }
        offsets.append(UInt64(bytes.count))
        bytes += [UInt8](repeating: 0, count: 64)
        while bytes.count % 64 != 0 { bytes.append(0) }
        if sparse { bytes += bitmap }
        bytes += scales
        if sparse { for offset in offsets { for i in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: offset >> UInt64(8 * i))) } } }
    }
}
