import CPlatform
public import CSparamx
import SparamxCore

// Whole layers, for hosts that have a parallel loop instead of threads that wait for each other.

/// What of a call is needed to plan it.
private func makePlan(_ handle: Linear.Handle, _ call: sparamx_linear_call) throws(Status) -> LayerPlan {
    guard call.m >= 1, call.m <= Int64(Int32.max), call.tasks >= 1, call.tasks <= 1024, call.reserved == 0 else {
        throw .range
    }
    let linear = handle.pointee
    let bias = call.bias == nil ? nil : try readElementType(call.bias_type)
    return try LayerPlan(linear.tensor.layout, m: Int(call.m), shares: Int(call.tasks), isa: linear.isa,
                         forced: linear.forced, x: try readElementType(call.x_type),
                         y: try readElementType(call.y_type), bias: bias)
}

private func readElementType(_ number: Int32) throws(Status) -> ElementType {
    guard let type = ElementType(rawValue: number) else { throw .type }
    return type
}

/// The same checks for a call without tokens.
private func requireKnown(_ call: sparamx_linear_call) throws(Status) {
    guard call.tasks >= 1, call.tasks <= 1024, call.reserved == 0 else { throw .range }
    _ = try readElementType(call.x_type)
    _ = try readElementType(call.y_type)
    if call.bias != nil { _ = try readElementType(call.bias_type) }
}

@c(sparamx_linear_call_work_size) @implementation
public func sparamx_linear_call_work_size(_ pointer: OpaquePointer!, _ call: UnsafePointer<sparamx_linear_call>!,
                                          _ bytes: UnsafeMutablePointer<Int>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireLinear(pointer), call = try readStruct(call), result = try requireOut(bytes)
        if call.m == 0 {
            try requireKnown(call)
            result.pointee = 0
            return
        }
        result.pointee = try makePlan(handle, call).workBytes
    }
}

@c(sparamx_linear_apply) @implementation
public func sparamx_linear_apply(_ pointer: OpaquePointer!,
                                 _ call: UnsafePointer<sparamx_linear_call>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let handle = try requireLinear(pointer), call = try readStruct(call)
        if call.m == 0 { return try requireKnown(call) }
        let plan = try makePlan(handle, call), tensor = handle.pointee.tensor
        let n = tensor.layout.n, k = tensor.layout.k, most = Int64(Checked.limit)
        guard let x = call.x, let y = call.y else { throw .null }
        guard call.ldx >= Int64(k), call.ldy >= Int64(n), call.ldx <= most, call.ldy <= most else { throw .stride }
        guard call.work_size >= 0 else { throw .range }  // Swift has no larger size
        let from = try Elements(try readElementType(call.x_type), UnsafeMutableRawPointer(mutating: x),
                                ld: Int(call.ldx), rows: Int(call.m), columns: k)
        let to = try Elements(try readElementType(call.y_type), y, ld: Int(call.ldy), rows: Int(call.m), columns: n)
        var bias: Elements? = nil
        if let data = call.bias {
            bias = try Elements(try readElementType(call.bias_type), UnsafeMutableRawPointer(mutating: data), ld: n,
                                rows: 1, columns: n)
        }
        let layer = try LayerCall(plan, tensor, isa: handle.pointee.isa, x: from, y: to, bias: bias, work: call.work,
                                  workSize: call.work_size)
        if layer.prepares { try run(layer, .prepare, call) }
        try run(layer, .multiply, call)
    }
}

/// One step of a layer while the host's loop runs it.
private struct Running {
    let layer: LayerCall
    let step: LayerCall.Step
    let tasks: Int32
    var done = sx_marks()
}

private func run(_ layer: LayerCall, _ step: LayerCall.Step, _ call: sparamx_linear_call) throws(Status) {
    var running = Running(layer: layer, step: step, tasks: call.tasks)
    let complete = withUnsafeMutablePointer(to: &running) { running in
        if call.tasks > 1, let parallel = call.parallel {
            parallel(runTask, running, call.tasks, call.user)
        } else {
            for index in 0..<call.tasks { runTask(index, running) }
        }
        return sx_marked_all(&running.pointee.done, call.tasks)
    }
    if !complete { throw .state }
}

/// What the host's loop calls; a number that is no task's does nothing.
private let runTask: @convention(c) (Int32, UnsafeMutableRawPointer?) -> Void = { index, data in
    guard let data else { return }
    let running = data.assumingMemoryBound(to: Running.self)
    guard index >= 0, index < running.pointee.tasks else { return }
    let mode = sx_float_standard()
    running.pointee.layer.run(running.pointee.step, share: Int(index))
    sx_float_restore(mode)
    sx_mark(&running.pointee.done, index)
}
