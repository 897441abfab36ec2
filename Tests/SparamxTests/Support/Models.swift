/// The products of one token's way through a language model.
struct Model {
    struct Matrix {
        let name: String, n: Int, k: Int
        var times = 1            // in one layer
        var experts = (of: 1, used: 1)
    }

    let name: String
    let layers: Int
    let layer: [Matrix]
    let output: Matrix

    /// hidden: width between layers; queries, keys: rows of those matrices; inner: rows of gate and up.
    private init(_ name: String, layers: Int, hidden: Int, queries: Int, keys: Int, inner: Int, words: Int,
                 experts: (of: Int, used: Int) = (1, 1)) {
        self.name = name
        self.layers = layers
        layer = [Matrix(name: "q", n: queries, k: hidden), Matrix(name: "k, v", n: keys, k: hidden, times: 2),
                 Matrix(name: "o", n: hidden, k: queries),
                 Matrix(name: "gate, up", n: inner, k: hidden, times: 2, experts: experts),
                 Matrix(name: "down", n: hidden, k: inner, experts: experts)]
        output = Matrix(name: "output", n: words, k: hidden)
    }

    var matrices: [Matrix] { layer + [output] }

    static let all = [
        Model("Llama 3.2 1B", layers: 16, hidden: 2048, queries: 2048, keys: 512, inner: 8192, words: 128_256),
        Model("Llama 3.1 8B", layers: 32, hidden: 4096, queries: 4096, keys: 1024, inner: 14336, words: 128_256),
        Model("Llama 3.1 70B", layers: 80, hidden: 8192, queries: 8192, keys: 1024, inner: 28672, words: 128_256),
        Model("Mixtral 8x7B", layers: 32, hidden: 4096, queries: 4096, keys: 1024, inner: 14336, words: 32000,
              experts: (8, 2)),
        Model("Qwen3 30B-A3B", layers: 48, hidden: 2048, queries: 4096, keys: 512, inner: 768, words: 151_936,
              experts: (128, 8)),
    ]
}
