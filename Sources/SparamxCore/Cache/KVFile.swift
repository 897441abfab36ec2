import CKernelABI
import CPlatform

// Caches as bytes, in pieces through the host's hands. FORMAT.md says how they lie; nothing that comes in is trusted.

/// The host's functions. What they move joins a checksum: rotated by a bit before each piece's.
package struct KVWriter {
    let write: @convention(c) (UnsafeRawPointer?, Int, UnsafeMutableRawPointer?) -> Bool
    let user: UnsafeMutableRawPointer?
    var sum: UInt64 = 0

    package init(_ write: @escaping @convention(c) (UnsafeRawPointer?, Int, UnsafeMutableRawPointer?) -> Bool,
                 _ user: UnsafeMutableRawPointer?) {
        (self.write, self.user) = (write, user)
    }

    mutating func put(_ from: UnsafeRawPointer, _ bytes: Int) throws(Status) {
        sum = (sum &<< 1 | sum &>> 63) ^ Checksum.of(from, bytes)
        guard write(from, bytes, user) else { throw .file }
    }

    /// The checksum of what came since the last one.
    mutating func close() throws(Status) {
        var value = sum
        let done = withUnsafeBytes(of: &value) { write($0.baseAddress, 8, user) }
        guard done else { throw .file }
        sum = 0
    }
}

package struct KVReader {
    let read: @convention(c) (UnsafeMutableRawPointer?, Int, UnsafeMutableRawPointer?) -> Bool
    let user: UnsafeMutableRawPointer?
    var sum: UInt64 = 0

    package init(_ read: @escaping @convention(c) (UnsafeMutableRawPointer?, Int, UnsafeMutableRawPointer?) -> Bool,
                 _ user: UnsafeMutableRawPointer?) {
        (self.read, self.user) = (read, user)
    }

    mutating func take(_ to: UnsafeMutableRawPointer, _ bytes: Int) throws(Status) {
        guard read(to, bytes, user) else { throw .file }
        sum = (sum &<< 1 | sum &>> 63) ^ Checksum.of(to, bytes)
    }

    mutating func close() throws(Status) {
        var value: UInt64 = 0
        let done = withUnsafeMutableBytes(of: &value) { read($0.baseAddress, 8, user) }
        guard done else { throw .file }
        guard value == sum else { throw .fileDamaged }
        sum = 0
    }
}

/// What stands first, 128 bytes; and before each block, 24 bytes.
private struct Header {
    static let magic: UInt64 = 0x564b_4d41_5241_5053  // "SPARAMKV"
    static let version: UInt32 = 1, order: UInt32 = 0x0102_0304
    var magic = Header.magic
    var version = Header.version, order = Header.order
    var typeK: Int32 = 0, typeV: Int32 = 0, values: Int32 = 0, heads: Int32 = 0
    var kDim: Int32 = 0, vDim: Int32 = 0, kKeep: Int32 = 0, vKeep: Int32 = 0
    var window: Int32 = 0, sinks: Int32 = 0
    var cells: Int64 = 0
    var observed: UInt64 = 0, blocks: UInt64 = 0
    var rest = (UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0))
}

private struct Record {
    var block: UInt64 = 0, present: UInt64 = 0, packed: UInt64 = 0
}

extension KVCache {
    package func save(_ host: KVWriter) throws(Status) {
        var writer = host
        var header = Header(
            typeK: options.k.type, typeV: options.v.type, values: options.values, heads: Int32(options.heads),
            kDim: Int32(options.k.dim), vDim: Int32(options.v.dim), kKeep: Int32(options.k.keep),
            vKeep: Int32(options.v.keep), window: Int32(options.window), sinks: Int32(options.sinks),
            cells: Int64(options.cells), observed: observed)
        for block in 0..<options.blocks where present(block) != 0 { header.blocks += 1 }
        try put(&header, &writer)
        try writer.close()
        if observed > 0 {
            try writer.put(meanSquares, options.heads * options.k.dim * 4)
            try writer.close()
        }
        for block in 0..<options.blocks where present(block) != 0 {
            var record = Record(block: UInt64(block), present: present(block), packed: isPacked(block) ? 1 : 0)
            try put(&record, &writer)
            if isPacked(block) {
                let bytes = Int(cache.pointee.block_bytes)
                try writer.put(cache.pointee.packed + block * bytes, bytes)
            } else {
                for cell in 0..<64 where present(block) >> UInt64(cell) & 1 == 1 {
                    try writer.put(sx_kv_row(kSide, Int64(block), Int64(cell), 0), options.heads * options.k.headBytes)
                    try writer.put(sx_kv_row(vSide, Int64(block), Int64(cell), 0), options.heads * options.v.headBytes)
                }
            }
            try writer.close()
        }
    }

    private func put<T>(_ value: inout T, _ writer: inout KVWriter) throws(Status) {
        // The closure may throw nothing of ours: so the status comes out beside it.
        var failure: Status? = nil
        withUnsafeBytes(of: &value) { bytes in
            do throws(Status) { try writer.put(bytes.baseAddress!, bytes.count) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private static func take<T>(_ value: inout T, _ reader: inout KVReader) throws(Status) {
        var failure: Status? = nil
        withUnsafeMutableBytes(of: &value) { bytes in
            do throws(Status) { try reader.take(bytes.baseAddress!, bytes.count) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    package static func load(_ host: KVReader, isa: ISA) throws(Status) -> Handle {
        var reader = host, header = Header()
        try take(&header, &reader)
        guard header.magic == Header.magic else { throw .fileForeign }
        guard header.version == Header.version, header.order == Header.order else { throw .fileVersion }
        try reader.close()
        let made = try create(try options(header), rows: nil, isa: isa)
        do throws(Status) {
            try made.pointee.fill(header, &reader)
        } catch {
            destroy(made)
            throw error
        }
        return made
    }

    private static func options(_ header: Header) throws(Status) -> KVOptions {
        let rest = header.rest
        guard rest.0 | rest.1 | rest.2 | rest.3 | rest.4 | rest.5 == 0, header.window >= 0, header.sinks >= 0 else {
            throw .fileDamaged
        }
        do throws(Status) {
            return try KVOptions(
                k: try KVOptions.Side(type: header.typeK, dim: header.kDim, keep: Int(header.kKeep)),
                v: try KVOptions.Side(type: header.typeV, dim: header.vDim, keep: Int(header.vKeep)),
                values: header.values, heads: header.heads, cells: header.cells,
                window: header.window == 0 ? -1 : header.window, sinks: header.sinks == 0 ? -1 : header.sinks)
        } catch { throw .fileDamaged }
    }

    private mutating func fill(_ header: Header, _ reader: inout KVReader) throws(Status) {
        if header.observed > 0 {
            let channels = options.heads * options.k.dim
            try reader.take(meanSquares, channels * 4)
            try reader.close()
            for channel in 0..<channels {
                guard meanSquares[channel] >= 0, meanSquares[channel].isFinite else { throw .fileDamaged }
            }
            observed = header.observed
            rootMeans()
        }
        var next = 0  // blocks come in rising order
        for _ in 0..<header.blocks {
            var record = Record()
            try KVCache.take(&record, &reader)
            guard record.block < UInt64(options.blocks), record.block >= UInt64(next), record.present != 0,
                  record.packed <= 1 else { throw .fileDamaged }
            let block = Int(record.block)
            guard record.present & ~KVCache.bits(block, 0, options.cells) == 0 else { throw .fileDamaged }
            next = block + 1
            if record.packed == 1 {
                let bytes = Int(cache.pointee.block_bytes)
                try reader.take(cache.pointee.packed + block * bytes, bytes)
            } else {
                for cell in 0..<64 where record.present >> UInt64(cell) & 1 == 1 {
                    try reader.take(sx_kv_row(kSide, Int64(block), Int64(cell), 0), options.heads * options.k.headBytes)
                    try reader.take(sx_kv_row(vSide, Int64(block), Int64(cell), 0), options.heads * options.v.headBytes)
                }
            }
            try reader.close()
            cache.pointee.present[block] = record.present
            if record.packed == 1 {
                cache.pointee.state[block] = UInt8(SX_KV_PACKED)
                guard isWhole(block) else { throw .fileDamaged }
            }
        }
    }
}
