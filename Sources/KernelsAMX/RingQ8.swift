import CKernelABI
import CTileShims

// Up to 32 tokens, Q8_0: every block of 32 has its own scales, so a result tile holds one block's integer sums and is
// scaled and added in single precision, exactly as the reference does it. Tiles are 32 k deep: A 32 bytes wide, B 8
// rows. The sums of one step are scaled while the next step multiplies and the one after it is expanded.

/// Scales the integer sums of one K-block (two panels x two halves) for one tile of tokens.
@inline(__always)
private func scaleSums(_ rows: Int, _ sums: UnsafeRawPointer, _ totals: UnsafeMutableRawPointer, _ d0: UnsafeRawPointer,
                       _ d1: UnsafeRawPointer, _ tokenScales: UnsafeRawPointer, _ tokenSums: UnsafeRawPointer) {
    let s00 = sx_f16_load(d0), s01 = sx_f16_load(d0 + 32), s10 = sx_f16_load(d1), s11 = sx_f16_load(d1 + 32)
    var row = 0
    while row < rows {
        let xLow = sx_broadcast_ps(tokenScales + row * 4), xHigh = sx_broadcast_ps(tokenScales + (rows + row) * 4)
        let shiftLow = sx_broadcast32(tokenSums + row * 4), shiftHigh = sx_broadcast32(tokenSums + (rows + row) * 4)
        let p = sums + row * 64, total = totals + row * 64
        var a = sx_load_ps(total), b = sx_load_ps(total + 1024)
        a = sx_fma(sx_float(sx_add32(sx_load(p), shiftLow)), sx_mul(s00, xLow), a)
        a = sx_fma(sx_float(sx_add32(sx_load(p + 1024), shiftHigh)), sx_mul(s01, xHigh), a)
        b = sx_fma(sx_float(sx_add32(sx_load(p + 2048), shiftLow)), sx_mul(s10, xLow), b)
        b = sx_fma(sx_float(sx_add32(sx_load(p + 3072), shiftHigh)), sx_mul(s11, xHigh), b)
        sx_store_ps(total, a)
        sx_store_ps(total + 1024, b)
        row += 1
    }
}

@inline(__always)
private func ring(sparse: Bool, _ pointer: UnsafePointer<sx_kernel_args>) {
    let args = pointer.pointee
    let tiles = args.m > 16 ? 2 : 1
    let rows = tiles == 2 ? 16 : Int(args.m)
    withTiles(rows: rows, deep: false, args) {
        let slots = UnsafeMutableRawPointer(args.scratch) + ringOffset
        let sums = UnsafeMutableRawPointer(args.scratch) + resultOffset  // two of 4 KB
        let totals = sums + 8192                                        // per tile of tokens two of 1 KB
        let kblocks = Int(args.kblocks)
        eachDistantPair(args) { first, second in
            var p0 = ByteTiles(args, sparse: sparse, first, 0), p1 = ByteTiles(args, sparse: sparse, second, 0)
            let d0 = p0.scales, d1 = p1.scales
            totals.initializeMemory(as: UInt64.self, repeating: 0, count: 512)
            if sparse {
                p0.next(slots)
                p1.next(slots + 1024)
            }
            var item = 0  // K-block * tiles + tile of tokens
            var pending = -1, pendingRow = 0
            while item < kblocks * tiles {
                let kblock = tiles == 2 ? item >> 1 : item, tile = tiles == 2 ? item & 1 : 0
                let row = activationRow(args, kblock, tile * 16)
                let x = UnsafeRawPointer(args.a) + row * 64
                sx_tile_zero_0()
                sx_tile_zero_1()
                sx_tile_zero_2()
                sx_tile_zero_3()
                var w0 = UnsafeRawPointer(slots) + (kblock & 1) * 2048, w1 = w0 + 1024
                if !sparse {
                    w0 = p0.values + kblock * 1024
                    w1 = p1.values + kblock * 1024
                }
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
                if tile == 0 {
                    sx_prefetch(d0 + (kblock * 64 + 512))
                    sx_prefetch(d1 + (kblock * 64 + 512))
                    if sparse && kblock + 1 < kblocks {
                        let slot = slots + (~kblock & 1) * 2048
                        p0.next(slot)
                        p1.next(slot + 1024)
                    } else if !sparse {
                        var line = 0
                        while line < 1024 {
                            sx_prefetch(w0 + (prefetchAhead + line))
                            sx_prefetch(w1 + (prefetchAhead + line))
                            line += 64
                        }
                    }
                }
                if pending >= 0 { scalePending(args, tiles, rows, pending, pendingRow, sums, totals, d0, d1) }
                let out = sums + (item & 1) * 4096
                sx_tile_store_0(out, 64)
                sx_tile_store_1(out + 1024, 64)
                sx_tile_store_2(out + 2048, 64)
                sx_tile_store_3(out + 3072, 64)
                pending = item
                pendingRow = row
                item += 1
            }
            scalePending(args, tiles, rows, pending, pendingRow, sums, totals, d0, d1)
            var tile = 0
            while tile < tiles {
                let present = min(rows, Int(args.m) - tile * 16)
                storeTile(args, totals + tile * 2048, tile * 16, present, first)
                storeTile(args, totals + (tile * 2048 + 1024), tile * 16, present, second)
                tile += 1
            }
        }
    }
}

@inline(__always)
private func scalePending(_ args: sx_kernel_args, _ tiles: Int, _ rows: Int, _ item: Int, _ row: Int,
                          _ sums: UnsafeMutableRawPointer, _ totals: UnsafeMutableRawPointer, _ d0: UnsafeRawPointer,
                          _ d1: UnsafeRawPointer) {
    let kblock = tiles == 2 ? item >> 1 : item, tile = tiles == 2 ? item & 1 : 0
    scaleSums(rows, sums + (item & 1) * 4096, totals + tile * 2048, d0 + kblock * 64, d1 + kblock * 64,
              UnsafeRawPointer(args.a_scale.unsafelyUnwrapped) + row * 8,
              UnsafeRawPointer(args.a_sum.unsafelyUnwrapped) + row * 8)
}

@c(sx_amx_q8_dense_ring) @implementation
public func sx_amx_q8_dense_ring(_ args: UnsafePointer<sx_kernel_args>) { ring(sparse: false, args) }
@c(sx_amx_q8_sparse_ring) @implementation
public func sx_amx_q8_sparse_ring(_ args: UnsafePointer<sx_kernel_args>) { ring(sparse: true, args) }
