import CKernelABI
@testable import SparamxCore

/// GGUF's quantized blocks once more, as bit fields: no shared code with the library.
struct Block {
    let type: Int32
    /// The fields of every code, looked up: code() asked for each weight takes a microsecond.
    private let table: [(low: Field, high: Field)]
    private let levels: [Int]
    let elements, bytes, part, codeBits: Int
    let background: Int?

    init(type: Int32) {
        self.type = type
        let description = BlockDescription(type: type)
        elements = description.elements
        bytes = description.bytes
        part = description.part
        codeBits = description.codeBits
        background = description.background
        table = (0..<description.elements).map { k in
            let fields = description.code(k)
            return (fields[0], fields.count > 1 ? fields[1] : (0, 0, 0))
        }
        levels = (0..<1 << description.codeBits).map { description.level($0) }
    }

    private var description: BlockDescription { BlockDescription(type: type) }
    var halves: [Int] { description.halves }
    var hasMinimum: Bool { description.hasMinimum }
    func scale(_ part: Int) -> [Field] { description.scale(part) }
    func minimum(_ part: Int) -> [Field] { description.minimum(part) }
    func level(_ code: Int) -> Int { levels[code] }

    /// The code of element k of a block that starts at this byte.
    func code(_ k: Int, _ bytes: [UInt8], _ start: Int) -> Int {
        let (low, high) = table[k]
        let first = Int(bytes[start + low.byte] >> UInt8(low.bit)) & ((1 << low.count) - 1)
        return first | (Int(bytes[start + high.byte] >> UInt8(high.bit)) & ((1 << high.count) - 1)) << low.count
    }

    func setCode(_ k: Int, _ value: Int, _ bytes: inout [UInt8], _ start: Int) {
        let (low, high) = table[k]
        Block.write(low, value, &bytes, start)
        if high.count > 0 { Block.write(high, value >> low.count, &bytes, start) }
    }

    typealias Field = BlockDescription.Field

    static func read(_ fields: [Field], _ block: ArraySlice<UInt8>) -> Int {
        var value = 0, at = 0
        for field in fields {
            value |= (Int(block[block.startIndex + field.byte] >> UInt8(field.bit)) % (1 << field.count)) << at
            at += field.count
        }
        return value
    }

    static func write(_ fields: [Field], _ value: Int, _ bytes: inout [UInt8], _ start: Int) {
        var value = value
        for field in fields {
            write(field, value, &bytes, start)
            value >>= field.count
        }
    }

    private static func write(_ field: Field, _ value: Int, _ bytes: inout [UInt8], _ start: Int) {
        let mask = UInt8((1 << field.count) - 1) << UInt8(field.bit), i = start + field.byte
        bytes[i] = bytes[i] & ~mask | UInt8(truncatingIfNeeded: (value & ((1 << field.count) - 1)) << field.bit)
    }

    /// weight = scale * level - minimum of a part.
    func scaleAndMinimum(_ block: ArraySlice<UInt8>, _ part: Int) -> (scale: Double, minimum: Double) {
        func half(_ i: Int) -> Double {
            let at = block.startIndex + halves[i]
            return Double(Float16(bitPattern: UInt16(block[at]) | UInt16(block[at + 1]) << 8))
        }
        let small = Block.read(scale(part), block)
        switch Int(type) {
        case SX_Q4_1, SX_Q5_1: return (half(0), -half(1))
        case SX_Q2_K, SX_Q4_K, SX_Q5_K:
            return (Double(small) * half(0), Double(Block.read(minimum(part), block)) * half(1))
        case SX_Q3_K, SX_IQ4_XS: return (Double(small - 32) * half(0), 0)
        case SX_Q6_K: return (Double(Int8(truncatingIfNeeded: small)) * half(0), 0)
        case SX_MXFP4: return (Double(sign: .plus, exponent: small - 128, significand: 1), 0)
        case SX_NVFP4:
            // Half of an unsigned number with 4 bits of exponent (less 7) and 3 of fraction; its NaN is 0.
            let exponent = small >> 3 & 15, fraction = Double(small & 7) / 8
            if small == 0x7f { return (0, 0) }
            let power = Double(sign: .plus, exponent: max(exponent, 1) - 8, significand: 1)
            return (((exponent == 0 ? 0 : 1) + fraction) * power, 0)
        default: return (half(0), 0)
        }
    }
}

/// What a type's block holds and where.
struct BlockDescription {
    let type: Int32

    /// Bits of a block: where they start and how many there are, lowest first.
    typealias Field = (byte: Int, bit: Int, count: Int)

    var elements: Int {
        switch Int(type) {
        case SX_Q2_K, SX_Q3_K, SX_Q4_K, SX_Q5_K, SX_Q6_K, SX_IQ4_XS: return 256
        case SX_NVFP4, SX_Q2_0: return 64
        case SX_Q1_0: return 128
        default: return 32
        }
    }

    var bytes: Int {
        switch Int(type) {
        case SX_Q4_0, SX_IQ4_NL, SX_Q2_0, SX_Q1_0: return 18
        case SX_Q4_1: return 20
        case SX_Q5_0: return 22
        case SX_Q5_1: return 24
        case SX_Q8_0: return 34
        case SX_Q2_K: return 84
        case SX_Q3_K: return 110
        case SX_Q4_K: return 144
        case SX_Q5_K: return 176
        case SX_Q6_K: return 210
        case SX_IQ4_XS: return 136
        case SX_NVFP4: return 36
        default: return 17
        }
    }

    /// Weights under one scale.
    var part: Int {
        switch Int(type) {
        case SX_Q2_K, SX_Q3_K, SX_Q6_K, SX_NVFP4: return 16
        default: return 32
        }
    }

    /// Bytes of the packed form, for 64 k of 16 columns, beside codes and bitmap: what 64 weights of the file have
    /// beside their codes, and in types with minimums the backgrounds.
    var sideBytes: Int {
        switch Int(type) {
        case SX_Q4_1: return 144
        case SX_Q5_1: return 148
        case SX_Q2_K: return 96
        case SX_Q3_K, SX_Q6_K: return 72
        case SX_Q4_K: return 80
        case SX_Q5_K: return 84
        case SX_IQ4_XS: return 40
        default: return (bytes * 8 - elements * codeBits) * 64 / elements * 2
        }
    }

    var codeBits: Int {
        switch Int(type) {
        case SX_Q1_0: return 1
        case SX_Q2_K, SX_Q2_0: return 2
        case SX_Q3_K: return 3
        case SX_Q5_0, SX_Q5_1, SX_Q5_K: return 5
        case SX_Q6_K: return 6
        case SX_Q8_0: return 8
        default: return 4
        }
    }

    /// The code of element k, low bits first.
    func code(_ k: Int) -> [Field] {
        let half = k % 32 < 16 ? 0 : 4
        switch Int(type) {
        case SX_Q4_0, SX_IQ4_NL: return [(2 + k % 16, half, 4)]
        case SX_MXFP4: return [(1 + k % 16, half, 4)]
        case SX_NVFP4: return [(4 + k / 16 * 8 + k % 8, k % 16 / 8 * 4, 4)]
        case SX_Q4_1: return [(4 + k % 16, half, 4)]
        case SX_Q5_0: return [(6 + k % 16, half, 4), (2 + k / 8, k % 8, 1)]
        case SX_Q5_1: return [(8 + k % 16, half, 4), (4 + k / 8, k % 8, 1)]
        case SX_Q8_0: return [(2 + k, 0, 8)]
        case SX_Q1_0: return [(2 + k / 8, k % 8, 1)]
        case SX_Q2_0: return [(2 + k / 4, k % 4 * 2, 2)]
        case SX_Q2_K: return [(16 + k / 128 * 32 + k % 32, k / 32 % 4 * 2, 2)]
        case SX_Q3_K: return [(32 + k / 128 * 32 + k % 32, k / 32 % 4 * 2, 2), (k % 32, k / 32, 1)]
        case SX_Q4_K: return [(16 + k / 64 * 32 + k % 32, k / 32 % 2 * 4, 4)]
        case SX_Q5_K: return [(48 + k / 64 * 32 + k % 32, k / 32 % 2 * 4, 4), (16 + k % 32, k / 32, 1)]
        case SX_Q6_K:
            return [(k / 128 * 64 + k % 64, k / 64 % 2 * 4, 4), (128 + k / 128 * 32 + k % 32, k / 32 % 4 * 2, 2)]
        default: return [(8 + k / 32 * 16 + k % 16, half, 4)]
        }
    }

    /// Float16 scales and minimums of the block: where they are.
    var halves: [Int] {
        switch Int(type) {
        case SX_Q4_1, SX_Q5_1, SX_Q4_K, SX_Q5_K: return [0, 2]
        case SX_Q2_K: return [80, 82]
        case SX_Q3_K: return [108]
        case SX_Q6_K: return [208]
        case SX_MXFP4, SX_NVFP4: return []
        default: return [0]
        }
    }

    /// The small scale of a part, low bits first; none where the block has only one.
    func scale(_ part: Int) -> [Field] {
        switch Int(type) {
        case SX_Q2_K: return [(part, 0, 4)]
        case SX_Q3_K: return [(96 + part % 8, part / 8 * 4, 4), (104 + part % 4, part / 4 * 2, 2)]
        case SX_Q4_K, SX_Q5_K: return part < 4 ? [(4 + part, 0, 6)] : [(8 + part, 0, 4), (part, 6, 2)]
        case SX_Q6_K: return [(192 + part, 0, 8)]
        case SX_MXFP4, SX_NVFP4: return [(part, 0, 8)]
        case SX_IQ4_XS: return [(4 + part / 2, part % 2 * 4, 4), (2 + part / 4, part % 4 * 2, 2)]
        default: return []
        }
    }

    /// The small minimum of a part.
    func minimum(_ part: Int) -> [Field] {
        switch Int(type) {
        case SX_Q2_K: return [(part, 4, 4)]
        case SX_Q4_K, SX_Q5_K: return part < 4 ? [(8 + part, 0, 6)] : [(8 + part, 4, 4), (4 + part, 6, 2)]
        default: return []
        }
    }

    var hasMinimum: Bool { [SX_Q4_1, SX_Q5_1, SX_Q2_K, SX_Q4_K, SX_Q5_K].contains(Int(type)) }

    /// The code of a pruned weight; nil where each part has its own.
    var background: Int? {
        switch Int(type) {
        case SX_Q4_0, SX_IQ4_NL, SX_IQ4_XS: return 8
        case SX_Q5_0: return 16
        case SX_Q8_0, SX_MXFP4, SX_NVFP4, SX_Q1_0: return 0
        case SX_Q3_K: return 4
        case SX_Q2_0: return 1
        case SX_Q6_K: return 32
        default: return nil
        }
    }

    /// What a code stands for before scales.
    func level(_ code: Int) -> Int {
        switch Int(type) {
        case SX_Q4_0: return code - 8
        case SX_Q5_0: return code - 16
        case SX_Q8_0: return Int(Int8(truncatingIfNeeded: code))
        case SX_Q3_K: return code - 4
        case SX_Q1_0: return code * 2 - 1
        case SX_Q2_0: return code - 1
        case SX_Q6_K: return code - 32
        case SX_IQ4_NL, SX_IQ4_XS:
            return [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113][code]
        case SX_MXFP4, SX_NVFP4: return [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12][code]
        default: return code
        }
    }
}
