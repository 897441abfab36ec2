// A host without a model: it shows the plugin's collecting part products that a script describes, on as many threads as
// the script says, as llama.cpp's CPU backend does.
//
//   host SCRIPT     lines of words:
//     threads N
//     x ID K ROWS MORE FILE            activations in float32, from a file
//     f16 ID K ROWS MORE FILE          the same, said to be of another type
//     ids ID USED TOKENS FILE          experts in int32
//     reshape ID OF K ROWS MORE        another shape of the same activations
//     product NAME MODEL K E X [IDS]   with a weight of E matrices; MODEL: a number, another one for another model
//     attention NAME K X               with something that is no weight
//     fork                             a child that ends at once
//     write FILE                       puts something else into the file
//     exit STATUS
// At the end of the script the host ends with status 0.

#include "collect.hpp"

#include "traits.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace ggml::cpu {
tensor_traits::~tensor_traits() {}
extra_buffer_type::~extra_buffer_type() {}
} // namespace ggml::cpu

extern "C" ggml_backend_buffer_t ggml_backend_buffer_init(ggml_backend_buffer_type_t, ggml_backend_buffer_i, void *,
                                                          size_t) {
    return nullptr;
}

namespace {

[[noreturn]] void die(const std::string & what) {
    std::fprintf(stderr, "host: %s\n", what.c_str());
    std::_Exit(99);
}

std::vector<ggml_backend_buffer_type_t> & types() {
    static std::vector<ggml_backend_buffer_type_t> list;
    return list;
}

pthread_barrier_t gate;
void wait_for_all(ggml_threadpool *) { pthread_barrier_wait(&gate); }

struct activations {
    std::vector<char> bytes;
    ggml_tensor       tensor = {};
};

void shape(ggml_tensor & t, ggml_type type, int64_t n0, int64_t n1, int64_t n2) {
    t.type = type;
    const int64_t ne[4] = { n0, n1, n2, 1 };
    t.nb[0] = 4;
    for (int i = 0; i < 4; ++i) t.ne[i] = ne[i];
    for (int i = 1; i < 4; ++i) t.nb[i] = t.nb[i - 1] * size_t(t.ne[i - 1]);
}

std::map<int, std::unique_ptr<activations>> known;
ggml_backend_buffer_type                    host_type = {};
ggml_backend_buffer                         weights = {};
int                                         n_threads = 1;

void load(int id, ggml_type type, int64_t n0, int64_t n1, int64_t n2, const std::string & path) {
    known[id] = std::make_unique<activations>();
    activations & a = *known[id];
    std::ifstream file(path, std::ios::binary);
    a.bytes.assign(std::istreambuf_iterator<char>(file), {});
    shape(a.tensor, type, n0, n1, n2);
    a.tensor.op = GGML_OP_ADD;
    a.tensor.data = a.bytes.data();
    if (a.bytes.size() != size_t(n0 * n1 * n2) * 4) die(path + " has another size");
}

ggml_tensor * find(int id) {
    if (!known.count(id)) die("no activations " + std::to_string(id));
    return &known[id]->tensor;
}

void compute(ggml_tensor & node) {
    pthread_barrier_init(&gate, nullptr, unsigned(n_threads));
    auto work = [&node](int ith) {
        ggml_compute_params params = { ith, n_threads, 0, nullptr, nullptr };
        for (ggml_backend_buffer_type_t type : types()) {
            auto * extra = static_cast<ggml::cpu::extra_buffer_type *>(type->context);
            if (extra->supports_op(nullptr, &node)) die("a weight would be taken");
            ggml::cpu::tensor_traits * traits = extra->get_tensor_traits(&node);
            size_t                     size = 0;
            if (!traits) continue;
            if (traits->work_size(n_threads, &node, size)) die("a work area was wanted");
            if (traits->compute_forward(&params, &node)) die("the product was not left to the host");
        }
        pthread_barrier_wait(&gate);
    };
    std::vector<std::thread> threads;
    for (int i = 1; i < n_threads; ++i) threads.emplace_back(work, i);
    work(0);
    for (std::thread & thread : threads) thread.join();
    pthread_barrier_destroy(&gate);
}

void multiply(const std::string & name, int model, int64_t k, int64_t e, ggml_tensor * x, ggml_tensor * ids) {
    ggml_tensor weight = {}, node = {};
    shape(weight, GGML_TYPE_BF16, k, 48, e);
    weight.buffer = &weights;
    weight.data = reinterpret_cast<void *>(uintptr_t(4096 * (model + 1) + std::hash<std::string>()(name) % 4096));
    std::snprintf(weight.name, sizeof(weight.name), "%s", name.c_str());
    shape(node, GGML_TYPE_F32, 48, ids ? ids->ne[0] : x->ne[1], ids ? ids->ne[1] : x->ne[2]);
    node.op = ids ? GGML_OP_MUL_MAT_ID : GGML_OP_MUL_MAT;
    node.src[0] = &weight;
    node.src[1] = x;
    node.src[2] = ids;
    if (model < 0) weight.op = GGML_OP_ADD;
    compute(node);
}

void run(const std::string & line) {
    std::istringstream words(line);
    std::string        what, name;
    int                id = 0, other = 0;
    int64_t            n0 = 0, n1 = 0, n2 = 0;
    if (!(words >> what)) return;
    if (what == "threads") {
        words >> n_threads;
    } else if (what == "x" || what == "f16") {
        words >> id >> n0 >> n1 >> n2 >> name;
        load(id, what == "x" ? GGML_TYPE_F32 : GGML_TYPE_F16, n0, n1, n2, name);
    } else if (what == "ids") {
        words >> id >> n0 >> n1 >> name;
        load(id, GGML_TYPE_I32, n0, n1, 1, name);
    } else if (what == "reshape") {
        words >> id >> other >> n0 >> n1 >> n2;
        known[id] = std::make_unique<activations>();
        ggml_tensor & t = known[id]->tensor;
        shape(t, GGML_TYPE_F32, n0, n1, n2);
        t.op = GGML_OP_RESHAPE;
        t.src[0] = t.view_src = find(other);
        t.data = t.src[0]->data;
    } else if (what == "product") {
        int model = 0;
        words >> name >> model >> n0 >> n1 >> id;
        multiply(name, model, n0, n1, find(id), words >> other ? find(other) : nullptr);
    } else if (what == "attention") {
        words >> name >> n0 >> id;
        multiply(name, -1, n0, 1, find(id), nullptr);
    } else if (what == "fork") {
        const pid_t child = fork();
        if (child == 0) std::exit(0);
        waitpid(child, nullptr, 0);
    } else if (what == "write") {
        words >> name;
        std::ofstream(name) << "something else";
    } else if (what == "exit") {
        words >> id;
        std::exit(id);
    } else {
        die("no such line: " + line);
    }
}

} // namespace

int main(int argc, char ** argv) {
    if (argc != 2) die("SCRIPT is missing");
    host_type.iface.is_host = [](ggml_backend_buffer_type_t) { return true; };
    weights.buft = &host_type;
    weights.usage = GGML_BACKEND_BUFFER_USAGE_WEIGHTS;
    static plugin::host host;
    host.barrier = wait_for_all;
    host.extra_buffer_types = types;
    if (plugin::start_collecting(host) != (types().size() == 1)) die("there is another number of buffer types");
    std::ifstream script(argv[1]);
    for (std::string line; std::getline(script, line);) run(line);
    return 0;
}
