import CKernelABI
import CInstructions

// Up to 32 tokens, quantized types with scales per 32: every block of 32 has its own scales, so a result tile holds one
// block's integer sums and is scaled and added in single precision, exactly as the reference does it. Tiles are 32 k
// deep: A 32 bytes wide, B 8 rows. The sums of one step are scaled while the next step multiplies and the one after it
// is expanded.

/// Where things are behind SX_RING_STAGES: two stages of two panels' levels, four of scales and minimums (two K-blocks
/// before the one that is expanded are still to be scaled), expansions.
private let sidesAt = 4096, expansionsAt = 8192

/// Scales the integer sums of one K-block (two panels x two halves) for one tile of tokens. d0, d1: scales of the
/// halves, 256 bytes behind them minimums.
@inline(__always)
private func scaleSums(minimum: Bool, _ rows: Int, _ sums: UnsafeRawPointer, _ totals: UnsafeMutableRawPointer,
                       _ d0: UnsafeRawPointer, _ d1: UnsafeRawPointer, _ tokenScales: UnsafeRawPointer,
                       _ tokenSums: UnsafeRawPointer) {
    let s00 = sx_load_ps(d0), s01 = sx_load_ps(d0 + 64), s10 = sx_load_ps(d1), s11 = sx_load_ps(d1 + 64)
    let m00 = sx_load_ps(d0 + 256), m01 = sx_load_ps(d0 + 320), m10 = sx_load_ps(d1 + 256), m11 = sx_load_ps(d1 + 320)
    var row = 0
    while row < rows {
        let xLow = sx_broadcast_ps(tokenScales + row * 4), xHigh = sx_broadcast_ps(tokenScales + (rows + row) * 4)
        let p = sums + row * 64, total = totals + row * 64
        var a = sx_load_ps(total), b = sx_load_ps(total + 1024)
        if minimum {
            let sumLow = sx_broadcast_ps(tokenSums + row * 4), sumHigh = sx_broadcast_ps(tokenSums + (rows + row) * 4)
            a = sx_fma(sx_float(sx_load(p)), sx_mul(s00, xLow), a)
            b = sx_fma(sx_float(sx_load(p + 2048)), sx_mul(s10, xLow), b)
            a = sx_fnmadd(m00, sumLow, a)
            b = sx_fnmadd(m10, sumLow, b)
            a = sx_fma(sx_float(sx_load(p + 1024)), sx_mul(s01, xHigh), a)
            b = sx_fma(sx_float(sx_load(p + 3072)), sx_mul(s11, xHigh), b)
            a = sx_fnmadd(m01, sumHigh, a)
            b = sx_fnmadd(m11, sumHigh, b)
        } else {
            let shiftLow = sx_broadcast32(tokenSums + row * 4), shiftHigh = sx_broadcast32(tokenSums + (rows + row) * 4)
            a = sx_fma(sx_float(sx_add32(sx_load(p), shiftLow)), sx_mul(s00, xLow), a)
            b = sx_fma(sx_float(sx_add32(sx_load(p + 2048), shiftLow)), sx_mul(s10, xLow), b)
            a = sx_fma(sx_float(sx_add32(sx_load(p + 1024), shiftHigh)), sx_mul(s01, xHigh), a)
            b = sx_fma(sx_float(sx_add32(sx_load(p + 3072), shiftHigh)), sx_mul(s11, xHigh), b)
        }
        sx_store_ps(total, a)
        sx_store_ps(total + 1024, b)
        row += 1
    }
}

/// An item of work: K-block * tiles of tokens + tile of tokens.
private struct Item {
    var number = -1, row = 0

    @inline(__always)
    func scale(_ args: sx_kernel_args, minimum: Bool, _ tiles: Int, _ rows: Int, _ sums: UnsafeMutableRawPointer,
               _ sides: UnsafeMutableRawPointer) {
        let kblock = tiles == 2 ? number >> 1 : number, tile = tiles == 2 ? number & 1 : 0
        let d0 = UnsafeRawPointer(sides) + (kblock & 3) * 1024
        let x = UnsafeRawPointer(args.x.scales.unsafelyUnwrapped) + row * 8
        let xSums = UnsafeRawPointer(args.x.sums.unsafelyUnwrapped) + row * 8
        let from = UnsafeRawPointer(sums) + (number & 1) * 4096, totals = sums + (8192 + tile * 2048)
        if minimum {
            scaleSums(minimum: true, rows, from, totals, d0, d0 + 512, x, xSums)
        } else {
            scaleSums(minimum: false, rows, from, totals, d0, d0 + 512, x, xSums)
        }
    }
}

@inline(never)
func quantRing(_ pointer: UnsafePointer<sx_kernel_args>, _ expand: sx_expand_fn, minimum: Bool) {
    sx_unwind_tables()
    let args = pointer.pointee
    let tiles = args.x.m > 16 ? 2 : 1
    let rows = tiles == 2 ? 16 : Int(args.x.m)
    withTiles(rows: rows, deep: false, args) {
        let stages = UnsafeMutableRawPointer(args.scratch) + Int(SX_RING_STAGES)
        let sides = stages + sidesAt
        // Two of 4 KB, behind them per tile of tokens two totals of 1 KB.
        let sums = UnsafeMutableRawPointer(args.scratch) + Int(SX_RING_RESULTS)
        let kblocks = Int(args.w.kblocks)
        eachDistantPair(args) { first, second in
            let p0 = expansion(pointer, first, 0, slot: stages, sides: sides, stages + expansionsAt)
            let p1 = expansion(pointer, second, 0, slot: stages + 1024, sides: sides + 512,
                               stages + (expansionsAt + expansionBytes))
            (sums + 8192).initializeMemory(as: UInt64.self, repeating: 0, count: 512)
            expand(p0)
            expand(p1)
            var w0 = UnsafeRawPointer(p0.pointee.levels), w1 = UnsafeRawPointer(p1.pointee.levels)
            var item = 0, pending = Item()
            while item < kblocks * tiles {
                let kblock = tiles == 2 ? item >> 1 : item, tile = tiles == 2 ? item & 1 : 0
                let row = activationRow(args, kblock, tile * 16)
                let x = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped) + row * 64
                sx_tile_zero_0()
                sx_tile_zero_1()
                sx_tile_zero_2()
                sx_tile_zero_3()
                sx_tile_load_4(x, 64)
                sx_tile_load_6(w0, 64)
                sx_tile_s8u8_0_4_6()
                sx_tile_load_5(x + 32, 64)
                sx_tile_load_7(w0 + 512, 64)
                sx_tile_s8u8_1_5_7()
                sx_tile_load_6(w1, 64)
                sx_tile_s8u8_2_4_6()
                sx_tile_load_7(w1 + 512, 64)
                sx_tile_s8u8_3_5_7()
                // With two tiles of tokens a panel is expanded beside each.
                if tile == 0 && kblock + 1 < kblocks {
                    let side = (kblock + 1) & 3
                    p0.pointee.slot = (stages + (~kblock & 1) * 2048).assumingMemoryBound(to: UInt8.self)
                    p1.pointee.slot = p0.pointee.slot + 1024
                    p0.pointee.scales = (sides + side * 1024).assumingMemoryBound(to: Float.self)
                    p0.pointee.minimums = p0.pointee.scales + 64
                    p1.pointee.scales = p0.pointee.scales + 128
                    p1.pointee.minimums = p0.pointee.scales + 192
                    expand(p0)
                }
                if tile == tiles - 1 && kblock + 1 < kblocks {
                    expand(p1)
                    w0 = UnsafeRawPointer(p0.pointee.levels)
                    w1 = UnsafeRawPointer(p1.pointee.levels)
                }
                if pending.number >= 0 { pending.scale(args, minimum: minimum, tiles, rows, sums, sides) }
                let out = sums + (item & 1) * 4096
                sx_tile_store_0(out, 64)
                sx_tile_store_1(out + 1024, 64)
                sx_tile_store_2(out + 2048, 64)
                sx_tile_store_3(out + 3072, 64)
                pending = Item(number: item, row: row)
                item += 1
            }
            pending.scale(args, minimum: minimum, tiles, rows, sums, sides)
            var tile = 0
            while tile < tiles {
                let present = min(rows, Int(args.x.m) - tile * 16), totals = sums + (8192 + tile * 2048)
                storeTile(args, totals, tile * 16, present, first)
                storeTile(args, totals + 1024, tile * 16, present, second)
                tile += 1
            }
        }
    }
}
