#include "accel.hpp"

#include "sparamx-ggml-cpu.hpp"
#include "team.hpp"

#include <sys/mman.h>

#include <atomic>
#include <mutex>
#include <vector>

// Memory. The device's buffers are host memory, so that a scheduler copies no activations. A buffer whose tensors turn
// out to be weights is shown as one that is not (flip, below), which makes loaders upload through set_tensor; the
// library then keeps these tensors packed in a buffer of its own that has the same offsets, and the pages here stay
// untouched. Weights in any other buffer are packed as the product goes.

namespace plugin {
namespace {

using sparamx_ggml::library;
using sparamx_ggml::translate;

const host * the_host;
ggml_backend_device the_device;
ggml_backend_buffer_type plain, weights; // the same memory: host memory, or not as far as the host is concerned

const sparamx_api * api() { return library::get().api; }

// ---------------------------------------------------------------------------------------------------- buffers

struct region {
    char *                        base;
    size_t                        size;
    std::mutex                    mutex;
    std::atomic<sparamx_buffer *> packed{ nullptr };

    // The library's buffer beside this one, made when the first weight arrives.
    sparamx_buffer * pack() {
        std::lock_guard<std::mutex> lock(mutex);
        if (!packed) {
            sparamx_buffer_options options = {};
            options.size = sizeof(options);
            sparamx_buffer *     made = nullptr;
            const sparamx_status status = api()->buffer_create(size, &options, &made);
            if (status != SPARAMX_OK) sparamx_ggml::fail(api(), "a buffer", nullptr, status);
            packed = made;
        }
        return packed;
    }
};

region * own(ggml_backend_buffer_t b) { return static_cast<region *>(b->context); }

bool is_ours(const ggml_backend_buffer * b) { return b->buft == &plain || b->buft == &weights; }

bool is_packed(const ggml_tensor * t) {
    if (!t->buffer || !is_ours(t->buffer) || t->buffer->usage != GGML_BACKEND_BUFFER_USAGE_WEIGHTS || t->view_src) return false;
    const sparamx_tensor w = translate(t);
    return api()->supports_weight(&w, SPARAMX_OP_MUL_MAT) == SPARAMX_OK;
}

// The tensor as it stands in the library's buffer.
sparamx_tensor in_library(region * r, const ggml_tensor * t) {
    sparamx_buffer * packed = r->pack();
    sparamx_tensor   result = translate(t, packed);
    result.data = static_cast<char *>(api()->buffer_base(packed)) + (static_cast<char *>(t->data) - r->base);
    return result;
}

void check(sparamx_status status, const char * what, const ggml_tensor * t) {
    if (status != SPARAMX_OK) sparamx_ggml::fail(api(), what, t, status);
}

void set_tensor(ggml_backend_buffer_t b, ggml_tensor * t, const void * data, size_t offset, size_t size) {
    if (!is_packed(t)) {
        std::memcpy(static_cast<char *>(t->data) + offset, data, size);
        return;
    }
    const sparamx_tensor w = in_library(own(b), t);
    check(api()->buffer_set_tensor(w.buffer, &w, data, offset, size), "upload", t);
}

void get_tensor(ggml_backend_buffer_t b, const ggml_tensor * t, void * data, size_t offset, size_t size) {
    if (!is_packed(t)) {
        std::memcpy(data, static_cast<const char *>(t->data) + offset, size);
        return;
    }
    const sparamx_tensor w = in_library(own(b), t);
    check(api()->buffer_get_tensor(w.buffer, &w, data, offset, size), "read", t);
}

void memset_tensor(ggml_backend_buffer_t b, ggml_tensor * t, uint8_t value, size_t offset, size_t size) {
    if (!is_packed(t)) {
        std::memset(static_cast<char *>(t->data) + offset, value, size);
        return;
    }
    const sparamx_tensor w = in_library(own(b), t);
    check(api()->buffer_memset_tensor(w.buffer, &w, value, offset, size), "fill", t);
}

// Only weights are announced before a buffer is told its usage; schedulers say COMPUTE first.
ggml_status flip(ggml_backend_buffer_t b, ggml_tensor * t) {
    if (b->usage == GGML_BACKEND_BUFFER_USAGE_ANY && b->buft == &plain && t->op == GGML_OP_NONE && !t->view_src) {
        b->buft = &weights;
    }
    return GGML_STATUS_SUCCESS;
}

void free_buffer(ggml_backend_buffer_t b) {
    region * r = own(b);
    api()->buffer_destroy(r->packed);
    munmap(r->base, r->size);
    delete r;
}

void clear(ggml_backend_buffer_t b, uint8_t value) {
    region * r = own(b);
    std::memset(r->base, value, r->size);
    if (r->packed) check(api()->buffer_clear(r->packed, value), "clear", nullptr);
}

ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t, size_t size) {
    void * base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return nullptr;
    region * r = new region;
    r->base = static_cast<char *>(base);
    r->size = size;
    ggml_backend_buffer_i i = {};
    i.free_buffer = free_buffer;
    i.get_base = [](ggml_backend_buffer_t b) -> void * { return own(b)->base; };
    i.init_tensor = flip;
    i.memset_tensor = memset_tensor;
    i.set_tensor = set_tensor;
    i.get_tensor = get_tensor;
    i.clear = clear;
    return the_host->buffer_init(&plain, i, r, size);
}

// For results ggml wants exactly their size; weights need what the library needs.
size_t alloc_size(ggml_backend_buffer_type_t, const ggml_tensor * t) {
    const sparamx_tensor s = translate(t);
    size_t               bytes = 0;
    check(api()->buffer_type_alloc_size(&s, &bytes), "size", t);
    if (t->op == GGML_OP_NONE && !t->view_src) return bytes;
    size_t exact = 0; // without the rounding: the last byte that the strides reach
    if (t->ne[0] > 0) exact = t->nb[0] * t->ne[0];
    for (int i = 1; i < 4; ++i) exact += size_t(t->ne[i] - 1) * t->nb[i];
    return exact;
}

void describe(ggml_backend_buffer_type & type, bool is_host) {
    type.iface.get_name = [](ggml_backend_buffer_type_t) { return api()->buffer_type_name(); };
    type.iface.alloc_buffer = alloc_buffer;
    type.iface.get_alignment = [](ggml_backend_buffer_type_t) { return api()->buffer_type_alignment(); };
    type.iface.get_alloc_size = alloc_size;
    type.iface.is_host = is_host ? [](ggml_backend_buffer_type_t) { return true; }
                                 : [](ggml_backend_buffer_type_t) { return false; };
    type.device = &the_device;
}

// ---------------------------------------------------------------------------------------------------- backend

struct stream {
    int               n_threads = 1;
    std::vector<char> work;
};

stream * own(ggml_backend_t b) { return static_cast<stream *>(b->context); }

bool wants(const ggml_tensor * node) {
    return (node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID) && (node->flags & GGML_TENSOR_FLAG_COMPUTE) &&
           !sparamx_ggml::is_empty(node);
}

struct device_product : sparamx_ggml::product {
    explicit device_product(const ggml_tensor * node) : product(node, nullptr) {
        const ggml_tensor * w = node->src[0];
        if (is_packed(w)) weight = in_library(sparamx_of(w), w);
    }

  private:
    static region * sparamx_of(const ggml_tensor * w) { return static_cast<region *>(w->buffer->context); }
};

ggml_status graph_compute(ggml_backend_t backend, ggml_cgraph * graph) {
    stream *    s = own(backend);
    const int   n = the_host->graph_n_nodes(graph);
    size_t      need = 0;
    for (int i = 0; i < n; ++i) {
        const ggml_tensor * node = the_host->graph_node(graph, i);
        if (!wants(node)) continue;
        device_product p(node);
        size_t         bytes = 0;
        check(api()->work_size(&p.op, s->n_threads, &bytes), "work size", node->src[0]);
        need = bytes > need ? bytes : need;
    }
    if (s->work.size() < need) s->work.resize(need);

    auto work = [&](worker me) {
        for (int i = 0; i < n; ++i) {
            const ggml_tensor * node = the_host->graph_node(graph, i);
            if (!wants(node)) continue;
            device_product p(node);
            sparamx_params q = {};
            q.size = sizeof(q);
            q.ith = me.ith;
            q.nth = me.nth;
            q.work_size = s->work.size();
            q.work = s->work.data();
            q.barrier = [](void * w) { static_cast<worker *>(w)->barrier(); };
            q.barrier_data = &me;
            check(api()->compute(&q, &p.op), "product", node->src[0]);
            me.barrier(); // the next product uses the same work area
        }
    };
    run_team(*the_host, s->n_threads, work);
    return GGML_STATUS_SUCCESS;
}

ggml_backend_t init_backend(ggml_backend_dev_t dev, const char *) {
    static ggml_guid guid = { 0x73, 0x70, 0x61, 0x72, 0x61, 0x6d, 0x78, 0x2d, 0x61, 0x63, 0x63, 0x65, 0x6c, 0x2d, 0x30, 0x31 };
    ggml_backend *   b = new ggml_backend();
    b->guid = &guid;
    b->iface.get_name = [](ggml_backend_t) { return "SPARAMX"; };
    b->iface.free = [](ggml_backend_t me) {
        delete own(me);
        delete me;
    };
    b->iface.graph_compute = graph_compute;
    b->device = dev;
    b->context = new stream();
    return b;
}

void set_n_threads(ggml_backend_t backend, int n) {
    own(backend)->n_threads = n < 1 ? 1 : n > 1024 ? 1024 : n;
}

// ----------------------------------------------------------------------------------------------------- device

bool supports_op(ggml_backend_dev_t, const ggml_tensor * node) {
    switch (node->op) {
        case GGML_OP_NONE:
        case GGML_OP_RESHAPE:
        case GGML_OP_VIEW:
        case GGML_OP_PERMUTE:
        case GGML_OP_TRANSPOSE: return true;
        case GGML_OP_MUL_MAT:
        case GGML_OP_MUL_MAT_ID: break;
        default: return false;
    }
    const ggml_tensor * w = node->src[0];
    if (node->src[1]->type != GGML_TYPE_F32 || node->type != GGML_TYPE_F32) return false;
    if (w->op != GGML_OP_NONE || w->view_src) return false; // attention and the like stay with the host
    if (w->buffer) {
        if (!is_ours(w->buffer)) return false; // a weight that went elsewhere is computed there
        if (!w->data && !library::get().rules.allow(w->name)) return false;
    }
    sparamx_ggml::product p(node, nullptr);
    p.weight.data = nullptr;
    return api()->supports_op(&p.op) == SPARAMX_OK;
}

} // namespace

ggml_backend_dev_t accel_device() { return &the_device; }

void * accel_function(const char * name) {
    if (std::strcmp(name, "ggml_backend_set_n_threads") == 0) return reinterpret_cast<void *>(set_n_threads);
    return nullptr;
}

bool accel_start(const host & host, ggml_backend_reg_t reg) {
    const library & lib = library::get();
    if (!lib.api) {
        sparamx_ggml::say("not used: " + lib.about);
        return false;
    }
    sparamx_ggml::say(lib.about + ", as a device");
    the_host = &host;
    describe(plain, true);
    describe(weights, false);
    ggml_backend_device_i & i = the_device.iface;
    i.get_name = [](ggml_backend_dev_t) { return "SPARAMX"; };
    i.get_description = [](ggml_backend_dev_t) { return "libsparamx: pruned weights, packed"; };
    i.get_memory = [](ggml_backend_dev_t, size_t * free, size_t * total) { *free = *total = 0; };
    i.get_type = [](ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_ACCEL; };
    i.get_props = [](ggml_backend_dev_t dev, ggml_backend_dev_props * props) {
        *props = {};
        props->name = dev->iface.get_name(dev);
        props->description = dev->iface.get_description(dev);
        props->type = dev->iface.get_type(dev);
    };
    i.init_backend = init_backend;
    i.get_buffer_type = [](ggml_backend_dev_t) { return &plain; };
    i.supports_op = supports_op;
    i.supports_buft = [](ggml_backend_dev_t, ggml_backend_buffer_type_t type) {
        return type == &plain || type == &weights || (type->iface.is_host && type->iface.is_host(type));
    };
    the_device.reg = reg;
    return true;
}

} // namespace plugin
