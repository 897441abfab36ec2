// The plugin through ggml's own interface, for what llama.cpp's tools do not do.
//
//   device_checks ops              a graph of one node for every op of ggml: computed, or failed, never skipped
//   device_checks empty            sizes of tensors that the library does not know: without elements, or very long
//   device_checks locked           the device's memory in a process that locks all of its own
//   device_checks reload           the device after it was unloaded
//   device_checks copy FILE        a second copy of the plugin
//   device_checks threads          ggml_backend_init from many threads
//   device_checks rpc BACKEND ADDRESS product|add    a client of an rpc-server
//
// PLUGIN names the plugin. SPARAMX_MODE decides what it is.

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#define CHECK(x) do { if (!(x)) { std::fprintf(stderr, "line %d: %s\n", __LINE__, #x); std::exit(1); } } while (0)

namespace {

const char * plugin_file() { return std::getenv("PLUGIN"); }

size_t our_devices() {
    size_t n = 0;
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        n += std::strcmp(ggml_backend_dev_name(ggml_backend_dev_get(i)), "SPARAMX") == 0;
    }
    return n;
}

ggml_backend_buffer_type_t our_type() {
    ggml_backend_dev_t device = ggml_backend_dev_by_name("SPARAMX");
    if (device) return ggml_backend_dev_buffer_type(device);
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(cpu);
    auto get = (ggml_backend_dev_get_extra_bufts_t) ggml_backend_reg_get_proc_address(
        reg, "ggml_backend_dev_get_extra_bufts");
    for (ggml_backend_buffer_type_t * type = get(cpu); type && *type; ++type) {
        if (std::strcmp(ggml_backend_buft_name(*type), "SPARAMX") == 0) return *type;
    }
    CHECK(!"the buffer type");
    return nullptr;
}

ggml_context * make_tensors(size_t n) {
    return ggml_init({ ggml_tensor_overhead() * n + ggml_graph_overhead(), nullptr, true });
}

void check_ops() {
    ggml_backend_t backend = ggml_backend_dev_init(ggml_backend_dev_by_name("SPARAMX"), nullptr);
    CHECK(backend);
    for (int op = 0; op < GGML_OP_COUNT; ++op) {
        ggml_context * ctx = make_tensors(3);
        ggml_tensor *  node = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, 32, 4);
        node->op = GGML_OP_SQR; // as a result, so that the graph has it as a node
        node->src[0] = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, 32, 4);
        ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(ctx, backend);
        CHECK(buffer);
        ggml_cgraph * graph = ggml_new_graph(ctx);
        ggml_build_forward_expand(graph, node);
        CHECK(ggml_graph_n_nodes(graph) == 1);
        node->op = ggml_op(op);
        const bool nothing = op == GGML_OP_NONE || op == GGML_OP_RESHAPE || op == GGML_OP_VIEW ||
                             op == GGML_OP_PERMUTE || op == GGML_OP_TRANSPOSE;
        const ggml_status status = ggml_backend_graph_compute(backend, graph);
        if ((status == GGML_STATUS_SUCCESS) != nothing) {
            std::fprintf(stderr, "%s: status %d\n", ggml_op_name(ggml_op(op)), int(status));
            std::exit(1);
        }
        ggml_backend_buffer_free(buffer);
        ggml_free(ctx);
    }
    ggml_backend_free(backend);
}

void check_empty() {
    ggml_backend_buffer_type_t type = our_type();
    const int64_t              shapes[][4] = { { 0, 4, 1, 1 }, { 16, 0, 1, 1 }, { 32, 4, 0, 1 }, { 0, 0, 0, 0 },
                                               { (1ll << 31) + 32, 1, 1, 1 }, { 32, 1ll << 31, 1, 1 } };
    for (ggml_type kind : { GGML_TYPE_F32, GGML_TYPE_I32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0,
                            GGML_TYPE_Q4_K }) {
        for (const int64_t * ne : shapes) {
            if (ne[0] % ggml_blck_size(kind)) continue;
            ggml_context * ctx = make_tensors(2);
            ggml_tensor *  t = ggml_new_tensor(ctx, kind, 4, ne);
            CHECK(ggml_backend_buft_get_alloc_size(type, t) >= ggml_nbytes(t));
            if (ggml_nelements(t) == 0) {
                ggml_tensor *         beside = ggml_new_tensor_2d(ctx, GGML_TYPE_BF16, 64, 64); // a buffer of some size
                ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors_from_buft(ctx, type);
                CHECK(buffer);
                std::vector<char> bytes(ggml_nbytes(beside), 1), back(bytes.size());
                ggml_backend_tensor_set(beside, bytes.data(), 0, bytes.size());
                ggml_backend_tensor_set(t, bytes.data(), 0, 0);
                ggml_backend_tensor_get(beside, back.data(), 0, back.size());
                CHECK(back == bytes);
                ggml_backend_buffer_free(buffer);
            }
            ggml_free(ctx);
        }
    }
}

long resident_kib() {
    std::FILE * file = std::fopen("/proc/self/status", "r");
    char        line[256];
    long        kib = -1;
    while (file && std::fgets(line, sizeof(line), file)) {
        if (std::strncmp(line, "VmRSS:", 6) == 0) kib = std::atol(line + 6);
    }
    if (file) std::fclose(file);
    return kib;
}

// 0: done; 77: this process may not lock memory.
int check_locked() {
    ggml_backend_buffer_type_t type = our_type();
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return 77;
    const long            before = resident_kib();
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(type, size_t(1) << 30);
    if (!buffer) return 77; // a small limit
    CHECK(resident_kib() - before < 16 << 10);
    ggml_backend_buffer_clear(buffer, 0);
    CHECK(resident_kib() - before < 16 << 10);

    ggml_context *   ctx = make_tensors(2);
    ggml_tensor *    weight = ggml_new_tensor_2d(ctx, GGML_TYPE_BF16, 256, 256);
    ggml_tensor *    other = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, 1000);
    ggml_tallocr     place = ggml_tallocr_new(buffer);
    CHECK(ggml_tallocr_alloc(&place, weight) == GGML_STATUS_SUCCESS);
    CHECK(ggml_tallocr_alloc(&place, other) == GGML_STATUS_SUCCESS);
    ggml_backend_buffer_set_usage(buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    CHECK(!ggml_backend_buffer_is_host(buffer));
    for (ggml_tensor * t : { other, weight }) {
        std::vector<char> bytes(ggml_nbytes(t), 5), back(bytes.size());
        ggml_backend_tensor_set(t, bytes.data(), 0, bytes.size());
        ggml_backend_tensor_get(t, back.data(), 0, back.size());
        CHECK(back == bytes);
        CHECK(resident_kib() - before < 32 << 10);
        munlockall(); // what the library's own buffer beside this one does then is a test of the library
    }
    ggml_backend_buffer_clear(buffer, 0);
    std::vector<char> back(ggml_nbytes(other), 1);
    ggml_backend_tensor_get(other, back.data(), 0, back.size());
    CHECK(back == std::vector<char>(back.size(), 0));
    ggml_backend_buffer_free(buffer);

    // What a scheduler reserves for results is the host's memory from the first tensor on.
    buffer = ggml_backend_buft_alloc_buffer(type, 1 << 20);
    ggml_backend_buffer_set_usage(buffer, GGML_BACKEND_BUFFER_USAGE_COMPUTE);
    ggml_tallocr results = ggml_tallocr_new(buffer);
    ggml_context * more = make_tensors(1);
    ggml_tensor *  t = ggml_new_tensor_1d(more, GGML_TYPE_F32, 1000);
    CHECK(ggml_tallocr_alloc(&results, t) == GGML_STATUS_SUCCESS && ggml_backend_buffer_is_host(buffer));
    std::memset(t->data, 1, ggml_nbytes(t));
    ggml_backend_buffer_free(buffer);
    ggml_free(more);
    ggml_free(ctx);
    return 0;
}

void check_reload(ggml_backend_reg_t reg) {
    CHECK(our_devices() == 1);
    CHECK(ggml_backend_load(plugin_file()) && our_devices() == 1); // once more: still one
    ggml_backend_unload(reg);
    CHECK(our_devices() == 0);
    CHECK(ggml_backend_load(plugin_file()) && our_devices() == 1);
}

void check_threads() {
    void * handle = dlopen(plugin_file(), RTLD_NOW);
    CHECK(handle);
    auto                     init = reinterpret_cast<ggml_backend_reg_t (*)()>(dlsym(handle, "ggml_backend_init"));
    std::vector<std::thread> threads;
    std::atomic<size_t>      devices{ 0 };
    std::atomic<bool>        go{ false };
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            while (!go) {}
            devices += ggml_backend_reg_dev_count(init());
        });
    }
    go = true;
    for (std::thread & t : threads) t.join();
    CHECK(devices == 1);
}

// A product, and an addition after it, on the server's device, against the host's own.
void check_rpc(const char * file, const char * address, bool add) {
    ggml_backend_reg_t rpc = ggml_backend_load(file);
    CHECK(rpc);
    auto connect = (ggml_backend_reg_t (*)(const char *)) ggml_backend_reg_get_proc_address(
        rpc, "ggml_backend_rpc_add_server");
    ggml_backend_reg_t server = connect(address);
    CHECK(server && ggml_backend_reg_dev_count(server) == 1);
    ggml_backend_t backends[] = { ggml_backend_dev_init(ggml_backend_reg_dev_get(server, 0), nullptr),
                                  ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr) };
    std::vector<float> results[2];
    for (int i = 0; i < 2; ++i) {
        ggml_context * ctx = make_tensors(6);
        ggml_tensor *  w = ggml_new_tensor_2d(ctx, GGML_TYPE_F16, 64, 48);
        ggml_tensor *  x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, 64, 5);
        ggml_tensor *  y = ggml_mul_mat(ctx, w, x);
        if (add) y = ggml_add(ctx, y, y);
        ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(ctx, backends[i]);
        CHECK(buffer);
        std::mt19937             random(1);
        std::vector<ggml_fp16_t> ws(ggml_nelements(w));
        std::vector<float>       xs(ggml_nelements(x));
        for (ggml_fp16_t & v : ws) v = ggml_fp32_to_fp16(float(random() % 100) / 50 - 1);
        for (float & v : xs) v = float(random() % 100) / 50 - 1;
        ggml_backend_tensor_set(w, ws.data(), 0, ggml_nbytes(w));
        ggml_backend_tensor_set(x, xs.data(), 0, ggml_nbytes(x));
        ggml_cgraph * graph = ggml_new_graph(ctx);
        ggml_build_forward_expand(graph, y);
        CHECK(ggml_backend_graph_compute(backends[i], graph) == GGML_STATUS_SUCCESS);
        results[i].resize(ggml_nelements(y));
        ggml_backend_tensor_get(y, results[i].data(), 0, ggml_nbytes(y));
    }
    double error = 0, norm = 0;
    for (size_t i = 0; i < results[0].size(); ++i) {
        error += std::pow(results[0][i] - results[1][i], 2);
        norm += std::pow(results[1][i], 2);
    }
    CHECK(norm > 1 && error / norm < 1e-5);
}

} // namespace

int main(int argc, char ** argv) {
    const std::string what = argc > 1 ? argv[1] : "";
    ggml_backend_load_all_from_path(std::getenv("HOST_CHECKS_BACKENDS"));
    if (what == "rpc" && argc == 5) {
        check_rpc(argv[2], argv[3], std::strcmp(argv[4], "add") == 0);
    } else if (what == "threads") {
        check_threads();
    } else {
        ggml_backend_reg_t reg = ggml_backend_load(plugin_file());
        CHECK(reg);
        if (what == "ops") {
            check_ops();
        } else if (what == "empty") {
            check_empty();
        } else if (what == "locked") {
            const int status = check_locked();
            if (status) return status;
        } else if (what == "reload") {
            check_reload(reg);
        } else if (what == "copy" && argc == 3) {
            CHECK(ggml_backend_load(argv[2]));
            our_type();
        } else {
            std::fprintf(stderr, "device_checks: unknown arguments\n");
            return 2;
        }
    }
    std::printf("all checks passed\n");
    return 0;
}
