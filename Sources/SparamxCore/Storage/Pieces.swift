/// Equal pieces of a tensor at equal distances; one piece is the usual case.
package struct Pieces {
    package let offset, size, copies, stride: Int

    /// Checks that all of them lie in a tensor of this many bytes and, if asked, that none cuts into another.
    package init(offset: Int, size: Int, copies: Int = 1, stride: Int = 0, of bytes: Int,
                 apart: Bool = true) throws(Status) {
        guard size >= 0, copies >= 0, stride >= 0 else { throw .range }
        self.offset = offset
        self.size = size
        self.copies = copies
        self.stride = stride
        if copies == 0 { return }
        try Checked.checkRange(offset, try Checked.sum(try Checked.product(copies - 1, stride), size), within: bytes)
        guard copies == 1 || stride >= size || !apart else { throw .stride }
    }

    package var isEmpty: Bool { copies == 0 || size == 0 }
    /// From the first byte to the last.
    var span: Int { (copies - 1) * stride + size }
    var bytes: Int { copies * size }

    /// The bytes that are covered, as few ranges as there are: pieces side by side are one.
    var rangeCount: Int { stride == size ? 1 : copies }
    func range(_ i: Int) -> (begin: Int, end: Int) {
        if stride == size { return (offset, offset + bytes) }
        return (offset + i * stride, offset + i * stride + size)
    }
}
