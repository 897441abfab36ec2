@testable import SparamxCore
import XCTest

/// Sizes of the packed form from first principles, and which form a tensor gets.
final class FormChoiceTests: XCTestCase {
    private func up(_ a: Int, _ to: Int) -> Int { (a + to - 1) / to * to }

    /// Bytes of a form, counted without the library. valueBytes: of the values in the sparse form.
    private func expected(_ type: Int32, _ n: Int, _ k: Int, _ matrices: Int, sparse: Bool, valueBytes: Int) -> Int {
        let wide = type == bf16 || type == f16, n16 = up(n, 16) * matrices, kTile = up(k, wide ? 32 : 64)
        let bitmap = sparse ? n16 * kTile / 8 : 0
        let offsets = sparse ? (n16 / 16 * (up(k, 256) / 256) + 1) * 8 : 0
        let values = sparse ? valueBytes : n16 / 16 * densePanel(type, kTile)
        return up(up(values + 64, 64) + bitmap + n16 * kTile / 1024 * sidePerTile(type), 8) + offsets
    }

    private func densePanel(_ type: Int32, _ k: Int) -> Int {
        if type == bf16 || type == f16 { return k * 32 }
        let bits = Block(type: type).codeBits, low = bits == 8 || bits == 1 ? bits : bits < 4 ? 2 : 4
        return stride(from: 0, to: k, by: 256).reduce(0) { sum, first in
            let blocks = min(8, (k - first) / 32)
            return sum + [low, bits - low].filter { $0 > 0 }.reduce(0) { $0 + up(blocks, 8 / $1) * $1 * 64 }
        }
    }

    private func sidePerTile(_ type: Int32) -> Int {
        type == bf16 || type == f16 ? 0 : BlockDescription(type: type).sideBytes
    }

    func testSizes() throws {
        for type in weightTypes {
            for (n, shape, matrices) in [(16, 64, 1), (1, 32, 1), (17, 96, 2), (4096, 4096, 1), (33, 1056, 3),
                                         (14336, 4096, 8)] {
                let k = whole(type, shape)
                for codes in [0, 1, 31, 32, n * k * matrices / 2, n * k * matrices] {
                    for sparse in forms(type) {
                        let layout = try PackedLayout(type: WeightType(type), sparse: sparse, n: n, k: k,
                                                      matrices: matrices, sparseBytes: codes)
                        XCTAssertEqual(layout.totalBytes,
                                       expected(type, n, k, matrices, sparse: sparse, valueBytes: codes),
                                       "type \(type) \(n)x\(k)x\(matrices) \(codes) codes")
                        XCTAssertGreaterThanOrEqual(layout.bitmapOffset - layout.valueBytes, 64,
                                                    "loads of 64 bytes leave the values")
                        for offset in [layout.bitmapOffset, layout.sideOffset, layout.offsetsOffset] {
                            XCTAssertEqual(offset % 8, 0)
                        }
                    }
                }
            }
        }
    }

    /// Bits per weight of a large matrix: a bit of bitmap, the code, and what the type has beside its codes. Planes of
    /// a chunk are not equally full, which costs a few hundredths.
    func testBitsPerWeight() throws {
        for type in weightTypes {
            for zeros in forms(type).contains(true) ? [0, 50, 70] : [0] {
                let weights = Matrix(type, n: 64, k: 4096, zeros: zeros, seed: 8)
                let tensor = try weights.pack(zeros == 0 ? .dense : .sparse)
                defer { tensor.release() }
                let codeBits = Double(weights.block?.codeBits ?? 16), bits = codeBits + Double(sidePerTile(type)) / 128
                let expected = zeros == 0 ? bits : bits + 1 - codeBits * Double(zeros) / 100
                let found = 8 * Double(tensor.bytes) / Double(64 * 4096)
                XCTAssertEqual(found, expected, accuracy: zeros == 0 ? 0.01 : 0.11, "type \(type) \(zeros)%")
            }
        }
    }

    /// One code more than what saves 1/16 makes it dense. (Types whose codes are whole bytes: planes of others are as
    /// long as the fullest.)
    func testAutomaticChoice() throws {
        for type in [bf16, f16, q8] {
            let size = type == q8 ? 1 : 2
            for (n, k, matrices) in [(32, 512, 1), (17, 288, 2), (100, 96, 1)] {
                let dense = expected(type, n, k, matrices, sparse: false, valueBytes: 0)
                let limit = (0...n * k * matrices).last {
                    expected(type, n, k, matrices, sparse: true, valueBytes: $0 * size) <= dense - dense / 16
                }
                // Few rows in a panel: the sparse form leaves the padding out and pays even without zeros.
                let cases = limit! == n * k * matrices ? [(0, true), (limit!, true)]
                    : [(0, true), (limit!, true), (limit! + 1, false), (n * k * matrices, false)]
                for (codes, sparse) in cases {
                    var weights = Matrix(type, n: n, k: k, matrices: matrices)
                    for i in 0..<codes {
                        weights.setCode(i % weights.rows, i / weights.rows, 0x0101 & (type == q8 ? 0xff : 0xffff))
                    }
                    for isa in Machine.codecs {
                        let tensor = try weights.pack(.automatic, codec: isa)
                        defer { tensor.release() }
                        let label = "type \(type) \(n)x\(k)x\(matrices), \(codes) codes, limit \(limit!)"
                        XCTAssertEqual(tensor.layout.sparse, sparse, label)
                        XCTAssertEqual(tensor.reason, sparse ? .sparsePays : .tooFewZeros, label)
                        XCTAssertEqual(tensor.background, n * k * matrices - codes, label)
                        XCTAssertEqual(tensor.bytes,
                                       expected(type, n, k, matrices, sparse: sparse, valueBytes: codes * size), label)
                    }
                }
            }
        }
    }

    /// The other types: sparse exactly where it saves 1/16.
    func testAutomaticChoiceOfPlanes() throws {
        for type in sparseTypes {
            for zeros in [0, 10, 20, 25, 30, 35, 40, 50, 100] {
                let weights = Matrix(type, n: 32, k: 1024, zeros: zeros, seed: 4)
                let forms = try [FormChoice.dense, .sparse, .automatic].map { try weights.pack($0) }
                defer { for form in forms { form.release() } }
                let pays = forms[1].bytes <= forms[0].bytes - forms[0].bytes / 16
                XCTAssertEqual(forms[2].layout.sparse, pays, "type \(type) \(zeros)%")
                if zeros >= 50 && weights.block!.codeBits > 2 { XCTAssertTrue(pays, "type \(type) \(zeros)%") }
                if zeros == 0 { XCTAssertFalse(pays, "type \(type)") }
            }
        }
    }

    func testAskedFor() throws {
        for type in weightTypes {
            for zeros in [0, 50, 100] {
                let weights = Matrix(type, n: 20, k: 256, zeros: zeros, seed: 3)
                for (form, reason) in [(FormChoice.dense, FormReason.denseAsked), (.sparse, .sparseAsked)] {
                    let tensor = try weights.pack(form)
                    defer { tensor.release() }
                    // A type without a sparse form stays dense, whatever is asked for.
                    let possible = form == .dense || forms(type).contains(true)
                    XCTAssertEqual(tensor.reason, possible ? reason : .noSparseForm)
                    XCTAssertEqual(tensor.layout.sparse, form == .sparse && possible)
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
        XCTAssertEqual(seen.count, 12)
    }

    func testShapesThatAreNotAllowed() {
        for (type, n, k, matrices) in [(bf16, 0, 1, 1), (bf16, 1, 0, 1), (bf16, 1, 1, 0), (q8, 1, 31, 1),
                                       (q8, 1, 33, 1), (12, 1, 32, 1), (14, 1, 255, 1), (bf16, -1, 5, 1)] {
            XCTAssertThrowsError(try PackedLayout(type: WeightType(type), sparse: true, n: n, k: k, matrices: matrices,
                                                  sparseBytes: 0)) {
                XCTAssertEqual($0 as? Status, .shape)
            }
        }
        XCTAssertThrowsError(try PackedLayout(type: WeightType(bf16), sparse: false, n: 1 << 40, k: 1 << 40,
                                              matrices: 1, sparseBytes: 0)) {
            XCTAssertEqual($0 as? Status, .range)
        }
        for type: Int32 in [-1, 0, 1 << 20, 9, 15, 16, 26, 31, 38, .max] {
            XCTAssertThrowsError(try WeightType(type)) { XCTAssertEqual($0 as? Status, .type) }
        }
    }
}
