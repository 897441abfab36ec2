import CKernelABI

// Packing and unpacking of the coded forms of BF16, at every level. What is written was read once, into scratch memory:
// if that is not as long as what was counted, the source has changed, and nothing of it goes to the values.

/// A chunk of a panel: its codes in the order of the coded forms, and what was found out about their exponents.
private struct CodedChunk {
    let twins: Int
    private let codes: UnsafeMutablePointer<UInt16>
    private let counts: UnsafeMutablePointer<UInt32>  // of the exponents that have no code
    private let codeOf: UnsafeMutablePointer<UInt8>   // of an exponent: its code, or `none`
    let encoded: UnsafeMutablePointer<UInt8>
    private(set) var exceptions = 0
    private(set) var kept = 0

    private static let none: UInt8 = 255

    /// table: 16 bytes, or nil where nobody wants to have it.
    init(_ args: sx_codec_args, _ chunk: Int, table: UnsafeMutablePointer<UInt8>?) {
        let scratch = UnsafeMutableRawPointer(args.scratch!)
        codes = scratch.assumingMemoryBound(to: UInt16.self)
        counts = (scratch + 8192).assumingMemoryBound(to: UInt32.self)
        codeOf = (scratch + 9216).assumingMemoryBound(to: UInt8.self)
        encoded = codeOf + 256
        twins = min(8, Int(args.kblocks) - chunk * 8) * 8
        counts.update(repeating: 0, count: 256)
        codeOf.update(repeating: CodedChunk.none, count: 256)
        codeOf[0] = 0
        read(args, chunk)
        choose()
        makeTable(table)
    }

    private mutating func read(_ args: sx_codec_args, _ chunk: Int) {
        let left = min(Int(SX_CHUNK_K), Int(args.k) - chunk * Int(SX_CHUNK_K))
        if left < Int(SX_CHUNK_K) || Int(args.rows) < Int(SX_PANEL) { codes.update(repeating: 0, count: twins * 64) }
        var column = 0
        while column < Int(args.rows) {
            let file = UnsafeRawPointer(args.file) + (column * Int(args.row_stride) + chunk * Int(SX_CHUNK_K) * 2)
            var k = 0
            while k < left {
                let code = UInt16(littleEndian: file.loadUnaligned(fromByteOffset: k * 2, as: UInt16.self))
                let index = column * 2 + k & 1
                codes[k / 4 * 64 + index / 8 * 16 + k / 2 % 2 * 8 + index % 8] = code
                counts[Int(code >> 7 & 255)] += 1
                if code != 0 { kept += 1 }
                k += 1
            }
            column += 1
        }
    }

    /// Code 0 is exponent 0, so that nothing but zeros stands where no weight is; the other 15 are the exponents that
    /// occur most often, the lowest of several that occur as often as each other.
    private mutating func choose() {
        counts[0] = 0
        var left = 15
        while left > 0 {
            var most: UInt32 = 0, best = 0, exponent = 1
            while exponent < 256 {
                if counts[exponent] > most {
                    most = counts[exponent]
                    best = exponent
                }
                exponent += 1
            }
            if most == 0 { break }
            codeOf[best] = 1
            counts[best] = 0
            left -= 1
        }
        var exponent = 1
        while exponent < 256 {
            exceptions += Int(counts[exponent])
            exponent += 1
        }
    }

    /// Codes rise with the exponents; those that no exponent has stand for 0.
    private func makeTable(_ table: UnsafeMutablePointer<UInt8>?) {
        table?.update(repeating: 0, count: Int(SX_CODED_RECORD))
        var exponent = 1, code: UInt8 = 0
        while exponent < 256 {
            if codeOf[exponent] != CodedChunk.none {
                code += 1
                codeOf[exponent] = code
                table?[Int(code)] = UInt8(truncatingIfNeeded: exponent)
            }
            exponent += 1
        }
    }

    func code(_ twin: Int, _ i: Int) -> UInt16 { codes[twin * 64 + i] }

    /// Codes of a twin that are not zero.
    private func count(_ twin: Int) -> Int {
        var count = 0, i = 0
        while i < 64 {
            if code(twin, i) != 0 { count += 1 }
            i += 1
        }
        return count
    }

    /// Bytes in the sparse form.
    var sparseBytes: Int {
        var bytes = exceptions * 4, twin = 0
        while twin < twins {
            let first = count(twin), second = count(twin + 1)
            bytes += first + second + max(first, second)
            twin += 2
        }
        return bytes
    }

    /// Writes the chunk to `encoded` and its masks to the bitmap, and returns how many bytes it takes.
    func encode(bitmap: UnsafeMutablePointer<UInt8>?) -> Int {
        var out = encoded, twin = 0
        while twin < twins {
            var i = 0
            while i < 64 {
                let exponent = UInt8(truncatingIfNeeded: code(twin, i) >> 7)
                if codeOf[Int(exponent)] == CodedChunk.none {
                    let place = twin * 64 + i
                    out[0] = exponent
                    out[1] = UInt8(truncatingIfNeeded: place)
                    out[2] = UInt8(truncatingIfNeeded: place >> 8)
                    out[3] = 0
                    out += 4
                }
                i += 1
            }
            twin += 1
        }
        twin = 0
        while twin < twins {
            out = encodeQuad(twin, out, bitmap: bitmap)
            twin += 2
        }
        return out - encoded
    }

    private func encodeQuad(_ twin: Int, _ start: UnsafeMutablePointer<UInt8>,
                             bitmap: UnsafeMutablePointer<UInt8>?) -> UnsafeMutablePointer<UInt8> {
        let sparse = bitmap != nil
        let first = sparse ? count(twin) : 64, second = sparse ? count(twin + 1) : 64
        let nibbles = start + (first + second), length = max(first, second)
        nibbles.update(repeating: 0, count: length)
        var out = start, half = 0
        while half < 2 {
            var mask: UInt64 = 0, rank = 0, i = 0
            while i < 64 {
                let code = code(twin + half, i)
                if code != 0 || !sparse {
                    mask |= 1 << UInt64(i)
                    out[0] = UInt8(truncatingIfNeeded: code << 1 | code >> 15)
                    out += 1
                    let found = codeOf[Int(code >> 7 & 255)]
                    nibbles[rank] |= (found == CodedChunk.none ? 0 : found) << UInt8(half * 4)
                    rank += 1
                }
                i += 1
            }
            if let bitmap {
                UnsafeMutableRawPointer(bitmap).storeBytes(of: mask, toByteOffset: (twin + half) * 8, as: UInt64.self)
            }
            half += 1
        }
        return nibbles + length
    }
}

/// Bytes of the coded sparse form, and above bit 48 how many exceptions there are, which the coded dense form has too.
@c(sx_reference_coded_count) @implementation
public func sx_reference_coded_count(_ pointer: UnsafePointer<sx_codec_args>) {
    let args = pointer.pointee
    var chunk = 0
    while chunk * 8 < Int(args.kblocks) {
        let codes = CodedChunk(args, chunk, table: nil)
        args.counts![chunk] = UInt64(codes.sparseBytes) | UInt64(codes.exceptions) << 48
        args.kept![0] += UInt64(codes.kept)
        chunk += 1
    }
}

private func encode(_ args: sx_codec_args) {
    let offsets = args.offsets!
    var chunk = 0
    while chunk * 8 < Int(args.kblocks) {
        let codes = CodedChunk(args, chunk, table: args.side! + chunk * Int(SX_CODED_RECORD))
        let bytes = codes.encode(bitmap: args.bitmap.map { $0 + chunk * 512 })
        let at = sx_offset_bytes(offsets[chunk])
        if Int64(bytes) == sx_offset_bytes(offsets[chunk + 1]) - at
            && Int64(codes.exceptions) == sx_offset_low(offsets[chunk]) {
            UnsafeMutableRawPointer(args.values + Int(at - sx_offset_bytes(offsets[0])))
                .copyMemory(from: codes.encoded, byteCount: bytes)
        } else {
            args.changed![0] = 1
        }
        args.kept![0] += UInt64(codes.kept)
        chunk += 1
    }
}

private func decode(_ args: sx_codec_args) {
    var codes = CodedCodes(args)
    var row = 0
    while row < Int(args.kblocks) * 16 {
        codes.nextRow { index, code in
            let column = index / 2, k = row * 2 + index % 2
            guard column < Int(args.rows), k < Int(args.k) else { return }
            let file = args.file + (column * Int(args.row_stride) + k * 2)
            file[0] = UInt8(truncatingIfNeeded: code)
            file[1] = UInt8(truncatingIfNeeded: code >> 8)
        }
        row += 1
    }
}

@c(sx_reference_coded_pack_dense) @implementation
public func sx_reference_coded_pack_dense(_ args: UnsafePointer<sx_codec_args>) { encode(args.pointee) }

@c(sx_reference_coded_pack_sparse) @implementation
public func sx_reference_coded_pack_sparse(_ args: UnsafePointer<sx_codec_args>) { encode(args.pointee) }

@c(sx_reference_coded_unpack_dense) @implementation
public func sx_reference_coded_unpack_dense(_ args: UnsafePointer<sx_codec_args>) { decode(args.pointee) }

@c(sx_reference_coded_unpack_sparse) @implementation
public func sx_reference_coded_unpack_sparse(_ args: UnsafePointer<sx_codec_args>) { decode(args.pointee) }
