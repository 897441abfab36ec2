// A small host on llama.h, for what the tools of llama.cpp do not offer.
//
//   host_checks generate MODEL N T_GEN T_PROMPT auto|none|mmap   greedy text of N tokens
//   host_checks contexts MODEL N                                 two contexts on one model, each on its own thread
//   host_checks reload MODEL TIMES                               memory after each time the model was loaded and freed
//   host_checks resident MODEL none|mmap [plain]                 anonymous memory that the loaded model takes, in KiB;
//                                                                plain: without extra buffer types, also the host's
//   host_checks placed MODEL...                                  for each the names of the weights in our buffers
//   host_checks buffers                                          the buffer type through ggml's interface, and products
//
// Backends are loaded as llama.cpp's own tools do it, GGML_BACKEND_PATH included.

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "llama.h"

#include <malloc.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

// Of libllama, which its header for hosts leaves out.
const std::vector<std::pair<std::string, ggml_tensor *>> & llama_internal_get_tensor_map(const llama_model * model);

namespace {

[[noreturn]] void die(const char * what) {
    std::fprintf(stderr, "host_checks: %s\n", what);
    std::exit(1);
}

llama_model * load(const char * path, const char * mode, bool extra = true) {
    llama_model_params params = llama_model_default_params();
    params.load_mode = llama_load_mode_from_str(mode);
    params.use_extra_bufts = extra;
    llama_model * model = llama_model_load_from_file(path, params);
    if (!model) die("the model was not loaded");
    return model;
}

llama_context * make_context(llama_model * model, int t_gen, int t_prompt) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.n_batch = 512;
    params.n_threads = t_gen;
    params.n_threads_batch = t_prompt;
    // The sums of the host's own depend on the number of threads.
    params.flash_attn_type = std::getenv("HOST_CHECKS_FLASH") ? LLAMA_FLASH_ATTN_TYPE_ENABLED
                                                              : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context * context = llama_init_from_model(model, params);
    if (!context) die("no context");
    return context;
}

std::string generate(llama_model * model, llama_context * context, int n, const std::string & prompt) {
    const llama_vocab *      vocab = llama_model_get_vocab(model);
    std::vector<llama_token> tokens(512);
    const int count = llama_tokenize(vocab, prompt.data(), int(prompt.size()), tokens.data(), int(tokens.size()), true,
                                     false);
    if (count < 1) die("no tokens");
    llama_batch batch = llama_batch_get_one(tokens.data(), count);
    std::string text;
    for (int i = 0; i < n; ++i) {
        if (llama_decode(context, batch) != 0) die("decoding failed");
        const float * logits = llama_get_logits_ith(context, -1);
        const int     n_vocab = llama_vocab_n_tokens(vocab);
        llama_token   best = 0;
        for (int t = 1; t < n_vocab; ++t) {
            if (logits[t] > logits[best]) best = t;
        }
        text += std::to_string(best) + (i + 1 < n ? " " : "");
        tokens[0] = best;
        batch = llama_batch_get_one(tokens.data(), 1);
    }
    return text;
}

long own_kib(const char * path, const char * field) {
    FILE * file = std::fopen(path, "r");
    char   line[256];
    long   value = -1;
    while (file && std::fgets(line, sizeof(line), file)) {
        if (std::strncmp(line, field, std::strlen(field)) == 0) value = std::atol(line + std::strlen(field) + 1);
    }
    if (file) std::fclose(file);
    return value;
}

// ------------------------------------------------------------------------------------------------- buffer type

#define CHECK(x) do { if (!(x)) { std::fprintf(stderr, "line %d: %s\n", __LINE__, #x); std::exit(1); } } while (0)

ggml_backend_buffer_type_t find_type(ggml_backend_dev_t cpu) {
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(cpu);
    auto get = (ggml_backend_dev_get_extra_bufts_t) ggml_backend_reg_get_proc_address(
        reg, "ggml_backend_dev_get_extra_bufts");
    for (ggml_backend_buffer_type_t * type = get ? get(cpu) : nullptr; type && *type; ++type) {
        if (std::strcmp(ggml_backend_buft_name(*type), "SPARAMX") == 0) return *type;
    }
    die("no buffer type SPARAMX");
}

ggml_context * make_tensors(size_t n) {
    return ggml_init({ ggml_tensor_overhead() * n + ggml_graph_overhead(), nullptr, true });
}

std::vector<char> read_back(const ggml_tensor * t) {
    std::vector<char> bytes(ggml_nbytes(t));
    ggml_backend_tensor_get(t, bytes.data(), 0, bytes.size());
    return bytes;
}

// Everything that ggml's interface has for tensors in a buffer.
void check_access(ggml_backend_buffer_type_t type, ggml_type weight_type) {
    const int64_t  K = 192, N = 70;
    ggml_context * ctx = make_tensors(4);
    ggml_tensor *  a = ggml_new_tensor_2d(ctx, weight_type, K, N);
    ggml_tensor *  b = ggml_new_tensor_2d(ctx, weight_type, K, N);
    ggml_tensor *  view = ggml_view_tensor(ctx, a);
    CHECK(!ggml_backend_buft_is_host(type));
    CHECK(ggml_backend_buft_get_alloc_size(type, a) >= ggml_nbytes(a));
    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors_from_buft(ctx, type);
    CHECK(buffer && view->buffer == buffer);
    ggml_backend_buffer_set_usage(buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);

    std::mt19937      random(3);
    std::vector<char> data(ggml_nbytes(a));
    for (char & c : data) c = random() % 2 ? char(random()) : 0;
    const size_t size = data.size(), third = size / 3;
    ggml_backend_tensor_set(a, data.data() + third, third, size - third);
    ggml_backend_tensor_set(a, data.data(), 0, third);
    CHECK(read_back(a) == data);
    ggml_backend_view_init(ggml_view_tensor(ctx, a)); // must not make the library forget the tensor
    CHECK(read_back(a) == data);

    ggml_backend_tensor_copy(a, b);
    CHECK(read_back(b) == data);
    data[5] = 77;
    ggml_backend_tensor_set(b, data.data() + 5, 5, 1);
    CHECK(read_back(b) == data);
    CHECK(read_back(a) != data);

    const size_t row = ggml_row_size(weight_type, K), part = row / 2;
    std::vector<char> piece(part * N, 9), got(part * N);
    ggml_backend_tensor_set_2d(b, piece.data(), row - part, part, N, row, part);
    ggml_backend_tensor_get_2d(b, got.data(), row - part, part, N, row, part);
    CHECK(got == piece);
    for (int64_t n = 0; n < N; ++n) std::memset(data.data() + n * row + row - part, 9, part);
    CHECK(read_back(b) == data);

    ggml_backend_tensor_memset(b, 3, 7, 40);
    std::memset(data.data() + 7, 3, 40);
    CHECK(read_back(b) == data);

    ggml_context * host = make_tensors(1);
    ggml_tensor *  c = ggml_new_tensor_2d(host, weight_type, K, N);
    ggml_backend_buffer_t memory = ggml_backend_alloc_ctx_tensors_from_buft(host, ggml_backend_cpu_buffer_type());
    ggml_backend_tensor_copy(b, c);
    CHECK(read_back(c) == data);
    ggml_backend_tensor_memset(c, 0, 0, size);
    ggml_backend_tensor_copy(c, a);
    CHECK(read_back(a) == std::vector<char>(size, 0));

    ggml_backend_buffer_clear(buffer, 0);
    CHECK(read_back(b) == std::vector<char>(size, 0));
    ggml_backend_buffer_reset(buffer);
    ggml_backend_buffer_free(memory);
    ggml_backend_buffer_free(buffer);
    ggml_free(host);
    ggml_free(ctx);
}

// Products against the same product with the weight in the host's memory, for shapes that models seldom have.
void check_products(ggml_backend_buffer_type_t type, ggml_backend_dev_t cpu, ggml_type weight_type) {
    const int64_t  K = 160, N = 90;
    ggml_context * ours = make_tensors(1);
    ggml_context * rest = make_tensors(16);
    ggml_tensor *  w = ggml_new_tensor_3d(ours, weight_type, K, N, 2);
    ggml_tensor *  plain = ggml_new_tensor_3d(rest, weight_type, K, N, 2);
    ggml_tensor *  x = ggml_new_tensor_4d(rest, GGML_TYPE_F32, K, 6, 4, 3);
    ggml_tensor *  wide = ggml_new_tensor_4d(rest, GGML_TYPE_F32, K, 4, 6, 1);
    ggml_tensor *  turned = ggml_permute(rest, wide, 0, 2, 1, 3); // rows far apart
    ggml_tensor *  half = ggml_new_tensor_3d(rest, GGML_TYPE_F16, K, 3, 2);
    ggml_tensor *  ids = ggml_new_tensor_2d(rest, GGML_TYPE_I32, 3, 2);
    ggml_tensor *  products[] = { ggml_mul_mat(rest, w, x), ggml_mul_mat(rest, w, turned) };
    ggml_tensor *  expected[] = { ggml_mul_mat(rest, plain, x), ggml_mul_mat(rest, plain, turned) };
    ggml_backend_buffer_t weights = ggml_backend_alloc_ctx_tensors_from_buft(ours, type);
    ggml_backend_buffer_set_usage(weights, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);

    // Asked without buffers for the activations, and for what the library does not compute.
    CHECK(ggml_backend_dev_supports_op(cpu, products[0]) && ggml_backend_dev_supports_op(cpu, products[1]));
    ggml_context * asked = make_tensors(4);
    CHECK(!ggml_backend_dev_supports_op(cpu, ggml_get_rows(asked, w, ids)));
    CHECK(!ggml_backend_dev_supports_op(cpu, ggml_mul_mat(asked, w, half)));
    CHECK(ggml_backend_dev_supports_buft(cpu, type));

    ggml_backend_buffer_t memory = ggml_backend_alloc_ctx_tensors_from_buft(rest, ggml_backend_cpu_buffer_type());
    CHECK(ggml_backend_dev_supports_op(cpu, products[0]) && ggml_backend_dev_supports_op(cpu, products[1]));

    std::mt19937                    random(5);
    std::normal_distribution<float> normal;
    std::vector<float>              f(K * N * 2);
    for (float & v : f) v = random() % 2 ? normal(random) : 0;
    std::vector<char> codes(ggml_nbytes(w));
    ggml_quantize_chunk(weight_type, f.data(), codes.data(), 0, N * 2, K, nullptr);
    ggml_backend_tensor_set(w, codes.data(), 0, codes.size());
    ggml_backend_tensor_set(plain, codes.data(), 0, codes.size());
    for (ggml_tensor * t : { x, wide }) {
        std::vector<float> values(ggml_nelements(t));
        for (float & v : values) v = normal(random);
        ggml_backend_tensor_set(t, values.data(), 0, ggml_nbytes(t));
    }
    ggml_cgraph * graph = ggml_new_graph(rest);
    for (ggml_tensor * t : products) ggml_build_forward_expand(graph, t);
    for (ggml_tensor * t : expected) ggml_build_forward_expand(graph, t);
    ggml_backend_t backend = ggml_backend_dev_init(cpu, nullptr);
    auto set_threads = (ggml_backend_set_n_threads_t) ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(cpu), "ggml_backend_set_n_threads");
    std::vector<char> first;
    for (int threads : { 1, 2, 3, 4 }) {
        set_threads(backend, threads);
        CHECK(ggml_backend_graph_compute(backend, graph) == GGML_STATUS_SUCCESS);
        for (int i = 0; i < 2; ++i) {
            const std::vector<char> y = read_back(products[i]), z = read_back(expected[i]);
            double                  error = 0, norm = 0;
            for (size_t j = 0; j < y.size() / 4; ++j) {
                const double a = reinterpret_cast<const float *>(y.data())[j];
                const double b = reinterpret_cast<const float *>(z.data())[j];
                error += (a - b) * (a - b);
                norm += b * b;
            }
            CHECK(std::sqrt(error / norm) < (weight_type == GGML_TYPE_Q8_0 ? 0.02 : 0.003));
        }
        if (first.empty()) first = read_back(products[0]);
        CHECK(read_back(products[0]) == first);
    }
    ggml_backend_free(backend);
    ggml_backend_buffer_free(memory);
    ggml_backend_buffer_free(weights);
    for (ggml_context * c : { ours, rest, asked }) ggml_free(c);
}

int check_buffers() {
    ggml_backend_dev_t         cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    ggml_backend_buffer_type_t type = find_type(cpu);
    for (ggml_type t : { GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_Q8_0 }) {
        check_access(type, t);
        check_products(type, cpu, t);
    }
    std::printf("all checks passed\n");
    return 0;
}

const char * const prompts[] = { "the rain in the tune of noise and stone then rises on", "one short line" };

int run(int argc, char ** argv) {
    const std::string what = argc > 2 ? argv[1] : "";
    if (what == "generate" && argc == 7) {
        llama_model *   model = load(argv[2], argv[6]);
        llama_context * context = make_context(model, std::atoi(argv[4]), std::atoi(argv[5]));
        std::printf("%s\n", generate(model, context, std::atoi(argv[3]), prompts[0]).c_str());
        llama_free(context);
        llama_model_free(model);
        return 0;
    }
    if (what == "placed") {
        for (int i = 2; i < argc; ++i) {
            llama_model_params params = llama_model_default_params();
            llama_model *      model = llama_model_load_from_file(argv[i], params);
            std::printf("%s%s", argv[i], model ? "" : " not loaded");
            if (model) {
                for (const auto & [name, tensor] : llama_internal_get_tensor_map(model)) {
                    const bool ours = std::strcmp(ggml_backend_buffer_name(tensor->buffer), "SPARAMX") == 0;
                    if (ours) std::printf(" %s", name.c_str());
                }
                llama_model_free(model);
            }
            std::printf("\n");
            std::fflush(stdout);
        }
        return 0;
    }
    if (what == "contexts" && argc == 4) {
        llama_model *   model = load(argv[2], "auto");
        const int       n = std::atoi(argv[3]);
        llama_context * contexts[2] = { make_context(model, 2, 1), make_context(model, 1, 2) };
        std::string     texts[2];
        std::thread     second([&] { texts[1] = generate(model, contexts[1], n, prompts[1]); });
        texts[0] = generate(model, contexts[0], n, prompts[0]);
        second.join();
        for (const std::string & text : texts) std::printf("%s\n", text.c_str());
        for (llama_context * context : contexts) llama_free(context);
        llama_model_free(model);
        return 0;
    }
    if (what == "reload" && argc == 4) {
        for (int i = 0; i < std::atoi(argv[3]); ++i) {
            llama_model *   model = load(argv[2], "auto");
            llama_context * context = make_context(model, 2, 2);
            generate(model, context, 4, prompts[1]);
            llama_free(context);
            llama_model_free(model);
            malloc_trim(0);
            std::printf("%ld %ld\n", own_kib("/proc/self/status", "VmRSS:"), own_kib("/proc/self/status", "VmSize:"));
        }
        return 0;
    }
    if (what == "resident" && (argc == 4 || argc == 5)) {
        malloc_trim(0);
        const long    before = own_kib("/proc/self/smaps_rollup", "Anonymous:");
        llama_model * model = load(argv[2], argv[3], argc == 4);
        malloc_trim(0);
        std::printf("%ld\n", own_kib("/proc/self/smaps_rollup", "Anonymous:") - before);
        llama_model_free(model);
        return 0;
    }
    if (argc == 2 && std::strcmp(argv[1], "buffers") == 0) return check_buffers();
    die("unknown arguments");
}

} // namespace

int main(int argc, char ** argv) {
    ggml_backend_load_all_from_path(std::getenv("HOST_CHECKS_BACKENDS")); // NULL: beside the program
    return run(argc, argv);
}
