/// A tensor as the host describes it, checked once: every size here is positive and its products fit.
package struct Tensor {
    package let type: Int32
    package let ne: (Int, Int, Int, Int)
    package let nb: (Int, Int, Int, Int)
    package let data: UnsafeMutableRawPointer?
    package let name: UnsafePointer<CChar>?
    /// From the first byte to the last, as ggml_nbytes has it.
    package let bytes: Int

    /// blockElements, blockBytes: of the type where they are known; nb[0] is the size of a block otherwise.
    package init(type: Int32, ne: (Int64, Int64, Int64, Int64), nb: (UInt64, UInt64, UInt64, UInt64),
                 data: UnsafeMutableRawPointer?, name: UnsafePointer<CChar>?) throws(Status) {
        let most = Int64(Int32.max)
        guard ne.0 >= 1, ne.1 >= 1, ne.2 >= 1, ne.3 >= 1, ne.0 <= most, ne.1 <= most, ne.2 <= most, ne.3 <= most else {
            throw .shape
        }
        self.type = type
        self.ne = (Int(ne.0), Int(ne.1), Int(ne.2), Int(ne.3))
        self.nb = (try Checked.size(nb.0), try Checked.size(nb.1), try Checked.size(nb.2), try Checked.size(nb.3))
        self.data = data
        self.name = name
        guard self.nb.0 >= 1 else { throw .stride }
        var total: Int
        if let element = Tensor.elementBytes(type) {
            // Any order of dimensions, transposed ones included.
            total = try Checked.sum(element, try Checked.product(self.ne.0 - 1, self.nb.0))
        } else {
            // A row is whole blocks; how many elements a block has is known for the types served, and for others the
            // row stride says how long a row is.
            guard self.nb.0 <= 65536 else { throw .stride }
            do throws(Status) { total = try WeightType(type).rowBytes(self.ne.0) } catch {
                if error == .shape { throw .shape }
                total = self.nb.1
            }
        }
        total = try Checked.sum(total, try Checked.product(self.ne.1 - 1, self.nb.1))
        total = try Checked.sum(total, try Checked.product(self.ne.2 - 1, self.nb.2))
        total = try Checked.sum(total, try Checked.product(self.ne.3 - 1, self.nb.3))
        bytes = total
    }

    /// Of GGUF types whose elements stand alone: F32, F16, I8, I16, I32, I64, F64, BF16.
    private static func elementBytes(_ type: Int32) -> Int? {
        switch type {
        case 24: return 1
        case 1, 25, 30: return 2
        case 0, 26: return 4
        case 27, 28: return 8
        default: return nil
        }
    }

    /// The weight type and number of matrices, if this is a weight the kernels can take.
    package func requireWeight() throws(Status) -> (type: WeightType, matrices: Int) {
        let weightType = try WeightType(type)
        let row = try weightType.rowBytes(ne.0)
        let matrix = try Checked.product(row, ne.1)
        let plane = try Checked.product(matrix, ne.2)
        guard nb.0 == weightType.blockBytes, nb.1 == row, ne.2 == 1 || nb.2 == matrix, ne.3 == 1 || nb.3 == plane else {
            throw .stride
        }
        return (weightType, try Checked.product(ne.2, ne.3))
    }

    var isInt32: Bool { type == 26 }

    /// That this is a float32 tensor whose rows have contiguous elements and do not overlap.
    package func requireActivation() throws(Status) {
        guard type == 0 else { throw .type }
        let row = try Checked.product(ne.0, 4)
        guard nb.0 == 4, nb.1 % 4 == 0, nb.2 % 4 == 0, nb.3 % 4 == 0, ne.1 == 1 || nb.1 >= row else { throw .stride }
    }

    /// Of a result: that its rows, planes and blocks do not overlap either. The stride of a dimension of one is not
    /// looked at, so each extent is counted from the first byte to the last.
    package func requireRowsApart() throws(Status) {
        let row = try Checked.product(ne.0, 4)
        let plane = try Checked.sum(row, try Checked.product(ne.1 - 1, nb.1))
        let block = try Checked.sum(plane, try Checked.product(ne.2 - 1, nb.2))
        guard ne.1 == 1 || nb.1 >= row, ne.2 == 1 || nb.2 >= plane, ne.3 == 1 || nb.3 >= block else { throw .stride }
    }

    func hasShape(of other: Tensor) -> Bool {
        type == other.type && ne == other.ne && nb.0 == other.nb.0 && nb.1 == other.nb.1 && nb.2 == other.nb.2
            && nb.3 == other.nb.3
    }
}
