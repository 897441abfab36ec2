// How a packed file lies on the disk: FORMAT.md has the same in words. A page with the header, then each tensor's
// packed form from a page on, then the index: an entry for each tensor, ordered by name, and the checksums of blocks.

package enum FileFormat {
    package static let page = 4096
    /// Bytes that have a checksum of their own; the last block of a tensor may be shorter.
    static let block = 1 << 20
    package static let mostTensors = 65536
    static let mostBytes = 1 << 43
    package static let mostKeyBytes = 256
    /// Of a tensor's name, without the zero behind it.
    package static let mostNameBytes = 159

    static func pages(_ bytes: Int) throws(Status) -> Int { try Checked.roundUp(bytes, to: page) }
    static func blocks(_ bytes: Int) -> Int { bytes / block + (bytes % block == 0 ? 0 : 1) }
}

/// Numbers of the file, which are little-endian whatever reads them.
extension UnsafeRawPointer {
    func number32(_ at: Int) -> UInt32 { UInt32(littleEndian: loadUnaligned(fromByteOffset: at, as: UInt32.self)) }
    func number64(_ at: Int) -> UInt64 { UInt64(littleEndian: loadUnaligned(fromByteOffset: at, as: UInt64.self)) }
    /// -1 for what no size of this library can be.
    func size(_ at: Int) -> Int { number64(at) <= UInt64(Checked.limit) ? Int(number64(at)) : -1 }
}

extension UnsafeMutableRawPointer {
    func put32(_ value: UInt32, _ at: Int) { storeBytes(of: value.littleEndian, toByteOffset: at, as: UInt32.self) }
    func put64(_ value: UInt64, _ at: Int) { storeBytes(of: value.littleEndian, toByteOffset: at, as: UInt64.self) }
    func put(_ size: Int, _ at: Int) { put64(UInt64(truncatingIfNeeded: size), at) }
}

/// The first page of a file.
struct FileHeader {
    /// As PNG's: a transfer as text, or one that keeps 7 bits, breaks it.
    static let magic: UInt64 = 0x0a1a_0a0d_5850_5389
    static let order: UInt32 = 0x0a0b_0c0d
    /// That of files without a coded tensor, which older libraries read as well, and of files with one.
    static let plainVersion: UInt32 = 1, codedVersion: UInt32 = 2
    private static let keyOffset = 64, checksumOffset = FileFormat.page - 8

    let fileBytes, indexOffset, indexBytes, count: Int
    let hasCoded: Bool
    let indexChecksum: UInt64

    /// page: as it is in the file. found: bytes of the file as it is.
    init(page: UnsafeRawPointer, found: Int) throws(Status) {
        guard found >= 8, page.number64(0) == FileHeader.magic else { throw .fileForeign }
        guard found >= FileFormat.page else { throw .fileDamaged }
        let order = page.number32(8)
        // The version stands where it stands in every version; what follows may be anything in another one.
        if order == FileHeader.order.byteSwapped { throw .fileVersion }
        guard order == FileHeader.order else { throw .fileDamaged }
        let version = page.number32(12)
        guard version == FileHeader.plainVersion || version == FileHeader.codedVersion else { throw .fileVersion }
        hasCoded = version == FileHeader.codedVersion
        guard page.number64(FileHeader.checksumOffset) == Checksum.of(page, FileHeader.checksumOffset) else {
            throw .fileDamaged
        }
        fileBytes = page.size(16)
        indexOffset = page.size(24)
        indexBytes = page.size(32)
        count = Int(page.number32(40))
        indexChecksum = page.number64(48)
        let keyBytes = Int(page.number32(44))
        guard fileBytes == found, fileBytes <= FileFormat.mostBytes, count <= FileFormat.mostTensors,
              keyBytes <= FileFormat.mostKeyBytes, indexOffset >= FileFormat.page,
              indexOffset % FileFormat.page == 0, indexBytes >= 0, indexBytes <= found,
              indexOffset == fileBytes - indexBytes, page.number64(56) == 0 else { throw .fileDamaged }
        let rest = FileHeader.keyOffset + keyBytes
        guard isZero(page + rest, FileHeader.checksumOffset - rest) else { throw .fileDamaged }
    }

    init(indexOffset: Int, indexBytes: Int, count: Int, hasCoded: Bool, indexChecksum: UInt64) {
        self.hasCoded = hasCoded
        fileBytes = indexOffset + indexBytes
        self.indexOffset = indexOffset
        self.indexBytes = indexBytes
        self.count = count
        self.indexChecksum = indexChecksum
    }

    /// page: zero, but for the key.
    func write(page: UnsafeMutableRawPointer) {
        page.put64(FileHeader.magic, 0)
        page.put32(FileHeader.order, 8)
        page.put32(hasCoded ? FileHeader.codedVersion : FileHeader.plainVersion, 12)
        page.put(fileBytes, 16)
        page.put(indexOffset, 24)
        page.put(indexBytes, 32)
        page.put32(UInt32(count), 40)
        page.put64(indexChecksum, 48)
        page.put64(Checksum.of(page, FileHeader.checksumOffset), FileHeader.checksumOffset)
    }

    static func putKey(_ key: UnsafeRawPointer?, _ bytes: Int, page: UnsafeMutableRawPointer) {
        page.put32(UInt32(bytes), 44)
        if let key { (page + keyOffset).copyMemory(from: key, byteCount: bytes) }
    }

    static func key(page: UnsafeRawPointer) -> (start: UnsafeRawPointer, bytes: Int) {
        (page + keyOffset, Int(page.number32(44)))
    }
}

/// One entry of the index: where its fields are.
package struct FileEntry {
    static let bytes = 256
    private static let nameOffset = 96

    let start: UnsafeRawPointer

    package var type: Int32 { Int32(bitPattern: start.number32(0)) }
    package var form: Int32 { Int32(bitPattern: start.number32(4)) }
    var reason: Int32 { Int32(bitPattern: start.number32(8)) }
    package var nameBytes: Int { Int(start.number32(12)) }
    package var ne: (Int, Int, Int, Int) { (start.size(16), start.size(24), start.size(32), start.size(40)) }
    package var background: Int { start.size(48) }
    /// In the sparse form the one number that does not follow from type and dimensions.
    var valueBytes: Int { start.size(56) }
    package var packedBytes: Int { start.size(64) }
    package var offset: Int { start.size(72) }
    var firstBlock: Int { start.size(80) }
    package var name: UnsafePointer<CChar> { (start + FileEntry.nameOffset).assumingMemoryBound(to: CChar.self) }
    package var isSparse: Bool { form == 2 || form == 5 }
    package var isCoded: Bool { form == 4 || form == 5 }

    static func write(_ to: UnsafeMutableRawPointer, _ tensor: PackedTensor, ne: (Int, Int, Int, Int),
                      name: UnsafePointer<CChar>, nameBytes: Int, offset: Int, firstBlock: Int) {
        to.put32(UInt32(bitPattern: tensor.layout.type.number), 0)
        to.put32(UInt32(bitPattern: tensor.layout.form), 4)
        to.put32(UInt32(bitPattern: tensor.reason.rawValue), 8)
        to.put32(UInt32(nameBytes), 12)
        to.put(ne.0, 16)
        to.put(ne.1, 24)
        to.put(ne.2, 32)
        to.put(ne.3, 40)
        to.put(tensor.background, 48)
        to.put(tensor.layout.valueBytes, 56)
        to.put(tensor.layout.totalBytes, 64)
        to.put(offset, 72)
        to.put(firstBlock, 80)
        to.put64(0, 88)
        (to + nameOffset).initializeMemory(as: UInt8.self, repeating: 0, count: bytes - nameOffset)
        (to + nameOffset).copyMemory(from: name, byteCount: nameBytes)
    }

    /// What can be judged without knowing the type, which may be one of a later library. blocks: of the whole file.
    func check(dataEnd: Int, blocks: Int) throws(Status) {
        let most = Int(Int32.max), ne = ne
        guard ne.0 >= 1, ne.0 <= most, ne.1 >= 1, ne.1 <= most, ne.2 >= 1, ne.2 <= most, ne.3 >= 1, ne.3 <= most,
              form == 1 || form == 2 || isCoded, background >= 0, valueBytes >= 0, start.number64(88) == 0,
              packedBytes >= 1, packedBytes <= FileFormat.mostBytes, offset >= FileFormat.page,
              offset % FileFormat.page == 0, offset <= dataEnd, packedBytes <= dataEnd - offset,
              firstBlock >= 0, firstBlock <= blocks, FileFormat.blocks(packedBytes) <= blocks - firstBlock,
              nameBytes >= 1, nameBytes <= FileFormat.mostNameBytes else { throw .fileDamaged }
        let text = start + FileEntry.nameOffset
        for i in 0..<nameBytes where text.load(fromByteOffset: i, as: UInt8.self) == 0 { throw .fileDamaged }
        let rest = FileEntry.bytes - FileEntry.nameOffset - nameBytes
        guard isZero(text + nameBytes, rest) else { throw .fileDamaged }
    }
}

/// Negative, zero or positive, as strcmp has it.
func compareNames(_ a: UnsafePointer<CChar>, _ b: UnsafePointer<CChar>) -> Int {
    var i = 0
    while a[i] == b[i] && a[i] != 0 { i += 1 }
    return Int(UInt8(bitPattern: a[i])) - Int(UInt8(bitPattern: b[i]))
}

/// Bytes of a name that a file can have; nil if it is empty or too long.
func fittingNameBytes(_ name: UnsafePointer<CChar>) -> Int? {
    var i = 0
    while name[i] != 0 {
        i += 1
        if i > FileFormat.mostNameBytes { return nil }
    }
    return i == 0 ? nil : i
}
