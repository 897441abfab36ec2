import CKernelABI

/// A weight type the kernels know: its GGUF number and its layout in the file.
package struct WeightType {
    package let number: Int32
    package let blockElements: Int  // K is a multiple of this
    package let blockBytes: Int
    package let codeBytes: Int      // in the packed form
    package var hasScales: Bool { number == Int32(SX_Q8_0) }
    /// K covered by a tile row set: 16 rows of 64 bytes for 16 columns.
    package var kPerBlock: Int { 64 / codeBytes }
    /// Bytes of bitmap per tile.
    package var maskBytes: Int { 128 / codeBytes }
    /// Bytes of scales per tile: two float16 per column.
    package var scaleBytes: Int { hasScales ? 64 : 0 }

    package init(_ number: Int32) throws(Status) {
        self.number = number
        switch number {
        case Int32(SX_BF16), Int32(SX_F16):
            blockElements = 1
            blockBytes = 2
            codeBytes = 2
        case Int32(SX_Q8_0):
            blockElements = 32
            blockBytes = 34
            codeBytes = 1
        default: throw .type
        }
    }

    package func rowBytes(_ k: Int) throws(Status) -> Int {
        if k < 1 || k % blockElements != 0 { throw .shape }
        return try Checked.product(k / blockElements, blockBytes)
    }
}
