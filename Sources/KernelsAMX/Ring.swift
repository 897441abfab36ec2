import CKernelABI
import CInstructions

// Up to 32 tokens, weights of 2 bytes: K-block i + 1 of two distant panels is expanded into an L1 ring of two stages
// while the tiles of block i multiply. Memory is the limit; the tile unit works in the shadow of the expansion.

/// The tiles of one panel, one after the other.
protocol TileCursor {
    mutating func next(_ out: UnsafeMutableRawPointer)
    /// The next tile where it lies: nil where tiles have to be made.
    mutating func nextInPlace() -> UnsafeRawPointer?
}

extension TileCursor {
    @inline(__always)
    mutating func nextInPlace() -> UnsafeRawPointer? { nil }
}

@inline(__always)
func wideRing(half: Bool, sparse: Bool, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    // Dense BF16 is multiplied where it lies.
    ring(inPlace: !half && !sparse, args) { WideTiles(args, half: half, sparse: sparse, $0, 0) }
}

@inline(__always)
func ring<Cursor: TileCursor>(inPlace: Bool = false, _ args: sx_kernel_args, _ cursor: (_ panel: Int) -> Cursor) {
    let two = args.x.m > 16
    let rows = two ? 16 : Int(args.x.m)
    withTiles(rows: rows, second: two ? Int(args.x.m) - 16 : rows, deep: true, args) {
        let stages = UnsafeMutableRawPointer(args.scratch) + Int(SX_RING_STAGES)
        let results = UnsafeMutableRawPointer(args.scratch) + Int(SX_RING_RESULTS)
        let kblocks = Int(args.w.kblocks)
        eachDistantPair(args) { first, second in
            sx_tile_zero_0()
            sx_tile_zero_1()
            sx_tile_zero_2()
            sx_tile_zero_3()
            var p0 = cursor(first), p1 = cursor(second)
            if !inPlace {
                p0.next(stages)
                p1.next(stages + 1024)
            }
            var x0 = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped), x1 = x0
            var kblock = 0
            while kblock < kblocks {
                if kblock & 15 == 0 {
                    x0 = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped) + activationRow(args, kblock, 0) * 64
                    if two {
                        x1 = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped) + activationRow(args, kblock, 16) * 64
                    }
                }
                sx_tile_load_4(x0, 64)
                if two { sx_tile_load_5(x1, 64) }
                var w0 = UnsafeRawPointer(stages) + (kblock & 1) * 2048, w1 = w0 + 1024
                if inPlace {
                    w0 = p0.nextInPlace().unsafelyUnwrapped
                    w1 = p1.nextInPlace().unsafelyUnwrapped
                    var line = 0
                    while line < 1024 {
                        sx_prefetch(w0 + (prefetchAhead + line))
                        sx_prefetch(w1 + (prefetchAhead + line))
                        line += 64
                    }
                } else if kblock + 1 < kblocks {
                    let stage = stages + (~kblock & 1) * 2048
                    p0.next(stage)
                    p1.next(stage + 1024)
                }
                sx_tile_load_6(w0, 64)
                sx_tile_bf16_0_4_6()
                if two { sx_tile_bf16_1_5_6() }
                sx_tile_load_7(w1, 64)
                sx_tile_bf16_2_4_7()
                if two { sx_tile_bf16_3_5_7() }
                x0 += rows * 64
                x1 += 1024
                kblock += 1
            }
            sx_tile_store_0(results, 64)
            sx_tile_store_2(results + 2048, 64)
            storeTile(args, results, 0, rows, first)
            storeTile(args, results + 2048, 0, rows, second)
            if two {
                sx_tile_store_1(results + 1024, 64)
                sx_tile_store_3(results + 3072, 64)
                storeTile(args, results + 1024, 16, Int(args.x.m) - 16, first)
                storeTile(args, results + 3072, 16, Int(args.x.m) - 16, second)
            }
        }
    }
}
