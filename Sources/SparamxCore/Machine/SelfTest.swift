import CKernelABI
import CPlatform

/// Small products with the instructions of a level, against the reference: CPUID has been wrong before, under
/// hypervisors and emulators. Together they pack, expand and multiply with every extension that the level's kernels
/// are compiled for, so that what is missing or wrong shows here, at the first call, and not amid a host's work. All
/// numbers are such that each kernel must agree with the reference to the last bit.
enum SelfTest {
    static func passes(_ isa: ISA) -> Bool {
        var index = 0
        while let trial = trial(index, isa) {
            do throws(Status) {
                guard try trial.passes(isa) else { return false }
            } catch { return false }
            index += 1
        }
        return true
    }

    private static func trial(_ index: Int, _ isa: ISA) -> Trial? {
        let bf16 = Int32(SX_BF16), f16 = Int32(SX_F16), q4 = Int32(SX_Q4_0), q5 = Int32(SX_Q5_K), q6 = Int32(SX_Q6_K)
        if isa == .avx512 {
            switch index {
            case 0: return Trial(bf16, sparse: true, m: 4, k: 64)   // BF16; VBMI2 on words
            case 1: return Trial(f16, sparse: false, m: 1, k: 32)   // F16C, FMA
            case 2: return Trial(q5, sparse: true, m: 2, k: 256)    // VNNI; VBMI2 on bytes; minimums
            case 3: return Trial(q6, sparse: false, m: 6, k: 256)   // scales per 16, any number of tokens
            default: return nil
            }
        }
        switch index {
        case 0: return Trial(bf16, sparse: true, m: 2, k: 64)       // AMX-BF16
        case 1: return Trial(q4, sparse: true, m: 5, k: 64)         // AMX-INT8
        case 2: return Trial(q6, sparse: false, m: 5, k: 256)       // VBMI; integers to bf16
        case 3: return Trial(q4, sparse: false, m: 33, k: 64)       // more tokens than a tile has rows
        default: return nil
        }
    }
}

/// One weight of 16 rows and its product with m tokens, in memory that is there already: whether a CPU works must not
/// depend on free memory.
private struct Trial {
    let number: Int32, sparse: Bool, m, k: Int
    private static let rows = 16

    init(_ number: Int32, sparse: Bool, m: Int, k: Int) {
        self.number = number
        self.sparse = sparse
        self.m = m
        self.k = k
    }

    /// Where everything is. The work area is the last and has what is left.
    private enum Place {
        static let file = 0, x = 8192, counts = 20480
        static let packed = 24576, expectedPacked = 40960, y = 57344, expected = 61440
        static let scratch = 65536, work = 131072
        static let packedRoom = expectedPacked - packed, yRoom = expected - y
    }

    func passes(_ isa: ISA) throws(Status) -> Bool {
        let memory = sx_self_test_memory(), type = try WeightType(number)
        (memory + Place.counts).initializeMemory(as: UInt8.self, repeating: 0, count: Place.scratch - Place.counts)
        fillWeights(memory + Place.file, type)
        let x = (memory + Place.x).assumingMemoryBound(to: Float.self)
        for i in 0..<m * k { x[i] = i % 32 == 7 ? 127 : Float(i * 11 % 255 - 127) }

        // Packed by both, to the same bytes.
        let weight = try pack(type, isa, at: Place.packed, memory)
        let expected = try pack(type, .reference, at: Place.expectedPacked, memory)
        guard weight.layout.totalBytes == expected.layout.totalBytes else { return false }
        for i in 0..<weight.layout.totalBytes where weight.base.load(fromByteOffset: i, as: UInt8.self)
            != expected.base.load(fromByteOffset: i, as: UInt8.self) { return false }

        let got = try multiply(weight, isa, x, memory + Place.y, memory)
        let wanted = try multiply(expected, .reference, x, memory + Place.expected, memory)
        for i in 0..<m * Trial.rows where got[i] != wanted[i] || !(got[i].magnitude < 1e9) { return false }
        return true
    }

    /// Half of the codes are background or near it; scales are such that what is rounded to bf16 is a whole number of
    /// few bits.
    private func fillWeights(_ file: UnsafeMutableRawPointer, _ type: WeightType) {
        var state: UInt32 = 12345
        func next() -> UInt32 {
            state = state &* 1664525 &+ 1013904223
            return state >> 16
        }
        if !type.isQuantized {
            let one: UInt16 = number == Int32(SX_BF16) ? 0x3f80 : 0x3c00
            for i in 0..<Trial.rows * k {
                let r = next() % 8
                let value: UInt16 = r == 0 ? one : r == 1 ? one | 0x8000 : r == 2 ? 0x4000 : 0  // 1, -1, 2
                file.storeBytes(of: value, toByteOffset: i * 2, as: UInt16.self)
            }
            return
        }
        let blocks = Trial.rows * k / type.blockElements
        for i in 0..<blocks {
            let block = file + i * type.blockBytes
            for b in 0..<type.blockBytes {
                let r = next()
                let byte = r & 1 == 0 ? 0x88 : UInt8(truncatingIfNeeded: r >> 4)
                block.storeBytes(of: byte, toByteOffset: b, as: UInt8.self)
            }
            // The block's scale is 1, and so are Q6_K's scales of 16 weights, its minimum as well.
            if number == Int32(SX_Q6_K) {
                for b in 192..<208 { block.storeBytes(of: 1, toByteOffset: b, as: UInt8.self) }
                block.storeBytes(of: 0x3c00, toByteOffset: 208, as: UInt16.self)
            } else {
                block.storeBytes(of: 0x3c00, toByteOffset: 0, as: UInt16.self)
                if number == Int32(SX_Q5_K) { block.storeBytes(of: 0x3c00, toByteOffset: 2, as: UInt16.self) }
            }
        }
    }

    /// The packed form as Packer makes it: what is kept is counted, then written.
    private func pack(_ type: WeightType, _ isa: ISA, at place: Int,
                      _ memory: UnsafeMutableRawPointer) throws(Status) -> PackedTensor {
        let codec = Codec(isa).functions(type), file = (memory + Place.file).assumingMemoryBound(to: UInt8.self)
        let scratch = (memory + Place.scratch).assumingMemoryBound(to: UInt8.self), rowBytes = try type.rowBytes(k)
        let counts = (memory + Place.counts).assumingMemoryBound(to: UInt64.self)
        let kept = counts + 8, changed = counts + 16
        counts[0] = 0
        counts[1] = 0
        kept[0] = 0
        changed[0] = 0
        let dense = try PackedLayout(type: type, sparse: false, n: Trial.rows, k: k, matrices: 1, sparseBytes: 0)
        guard dense.chunks == 1 else { throw .shape }
        var count = sx_codec_args(type: number, rows: Int32(Trial.rows), k: Int64(k), kblocks: Int64(dense.kblocks),
                                  file: file, row_stride: Int64(rowBytes), values: file, bitmap: nil, side: nil,
                                  counts: counts, kept: kept, offsets: nil, changed: nil, scratch: scratch)
        codec.count(&count)
        let bytes = Int(sx_offset_bytes(counts[0]))
        counts[1] = UInt64(bytes)
        counts[0] = (counts[0] >> 48) << 48
        let layout = try PackedLayout(type: type, sparse: sparse, n: Trial.rows, k: k, matrices: 1, sparseBytes: bytes)
        guard layout.totalBytes <= Place.packedRoom else { throw .range }
        let tensor = PackedTensor(layout: layout, base: memory + place, background: 0, reason: .sparseAsked)
        var args = tensor.codec(panel: 0, rows: Trial.rows, file: file, rowStride: rowBytes, scratch: scratch,
                                counted: counts)
        args.kept = kept
        args.changed = changed
        if sparse { codec.packSparse(&args) } else { codec.packDense(&args) }
        if sparse { UnsafeMutableRawPointer(tensor.offsets).copyMemory(from: counts, byteCount: 16) }
        return tensor
    }

    /// The product as the kernel table has it: what a profile says is not known yet.
    private func multiply(_ weight: PackedTensor, _ isa: ISA, _ x: UnsafePointer<Float>, _ y: UnsafeMutableRawPointer,
                          _ memory: UnsafeMutableRawPointer) throws(Status) -> UnsafePointer<Float> {
        let kernel = KernelTable.choose(type: number, sparse: sparse, m: m, isa: isa, profile: nil)
        guard let kernel else { throw .type }
        let plan = try Plan(weight.layout, m: m, threads: 1, isa: isa, forced: kernel)
        let result = y.assumingMemoryBound(to: Float.self)
        guard plan.workBytes <= Int(SX_SELF_TEST_BYTES) - Place.work, m * Trial.rows * 4 <= Place.yRoom else {
            throw .range
        }
        var worker = Worker(index: 0, threads: 1, work: memory + Place.work, barrier: nil, barrierData: nil)
        worker.begin()
        Product.run(plan, Batch(.packed(weight, matrix: 0), x: x, ldx: k, y: result, ldy: Trial.rows), worker: worker)
        worker.end()
        return UnsafePointer(result)
    }
}
