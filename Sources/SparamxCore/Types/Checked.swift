/// The one place where sizes are multiplied and added. A size that does not fit is a status, never a trap.
package enum Checked {
    /// The largest size or count anything may have: sums of two such numbers still fit.
    package static let limit = 1 << 62

    package static func product(_ a: Int, _ b: Int) throws(Status) -> Int {
        let (value, overflow) = a.multipliedReportingOverflow(by: b)
        if overflow || value < 0 || value > limit { throw .range }
        return value
    }

    package static func sum(_ a: Int, _ b: Int) throws(Status) -> Int {
        let (value, overflow) = a.addingReportingOverflow(b)
        if overflow || value < 0 || value > limit { throw .range }
        return value
    }

    package static func roundUp(_ a: Int, to multiple: Int) throws(Status) -> Int {
        try sum(a, multiple - 1) / multiple * multiple
    }

    /// An unsigned size of the C interface.
    package static func size(_ value: UInt64) throws(Status) -> Int {
        if value > UInt64(limit) { throw .range }
        return Int(value)
    }

    /// That offset...offset+size lies in 0...total.
    package static func checkRange(_ offset: Int, _ size: Int, within total: Int) throws(Status) {
        let end = try sum(offset, size)
        if offset < 0 || size < 0 || end > total { throw .range }
    }
}
