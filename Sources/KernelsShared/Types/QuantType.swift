import CKernelABI

/// A quantized type: its numbers, and how one of its blocks lies in the file. One Swift file per type; its row in
/// types.def has the numbers, which Exports.swift repeats. Kernels are generic over these types, so that the numbers
/// are constants in their code.
///
/// In all four functions `block` is one block of the file. Codes are bytes, in the order of k; `record` is the side
/// record (quant.h) of the block's weights, of 16 columns, of which `column` is one. Reading the file writes codes and
/// record, writing the file sets every byte of the block between the two functions.
protocol QuantType {
    static var quant: sx_quant { get }
    static func readCodes(_ block: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>)
    static func writeCodes(_ block: UnsafeMutableRawPointer, _ codes: UnsafePointer<UInt8>)
    static func readSide(_ block: UnsafeRawPointer, _ record: UnsafeMutableRawPointer, _ column: Int)
    static func writeSide(_ block: UnsafeMutableRawPointer, _ record: UnsafeRawPointer, _ column: Int)
}

/// Dense or sparse, as a type for the same reason.
protocol WeightForm {
    static var sparse: Bool { get }
}

enum Dense: WeightForm {
    @inline(__always) static var sparse: Bool { false }
}

enum Sparse: WeightForm {
    @inline(__always) static var sparse: Bool { true }
}

/// Bytes of the file per chunk of one row.
@inline(__always)
func chunkBytes(_ q: sx_quant) -> Int { 256 / Int(q.file_block_k) * Int(q.file_block_bytes) }

// One row's part of a chunk: up to 256 weights, `blocks` of 32. Exports.swift finds the type for the codec.
extension QuantType {
    /// Codes of the chunk, one byte each, in the order of k.
    @inline(__always)
    static func readChunk(_ file: UnsafeRawPointer, _ blocks: Int, _ codes: UnsafeMutablePointer<UInt8>) {
        var i = 0
        while i * Int(quant.file_block_k) < blocks * 32 {
            readCodes(file + i * Int(quant.file_block_bytes), codes + i * Int(quant.file_block_k))
            i += 1
        }
    }

    @inline(__always)
    static func writeChunk(_ file: UnsafeMutableRawPointer, _ blocks: Int, _ codes: UnsafePointer<UInt8>) {
        var i = 0
        while i * Int(quant.file_block_k) < blocks * 32 {
            writeCodes(file + i * Int(quant.file_block_bytes), codes + i * Int(quant.file_block_k))
            i += 1
        }
    }

    /// Brings the side information of one column in; the backgrounds come from setBackground. side: of the panel's
    /// chunk, cleared before.
    @inline(__always)
    static func readSides(_ file: UnsafeRawPointer, _ blocks: Int, _ side: UnsafeMutableRawPointer, _ column: Int) {
        var i = 0
        while i * Int(quant.file_block_k) < blocks * 32 {
            readSide(file + i * Int(quant.file_block_bytes),
                     side + i * Int(quant.side_bytes * quant.file_block_k / 64), column)
            i += 1
        }
    }

    @inline(__always)
    static func writeSides(_ file: UnsafeMutableRawPointer, _ blocks: Int, _ side: UnsafeRawPointer, _ column: Int) {
        var i = 0
        while i * Int(quant.file_block_k) < blocks * 32 {
            writeSide(file + i * Int(quant.file_block_bytes),
                      side + i * Int(quant.side_bytes * quant.file_block_k / 64), column)
            i += 1
        }
    }
}
