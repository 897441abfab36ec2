public import CSparamx
import SparamxCore

// Tensor traits: what is supported, how much memory it needs, and the product itself.

private func readKind(_ number: Int32) throws(Status) -> OpKind {
    switch UInt32(bitPattern: number) {
    case UInt32(SPARAMX_OP_MUL_MAT): return .multiply
    case UInt32(SPARAMX_OP_MUL_MAT_ID): return .multiplyExperts
    case UInt32(SPARAMX_OP_UP_GATE): return .upGate
    case UInt32(SPARAMX_OP_MOE_UP_GATE): return .upGateExperts
    default: throw .op
    }
}

private func readOperand(_ pointer: UnsafePointer<sparamx_tensor>?, _ kind: OpKind) throws(Status) -> Operand {
    try Operand(try readTensor(pointer), buffer: try readStruct(pointer).buffer, kind: kind)
}

@c(sparamx_supports_weight) @implementation
public func sparamx_supports_weight(_ pointer: UnsafePointer<sparamx_tensor>!, _ number: Int32) -> sparamx_status {
    reportStatus { () throws(Status) in
        _ = try requireLevel()
        let tensor = try readTensor(pointer)
        _ = try Operand(tensor, buffer: nil, kind: try readKind(number))
    }
}

/// An op that has been checked.
private enum Operation {
    case plain(Multiplication)
    case experts(ExpertOp)

    init(_ pointer: UnsafePointer<sparamx_op>?) throws(Status) {
        let op = try readStruct(pointer)
        let kind = try readKind(op.kind), weight = try readOperand(op.weight, kind)
        if kind == .multiply {
            self = .plain(try Multiplication(weight, x: try readTensor(op.x), y: try readTensor(op.dst)))
            return
        }
        var second: Operand? = nil, gate = Gate(function: .silu, limit: 0)
        if kind != .multiplyExperts {
            second = try readOperand(op.weight2, kind)
            guard let function = GateFunction(rawValue: op.activation) else { throw .op }
            guard op.limit >= 0 else { throw .range }  // nor NaN
            gate = Gate(function: function, limit: op.limit)
        }
        let x = try readTensor(op.x), y = try readTensor(op.dst)
        let ids = kind == .upGate ? nil : try readTensor(op.ids)
        self = .experts(try ExpertOp(weight, second, x: x, y: y, ids: ids, gate: gate))
    }

    func workBytes(threads: Int, isa: ISA) throws(Status) -> Int {
        switch self {
        case .plain(let product): return try product.workBytes(threads: threads, isa: isa)
        case .experts(let product): return try product.workBytes(threads: threads, isa: isa)
        }
    }

    func compute(_ worker: inout Worker, isa: ISA) throws(Status) {
        switch self {
        case .plain(let product): try product.compute(&worker, isa: isa)
        case .experts(let product): try product.compute(&worker, isa: isa)
        }
    }
}

@c(sparamx_supports_op) @implementation
public func sparamx_supports_op(_ pointer: UnsafePointer<sparamx_op>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let isa = try requireLevel()
        _ = try Operation(pointer).workBytes(threads: 1, isa: isa)
    }
}

@c(sparamx_work_size) @implementation
public func sparamx_work_size(_ pointer: UnsafePointer<sparamx_op>!, _ threads: Int32,
                              _ bytes: UnsafeMutablePointer<Int>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        let result = try requireOut(bytes), isa = try requireLevel()
        result.pointee = try Operation(pointer).workBytes(threads: Int(threads), isa: isa)
    }
}

@c(sparamx_compute) @implementation
public func sparamx_compute(_ params: UnsafePointer<sparamx_params>!,
                            _ pointer: UnsafePointer<sparamx_op>!) -> sparamx_status {
    reportStatus { () throws(Status) in
        var worker = try readWorker(params)
        let isa = try requireLevel()
        try Operation(pointer).compute(&worker, isa: isa)
    }
}
