/// A small set of cases in which every value of every factor meets every value of every other factor at least once:
/// the full grid of a kernel has hundreds of thousands of points, and what breaks a kernel is nearly always one edge or
/// two edges at the same time.
func pairwise(_ sizes: [Int], seed: UInt64) -> [[Int]] {
    var random = Random(seed)
    struct Pair: Hashable { let a, i, b, j: Int }
    var open = Set<Pair>()
    var order: [Pair] = []
    for a in sizes.indices {
        for b in sizes.indices where b > a {
            for i in 0..<sizes[a] { for j in 0..<sizes[b] { order.append(Pair(a: a, i: i, b: b, j: j)) } }
        }
    }
    order.shuffle(using: &random)
    open = Set(order)
    func pair(_ a: Int, _ i: Int, _ b: Int, _ j: Int) -> Pair {
        a < b ? Pair(a: a, i: i, b: b, j: j) : Pair(a: b, i: j, b: a, j: i)
    }
    var cases: [[Int]] = []
    for start in order where open.contains(start) {
        var chosen = [Int?](repeating: nil, count: sizes.count)
        chosen[start.a] = start.i
        chosen[start.b] = start.j
        for factor in sizes.indices.shuffled(using: &random) where chosen[factor] == nil {
            // The value that closes most open pairs with what is chosen already.
            var best = 0, most = -1
            let shift = random.below(sizes[factor])
            for step in 0..<sizes[factor] {
                let value = (step + shift) % sizes[factor]
                var closed = 0
                for (other, its) in chosen.enumerated() {
                    if let its, open.contains(pair(factor, value, other, its)) { closed += 1 }
                }
                if closed > most { (best, most) = (value, closed) }
            }
            chosen[factor] = best
        }
        let values = chosen.map { $0! }
        for a in sizes.indices { for b in sizes.indices where b > a { open.remove(pair(a, values[a], b, values[b])) } }
        cases.append(values)
    }
    return cases
}
