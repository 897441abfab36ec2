import CKernelABI
@testable import SparamxCore
import XCTest

/// Packing: both levels write the same bytes, those of FORMAT.md, and give the file's bytes back.
final class CodecTests: XCTestCase {
    /// n, k (rounded up to the type's blocks), matrices.
    private let shapes = [
        (1, 1, 1), (1, 2, 3), (15, 31, 1), (16, 32, 2), (17, 33, 1), (33, 63, 2), (48, 64, 1), (5, 255, 4),
        (16, 256, 1), (31, 257, 3), (18, 513, 1), (64, 600, 1), (257, 40, 1),
    ]

    private func each(_ body: (Matrix, FormChoice, String) throws -> Void) rethrows {
        for type in weightTypes {
            for (i, (n, k, matrices)) in shapes.enumerated() {
                let whole = whole(type, k)
                // The quantized types share their code: fewer shapes and shares for each.
                let known = type == bf16 || type == f16 || type == q8
                if !known && i % 3 == 1 { continue }
                for zeros in known ? [0, 1, 30, 50, 70, 90, 99, 100] : [0, 50, 95] {
                    let weights = Matrix(type, n: n, k: whole, matrices: matrices, zeros: zeros, uneven: i % 3 == 2,
                                         seed: UInt64(i * 100 + zeros))
                    for form in formChoices(type) {
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
                let expected = form.isCoded ? CodedOracle(weights, sparse: form.isSparse).bytes
                    : FormatOracle(weights, sparse: form.isSparse).bytes
                XCTAssertEqual(tensor.bytes, expected.count, label)
                let background = tensor.layout.type.hasSparseForm ? weights.background : 0
                XCTAssertEqual(tensor.background, background, label)
                XCTAssertEqual(tensor.layout.form, form.rawValue, label)
                let found = bytes(tensor)
                if found != expected {
                    let place = zip(found, expected).enumerated().first { $1.0 != $1.1 }?.offset
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
                for row in 0..<n {
                    for j in 0..<k { weights.setCode(row, j, UInt16(truncatingIfNeeded: (row * k + j) &* 40503)) }
                }
                try survives(weights, "type \(type) \(n)x\(k)")
            }
        }
        // Every byte at every place of a block, scales and minimums included.
        for type in quantTypes {
            var weights = Matrix(type, n: 64, k: 4096)
            let block = weights.type.blockBytes
            for i in weights.bytes.indices { weights.bytes[i] = UInt8((i / block + i % block * 7) & 0xff) }
            try survives(weights, "type \(type)")
            var random = Random(UInt64(type))
            for i in weights.bytes.indices { weights.bytes[i] = UInt8(random.below(256)) }
            try survives(weights, "type \(type), random bytes")
        }
    }

    private func survives(_ weights: Matrix, _ label: String) throws {
        for form in formChoices(weights.type.number) {
            let tensors = try Machine.codecs.map { try weights.pack(form, codec: $0) }
            defer { for tensor in tensors { tensor.release() } }
            for tensor in tensors {
                XCTAssertEqual(tensor.bytes, tensors[0].bytes, label)
                XCTAssertEqual(memcmp(tensor.base, tensors[0].base, tensor.bytes), 0,
                               "\(label) \(form): packed bytes differ")
                for isa in Machine.codecs {
                    var out = [UInt8](repeating: 0xaa, count: weights.bytes.count)
                    try Unpacker.bytes(tensor, offset: 0, size: out.count, out: &out, codec: Codec(isa))
                    XCTAssertTrue(out == weights.bytes, "\(label) \(form) \(isa): not what it was")
                }
            }
        }
    }

    func testThreadsDoNotMatter() throws {
        for type in [bf16, f16, q8, 12, 14] {
            // More than 256 KB per thread, so that eight threads really run.
            let weights = Matrix(type, n: 530, k: type == bf16 || type == f16 ? 2049 : type == q8 ? 4128 : 7680,
                                 matrices: 2, zeros: 60, uneven: true, seed: 5)
            XCTAssertEqual(PackOptions(threads: 8).threadCount(weights.bytes.count), 8)
            for form in formChoices(type) {
                for isa in Machine.codecs {
                    let known = try weights.pack(form, threads: 1, codec: isa)
                    defer { known.release() }
                    for threads: Int32 in [2, 3, 8, 0] {
                        let tensor = try weights.pack(form, threads: threads, codec: isa)
                        defer { tensor.release() }
                        XCTAssertEqual(tensor.bytes, known.bytes)
                        XCTAssertEqual(memcmp(tensor.base, known.base, known.bytes), 0,
                                       "type \(type) \(form) \(isa) \(threads) threads")
                    }
                }
            }
        }
    }

    /// Rows that are apart in the source, and a source that ends at a guard page.
    func testStridesAndTheEndOfTheSource() throws {
        for type in weightTypes {
            for (n, k) in [(17, 96), (16, 64), (3, 32)] {
                let k = whole(type, k), weights = Matrix(type, n: n, k: k, matrices: 2, zeros: 40, seed: 9)
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
                    for form in formChoices(type) {
                        for isa in Machine.codecs {
                            let expected = try weights.pack(form, codec: isa)
                            let rows = Rows(base: source.base, rowStride: stride, matrixStride: plane)
                            let tensor = try Packer.pack(weights.type, n: n, k: k, matrices: 2, rows: rows,
                                                         options: PackOptions(form: form, threads: 1),
                                                         codec: Codec(isa))
                            XCTAssertEqual(tensor.bytes, expected.bytes)
                            XCTAssertEqual(memcmp(tensor.base, expected.base, expected.bytes), 0,
                                           "type \(type) \(form) \(isa) gap \(gap)")
                            expected.release()
                            tensor.release()
                        }
                    }
                }
            }
        }
    }
}
