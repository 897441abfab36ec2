import CKernelABI

// Attention over a key-value cache, to be read. sx_avx512_kv_attend takes the same steps: all sums of floats go over 16
// lanes, each in rising order, and then over halves of the lanes.

/// The sum of 16 lanes: halves are added to halves.
private func sumLanes(_ lanes: UnsafeMutablePointer<Float>) -> Float {
    var half = 8
    while half > 0 {
        for i in 0..<half { lanes[i] += lanes[i + half] }
        half /= 2
    }
    return lanes[0]
}

/// softcap * tanh(s), without the factor: by exp of what is not positive.
private func hyperbolicTangent(_ s: Float) -> Float {
    let t = exponential(s.magnitude * 2), value = (1 - t) / (1 + t)
    return s.bitPattern >> 31 == 1 ? -value : value
}

/// ALiBi: how much the mask counts for each row.
@c(sx_reference_kv_slopes) @implementation
public func sx_reference_kv_slopes(_ pointer: UnsafePointer<sx_kv_attend_args>) {
    let a = Attention(pointer.pointee)
    for row in 0..<a.rows {
        a.floats(a.scratch.slope)[row] = slope(a.args, Int(a.args.first_head) + row % Int(a.args.group))
    }
}

private func slope(_ args: sx_kv_attend_args, _ head: Int) -> Float {
    if !(args.max_bias > 0) { return 1 }
    var power = 1
    while power * 2 <= Int(args.all_heads) { power *= 2 }
    // 2^(-max_bias / power), and for heads beyond the power of two its root at odd places.
    let exponent = head < power ? Float(head + 1) * (args.max_bias / Float(power))
        : Float(2 * (head - power) + 1) * (args.max_bias / 2 / Float(power))
    return exponential(exponent * 0.69314718055994531)
}

/// Where everything is, and what a row of queries is.
private struct Attention {
    let args: sx_kv_attend_args
    let cache: sx_kv_cache
    let scratch: sx_kv_scratch
    let rows, keyDim, valueDim: Int

    init(_ args: sx_kv_attend_args) {
        self.args = args
        cache = args.cache.pointee
        rows = Int(args.tokens * args.group)
        (keyDim, valueDim) = (Int(cache.k.dim), Int(cache.v.dim))
        scratch = sx_kv_scratch_of(Int64(rows), Int64(keyDim), Int64(valueDim))
    }

    func floats(_ place: Int64) -> UnsafeMutablePointer<Float> {
        UnsafeMutableRawPointer(args.scratch + Int(place)).assumingMemoryBound(to: Float.self)
    }
    func bytes(_ place: Int64) -> UnsafeMutablePointer<UInt8> { args.scratch + Int(place) }
    var offsets: UnsafeMutablePointer<Int32> {
        UnsafeMutableRawPointer(args.scratch + Int(scratch.q_offset)).assumingMemoryBound(to: Int32.self)
    }
    var visible: UnsafeMutablePointer<UInt64> {
        UnsafeMutableRawPointer(args.scratch + Int(scratch.visible)).assumingMemoryBound(to: UInt64.self)
    }
    var largest: UnsafeMutablePointer<Float> { args.out + rows * valueDim }
    var sums: UnsafeMutablePointer<Float> { largest + rows }
    var factor: Float { args.softcap > 0 ? args.scale / args.softcap : args.scale }

    func partOf(_ block: Int) -> UnsafeMutablePointer<UInt8> {
        cache.packed + block * Int(cache.block_bytes) + Int(args.head) * Int(cache.head_bytes)
    }

    /// Queries in float32 and as codes of two bytes.
    func prepare() {
        for row in 0..<rows {
            let token = row / Int(args.group), head = row % Int(args.group)
            let from = args.q + token * Int(args.q_token) + head * Int(args.q_head)
            let q = floats(scratch.q) + row * keyDim
            UnsafeMutableRawPointer(q).copyMemory(from: from, byteCount: 4 * keyDim)
            var most: UInt32 = 0
            for d in 0..<keyDim { most = max(most, q[d].bitPattern & 0x7fff_ffff) }
            let magnitude = Float(bitPattern: most)
            var scale = magnitude / Float(SX_KV_Q_LEVELS), inverse = Float(SX_KV_Q_LEVELS) / magnitude
            if most >= 0x7f80_0000 { (scale, inverse) = (Float.nan, 0) }
            if !inverse.isFinite { (scale, inverse) = (0, 0) }
            let high = bytes(scratch.q_high) + row * keyDim, low = bytes(scratch.q_low) + row * keyDim
            var sum: Int32 = 0
            for d in 0..<keyDim {
                let code = inverse == 0 ? 0 : roundToInt32(q[d] * inverse), upper = (code + 64) >> 7
                high[d] = UInt8(bitPattern: Int8(upper))
                low[d] = UInt8(bitPattern: Int8(code - upper * 128))
                sum += code
            }
            floats(scratch.q_scale)[row] = scale * factor
            offsets[row] = -128 * sum
            largest[row] = -Float.infinity
            sums[row] = 0
            for d in 0..<valueDim { args.out[row * valueDim + d] = 0 }
        }
    }

    func maskRow(_ row: Int) -> UnsafeRawPointer? {
        guard let mask = args.mask else { return nil }
        let token = row / Int(args.group), head = Int(args.first_head) + row % Int(args.group)
        return UnsafeRawPointer(mask) + token * Int(args.mask_token) + head % Int(args.mask_heads) * Int(args.mask_head)
    }

    /// Which cells of a block each row sees; false if none sees any.
    func look(_ block: Int) -> Bool {
        var there = cache.present[block], any: UInt64 = 0
        let left = Int(args.cells) - block * Int(SX_KV_CELLS)
        if left < Int(SX_KV_CELLS) { there &= (1 << UInt64(left)) - 1 }
        for row in 0..<rows {
            var seen = there
            if let mask = maskRow(row) {
                for cell in 0..<Int(SX_KV_CELLS) where there >> UInt64(cell) & 1 == 1 {
                    let at = 2 * (block * Int(SX_KV_CELLS) + cell)
                    let hidden = mask.loadUnaligned(fromByteOffset: at, as: UInt16.self) == 0xfc00
                    if hidden { seen &= ~(1 << UInt64(cell)) }
                }
            }
            visible[row] = seen
            any |= seen
        }
        return any != 0
    }

    /// Scores of packed codes: integers, times two scales.
    func scorePacked(_ block: Int) {
        let part = partOf(block), side = cache.k, panel = bytes(scratch.panel)
        let scales = UnsafeRawPointer(part + Int(side.scales))
        var codes = UnsafePointer(part + Int(side.codes)), bits = UnsafePointer(part + Int(max(side.bitmap, 0)))
        for first in stride(from: 0, to: Int(SX_KV_CELLS), by: 16) {
            expand(side, &codes, &bits, rows: keyDim / 4, background: 0x80, to: panel)
            for row in 0..<rows {
                let high = bytes(scratch.q_high) + row * keyDim, low = bytes(scratch.q_low) + row * keyDim
                for lane in 0..<16 {
                    var sum = offsets[row]
                    for d in 0..<keyDim {
                        let query = Int32(Int8(bitPattern: high[d])) * 128 + Int32(Int8(bitPattern: low[d]))
                        sum += Int32(panel[d / 4 * 64 + lane * 4 + d % 4]) * query
                    }
                    let cell = first + lane
                    let scale = floatFromBF16(scales.loadUnaligned(fromByteOffset: 2 * cell, as: UInt16.self))
                    floats(scratch.scores)[row * 64 + cell] = Float(sum) * scale * floats(scratch.q_scale)[row]
                }
            }
        }
    }

    /// Rows of 64 codes with their background, from bits and kept codes.
    func expand(_ side: sx_kv_side, _ codes: inout UnsafePointer<UInt8>, _ bits: inout UnsafePointer<UInt8>,
                rows: Int, background: UInt8, to: UnsafeMutablePointer<UInt8>) {
        for i in 0..<rows * 64 {
            if side.bitmap >= 0 && bits[i / 8] >> UInt8(i % 8) & 1 == 0 {
                to[i] = background
                continue
            }
            to[i] = codes[0]
            codes += 1
        }
        bits += rows * 8
    }

    /// Numbers of one cell, of whatever is no packed code.
    func load(_ side: UnsafePointer<sx_kv_side>, _ block: Int, _ cell: Int) -> UnsafeMutablePointer<Float> {
        let row = floats(scratch.row)
        var read = sx_kv_read_args(cache: args.cache, side: side, block: Int64(block), cell: Int64(cell),
                                   head: args.head, out: row)
        sx_reference_kv_read(&read)
        return row
    }

    func scoreRows(_ block: Int, _ side: UnsafePointer<sx_kv_side>) {
        var any: UInt64 = 0
        for row in 0..<rows { any |= visible[row] }
        for cell in 0..<Int(SX_KV_CELLS) where any >> UInt64(cell) & 1 == 1 {
            let k = load(side, block, cell)
            for row in 0..<rows {
                let q = floats(scratch.q) + row * keyDim
                var lanes = SIMD16<Float>()
                for d in 0..<keyDim { lanes[d % 16] = fusedMultiplyAdd(k[d], q[d], lanes[d % 16]) }
                let sum = withUnsafeMutableBytes(of: &lanes) {
                    sumLanes($0.baseAddress!.assumingMemoryBound(to: Float.self))
                }
                floats(scratch.scores)[row * 64 + cell] = sum * factor
            }
        }
    }

    /// Soft cap and mask, then exp(score - largest so far), and what was found before by the same measure.
    func weigh(_ block: Int, _ row: Int) {
        let scores = floats(scratch.scores) + row * 64, seen = visible[row], before = largest[row]
        var most = before
        for cell in 0..<64 where seen >> UInt64(cell) & 1 == 1 {
            if args.softcap > 0 { scores[cell] = args.softcap * hyperbolicTangent(scores[cell]) }
            if let mask = maskRow(row) {
                let bits = mask.loadUnaligned(fromByteOffset: 2 * (block * 64 + cell), as: UInt16.self)
                scores[cell] += floats(scratch.slope)[row] * floatFromF16(bits)
            }
            if scores[cell] > most { most = scores[cell] }
        }
        if most > before {
            let shrink = exponential(most - before)
            largest[row] = most
            sums[row] *= shrink
            for d in 0..<valueDim { args.out[row * valueDim + d] *= shrink }
        }
        var lanes = SIMD16<Float>()
        for cell in 0..<64 {
            let p = seen >> UInt64(cell) & 1 == 1 ? exponential(most - scores[cell]) : 0
            scores[cell] = p
            lanes[cell % 16] += p
        }
        sums[row] += withUnsafeMutableBytes(of: &lanes) {
            sumLanes($0.baseAddress!.assumingMemoryBound(to: Float.self))
        }
    }

    /// The scales of the values go into the probabilities, which become codes of two bytes.
    func codeProbabilities(_ row: Int, _ scales: UnsafeRawPointer) {
        let p = floats(scratch.scores) + row * 64, seen = visible[row]
        var most: Float = 0, broken = false
        for cell in 0..<64 {
            let scale = floatFromBF16(scales.loadUnaligned(fromByteOffset: 2 * cell, as: UInt16.self))
            p[cell] = seen >> UInt64(cell) & 1 == 1 ? p[cell] * scale : 0
            if p[cell].isNaN { broken = true }
            if p[cell] > most { most = p[cell] }
        }
        var scale = most / Float(SX_KV_P_LEVELS), inverse = Float(SX_KV_P_LEVELS) / most
        if !inverse.isFinite { (scale, inverse) = (0, 0) }
        if broken { (scale, inverse) = (Float.nan, 0) }
        floats(scratch.p_scale)[row] = scale
        for cell in 0..<64 {
            let code = inverse == 0 ? 0 : roundToInt32(p[cell] * inverse)
            bytes(scratch.p_high)[row * 64 + cell] = UInt8(truncatingIfNeeded: code >> 8)
            bytes(scratch.p_low)[row * 64 + cell] = UInt8(truncatingIfNeeded: code)
        }
    }

    func addPacked(_ block: Int) {
        let part = partOf(block), side = cache.v, panel = bytes(scratch.panel)
        for row in 0..<rows { codeProbabilities(row, UnsafeRawPointer(part + Int(side.scales))) }
        var codes = UnsafePointer(part + Int(side.codes)), bits = UnsafePointer(part + Int(max(side.bitmap, 0)))
        for first in stride(from: 0, to: valueDim, by: 16) {
            expand(side, &codes, &bits, rows: 16, background: 0, to: panel)
            for row in 0..<rows {
                let high = bytes(scratch.p_high) + row * 64, low = bytes(scratch.p_low) + row * 64
                for lane in 0..<16 {
                    var sum: Int32 = 0
                    for cell in 0..<64 {
                        let code = Int32(Int8(bitPattern: panel[cell / 4 * 64 + lane * 4 + cell % 4]))
                        sum += code * (Int32(high[cell]) * 256 + Int32(low[cell]))
                    }
                    let out = args.out + row * valueDim + first + lane
                    out.pointee = fusedMultiplyAdd(Float(sum), floats(scratch.p_scale)[row], out.pointee)
                }
            }
        }
    }

    /// A cell whose weight is zero adds nothing, whatever it holds.
    func addRows(_ block: Int, _ side: UnsafePointer<sx_kv_side>) {
        var any: UInt64 = 0
        for row in 0..<rows { any |= visible[row] }
        for cell in 0..<64 where any >> UInt64(cell) & 1 == 1 {
            let v = load(side, block, cell)
            for row in 0..<rows {
                let p = floats(scratch.scores)[row * 64 + cell], out = args.out + row * valueDim
                if p == 0 { continue }
                for d in 0..<valueDim { out[d] = fusedMultiplyAdd(p, v[d], out[d]) }
            }
        }
    }
}

@c(sx_reference_kv_attend) @implementation
public func sx_reference_kv_attend(_ pointer: UnsafePointer<sx_kv_attend_args>) {
    let a = Attention(pointer.pointee)
    a.prepare()
    withUnsafePointer(to: a.cache.k) { k in
        withUnsafePointer(to: a.cache.v) { v in
            for block in Int(a.args.block_begin)..<Int(a.args.block_end) where a.look(block) {
                let codes = a.cache.state[block] == UInt8(SX_KV_PACKED) && a.cache.values == Int32(SX_KV_INT8)
                if codes { a.scorePacked(block) } else { a.scoreRows(block, k) }
                for row in 0..<a.rows { a.weigh(block, row) }
                if codes { a.addPacked(block) } else { a.addRows(block, v) }
            }
        }
    }
}

/// Chunks are joined in rising order. One whose cells nobody sees adds nothing.
@c(sx_reference_kv_merge) @implementation
public func sx_reference_kv_merge(_ pointer: UnsafePointer<sx_kv_merge_args>) {
    let args = pointer.pointee, dim = Int(args.v_dim), row = Int(args.row), rows = Int(args.rows)
    let out = args.out
    for d in 0..<dim { out[d] = 0 }
    var most = -Float.infinity, sum: Float = 0
    for chunk in 0..<Int(args.chunks) {
        let part = args.parts + chunk * Int(args.part_stride)
        let partMost = part[rows * dim + row], partSum = part[rows * dim + rows + row]
        if partSum == 0 { continue }
        let next = partMost > most ? partMost : most
        // Sums of NaN scores have no largest one, and stay NaN whatever the factor.
        let old = most == next ? 1 : exponential(next - most), new = partMost == next ? 1 : exponential(next - partMost)
        let values = part + row * dim
        for d in 0..<dim { out[d] = out[d] * old + values[d] * new }
        sum = sum * old + partSum * new
        most = next
    }
    if let sink = args.sink {
        let score = sink.pointee
        if score > most {
            let old = exponential(score - most)
            for d in 0..<dim { out[d] *= old }
            sum = sum * old + 1
        } else {
            sum += exponential(most - score)
        }
    }
    let inverse = sum == 0 ? 0 : 1 / sum
    for d in 0..<dim { out[d] *= inverse }
}
