/*
 * sparamx-ggml-cpu.hpp - libsparamx as an extra buffer type of ggml's CPU backend.
 *
 * Header only, for C++17, compiled by the host against its own ggml headers: it needs ggml's "traits.h" (in
 * ggml/src/ggml-cpu) and works with every ggml since December 2024; sparamx.h and the other sparamx-ggml-* lie beside
 * it. The library itself is loaded at run time.
 *
 * A host calls sparamx_ggml::buffer_type() once, before it loads a model, and puts the result first into the list that
 * ggml_backend_cpu_get_extra_buffer_types() returns. NULL means that the library cannot be used here: one line on
 * stderr says why, and the host goes on with its own kernels.
 *
 * A ggml without extra buffer types (ik_llama.cpp) defines SPARAMX_GGML_WITHOUT_TRAITS and calls the functions below
 * "ops" itself; see examples/ik_llama.cpp.
 *
 * Environment, read once, and not at all in programs that have more rights than their user:
 *   SPARAMX_LIB    the library's file; without it the dynamic linker looks for libsparamx.so.0
 *   SPARAMX_TAKE   only weights with such names are taken: patterns, separated by commas, found anywhere in the name;
 *                  * stands for any characters, ? for one, ^ and $ for the ends of the name
 *   SPARAMX_LEAVE  weights with such names are not taken
 *   SPARAMX_TIED   take (the default) or leave: the output matrix of models that use their token embedding for it. The
 *                  host keeps the embedding itself too, to look up rows: leave saves that memory
 *   SPARAMX_NUMA   interleave, mirror or distribute: where packed weights are on a machine with several memory nodes,
 *                  as sparamx.h says of SPARAMX_NUMA_*. mirror takes the memory of one copy per node
 *   SPARAMX_FORM   auto (the default) or coded: BF16 weights get a coded form, in 12 bits instead of 16 and without
 *                  loss, where that saves at least a sixteenth
 *   SPARAMX_CACHE  a directory in which packed weights are kept: see sparamx-ggml-cache.hpp
 *   SPARAMX_STATS  set: the time spent in products and the memory of the weights are printed when the process ends
 *   SPARAMX_REFERENCE  set, for tests: works without AVX-512 too, with kernels that are too slow for anything else
 * Weights that other ops than matrix products read are left to the host in any case: see sparamx-ggml-placement.h.
 *
 * The pages of a model file that the host has mapped are given back once they are packed: see sparamx-ggml-pages.hpp.
 */
#ifndef SPARAMX_GGML_CPU_HPP
#define SPARAMX_GGML_CPU_HPP

#include "ggml-backend-impl.h"
#include "ggml.h"

#ifndef SPARAMX_GGML_WITHOUT_TRAITS
#include "ggml-cpu.h"
#include "traits.h"
#endif

#include "sparamx-ggml-cache.hpp"
#include "sparamx-ggml-library.hpp"
#include "sparamx-ggml-pages.hpp"
#include "sparamx-ggml-report.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <type_traits>

namespace sparamx_ggml {

/* ------------------------------------------------------------------------------------------------- buffers -- */

/* The members of ggml_backend_buffer_i. A buffer's context is the library's buffer. */
namespace buffers {

inline const sparamx_api * api() { return library::get().api; }
inline sparamx_buffer * own(ggml_backend_buffer_t buffer) { return static_cast<sparamx_buffer *>(buffer->context); }

inline void check(sparamx_status status, const char * what, const ggml_tensor * tensor) {
    if (status != SPARAMX_OK) fail(api(), what, tensor, status);
}

inline bool can_be_packed(const sparamx_tensor & t) {
    return api()->supports_weight(&t, SPARAMX_OP_MUL_MAT) == SPARAMX_OK ||
           api()->supports_weight(&t, SPARAMX_OP_MUL_MAT_ID) == SPARAMX_OK;
}

/* After an upload from data, which may lie in the mapped model file. */
inline void uploaded(ggml_backend_buffer_t b, const ggml_tensor * tensor, const sparamx_tensor & t, const void * data,
                     size_t size) {
    load_report::get().written(api(), own(b), tensor, t, own(b));
    pages::give_back(data, size);
}

/* A weight that arrives whole may be in the cache, and goes into it if it is not. t: as it stands in the library's
 * buffer; whose: by what the report knows the host's. */
inline void upload(const void * whose, const ggml_tensor * tensor, sparamx_buffer * buffer, const sparamx_tensor & t,
                   const void * data, size_t offset, size_t size) {
    packed_cache &      cache = packed_cache::get();
    packed_cache::place place;
    if (offset == 0 && size == bytes_of(tensor) && can_be_packed(t)) place = cache.find(api(), t, data, size);
    if (!cache.load(api(), place, buffer, t)) {
        check(api()->buffer_set_tensor(buffer, &t, data, offset, size), "upload", tensor);
        cache.packed(api(), place, buffer, t);
    }
    load_report::get().written(api(), whose, tensor, t, buffer);
    if (load_report::get().is_complete()) cache.complete(api());
    pages::give_back(data, size);
}

/* Returns what the host's ggml wants returned: a status since February 2025, nothing before. */
template <class Result>
Result init_tensor(ggml_backend_buffer_t buffer, ggml_tensor * tensor) {
    sparamx_status status = SPARAMX_OK;
    /* a view that looks like its source would be taken for a new tensor */
    if (!tensor->view_src && !is_empty(tensor)) {
        sparamx_tensor t = translate(tensor);
        status = api()->buffer_init_tensor(own(buffer), &t);
        if (status == SPARAMX_OK && can_be_packed(t)) load_report::get().announced(own(buffer), tensor);
    }
    if constexpr (std::is_void_v<Result>) {
        check(status, "init", tensor);
    } else {
        if (status == SPARAMX_OK) return GGML_STATUS_SUCCESS;
        say(failure(api(), "init", tensor, status));
        return status == SPARAMX_ERR_NO_MEMORY ? GGML_STATUS_ALLOC_FAILED : GGML_STATUS_FAILED;
    }
}

template <class Result>
void use_init_tensor(Result (*&member)(ggml_backend_buffer_t, ggml_tensor *)) {
    member = init_tensor<Result>;
}

/* Copies in two dimensions exist in ggml since April 2026. */
template <class Interface>
auto use_2d(Interface & i, int) -> decltype(i.set_tensor_2d, void()) {
    i.set_tensor_2d = [](ggml_backend_buffer_t b, ggml_tensor * tensor, const void * data, size_t offset, size_t size,
                         size_t copies, size_t tensor_stride, size_t data_stride) {
        sparamx_tensor t = translate(tensor);
        check(api()->buffer_set_tensor_2d(own(b), &t, data, offset, size, copies, tensor_stride, data_stride),
              "upload", tensor);
        uploaded(b, tensor, t, data, size && copies ? data_stride * (copies - 1) + size : 0);
    };
    i.get_tensor_2d = [](ggml_backend_buffer_t b, const ggml_tensor * tensor, void * data, size_t offset, size_t size,
                         size_t copies, size_t tensor_stride, size_t data_stride) {
        sparamx_tensor t = translate(tensor);
        check(api()->buffer_get_tensor_2d(own(b), &t, data, offset, size, copies, tensor_stride, data_stride),
              "read", tensor);
    };
}
template <class Interface>
void use_2d(Interface &, long) {}

/* Buffers had a name of their own until the end of 2024, and have one in ik_llama.cpp. */
template <class Interface>
auto use_get_name(Interface & i, int) -> decltype(i.get_name, void()) {
    i.get_name = [](ggml_backend_buffer_t) { return api()->buffer_type_name(); };
}
template <class Interface>
void use_get_name(Interface &, long) {}

bool copy_tensor(ggml_backend_buffer_t b, const ggml_tensor * src, ggml_tensor * dst);

inline ggml_backend_buffer_i make_interface() {
    ggml_backend_buffer_i i = {};
    i.free_buffer = [](ggml_backend_buffer_t b) {
        packed_cache::get().forget(api(), own(b));
        load_report::get().freed(own(b));
        destroy(api(), own(b));
    };
    i.get_base = [](ggml_backend_buffer_t b) { return api()->buffer_base(own(b)); };
    use_init_tensor(i.init_tensor);
    i.memset_tensor = [](ggml_backend_buffer_t b, ggml_tensor * tensor, uint8_t value, size_t offset, size_t size) {
        sparamx_tensor t = translate(tensor);
        check(api()->buffer_memset_tensor(own(b), &t, value, offset, size), "fill", tensor);
    };
    i.set_tensor = [](ggml_backend_buffer_t b, ggml_tensor * tensor, const void * data, size_t offset, size_t size) {
        sparamx_tensor t = translate(tensor);
        upload(own(b), tensor, own(b), t, data, offset, size);
    };
    i.get_tensor = [](ggml_backend_buffer_t b, const ggml_tensor * tensor, void * data, size_t offset, size_t size) {
        sparamx_tensor t = translate(tensor);
        check(api()->buffer_get_tensor(own(b), &t, data, offset, size), "read", tensor);
    };
    use_2d(i, 0);
    use_get_name(i, 0);
    i.cpy_tensor = copy_tensor;
    i.clear = [](ggml_backend_buffer_t b, uint8_t value) {
        check(api()->buffer_clear(own(b), value), "clear", nullptr);
    };
    i.reset = [](ggml_backend_buffer_t b) { check(api()->buffer_reset(own(b)), "reset", nullptr); };
    return i;
}

/* False leaves the copy to ggml, which then reads and writes by get_tensor and set_tensor. */
inline bool copy_tensor(ggml_backend_buffer_t b, const ggml_tensor * src, ggml_tensor * dst) {
    if (!src->buffer) return false;
    const bool ours = src->buffer->buft == b->buft;
    if (!ours && !is_host(src->buffer)) return false;
    sparamx_tensor from = translate(src, ours ? own(src->buffer) : nullptr), to = translate(dst);
    return api()->buffer_copy_tensor(own(b), &from, &to) == SPARAMX_OK;
}

} // namespace buffers

/* --------------------------------------------------------------------------------------------- buffer type -- */

struct type_state {
    decltype(&ggml_backend_buffer_init) buffer_init = nullptr; /* of the host: a plugin looks it up at run time */
    ggml_backend_buffer_type            type = {};
};

inline type_state & state() {
    static type_state * s = new type_state();
    return *s;
}

inline bool in_our_buffer(const ggml_tensor * t) {
    return t->buffer && t->buffer->buft == &state().type;
}

inline size_t alloc_size(ggml_backend_buffer_type_t, const ggml_tensor * tensor) {
    const sparamx_api *  api = library::get().api;
    const sparamx_tensor t = translate(tensor);
    size_t               bytes = 0;
    const sparamx_status status = api->buffer_type_alloc_size(&t, &bytes);
    /* Hosts ask for tensors that they never place here, and none of them must end the process: what the library does
     * not know takes the bytes that it has, and the host hears of a failure when it places it. */
    return status == SPARAMX_OK ? bytes : bytes_of(tensor);
}

inline ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t type, size_t size) {
    const sparamx_api *    api = library::get().api;
    sparamx_buffer_options options = {};
    options.size = sizeof(options);
    options.numa = library::get().rules.numa;
    options.form = library::get().rules.coded ? SPARAMX_FORM_AUTO_CODED : SPARAMX_FORM_AUTO;
    options.usage = SPARAMX_USAGE_WEIGHTS; /* schedulers put nothing but weights into extra buffer types */
    sparamx_buffer *     buffer = nullptr;
    const sparamx_status status = api->buffer_create(size, &options, &buffer);
    if (status != SPARAMX_OK) {
        say(std::string("a buffer of ") + std::to_string(size) + " bytes: " + api->status_string(status));
        return nullptr;
    }
    ggml_backend_buffer_t result = state().buffer_init(type, buffers::make_interface(), buffer, size);
    if (!result) api->buffer_destroy(buffer);
    return result;
}

/* Fills in the buffer type, except for what only ggmls with devices have. False if the library cannot be used; a line
 * on stderr says why, or what is used. */
inline bool start(decltype(&ggml_backend_buffer_init) buffer_init) {
    const library & lib = library::get();
    if (!lib.api) {
        say("not used: " + lib.about);
        return false;
    }
    say(lib.about);
    type_state & s = state();
    s.buffer_init = buffer_init;
    s.type.iface.get_name = [](ggml_backend_buffer_type_t) { return library::get().api->buffer_type_name(); };
    s.type.iface.alloc_buffer = alloc_buffer;
    s.type.iface.get_alignment = [](ggml_backend_buffer_type_t) { return library::get().api->buffer_type_alignment(); };
    s.type.iface.get_max_size = [](ggml_backend_buffer_type_t) { return library::get().api->buffer_type_max_size(); };
    s.type.iface.get_alloc_size = alloc_size;
    s.type.iface.is_host = [](ggml_backend_buffer_type_t) { return library::get().api->buffer_type_is_host(); };
    return true;
}

/* ----------------------------------------------------------------------------------------------------- ops -- */

/* A product with a weight of ours. For every node on every thread: one comparison for those that are not. */
inline bool owns(const ggml_tensor * node) {
    const ggml_tensor * weight = node->src[0];
    bool                ours = weight && in_our_buffer(weight);
#ifdef SPARAMX_GGML_FUSED
    ours = ours || (node->src[1] && in_our_buffer(node->src[1]));
#endif
    return ours && node_parts(node).kind != 0;
}

inline sparamx_buffer * buffer_of(const ggml_tensor * weight) {
    return weight && weight->data && in_our_buffer(weight) ? buffers::own(weight->buffer) : nullptr;
}

/* Ours, or as the host has it in its own memory: the second of a fused pair may have been left to the host. */
inline bool is_whole_weight(const ggml_tensor * weight) {
    return weight->op == GGML_OP_NONE && !weight->view_src &&
        (in_our_buffer(weight) || !weight->buffer || is_host(weight->buffer));
}

/* Why a loader's weight does not come here, "" if it does. */
inline std::string refusal(const ggml_tensor * node, const node_parts & parts) {
    const library & lib = library::get();
    const char *    name = parts.weight->name;
    if (const char * why = lib.rules.refusal(name, reading::product)) return why;
    product              p(node, buffer_of(parts.weight), buffer_of(parts.weight2));
    const sparamx_status status = lib.api->supports_op(&p.op);
    return status == SPARAMX_OK ? std::string() : lib.api->status_string(status);
}

/* What a loader asks with a weight that has no data yet, for the line that is printed later. */
inline bool report_asked(const ggml_tensor * node, const node_parts & parts) {
    const std::string   why = refusal(node, parts);
    const ggml_tensor * w = parts.weight;
    const double        share = parts.ids && w->ne[2] > parts.ids->ne[0] ?
                                    double(parts.ids->ne[0]) / double(w->ne[2]) : 1;
    load_report::get().asked(w->name, bytes_of(w), share, why);
    return why.empty();
}

/* Asked by loaders, with a weight whose buffer is empty and without other buffers, and by schedulers, of nodes that
 * have a source in our buffer. */
inline bool supports(const ggml_tensor * node) {
    if (!owns(node)) return false;
    const node_parts    parts(node);
    const ggml_tensor * weight = parts.weight;
    const ggml_tensor * x = parts.x;
    if (x->type != GGML_TYPE_F32 || (x->buffer && !is_host(x->buffer))) return false;
    if (parts.ids && parts.ids->buffer && !is_host(parts.ids->buffer)) return false;
    const bool placed = weight->data != nullptr;
    if (placed && is_empty(node)) return true;
    if (!is_whole_weight(weight) || (parts.weight2 && !is_whole_weight(parts.weight2))) return false;
    /* Names decide where a weight goes, not what becomes of one that is here already. */
    if (!placed) return report_asked(node, parts);
    load_report::get().tell();
    product p(node, buffer_of(weight), buffer_of(parts.weight2));
    return library::get().api->supports_op(&p.op) == SPARAMX_OK;
}

/* Of a node that owns() knows. */
inline size_t work_size(const ggml_tensor * node, int n_threads) {
    load_report::get().tell();
    if (is_empty(node)) return 0; /* a layer of which no output is wanted: no tokens */
    const sparamx_api *  api = library::get().api;
    product              p(node, buffer_of(node->src[0]), buffer_of(node_parts(node).weight2));
    size_t               bytes = 0;
    const sparamx_status status = api->work_size(&p.op, n_threads, &bytes);
    if (status != SPARAMX_OK) fail(api, "work size", node->src[0], status);
    return bytes;
}

/* Of a node that owns() knows, by each of the nth threads. What was accepted is computed, or the process ends: the
 * host's own kernel must never see packed bytes. */
inline void compute(const ggml_tensor * node, int ith, int nth, size_t work_size, void * work, void (*barrier)(void *),
                    void * barrier_data) {
    if (is_empty(node)) return;
    const sparamx_api * api = library::get().api;
    product             p(node, buffer_of(node->src[0]), buffer_of(node_parts(node).weight2));
    sparamx_params      q = {};
    q.size = sizeof(q);
    q.ith = ith;
    q.nth = nth;
    q.work_size = work_size;
    q.work = work;
    q.barrier = barrier;
    q.barrier_data = barrier_data;
    const bool           timed = statistics_wanted() && ith == 0;
    const auto           since = timed ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
    const sparamx_status status = api->compute(&q, &p.op);
    if (status != SPARAMX_OK) fail(api, "product", node->src[0], status);
    if (timed) statistics::get().add(node, since);
}

#ifndef SPARAMX_GGML_WITHOUT_TRAITS

/* -------------------------------------------------------------------------------------- extra buffer type -- */

inline void (*host_barrier)(ggml_threadpool * threadpool) = nullptr;

class traits final : public ggml::cpu::tensor_traits {
    bool work_size(int n_threads, const ggml_tensor * node, size_t & size) override {
        size = sparamx_ggml::work_size(node, n_threads);
        return true;
    }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * node) override {
        compute(node, params->ith, params->nth, params->wsize, params->wdata,
                [](void * threadpool) { host_barrier(static_cast<ggml_threadpool *>(threadpool)); },
                params->threadpool);
        return true;
    }
};

class extra_buffer_type final : public ggml::cpu::extra_buffer_type {
    traits products;

    bool supports_op(ggml_backend_dev_t, const ggml_tensor * node) override { return supports(node); }
    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * node) override {
        if (owns(node)) return &products;
        if (!load_report::get().is_quiet()) report_left(node);
        return nullptr;
    }

    /* The host computes something itself. */
    static void report_left(const ggml_tensor * node) {
        const ggml_tensor * w = node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID ? node->src[0] : nullptr;
        if (!w) return;
        const bool whole = w->op == GGML_OP_NONE && !w->view_src && !is_empty(w) && w->ne[1] > 1 &&
                           buffers::can_be_packed(translate(w));
        load_report::get().computing(whole ? w : nullptr);
    }
};

/* The buffer type, or NULL with a line on stderr. The first call decides. cpu: the device it belongs to. */
inline ggml_backend_buffer_type_t buffer_type(decltype(&ggml_backend_buffer_init) buffer_init,
                                              void (*barrier)(ggml_threadpool *), ggml_backend_dev_t cpu) {
    library::get(); /* before anything is held: see there */
    static ggml_backend_buffer_type_t result = [&]() -> ggml_backend_buffer_type_t {
        if (!start(buffer_init)) return nullptr;
        host_barrier = barrier;
        state().type.device = cpu;
        state().type.context = static_cast<ggml::cpu::extra_buffer_type *>(new extra_buffer_type());
        return &state().type;
    }();
    return result;
}

#ifndef SPARAMX_GGML_PLUGIN
/* For hosts that compile this header into their CPU backend. */
inline ggml_backend_buffer_type_t buffer_type() {
    return buffer_type(ggml_backend_buffer_init, ggml_barrier, ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0));
}
#endif

#endif /* SPARAMX_GGML_WITHOUT_TRAITS */

} // namespace sparamx_ggml

#endif /* SPARAMX_GGML_CPU_HPP */
