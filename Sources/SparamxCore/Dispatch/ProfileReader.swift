import CKernelTable
import CPlatform

/// The words of one line: what stands between blanks, up to a '#' that begins a word.
struct ProfileWords {
    private var rest: UnsafeRawBufferPointer.SubSequence

    init(_ line: UnsafeRawBufferPointer.SubSequence) { rest = line }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0d }

    mutating func next() -> UnsafeRawBufferPointer.SubSequence? {
        while let first = rest.first, Self.isBlank(first) { rest = rest.dropFirst() }
        guard let first = rest.first, first != UInt8(ascii: "#") else { return nil }
        var end = rest.startIndex
        while end < rest.endIndex && !Self.isBlank(rest[end]) { end += 1 }
        defer { rest = rest[end...] }
        return rest[..<end]
    }
}

/// Reads a profile. A line is one of these, and the first is the first of them:
///
///     sparamx-profile 1           the version of the format
///     library VERSION             of the library that was measured
///     cpu BRAND STRING            of the CPU; "any" for all
///     accuracy any                kernels may be less accurate than the table's; it is not there by itself
///     kernel NAME FIRST LAST      the kernel for so many tokens; LAST may be "any"
///     sparse TYPE SHARE           percent of zeros from which on sparse is faster, or "never"
struct ProfileReader {
    private let text: UnsafeRawBufferPointer
    private let brand: UnsafePointer<UInt8>, version: UnsafePointer<CChar>
    private let ranges: UnsafeMutablePointer<Profile.Range>
    private let breakEvens: UnsafeMutablePointer<Double>
    private var rangeCount = 0, line = 0
    private var hasLibrary = false, hasCPU = false, allowsAnyAccuracy = false

    /// brand: of this CPU; version: of this library; zero-terminated.
    init(_ text: UnsafeRawBufferPointer, brand: UnsafePointer<UInt8>,
         version: UnsafePointer<CChar>) throws(ProfileFault) {
        self.text = text
        self.brand = brand
        self.version = version
        // No line of a range has fewer than eight bytes.
        let rangeBytes = (text.count / 8 + 1) * MemoryLayout<Profile.Range>.stride
        guard let memory = sx_allocate(rangeBytes + KernelTable.count * 8) else { throw ProfileFault(.memory) }
        ranges = memory.assumingMemoryBound(to: Profile.Range.self)
        breakEvens = (memory + rangeBytes).assumingMemoryBound(to: Double.self)
        for i in 0..<KernelTable.count { breakEvens[i] = .nan }
    }

    /// Always.
    func end() { sx_free(ranges) }

    mutating func read() throws(ProfileFault) -> Profile.Handle {
        var rest = text[...], begun = false
        while !rest.isEmpty {
            var end = rest.startIndex
            while end < rest.endIndex && rest[end] != 0x0a { end += 1 }
            line += 1
            var words = ProfileWords(rest[rest.startIndex..<end])
            rest = rest[min(end + 1, rest.endIndex)...]
            guard let word = words.next() else { continue }
            if begun {
                try readLine(word, &words)
            } else {
                guard equal(word, "sparamx-profile") else { throw ProfileFault(.foreign) }
                guard let format = words.next(), equal(format, "1"), words.next() == nil else {
                    throw ProfileFault(.format, line: line)
                }
                begun = true
            }
        }
        guard begun else { throw ProfileFault(.foreign) }
        guard hasLibrary, hasCPU else { throw ProfileFault(.noCPU) }
        if !allowsAnyAccuracy { try checkAccuracy() }
        let all = UnsafeBufferPointer(start: ranges, count: rangeCount)
        guard let made = Profile.make(all, UnsafeBufferPointer(start: breakEvens, count: KernelTable.count)) else {
            throw ProfileFault(.memory)
        }
        return made
    }

    private mutating func readLine(_ word: UnsafeRawBufferPointer.SubSequence,
                                   _ words: inout ProfileWords) throws(ProfileFault) {
        if equal(word, "library") {
            try readLibrary(&words)
        } else if equal(word, "cpu") {
            try readCPU(words)
        } else if equal(word, "accuracy") {
            guard let value = words.next(), words.next() == nil else { throw fault(.count) }
            guard equal(value, "any") else { throw fault(.value) }
            allowsAnyAccuracy = true
        } else if equal(word, "kernel") {
            try readKernel(&words)
        } else if equal(word, "sparse") {
            try readShare(&words)
        } else {
            throw fault(.word)
        }
    }

    private mutating func readLibrary(_ words: inout ProfileWords) throws(ProfileFault) {
        guard !hasLibrary else { throw fault(.twice) }
        guard let value = words.next(), words.next() == nil else { throw fault(.count) }
        guard equal(value, UnsafeRawPointer(version).assumingMemoryBound(to: UInt8.self)) else { throw fault(.library) }
        hasLibrary = true
    }

    /// Word by word, because brand strings have blanks in odd places.
    private mutating func readCPU(_ given: ProfileWords) throws(ProfileFault) {
        guard !hasCPU else { throw fault(.twice) }
        var length = 0
        while brand[length] != 0 { length += 1 }
        var words = given, own = ProfileWords(UnsafeRawBufferPointer(start: brand, count: length)[...]), isOwn = true
        while isOwn {
            let one = words.next(), other = own.next()
            if one == nil && other == nil { break }
            guard let one, let other else {
                isOwn = false
                break
            }
            isOwn = one.elementsEqual(other)
        }
        var only = given
        let isAny = only.next().map { equal($0, "any") } ?? false
        guard isOwn || (isAny && only.next() == nil) else { throw fault(.cpu) }
        hasCPU = true
    }

    private mutating func readKernel(_ words: inout ProfileWords) throws(ProfileFault) {
        guard let name = words.next(), let from = words.next(), let to = words.next(), words.next() == nil else {
            throw fault(.count)
        }
        guard let kernel = (0..<KernelTable.count).first(where: { named(name, KernelTable.row($0)) }) else {
            throw fault(.kernel)
        }
        let row = KernelTable.row(kernel)
        guard let first = number(from) else { throw fault(.value) }
        guard let last = equal(to, "any") ? row.serves.upperBound : number(to) else { throw fault(.value) }
        guard first >= 1, first <= last, row.serves.contains(first), row.serves.contains(last) else {
            throw fault(.tokens)
        }
        for i in 0..<rangeCount where KernelTable.row(ranges[i].kernel).list == row.list {
            if ranges[i].tokens.overlaps(first...last) { throw fault(.overlap) }
        }
        (ranges + rangeCount).initialize(to: Profile.Range(kernel: kernel, tokens: first...last, line: line))
        rangeCount += 1
    }

    private func readShare(_ words: inout ProfileWords) throws(ProfileFault) {
        guard let name = words.next(), let value = words.next(), words.next() == nil else { throw fault(.count) }
        var row: Int? = nil
        for i in 0..<sx_type_count() where equal(name, UnsafeRawPointer(sx_type_name(sx_type_at(i)))
                                                     .assumingMemoryBound(to: UInt8.self)) {
            if !KernelTable.rows(type: sx_type_at(i), sparse: true).isEmpty {
                row = KernelTable.rows(type: sx_type_at(i), sparse: false).lowerBound
            }
        }
        guard let row else { throw fault(.type) }
        guard breakEvens[row].isNaN else { throw fault(.twice) }
        guard let share = equal(value, "never") ? Double.infinity : percent(value) else { throw fault(.share) }
        breakEvens[row] = share
    }

    /// At no number of tokens may a kernel be less accurate than what the table has there, at any level that has it.
    private func checkAccuracy() throws(ProfileFault) {
        for i in 0..<rangeCount {
            let range = ranges[i], row = KernelTable.row(range.kernel)
            for level in row.isa.rawValue...ISA.amx.rawValue {
                var m: Int? = range.tokens.lowerBound
                while let tokens = m, tokens <= range.tokens.upperBound {
                    let own = KernelTable.choose(type: row.type, sparse: row.sparse, coded: row.coded, m: tokens,
                                                 isa: ISA(rawValue: level)!, profile: nil)
                    if let own, KernelTable.row(own).accuracy.rawValue > row.accuracy.rawValue {
                        throw ProfileFault(.accuracy, line: range.line)
                    }
                    m = KernelTable.change(type: row.type, sparse: row.sparse, coded: row.coded, after: tokens,
                                           profile: nil)
                }
            }
        }
    }

    // MARK: - words

    private func fault(_ kind: ProfileFault.Kind) -> ProfileFault { ProfileFault(kind, line: line) }

    private func equal(_ word: UnsafeRawBufferPointer.SubSequence, _ other: StaticString) -> Bool {
        word.elementsEqual(UnsafeRawBufferPointer(start: other.utf8Start, count: other.utf8CodeUnitCount))
    }

    private func equal(_ word: UnsafeRawBufferPointer.SubSequence, _ other: UnsafePointer<UInt8>) -> Bool {
        var i = 0
        for byte in word {
            if other[i] != byte || byte == 0 { return false }
            i += 1
        }
        return other[i] == 0
    }

    private func named(_ word: UnsafeRawBufferPointer.SubSequence, _ row: KernelRow) -> Bool {
        equal(word, UnsafeRawPointer(row.name).assumingMemoryBound(to: UInt8.self))
    }

    /// Up to what a product can have.
    private func number(_ word: UnsafeRawBufferPointer.SubSequence) -> Int? {
        var value = 0
        for byte in word {
            guard byte >= 48, byte <= 57 else { return nil }
            value = value * 10 + Int(byte - 48)
            if value > KernelTable.many { return nil }
        }
        return value
    }

    /// As a share: "27" and "27.5" are 0.27 and 0.275.
    private func percent(_ word: UnsafeRawBufferPointer.SubSequence) -> Double? {
        var value = 0.0, digits = 0, scale = 1.0, seenPoint = false
        for byte in word {
            if byte == UInt8(ascii: "."), !seenPoint, digits > 0 {
                seenPoint = true
                continue
            }
            guard byte >= 48, byte <= 57, digits < 9 else { return nil }
            digits += 1
            value = value * 10 + Double(byte - 48)
            if seenPoint { scale *= 10 }
        }
        guard digits > 0, value <= 100 * scale else { return nil }
        return value / scale / 100
    }
}
