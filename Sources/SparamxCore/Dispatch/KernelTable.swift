import CKernelABI
import CKernelTable

/// How a kernel wants its activations.
package enum Activation: Int32 {
    case plain   // as the host has them
    case bf16, f32, q8

    /// Bytes per token and K-block of the packed layout.
    var rowBytes: Int { self == .f32 ? 128 : 64 }
    /// K per K-block.
    var kPerBlock: Int { self == .q8 ? 64 : 32 }
}

/// How exact results are, rising.
package enum Accuracy: Int32 {
    case rounded = 0  // weights or activations are rounded to a type that has fewer bits than theirs
    case full         // sums in another order than the reference's
    case exact        // bit-equal to the reference on the same packed activations
}

/// One kernel: what it is for and where it is. A row of the table in CKernelTable.
/// Constant, so any thread may have it.
package struct KernelRow: @unchecked Sendable {
    private let row: sx_kernel_row
    private let index: Int

    fileprivate init(_ index: Int) {
        row = sx_kernel_at(Int32(index)).pointee
        self.index = index
    }

    package var name: UnsafePointer<CChar> { row.name }
    package var isa: ISA { ISA(rawValue: row.level)! }
    package var type: Int32 { row.type }
    package var sparse: Bool { row.sparse != 0 }
    package var coded: Bool { row.coded != 0 }
    /// The form, as hosts and files name it.
    package var form: Int32 { PackedLayout.form(sparse: sparse, coded: coded) }
    /// Tokens it can serve.
    package var serves: ClosedRange<Int> { Int(row.first)...Int(row.last) }
    /// Tokens from which it is wanted.
    package var from: Int { Int(row.from) }
    package var activation: Activation { Activation(rawValue: row.x)! }
    /// Bit-equal to the reference on the same input.
    package var exact: Bool { row.exact != 0 }
    /// A profile takes no kernel for one of a higher class unless it is told to.
    package var accuracy: Accuracy {
        if exact { return .exact }
        return activation == .bf16 && type != Int32(SX_BF16) && !WeightType.isQuantized(type) ? .rounded : .full
    }
    /// The first row of its type and form.
    var list: Int { KernelTable.rows(type: type, sparse: sparse, coded: coded).lowerBound }
    package var function: sx_kernel_fn { row.function }

    /// Tokens that the packed activations of m tokens have room for: some kernels always multiply whole groups.
    func rows(_ m: Int) throws(Status) -> Int {
        m > Int(row.above) ? try Checked.roundUp(m, to: Int(row.multiple)) : m
    }

    /// The most rows that a group of tokens may have more than it has tokens.
    var padding: Int {
        let first = max(row.first, row.above + 1)
        let whole = (first + row.multiple - 1) / row.multiple * row.multiple
        return row.last > whole ? Int(row.multiple) - 1 : Int(whole - first)
    }

    /// Scratch memory of one thread in bytes, beside the packed activations.
    package func scratchBytes(_ m: Int) -> Int {
        let group = Int(row.scratch.group)
        return Int(row.scratch.fixed) + (min(m, Int(SX_GEMM_M)) + group - 1) / group * Int(row.scratch.per_group)
    }

    /// Whether it multiplies a part of the tokens when it is told to: those that serve any number do, the reference
    /// excepted.
    var cutsTokens: Bool { serves.upperBound == KernelTable.many && isa != .reference }

    func fits(_ m: Int, _ isa: ISA) -> Bool { row.level <= isa.rawValue && serves.contains(m) && from <= m }

    /// Whether this row serves a product that both fit: the higher level, then the one that can serve fewer tokens.
    func goesBefore(_ other: KernelRow) -> Bool {
        row.level != other.row.level ? row.level > other.row.level : row.last < other.row.last
    }
}

/// The list of kernels: kernels.def and types.def.
/// The plan, the tests, the benchmark and the support matrix all read it.
package enum KernelTable {
    package static var count: Int { Int(sx_kernel_count()) }
    package static var many: Int { Int(SX_ANY_TOKENS) }

    package static func row(_ index: Int) -> KernelRow { KernelRow(index) }

    /// The rows of one type and form; none if the library has no kernels for it.
    package static func rows(type: Int32, sparse: Bool, coded: Bool = false) -> Range<Int> {
        var begin: Int32 = 0
        let count = sx_kernels_of(type, sparse ? 1 : 0, coded ? 1 : 0, &begin)
        return Int(begin)..<Int(begin + count)
    }

    /// The next number of tokens from which another row can be the choice, or nil: there is none.
    package static func change(type: Int32, sparse: Bool, coded: Bool = false, after m: Int,
                               profile: Profile.Handle? = Profile.current) -> Int? {
        let list = rows(type: type, sparse: sparse, coded: coded)
        var next = list.isEmpty ? nil : profile?.pointee.change(list: list.lowerBound, after: m)
        for index in list {
            let row = row(index)
            for bound in 0..<3 {
                let tokens = bound == 0 ? row.from : bound == 1 ? row.serves.lowerBound : row.serves.upperBound + 1
                if tokens > m && tokens <= many { next = min(next ?? many, tokens) }
            }
        }
        return next
    }

    /// Whether some number of tokens up to `most` can have this row, at a level that has it.
    static func mayChoose(_ index: Int, upTo most: Int, profile: Profile.Handle? = Profile.current) -> Bool {
        let row = row(index)
        return max(row.from, row.serves.lowerBound) <= most
            || profile?.pointee.wants(index, list: row.list, upTo: most) ?? false
    }

    /// The row for a product, or nil if nothing serves the type.
    package static func choose(type: Int32, sparse: Bool, coded: Bool = false, m: Int, isa: ISA,
                               profile: Profile.Handle? = Profile.current) -> Int? {
        let list = rows(type: type, sparse: sparse, coded: coded)
        if let profile, !list.isEmpty,
           let wanted = profile.pointee.choose(list: list.lowerBound, m: m, isa: isa) {
            return wanted
        }
        var chosen: Int? = nil
        for index in list {
            let candidate = row(index)
            guard candidate.fits(m, isa) else { continue }
            if let best = chosen, !candidate.goesBefore(row(best)) { continue }
            chosen = index
        }
        return chosen
    }
}
