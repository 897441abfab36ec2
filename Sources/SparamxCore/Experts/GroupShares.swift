/// How the panels of all groups are shared out: each thread takes what comes next, as long as that costs no more than
/// every thread may have. The smallest such bound that is enough for all panels is looked for, in a few steps of a
/// microsecond at 128 threads. Boundaries at equal distances on the line of all costs would leave up to a panel (or
/// pair) more to some threads, 10% where each has ten.
struct GroupShares {
    /// So many units (panels, or pairs of them) of a group are before it.
    struct Place {
        var group = 0, units = 0
    }

    private let groups: UnsafePointer<Group>
    private let count, threads: Int
    private var bound: Double

    init(_ groups: UnsafePointer<Group>, count: Int, threads: Int, cost: Int) {
        self.groups = groups
        self.count = count
        self.threads = threads
        let mean = Double(cost) / Double(threads)
        // The last sum of many may be a rounding error above the mean.
        bound = mean * 1.001
        if isEnough { return }
        // Between the mean, which is not enough, and the mean and one unit, which is.
        var low = bound, high = mean + largestUnit
        bound = high
        while !isEnough {
            high += largestUnit
            bound = high
        }
        while high - low > mean * 0.01 {
            bound = (low + high) / 2
            if isEnough { high = bound } else { low = bound }
        }
        bound = high
    }

    private var largestUnit: Double {
        var largest = 0.0
        for i in 0..<count { largest = max(largest, groups[i].unitCost) }
        return largest
    }

    private var isEnough: Bool { boundary(threads).group == count }

    /// Where the share of thread `index` begins.
    func boundary(_ index: Int) -> Place {
        var place = Place()
        for _ in 0..<index where place.group < count { advance(&place) }
        return place
    }

    /// Over what one thread takes.
    private func advance(_ place: inout Place) {
        var room = bound
        while place.group < count {
            let group = groups[place.group], left = group.units - place.units
            // As many as fit, and all that are left where rounding is all that says no.
            let fitting = min(Double(left), room / group.unitCost + 0.001), taken = Int(fitting)
            room -= Double(taken) * group.unitCost
            place.units += taken
            if taken < left { return }
            place = Place(group: place.group + 1, units: 0)
        }
    }
}
