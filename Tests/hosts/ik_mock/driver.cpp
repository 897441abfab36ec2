// Uses the edited mock as ik_llama.cpp would: asks, places, uploads, plans, computes. Exit status 0 if all is as it
// must be.
#include "ggml-backend-impl.h"
#include "ggml-sparamx.h"
#include "llama-model-loader.h"

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

// Experts, and up and gate in one op: the fused result from the products it is made of, which are compared with the
// host's.
static void check_fused(ggml_backend_buffer_type_t type) {
    const int             N = 48, K = 64, E = 8, U = 2, T = 3;
    std::mt19937          random(2);
    std::vector<uint16_t> codes[2];
    ggml_tensor           w[2];
    const char *          names[2] = { "blk.0.ffn_up_exps.weight", "blk.0.ffn_gate_exps.weight" };
    w[0] = make(GGML_TYPE_BF16, 2, K, N, names[0]);
    w[0].ne[2] = E;
    w[0].nb[3] = E * w[0].nb[2];
    CHECK(ggml_sparamx_buffer_type_for(&w[0], names[0]) == type);
    const size_t          slot = type->iface.get_alloc_size(type, &w[0]);
    ggml_backend_buffer_t buffer = type->iface.alloc_buffer(type, 2 * slot);
    buffer->usage = GGML_BACKEND_BUFFER_USAGE_WEIGHTS;
    for (int i = 0; i < 2; ++i) {
        w[i] = w[0];
        codes[i].resize(N * K * E);
        for (auto & c : codes[i]) c = random() % 2 ? 0 : uint16_t(0x3c00 + random() % 0x400 + (random() % 2 << 15));
        w[i].buffer = buffer;
        w[i].data = static_cast<char *>(buffer->iface.get_base(buffer)) + slot * i;
        buffer->iface.init_tensor(buffer, &w[i]);
        buffer->iface.set_tensor(buffer, &w[i], codes[i].data(), 0, codes[i].size() * 2);
    }
    std::vector<float>   x(K * T), y(N * U * T), parts[2];
    std::vector<int32_t> experts(U * T);
    for (auto & v : x) v = widen(uint16_t(0x3f80 + random() % 64));
    for (auto & e : experts) e = int32_t(random() % E);
    ggml_tensor xs = make(GGML_TYPE_F32, 4, K, 1, "x"), ids = make(GGML_TYPE_I32, 4, U, T, "ids");
    xs.ne[2] = T;
    xs.nb[3] = T * xs.nb[2];
    xs.data = x.data();
    ids.data = experts.data();
    ggml_tensor node = make(GGML_TYPE_F32, 4, N, U, "y");
    node.ne[2] = T;
    node.nb[3] = T * node.nb[2];
    node.data = y.data();
    ggml_tensor * list[1] = { &node };
    ggml_cgraph   graph = { 1, list };
    node.op = GGML_OP_MUL_MAT_ID;
    node.src[1] = &xs;
    node.src[2] = &ids;
    for (int i = 0; i < 2; ++i) {
        node.src[0] = &w[i];
        CHECK(mock_supports_op(&node));
        ggml_graph_compute(&graph, ggml_graph_plan(&graph, 2));
        for (int r = 0; r < U * T; ++r) {
            for (int n = 0; n < N; ++n) {
                double sum = 0, size = 0;
                for (int k = 0; k < K; ++k) {
                    const double term = double(widen(codes[i][(experts[r] * N + n) * K + k])) * x[r / U * K + k];
                    sum += term;
                    size += std::fabs(term);
                }
                CHECK(std::fabs(y[r * N + n] - sum) <= 1e-5 * size);
            }
        }
        parts[i] = y;
    }
    node.src[0] = &w[0];
    node.src[1] = &w[1];
    node.src[2] = &xs;
    node.src[3] = &ids;
    node.op = GGML_OP_MOE_FUSED_UP_GATE;
    for (float limit : { 0.f, 1.f }) {
        node.op_params[0] = GGML_UNARY_OP_SILU;
        std::memcpy(&node.op_params[1], &limit, 4);
        CHECK(ggml_sparamx_owns(&node) && mock_supports_op(&node));
        ggml_graph_compute(&graph, ggml_graph_plan(&graph, 3));
        for (size_t i = 0; i < y.size(); ++i) {
            double gate = parts[1][i] / (1 + std::exp(-double(parts[1][i]))), up = parts[0][i];
            if (limit > 0) {
                gate = std::fmin(gate, limit);
                up = std::fmax(std::fmin(up, limit), -limit);
            }
            CHECK(std::fabs(y[i] - gate * up) <= 1e-5 * std::fabs(gate * up));
        }
    }
    // What is not served must not be taken for served.
    node.op_params[0] = GGML_UNARY_OP_RELU;
    CHECK(!mock_supports_op(&node) && !ggml_sparamx_owns(&node));
    node.op_params[0] = GGML_UNARY_OP_GELU;
    CHECK(mock_supports_op(&node));
    node.src[4] = &xs; // biases
    CHECK(!mock_supports_op(&node));
    node.src[4] = nullptr;
    // The gate left to the host: the library reads it where it is.
    std::vector<float> both = y;
    node.op_params[0] = GGML_UNARY_OP_SILU;
    ggml_tensor host_gate = w[1];
    host_gate.buffer = nullptr;
    host_gate.data = codes[1].data();
    for (int side = 0; side < 2; ++side) {
        node.src[side] = &host_gate;
        node.src[1 - side] = &w[0];
        CHECK(ggml_sparamx_owns(&node) && mock_supports_op(&node));
        ggml_graph_compute(&graph, ggml_graph_plan(&graph, 2));
        CHECK((y == both) == (side == 1));
    }
    buffer->iface.free_buffer(buffer);
    delete buffer;
}

// The loader: what goes into our buffer, what else would have been allocated there, and what may not be merged or
// skipped.
static void check_loader(ggml_backend_buffer_type_t type) {
    llama_model_loader loader;
    const char * const ours[] = { "blk.0.attn_q.weight", "output.weight", "blk.0.ffn_down_exps.weight" };
    const char * const left[] = { "token_embd.weight",         "blk.1.attn_kv_b.weight",
                                  "blk.1.ffn_gate_inp.weight", "blk.1.attn_norm.weight",
                                  "blk.1.attn_q.bias",         "blk.1.ffn_gate_up_exps.weight",
                                  "blk.1.attn_rel_b.weight",   "blk.1.nextn.embed_tokens.weight",
                                  "markov_w1.weight",          "blk.1.attn_o_conv.weight",
                                  "blk.1.attn_output_a.weight", "blk.1.attn_compressor_ape.weight" };
    for (const char * name : ours) loader.tensors[name] = make(GGML_TYPE_BF16, 2, 64, 96, name);
    for (const char * name : left) loader.tensors[name] = make(GGML_TYPE_BF16, 2, 64, 96, name);
    const int own_types[] = { 133, 144, 230, 208 }; // Q6_0, IQ4_KS, BF16_R16, Q8_0_R8: numbers of this host alone
    for (int number : own_types) {
        loader.tensors["own" + std::to_string(number) + ".weight"] = make(ggml_type(number), 2, 64, 96, "own.weight");
    }
    llama_model           model = {};
    create_tensors_helper helper(loader, model);
    CHECK(loader.merge_qkv == !type && loader.merge_up_gate_exps == !type);
    ggml_context * const cpu = helper.ctx_for_buft(ggml_backend_cpu_buffer_type());
    ggml_context * const gpu = reinterpret_cast<ggml_context *>(&helper);
    const auto place = [&](const std::string & name, ggml_context * planned) {
        ggml_context * actual = nullptr;
        helper.create_tensor(planned, name, {}, 0, &actual);
        return actual;
    };
    for (const auto & entry : loader.tensors) {
        bool taken = false;
        for (const char * name : ours) taken = taken || (type && entry.first == name);
        CHECK(place(entry.first, cpu) == (taken ? reinterpret_cast<ggml_context *>(type) : cpu));
        CHECK(place(entry.first, gpu) == gpu);
    }
    CHECK(place("missing.weight", cpu) == cpu);
    CHECK(mock_context({ 3 }).min_experts == (type ? -1 : 3));

    ggml_backend_buffer buffer = {};
    ggml_tensor         output = make(GGML_TYPE_BF16, 2, 64, 96, "output.weight");
    model.output = &output;
    output.buffer = &buffer;
    for (ggml_backend_buffer_type_t where : { ggml_backend_cpu_buffer_type(), type }) {
        if (!where) continue;
        buffer.buft = where;
        CHECK(mock_requantize(model, GGML_TYPE_Q8_0) == (where != type));
        CHECK(mock_lora_context(where) == cpu);
        CHECK(mock_load(&output, "", false, nullptr) == (where == type));
        CHECK(!mock_load(&output, "", false, "locked") && !mock_load(&output, "", true, nullptr));
    }
}

int main(int argc, char ** argv) {
    const bool  expected = argc > 1 && std::strcmp(argv[1], "off") != 0;
    const int   N = 96, K = 160, M = 5;
    ggml_tensor w = make(GGML_TYPE_BF16, 2, K, N, "blk.0.ffn_up.weight");
    CHECK(ggml_sparamx_enabled() == expected);
    ggml_backend_buffer_type_t type = ggml_sparamx_buffer_type_for(&w, w.name);
    CHECK((type != nullptr) == expected);
    check_loader(type);
    if (!expected) {
        CHECK(ggml_sparamx_supports_op(&w) == -1 && !ggml_sparamx_owns(&w) && ggml_sparamx_work_size(&w, 1, 7) == 7);
        return failures != 0;
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
    CHECK(!mock_supports_op(&rows) && mock_sched_backend(&rows) == -1);
    CHECK(mock_sched_backend(&nodes[1]) == 1); // not copied to a GPU
    if (std::strcmp(argv[1], "reads") == 0) {
        list[1] = &rows;
        ggml_cgraph fatal = { 2, list };
        ggml_graph_plan(&fatal, 1);
        return failures != 0; // not reached
    }
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
    check_fused(type);
    nodes[1].ne[1] = xs.ne[1] = 0; // no tokens
    graph.n_nodes = 2;
    ggml_graph_compute(&graph, ggml_graph_plan(&graph, 2));
    buffer->iface.free_buffer(buffer);
    delete buffer;
    return failures != 0;
}
