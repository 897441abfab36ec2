@testable import SparamxCore
import XCTest

/// Sizes of the packed form from first principles, and which form a tensor gets.
final class FormChoiceTests: XCTestCase {
    private func up(_ a: Int, _ to: Int) -> Int { (a + to - 1) / to * to }

    /// Bytes of a form, counted without the library.
    private func expected(_ type: Int32, _ n: Int, _ k: Int, _ matrices: Int, sparse: Bool, codes: Int) -> Int {
        let wide = type != q8, n16 = up(n, 16) * matrices, kTile = up(k, wide ? 32 : 64)
        let values = sparse ? codes * (wide ? 2 : 1) : n16 * kTile * (wide ? 2 : 1)
        let bitmap = sparse ? n16 * kTile / 8 : 0
        let scales = wide ? 0 : n16 * (kTile / 32) * 2
        let offsets = sparse ? (n16 / 16 * (up(k, 256) / 256) + 1) * 8 : 0
        return up(values + 64, 64) + bitmap + scales + offsets
    }

    func testSizes() throws {
        for type in weightTypes {
            for (n, k, matrices) in [(16, 64, 1), (1, 32, 1), (17, 96, 2), (4096, 4096, 1), (33, 1056, 3), (14336, 4096, 8)] {
                for codes in [0, 1, 31, 32, n * k * matrices / 2, n * k * matrices] {
                    for sparse in [false, true] {
                        let layout = try PackedLayout(type: WeightType(type), sparse: sparse, n: n, k: k, matrices: matrices, codes: codes)
                        XCTAssertEqual(layout.totalBytes, expected(type, n, k, matrices, sparse: sparse, codes: codes), "type \(type) \(n)x\(k)x\(matrices) \(codes) codes")
                        XCTAssertGreaterThanOrEqual(layout.bitmapOffset - layout.valueBytes, 64, "loads of 64 bytes leave the values")
                        for offset in [layout.bitmapOffset, layout.scalesOffset, layout.offsetsOffset] { XCTAssertEqual(offset % 8, 0) }
                    }
                }
            }
        }
    }

    /// The table in the design: bits per weight of a large matrix.
    func testBitsPerWeight() throws {
        let n = 4096, k = 4096
        for (type, zeros, bits) in [(bf16, 50, 9.0), (bf16, 70, 5.8), (f16, 50, 9.0), (q8, 50, 5.5), (q8, 70, 3.9)] {
            let layout = try PackedLayout(type: WeightType(type), sparse: true, n: n, k: k, matrices: 1, codes: n * k * (100 - zeros) / 100)
            XCTAssertEqual(8 * Double(layout.totalBytes) / Double(n * k), bits, accuracy: 0.03)
        }
        for (type, bits) in [(bf16, 16.0), (f16, 16.0), (q8, 8.5)] {
            let layout = try PackedLayout(type: WeightType(type), sparse: false, n: n, k: k, matrices: 1, codes: 0)
            XCTAssertEqual(8 * Double(layout.totalBytes) / Double(n * k), bits, accuracy: 0.01)
        }
    }

    /// One code more than what saves 1/16 makes it dense.
    func testAutomaticChoice() throws {
        for type in weightTypes {
            for (n, k, matrices) in [(32, 512, 1), (17, 288, 2), (100, 96, 1)] {
                let dense = expected(type, n, k, matrices, sparse: false, codes: 0)
                let limit = (0...n * k * matrices).last { expected(type, n, k, matrices, sparse: true, codes: $0) <= dense - dense / 16 }
                // Few rows in a panel: the sparse form leaves the padding out and pays even without zeros.
                let cases = limit! == n * k * matrices ? [(0, true), (limit!, true)]
                    : [(0, true), (limit!, true), (limit! + 1, false), (n * k * matrices, false)]
                for (codes, sparse) in cases {
                    var weights = Matrix(type, n: n, k: k, matrices: matrices)
                    for i in 0..<codes { weights.setCode(i % weights.rows, i / weights.rows, 0x0101 & (type == q8 ? 0xff : 0xffff)) }
                    for isa in Machine.codecs {
                        let tensor = try weights.pack(.automatic, codec: isa)
                        defer { tensor.release() }
                        let label = "type \(type) \(n)x\(k)x\(matrices), \(codes) codes, limit \(limit!)"
                        XCTAssertEqual(tensor.layout.sparse, sparse, label)
                        XCTAssertEqual(tensor.reason, sparse ? .sparsePays : .tooFewZeros, label)
                        XCTAssertEqual(tensor.background, n * k * matrices - codes, label)
                        XCTAssertEqual(tensor.bytes, expected(type, n, k, matrices, sparse: sparse, codes: codes), label)
                    }
                }
            }
        }
    }

    func testAskedFor() throws {
        for type in weightTypes {
            for zeros in [0, 50, 100] {
                let weights = Matrix(type, n: 20, k: 64, zeros: zeros, seed: 3)
                for (form, reason) in [(FormChoice.dense, FormReason.denseAsked), (.sparse, .sparseAsked)] {
                    let tensor = try weights.pack(form)
                    defer { tensor.release() }
                    XCTAssertEqual(tensor.reason, reason)
                    XCTAssertEqual(tensor.layout.sparse, form == .sparse)
                }
            }
        }
    }

    func testReasonsAreSentences() {
        var seen = Set<String>()
        for value in 0..<Int32(64) {
            guard let reason = FormReason(rawValue: value) else { continue }
            XCTAssertGreaterThan(reason.sentence.utf8CodeUnitCount, 10)
            XCTAssertTrue(seen.insert("\(reason.sentence)").inserted)
        }
        XCTAssertEqual(seen.count, 7)
    }

    func testShapesThatAreNotAllowed() {
        for (type, n, k, matrices) in [(bf16, 0, 1, 1), (bf16, 1, 0, 1), (bf16, 1, 1, 0), (q8, 1, 31, 1), (q8, 1, 33, 1), (bf16, -1, 5, 1)] {
            XCTAssertThrowsError(try PackedLayout(type: WeightType(type), sparse: true, n: n, k: k, matrices: matrices, codes: 0)) {
                XCTAssertEqual($0 as? Status, .shape)
            }
        }
        XCTAssertThrowsError(try PackedLayout(type: WeightType(bf16), sparse: false, n: 1 << 40, k: 1 << 40, matrices: 1, codes: 0)) {
            XCTAssertEqual($0 as? Status, .range)
        }
        for type: Int32 in [-1, 0, 2, 9, 26, 31, .max] {
            XCTAssertThrowsError(try WeightType(type)) { XCTAssertEqual($0 as? Status, .type) }
        }
    }
}
