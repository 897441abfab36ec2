import CKernelABI

/// Walks the codes of one panel in the order in which they are stored, whatever the form.
struct PanelCodes {
    let wide: Bool  // two bytes per code
    let sparse: Bool
    let background: UInt16
    var values: UnsafePointer<UInt8>
    var bitmap: UnsafePointer<UInt8>?

    init(type: Int32, sparse: Bool, values: UnsafePointer<UInt8>, bitmap: UnsafePointer<UInt8>?) {
        wide = type != Int32(SX_Q8_0)
        background = wide ? 0 : 0x80
        self.sparse = sparse
        self.values = values
        self.bitmap = bitmap
    }

    init(_ args: sx_kernel_args, panel: Int) {
        let isWide = args.type != Int32(SX_Q8_0)
        let tiles = panel * Int(args.kblocks)
        if args.sparse != 0 {
            self.init(type: args.type, sparse: true,
                      values: args.values + Int(args.offsets![panel * Int(args.chunks)]),
                      bitmap: args.bitmap! + tiles * (isWide ? 64 : 128))
        } else {
            self.init(type: args.type, sparse: false, values: args.values + tiles * Int(SX_TILE_BYTES), bitmap: nil)
        }
    }

    var codesPerRow: Int { wide ? 32 : 64 }
    var codesPerColumn: Int { wide ? 2 : 4 }

    /// The codes of the next tile row, in stored order, handed to the body with their index in the row.
    @inline(__always)
    mutating func nextRow(_ body: (Int, UInt16) -> Void) {
        var index = 0
        while index < codesPerRow {
            var present = true
            if sparse {
                present = bitmap![index >> 3] >> UInt8(index & 7) & 1 == 1
            }
            body(index, present ? nextCode() : background)
            index += 1
        }
        if sparse { bitmap! += codesPerRow / 8 }
    }

    private mutating func nextCode() -> UInt16 {
        let low = UInt16(values[0])
        if !wide {
            values += 1
            return low
        }
        let code = low | UInt16(values[1]) << 8
        values += 2
        return code
    }
}
