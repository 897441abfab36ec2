import CKernelABI
import CPlatform

/// Gives back the bytes of the file.
package enum Unpacker {
    /// Writes rows first...first+count-1 (counted through all matrices) to out, rowStride bytes apart.
    package static func rows(_ tensor: PackedTensor, first: Int, count: Int, out: UnsafeMutablePointer<UInt8>,
                             rowStride: Int, codec: Codec) throws(Status) {
        let layout = tensor.layout
        let functions = codec.functions(layout)
        let scratch = layout.type.isQuantized
            ? sx_allocate(Int(SX_CODEC_SCRATCH))?.assumingMemoryBound(to: UInt8.self) : nil
        defer { sx_free(scratch) }
        if layout.type.isQuantized && scratch == nil { throw .noMemory }
        let rowBytes = try layout.type.rowBytes(layout.k)
        let panelBytes = try Checked.product(rowBytes, Int(SX_PANEL))
        var spare: UnsafeMutablePointer<UInt8>? = nil
        defer { sx_free(spare) }
        var row = first
        while row < first + count {
            let matrix = row / layout.n, inMatrix = row % layout.n
            let panelRow = inMatrix / Int(SX_PANEL) * Int(SX_PANEL)
            let present = min(Int(SX_PANEL), layout.n - panelRow)
            let skip = inMatrix - panelRow
            let wanted = min(present - skip, first + count - row)
            let panel = matrix * layout.panels + panelRow / Int(SX_PANEL)
            let target = out + (row - first) * rowStride
            if wanted == present {
                decode(tensor, panel, present, target, rowStride, functions, scratch)
            } else {
                if spare == nil { spare = sx_allocate(panelBytes)?.assumingMemoryBound(to: UInt8.self) }
                guard let whole = spare else { throw .noMemory }
                decode(tensor, panel, present, whole, rowBytes, functions, scratch)
                for i in 0..<wanted {
                    UnsafeMutableRawPointer(target + i * rowStride)
                        .copyMemory(from: whole + (skip + i) * rowBytes, byteCount: rowBytes)
                }
            }
            row += wanted
        }
    }

    /// Writes pieces of the tightly packed tensor to out, outStride bytes apart. A panel is unpacked once for all
    /// pieces that follow each other in it.
    package static func pieces(_ tensor: PackedTensor, _ pieces: Pieces, out: UnsafeMutableRawPointer, outStride: Int,
                               codec: Codec) throws(Status) {
        if pieces.isEmpty { return }
        let layout = tensor.layout, functions = codec.functions(layout)
        let rowBytes = try layout.type.rowBytes(layout.k)
        let panelBytes = try Checked.product(rowBytes, Int(SX_PANEL))
        guard let memory = sx_allocate(try Checked.sum(panelBytes, Int(SX_CODEC_SCRATCH))) else { throw .noMemory }
        defer { sx_free(memory) }
        let scratch = memory.assumingMemoryBound(to: UInt8.self), rows = scratch + Int(SX_CODEC_SCRATCH)
        var unpacked = -1
        for i in 0..<pieces.copies {
            var at = pieces.offset + i * pieces.stride, to = out + i * outStride
            let end = at + pieces.size
            while at < end {
                let row = at / rowBytes, inMatrix = row % layout.n
                let first = inMatrix / Int(SX_PANEL) * Int(SX_PANEL), present = min(Int(SX_PANEL), layout.n - first)
                let panel = row / layout.n * layout.panels + first / Int(SX_PANEL)
                if panel != unpacked { decode(tensor, panel, present, rows, rowBytes, functions, scratch) }
                unpacked = panel
                let begin = (row - inMatrix + first) * rowBytes, count = min(end, begin + present * rowBytes) - at
                to.copyMemory(from: rows + (at - begin), byteCount: count)
                at += count
                to += count
            }
        }
    }

    private static func decode(_ tensor: PackedTensor, _ panel: Int, _ rows: Int, _ out: UnsafeMutablePointer<UInt8>,
                               _ rowStride: Int, _ codec: CodecFunctions, _ scratch: UnsafeMutablePointer<UInt8>?) {
        var args = tensor.codec(panel: panel, rows: rows, file: out, rowStride: rowStride, scratch: scratch)
        if tensor.layout.sparse { codec.unpackSparse(&args) } else { codec.unpackDense(&args) }
    }

    /// Writes size bytes of the tightly packed tensor from byte offset on.
    package static func bytes(_ tensor: PackedTensor, offset: Int, size: Int, out: UnsafeMutablePointer<UInt8>,
                              codec: Codec) throws(Status) {
        if size == 0 { return }
        let rowBytes = try tensor.layout.type.rowBytes(tensor.layout.k)
        let firstRow = offset / rowBytes, lastRow = (offset + size - 1) / rowBytes
        if offset % rowBytes == 0 && size % rowBytes == 0 {
            return try rows(tensor, first: firstRow, count: size / rowBytes, out: out, rowStride: rowBytes,
                            codec: codec)
        }
        // Whole rows in the middle go straight out; a cut row at either end goes through a row of its own.
        guard let spare = sx_allocate(rowBytes)?.assumingMemoryBound(to: UInt8.self) else { throw .noMemory }
        defer { sx_free(spare) }
        var row = firstRow, done = 0
        while row <= lastRow {
            let skip = row == firstRow ? offset % rowBytes : 0
            let wanted = min(rowBytes - skip, size - done)
            if wanted == rowBytes {
                let whole = (size - done) / rowBytes
                try rows(tensor, first: row, count: whole, out: out + done, rowStride: rowBytes, codec: codec)
                row += whole
                done += whole * rowBytes
            } else {
                try rows(tensor, first: row, count: 1, out: spare, rowStride: rowBytes, codec: codec)
                UnsafeMutableRawPointer(out + done).copyMemory(from: spare + skip, byteCount: wanted)
                row += 1
                done += wanted
            }
        }
    }
}
