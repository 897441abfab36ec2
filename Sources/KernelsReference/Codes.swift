import CKernelABI

/// Walks the codes of one panel of BF16 or F16 in the order in which they are stored, whatever the form.
struct PanelCodes {
    let sparse: Bool
    var values: UnsafePointer<UInt8>
    var bitmap: UnsafePointer<UInt8>?
    private var coded: CodedCodes? = nil

    init(sparse: Bool, values: UnsafePointer<UInt8>, bitmap: UnsafePointer<UInt8>?) {
        self.sparse = sparse
        self.values = values
        self.bitmap = bitmap
    }

    init(_ args: sx_kernel_args, panel: Int) {
        let tiles = panel * Int(args.w.kblocks)
        if args.w.coded != 0 {
            self.init(sparse: false, values: args.w.values, bitmap: nil)
            coded = CodedCodes(args, panel: panel)
        } else if args.w.sparse != 0 {
            self.init(sparse: true,
                      values: args.w.values + Int(sx_offset_bytes(args.w.offsets![panel * Int(args.w.chunks)])),
                      bitmap: args.w.bitmap! + tiles * 64)
        } else {
            self.init(sparse: false, values: args.w.values + tiles * Int(SX_TILE_BYTES), bitmap: nil)
        }
    }

    /// The 32 codes of the next tile row, in stored order, handed to the body with their index in the row.
    @inline(__always)
    mutating func nextRow(_ body: (Int, UInt16) -> Void) {
        if coded != nil {
            coded!.nextRow(body)
            return
        }
        var index = 0
        while index < 32 {
            let present = sparse ? bitmap![index >> 3] >> UInt8(index & 7) & 1 == 1 : true
            body(index, present ? nextCode() : 0)
            index += 1
        }
        if sparse { bitmap! += 4 }
    }

    private mutating func nextCode() -> UInt16 {
        let code = UInt16(values[0]) | UInt16(values[1]) << 8
        values += 2
        return code
    }
}
