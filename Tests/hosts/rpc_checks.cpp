// The device for RPC servers (SPARAMX_MODE=rpc), through ggml's interface: weights that are read, written, copied and
// looked up in every other way than by a product have the bytes that plain memory would have.
//
//   rpc_checks here                     the plugin's device in this process; PLUGIN names the plugin
//   rpc_checks there BACKEND ADDRESS    the device of an rpc-server, through the host's RPC backend
//
// Each scenario is run on the device and on the host's CPU, and the results are compared.

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#define CHECK(x) do { if (!(x)) { std::fprintf(stderr, "line %d: %s\n", __LINE__, #x); std::exit(1); } } while (0)

namespace {

using bytes = std::vector<char>;

struct results {
    std::vector<bytes>              exact; // what was read back
    std::vector<std::vector<float>> close; // what was computed
};

struct scene {
    static constexpr int64_t K = 256, N = 96, TOKENS = 5, EXPERTS = 4, USED = 2;

    ggml_backend_t        backend;
    ggml_context *        ctx;
    ggml_tensor *         w, * other, * experts, * kept, * x, * x_experts, * ids, * rows;
    ggml_backend_buffer_t buffer;
    results               out;

    scene(ggml_backend_t backend, ggml_type type) : backend(backend) {
        ctx = ggml_init({ ggml_tensor_overhead() * 200 + 32 * ggml_graph_overhead(), nullptr, true });
        w = ggml_set_name(ggml_new_tensor_2d(ctx, type, K, N), "blk.0.ffn_up.weight");
        other = ggml_set_name(ggml_new_tensor_2d(ctx, type, K, N), "blk.0.ffn_gate.weight");
        experts = ggml_set_name(ggml_new_tensor_3d(ctx, type, K, N, EXPERTS), "blk.0.ffn_up_exps.weight");
        kept = ggml_set_name(ggml_new_tensor_2d(ctx, type, K, N), "cache_k_l0");
        x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, K, TOKENS);
        x_experts = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, K, 1, TOKENS);
        ids = ggml_new_tensor_2d(ctx, GGML_TYPE_I32, USED, TOKENS);
        rows = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, 3);
        buffer = ggml_backend_alloc_ctx_tensors(ctx, backend);
        CHECK(buffer);
        upload(x, 100);
        upload(x_experts, 101);
        const int32_t chosen[] = { 0, 1, 2, 3, 1, 0, 3, 2, 0, 2 }, looked_up[] = { 95, 0, 17 };
        ggml_backend_tensor_set(ids, chosen, 0, sizeof(chosen));
        ggml_backend_tensor_set(rows, looked_up, 0, sizeof(looked_up));
    }

    ~scene() {
        ggml_backend_buffer_free(buffer);
        ggml_free(ctx);
    }

    static bytes content(const ggml_tensor * t, unsigned seed) {
        std::mt19937       random(seed);
        std::vector<float> values(ggml_nelements(t));
        for (float & v : values) v = random() % 2 ? float(random() % 200) / 100 - 1 : 0;
        bytes data(ggml_nbytes(t));
        ggml_quantize_chunk(t->type, values.data(), data.data(), 0, ggml_nrows(t), t->ne[0], nullptr);
        return data;
    }

    void upload(ggml_tensor * t, unsigned seed) {
        bytes data;
        if (t->type == GGML_TYPE_F32) {
            std::mt19937 random(seed);
            data.resize(ggml_nbytes(t));
            for (int64_t i = 0; i < ggml_nelements(t); ++i) reinterpret_cast<float *>(data.data())[i] =
                float(random() % 200) / 100 - 1;
        } else {
            data = content(t, seed);
        }
        ggml_backend_tensor_set(t, data.data(), 0, data.size());
    }

    void read(const ggml_tensor * t) {
        out.exact.emplace_back(ggml_nbytes(t));
        ggml_backend_tensor_get(t, out.exact.back().data(), 0, ggml_nbytes(t));
    }

    // Computes these nodes, whose results lie in a buffer of the same device.
    void compute(const std::vector<ggml_tensor *> & nodes) {
        ggml_cgraph * graph = ggml_new_graph(ctx);
        for (ggml_tensor * node : nodes) ggml_build_forward_expand(graph, node);
        ggml_backend_buffer_t results = ggml_backend_alloc_ctx_tensors(ctx, backend); // of those without memory
        CHECK(ggml_backend_graph_compute(backend, graph) == GGML_STATUS_SUCCESS);
        for (ggml_tensor * node : nodes) {
            if (node->type != GGML_TYPE_F32) continue;
            out.close.emplace_back(ggml_nelements(node));
            ggml_backend_tensor_get(node, out.close.back().data(), 0, ggml_nbytes(node));
        }
        held.push_back(results);
    }

    void product(ggml_tensor * weight) { compute({ ggml_mul_mat(ctx, weight, x) }); }

    std::vector<ggml_backend_buffer_t> held;

    results run() {
        upload(w, 1);
        upload(other, 2);
        upload(experts, 3);
        upload(kept, 4);
        compute({ ggml_mul_mat(ctx, w, x), ggml_mul_mat(ctx, other, x), ggml_mul_mat_id(ctx, experts, x_experts, ids),
                  ggml_mul_mat(ctx, kept, x) });
        for (ggml_tensor * t : { w, other, experts, kept }) read(t);

        // A part of it, read and written.
        const size_t row = ggml_row_size(w->type, K);
        bytes        part(2 * row);
        ggml_backend_tensor_get(w, part.data(), 7 * row, part.size());
        ggml_backend_tensor_set(w, part.data(), 40 * row, part.size());
        product(w);
        read(w);

        // In pieces, which make a whole again.
        const bytes data = content(w, 5);
        for (size_t at = 0; at < data.size(); at += 33 * row) {
            ggml_backend_tensor_set(w, data.data() + at, at, std::min(33 * row, data.size() - at));
        }
        product(w);
        read(w);

        // Looked up and multiplied in one graph; then multiplied alone.
        compute({ ggml_get_rows(ctx, other, rows), ggml_mul_mat(ctx, other, x) });
        product(other);
        read(other);

        // Multiplied by something that no product of the library takes, a view of half of its rows.
        upload(other, 6);
        compute({ ggml_mul_mat(ctx, ggml_view_2d(ctx, other, K, N / 2, other->nb[1], 0), x) });
        read(other);

        // Written by the graph: the rows of a view.
        upload(other, 7);
        ggml_tensor * half = ggml_view_2d(ctx, w, K, 32, w->nb[1], 32 * w->nb[1]);
        ggml_tensor * source = ggml_view_2d(ctx, x, K, 1, x->nb[1], 0);
        if (w->type == GGML_TYPE_F16 || w->type == GGML_TYPE_BF16 || w->type == GGML_TYPE_Q8_0) {
            compute({ ggml_cpy(ctx, ggml_repeat_4d(ctx, source, K, 32, 1, 1), half) });
        }
        product(w);
        read(w);

        // Copied, also onto a packed one; filled; under another name and shape at the same place.
        upload(w, 8);
        ggml_backend_tensor_copy(w, other);
        read(other);
        product(other);
        ggml_backend_tensor_memset(w, 0, 3 * row, 9 * row);
        read(w);
        product(w);
        upload(experts, 9);
        ggml_tensor * alias = ggml_set_name(ggml_new_tensor_2d(ctx, experts->type, K, N), "blk.1.ffn_up.weight");
        CHECK(ggml_backend_tensor_alloc(buffer, alias, static_cast<char *>(experts->data) + experts->nb[1]) ==
              GGML_STATUS_SUCCESS);
        upload(alias, 10);
        product(alias);
        read(alias);
        read(experts);
        compute({ ggml_mul_mat_id(ctx, experts, x_experts, ids) });

        ggml_backend_buffer_clear(buffer, 0);
        read(w);
        read(experts);
        upload(w, 11);
        for (unsigned i = 100; i < 102; ++i) upload(i == 100 ? x : x_experts, i);
        product(w);
        for (ggml_backend_buffer_t b : held) ggml_backend_buffer_free(b);
        return out;
    }

};

void compare(const results & ours, const results & cpu, ggml_type type) {
    CHECK(ours.exact.size() == cpu.exact.size() && ours.close.size() == cpu.close.size());
    for (size_t i = 0; i < cpu.exact.size(); ++i) {
        if (ours.exact[i] == cpu.exact[i]) continue;
        std::fprintf(stderr, "%s: tensor %zu was read back otherwise\n", ggml_type_name(type), i);
        std::exit(1);
    }
    for (size_t i = 0; i < cpu.close.size(); ++i) {
        double error = 0, norm = 0;
        for (size_t j = 0; j < cpu.close[i].size(); ++j) {
            error += std::pow(double(ours.close[i][j]) - cpu.close[i][j], 2);
            norm += std::pow(double(cpu.close[i][j]), 2);
        }
        // The host rounds activations to 8 bits for some types.
        if (norm > 1 && error / norm < 2e-4) continue;
        std::fprintf(stderr, "%s: result %zu: error %g of %g\n", ggml_type_name(type), i, error, norm);
        std::exit(1);
    }
}

} // namespace

int main(int argc, char ** argv) {
    const std::string where = argc > 1 ? argv[1] : "";
    ggml_backend_load_all_from_path(std::getenv("HOST_CHECKS_BACKENDS"));
    ggml_backend_dev_t device = nullptr;
    if (where == "here" && argc == 2) {
        CHECK(ggml_backend_load(std::getenv("PLUGIN")));
        device = ggml_backend_dev_by_name("SPARAMX");
    } else if (where == "there" && argc == 4) {
        ggml_backend_reg_t rpc = ggml_backend_load(argv[2]);
        CHECK(rpc);
        auto connect = (ggml_backend_reg_t (*)(const char *)) ggml_backend_reg_get_proc_address(
            rpc, "ggml_backend_rpc_add_server");
        ggml_backend_reg_t server = connect(argv[3]);
        CHECK(server && ggml_backend_reg_dev_count(server) == 1);
        device = ggml_backend_reg_dev_get(server, 0);
    } else {
        std::fprintf(stderr, "rpc_checks: unknown arguments\n");
        return 2;
    }
    CHECK(device);
    ggml_backend_t ours = ggml_backend_dev_init(device, nullptr);
    ggml_backend_t cpu = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr);
    CHECK(ours && cpu);
    for (ggml_type type : { GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q4_K }) {
        const results of_ours = scene(ours, type).run();
        compare(of_ours, scene(cpu, type).run(), type);
    }
    ggml_backend_free(ours);
    ggml_backend_free(cpu);
    std::printf("all checks passed\n");
    return 0;
}
