import CKernelABI
import CInstructions

// What of the quantized kernels is compiled for each type: one K-block (64 k) of one panel from the packed
// form to levels, scales and minimums, and the scaling of the sums of one that was multiplied before.

@inline(__always)
func expandKBlock<Q: QuantType, F: WeightForm>(_: Q.Type, _: F.Type, _ pointer: UnsafeMutablePointer<sx_expansion>) {
    let q = Q.quant, sparse = F.sparse
    let next = pointer.pointee, args = next.args.pointee
    let panel = Int(next.panel), kblock = Int(next.kblock), inChunk = kblock & 3
    let side = UnsafeRawPointer(args.w.side.unsafelyUnwrapped)
        + (panel * Int(args.w.kblocks) + kblock & ~3) * Int(q.side_bytes)
    let scales32 = Q.quant.part_k == 32
    var scaler = Scaler(minimum: q.minimum != 0, scales32 ? pointer.pointee.waiting : nil)
    sx_prefetch(side + (inChunk * Int(q.side_bytes) + 1024))
    if q.low_bits == 8 && !sparse {
        let tile = denseTile(args, panel, kblock)
        var line = 0
        while line < 1024 {
            sx_prefetch(tile + (prefetchAhead + line))
            line += 64
        }
        scaler.finish()
        pointer.pointee.levels = tile.assumingMemoryBound(to: UInt8.self)
    } else {
        var rows = inChunk == 0 ? QuantRows(QuantStreams(q, sparse: sparse, args, panel, kblock >> 2), next.reader)
            : QuantRows(resuming: next.reader)
        expandBlock(Q.self, F.self, odd: false, inChunk * 2, &rows, side, next.slot) {
            if scales32 { scaler.step() }
        }
        expandBlock(Q.self, F.self, odd: true, inChunk * 2 + 1, &rows, side, next.slot + 512) {
            if scales32 { scaler.step() }
        }
        rows.stop(next.reader)
        pointer.pointee.levels = UnsafePointer(next.slot)
    }
    let parts = 64 / Int(q.part_k)
    var part = 0
    while part < parts {
        let (scale, minimum) = quantScale(q, side, inChunk * parts + part)
        sx_store_ps(next.scales + part * 16, scale)
        sx_store_ps(next.minimums + part * 16, minimum)
        part += 1
    }
    pointer.pointee.kblock = next.kblock + 1
}

/// The bodies that serve a type.
@inline(__always)
func tileRing<Q: QuantType>(_: Q.Type, _ expand: sx_expand_fn, _ args: UnsafePointer<sx_kernel_args>) {
    if Q.quant.part_k == 32 {
        quantRing(args, expand, minimum: Q.quant.minimum != 0)
    } else {
        quantRingWide(args, expand, offset: Float(Q.quant.offset))
    }
}

@inline(__always)
func tileGemm<Q: QuantType>(_: Q.Type, _ expand: sx_expand_fn, _ args: UnsafePointer<sx_kernel_args>) {
    quantGemm(args, expand, partK: Int(Q.quant.part_k), offset: Float(Q.quant.offset))
}
