import CPlatform

/// Bytes that become more, in memory of their own.
private struct GrowingBytes {
    private(set) var base: UnsafeMutableRawPointer
    private(set) var count = 0
    private var capacity = 4096

    init() throws(Status) {
        guard let memory = sx_allocate(capacity) else { throw .noMemory }
        base = memory
    }

    /// Makes room, so that adding this much cannot fail.
    mutating func reserve(_ more: Int) throws(Status) {
        let needed = try Checked.sum(count, more)
        if needed <= capacity { return }
        let wanted = max(needed, try Checked.product(capacity, 2))
        guard let memory = sx_allocate(wanted) else { throw .noMemory }
        memory.copyMemory(from: base, byteCount: count)
        sx_free(base)
        base = memory
        capacity = wanted
    }

    /// Opens a gap of this many bytes, of any contents, and returns where it is.
    mutating func insert(_ bytes: Int, at place: Int) -> UnsafeMutableRawPointer {
        (base + (place + bytes)).copyMemory(from: base + place, byteCount: count - place)
        count += bytes
        return base + place
    }

    func release() { sx_free(base) }
}

/// A packed file that is being written. It has no name, or another one, until it is finished. Lives in memory of its
/// own; the C handle is its address.
package struct FileWriter: HostObject {
    package static let sign: UInt64 = 0x7370_6172_616d_7877

    package private(set) var sign: UInt64
    private let file: OpaquePointer
    private let page: UnsafeMutableRawPointer  // the header's
    private var entries: GrowingBytes          // as they were added
    private var order: GrowingBytes            // 4 bytes each: numbers of entries, by name
    private var checksums: GrowingBytes        // 8 bytes for each block
    private var end = FileFormat.page          // where the next tensor goes
    private var open = true
    private var hasCoded = false

    private var count: Int { order.count / 4 }

    package static func create(_ path: UnsafePointer<CChar>, key: UnsafeRawPointer?,
                               keyBytes: Int) throws(Status) -> Handle {
        guard keyBytes >= 0, keyBytes <= FileFormat.mostKeyBytes else { throw .range }
        let objectBytes = (MemoryLayout<FileWriter>.stride + 15) / 16 * 16
        guard let memory = sx_allocate(objectBytes + FileFormat.page) else { throw .noMemory }
        do throws(Status) {
            let lists = try lists()
            do throws(Status) {
                var file: OpaquePointer? = nil
                switch sx_new_file_create(path, &file) {
                case Int32(SX_FILE_KIND): throw .fileKind
                case Int32(SX_FILE_NO_MEMORY): throw .noMemory
                default: break
                }
                guard let file else { throw .file }
                let page = memory + objectBytes
                FileHeader.putKey(key, keyBytes, page: page)
                let handle = memory.bindMemory(to: FileWriter.self, capacity: 1)
                handle.initialize(to: FileWriter(sign: sign, file: file, page: page, entries: lists.0, order: lists.1,
                                                 checksums: lists.2))
                return handle
            } catch {
                lists.0.release()
                lists.1.release()
                lists.2.release()
                throw error
            }
        } catch {
            sx_free(memory)
            throw error
        }
    }

    private static func lists() throws(Status) -> (GrowingBytes, GrowingBytes, GrowingBytes) {
        let first = try GrowingBytes()
        do throws(Status) {
            let second = try GrowingBytes()
            do throws(Status) { return (first, second, try GrowingBytes()) } catch {
                second.release()
                throw error
            }
        } catch {
            first.release()
            throw error
        }
    }

    package static func destroy(_ handle: Handle) {
        sx_new_file_end(handle.pointee.file)
        handle.pointee.entries.release()
        handle.pointee.order.release()
        handle.pointee.checksums.release()
        handle.pointee.sign = 0
        sx_free(handle)
    }

    /// Writes a tensor behind those that are there. What would be refused when it is loaded is refused here. After a
    /// failure the next tensor is written over what came of this one.
    package mutating func add(_ name: UnsafePointer<CChar>, _ tensor: PackedTensor,
                              ne: (Int, Int, Int, Int)) throws(Status) {
        guard open else { throw .state }
        guard let nameBytes = fittingNameBytes(name) else { throw .fileName }
        let place = try findPlace(name)
        let bytes = tensor.bytes, blocks = FileFormat.blocks(bytes)
        let next = try Checked.sum(end, try FileFormat.pages(bytes))
        // With room for the index.
        guard count < FileFormat.mostTensors, next <= FileFormat.mostBytes / 2 else { throw .range }
        try tensor.verify()
        try entries.reserve(FileEntry.bytes)
        try order.reserve(4)
        try checksums.reserve(try Checked.product(blocks, 8))
        for i in 0..<blocks {
            let at = i * FileFormat.block, size = min(FileFormat.block, bytes - at)
            // Room is there, and counts only when all is written.
            (checksums.base + checksums.count).put64(Checksum.of(tensor.base + at, size), i * 8)
            guard sx_new_file_write(file, tensor.base + at, size, Int64(end + at)) else { throw .file }
        }
        // What stands in the file behind the tensor may be left of one that failed.
        if next - end > bytes { try writeZeros(next - end - bytes, at: end + bytes) }
        let number = UInt32(count), first = checksums.count / 8
        FileEntry.write(entries.insert(FileEntry.bytes, at: entries.count), tensor, ne: ne, name: name,
                        nameBytes: nameBytes, offset: end, firstBlock: first)
        order.insert(4, at: place * 4).storeBytes(of: number, as: UInt32.self)
        _ = checksums.insert(blocks * 8, at: checksums.count)
        end = next
        hasCoded = hasCoded || tensor.layout.coded
    }

    /// Less than a page.
    private func writeZeros(_ bytes: Int, at: Int) throws(Status) {
        guard let zeros = sx_allocate(bytes) else { throw .noMemory }
        defer { sx_free(zeros) }
        guard sx_new_file_write(file, zeros, bytes, Int64(at)) else { throw .file }
    }

    private func entry(_ place: Int) -> FileEntry {
        let number = order.base.load(fromByteOffset: place * 4, as: UInt32.self)
        return FileEntry(start: UnsafeRawPointer(entries.base) + Int(number) * FileEntry.bytes)
    }

    /// Where a new name belongs among those that are there.
    private func findPlace(_ name: UnsafePointer<CChar>) throws(Status) -> Int {
        var low = 0, high = count
        while low < high {
            let middle = (low + high) / 2, order = compareNames(entry(middle).name, name)
            if order == 0 { throw .fileName }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Writes index and header and gives the file its name. Can be tried once.
    package mutating func finish() throws(Status) {
        guard open else { throw .state }
        open = false
        let entryBytes = count * FileEntry.bytes, indexBytes = try Checked.sum(entryBytes, checksums.count)
        guard let index = sx_allocate(indexBytes) else { throw .noMemory }
        defer { sx_free(index) }
        for i in 0..<count {
            (index + i * FileEntry.bytes).copyMemory(from: entry(i).start, byteCount: FileEntry.bytes)
        }
        (index + entryBytes).copyMemory(from: checksums.base, byteCount: checksums.count)
        let header = FileHeader(indexOffset: end, indexBytes: indexBytes, count: count, hasCoded: hasCoded,
                                indexChecksum: Checksum.of(index, indexBytes))
        header.write(page: page)
        guard sx_new_file_write(file, index, indexBytes, Int64(end)),
              sx_new_file_write(file, page, FileFormat.page, 0),
              sx_new_file_finish(file, Int64(header.fileBytes)) else { throw .file }
    }
}
