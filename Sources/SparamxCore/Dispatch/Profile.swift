import CKernelTable
import CPlatform

/// What was measured on a machine: the kernels for ranges of tokens, and from what share of zeros on the sparse form of
/// a type is faster. Where it says nothing, the table of kernels and bytes decide. Lives in memory of its own, for as
/// long as the process once it is in use, and does not change: the same file gives the same results.
package struct Profile {
    package typealias Handle = UnsafeMutablePointer<Profile>

    /// Tokens that a kernel is to serve.
    struct Range {
        let kernel: Int      // row of the table
        let tokens: ClosedRange<Int>
        let line: Int        // of the file
    }

    /// Rising by the first row of the kernel's list, then by tokens.
    private let ranges: UnsafeMutablePointer<Range>
    /// Where the ranges of a list begin, by its first row.
    private let begins: UnsafeMutablePointer<Int>
    /// By the first row of a type's dense list. NaN: bytes decide; infinity: dense, however many zeros there are.
    private let breakEvens: UnsafeMutablePointer<Double>
    package let rangeCount, breakEvenCount: Int

    /// ranges: in any order, apart from each other.
    static func make(_ ranges: UnsafeBufferPointer<Range>,
                     _ breakEvens: UnsafeBufferPointer<Double>) -> Handle? {
        let rows = KernelTable.count, head = (MemoryLayout<Profile>.stride + 15) / 16 * 16
        let beginsAt = head + ranges.count * MemoryLayout<Range>.stride
        let evensAt = beginsAt + (rows + 1) * MemoryLayout<Int>.stride
        guard let memory = sx_allocate(evensAt + rows * MemoryLayout<Double>.stride) else { return nil }
        let handle = memory.bindMemory(to: Profile.self, capacity: 1)
        let sorted = (memory + head).bindMemory(to: Range.self, capacity: max(ranges.count, 1))
        let begins = (memory + beginsAt).bindMemory(to: Int.self, capacity: rows + 1)
        let evens = (memory + evensAt).bindMemory(to: Double.self, capacity: rows)
        var count = 0, known = 0
        for i in 0..<rows {
            evens[i] = breakEvens[i]
            if !evens[i].isNaN { known += 1 }
            begins[i] = count
            for range in ranges where KernelTable.row(range.kernel).list == i {
                insert(range, sorted + begins[i], count - begins[i])
                count += 1
            }
        }
        begins[rows] = count
        handle.initialize(to: Profile(ranges: sorted, begins: begins, breakEvens: evens, rangeCount: count,
                                      breakEvenCount: known))
        return handle
    }

    private static func insert(_ range: Range, _ sorted: UnsafeMutablePointer<Range>, _ count: Int) {
        var at = count
        while at > 0 && sorted[at - 1].tokens.lowerBound > range.tokens.lowerBound {
            sorted[at] = sorted[at - 1]
            at -= 1
        }
        sorted[at] = range
    }

    /// Of a list of kernels, by its first row.
    private func ranges(list: Int) -> UnsafeBufferPointer<Range> {
        UnsafeBufferPointer(start: ranges + begins[list], count: begins[list + 1] - begins[list])
    }

    /// The row that the profile wants for m tokens, or nil: it says nothing, or this level does not have the kernel.
    func choose(list: Int, m: Int, isa: ISA) -> Int? {
        for range in ranges(list: list) where range.tokens.contains(m) {
            return KernelTable.row(range.kernel).isa.rawValue <= isa.rawValue ? range.kernel : nil
        }
        return nil
    }

    /// The next number of tokens after m where a range begins or has ended.
    func change(list: Int, after m: Int) -> Int? {
        for range in ranges(list: list) {
            if range.tokens.lowerBound > m { return range.tokens.lowerBound }
            if range.tokens.upperBound >= m {
                return range.tokens.upperBound < KernelTable.many ? range.tokens.upperBound + 1 : nil
            }
        }
        return nil
    }

    /// Whether it wants this row for some number of tokens up to `most`.
    func wants(_ row: Int, list: Int, upTo most: Int) -> Bool {
        for range in ranges(list: list) where range.kernel == row && range.tokens.lowerBound <= most { return true }
        return false
    }

    /// The share of zeros from which on the sparse form of a type is faster; nil: it does not say.
    func breakEven(_ type: Int32) -> Double? {
        let share = breakEvens[KernelTable.rows(type: type, sparse: false).lowerBound]
        return share.isNaN ? nil : share
    }
}

// The one that the process has.
extension Profile {
    /// From the first call on it stays what it is. Hosts make objects before they compute, so nothing is read then.
    package static var current: Handle? {
        var found: UnsafeMutableRawPointer? = nil
        if !sx_profile_settled(&found) {
            settle()
            _ = sx_profile_settled(&found)
        }
        return found?.assumingMemoryBound(to: Profile.self)
    }

    /// In the place of one that was loaded before.
    package static func load(_ path: UnsafePointer<CChar>) throws(ProfileFault) {
        var settled: UnsafeMutableRawPointer? = nil
        if sx_profile_settled(&settled) { throw ProfileFault(.late) }
        let new = try read(path)
        let unused = sx_profile_load(new)
        sx_free(unused)
        if unused == UnsafeMutableRawPointer(new) { throw ProfileFault(.late) }
    }

    @inline(never)
    private static func settle() {
        let number = sx_errno()
        var offered: UnsafeMutableRawPointer? = nil, fault: ProfileFault? = nil
        let path = sx_environment("SPARAMX_PROFILE")
        if let path, path[0] != 0, !sx_profile_is_there() {
            do throws(ProfileFault) { offered = UnsafeMutableRawPointer(try read(path)) } catch { fault = error }
        }
        let isFirst = sx_profile_settle(&offered)
        sx_free(offered)
        if isFirst, let fault, let path { fault.log(path) }
        sx_set_errno(number)
    }

    private static func read(_ path: UnsafePointer<CChar>) throws(ProfileFault) -> Handle {
        let most = 1 << 16
        var size: Int64 = 0
        let file = sx_file_open(path, &size)
        if file < 0 { throw ProfileFault(file == Int32(SX_FILE_KIND) ? .kind : .file) }
        defer { sx_file_close(file) }
        guard size <= most else { throw ProfileFault(.foreign) }
        guard let text = sx_allocate(max(Int(size), 1)) else { throw ProfileFault(.memory) }
        defer { sx_free(text) }
        let got = sx_file_read(file, text, Int(size), 0)
        if size > 0 && got != 1 { throw ProfileFault(got == Int32(SX_FILE_ENDED) ? .cutOff : .file) }
        return try read(UnsafeRawBufferPointer(start: text, count: Int(size)))
    }

    /// What a file says, for this CPU and this library.
    package static func read(_ text: UnsafeRawBufferPointer) throws(ProfileFault) -> Handle {
        try Capability.withBrand { brand throws(ProfileFault) in
            var reader = try ProfileReader(text, brand: brand, version: sx_version())
            defer { reader.end() }
            return try reader.read()
        }
    }
}
