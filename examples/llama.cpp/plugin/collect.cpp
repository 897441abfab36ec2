#include "collect.hpp"

#include "collect/collector.hpp"
#include "sparamx-ggml-cpu.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <set>
#include <string>

namespace plugin {
namespace {

using sparamx_ggml::node_parts;
using sparamx_ggml::printable;
using sparamx_ggml::say;
using sparamx_ggml::variable;

collect::collector * collecting;
void (*host_barrier)(ggml_threadpool *);
pid_t owner; // a forked child has not seen the whole text

// ------------------------------------------------------------------------------------------------- what is left out

struct left_out {
    std::mutex                                   mutex;
    std::map<std::string, std::set<std::string>> by_reason;

    void note(const char * name, const std::string & why) {
        std::lock_guard<std::mutex> lock(mutex);
        by_reason[why].insert(printable(name));
    }

    void tell() {
        std::lock_guard<std::mutex> lock(mutex);
        for (const auto & [why, names] : by_reason) {
            std::string text;
            size_t      n = 0;
            for (const std::string & name : names) {
                if (n == 8) break;
                text += (n++ ? ", " : "") + name;
            }
            if (names.size() > n) text += " and " + std::to_string(names.size() - n) + " others";
            say("not collected (" + why + "): " + text);
        }
    }
};

left_out & left() {
    static left_out * l = new left_out();
    return *l;
}

bool is_plain(const char * name) {
    if (!*name) return false;
    for (; *name; ++name) {
        if (*name < 33 || *name > 126) return false;
    }
    return true;
}

// Why the inputs of a weight are not collected, "" if they are. The rule for names is the one by which the library
// takes weights; types that it does not know are collected as well.
std::string refusal(const node_parts & parts) {
    const char * name = parts.weight->name;
    if (std::strstr(name, ".lora_")) return "it belongs to an adapter";
    if (!is_plain(name)) return "its name is no plain text";
    const char * why = sparamx_ggml::library::get().rules.refusal(name, sparamx_ggml::reading::product);
    if (why) return why;
    return parts.x->type == GGML_TYPE_F32 && parts.x->nb[0] == sizeof(float) ? "" : "its inputs are no float32";
}

// ------------------------------------------------------------------------------------------------------- products

// A product with a weight of a model, and not of two activations, as in attention.
bool is_watched(const ggml_tensor * node) {
    if (node->op != GGML_OP_MUL_MAT && node->op != GGML_OP_MUL_MAT_ID) return false;
    const ggml_tensor * w = node->src[0];
    return w && node->src[1] && w->op == GGML_OP_NONE && !w->view_src && w->ne[1] > 1 && w->buffer &&
           w->buffer->usage == GGML_BACKEND_BUFFER_USAGE_WEIGHTS && !sparamx_ggml::is_empty(node);
}

// The tensor whose numbers these are: other shapes of the same are made for products that share their inputs.
const ggml_tensor * computed(const ggml_tensor * t) {
    while (t->op == GGML_OP_RESHAPE && t->src[0]) t = t->src[0];
    return t;
}

collect::product describe(const ggml_tensor * node) {
    const node_parts    parts(node);
    const ggml_tensor * w = parts.weight, * x = parts.x, * ids = parts.ids;
    collect::product    p;
    p.name = w->name;
    p.weight = w->data;
    p.columns = w->ne[0];
    p.experts = w->ne[2] * w->ne[3] > 1 || ids ? w->ne[2] * w->ne[3] : 0;
    p.from.tensor = computed(x);
    p.from.data = x->data;
    p.from.chosen = ids ? ids->data : nullptr;
    const char * base = static_cast<const char *>(x->data);
    const auto   row = [&](int64_t i1, int64_t i2, int64_t i3) {
        return reinterpret_cast<const float *>(base + size_t(i1) * x->nb[1] + size_t(i2) * x->nb[2] +
                                               size_t(i3) * x->nb[3]);
    };
    if (ids) {
        p.tokens = ids->ne[1];
        for (int64_t t = 0; t < ids->ne[1]; ++t) {
            for (int64_t i = 0; i < ids->ne[0]; ++i) {
                const char *  line = static_cast<const char *>(ids->data) + size_t(t) * ids->nb[1];
                const int32_t expert = *reinterpret_cast<const int32_t *>(line + size_t(i) * ids->nb[0]);
                if (expert < 0 || expert >= p.experts) continue; // the product itself will say so
                p.rows.push_back(collect::input_row{ expert, row(i % x->ne[1], t, 0) });
            }
        }
        return p;
    }
    p.tokens = x->ne[1] * x->ne[2] * x->ne[3];
    for (int64_t i3 = 0; i3 < x->ne[3]; ++i3) {
        for (int64_t i2 = 0; i2 < x->ne[2]; ++i2) {
            const int64_t matrix = i3 / (x->ne[3] / w->ne[3]) * w->ne[2] + i2 / (x->ne[2] / w->ne[2]);
            for (int64_t i1 = 0; i1 < x->ne[1]; ++i1) p.rows.push_back(collect::input_row{ matrix, row(i1, i2, i3) });
        }
    }
    return p;
}

void look(const ggml_tensor * node, const collect::member & me) {
    const std::string why = refusal(node_parts(node)); // the same on every thread
    if (why.empty()) {
        collecting->add([node] { return describe(node); }, me);
    } else if (me.ith == 0) {
        left().note(node->src[0]->name, why);
    }
}

// Both say false: the host asks its other buffer types, and then its own code.
class watching final : public ggml::cpu::tensor_traits {
    bool work_size(int, const ggml_tensor *, size_t &) override { return false; }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * node) override {
        look(node, collect::member{ params->ith, params->nth,
                                    [](void * pool) { host_barrier(static_cast<ggml_threadpool *>(pool)); },
                                    params->threadpool });
        return false;
    }
};

class watcher final : public ggml::cpu::extra_buffer_type {
    watching products;

    bool supports_op(ggml_backend_dev_t, const ggml_tensor *) override { return false; }
    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * node) override {
        return is_watched(node) ? &products : nullptr;
    }
};

// -------------------------------------------------------------------------------------------------------- settings

// Of a file in /proc: calls use for each line.
template <class Use>
void each_line(const char * path, Use use) {
    std::FILE * file = std::fopen(path, "re");
    char        line[4352];
    while (file && std::fgets(line, sizeof(line), file)) use(line);
    if (file) std::fclose(file);
}

// Half of the memory that is free.
uint64_t usual_memory() {
    unsigned long long kib = 0;
    each_line("/proc/meminfo", [&](const char * line) { std::sscanf(line, "MemAvailable: %llu", &kib); });
    return uint64_t(kib) * 1024 / 2;
}

// The file name of the model, if the process has mapped one alone.
std::string model_name() {
    std::set<std::string> names;
    each_line("/proc/self/maps", [&](char * line) {
        line[std::strcspn(line, "\n")] = 0;
        const char * path = std::strchr(line, '/'), * slash = std::strrchr(line, '/');
        const size_t n = std::strlen(line);
        if (path && n > 5 && std::strcmp(line + n - 5, ".gguf") == 0 && is_plain(slash + 1)) names.insert(slash + 1);
    });
    return names.size() == 1 ? *names.begin() : std::string();
}

// Empty, or what is wrong. At least 1; unset stays as it is.
std::string read_number(const char * name, uint64_t largest, uint64_t & to) {
    const char * text = variable(name);
    if (!text) return {};
    const size_t digits = std::strspn(text, "0123456789");
    errno = 0;
    const unsigned long long number = std::strtoull(text, nullptr, 10);
    if (digits == 0 || text[digits] || errno || number < 1 || number > largest) {
        return std::string(name) + " is \"" + printable(std::string(text, strnlen(text, 64)).c_str()) +
               "\" instead of a whole number from 1 to " + std::to_string(largest);
    }
    to = number;
    return {};
}

void at_exit(int status, void *) {
    if (getpid() != owner) return;
    try {
        collecting->finish(status);
        left().tell();
    } catch (const std::exception &) {
        say("nothing was written: there is no memory left");
    }
}

} // namespace

bool is_collecting() { return collecting != nullptr; }

bool start_collecting(const host & host) {
    const char * file = variable("SPARAMX_COLLECT");
    if (!file) return false;
    collect::settings set;
    uint64_t          mebibytes = 0;
    std::string       why = read_number("SPARAMX_COLLECT_MATRICES", 1000000, set.matrices);
    if (why.empty()) why = read_number("SPARAMX_COLLECT_MEMORY", 1 << 30, mebibytes);
    set.memory = mebibytes ? mebibytes << 20 : usual_memory();
    set.file = file;
    set.say = [](const std::string & line) { say(printable(line.c_str())); };
    set.name_model = model_name;
    auto * made = new collect::collector();
    if (why.empty()) why = made->open(set);
    if (!why.empty()) {
        say("nothing is collected: " + printable(why.c_str()));
        delete made;
        return false;
    }
    static ggml_backend_buffer_type type = {};
    type.iface.get_name = [](ggml_backend_buffer_type_t) { return "SPARAMX_COLLECT"; };
    type.iface.alloc_buffer = [](ggml_backend_buffer_type_t, size_t) -> ggml_backend_buffer_t { return nullptr; };
    type.iface.get_alignment = [](ggml_backend_buffer_type_t) { return size_t(64); };
    type.device = host.cpu;
    type.context = static_cast<ggml::cpu::extra_buffer_type *>(new watcher());
    collecting = made;
    host_barrier = host.barrier;
    owner = getpid();
    on_exit(at_exit, nullptr);
    auto & types = host.extra_buffer_types();
    types.insert(types.begin(), &type); // before the library's, which computes
    return true;
}

void collect_inputs(const ggml_tensor * node, int ith, int nth, void (*barrier)(void *), void * barrier_data) {
    if (is_watched(node)) look(node, collect::member{ ith, nth, barrier, barrier_data });
}

} // namespace plugin
