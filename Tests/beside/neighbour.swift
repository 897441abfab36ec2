// A neighbour in ordinary Swift, with the runtime as shared libraries: classes, closures, strings, dictionaries,
// arrays, existentials, errors. None of it exists in libsparamx, whose Embedded Swift must not be taken for any of it.

protocol Shape { func area() -> Int }
final class Square: Shape {
    let side: Int
    init(_ side: Int) { self.side = side }
    func area() -> Int { side * side }
}
struct Rectangle: Shape {
    let a: Int, b: Int
    func area() -> Int { a * b }
}
enum Trouble: Error { case odd(Int) }

func checked(_ n: Int) throws -> Int {
    if n % 7 == 3 { throw Trouble.odd(n) }
    return n
}

@_cdecl("neighbour_work")
public func work(_ seed: Int) -> Int {
    var words: [String: [Int]] = [:]
    var shapes: [any Shape] = []
    for i in 0..<200 {
        let n = (seed &* 31 &+ i &* 17) & 1023
        words["word \(n % 37)", default: []].append(n)
        shapes.append(n % 2 == 0 ? Square(n) : Rectangle(a: n, b: i))
        if let square = shapes.last as? Square { words["square", default: []].append(square.side) }
    }
    let areas = shapes.map { $0.area() }.sorted().reduce(0, &+)
    let text = words.keys.sorted().map { "\($0)=\(words[$0]!.count)" }.joined(separator: ",")
    let odd = (0..<50).reduce(0) { sum, i in sum + ((try? checked(seed + i)) ?? -1) }
    return areas &+ text.utf8.reduce(0) { $0 &* 33 &+ Int($1) } &+ odd
}
