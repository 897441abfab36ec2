import CKernelABI
import CPlatform

/// Why a tensor has the form it has.
package enum FormReason: Int32 {
    // Those of packed weights stand in files by these numbers, which never change.
    case sparsePays = 0, tooFewZeros = 1, denseAsked = 2, sparseAsked = 3, noSparseForm = 7
    case codedPays = 8, codedAsked = 9, sparseFaster = 10, denseFaster = 11
    case incomplete = 4, notAWeight = 5, notForWeights = 6

    /// Whether a weight can be packed for this reason.
    var isOfPacked: Bool { rawValue < 4 || rawValue >= 7 }

    package var sentence: StaticString {
        switch self {
        case .sparsePays: return "sparse: bitmap and remaining codes take at least 1/16 fewer bytes than dense tiles"
        case .tooFewZeros: return "dense: too few zeros, a bitmap would not save 1/16 of the bytes"
        case .denseAsked: return "dense: asked for by the host"
        case .sparseAsked: return "sparse: asked for by the host"
        case .codedPays: return "coded: exponents of four bits take at least 1/16 fewer bytes than any form without"
        case .codedAsked: return "coded: asked for by the host"
        case .sparseFaster: return "sparse: the profile says that it is faster than dense from fewer zeros on"
        case .denseFaster: return "dense: the profile says that sparse is faster from more zeros on alone, or never"
        case .incomplete: return "raw: not every byte has been uploaded yet"
        case .notAWeight: return "raw: the library has no kernels for this type or shape"
        case .noSparseForm: return "dense: a sparse form of this type would not be smaller"
        case .notForWeights: return "raw: the buffer is not for weights"
        }
    }
}

/// A weight in its packed form: one mapping, only read afterwards. It is private memory that Packer wrote once, or
/// pages of a file, which other processes may have mapped too.
package struct PackedTensor {
    package let layout: PackedLayout
    package let base: UnsafeMutableRawPointer
    package let background: Int  // codes that equal the background
    package let reason: FormReason
    /// Of pages of a file: all address space of the mapping, and how many bytes of it are the process's own.
    private let mapped: (space: Int, own: Int)?
    var largestPanel: Int        // bytes, of the sparse form; 0: not known
    var mirror: UnsafeMutableRawPointer? = nil  // the same bytes again, on other memory nodes: Placement.swift
    var distributed = false      // each memory node has the range that its threads read

    init(layout: PackedLayout, base: UnsafeMutableRawPointer, background: Int, reason: FormReason,
         largestPanel: Int = 0, mapped: (space: Int, own: Int)? = nil) {
        self.layout = layout
        self.base = base
        self.background = background
        self.reason = reason
        self.largestPanel = largestPanel
        self.mapped = mapped
    }

    package var bytes: Int { layout.totalBytes }
    package var isMapped: Bool { mapped != nil }
    /// Memory that is the process's own, of all copies.
    package var residentBytes: Int { mapped?.own ?? layout.totalBytes * copies }
    package var values: UnsafeMutablePointer<UInt8> { stream(0) }
    package var bitmap: UnsafeMutablePointer<UInt8> { stream(layout.bitmapOffset) }
    package var side: UnsafeMutablePointer<UInt8> { stream(layout.sideOffset) }
    package var offsets: UnsafeMutablePointer<UInt64> {
        (base + layout.offsetsOffset).assumingMemoryBound(to: UInt64.self)
    }

    private func stream(_ offset: Int) -> UnsafeMutablePointer<UInt8> {
        (base + offset).assumingMemoryBound(to: UInt8.self)
    }

    /// Where a panel's values start. panel counts through all matrices and may be one beyond the last.
    package func valueOffset(panel: Int) -> Int { valueOffset(panel: panel, offsets) }

    func valueOffset(panel: Int, _ offsets: UnsafePointer<UInt64>) -> Int {
        layout.hasOffsets ? Int(sx_offset_bytes(offsets[panel * layout.chunks])) : panel * layout.densePanel
    }

    /// Streams of one panel, for the codec. panel counts through all matrices. While values are being written the
    /// offsets come from elsewhere: `counted`.
    package func codec(panel: Int, rows: Int, file: UnsafeMutablePointer<UInt8>, rowStride: Int,
                       scratch: UnsafeMutablePointer<UInt8>?, counted: UnsafePointer<UInt64>? = nil) -> sx_codec_args {
        let tiles = panel * layout.kblocks, offsets = counted ?? UnsafePointer(self.offsets)
        return sx_codec_args(
            type: layout.type.number, rows: Int32(rows), k: Int64(layout.k), kblocks: Int64(layout.kblocks), file: file,
            row_stride: Int64(rowStride), values: stream(valueOffset(panel: panel, offsets)),
            bitmap: layout.sparse ? bitmap + tiles * layout.type.maskBytes : nil,
            side: layout.hasSide ? side + layout.sideBytes(before: panel) : nil, counts: nil, kept: nil,
            offsets: layout.hasOffsets ? offsets + panel * layout.chunks : nil, changed: nil, scratch: scratch)
    }

    /// Streams of one matrix, for a kernel.
    package func weights(matrix: Int) -> sx_weights {
        let firstPanel = matrix * layout.panels, tiles = firstPanel * layout.kblocks, type = layout.type
        return sx_weights(
            values: stream(layout.hasOffsets ? 0 : firstPanel * layout.densePanel),
            bitmap: layout.sparse ? UnsafePointer(bitmap + tiles * type.maskBytes) : nil,
            side: layout.hasSide ? UnsafePointer(side + layout.sideBytes(before: firstPanel)) : nil,
            offsets: layout.hasOffsets ? UnsafePointer(offsets + firstPanel * layout.chunks) : nil, n: Int64(layout.n),
            k: Int64(layout.k), kblocks: Int64(layout.kblocks), chunks: Int64(layout.chunks), type: type.number,
            sparse: layout.sparse ? 1 : 0, coded: layout.coded ? 1 : 0)
    }

    package func release() {
        sx_unmap(base, mapped?.space ?? layout.totalBytes)
        releaseMirror()
    }
}
