import CKernelABI
import CKernelTable
@testable import SparamxCore

let bf16 = Int32(SX_BF16), f16 = Int32(SX_F16), q8 = Int32(SX_Q8_0)
/// Every type of types.def, whether or not a kernel serves it.
let weightTypes = (0..<sx_type_count()).map { sx_type_at($0) }
let quantTypes = weightTypes.filter { sx_quant_of($0).type != 0 }
/// The forms that a type has, the coded ones of BF16 aside, and all of them.
func forms(_ type: Int32) -> [Bool] { [false, true].filter { !KernelTable.rows(type: type, sparse: $0).isEmpty } }
func formChoices(_ type: Int32) -> [FormChoice] {
    [FormChoice.dense, .sparse, .coded, .codedSparse].filter { choice in
        !KernelTable.rows(type: type, sparse: choice.isSparse, coded: choice.isCoded).isEmpty
    }
}

extension FormChoice {
    var isSparse: Bool { self == .sparse || self == .codedSparse }
    var isCoded: Bool { self == .coded || self == .codedSparse }
}

extension KernelRow {
    var choice: FormChoice { FormChoice(rawValue: form)! }
}

let sparseTypes = quantTypes.filter { forms($0).count == 2 }
let typeNames = Dictionary(uniqueKeysWithValues: weightTypes.map { ($0, String(cString: sx_type_name($0))) })

/// k, or the next multiple of the type's block.
func whole(_ type: Int32, _ k: Int) -> Int {
    let block = type == bf16 || type == f16 ? 1 : Block(type: type).elements
    return (k + block - 1) / block * block
}

/// How numbers are spread.
enum Spread: CaseIterable { case normal, positive, wide }

extension Random {
    mutating func number(_ spread: Spread) -> Float {
        switch spread {
        case .normal: return normal()
        case .positive: return unit() + 0x1p-10
        case .wide: return normal() * Float(sign: .plus, exponent: below(41) - 20, significand: 1)
        }
    }

    /// A code of this type that is not background.
    mutating func code(_ type: Int32, _ spread: Spread, background: Int) -> UInt16 {
        while true {
            let code: UInt16
            switch type {
            case bf16: code = UInt16(truncatingIfNeeded: number(spread).bitPattern >> 16)
            case f16:
                let value = spread == .wide ? normal() * 0x1p-8 * Float(1 + below(65536)) : number(spread)
                code = Float16(value).bitPattern
            default: // a Block has tables: 80% of the time of a grid
                code = UInt16(below(1 << BlockDescription(type: type).codeBits))
            }
            if Int(code) != background { return code }
        }
    }
}

/// Matrix in the file's layout, rows packed tightly, matrix after matrix.
struct Matrix {
    let type: WeightType
    let n, k, matrices: Int
    let block: Block?  // of quantized types
    var bytes: [UInt8]

    var rowBytes: Int { k / type.blockElements * type.blockBytes }
    var rows: Int { n * matrices }

    /// All background.
    init(_ number: Int32, n: Int, k: Int, matrices: Int = 1) {
        type = try! WeightType(number)
        block = type.isQuantized ? Block(type: number) : nil
        self.n = n
        self.k = k
        self.matrices = matrices
        bytes = [UInt8](repeating: 0, count: n * matrices * (k / type.blockElements) * type.blockBytes)
    }

    /// zeros: share of background codes, in percent. uneven: each panel has a share of its own, some none, some all.
    init(_ number: Int32, n: Int, k: Int, matrices: Int = 1, zeros: Int, spread: Spread = .normal, uneven: Bool = false,
         seed: UInt64) {
        self.init(number, n: n, k: k, matrices: matrices)
        var random = Random(seed)
        for row in 0..<rows {
            var share = zeros
            if uneven {
                var panel = Random(seed &+ UInt64(row / n * 1000 + row % n / 16) &* 77)
                share = [0, zeros, zeros, 100, 95][panel.below(5)]
            }
            var zero = 0
            for k in 0..<k {
                // Types with a minimum have a background per part.
                if let block, k % block.part == 0 { zero = block.background ?? random.below(1 << block.codeBits) }
                let kept = share < 100 && random.below(100) >= share
                if kept || zero != 0 {
                    setCode(row, k, kept ? random.code(number, spread, background: zero) : UInt16(zero))
                }
            }
            if let block { for i in 0..<k / block.elements { setScales(block, row, i, &random) } }
        }
    }

    /// Scales and minimums that keep the numbers near one.
    private mutating func setScales(_ block: Block, _ row: Int, _ index: Int, _ random: inout Random) {
        let start = row * rowBytes + index * block.bytes
        for (i, at) in block.halves.enumerated() {
            let bits = Float16((i == 0 ? 0.0005 : 0.0002) + 0.01 * random.unit()).bitPattern
            bytes[start + at] = UInt8(bits & 0xff)
            bytes[start + at + 1] = UInt8(bits >> 8)
        }
        for part in 0..<block.elements / block.part {
            Block.write(block.scale(part), random.below(1 << block.scale(part).reduce(0) { $0 + $1.count }),
                        &bytes, start)
            Block.write(block.minimum(part), random.below(1 << block.minimum(part).reduce(0) { $0 + $1.count }),
                        &bytes, start)
        }
        // A power of two: any byte would be any number at all.
        if block.type == Int32(SX_MXFP4) { bytes[start] = UInt8(118 + random.below(8)) }
    }

    /// The block that holds element k of a row.
    func blockBytes(_ row: Int, _ k: Int) -> ArraySlice<UInt8> {
        let start = row * rowBytes + k / type.blockElements * type.blockBytes
        return bytes[start..<start + type.blockBytes]
    }

    func code(_ row: Int, _ k: Int) -> UInt16 {
        if let block {
            return UInt16(block.code(k % block.elements, bytes, row * rowBytes + k / block.elements * block.bytes))
        }
        let p = row * rowBytes + 2 * k
        return UInt16(bytes[p]) | UInt16(bytes[p + 1]) << 8
    }

    mutating func setCode(_ row: Int, _ k: Int, _ code: UInt16) {
        if let block {
            return block.setCode(k % block.elements, Int(code), &bytes,
                                 row * rowBytes + k / block.elements * block.bytes)
        }
        let p = row * rowBytes + 2 * k
        bytes[p] = UInt8(truncatingIfNeeded: code)
        bytes[p + 1] = UInt8(truncatingIfNeeded: code >> 8)
    }

    /// Two bytes of block i.
    mutating func setHalf(_ row: Int, _ i: Int, _ at: Int, _ bits: UInt16) {
        let p = row * rowBytes + i * type.blockBytes + at
        bytes[p] = UInt8(truncatingIfNeeded: bits)
        bytes[p + 1] = UInt8(truncatingIfNeeded: bits >> 8)
    }

    func value(_ row: Int, _ k: Int) -> Double {
        let bits = code(row, k)
        guard let block else {
            return type.number == bf16
                ? Double(Float(bitPattern: UInt32(bits) << 16))
                : Double(Float16(bitPattern: bits))
        }
        let (scale, minimum) = block.scaleAndMinimum(blockBytes(row, k), k % block.elements / block.part)
        return scale * Double(block.level(Int(bits))) - minimum
    }

    /// The code that is left out at this place: the type's, or the part's most frequent one (the lowest of several).
    func zero(_ row: Int, _ k: Int) -> UInt16 {
        guard let block else { return 0 }
        if let code = block.background { return UInt16(code) }
        var counts = [Int](repeating: 0, count: 1 << block.codeBits)
        for i in 0..<block.part { counts[Int(code(row, k / block.part * block.part + i))] += 1 }
        return UInt16(counts.firstIndex(of: counts.max()!)!)
    }

    var background: Int {
        var count = 0, left: UInt16 = 0
        for row in 0..<rows {
            for k in 0..<k {
                if k % (block?.part ?? 32) == 0 { left = zero(row, k) }
                if code(row, k) == left { count += 1 }
            }
        }
        return count
    }

    func pack(_ form: FormChoice, threads: Int32 = 1, codec: ISA? = nil) throws -> PackedTensor {
        try bytes.withUnsafeBytes { source in
            let rows = Rows(base: UnsafeMutableRawPointer(mutating: source.baseAddress!), rowStride: rowBytes,
                            matrixStride: rowBytes * n)
            return try Packer.pack(type, n: n, k: k, matrices: matrices, rows: rows,
                                   options: PackOptions(form: form, threads: threads),
                                   codec: Codec(codec ?? Machine.codecs.last!))
        }
    }
}

extension PackedTensor {
    /// A copy that ends where its last byte ends: what a kernel reads beyond it kills the test.
    func guarded() -> (PackedTensor, Region) {
        let region = Region(bytes)
        region.base.copyMemory(from: base, byteCount: bytes)
        return (PackedTensor(layout: layout, base: region.base, background: background, reason: reason), region)
    }
}
