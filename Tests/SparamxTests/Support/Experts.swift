import CKernelABI
import Glibc
@testable import SparamxCore

/// All weight types that have kernels.
let kernelTypes: [Int32] = Array(Set((0..<KernelTable.count).map { KernelTable.row($0).type })).sorted()

/// How a weight is given to a product with experts.
enum Place: CaseIterable { case dense, sparse, raw }

/// A weight with one matrix per expert, in guarded memory.
final class ExpertWeight {
    let matrix: Matrix
    private let packed: PackedTensor?
    private let region: Region

    init(_ matrix: Matrix, _ place: Place) throws {
        self.matrix = matrix
        if place == .raw {
            packed = nil
            region = Region(matrix.bytes.count)
            matrix.bytes.withUnsafeBytes { region.base.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        } else {
            let tensor = try matrix.pack(place == .sparse ? .sparse : .dense)
            let (copy, guarded) = tensor.guarded()
            (packed, region) = (copy, guarded)
            tensor.release()
        }
    }

    func operand(rows: Int, isa: ISA) throws -> ExpertOperand {
        if let packed { return try ExpertOperand(packed: packed, rows: rows, isa: isa) }
        let layout = try PackedLayout(type: matrix.type, sparse: false, n: matrix.n, k: matrix.k, matrices: 1,
                                      sparseBytes: 0)
        let file = Rows(base: region.base, rowStride: matrix.rowBytes, matrixStride: matrix.rowBytes * matrix.n)
        return try ExpertOperand(raw: layout, file: file, rows: rows, isa: isa)
    }

    /// The ordinary product with one expert: what each row has to come to, bit for bit.
    func product(_ expert: Int, _ x: Tokens, isa: ISA) throws -> Results {
        let operand = try operand(rows: 1, isa: isa), y = Results(m: x.m, n: matrix.n, ld: matrix.n)
        let plan = try Plan(operand.layout, m: x.m, threads: 1, isa: isa, raw: packed == nil)
        if let trouble = multiply(plan, operand.matrix(expert), x, y) { throw Trouble(trouble) }
        return y
    }
}

struct Trouble: Error, CustomStringConvertible {
    let description: String
    init(_ text: String) { description = text }
}

/// One op with experts: numbers, x and dst with gaps between rows and tokens, all in guarded memory.
final class ExpertCase: @unchecked Sendable {
    let up: ExpertWeight, gate: ExpertWeight?
    let slots, xSlots, tokens: Int
    let numbers: [Int32]?   // nil: the kind without experts
    let x: Region, y: Region, ids: Region
    let xGap, yGap, idGap: Int
    var isa = ISA.reference
    var function = Gate(function: .silu, limit: 0)

    var rows: Int { slots * tokens }
    private var n: Int { up.matrix.n }
    private var k: Int { up.matrix.k }

    init(_ up: ExpertWeight, _ gate: ExpertWeight?, slots: Int, xSlots: Int, tokens: Int, numbers: [Int32]?, gap: Int,
         seed: UInt64) {
        (self.up, self.gate, self.slots, self.xSlots) = (up, gate, slots, xSlots)
        (self.tokens, self.numbers) = (tokens, numbers)
        (xGap, yGap, idGap) = (gap, gap, gap)
        let (n, k) = (up.matrix.n, up.matrix.k)
        x = Region((xSlots * tokens * (k + gap) - gap) * 4)
        y = Region((slots * tokens * (n + gap) - gap) * 4)
        ids = Region((tokens * (slots + gap) - gap) * 4)
        x.fill(0xff)
        ids.fill(0xff)
        var random = Random(seed)
        for row in 0..<xSlots * tokens { for i in 0..<k { x.floats[row * (k + gap) + i] = random.normal() } }
        guard let numbers else { return }
        let words = ids.base.assumingMemoryBound(to: Int32.self)
        for row in 0..<rows { words[row / slots * (slots + gap) + row % slots] = numbers[row] }
    }

    func expert(_ row: Int) -> Int { Int(numbers?[row] ?? 0) }

    func input(_ row: Int) -> UnsafeMutablePointer<Float> {
        x.floats + (row / slots * xSlots + row % slots % xSlots) * (k + xGap)
    }

    func output(_ row: Int) -> UnsafeMutablePointer<Float> { y.floats + row * (n + yGap) }

    func product(threads: Int) throws -> ExpertProduct {
        try ExpertProduct(rows: rows, experts: up.matrix.matrices, threads: threads, isa: isa,
                          first: up.operand(rows: rows, isa: isa), second: gate?.operand(rows: rows, isa: isa),
                          gate: function)
    }

    func places(_ region: Region, slots: Int, width: Int) -> RowLayout {
        RowLayout(base: region.base, ne: (self.slots, tokens), repeats: slots, nb: (width * 4, slots * width * 4, 0))
    }

    var experts: ExpertIDs? {
        numbers.map { _ in ExpertIDs(base: ids.base, slots: slots, tokenStride: (slots + idGap) * 4) }
    }

    func clear() { for i in 0..<y.bytes / 4 { (y.base + 4 * i).storeBytes(of: Results.untouched, as: UInt32.self) } }

    /// What one thread does.
    func share(_ product: ExpertProduct, _ worker: Worker) throws(Status) {
        try product.run(worker, experts, x: places(x, slots: xSlots, width: k + xGap),
                        y: places(y, slots: slots, width: n + yGap))
    }

    /// Runs it, in a work area of exactly the size asked for. Returns what is wrong with the memory around.
    func run(threads: Int, shift: Int = 63) throws -> String? {
        let product = try product(threads: threads), work = Region(product.area.bytes, distance: shift)
        work.fill(0xff)
        clear()
        let barrier = Barrier(threads), shared = Shared(product), failed = Region(threads * 4)
        failed.fill(0)
        inParallel(threads) { thread in
            let worker = Worker(index: thread, threads: threads, work: work.base, barrier: Barrier.wait,
                                barrierData: UnsafeMutableRawPointer(barrier.pointer))
            do throws(Status) {
                try self.share(shared.value, worker)
            } catch {
                failed.base.assumingMemoryBound(to: Int32.self)[thread] = error.rawValue
            }
        }
        for i in 0..<threads {
            let status = failed.base.assumingMemoryBound(to: Int32.self)[i]
            if status != 0 { return "thread \(i) failed with \(status)" }
        }
        if !work.intact { return "wrote outside the work area" }
        if !x.intact || !y.intact { return "wrote outside x or y" }
        for row in 0..<rows - 1 {
            for i in n..<n + yGap where output(row)[i].bitPattern != Results.untouched {
                return "wrote behind row \(row)"
            }
        }
        return nil
    }

    var bits: [UInt32] { (0..<rows).flatMap { row in (0..<n).map { output(row)[$0].bitPattern } } }

    /// The ordinary products of each expert's rows, and the gate's function of them.
    func expected() throws -> [[Float]] {
        var result = [[Float]](repeating: [], count: rows)
        for expert in 0..<up.matrix.matrices {
            let mine = (0..<rows).filter { self.expert($0) == expert }
            if mine.isEmpty { continue }
            let gathered = Tokens(m: mine.count, k: k, ld: k)
            for (i, row) in mine.enumerated() { for l in 0..<k { gathered[i, l] = input(row)[l] } }
            let u = try up.product(expert, gathered, isa: isa), g = try gate?.product(expert, gathered, isa: isa)
            for (i, row) in mine.enumerated() {
                result[row] = (0..<n).map { u[i, $0] }
                guard let g else { continue }
                let gates = (0..<n).map { g[i, $0] }
                function.apply(up: result[row], gate: gates, out: &result[row], count: n, isa: isa)
            }
        }
        return result
    }

    /// nil, or the first place where a result has other bits.
    func difference() throws -> String? {
        for (row, values) in try expected().enumerated() {
            for i in 0..<n where output(row)[i].bitPattern != values[i].bitPattern {
                return "y[\(row), \(i)] is \(output(row)[i]), its expert alone gives \(values[i])"
            }
        }
        return nil
    }
}
