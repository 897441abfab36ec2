/// The products of one op: each a matrix of the weight times its own activations. One, or as many as ggml's third and
/// fourth dimension have; matrices are repeated along these.
package struct Batch {
    /// One of the products: y = x * W^T.
    struct Item {
        let weights: Weights
        let x: UnsafePointer<Float>, ldx: Int
        let y: UnsafeMutablePointer<Float>, ldy: Int
    }

    /// Along the third and the fourth dimension: how many products, how many of them in turn take one matrix, how many
    /// matrices, and how far apart x, y and matrices that are not packed are, in bytes.
    package struct Dimensions {
        package var products = (1, 1), repeats = (1, 1), matrices = 1
        package var x = (0, 0), y = (0, 0), file = (0, 0)

        package init() {}
    }

    let first: Item
    private let dimensions: Dimensions

    package init(_ weights: Weights, x: UnsafePointer<Float>, ldx: Int, y: UnsafeMutablePointer<Float>, ldy: Int,
                 _ dimensions: Dimensions = Dimensions()) {
        first = Item(weights: weights, x: x, ldx: ldx, y: y, ldy: ldy)
        self.dimensions = dimensions
    }

    var count: Int { dimensions.products.0 * dimensions.products.1 }

    subscript(i: Int) -> Item {
        let d = dimensions, i2 = i % d.products.0, i3 = i / d.products.0
        return Item(weights: weights(i),
                    x: (UnsafeRawPointer(first.x) + (i3 * d.x.1 + i2 * d.x.0)).assumingMemoryBound(to: Float.self),
                    ldx: first.ldx,
                    y: (UnsafeMutableRawPointer(first.y) + (i3 * d.y.1 + i2 * d.y.0))
                        .assumingMemoryBound(to: Float.self),
                    ldy: first.ldy)
    }

    func weights(_ i: Int) -> Weights {
        let d = dimensions, w2 = i % d.products.0 / d.repeats.0, w3 = i / d.products.0 / d.repeats.1
        switch first.weights {
        case .packed(let tensor, let matrix): return .packed(tensor, matrix: matrix + w3 * d.matrices + w2)
        case .raw(let layout, let rows):
            return .raw(layout, Rows(base: rows.base + (w3 * d.file.1 + w2 * d.file.0), rowStride: rows.rowStride,
                                     matrixStride: 0))
        }
    }
}
