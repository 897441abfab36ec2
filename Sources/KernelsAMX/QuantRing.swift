import CKernelABI
import CInstructions

// Up to 32 tokens, quantized types with scales per 32: every block of 32 has its own scales, so a result tile holds one
// block's integer sums and is scaled and added in single precision, exactly as the reference does it. Tiles are 32 k
// deep: A 32 bytes wide, B 8 rows. While K-block i multiplies, i + 1 is expanded and i - 1 is scaled: the type's own
// function does both, row by row and token by token, because each keeps other ports of the CPU busy.

/// Where things are behind SX_RING_STAGES: two stages of two panels' levels, four of scales and minimums (those of the
/// K-blocks that multiply and wait have to stay), expansions, what waits to be scaled, scales and sums of activations.
private let sidesAt = 4096, expansionsAt = 8192, scalingsAt = expansionsAt + 2 * expansionBytes
private let factorsAt = scalingsAt + 256

/// Sums of a K-block: per panel and half of the K-block 32 tokens. Two K-blocks are not 4096 bytes apart or a multiple
/// of it, because loads would wait for stores whose addresses end alike. Behind them are the totals of both panels.
private let sumsOfPanel = 4096, sumsOfBlock = 9216, totalsAt = 18432, totalsOfPanel = 2048

/// A panel's part of a product: what is expanded next, and what waits to be scaled.
private struct RingPanel {
    let expansion: UnsafeMutablePointer<sx_expansion>
    let scaling: UnsafeMutablePointer<sx_scaling>
    let expand: sx_expand_fn
    let minimum: Bool

    @inline(__always)
    init(_ args: UnsafePointer<sx_kernel_args>, _ expand: sx_expand_fn, minimum: Bool, _ panel: Int, number: Int,
         _ stages: UnsafeMutableRawPointer, _ totals: UnsafeMutableRawPointer) {
        self.expand = expand
        self.minimum = minimum
        expansion = KernelsAMX.expansion(args, panel, 0, slot: stages + number * 1024,
                                         sides: stages + (sidesAt + number * 512),
                                         stages + (expansionsAt + number * expansionBytes))
        scaling = (stages + (scalingsAt + number * 128)).assumingMemoryBound(to: sx_scaling.self)
        scaling.initialize(to: sx_scaling(
            sums: UnsafePointer(expansion.pointee.levels), totals: totals.assumingMemoryBound(to: UInt8.self),
            scales: UnsafePointer(expansion.pointee.scales),
            x: (stages + factorsAt).assumingMemoryBound(to: UInt8.self), tokens: args.pointee.x.m))
        expand(expansion)
    }

    /// The next K-block is expanded into this stage, if there is one; what waits is scaled.
    @inline(__always)
    func next(_ more: Bool, slot: UnsafeMutableRawPointer, sides: UnsafeMutableRawPointer) {
        if more {
            expansion.pointee.slot = slot.assumingMemoryBound(to: UInt8.self)
            expansion.pointee.scales = sides.assumingMemoryBound(to: Float.self)
            expansion.pointee.minimums = expansion.pointee.scales + 64
            expand(expansion)
        } else {
            finish()
        }
    }

    @inline(__always)
    func finish() {
        if minimum {
            var scaler = Scaler(minimum: true, expansion.pointee.waiting)
            scaler.finish()
        } else {
            var scaler = Scaler(minimum: false, expansion.pointee.waiting)
            scaler.finish()
        }
    }

    /// The K-block that has these sums waits from now on.
    @inline(__always)
    func wait(_ sums: UnsafeMutableRawPointer, sides: UnsafeMutableRawPointer) {
        scaling.pointee.sums = UnsafePointer(sums.assumingMemoryBound(to: UInt8.self))
        scaling.pointee.scales = UnsafePointer(sides.assumingMemoryBound(to: Float.self))
        expansion.pointee.waiting = scaling
    }
}

/// Puts a K-block's scales and sums of activations where all tokens' lie one behind the other, for the scaling.
@inline(__always)
private func copyFactors(_ scales: UnsafeRawPointer, _ sums: UnsafeRawPointer, half: Int, nextTile: Int,
                         _ out: UnsafeMutableRawPointer) {
    sx_store(out, sx_load(scales))
    sx_store(out + 128, sx_load(scales + half))
    sx_store(out + 256, sx_load(sums))
    sx_store(out + 384, sx_load(sums + half))
    if nextTile >= 0 {
        sx_store(out + 64, sx_load(scales + nextTile))
        sx_store(out + 192, sx_load(scales + (nextTile + half)))
        sx_store(out + 320, sx_load(sums + nextTile))
        sx_store(out + 448, sx_load(sums + (nextTile + half)))
    }
}

/// Multiplies one half of a K-block, 32 k, of both panels. With one tile of tokens the halves have result tiles of
/// their own; with two they share them, and each tile of weights is loaded once.
@inline(__always)
private func multiply(second half: Bool, two: Bool, _ x0: UnsafeRawPointer, _ x1: UnsafeRawPointer,
                      _ w0: UnsafeRawPointer, _ w1: UnsafeRawPointer) {
    if two {
        sx_tile_zero_0()
        sx_tile_zero_1()
        sx_tile_zero_2()
        sx_tile_zero_3()
        sx_tile_load_4(x0, 64)
        sx_tile_load_6(w0, 64)
        sx_tile_s8u8_0_4_6()
        sx_tile_load_5(x1, 64)
        sx_tile_s8u8_1_5_6()
        sx_tile_load_7(w1, 64)
        sx_tile_s8u8_2_4_7()
        sx_tile_s8u8_3_5_7()
    } else if half {
        sx_tile_zero_1()
        sx_tile_zero_3()
        sx_tile_load_5(x0, 64)
        sx_tile_load_7(w0, 64)
        sx_tile_s8u8_1_5_7()
        sx_tile_load_7(w1, 64)
        sx_tile_s8u8_3_5_7()
    } else {
        sx_tile_zero_0()
        sx_tile_zero_2()
        sx_tile_load_4(x0, 64)
        sx_tile_load_6(w0, 64)
        sx_tile_s8u8_0_4_6()
        sx_tile_load_6(w1, 64)
        sx_tile_s8u8_2_4_6()
    }
}

@inline(__always)
private func storeSums(second half: Bool, two: Bool, _ sums: UnsafeMutableRawPointer) {
    if two {
        sx_tile_store_0(sums, 64)
        sx_tile_store_1(sums + 1024, 64)
        sx_tile_store_2(sums + sumsOfPanel, 64)
        sx_tile_store_3(sums + (sumsOfPanel + 1024), 64)
    } else if half {
        sx_tile_store_1(sums, 64)
        sx_tile_store_3(sums + sumsOfPanel, 64)
    } else {
        sx_tile_store_0(sums, 64)
        sx_tile_store_2(sums + sumsOfPanel, 64)
    }
}

@inline(never)
func quantRing(_ pointer: UnsafePointer<sx_kernel_args>, _ expand: sx_expand_fn, minimum: Bool) {
    sx_unwind_tables()
    let args = pointer.pointee
    let m = Int(args.x.m), two = m > 16, rows = two ? 16 : m
    withTiles(rows: rows, second: two ? m - 16 : rows, deep: false, args) {
        let stages = UnsafeMutableRawPointer(args.scratch) + Int(SX_RING_STAGES), sides = stages + sidesAt
        let allSums = UnsafeMutableRawPointer(args.scratch) + Int(SX_RING_RESULTS), totals = allSums + totalsAt
        let xScales = UnsafeRawPointer(args.x.scales.unsafelyUnwrapped)
        let xSums = UnsafeRawPointer(args.x.sums.unsafelyUnwrapped)
        let packed = UnsafeRawPointer(args.x.packed.unsafelyUnwrapped)
        let kblocks = Int(args.w.kblocks)
        eachDistantPair(args) { first, second in
            totals.initializeMemory(as: UInt64.self, repeating: 0, count: 512)
            let p0 = RingPanel(pointer, expand, minimum: minimum, first, number: 0, stages, totals)
            let p1 = RingPanel(pointer, expand, minimum: minimum, second, number: 1, stages, totals + totalsOfPanel)
            var x0 = packed, x1 = packed, place = 0, nextTile = 0
            var kblock = 0
            while kblock < kblocks {
                if kblock & 15 == 0 {
                    let row = activationRow(args, kblock, 0)
                    nextTile = min(16, Int(args.x.kblocks) - kblock) * 128
                    x0 = packed + row * 64
                    x1 = x0 + nextTile * 8
                    place = row * 8
                }
                let w0 = UnsafeRawPointer(p0.expansion.pointee.levels)
                let w1 = UnsafeRawPointer(p1.expansion.pointee.levels)
                let slot = stages + (~kblock & 1) * 2048, sums = allSums + (kblock & 1) * sumsOfBlock
                let side = sides + (kblock & 3) * 1024, nextSide = sides + ((kblock + 1) & 3) * 1024
                let more = kblock + 1 < kblocks
                multiply(second: false, two: two, x0, x1, w0, w1)
                p0.next(more, slot: slot, sides: nextSide)
                storeSums(second: false, two: two, sums)
                multiply(second: true, two: two, x0 + 32, x1 + 32, w0 + 512, w1 + 512)
                p1.next(more, slot: slot + 1024, sides: nextSide + 512)
                storeSums(second: true, two: two, sums + 2048)
                copyFactors(xScales + place, xSums + place, half: rows * 4, nextTile: two ? nextTile : -1,
                            stages + factorsAt)
                p0.wait(sums, sides: side)
                p1.wait(sums + sumsOfPanel, sides: side + 512)
                x0 += rows * 64
                x1 += 1024
                place += rows * 8
                kblock += 1
            }
            p0.finish()
            p1.finish()
            storeTile(args, totals, 0, rows, first)
            storeTile(args, totals + totalsOfPanel, 0, rows, second)
            if two {
                storeTile(args, totals + 1024, 16, m - 16, first)
                storeTile(args, totals + (totalsOfPanel + 1024), 16, m - 16, second)
            }
        }
    }
}
