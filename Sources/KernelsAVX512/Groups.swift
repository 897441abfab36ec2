/// Tokens of a tile in groups of 8 (or less), each a compile-time constant for the body.
@inline(__always)
func eachGroup(_ tokens: Int, _ largest: Int, _ body: (_ count: Int, _ first: Int) -> Void) {
    var done = 0
    if largest >= 8 {
        while tokens - done >= 8 { body(8, done); done += 8 }
    }
    while tokens - done >= 4 { body(4, done); done += 4 }
    if tokens - done >= 2 { body(2, done); done += 2 }
    if tokens - done >= 1 { body(1, done) }
}
