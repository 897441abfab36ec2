import CKernelABI
@testable import SparamxCore

let bf16 = Int32(SX_BF16), f16 = Int32(SX_F16), q8 = Int32(SX_Q8_0)
let weightTypes = [bf16, f16, q8]

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
    mutating func code(_ type: Int32, _ spread: Spread) -> UInt16 {
        while true {
            let code: UInt16
            switch type {
            case bf16: code = UInt16(truncatingIfNeeded: number(spread).bitPattern >> 16)
            case f16: code = Float16(spread == .wide ? normal() * 0x1p-8 * Float(1 + below(65536)) : number(spread)).bitPattern
            default: code = UInt16(truncatingIfNeeded: next() >> 48) & 0xff
            }
            if code != 0 { return code }
        }
    }
}

/// Matrix in the file's layout, rows packed tightly, matrix after matrix.
struct Matrix {
    let type: WeightType
    let n, k, matrices: Int
    var bytes: [UInt8]

    var rowBytes: Int { k / type.blockElements * type.blockBytes }
    var rows: Int { n * matrices }

    /// All background.
    init(_ number: Int32, n: Int, k: Int, matrices: Int = 1) {
        type = try! WeightType(number)
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
            for k in 0..<k where share < 100 && random.below(100) >= share {
                setCode(row, k, random.code(number, spread))
            }
            if type.hasScales {
                for block in 0..<k / 32 { setScale(row, block, Float16(0.0005 + 0.01 * random.unit()).bitPattern) }
            }
        }
    }

    func place(_ row: Int, _ k: Int) -> Int {
        row * rowBytes + (type.hasScales ? k / 32 * 34 + 2 + k % 32 : 2 * k)
    }

    func code(_ row: Int, _ k: Int) -> UInt16 {
        let p = place(row, k)
        return type.hasScales ? UInt16(bytes[p]) : UInt16(bytes[p]) | UInt16(bytes[p + 1]) << 8
    }

    mutating func setCode(_ row: Int, _ k: Int, _ code: UInt16) {
        let p = place(row, k)
        bytes[p] = UInt8(truncatingIfNeeded: code)
        if !type.hasScales { bytes[p + 1] = UInt8(truncatingIfNeeded: code >> 8) }
    }

    func scale(_ row: Int, _ block: Int) -> UInt16 {
        let p = row * rowBytes + block * 34
        return UInt16(bytes[p]) | UInt16(bytes[p + 1]) << 8
    }

    mutating func setScale(_ row: Int, _ block: Int, _ bits: UInt16) {
        let p = row * rowBytes + block * 34
        bytes[p] = UInt8(truncatingIfNeeded: bits)
        bytes[p + 1] = UInt8(truncatingIfNeeded: bits >> 8)
    }

    func value(_ row: Int, _ k: Int) -> Double {
        let bits = code(row, k)
        switch type.number {
        case bf16: return Double(Float(bitPattern: UInt32(bits) << 16))
        case f16: return Double(Float16(bitPattern: bits))
        default: return Double(Int8(truncatingIfNeeded: bits)) * Double(Float16(bitPattern: scale(row, k / 32)))
        }
    }

    var background: Int {
        var count = 0
        for row in 0..<rows { for k in 0..<k where code(row, k) == 0 { count += 1 } }
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
