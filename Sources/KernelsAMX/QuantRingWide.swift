import CKernelABI
import CInstructions

// Up to 32 tokens, quantized types with scales per 16: dequantized to bf16 and multiplied as Ring.swift does it. Tiles
// of bytes would be 16 k deep, a quarter full, and their sums are scaled four times per K-block.

/// Behind the results: what QuantPanels needs. In the ring: two stages of two panels x two tiles.

@inline(never)
func quantRingWide(_ pointer: UnsafePointer<sx_kernel_args>, _ expand: sx_expand_fn, offset: Float) {
    sx_unwind_tables()
    let args = pointer.pointee
    let two = args.x.m > 16
    let rows = two ? 16 : Int(args.x.m)
    withTiles(rows: rows, second: two ? Int(args.x.m) - 16 : rows, deep: true, args) {
        let stages = UnsafeMutableRawPointer(args.scratch) + Int(SX_RING_STAGES)
        let results = UnsafeMutableRawPointer(args.scratch) + Int(SX_RING_RESULTS)
        let tiles = Int(args.w.kblocks) * 2
        eachDistantPair(args) { first, second in
            sx_tile_zero_0()
            sx_tile_zero_1()
            sx_tile_zero_2()
            sx_tile_zero_3()
            var panels = QuantPanels(pointer, expand, partK: 16, offset: offset, first, second, chunk: 0,
                                     UnsafeMutableRawPointer(args.scratch) + Int(SX_RING_PANELS))
            // One place in the code fills stages: before the first tile, then one tile ahead.
            var x0 = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped), x1 = x0
            var tile = -1
            while tile < tiles {
                if tile >= 0 {
                    if tile & 15 == 0 {
                        x0 = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped) + activationRow(args, tile, 0) * 64
                        if two {
                            x1 = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped) + activationRow(args, tile, 16) * 64
                        }
                    }
                    let w0 = UnsafeRawPointer(stages) + (tile & 1) * 2048
                    sx_tile_load_4(x0, 64)
                    if two { sx_tile_load_5(x1, 64) }
                    sx_tile_load_6(w0, 64)
                    sx_tile_bf16_0_4_6()
                    if two { sx_tile_bf16_1_5_6() }
                    sx_tile_load_7(w0 + 1024, 64)
                    sx_tile_bf16_2_4_7()
                    if two { sx_tile_bf16_3_5_7() }
                    x0 += rows * 64
                    x1 += 1024
                }
                tile += 1
                if tile < tiles {
                    var out = stages + (tile & 1) * 2048
                    var row = 0
                    while row < 8 {
                        panels.next(out, out + 1024)
                        out += 128
                        row += 1
                    }
                }
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
