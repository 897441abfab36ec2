// Uses the edited mock as ik_llama.cpp would: asks, places, uploads, plans, computes. Exit status 0 if all is as it must be.
#include "ggml-backend-impl.h"
#include "ggml-sparamx.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

static int failures = 0;
#define CHECK(x) do { if (!(x)) { std::fprintf(stderr, "line %d: %s\n", __LINE__, #x); ++failures; } } while (0)

static ggml_tensor make(ggml_type type, size_t element, int64_t n0, int64_t n1, const char * name) {
    ggml_tensor t = {};
    t.type = type;
    t.ne[0] = n0; t.ne[1] = n1; t.ne[2] = t.ne[3] = 1;
    t.nb[0] = element; t.nb[1] = element * n0; t.nb[2] = t.nb[3] = t.nb[1] * n1;
    std::strncpy(t.name, name, sizeof(t.name) - 1);
    return t;
}

static float widen(uint16_t h) {
    uint32_t bits = uint32_t(h) << 16;
    float    f;
    std::memcpy(&f, &bits, 4);
    return f;
}

int main(int argc, char ** argv) {
    const bool  expected = argc > 1 && std::strcmp(argv[1], "on") == 0;
    const int   N = 96, K = 160, M = 5;
    ggml_tensor w = make(GGML_TYPE_BF16, 2, K, N, "blk.0.ffn_up.weight");
    CHECK(ggml_sparamx_enabled() == expected);
    ggml_backend_buffer_type_t type = ggml_sparamx_buffer_type_for(&w, w.name);
    CHECK((type != nullptr) == expected);
    if (!expected) {
        CHECK(ggml_sparamx_supports_op(&w) == -1 && !ggml_sparamx_owns(&w));
        return failures != 0;
    }
    for (const char * left : { "token_embd.weight", "blk.1.attn_kv_b.weight", "blk.1.ffn_gate_inp.weight", "blk.1.ffn_up_exps.weight",
                               "blk.1.attn_norm.weight", "blk.1.attn_q.bias" }) {
        CHECK(ggml_sparamx_buffer_type_for(&w, left) == nullptr);
    }
    CHECK(ggml_sparamx_is_buffer_type(type) && !ggml_backend_buft_is_host(type) && mock_supports_buft(type));

    // Weights: two of ours and one of the host's, which share their activations.
    std::mt19937          random(1);
    std::vector<uint16_t> codes(N * K), back(N * K);
    for (auto & c : codes) c = random() % 2 ? 0 : uint16_t(0x3c00 + random() % 0x400);
    const size_t          slot = type->iface.get_alloc_size(type, &w);
    ggml_backend_buffer_t buffer = type->iface.alloc_buffer(type, 2 * slot);
    buffer->usage = GGML_BACKEND_BUFFER_USAGE_WEIGHTS;
    CHECK(std::strcmp(buffer->iface.get_name(buffer), "SPARAMX") == 0);
    ggml_tensor w2 = w;
    int         i = 0;
    for (ggml_tensor * t : { &w, &w2 }) {
        t->buffer = buffer;
        t->data = static_cast<char *>(buffer->iface.get_base(buffer)) + slot * i++;
        buffer->iface.init_tensor(buffer, t);
        buffer->iface.set_tensor(buffer, t, codes.data(), 0, codes.size() * 2);
    }
    buffer->iface.get_tensor(buffer, &w2, back.data(), 0, back.size() * 2);
    CHECK(back == codes);

    std::vector<float> plain(N * K), x(M * K), y(M * N), y2(M * N), y3(M * N);
    for (int j = 0; j < N * K; ++j) plain[j] = widen(codes[j]);
    for (auto & v : x) v = widen(uint16_t(0x3f80 + random() % 64)); // exact in bf16
    ggml_tensor host = make(GGML_TYPE_F32, 4, K, N, "host"), xs = make(GGML_TYPE_F32, 4, K, M, "x");
    host.data = plain.data();
    xs.data = x.data();
    ggml_tensor nodes[3];
    float *     results[3] = { y3.data(), y.data(), y2.data() };
    ggml_tensor * weights[3] = { &host, &w, &w2 };
    ggml_tensor * list[3];
    for (int j = 0; j < 3; ++j) {
        nodes[j] = make(GGML_TYPE_F32, 4, N, M, "y");
        nodes[j].op = GGML_OP_MUL_MAT;
        nodes[j].src[0] = weights[j];
        nodes[j].src[1] = &xs;
        nodes[j].data = results[j];
        list[j] = &nodes[j];
    }
    CHECK(ggml_sparamx_owns(&nodes[1]) && !ggml_sparamx_owns(&nodes[0]));
    CHECK(mock_supports_op(&nodes[1]) && mock_supports_op(&nodes[0]));
    ggml_tensor rows = nodes[1];
    rows.op = GGML_OP_GET_ROWS;
    CHECK(!mock_supports_op(&rows));
    ggml_cgraph graph = { 3, list };
    for (int threads : { 1, 2, 3 }) {
        std::fill(y.begin(), y.end(), -1.f);
        std::fill(y2.begin(), y2.end(), -1.f);
        ggml_graph_compute(&graph, ggml_graph_plan(&graph, threads));
        for (int j = 0; j < M * N; ++j) {
            CHECK(std::fabs(y[j] - y3[j]) <= 1e-4f * std::fabs(y3[j]));
            CHECK(y2[j] == y[j]);
        }
    }
    CHECK(mock_own_kernel_calls == 3);
    nodes[1].ne[1] = xs.ne[1] = 0; // no tokens
    graph.n_nodes = 2;
    ggml_graph_compute(&graph, ggml_graph_plan(&graph, 2));
    buffer->iface.free_buffer(buffer);
    delete buffer;
    return failures != 0;
}
