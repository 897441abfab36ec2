import CPlatform
public import CSparamx
import SparamxCore

// Attention over packed key-value caches.

private func readAttention(_ pointer: UnsafePointer<sparamx_attention>?) throws(Status) -> AttentionCall {
    let a = try readStruct(pointer)
    _ = try requireLevel()
    guard a.reserved == 0 else { throw .range }
    guard let caches = a.kv else { throw .null }
    guard UInt(bitPattern: caches) % 8 == 0 else { throw .alignment }
    let q = try readTensor(a.q), dst = try readTensor(a.dst)
    let mask = a.mask == nil ? nil : try readTensor(a.mask)
    let sinks = a.sinks == nil ? nil : try readTensor(a.sinks)
    return try AttentionCall(q: q, dst: dst, mask: mask, sinks: sinks, caches: caches, streams: Int(a.streams),
                             cells: a.cells, scale: a.scale, maxBias: a.max_bias, softcap: a.softcap)
}

@c(sparamx_attention_supports) @implementation
public func sparamx_attention_supports(_ attention: UnsafePointer<sparamx_attention>!) -> sparamx_status {
    reportStatus { () throws(Status) in _ = try readAttention(attention) }
}

@c(sparamx_attention_work_size) @implementation
public func sparamx_attention_work_size(_ attention: UnsafePointer<sparamx_attention>!, _ threads: Int32,
                                        _ bytes: UnsafeMutablePointer<Int>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let call = try readAttention(attention), result = try requireOut(bytes)
        result.pointee = try AttentionPlan(call, threads: Int(threads)).workBytes
    }
}

@c(sparamx_attention_compute) @implementation
public func sparamx_attention_compute(_ params: UnsafePointer<sparamx_params>!,
                                      _ attention: UnsafePointer<sparamx_attention>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let call = try readAttention(attention)
        var worker = try readWorker(params)
        let plan = try AttentionPlan(call, threads: worker.threads)
        try call.requireMemory(worker.work, worker.workSize, plan.workBytes)
        worker.begin()
        defer { worker.end() }
        Attention.run(call, plan, worker: worker)
    }
}
