import CKernelABI
@testable import SparamxCore
import XCTest

/// The proof that a packed tensor is whole: what is packed passes; each class of damage is found; and what is not found
/// lets every kernel and every read-back stay inside the packed form.
final class ValidateTests: XCTestCase {
    fileprivate func damaged(_ tensor: PackedTensor) -> Bool {
        do throws(Status) {
            try tensor.verify()
            return false
        } catch {
            XCTAssertEqual(error, .damaged)
            return true
        }
    }

    func testWhatIsPackedPasses() throws {
        for type in weightTypes {
            for (n, k, matrices) in [(1, 1, 1), (16, 256, 1), (17, 33, 3), (33, 290, 2), (5, 600, 1), (64, 1024, 1)] {
                for zeros in [0, 50, 100] {
                    let weights = Matrix(type, n: n, k: whole(type, k), matrices: matrices, zeros: zeros,
                                         uneven: n == 33, seed: 1)
                    for form in formChoices(type) {
                        for isa in Machine.codecs {
                            let tensor = try weights.pack(form, codec: isa)
                            defer { tensor.release() }
                            let label = "type \(type) \(form) \(isa) \(n)x\(weights.k)x\(matrices) \(zeros)%"
                            XCTAssertFalse(damaged(tensor), label)
                        }
                    }
                }
            }
            // Any bytes are a weight: every code, NaN, infinities, scales of all kinds.
            var weights = Matrix(type, n: 19, k: whole(type, 257)), random = Random(UInt64(type))
            for i in weights.bytes.indices { weights.bytes[i] = UInt8(random.below(256)) }
            for form in formChoices(type) {
                let tensor = try weights.pack(form)
                defer { tensor.release() }
                XCTAssertFalse(damaged(tensor), "type \(type) \(form), random bytes")
            }
        }
    }

    /// One bit at every place. A bit of the bitmap, of the offsets or of padding is always found.
    func testEveryFlippedBit() throws {
        for type in weightTypes {
            // Padded columns and padding at the end of K, where the type has one.
            let k = type == bf16 || type == f16 ? 37 : whole(type, 32)
            let weights = Matrix(type, n: 17, k: k, zeros: 40, seed: 3)
            for form in formChoices(type) {
                let packed = try weights.pack(form)
                let (tensor, region) = packed.guarded()
                packed.release()
                let users = Users(tensor)
                var found = 0, accepted = 0
                for byte in 0..<tensor.bytes {
                    let flips = tensor.bytes > 6000 ? [byte % 8] : Array(0..<8)
                    for bit in flips {
                        region.octets[byte] ^= 1 << UInt8(bit)
                        if damaged(tensor) {
                            found += 1
                        } else {
                            accepted += 1
                            let label = "type \(type) \(form): bit \(bit) of byte \(byte) of \(tensor.bytes)"
                            XCTAssertFalse(mustBeFound(tensor, byte), label)
                            if accepted % 97 == 1 { try users.run(label, all: accepted % (97 * 16) == 1) }
                        }
                        region.octets[byte] ^= 1 << UInt8(bit)
                    }
                }
                XCTAssertFalse(damaged(tensor))
                XCTAssertGreaterThan(found, 64 * 8)   // the padding behind the values at least
                XCTAssertGreaterThan(accepted, 0)
            }
        }
    }

    /// Of the values of the sparse form every bit is a code's or slack: where one plane is shorter than the longest. A
    /// change of slack is found, a change of a code is not: any bits are a weight. What is slack is counted here from
    /// bitmap and offsets.
    func testEveryBitOfTheValues() throws {
        for type in sparseTypes {
            let weights = Matrix(type, n: 17, k: whole(type, 256) + (whole(type, 32) == 32 ? 32 : 0),
                                 zeros: 60, seed: 6)
            let packed = try weights.pack(.sparse), (tensor, region) = packed.guarded()
            packed.release()
            let layout = tensor.layout, q = layout.type.quant
            var slack = [UInt8](repeating: 0, count: layout.valueBytes), bits = 0
            for index in 0..<layout.panels * layout.chunks {
                let tile = index / layout.chunks * layout.kblocks + index % layout.chunks * 4
                let blocks = min(4, layout.kblocks - index % layout.chunks * 4) * 2
                let words = UnsafeRawPointer(tensor.bitmap + tile * layout.type.maskBytes)
                    .assumingMemoryBound(to: UInt64.self)
                let kept = (0..<blocks).map { block in
                    (0..<8).reduce(0) { $0 + words[block * 8 + $1].nonzeroBitCount }
                }
                let start = Int(sx_offset_bytes(tensor.offsets[index]))
                let end = Int(sx_offset_bytes(tensor.offsets[index + 1]))
                let low = Int(sx_offset_low(tensor.offsets[index]))
                for (width, from, to) in [(Int(q.low_bits), start, start + low),
                                          (Int(q.high_bits), start + low, end)] where width > 0 {
                    for plane in 0..<8 / width {
                        let codes = stride(from: plane, to: blocks, by: 8 / width).reduce(0) { $0 + kept[$1] }
                        for byte in from + codes..<max(from + codes, to) {
                            slack[byte] |= UInt8((1 << width) - 1) << UInt8(plane * width)
                        }
                    }
                }
            }
            for byte in 0..<layout.valueBytes {
                for bit in 0..<8 {
                    region.octets[byte] ^= 1 << UInt8(bit)
                    XCTAssertEqual(damaged(tensor), slack[byte] >> UInt8(bit) & 1 == 1,
                                   "type \(type): bit \(bit) of byte \(byte)")
                    region.octets[byte] ^= 1 << UInt8(bit)
                }
                bits += slack[byte].nonzeroBitCount
            }
            XCTAssertEqual(bits > 0, q.low_bits < 8, "type \(type): \(bits) bits of slack")
        }
    }

    private func mustBeFound(_ tensor: PackedTensor, _ byte: Int) -> Bool {
        let layout = tensor.layout
        if byte >= layout.valueBytes && byte < layout.bitmapOffset { return true }
        if !layout.hasOffsets { return false }
        return byte >= layout.offsetsOffset || byte >= layout.bitmapOffset && byte < layout.sideOffset
    }

    /// Damage that keeps counts: bits that change places, words that are swapped, whole chunks of another weight.
    func testDamageThatKeepsCounts() throws {
        for type in weightTypes {
            let k = type == bf16 || type == f16 ? 290 : whole(type, 288)
            let weights = Matrix(type, n: 35, k: k, zeros: 50, seed: 4)
            for form in formChoices(type) {
                let packed = try weights.pack(form)
                let (tensor, region) = packed.guarded()
                let users = Users(tensor)
                var random = Random(UInt64(type) * 8 + UInt64(form.rawValue)), accepted = 0
                for round in 0..<600 {
                    for _ in 0...random.below(4) {
                        let a = random.below(tensor.bytes / 8) * 8, b = random.below(tensor.bytes / 8) * 8
                        let words = region.base.assumingMemoryBound(to: UInt64.self)
                        switch random.below(3) {
                        case 0:
                            let word = words[a / 8], by = UInt64(random.below(63) + 1)
                            words[a / 8] = word << by | word >> (64 - by)
                        case 1:
                            let word = words[a / 8]
                            words[a / 8] = words[b / 8]
                            words[b / 8] = word
                        default:
                            let i = random.below(8), j = random.below(8), byte = region.octets[a + i]
                            region.octets[a + i] = region.octets[a + j]
                            region.octets[a + j] = byte
                        }
                    }
                    if !damaged(tensor) {
                        accepted += 1
                        let label = "type \(type) \(form), round \(round)"
                        if accepted % 8 == 1 { try users.run(label, all: accepted % 64 == 1) }
                    }
                    region.base.copyMemory(from: packed.base, byteCount: tensor.bytes)
                }
                XCTAssertGreaterThan(accepted, 0, "type \(type) \(form)")
                packed.release()
            }
        }
    }

    /// Each class of damage by name.
    func testClassesOfDamage() throws {
        let weights = Matrix(q8, n: 20, k: 544, zeros: 50, seed: 5)
        let packed = try weights.pack(.sparse), (tensor, region) = packed.guarded()
        defer { packed.release() }
        let layout = tensor.layout
        func check(_ what: String, _ damage: () -> Void) {
            damage()
            XCTAssertTrue(damaged(tensor), what)
            region.base.copyMemory(from: packed.base, byteCount: tensor.bytes)
            XCTAssertFalse(damaged(tensor), "after: \(what)")
        }
        let last = layout.panels * layout.chunks
        check("an offset is beyond the values") { tensor.offsets[1] += UInt64(layout.valueBytes) }
        check("offsets fall") { swap(&tensor.offsets[1], &tensor.offsets[2]) }
        check("an offset has its sign bit set") { tensor.offsets[1] |= 1 << 47 }
        check("the low bits are longer than the chunk") { tensor.offsets[0] += 1 << 48 }
        check("the total is smaller") { tensor.offsets[last] -= 1 }
        check("something stands above the total") { tensor.offsets[last] |= 1 << 48 }
        check("the first chunk does not start at 0") { tensor.offsets[0] += 64 }
        check("every place of a chunk is kept") { for i in 0..<128 { tensor.bitmap[i] = 0xff } }
        check("no place of a chunk is kept") { for i in 0..<128 { tensor.bitmap[i] = 0 } }
        check("a bit of a padded column") { tensor.bitmap[layout.kblocks * 128 + 7] |= 0x80 }
        check("a bit behind the last K") { tensor.bitmap[layout.kblocks * 128 - 1] |= 0x80 }
        check("the padding behind the values") { region.octets[layout.valueBytes] = 1 }
        check("the last byte before the bitmap") { region.octets[layout.bitmapOffset - 1] = 1 }
        check("a scale of a padded column") { tensor.side[layout.kblocks * 64 + 31] = 1 }
        check("a scale behind the last K") { tensor.side[layout.kblocks * 64 - 1] = 1 }
        // What the struct says against what the bytes are.
        let other = try PackedLayout(type: layout.type, sparse: true, n: 20, k: 544, matrices: 1,
                                     sparseBytes: layout.valueBytes - 64)
        for (layout, background) in [(other, tensor.background), (layout, tensor.background + 1)] {
            let wrong = PackedTensor(layout: layout, base: region.base, background: background, reason: tensor.reason)
            XCTAssertTrue(damaged(wrong))
        }

        // A bit of the bitmap that moves into padding of its chunk leaves all counts as they were.
        let moves: [(Int32, Int, Int, Int, Int, String)] = [
            (q8, 544, 1, 0, 63, "a padded column"), (q8, 544, 0, 2, 8 * 64, "behind the last K"),
            (bf16, 545, 1, 0, 31, "a padded column"), (bf16, 545, 0, 2, 17 * 32, "behind the last K"),
            (bf16, 545, 0, 2, 16 * 32 + 1, "beside the last K, which is odd"),
        ]
        for (type, k, panel, chunk, to, what) in moves {
            let whole = try Matrix(type, n: 20, k: k, zeros: 50, seed: 7).pack(.sparse)
            defer { whole.release() }
            let label = "type \(type): a bit moves to \(what)", type = whole.layout.type
            XCTAssertFalse(damaged(whole), label)
            let bits = whole.bitmap + (panel * whole.layout.kblocks + chunk * 256 / type.kPerBlock) * type.maskBytes
            // The first code that is kept in the first row of the chunk's first tile, in a column of both panels.
            let from = try XCTUnwrap((0..<type.maskBytes / 8).first { bits[$0 / 8] >> ($0 % 8) & 1 == 1 })
            XCTAssertEqual(bits[to / 8] >> (to % 8) & 1, 0, label)
            bits[from / 8] ^= 1 << (from % 8)
            bits[to / 8] ^= 1 << (to % 8)
            XCTAssertTrue(damaged(whole), label)
        }

        // One bit where the dense form has no weight of the file: places are bytes of a panel, chunks are of 8 KB or
        // 4 KB.
        for (type, k, panel, at) in [(q8, 544, 1, 63), (q8, 544, 0, 2 * 4096 + 512), (bf16, 545, 1, 62),
                                     (bf16, 545, 0, 2 * 8192 + 1026)] {
            let whole = try Matrix(type, n: 20, k: k, zeros: 50, seed: 8).pack(.dense)
            defer { whole.release() }
            XCTAssertFalse(damaged(whole), "type \(type)")
            (whole.base + panel * whole.layout.densePanel).assumingMemoryBound(to: UInt8.self)[at] ^= 1
            XCTAssertTrue(damaged(whole), "type \(type), panel \(panel): byte \(at)")
        }

        try checkCodedDamage()

        // Scales that the file could not hold, and backgrounds where the dense form has none.
        let fields: [(Int32, FormChoice, Int, String)] = [
            (11, .dense, 0, "a scale of Q3_K"), (23, .sparse, 0, "a scale of IQ4_XS"),
            (12, .dense, 0, "a background of Q4_K"), (10, .dense, 320, "a background of Q2_K"),
            (3, .dense, 64, "a background of Q4_1"), (7, .dense, 72, "a fifth bit of Q5_1"),
            (13, .dense, 320, "a fifth bit of Q5_K"),
        ]
        for (type, form, at, what) in fields {
            let whole = try Matrix(type, n: 16, k: 256, zeros: 50, seed: 6).pack(form)
            defer { whole.release() }
            XCTAssertFalse(damaged(whole), what)
            whole.side[at] = type == 11 || type == 23 ? 0x45 : whole.side[at] | 1
            XCTAssertTrue(damaged(whole), what)
        }
    }
}

extension ValidateTests {
    /// The same of the coded forms, with exceptions in every chunk.
    fileprivate func checkCodedDamage() throws {
        for form in [FormChoice.coded, .codedSparse] {
            var weights = Matrix(bf16, n: 20, k: 545, zeros: 50, seed: 9)
            for k in 0..<60 { weights.setCode(k % 20, k * 9, UInt16(1 + k * 3) << 7 | 1) }
            let packed = try weights.pack(form), (tensor, region) = packed.guarded()
            defer { packed.release() }
            func check(_ what: String, _ damage: () -> Void) {
                damage()
                XCTAssertTrue(damaged(tensor), "\(form): \(what)")
                region.base.copyMemory(from: packed.base, byteCount: tensor.bytes)
                XCTAssertFalse(damaged(tensor), "\(form), after: \(what)")
            }
            let values = region.octets
            XCTAssertGreaterThan(sx_offset_low(tensor.offsets[0]), 2, "\(form): exceptions")
            check("an exception more") { tensor.offsets[0] += 1 << 48 }
            check("an exception less") { tensor.offsets[0] -= 1 << 48 }
            check("more exceptions than weights") { tensor.offsets[0] |= 0xffff << 48 }
            check("exceptions at one place") { for i in 1..<4 { values[4 + i] = values[i] } }
            check("exceptions that fall") { for i in 0..<4 { swap(&values[i], &values[4 + i]) } }
            check("an exception beyond the chunk") { values[3] = 1 }
            check("an exponent that the table has") { values[0] = tensor.side[1] }
            check("an exponent of 0") { values[0] = 0 }
            check("a table that does not begin with 0") { tensor.side[0] = 1 }
            check("a table that falls") { swap(&tensor.side[1], &tensor.side[2]) }
            check("an exponent twice") { tensor.side[2] = tensor.side[1] }
            check("a gap in the table") { tensor.side[5] = 0 }
            check("an offset is beyond the values") { tensor.offsets[1] += UInt64(tensor.layout.valueBytes) }
            check("the total is smaller") { tensor.offsets[6] -= 1 }
            check("the padding behind the values") { values[tensor.layout.valueBytes] = 1 }
            // The last chunk: one K-block, of which one k is there. Its last pair has nothing.
            check("the last byte of all values") { values[tensor.layout.valueBytes - 1] ^= form == .coded ? 1 : 0xff }
            if form == .codedSparse {
                check("a bit of a padded column") { tensor.bitmap[tensor.layout.kblocks * 64 + 7] |= 0x80 }
                check("a bit behind the last K") { tensor.bitmap[tensor.layout.kblocks * 64 - 1] |= 0x80 }
            }
        }
    }
}

/// Everything that reads a packed tensor: the kernels of its type and form, and both codecs.
private struct Users {
    let tensor: PackedTensor
    private let rows: [(index: Int, row: KernelRow)]

    init(_ tensor: PackedTensor) {
        self.tensor = tensor
        let layout = tensor.layout
        rows = runnableRows().filter { $0.row.type == layout.type.number && $0.row.form == layout.form }
    }

    /// all: emulated tiles too. A kernel that leaves the packed form dies at a forbidden page.
    func run(_ label: String, all: Bool) throws {
        let layout = tensor.layout
        for (index, row) in rows where all || row.isa != .amx {
            let m = max(row.serves.lowerBound, min(row.serves.upperBound, 3))
            let x = Tokens(m: m, k: layout.k, ld: layout.k), y = Results(m: m, n: layout.n, ld: layout.n)
            x.fill(.normal, zeros: false, seed: 1)
            let plan = try Plan(layout, m: m, threads: 1, isa: row.isa, forced: index)
            XCTAssertNil(multiply(plan, tensor, x, y), "\(label) \(row.label)")
        }
        let bytes = try layout.type.rowBytes(layout.k) * layout.n
        var read: [[UInt8]] = []
        for isa in Machine.codecs {
            let out = Region(bytes)
            try Unpacker.bytes(tensor, offset: 0, size: bytes, out: out.octets, codec: Codec(isa))
            XCTAssertTrue(out.intact, "\(label) \(isa)")
            read.append([UInt8](UnsafeRawBufferPointer(start: out.base, count: bytes)))
        }
        XCTAssertTrue(read.allSatisfy { $0 == read[0] }, "\(label): levels read different bytes back")
    }
}
