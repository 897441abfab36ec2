#include "kv_caches.hpp"

#include "sparamx-ggml-cpu.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>

namespace plugin {
namespace {

const sparamx_api * api() { return sparamx_ggml::library::get().api; }

// The host's names: cache_k_l0, cache_v_l31.
bool is_cache(const ggml_tensor * t) {
    return t && (std::strncmp(t->name, "cache_k_l", 9) == 0 || std::strncmp(t->name, "cache_v_l", 9) == 0);
}

// The tensor that this one is a part of, or itself.
const ggml_tensor * whole(const ggml_tensor * t) {
    return t->view_src ? t->view_src : t;
}

bool is_served(ggml_type type) {
    return type == GGML_TYPE_F16 || type == GGML_TYPE_BF16 || type == GGML_TYPE_F32;
}

// Rows of all heads, one cell after the other, as llama.cpp looks at its cache.
bool has_rows(const ggml_tensor * t) {
    const ggml_tensor * root = t->view_src;
    const size_t        element = t->type == GGML_TYPE_F32 ? 4 : 2;
    return root && is_cache(root) && root->buffer && is_served(t->type) && root->type == t->type &&
           t->ne[0] % 16 == 0 && t->ne[0] <= SPARAMX_KV_DIM_MAX && t->nb[0] == element &&
           t->nb[2] == element * size_t(t->ne[0]) && t->nb[1] == root->nb[1] && root->ne[0] == t->ne[0] * t->ne[2] &&
           t->ne[1] <= root->ne[1] && (t->ne[3] == 1 || t->nb[3] == root->nb[2]) && root->ne[3] == 1;
}

// Of the first stream of a view; -1 if it does not begin with one.
int64_t first_stream(const ggml_tensor * t) {
    const ggml_tensor * root = t->view_src;
    const size_t offset = size_t(static_cast<const char *>(t->data) - static_cast<const char *>(root->data));
    return offset % root->nb[2] == 0 ? int64_t(offset / root->nb[2]) : -1;
}

} // namespace

kv_caches & kv_caches::get() {
    static kv_caches * caches = new kv_caches();
    return *caches;
}

void kv_caches::start(float keys, float values, bool kept) {
    k_zeros = keys;
    v_zeros = values;
    as_they_are = kept;
}

bool kv_caches::is_attention(const ggml_tensor * node) {
    if (node->op != GGML_OP_FLASH_ATTN_EXT || sparamx_ggml::is_empty(node)) return false;
    const ggml_tensor * q = node->src[0], * k = node->src[1], * v = node->src[2], * mask = node->src[3];
    return q->ne[1] <= SPARAMX_KV_TOKENS_MAX && q->type == GGML_TYPE_F32 && mask && mask->type == GGML_TYPE_F16 &&
           has_rows(k) && has_rows(v) && k->view_src != v->view_src;
}

bool kv_caches::is_write(const ggml_tensor * node) {
    switch (node->op) {
    case GGML_OP_NONE:
    case GGML_OP_VIEW:
    case GGML_OP_RESHAPE:
    case GGML_OP_PERMUTE:
    case GGML_OP_TRANSPOSE: return false;
    default: return is_cache(node->view_src);
    }
}

kv_caches::root & kv_caches::root_of(const ggml_tensor * tensor) {
    root & r = roots[tensor];
    if (r.there.empty()) {
        r.there.resize(size_t(tensor->ne[1] * tensor->ne[2]));
        r.newest.assign(size_t(tensor->ne[2]), -1);
        hook(tensor->buffer);
    }
    return r;
}

// Cells of all streams, one stream after the other.
void kv_caches::mark(const ggml_tensor * tensor, int64_t first, int64_t n) {
    root &        r = root_of(tensor);
    const int64_t cells = tensor->ne[1], end = std::min(first + n, cells * tensor->ne[2]);
    const auto    found = layers.find(tensor);
    while (first >= 0 && first < end) {
        const int64_t stream = first / cells, stop = std::min(end, (stream + 1) * cells);
        std::fill(r.there.begin() + first, r.there.begin() + stop, true);
        r.newest[size_t(stream)] = stop - 1 - stream * cells;
        if (found != layers.end()) {
            api()->kv_touch(found->second->caches[size_t(stream)], first - stream * cells, stop - first);
        }
        first = stop;
    }
}

void kv_caches::mark_bytes(const ggml_tensor * tensor, size_t offset, size_t size) {
    const ggml_tensor * root = whole(tensor);
    if (!is_cache(root) || size == 0) return;
    offset += size_t(static_cast<const char *>(tensor->data) - static_cast<const char *>(root->data));
    const size_t first = offset / root->nb[1], last = (offset + size - 1) / root->nb[1];
    mark(root, int64_t(first), int64_t(last - first + 1));
}

// Around the graph: what the host's own function wrote. Nothing is thrown into the host.
void kv_caches::written_bytes(const ggml_tensor * tensor, size_t offset, size_t size) {
    std::lock_guard<std::mutex> lock(mutex);
    try {
        mark_bytes(tensor, offset, size);
    } catch (const std::exception &) {
        give_up();
    }
}

// What was written is not known any more, so no packed copy can be trusted.
void kv_caches::give_up() {
    lost = true;
    refuse_locked("there is no memory left");
}

void kv_caches::written(const ggml_tensor * node) {
    std::lock_guard<std::mutex> lock(mutex);
    try {
        const ggml_tensor * root = node->view_src, * ids = node->src[1];
        if (node->op == GGML_OP_SET_ROWS && ids && ids->type == GGML_TYPE_I64 && ids->ne[1] * ids->ne[2] == 1 &&
            node->nb[1] == root->nb[1]) {
            for (int64_t i = 0; i < ids->ne[0]; ++i) mark(root, static_cast<const int64_t *>(ids->data)[i], 1);
        } else {
            mark_bytes(root, 0, root->nb[2] * size_t(root->ne[2]));
        }
    } catch (const std::exception &) {
        give_up();
    }
}

void kv_caches::refuse(const char * why) {
    std::lock_guard<std::mutex> lock(mutex);
    refuse_locked(why);
}

void kv_caches::refuse_locked(const char * why) {
    if (!refused) sparamx_ggml::say(std::string("a key-value cache is left to the host: ") + why);
    refused = true;
}

// Packed copies of a layer's keys and values. Cells that were written before are there.
kv_caches::layer * kv_caches::make(const ggml_tensor * node) {
    const ggml_tensor * k = node->src[1], * v = node->src[2], * kr = k->view_src, * vr = v->view_src;
    const auto          found = layers.find(kr);
    if (found != layers.end()) return found->second->v == vr ? found->second.get() : nullptr;
    if (kr->ne[1] != vr->ne[1] || kr->ne[2] != vr->ne[2] || k->ne[2] != v->ne[2]) return nullptr;
    auto          made = std::make_shared<layer>();
    const int64_t cells = kr->ne[1];
    made->k = kr;
    made->v = vr;
    made->caches.reserve(size_t(kr->ne[2]));
    sparamx_kv_options o = {};
    o.size = sizeof(o);
    o.type_k = k->type;
    o.type_v = v->type;
    o.values = as_they_are ? SPARAMX_KV_KEPT : SPARAMX_KV_INT8;
    o.heads = int32_t(k->ne[2]);
    o.k_dim = int32_t(k->ne[0]);
    o.v_dim = int32_t(v->ne[0]);
    o.k_zeros = k_zeros;
    o.v_zeros = v_zeros;
    o.cells = cells;
    o.k_stride = kr->nb[1];
    o.v_stride = vr->nb[1];
    root & of_k = root_of(kr), & of_v = root_of(vr);
    for (int64_t s = 0; s < kr->ne[2]; ++s) {
        o.k_rows = static_cast<const char *>(kr->data) + size_t(s) * kr->nb[2];
        o.v_rows = static_cast<const char *>(vr->data) + size_t(s) * vr->nb[2];
        sparamx_kv *         kv = nullptr;
        const sparamx_status status = api()->kv_create(&o, &kv);
        if (status != SPARAMX_OK) {
            for (sparamx_kv * other : made->caches) api()->kv_destroy(other);
            refuse_locked(api()->status_string(status));
            return nullptr;
        }
        made->caches.push_back(kv);
        for (int64_t c = 0; c < cells; ++c) {
            const size_t at = size_t(s * cells + c);
            if (of_k.there[at] || of_v.there[at]) api()->kv_touch(kv, c, 1);
        }
    }
    layers[kr] = made;
    layers[vr] = made;
    return made.get();
}

bool kv_caches::ask(const ggml_tensor * node, layer & l, int threads) {
    const ggml_tensor * q = node->src[0], * k = node->src[1], * v = node->src[2];
    const int64_t       first = first_stream(k), streams = k->ne[3];
    if (first < 0 || first != first_stream(v) || first + streams > int64_t(l.caches.size())) return false;
    job & j = l.work;
    j.caches.assign(l.caches.begin() + first, l.caches.begin() + first + streams);
    j.pointers.assign(j.caches.begin(), j.caches.end());
    const root & r = root_of(l.k);
    j.newest.assign(r.newest.begin() + first, r.newest.begin() + first + streams);
    j.q = sparamx_ggml::translate(q);
    j.dst = sparamx_ggml::translate(node);
    j.mask = sparamx_ggml::translate(node->src[3]);
    j.ask = {};
    j.ask.size = sizeof(j.ask);
    j.ask.streams = int32_t(streams);
    j.ask.q = &j.q;
    j.ask.dst = &j.dst;
    j.ask.mask = &j.mask;
    if (node->src[4]) {
        j.sinks = sparamx_ggml::translate(node->src[4]);
        j.ask.sinks = &j.sinks;
    }
    j.ask.kv = j.pointers.data();
    j.ask.cells = k->ne[1];
    float numbers[3];
    std::memcpy(numbers, node->op_params, sizeof(numbers));
    j.ask.scale = numbers[0];
    j.ask.max_bias = numbers[1];
    j.ask.softcap = numbers[2];
    size_t               bytes = 0;
    const sparamx_status status = api()->attention_work_size(&j.ask, threads, &bytes);
    if (status != SPARAMX_OK) {
        refuse_locked(api()->status_string(status));
        return false;
    }
    if (j.work.size() < bytes) j.work.resize(bytes);
    for (int64_t s = 0; s < streams && k_zeros > 0; ++s) {
        sparamx_tensor one = j.q;
        one.ne[3] = 1;
        one.data = static_cast<char *>(j.q.data) + uint64_t(s) * j.q.nb[3];
        api()->kv_observe(j.caches[size_t(s)], &one);
    }
    l.served++;
    return true;
}

void kv_caches::prepare(const ggml_tensor * node, int threads) {
    std::lock_guard<std::mutex> lock(mutex);
    layer *                     l = nullptr;
    try {
        l = make(node);
        if (l) l->work.ready = !lost && ask(node, *l, threads);
    } catch (const std::exception &) {
        if (l) l->work.ready = false;
        refuse_locked("there is no memory left");
    }
}

kv_caches::job * kv_caches::prepared(const ggml_tensor * node) {
    std::lock_guard<std::mutex> lock(mutex);
    const auto                  found = layers.find(node->src[1]->view_src);
    if (found == layers.end() || found->second->v != node->src[2]->view_src) return nullptr;
    return found->second->work.ready ? &found->second->work : nullptr;
}

// ---------------------------------------------------------------------------------- what is written around the graph

ggml_backend_buffer_i kv_caches::before(ggml_backend_buffer_t buffer) {
    std::lock_guard<std::mutex> lock(mutex);
    return hooks[buffer];
}

template <class Interface>
auto kv_caches::hook_2d(Interface & i, int) -> decltype(i.set_tensor_2d, void()) {
    if (!i.set_tensor_2d) return; // the host then writes row by row
    i.set_tensor_2d = [](ggml_backend_buffer_t b, ggml_tensor * t, const void * data, size_t offset, size_t size,
                         size_t copies, size_t tensor_stride, size_t data_stride) {
        get().before(b).set_tensor_2d(b, t, data, offset, size, copies, tensor_stride, data_stride);
        get().written_bytes(t, offset, size && copies ? tensor_stride * (copies - 1) + size : 0);
    };
}

// The host's own functions, and then a mark.
void kv_caches::hook(ggml_backend_buffer_t buffer) {
    if (!hooks.emplace(buffer, buffer->iface).second) return;
    ggml_backend_buffer_i & i = buffer->iface;
    i.set_tensor = [](ggml_backend_buffer_t b, ggml_tensor * t, const void * data, size_t offset, size_t size) {
        get().before(b).set_tensor(b, t, data, offset, size);
        get().written_bytes(t, offset, size);
    };
    i.memset_tensor = [](ggml_backend_buffer_t b, ggml_tensor * t, uint8_t value, size_t offset, size_t size) {
        get().before(b).memset_tensor(b, t, value, offset, size);
        get().written_bytes(t, offset, size);
    };
    i.cpy_tensor = [](ggml_backend_buffer_t b, const ggml_tensor * from, ggml_tensor * to) {
        const bool done = get().before(b).cpy_tensor(b, from, to);
        if (done) get().written_bytes(to, 0, sparamx_ggml::bytes_of(to));
        return done;
    };
    i.clear = [](ggml_backend_buffer_t b, uint8_t value) {
        get().before(b).clear(b, value);
        std::lock_guard<std::mutex> lock(get().mutex);
        for (const auto & [tensor, r] : get().roots) {
            if (tensor->buffer == b) get().mark(tensor, 0, tensor->ne[1] * tensor->ne[2]);
        }
    };
    i.free_buffer = [](ggml_backend_buffer_t b) {
        const auto own = get().before(b).free_buffer;
        {
            std::lock_guard<std::mutex> lock(get().mutex);
            get().forget(b);
        }
        own(b);
    };
    hook_2d(i, 0);
}

// Says what became of the caches of a buffer that goes.
void kv_caches::forget(ggml_backend_buffer_t buffer) {
    uint64_t served = 0, packed = 0, blocks = 0, kept = 0;
    for (auto at = layers.begin(); at != layers.end();) {
        layer & l = *at->second;
        if (at->first->buffer != buffer) {
            ++at;
            continue;
        }
        if (at->first == l.k) {
            served += l.served;
            kept++;
            for (sparamx_kv * kv : l.caches) {
                sparamx_kv_info info = {};
                info.size = sizeof(info);
                api()->kv_get_info(kv, &info);
                packed += info.packed_bytes;
                blocks += uint64_t(info.packed_blocks);
                api()->kv_destroy(kv);
            }
            l.caches.clear();
        }
        at = layers.erase(at);
    }
    bool written = false;
    for (auto at = roots.begin(); at != roots.end();) {
        const bool is_here = at->first->buffer == buffer;
        written = written || is_here;
        at = is_here ? roots.erase(at) : std::next(at);
    }
    if (written && !kept) {
        refuse_locked("nothing attended to it as SPARAMX_KV needs it: flash attention (not -fa off), at most 16 tokens "
                      "at a time, keys and values of F16, BF16 or F32");
    }
    buffer->iface = hooks[buffer];
    hooks.erase(buffer);
    if (kept) {
        sparamx_ggml::say("key-value cache: " + std::to_string(kept) + " layers, " + std::to_string(served) +
                          " attentions, " + std::to_string(blocks) + " packed blocks, " +
                          std::to_string(packed / 1024) + " KiB");
    }
}

} // namespace plugin
