import CKernelABI
import CPlatform

// What changes cells of a cache, and what reads them. Arguments have been checked.

extension KVCache {
    package static let cellsOfBlock = Int(SX_KV_CELLS)

    private var sides: (UnsafePointer<sx_kv_side>, UnsafePointer<sx_kv_side>) { (kSide, vSide) }

    /// Both sides of every head.
    private func forEachPart(_ body: (UnsafePointer<sx_kv_side>, _ head: Int) -> Void) {
        for head in 0..<options.heads {
            body(kSide, head)
            body(vSide, head)
        }
    }

    private func readPart(_ side: UnsafePointer<sx_kv_side>, _ cell: Int, _ head: Int,
                          _ out: UnsafeMutablePointer<Float>) {
        var args = sx_kv_read_args(cache: cache, side: side, block: Int64(cell / 64), cell: Int64(cell % 64),
                                   head: Int64(head), out: out)
        sx_reference_kv_read(&args)
    }

    private func writePart(_ side: UnsafePointer<sx_kv_side>, _ cell: Int, _ head: Int) {
        var args = sx_kv_read_args(cache: cache, side: side, block: Int64(cell / 64), cell: Int64(cell % 64),
                                   head: Int64(head), out: numbers)
        sx_reference_kv_write(&args)
    }

    /// Rows of a packed block, as attention sees them. In a block that is attached the host's rows are there already.
    private func open(_ block: Int) {
        guard isPacked(block) else { return }
        if !attached {
            for cell in block * 64..<block * 64 + 64 where isPresent(cell) {
                forEachPart { side, head in
                    readPart(side, cell, head, numbers)
                    writePart(side, cell, head)
                }
            }
        }
        cache.pointee.state[block] = UInt8(SX_KV_OPEN)
    }

    /// Rows of one cell, in the types of the rows.
    package func write(_ cell: Int, k: UnsafeRawPointer, v: UnsafeRawPointer) {
        let block = cell / 64
        open(block)
        let c = cache.pointee
        let kRow = c.k.rows + block * Int(c.k.block_stride) + cell % 64 * Int(c.k.cell_stride)
        let vRow = c.v.rows + block * Int(c.v.block_stride) + cell % 64 * Int(c.v.cell_stride)
        UnsafeMutableRawPointer(kRow).copyMemory(from: k, byteCount: options.k.headBytes * options.heads)
        UnsafeMutableRawPointer(vRow).copyMemory(from: v, byteCount: options.v.headBytes * options.heads)
        cache.pointee.present[block] |= 1 << UInt64(cell % 64)
    }

    /// The host has written these cells of its rows.
    package func touch(_ first: Int, _ end: Int) {
        forEachBlock(first, end) { block, bits in
            cache.pointee.present[block] |= bits
            cache.pointee.state[block] = UInt8(SX_KV_OPEN)
        }
    }

    package func remove(_ first: Int, _ end: Int) {
        forEachBlock(first, end) { block, bits in
            let before = present(block)
            cache.pointee.present[block] = before & ~bits
            guard before != 0, before & ~bits == 0 else { return }
            if !isPacked(block) { giveBackRows(block) }
            cache.pointee.state[block] = UInt8(SX_KV_OPEN)
        }
    }

    private func forEachBlock(_ first: Int, _ end: Int, _ body: (Int, UInt64) -> Void) {
        if first == end { return }
        for block in first / 64...(end - 1) / 64 { body(block, KVCache.bits(block, first, end)) }
    }

    /// What attention sees, [cell][head][dim].
    package func read(_ first: Int, _ end: Int, _ side: UnsafePointer<sx_kv_side>, _ out: UnsafeMutablePointer<Float>) {
        let dim = Int(side.pointee.dim)
        for cell in first..<end {
            for head in 0..<options.heads {
                readPart(side, cell, head, out + ((cell - first) * options.heads + head) * dim)
            }
        }
    }

    /// Whether all of these cells are there.
    package func areThere(_ first: Int, _ end: Int) -> Bool {
        var block = first / 64
        while block * 64 < end {
            let bits = KVCache.bits(block, first, end)
            if present(block) & bits != bits { return false }
            block += 1
        }
        return true
    }

    /// Cells from..<from+n of src, which may be this cache, to to..<to+n.
    package func copy(to: Int, from src: KVCache, _ from: Int, _ n: Int) {
        if n == 0 || src.cache == cache && to == from { return }
        // Where ranges overlap, from the end that is not overwritten before it is read.
        let down = src.cache == cache && to > from
        var done = 0
        while done < n {
            let left = n - done, at = down ? left : done  // what comes next ends, or begins, here
            let edge = (from + at) % 64 == 0 && (to + at) % 64 == 0 && left >= 64
            let first = down ? at - 64 : at
            if edge && src.isPacked((from + first) / 64) {
                copyBlock(from: src, (from + first) / 64, to: (to + first) / 64)
                done += 64
                continue
            }
            let cell = down ? at - 1 : at
            copyCell(from: src, from + cell, to: to + cell)
            done += 1
        }
    }

    private func copyBlock(from src: KVCache, _ from: Int, to: Int) {
        let bytes = Int(cache.pointee.block_bytes)
        if !isPacked(to) && present(to) != 0 { giveBackRows(to) }
        UnsafeMutableRawPointer(cache.pointee.packed + to * bytes).copyMemory(
            from: src.cache.pointee.packed + from * bytes, byteCount: bytes)
        cache.pointee.present[to] = src.present(from)
        cache.pointee.state[to] = UInt8(SX_KV_PACKED)
    }

    private func copyCell(from src: KVCache, _ from: Int, to: Int) {
        guard src.isPresent(from) else { return remove(to, to + 1) }
        open(to / 64)
        if src.isPacked(from / 64) {
            forEachPart { side, head in
                src.readPart(side == kSide ? src.kSide : src.vSide, from, head, numbers)
                writePart(side, to, head)
            }
            cache.pointee.present[to / 64] |= 1 << UInt64(to % 64)
        } else {
            let c = src.cache.pointee, block = from / 64
            write(to, k: c.k.rows + block * Int(c.k.block_stride) + from % 64 * Int(c.k.cell_stride),
                  v: c.v.rows + block * Int(c.v.block_stride) + from % 64 * Int(c.v.cell_stride))
        }
    }

    /// Queries of some tokens: their squares join the running mean of each channel.
    package mutating func observe(_ q: Tensor) {
        guard let data = q.data else { return }
        let heads = options.heads, dim = options.k.dim, group = q.ne.2 / heads
        for stream in 0..<q.ne.3 {
            for token in 0..<q.ne.1 {
                observed = observed == UInt64.max ? observed : observed + 1
                let share = 1 / Float(min(observed, 4096))
                for head in 0..<heads {
                    for d in 0..<dim {
                        var sum: Float = 0
                        for member in 0..<group {
                            let at = token * q.nb.1 + (head * group + member) * q.nb.2 + stream * q.nb.3 + 4 * d
                            let value = data.load(fromByteOffset: at, as: Float.self)
                            sum += value * value
                        }
                        // What is no number, or too large, is passed over.
                        let channel = head * dim + d, mean = meanSquares[channel]
                        let next = mean + (sum / Float(group) - mean) * share
                        if next.isFinite { meanSquares[channel] = next }
                    }
                }
            }
        }
        rootMeans()
    }

    func rootMeans() {
        for channel in 0..<options.heads * options.k.dim { weights[channel] = sx_square_root(meanSquares[channel]) }
    }

    /// Blocks that are there, not packed, and neither new nor among the first.
    package func isFinished(_ block: Int, newest: Int) -> Bool {
        guard !isPacked(block), present(block) == ~0, block * 64 >= options.sinks else { return false }
        if newest < 0 || options.window == 0 { return true }
        return block * 64 > newest || block * 64 + 63 <= newest - options.window
    }

    /// One head of a block.
    package func pack(_ block: Int, _ head: Int) {
        let keys = observed > 0 ? UnsafePointer(weights + head * options.k.dim) : nil
        var args = sx_kv_pack_args(cache: cache, side: kSide, weights: keys, block: Int64(block), head: Int64(head))
        sx_reference_kv_pack(&args)
        args.side = vSide
        args.weights = nil
        sx_reference_kv_pack(&args)
    }

    /// All heads of the block are packed.
    package func finish(_ block: Int) {
        cache.pointee.state[block] = UInt8(SX_KV_PACKED)
        giveBackRows(block)
    }

    package func verify() throws(Status) {
        for block in 0..<options.blocks where isPacked(block) && !isWhole(block) { throw .damaged }
    }

    /// That a packed block is what packing can have written.
    func isWhole(_ block: Int) -> Bool {
        for head in 0..<options.heads {
            var args = sx_kv_pack_args(cache: cache, side: kSide, weights: nil, block: Int64(block), head: Int64(head))
            if sx_reference_kv_verify(&args) != 1 { return false }
            args.side = vSide
            if sx_reference_kv_verify(&args) != 1 { return false }
        }
        return true
    }
}

/// One of the host's threads packs its share; behind the barrier the first one makes the blocks packed ones.
package enum KVPacking {
    package static func run(_ handle: KVCache.Handle, newest: Int, worker: Worker) {
        let kv = handle.pointee
        var item = 0, any = false
        for block in 0..<kv.options.blocks where kv.isFinished(block, newest: newest) {
            any = true
            for head in 0..<kv.options.heads {
                if item % worker.threads == worker.index { kv.pack(block, head) }
                item += 1
            }
        }
        guard any else { return }
        worker.wait()
        guard worker.index == 0 else { return }
        for block in 0..<kv.options.blocks where kv.isFinished(block, newest: newest) { kv.finish(block) }
    }
}
