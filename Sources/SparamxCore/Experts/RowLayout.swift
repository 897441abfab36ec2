/// Where the rows of x and dst are. A row of dst has an index in each of three dimensions; x has the same rows, or
/// fewer in the first dimension and repeats them there.
package struct RowLayout {
    let base: UnsafeMutableRawPointer
    let ne: (Int, Int), repeats: Int
    let nb: (Int, Int, Int)

    package init(base: UnsafeMutableRawPointer, ne: (Int, Int), repeats: Int, nb: (Int, Int, Int)) {
        self.base = base
        self.ne = ne
        self.repeats = repeats
        self.nb = nb
    }

    subscript(row: Int) -> UnsafeMutablePointer<Float> {
        let i1 = row % ne.0 % repeats, rest = row / ne.0
        return (base + (i1 * nb.0 + rest % ne.1 * nb.1 + rest / ne.1 * nb.2)).assumingMemoryBound(to: Float.self)
    }
}
