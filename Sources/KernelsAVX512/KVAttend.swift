import CKernelABI
import CInstructions

/// Where everything is, and what a row of queries is. The same as the reference's.
private struct Attention {
    let args: sx_kv_attend_args
    let cache: sx_kv_cache
    let scratch: sx_kv_scratch
    let rows, keyDim, valueDim: Int
    let factor: Float

    @inline(__always)
    init(_ args: sx_kv_attend_args) {
        self.args = args
        cache = args.cache.pointee
        rows = Int(args.tokens &* args.group)
        (keyDim, valueDim) = (Int(cache.k.dim), Int(cache.v.dim))
        scratch = sx_kv_scratch_of(Int64(rows), Int64(keyDim), Int64(valueDim))
        factor = args.softcap > 0 ? args.scale / args.softcap : args.scale
    }

    @inline(__always)
    func floats(_ place: Int64) -> UnsafeMutablePointer<Float> {
        UnsafeMutableRawPointer(args.scratch + Int(place)).assumingMemoryBound(to: Float.self)
    }
    @inline(__always)
    func bytes(_ place: Int64) -> UnsafeMutablePointer<UInt8> { args.scratch + Int(place) }
    @inline(__always)
    var offsets: UnsafeMutablePointer<Int32> {
        UnsafeMutableRawPointer(args.scratch + Int(scratch.q_offset)).assumingMemoryBound(to: Int32.self)
    }
    @inline(__always)
    var visible: UnsafeMutablePointer<UInt64> {
        UnsafeMutableRawPointer(args.scratch + Int(scratch.visible)).assumingMemoryBound(to: UInt64.self)
    }
    @inline(__always)
    var largest: UnsafeMutablePointer<Float> { args.out + rows &* valueDim }
    @inline(__always)
    var sums: UnsafeMutablePointer<Float> { args.out + rows &* (valueDim &+ 1) }

    @inline(__always)
    func partOf(_ block: Int) -> UnsafeMutablePointer<UInt8> {
        cache.packed + (block &* Int(cache.block_bytes) &+ Int(args.head) &* Int(cache.head_bytes))
    }

    /// Queries in float32 and as codes of two bytes.
    @inline(__always)
    func prepare() {
        var row = 0
        while row < rows {
            let token = row / Int(args.group), head = row % Int(args.group)
            let from = args.q + (token &* Int(args.q_token) &+ head &* Int(args.q_head))
            let q = floats(scratch.q) + row &* keyDim
            var most = sx_zero(), d = 0
            while d < keyDim {
                let v = sx_load_ps(from + 4 &* d)
                sx_store_ps(q + d, v)
                most = sx_max32(most, sx_absolute_bits(v))
                d &+= 16
            }
            let bits = sx_reduce_max32(most), magnitude = Float(bitPattern: bits)
            var scale = magnitude / Float(SX_KV_Q_LEVELS), inverse = Float(SX_KV_Q_LEVELS) / magnitude
            if bits >= 0x7f80_0000 { (scale, inverse) = (Float.nan, 0) }
            if !inverse.isFinite { (scale, inverse) = (0, 0) }
            let high = bytes(scratch.q_high) + row &* keyDim, low = bytes(scratch.q_low) + row &* keyDim
            var sum = sx_zero()
            d = 0
            while d < keyDim {
                let code = inverse == 0 ? sx_zero() : sx_round32(sx_mul(sx_load_ps(q + d), sx_set_ps(inverse)))
                let upper = sx_down7(sx_add32(code, sx_set32(64)))
                sx_store_low8(high + d, upper)
                sx_store_low8(low + d, sx_sub32(code, sx_up7(upper)))
                sum = sx_add32(sum, code)
                d &+= 16
            }
            floats(scratch.q_scale)[row] = scale * factor
            offsets[row] = -128 &* sx_reduce_add32(sum)
            largest[row] = -Float.infinity
            sums[row] = 0
            d = 0
            while d < valueDim {
                sx_store_ps(args.out + (row &* valueDim &+ d), sx_zero_ps())
                d &+= 16
            }
            row &+= 1
        }
    }

    @inline(__always)
    func maskRow(_ row: Int) -> UnsafePointer<UInt8>? {
        guard let mask = args.mask else { return nil }
        let token = row / Int(args.group), head = Int(args.first_head) &+ row % Int(args.group)
        return mask + (token &* Int(args.mask_token) &+ head % Int(args.mask_heads) &* Int(args.mask_head))
    }

    /// Which cells of a block each row sees; what any row sees.
    @inline(__always)
    func look(_ block: Int) -> UInt64 {
        var there = cache.present[block], any: UInt64 = 0, row = 0
        let left = Int(args.cells) &- block &* 64
        if left < 64 { there &= (1 &<< UInt64(left)) &- 1 }
        let low = UInt32(truncatingIfNeeded: there), high = UInt32(truncatingIfNeeded: there &>> 32)
        while row < rows {
            var seen = there
            if let mask = maskRow(row) {
                let at = mask + 128 &* block
                let hidden = UInt64(sx_mask_equals16(low, at, 0xfc00))
                    | UInt64(sx_mask_equals16(high, at + 64, 0xfc00)) &<< 32
                seen &= ~hidden
            }
            visible[row] = seen
            any |= seen
            row &+= 1
        }
        return any
    }

    /// Rows of 64 codes, with their background, from bits and kept codes, to the scratch memory.
    @inline(__always)
    func expand(_ codes: inout UnsafePointer<UInt8>, _ bits: inout UnsafePointer<UInt8>, rows: Int, background: Int8) {
        let to = bytes(scratch.panel), other = sx_set8(background)
        var row = 0
        while row < rows {
            let mask = UnsafeRawPointer(bits).loadUnaligned(as: UInt64.self)
            sx_store(to + 64 &* row, sx_expand8(other, mask, sx_load(codes)))
            codes += mask.nonzeroBitCount
            bits += 8
            sx_prefetch(codes + 1024)
            row &+= 1
        }
    }

    /// Scores of packed codes: integers, times two scales.
    @inline(__always)
    func scorePacked(_ block: Int) {
        let part = partOf(block)
        var codes = UnsafePointer(part + Int(cache.k.codes)), bits = codes, panel = 0
        let sparse = cache.k.bitmap >= 0
        if sparse { bits = UnsafePointer(part + Int(cache.k.bitmap)) }
        while panel < 4 {
            var k = codes
            if sparse {
                expand(&codes, &bits, rows: keyDim / 4, background: -128)
                k = UnsafePointer(bytes(scratch.panel))
            } else {
                codes += 16 &* keyDim
            }
            let scales = sx_widen_bf16(0xffff, part + (Int(cache.k.scales) &+ 32 &* panel))
            var row = 0
            while row < rows {
                multiplyKeys(k, row, scales, floats(scratch.scores) + (row &* 64 &+ 16 &* panel))
                row &+= 4
            }
            panel &+= 1
        }
    }

    /// Four rows of queries times one panel of keys.
    @inline(__always)
    func multiplyKeys(_ k: UnsafePointer<UInt8>, _ row: Int, _ scales: SIMD16<Float>,
                      _ scores: UnsafeMutablePointer<Float>) {
        let high = bytes(scratch.q_high) + row &* keyDim, low = bytes(scratch.q_low) + row &* keyDim
        var h0 = sx_zero(), h1 = sx_zero(), h2 = sx_zero(), h3 = sx_zero()
        var l0 = sx_zero(), l1 = sx_zero(), l2 = sx_zero(), l3 = sx_zero()
        var d = 0
        while d < keyDim {
            let w = sx_load(k + 16 &* d)
            sx_prefetch(k + (16 &* d &+ 2048))
            h0 = sx_dpbusd(h0, w, sx_broadcast32(high + d))
            h1 = sx_dpbusd(h1, w, sx_broadcast32(high + (keyDim &+ d)))
            h2 = sx_dpbusd(h2, w, sx_broadcast32(high + (2 &* keyDim &+ d)))
            h3 = sx_dpbusd(h3, w, sx_broadcast32(high + (3 &* keyDim &+ d)))
            l0 = sx_dpbusd(l0, w, sx_broadcast32(low + d))
            l1 = sx_dpbusd(l1, w, sx_broadcast32(low + (keyDim &+ d)))
            l2 = sx_dpbusd(l2, w, sx_broadcast32(low + (2 &* keyDim &+ d)))
            l3 = sx_dpbusd(l3, w, sx_broadcast32(low + (3 &* keyDim &+ d)))
            d &+= 4
        }
        storeScores(scores, h0, l0, row, scales)
        storeScores(scores + 64, h1, l1, row &+ 1, scales)
        storeScores(scores + 128, h2, l2, row &+ 2, scales)
        storeScores(scores + 192, h3, l3, row &+ 3, scales)
    }

    @inline(__always)
    func storeScores(_ to: UnsafeMutablePointer<Float>, _ high: SIMD8<Int64>, _ low: SIMD8<Int64>, _ row: Int,
                     _ scales: SIMD16<Float>) {
        let sum = sx_add32(sx_add32(sx_up7(high), low), sx_set32(offsets[row]))
        sx_store_ps(to, sx_mul(sx_mul(sx_float(sum), scales), sx_set_ps(floats(scratch.q_scale)[row])))
    }

    /// Numbers of one cell, of whatever is no packed code.
    @inline(__always)
    func load(_ side: UnsafePointer<sx_kv_side>, _ block: Int, _ cell: Int) -> UnsafeMutablePointer<Float> {
        let row = floats(scratch.row), type = side.pointee.type
        if cache.state[block] == UInt8(SX_KV_PACKED) || type != 1 && type != 30 {
            sx_kv_read_to(args.cache, side, Int64(block), Int64(cell), args.head, row)
            return row
        }
        let from = sx_kv_row(side, Int64(block), Int64(cell), args.head), dim = Int(side.pointee.dim)
        var d = 0
        while d < dim {
            sx_store_ps(row + d, type == 1 ? sx_widen_f16(0xffff, from + 2 &* d) : sx_widen_bf16(0xffff, from + 2 &* d))
            d &+= 16
        }
        return row
    }

    @inline(__always)
    func scoreRows(_ block: Int, _ side: UnsafePointer<sx_kv_side>, _ any: UInt64) {
        var left = any
        while left != 0 {
            let cell = left.trailingZeroBitCount, k = load(side, block, cell)
            left &= left &- 1
            var row = 0
            while row < rows {
                let q = floats(scratch.q) + row &* keyDim
                var sum = sx_zero_ps(), d = 0
                while d < keyDim {
                    sum = sx_fma(sx_load_ps(k + d), sx_load_ps(q + d), sum)
                    d &+= 16
                }
                floats(scratch.scores)[row &* 64 &+ cell] = sx_sum_lanes(sum) * factor
                row &+= 1
            }
        }
    }

    /// Soft cap and mask of 16 scores.
    @inline(__always)
    func finish(_ scores: UnsafePointer<Float>, _ mask: UnsafePointer<UInt8>?, _ seen: UInt64, _ lane: Int,
                _ slope: SIMD16<Float>) -> SIMD16<Float> {
        var s = sx_load_ps(scores + lane)
        if args.softcap > 0 { s = sx_mul(sx_set_ps(args.softcap), hyperbolicTangent(s)) }
        if let mask { s = sx_add(s, sx_mul(slope, sx_widen_f16(some(seen, lane), mask + 2 &* lane))) }
        return s
    }

    @inline(__always)
    func some(_ seen: UInt64, _ lane: Int) -> UInt16 { UInt16(truncatingIfNeeded: seen &>> UInt64(lane)) }

    /// exp(score - largest so far), and what was found before by the same measure.
    @inline(__always)
    func weigh(_ block: Int, _ row: Int) {
        let scores = floats(scratch.scores) + row &* 64, seen = visible[row], before = largest[row]
        let mask = maskRow(row).map { $0 + 128 &* block }, slope = sx_set_ps(floats(scratch.slope)[row])
        let s0 = finish(scores, mask, seen, 0, slope), s1 = finish(scores, mask, seen, 16, slope)
        let s2 = finish(scores, mask, seen, 32, slope), s3 = finish(scores, mask, seen, 48, slope)
        var lanes = sx_mask_max_ps(sx_set_ps(-Float.infinity), some(seen, 0), s0)
        lanes = sx_mask_max_ps(lanes, some(seen, 16), s1)
        lanes = sx_mask_max_ps(lanes, some(seen, 32), s2)
        lanes = sx_mask_max_ps(lanes, some(seen, 48), s3)
        var most = sx_reduce_max_ps(lanes)
        if most > before {
            let shrink = exponential(sx_set_ps(most - before))
            largest[row] = most
            sums[row] *= sx_first_ps(shrink)
            let out = args.out + row &* valueDim
            var d = 0
            while d < valueDim {
                sx_store_ps(out + d, sx_mul(sx_load_ps(out + d), shrink))
                d &+= 16
            }
        } else {
            most = before
        }
        let top = sx_set_ps(most), zero = sx_zero_ps()
        let p0 = sx_blend_ps(some(seen, 0), zero, exponential(sx_sub_ps(top, s0)))
        let p1 = sx_blend_ps(some(seen, 16), zero, exponential(sx_sub_ps(top, s1)))
        let p2 = sx_blend_ps(some(seen, 32), zero, exponential(sx_sub_ps(top, s2)))
        let p3 = sx_blend_ps(some(seen, 48), zero, exponential(sx_sub_ps(top, s3)))
        sx_store_ps(scores, p0)
        sx_store_ps(scores + 16, p1)
        sx_store_ps(scores + 32, p2)
        sx_store_ps(scores + 48, p3)
        sums[row] += sx_sum_lanes(sx_add(sx_add(sx_add(p0, p1), p2), p3))
    }

    /// The scales of the values go into the probabilities, which become codes of two bytes.
    @inline(__always)
    func codeProbabilities(_ row: Int, _ scales: UnsafePointer<UInt8>) {
        let p = floats(scratch.scores) + row &* 64, seen = visible[row]
        var most = sx_zero_ps(), broken: UInt16 = 0, lane = 0
        while lane < 64 {
            let v = sx_mask_mul(some(seen, lane), sx_load_ps(p + lane), sx_widen_bf16(0xffff, scales + 2 &* lane))
            sx_store_ps(p + lane, v)
            broken |= sx_no_numbers(v)
            most = sx_mask_max_ps(most, 0xffff, v)
            lane &+= 16
        }
        let largest = sx_reduce_max_ps(most)
        var scale = largest / Float(SX_KV_P_LEVELS), inverse = Float(SX_KV_P_LEVELS) / largest
        if !inverse.isFinite { (scale, inverse) = (0, 0) }
        if broken != 0 { (scale, inverse) = (Float.nan, 0) }
        floats(scratch.p_scale)[row] = scale
        lane = 0
        while lane < 64 {
            let code = inverse == 0 ? sx_zero() : sx_round32(sx_mul(sx_load_ps(p + lane), sx_set_ps(inverse)))
            sx_store_low8(bytes(scratch.p_high) + (row &* 64 &+ lane), sx_down8(code))
            sx_store_low8(bytes(scratch.p_low) + (row &* 64 &+ lane), code)
            lane &+= 16
        }
    }

    @inline(__always)
    func addPacked(_ block: Int) {
        let part = partOf(block)
        var row = 0
        while row < rows {
            codeProbabilities(row, part + Int(cache.v.scales))
            row &+= 1
        }
        var codes = UnsafePointer(part + Int(cache.v.codes)), bits = codes, first = 0
        let sparse = cache.v.bitmap >= 0
        if sparse { bits = UnsafePointer(part + Int(cache.v.bitmap)) }
        while first < valueDim {
            var v = codes
            if sparse {
                expand(&codes, &bits, rows: 16, background: 0)
                v = UnsafePointer(bytes(scratch.panel))
            } else {
                codes += 1024
            }
            row = 0
            while row < rows {
                multiplyValues(v, row, first)
                row &+= 4
            }
            first &+= 16
        }
    }

    /// Four rows of probabilities times one panel of values.
    @inline(__always)
    func multiplyValues(_ v: UnsafePointer<UInt8>, _ row: Int, _ first: Int) {
        let high = bytes(scratch.p_high) + row &* 64, low = bytes(scratch.p_low) + row &* 64
        var h0 = sx_zero(), h1 = sx_zero(), h2 = sx_zero(), h3 = sx_zero()
        var l0 = sx_zero(), l1 = sx_zero(), l2 = sx_zero(), l3 = sx_zero()
        var cell = 0
        while cell < 64 {
            let w = sx_load(v + 16 &* cell)
            sx_prefetch(v + (16 &* cell &+ 2048))
            h0 = sx_dpbusd(h0, sx_broadcast32(high + cell), w)
            h1 = sx_dpbusd(h1, sx_broadcast32(high + (64 &+ cell)), w)
            h2 = sx_dpbusd(h2, sx_broadcast32(high + (128 &+ cell)), w)
            h3 = sx_dpbusd(h3, sx_broadcast32(high + (192 &+ cell)), w)
            l0 = sx_dpbusd(l0, sx_broadcast32(low + cell), w)
            l1 = sx_dpbusd(l1, sx_broadcast32(low + (64 &+ cell)), w)
            l2 = sx_dpbusd(l2, sx_broadcast32(low + (128 &+ cell)), w)
            l3 = sx_dpbusd(l3, sx_broadcast32(low + (192 &+ cell)), w)
            cell &+= 4
        }
        let out = args.out + (row &* valueDim &+ first)
        addResult(out, h0, l0, row)
        if row &+ 1 < rows { addResult(out + valueDim, h1, l1, row &+ 1) }
        if row &+ 2 < rows { addResult(out + 2 &* valueDim, h2, l2, row &+ 2) }
        if row &+ 3 < rows { addResult(out + 3 &* valueDim, h3, l3, row &+ 3) }
    }

    @inline(__always)
    func addResult(_ out: UnsafeMutablePointer<Float>, _ high: SIMD8<Int64>, _ low: SIMD8<Int64>, _ row: Int) {
        let sum = sx_float(sx_add32(sx_up8(high), low))
        sx_store_ps(out, sx_fma(sum, sx_set_ps(floats(scratch.p_scale)[row]), sx_load_ps(out)))
    }

    /// A cell whose weight is zero adds nothing, whatever it holds.
    @inline(__always)
    func addRows(_ block: Int, _ side: UnsafePointer<sx_kv_side>, _ any: UInt64) {
        var left = any
        while left != 0 {
            let cell = left.trailingZeroBitCount, v = load(side, block, cell)
            left &= left &- 1
            var row = 0
            while row < rows {
                let p = floats(scratch.scores)[row &* 64 &+ cell], out = args.out + row &* valueDim
                row &+= 1
                if p == 0 { continue }
                let weight = sx_set_ps(p)
                var d = 0
                while d < valueDim {
                    sx_store_ps(out + d, sx_fma(weight, sx_load_ps(v + d), sx_load_ps(out + d)))
                    d &+= 16
                }
            }
        }
    }
}

/// Attention of some tokens over some blocks of one head's cells; the steps of sx_reference_kv_attend.
@c(sx_avx512_kv_attend) @implementation
public func sx_avx512_kv_attend(_ pointer: UnsafePointer<sx_kv_attend_args>) {
    sx_unwind_tables()
    let a = Attention(pointer.pointee)
    let k = UnsafeRawPointer(a.args.cache).assumingMemoryBound(to: sx_kv_side.self), v = k + 1
    a.prepare()
    var block = Int(a.args.block_begin)
    while block < Int(a.args.block_end) {
        let any = a.look(block)
        if any != 0 {
            let codes = a.cache.state[block] == UInt8(SX_KV_PACKED) && a.cache.values == Int32(SX_KV_INT8)
            if codes { a.scorePacked(block) } else { a.scoreRows(block, k, any) }
            var row = 0
            while row < a.rows {
                a.weigh(block, row)
                row &+= 1
            }
            if codes { a.addPacked(block) } else { a.addRows(block, v, any) }
        }
        block &+= 1
    }
}
