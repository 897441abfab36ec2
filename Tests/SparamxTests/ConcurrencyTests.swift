import CPlatform
@testable import SparamxCore
import XCTest

/// One type of each kind of code: under the thread sanitizer all of them take a quarter of an hour.
private let raceTypes = [bf16, f16, q8, 2, 14]

/// What may happen at the same time, at the same time. Made for the thread sanitizer:
///
///     SPARAMX_ORDINARY_SWIFT=1 swift test --sanitize=thread -c release --scratch-path build/swift-tsan \
///         --filter Concurrency
///
/// AMX kernels stay out: emulated tiles live in signal handlers, which the sanitizer delays.
final class ConcurrencyTests: XCTestCase {
    private func cases() -> [(Matrix, FormChoice)] {
        raceTypes.flatMap { type in
            [FormChoice.dense, .sparse].map { form in
                (Matrix(type, n: 80, k: whole(type, 270), zeros: 60, uneven: true, seed: UInt64(type)), form)
            }
        }
    }

    private static func equal(_ tensor: PackedTensor, _ other: PackedTensor) -> Bool {
        tensor.bytes == other.bytes && memcmp(tensor.base, other.base, tensor.bytes) == 0
    }

    /// One source, packed by several callers with several threads each.
    func testPacking() throws {
        for type in raceTypes {
            // 256 KB and more for each of four packing threads.
            let weights = Matrix(type, n: 560, k: whole(type, 1040), zeros: 60, uneven: true, seed: 3)
            for form in [FormChoice.dense, .sparse] {
                for isa in Machine.codecs {
                    let known = try weights.pack(form, codec: isa)
                    defer { known.release() }
                    let shared = Shared((weights, known))
                    inParallel(3) { _ in
                        let tensor = try! shared.value.0.pack(form, threads: 4, codec: isa)
                        XCTAssertTrue(Self.equal(tensor, shared.value.1))
                        tensor.release()
                    }
                }
            }
        }
    }

    /// Reading and multiplying one tensor, alone and in teams, all at once.
    func testReadingAndMultiplying() throws {
        for (weights, form) in cases() {
            let tensor = try weights.pack(form)
            defer { tensor.release() }
            for isa in Machine.codecs {
                for m in [1, 3, 5, 40] {
                    let index = try XCTUnwrap(KernelTable.choose(type: weights.type.number,
                                                                 sparse: tensor.layout.sparse, m: m, isa: isa))
                    let x = Tokens(m: m, k: weights.k, ld: weights.k)
                    let known = Results(m: m, n: weights.n, ld: weights.n)
                    x.fill(.normal, zeros: true, seed: 4)
                    XCTAssertNil(multiply(try Plan(tensor.layout, m: m, threads: 1, isa: isa, forced: index),
                                          tensor, x, known))
                    let shared = Shared((weights, tensor))
                    inParallel(5) { caller in
                        let (weights, tensor) = shared.value
                        if caller == 4 {
                            var out = [UInt8](repeating: 0, count: weights.bytes.count)
                            try! Unpacker.bytes(tensor, offset: 0, size: out.count, out: &out, codec: Codec(isa))
                            return XCTAssertTrue(out == weights.bytes)
                        }
                        let plan = try! Plan(tensor.layout, m: m, threads: caller + 1, isa: isa, forced: index)
                        let y = Results(m: 2 * m, n: weights.n, ld: weights.n)
                        var twice = Batch.Dimensions()
                        twice.products = (2, 1)
                        twice.repeats = (2, 1)
                        twice.y = (m * weights.n * 4, 0)
                        let trouble = multiply(plan, .packed(tensor, matrix: 0), x, y, twice)
                            ?? known.difference(y) ?? known.difference(y, from: m)
                        XCTAssertNil(trouble, KernelTable.row(index).label)
                    }
                }
            }
        }
    }

    /// Weights that are packed as the product goes: threads read one file and write scratch of their own.
    func testMultiplyingRawWeights() throws {
        for (weights, form) in cases() where form == .dense {
            for isa in Machine.codecs {
                let layout = try PackedLayout(type: weights.type, sparse: false, n: weights.n, k: weights.k,
                                              matrices: 1, sparseBytes: 0)
                let x = Tokens(m: 6, k: weights.k, ld: weights.k)
                x.fill(.normal, zeros: true, seed: 4)
                let file = Region(weights.bytes.count)
                file.base.copyMemory(from: weights.bytes, byteCount: file.bytes)
                let rows = Rows(base: file.base, rowStride: weights.rowBytes, matrixStride: 0)
                let results = try [1, 4].map { threads in
                    let y = Results(m: 6, n: weights.n, ld: weights.n)
                    XCTAssertNil(multiply(try Plan(layout, m: 6, threads: threads, isa: isa, raw: true),
                                          .raw(layout, rows), x, y))
                    return y
                }
                XCTAssertNil(results[0].difference(results[1]))
            }
        }
    }

    private func describe(_ weights: Matrix, _ data: UnsafeMutableRawPointer) throws -> Tensor {
        let row = UInt64(weights.rowBytes), matrix = row * UInt64(weights.n), all = matrix * UInt64(weights.matrices)
        return try Tensor(type: weights.type.number,
                          ne: (Int64(weights.k), Int64(weights.n), Int64(weights.matrices), 1),
                          nb: (UInt64(weights.type.blockBytes), row, matrix, all), data: data, name: nil)
    }

    /// Uploads to different tensors of one buffer, whole and in pieces, announced before and on arrival, changed and
    /// written again; tensors that are complete are read and multiplied meanwhile.
    func testUploads() throws {
        let isa = Machine.codecs.last!, count = 8, room = 1 << 20
        let sources = (0..<count + 1).map { i in
            Matrix(weightTypes[i % weightTypes.count], n: 60 + i, k: whole(weightTypes[i % weightTypes.count], 250),
                   matrices: 1 + i % 2, zeros: 50, seed: UInt64(i))
        }
        for round in 0..<4 {
            let handle = try Buffer.create(size: room * (count + 1), forWeights: true,
                                           options: PackOptions(threads: 2), isa: isa)
            let base = handle.pointee.base
            let tensors = try sources.enumerated().map { try describe($1, base + $0 * room) }
            for i in stride(from: 0, to: count, by: 2) { try Buffer.announce(handle, tensors[i]) }
            // The last one is there from the beginning, for those who read.
            try Buffer.write(handle, tensors[count], sources[count].bytes, offset: 0, size: sources[count].bytes.count)
            let shared = Shared((handle, sources, tensors))
            inParallel(count + 1) { i in
                let (handle, sources, tensors) = shared.value
                let bytes = sources[i].bytes
                if i == count { return Self.readAndMultiply(handle, sources[i], tensors[i], isa) }
                Self.upload(handle, tensors[i], bytes, seed: UInt64(round * 100 + i))
                var back = [UInt8](repeating: 1, count: bytes.count)
                try! handle.pointee.read(tensors[i], &back, offset: 0, size: back.count)
                XCTAssertTrue(back == bytes, "tensor \(i)")
                // Changed after packing, and put back.
                try! Buffer.fill(handle, tensors[i], 0xff, offset: 5, size: 100)
                try! Buffer.write(handle, tensors[i], Array(bytes[5..<105]), offset: 5, size: 100)
                try! handle.pointee.read(tensors[i], &back, offset: 0, size: back.count)
                XCTAssertTrue(back == bytes, "tensor \(i), changed")
            }
            var resident = 0
            for tensor in tensors { resident += try XCTUnwrap(handle.pointee.packedForm(of: tensor)).bytes }
            XCTAssertEqual(handle.pointee.resident, resident)
            Buffer.destroy(handle)
        }
    }

    private static func upload(_ handle: Buffer.Handle, _ tensor: Tensor, _ bytes: [UInt8], seed: UInt64) {
        var random = Random(seed)
        if random.below(3) == 0 {
            return try! Buffer.write(handle, tensor, bytes, offset: 0, size: bytes.count)
        }
        let size = 1000 + random.below(9000)
        for offset in stride(from: 0, to: bytes.count, by: size).shuffled(using: &random) {
            let piece = Array(bytes[offset..<min(offset + size, bytes.count)])
            try! Buffer.write(handle, tensor, piece, offset: offset, size: piece.count)
        }
    }

    private static func readAndMultiply(_ handle: Buffer.Handle, _ weights: Matrix, _ tensor: Tensor, _ isa: ISA) {
        let x = Tokens(m: 2, k: weights.k, ld: weights.k), y = Results(m: 2, n: weights.n, ld: weights.n)
        let first = Results(m: 2, n: weights.n, ld: weights.n)
        x.fill(.normal, zeros: false, seed: 1)
        for i in 0..<20 {
            var back = [UInt8](repeating: 1, count: weights.bytes.count)
            try! handle.pointee.read(tensor, &back, offset: 0, size: back.count)
            XCTAssertTrue(back == weights.bytes)
            let packed = try! handle.pointee.packedForm(of: tensor)!
            XCTAssertEqual(try! handle.pointee.explain(tensor).1, packed.reason)
            let plan = try! Plan(packed.layout, m: 2, threads: 1, isa: isa)
            XCTAssertNil(multiply(plan, packed, x, i == 0 ? first : y))
            if i > 0 { XCTAssertNil(y.difference(first)) }
        }
    }

    /// Asking how much memory is in use while tensors are announced and arrive in pieces. Each answer is one that was
    /// right at some moment.
    func testResidentMeanwhile() throws {
        let isa = Machine.codecs.last!, count = 3, room = 1 << 20
        let sources = (0..<count).map { Matrix(weightTypes[$0], n: 64, k: 256, zeros: 50, seed: UInt64($0)) }
        let handle = try Buffer.create(size: room * count, forWeights: true, options: PackOptions(threads: 1), isa: isa)
        defer { Buffer.destroy(handle) }
        let tensors = try sources.enumerated().map { try describe($1, handle.pointee.base + $0 * room) }
        let most = sources.reduce(0) { $0 + $1.bytes.count * 2 + 8192 }
        let shared = Shared((handle, sources, tensors)), together = Barrier(count + 1)
        inParallel(count + 1) { i in
            let (handle, sources, tensors) = shared.value
            Barrier.wait(together.pointer)
            if i == count {
                for _ in 0..<20_000 {
                    let found = handle.pointee.resident
                    XCTAssertTrue((0...most).contains(found), "\(found)")
                }
                return
            }
            for round in 0..<40 {
                try! Buffer.announce(handle, tensors[i])  // forgets what was there
                Self.upload(handle, tensors[i], sources[i].bytes, seed: UInt64(round))
            }
        }
    }

    func testCapabilityFromManyThreads() {
        inParallel(8) { _ in XCTAssertGreaterThanOrEqual(Capability.current.cpus, 1) }
    }

    /// More tasks than threads can be had is fine too: each share is done exactly once.
    func testParallelRunsEachPartOnce() {
        for count: Int32 in [1, 2, 16, 64] {
            let done = UnsafeMutablePointer<Int32>.allocate(capacity: 64)
            done.initialize(repeating: 0, count: 64)
            sx_parallel(count, { index, count, context in
                context.assumingMemoryBound(to: Int32.self)[Int(index)] += count
            }, done)
            for i in 0..<64 { XCTAssertEqual(done[i], i < Int(count) ? count : 0) }
            done.deallocate()
        }
    }
}
