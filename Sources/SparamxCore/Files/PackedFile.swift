import CKernelABI
import CPlatform

/// A packed file that is open, and what its index says, which is in memory and has been judged: what happens to the
/// file later cannot change it. Any number of threads may use one. Lives in memory of its own; the C handle is its
/// address.
package struct PackedFile: HostObject {
    package static let sign: UInt64 = 0x7370_6172_616d_7866

    package private(set) var sign: UInt64
    private let file: Int32
    private let page: UnsafeMutableRawPointer   // the header's
    private let index: UnsafeMutableRawPointer  // entries, then checksums
    package let count: Int

    package static func open(_ path: UnsafePointer<CChar>) throws(Status) -> Handle {
        var found: Int64 = 0
        let file = sx_file_open(path, &found)
        if file < 0 { throw file == Int32(SX_FILE_KIND) ? .fileKind : .file }
        do throws(Status) { return try open(file, found: Int(found)) } catch {
            sx_file_close(file)
            throw error
        }
    }

    private static func open(_ file: Int32, found: Int) throws(Status) -> Handle {
        guard let page = sx_allocate(FileFormat.page) else { throw .noMemory }
        var memory: UnsafeMutableRawPointer? = nil
        do throws(Status) {
            try read(file, page, min(found, FileFormat.page), at: 0)
            let header = try FileHeader(page: page, found: found)
            let objectBytes = (MemoryLayout<PackedFile>.stride + 15) / 16 * 16
            memory = sx_allocate(try Checked.sum(objectBytes, header.indexBytes))
            guard let memory else { throw .noMemory }
            let index = memory + objectBytes
            try read(file, index, header.indexBytes, at: header.indexOffset)
            try check(index, header)
            let handle = memory.bindMemory(to: PackedFile.self, capacity: 1)
            handle.initialize(to: PackedFile(sign: sign, file: file, page: page, index: index, count: header.count))
            return handle
        } catch {
            sx_free(memory)
            sx_free(page)
            throw error
        }
    }

    /// Bytes that the file must have: it may have been cut off since its size was asked for.
    private static func read(_ file: Int32, _ to: UnsafeMutableRawPointer, _ bytes: Int, at: Int) throws(Status) {
        switch sx_file_read(file, to, bytes, Int64(at)) {
        case 1: return
        case Int32(SX_FILE_ENDED): throw .fileDamaged
        default: throw .file
        }
    }

    private static func check(_ index: UnsafeRawPointer, _ header: FileHeader) throws(Status) {
        guard Checksum.of(index, header.indexBytes) == header.indexChecksum else { throw .fileDamaged }
        let entries = header.count * FileEntry.bytes
        guard header.indexBytes >= entries, (header.indexBytes - entries) % 8 == 0 else { throw .fileDamaged }
        let blocks = (header.indexBytes - entries) / 8
        var blocksUsed = 0, dataEnd = FileFormat.page, hasCoded = false
        for i in 0..<header.count {
            let entry = FileEntry(start: index + i * FileEntry.bytes)
            try entry.check(dataEnd: header.indexOffset, blocks: blocks)
            hasCoded = hasCoded || entry.isCoded
            blocksUsed += FileFormat.blocks(entry.packedBytes)
            dataEnd += try FileFormat.pages(entry.packedBytes)
            if i == 0 { continue }
            let before = FileEntry(start: index + (i - 1) * FileEntry.bytes)
            guard compareNames(before.name, entry.name) < 0 else { throw .fileDamaged }
        }
        // Nothing lies in the file that no entry has.
        guard blocksUsed == blocks, dataEnd == header.indexOffset, hasCoded == header.hasCoded else {
            throw .fileDamaged
        }
    }

    package static func close(_ handle: Handle) {
        sx_file_close(handle.pointee.file)
        sx_free(handle.pointee.page)
        handle.pointee.sign = 0
        sx_free(handle)
    }

    package var key: (start: UnsafeRawPointer, bytes: Int) { FileHeader.key(page: page) }

    package func entry(_ index: Int) throws(Status) -> FileEntry {
        guard index >= 0, index < count else { throw .range }
        return FileEntry(start: self.index + index * FileEntry.bytes)
    }

    /// The entries are ordered by name.
    package func find(_ name: UnsafePointer<CChar>) throws(Status) -> Int {
        var low = 0, high = count
        while low < high {
            let middle = (low + high) / 2, order = compareNames(try entry(middle).name, name)
            if order == 0 { return middle }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        throw .fileName
    }

    /// Reads all of a tensor and compares the checksum of each block. Throws .fileDamaged.
    package func verify(_ index: Int) throws(Status) {
        let entry = try entry(index), bytes = entry.packedBytes, end = try FileFormat.pages(bytes)
        let space = min(FileFormat.block, end)
        guard let memory = sx_map(space) else { throw .noMemory }
        defer { sx_unmap(memory, space) }
        let checksums = self.index + count * FileEntry.bytes
        for i in 0..<FileFormat.blocks(bytes) {
            let at = i * FileFormat.block, size = min(FileFormat.block, bytes - at)
            let withPadding = min(FileFormat.block, end - at)
            try PackedFile.read(file, memory, withPadding, at: entry.offset + at)
            guard Checksum.of(memory, size) == UnsafeRawPointer(checksums).number64((entry.firstBlock + i) * 8),
                  isZero(memory + size, withPadding - size) else { throw .fileDamaged }
        }
    }

    /// A tensor of this file, mapped and proven to be what packing can have written. It is a mapping of its own and
    /// stays when the file is closed. form: what the host wants, which the file must have.
    package func load(_ index: Int, form: FormChoice) throws(Status) -> PackedTensor {
        let entry = try entry(index), layout = try layout(entry)
        guard fits(layout, form) else { throw .fileMismatch }
        guard let reason = FormReason(rawValue: entry.reason), reason.isOfPacked,
              entry.background <= layout.n * layout.k * layout.matrices else { throw .fileDamaged }
        var tensor = try map(entry, layout, reason)
        do throws(Status) { try tensor.verify() } catch {
            tensor.release()
            throw .fileDamaged
        }
        if layout.sparse { tensor.largestPanel = Schedule.largestPanel(tensor, tensor.offsets) }
        return tensor
    }

    private func fits(_ layout: PackedLayout, _ form: FormChoice) -> Bool {
        guard let wanted = form.form(layout.type) else { return true }
        return wanted == layout.form || (wanted == FormChoice.sparse.rawValue && !layout.type.hasSparseForm)
    }

    /// Computed from type and dimensions, and compared with what the entry says.
    private func layout(_ entry: FileEntry) throws(Status) -> PackedLayout {
        let type = try WeightType(entry.type), ne = entry.ne
        guard type.hasSparseForm || !entry.isSparse, type.hasCodedForms || !entry.isCoded else { throw .fileDamaged }
        let layout: PackedLayout
        do throws(Status) {
            let matrices = try Checked.product(ne.2, ne.3)
            layout = try PackedLayout(type: type, sparse: entry.isSparse, coded: entry.isCoded, n: ne.1, k: ne.0,
                                      matrices: matrices, sparseBytes: entry.valueBytes)
            _ = try Checked.product(try Checked.product(ne.0, ne.1), matrices)
        } catch { throw .fileDamaged }
        guard layout.valueBytes == entry.valueBytes, layout.totalBytes == entry.packedBytes else { throw .fileDamaged }
        return layout
    }

    /// The offsets, and what shares a page with them, are copied, and behind them is memory of zeros as long as a panel
    /// can be: whoever changes the file afterwards changes codes, scales and how many codes a bitmap says there are,
    /// but not where a kernel begins to read, and from there it stays inside whatever the bitmap says.
    private func map(_ entry: FileEntry, _ layout: PackedLayout, _ reason: FormReason) throws(Status) -> PackedTensor {
        let end = try FileFormat.pages(layout.totalBytes)
        let shared = layout.hasOffsets ? layout.offsetsOffset / FileFormat.page * FileFormat.page : end
        let behind = layout.hasOffsets ? try FileFormat.pages(try Checked.sum(layout.densePanel, 1 << 14)) : 0
        let space = try Checked.sum(end, behind)
        // A file that was cut off since it was opened can be mapped, but not read from the mapping.
        var last: UInt8 = 0
        try PackedFile.read(file, &last, 1, at: entry.offset + end - 1)
        guard let base = sx_reserve(space) else { throw .noMemory }
        do throws(Status) {
            if shared > 0 && !sx_file_map(base, shared, file, Int64(entry.offset)) {
                // An address space that is full, above all.
                throw .noMemory
            }
            if shared < space {
                // What is behind is never writable: in a process that locks its memory it would become resident.
                guard sx_make_usable(base + shared, end - shared) else { throw .noMemory }
                try PackedFile.read(file, base + shared, layout.totalBytes - shared, at: entry.offset + shared)
                guard sx_make_constant(base + shared, space - shared) else { throw .noMemory }
            }
        } catch {
            sx_unmap(base, space)
            throw error
        }
        return PackedTensor(layout: layout, base: base, background: entry.background, reason: reason,
                            mapped: (space: space, own: end - shared))
    }
}
