@testable import SparamxCore
import XCTest

/// Any range of a packed tensor reads as it was written.
final class UnpackerTests: XCTestCase {
    private func eachTensor(_ body: (Matrix, PackedTensor, Codec, String) throws -> Void) throws {
        for type in weightTypes {
            for (n, k, matrices) in [(33, whole(type, 70), 3), (16, whole(type, 64), 2), (1, whole(type, 257), 1),
                                     (50, whole(type, 32), 1)] {
                for form in formChoices(type) {
                    let weights = Matrix(type, n: n, k: k, matrices: matrices, zeros: 50, seed: UInt64(n))
                    let tensor = try weights.pack(form)
                    defer { tensor.release() }
                    for isa in Machine.codecs {
                        try body(weights, tensor, Codec(isa), "type \(type) \(form) \(n)x\(k)x\(matrices) \(isa)")
                    }
                }
            }
        }
    }

    private func check(_ weights: Matrix, _ tensor: PackedTensor, _ codec: Codec, _ offset: Int, _ size: Int,
                       _ label: String) throws {
        let out = Region(size, distance: offset % 3)
        out.fill(0x55)
        try Unpacker.bytes(tensor, offset: offset, size: size, out: out.octets, codec: codec)
        let same = weights.bytes.withUnsafeBytes { memcmp(out.base, $0.baseAddress! + offset, size) == 0 }
        XCTAssertTrue(same && out.intact, "\(label): \(size) bytes from \(offset)")
    }

    func testEveryShortRange() throws {
        try eachTensor { weights, tensor, codec, label in
            let total = weights.bytes.count
            for offset in stride(from: 0, to: total, by: max(1, total / 97)) {
                for size in [1, 2, 3, weights.rowBytes - 1, weights.rowBytes, weights.rowBytes + 1]
                where size > 0 && offset + size <= total {
                    try check(weights, tensor, codec, offset, size, label)
                }
            }
        }
    }

    func testRandomRanges() throws {
        var random = Random(77)
        try eachTensor { weights, tensor, codec, label in
            let total = weights.bytes.count
            for _ in 0..<300 {
                var offset = random.below(total + 1), end = random.below(total + 1)
                if end < offset { swap(&offset, &end) }
                if random.below(3) == 0 { offset -= offset % weights.rowBytes }
                if random.below(3) == 0 { end = min(total, end - end % weights.rowBytes + weights.rowBytes) }
                try check(weights, tensor, codec, offset, end - offset, label)
            }
            try check(weights, tensor, codec, 0, total, label)
            try check(weights, tensor, codec, total, 0, label)
        }
    }

    func testRowsWithAStride() throws {
        var random = Random(78)
        try eachTensor { weights, tensor, codec, label in
            for _ in 0..<60 {
                let first = random.below(weights.rows), count = 1 + random.below(weights.rows - first)
                let stride = weights.rowBytes + [0, 1, 40][random.below(3)]
                let out = Region((count - 1) * stride + weights.rowBytes, distance: 64)
                out.fill(0x55)
                try Unpacker.rows(tensor, first: first, count: count, out: out.octets, rowStride: stride, codec: codec)
                let place = "\(label): \(count) rows from \(first), stride \(stride)"
                for row in 0..<count {
                    let same = weights.bytes.withUnsafeBytes {
                        memcmp(out.base + row * stride, $0.baseAddress! + (first + row) * weights.rowBytes,
                               weights.rowBytes) == 0
                    }
                    let gap = row + 1 == count || (weights.rowBytes..<stride).allSatisfy {
                        out.octets[row * stride + $0] == 0x55
                    }
                    if !same || !gap {
                        return XCTFail("\(place): row \(row) is \(same ? "right" : "wrong"), "
                                       + "\(gap ? "" : "not ")alone written")
                    }
                }
                if !out.intact { return XCTFail("\(place): wrote behind the last row") }
            }
        }
    }
}
