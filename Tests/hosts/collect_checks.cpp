// A host that evaluates random tokens, and writes down what the plugin should have seen: the inputs of each product
// with a weight, by llama.cpp's own callback.
//
//   collect_checks MODEL BATCHES SIZE THREADS FOLDER [twice]
//
// BATCHES of SIZE tokens each, the last one of one token less. FOLDER/NAME.x has the inputs of a weight's products in
// float32, all that were read of each batch; FOLDER/NAME.ids the experts in int32, as many for each token as the model
// uses. twice: a second context on the same model takes turns with the first.

#include "ggml-backend.h"
#include "llama.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace {

[[noreturn]] void die(const char * what) {
    std::fprintf(stderr, "collect_checks: %s\n", what);
    std::exit(1);
}

// The rows of a tensor, one after the other.
void append(const std::string & path, const ggml_tensor * t) {
    std::FILE * file = std::fopen(path.c_str(), "ab");
    if (!file) die("a file cannot be written");
    for (int64_t i3 = 0; i3 < t->ne[3]; ++i3) {
        for (int64_t i2 = 0; i2 < t->ne[2]; ++i2) {
            for (int64_t i1 = 0; i1 < t->ne[1]; ++i1) {
                const char * row = (const char *) t->data + i1 * t->nb[1] + i2 * t->nb[2] + i3 * t->nb[3];
                if (std::fwrite(row, 4, size_t(t->ne[0]), file) != size_t(t->ne[0])) die("a file cannot be written");
            }
        }
    }
    std::fclose(file);
}

bool see(ggml_tensor * t, bool ask, void * folder) {
    const bool product = t->op == GGML_OP_MUL_MAT || t->op == GGML_OP_MUL_MAT_ID;
    if (!product || t->src[0]->op != GGML_OP_NONE || t->src[0]->view_src) return false;
    if (ask) return true;
    const std::string stem = std::string(static_cast<const char *>(folder)) + "/" + t->src[0]->name;
    append(stem + ".x", t->src[1]);
    if (t->op == GGML_OP_MUL_MAT_ID) append(stem + ".ids", t->src[2]);
    return true;
}

llama_context * make_context(llama_model * model, int n_threads, char * folder) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 4096;
    params.n_batch = params.n_ubatch = 2048;
    params.n_threads = params.n_threads_batch = n_threads;
    params.cb_eval = see;
    params.cb_eval_user_data = folder;
    llama_context * context = llama_init_from_model(model, params);
    if (!context) die("no context");
    return context;
}

} // namespace

int main(int argc, char ** argv) {
    if (argc < 6) die("MODEL BATCHES SIZE THREADS FOLDER [twice]");
    const int batches = std::atoi(argv[2]), size = std::atoi(argv[3]), n_threads = std::atoi(argv[4]);
    if (const char * folder = std::getenv("HOST_CHECKS_BACKENDS")) ggml_backend_load_all_from_path(folder);
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) die("the model was not loaded");
    std::vector<llama_context *> contexts = { make_context(model, n_threads, argv[5]) };
    if (argc > 6 && std::strcmp(argv[6], "twice") == 0) contexts.push_back(make_context(model, n_threads, argv[5]));

    std::mt19937 random(5);
    const int    n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    llama_batch  batch = llama_batch_init(size, 0, 1);
    for (int i = 0; i < batches; ++i) {
        batch.n_tokens = i + 1 == batches ? size - 1 : size;
        for (int t = 0; t < batch.n_tokens; ++t) {
            batch.token[t] = llama_token(random() % unsigned(n_vocab));
            batch.pos[t] = t;
            batch.n_seq_id[t] = 1;
            batch.seq_id[t][0] = 0;
            batch.logits[t] = t % 3 == 0;
        }
        llama_context * context = contexts[size_t(i) % contexts.size()];
        llama_memory_clear(llama_get_memory(context), true);
        if (llama_decode(context, batch) != 0) die("the tokens were not evaluated");
    }
    llama_batch_free(batch);
    for (llama_context * context : contexts) llama_free(context);
    llama_model_free(model);
    return 0;
}
