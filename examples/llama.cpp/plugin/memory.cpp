#include "memory.hpp"

#include "sparamx-ggml-cpu.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>

// The device's buffers are host memory, so that a scheduler copies no activations. A buffer whose tensors turn out to
// be weights is shown as one that is not (flip, below), which makes loaders upload through set_tensor; the library
// then keeps these tensors packed in a buffer of its own that has the same offsets, and the pages here stay what they
// are at first: address space that nothing can make real, a process that locks its memory neither. Weights in any
// other buffer are packed as the product goes.

namespace plugin {
namespace {

using sparamx_ggml::library;
using sparamx_ggml::translate;

const host *              the_host;
ggml_backend_buffer_type  plain, weights; // the same memory: host memory, or not as far as the host is concerned
std::atomic<bool>         refusing{ false };

const sparamx_api * api() { return library::get().api; }

struct region {
    char *                        base;
    size_t                        size;
    std::mutex                    mutex;
    std::map<size_t, size_t>      open; // what can be read and written: from, to
    std::atomic<bool>             all_open{ false };
    std::atomic<sparamx_buffer *> packed{ nullptr };

    // The library's buffer beside this one, made when the first weight arrives.
    sparamx_buffer * pack() {
        std::lock_guard<std::mutex> lock(mutex);
        if (!packed) {
            sparamx_buffer_options options = {};
            options.size = sizeof(options);
            options.numa = sparamx_ggml::library::get().rules.numa;
            sparamx_buffer *     made = nullptr;
            const sparamx_status status = api()->buffer_create(size, &options, &made);
            if (status != SPARAMX_OK) sparamx_ggml::fail(api(), "a buffer", nullptr, status);
            packed = made;
        }
        return packed;
    }

    // Makes [from, from + n) memory. False if there is none.
    bool make_real(size_t from, size_t n) {
        if (all_open || n == 0) return true;
        const size_t page = size_t(sysconf(_SC_PAGESIZE)), end = (size + page - 1) / page * page;
        if (from > size || n > size - from) return false;
        size_t first = from / page * page, last = from + n + page - 1;
        last = last / page * page < end ? last / page * page : end;

        std::lock_guard<std::mutex> lock(mutex);
        auto before = open.upper_bound(first);
        if (before != open.begin() && std::prev(before)->second >= last) return true;
        if (mprotect(base + first, last - first, PROT_READ | PROT_WRITE) != 0) return false;
        if (before != open.begin() && std::prev(before)->second >= first) first = (--before)->first;
        while (before != open.end() && before->first <= last) {
            last = before->second > last ? before->second : last;
            before = open.erase(before);
        }
        open[first] = last;
        all_open = first == 0 && last == end;
        return true;
    }

    void clear(uint8_t value) {
        if (value != 0) {
            if (!make_real(0, size)) sparamx_ggml::fail(api(), "clear", nullptr, SPARAMX_ERR_NO_MEMORY);
            std::memset(base, value, size);
            return;
        }
        std::lock_guard<std::mutex> lock(mutex);
        for (const auto & range : open) {
            char * from = base + range.first;
            if (madvise(from, range.second - range.first, MADV_DONTNEED) == 0) continue; // zero at the next touch
            std::memset(from, 0, range.second - range.first);                            // locked
        }
    }
};

region * own(const ggml_backend_buffer * b) { return static_cast<region *>(b->context); }

// Bytes of the tensor from an offset on, as memory.
char * reach(const ggml_backend_buffer * b, const ggml_tensor * t, size_t offset, size_t size) {
    char * at = static_cast<char *>(t->data) + offset;
    if (!own(b)->make_real(size_t(at - own(b)->base), size)) {
        sparamx_ggml::fail(api(), "memory", t, SPARAMX_ERR_NO_MEMORY);
    }
    return at;
}

void check(sparamx_status status, const char * what, const ggml_tensor * t) {
    if (status != SPARAMX_OK) sparamx_ggml::fail(api(), what, t, status);
}

void set_tensor(ggml_backend_buffer_t b, ggml_tensor * t, const void * data, size_t offset, size_t size) {
    if (!is_packed(t)) {
        std::memcpy(reach(b, t, offset, size), data, size);
        return;
    }
    const sparamx_tensor w = in_library(t);
    sparamx_ggml::buffers::upload(own(b), t, w.buffer, w, data, offset, size);
}

void get_tensor(ggml_backend_buffer_t b, const ggml_tensor * t, void * data, size_t offset, size_t size) {
    if (!is_packed(t)) {
        std::memcpy(data, reach(b, t, offset, size), size);
        return;
    }
    const sparamx_tensor w = in_library(t);
    check(api()->buffer_get_tensor(w.buffer, &w, data, offset, size), "read", t);
}

void memset_tensor(ggml_backend_buffer_t b, ggml_tensor * t, uint8_t value, size_t offset, size_t size) {
    if (!is_packed(t)) {
        std::memset(reach(b, t, offset, size), value, size);
        return;
    }
    const sparamx_tensor w = in_library(t);
    check(api()->buffer_memset_tensor(w.buffer, &w, value, offset, size), "fill", t);
}

// Loaders announce weights before a buffer is told its usage; schedulers say COMPUTE first. What the library does not
// keep (gradients, say) the host may compute with by itself, in memory that is there from then on.
ggml_status flip(ggml_backend_buffer_t b, ggml_tensor * t) {
    const bool leaf = t->op == GGML_OP_NONE && !t->view_src && !sparamx_ggml::is_empty(t);
    const bool weight = leaf && sparamx_ggml::buffers::can_be_packed(translate(t));
    if (weight && b->usage == GGML_BACKEND_BUFFER_USAGE_ANY) b->buft = &weights;
    if (b->buft == &weights) {
        if (weight) sparamx_ggml::load_report::get().announced(own(b), t);
        return GGML_STATUS_SUCCESS;
    }
    if (own(b)->make_real(0, own(b)->size)) return GGML_STATUS_SUCCESS;
    sparamx_ggml::say(sparamx_ggml::failure(api(), "memory", t, SPARAMX_ERR_NO_MEMORY));
    return GGML_STATUS_ALLOC_FAILED;
}

void free_buffer(ggml_backend_buffer_t b) {
    region * r = own(b);
    sparamx_ggml::packed_cache::get().forget(api(), r->packed);
    sparamx_ggml::load_report::get().freed(r);
    sparamx_ggml::destroy(api(), r->packed);
    munmap(r->base, r->size);
    delete r;
}

void clear(ggml_backend_buffer_t b, uint8_t value) {
    own(b)->clear(value);
    if (own(b)->packed) check(api()->buffer_clear(own(b)->packed, value), "clear", nullptr);
}

ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t, size_t size) {
    if (refusing.exchange(false)) {
        sparamx_ggml::say("SPARAMX is no device for layers: leave it out of -dev "
                          "(it takes its weights without being named there)");
        return nullptr;
    }
    size = size ? size : 1;
    void * base = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
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

// For results ggml wants exactly their size; weights need what the library needs, if it knows them.
size_t alloc_size(ggml_backend_buffer_type_t type, const ggml_tensor * t) {
    return t->op == GGML_OP_NONE && !t->view_src ? sparamx_ggml::alloc_size(type, t) : sparamx_ggml::bytes_of(t);
}

void describe(ggml_backend_buffer_type & type, bool is_host, ggml_backend_dev_t device) {
    type.iface.get_name = [](ggml_backend_buffer_type_t) { return api()->buffer_type_name(); };
    type.iface.alloc_buffer = alloc_buffer;
    type.iface.get_alignment = [](ggml_backend_buffer_type_t) { return api()->buffer_type_alignment(); };
    type.iface.get_alloc_size = alloc_size;
    type.iface.is_host = is_host ? [](ggml_backend_buffer_type_t) { return true; }
                                 : [](ggml_backend_buffer_type_t) { return false; };
    type.device = device;
}

} // namespace

ggml_backend_buffer_type_t device_buffer_type() { return &plain; }

void start_memory(const host & host, ggml_backend_dev_t device) {
    the_host = &host;
    describe(plain, true, device);
    describe(weights, false, device);
}

bool is_device_buffer_type(ggml_backend_buffer_type_t type) { return type == &plain || type == &weights; }

bool is_device_buffer(const ggml_backend_buffer * b) { return is_device_buffer_type(b->buft); }

bool is_packed(const ggml_tensor * t) {
    if (!t->buffer || !is_device_buffer(t->buffer) || t->view_src) return false;
    if (t->buffer->usage != GGML_BACKEND_BUFFER_USAGE_WEIGHTS) return false;
    return !sparamx_ggml::is_empty(t) && sparamx_ggml::buffers::can_be_packed(translate(t));
}

sparamx_tensor in_library(const ggml_tensor * t) {
    region *         r = own(t->buffer);
    sparamx_buffer * packed = r->pack();
    sparamx_tensor   result = translate(t, packed);
    result.data = static_cast<char *>(api()->buffer_base(packed)) + (static_cast<char *>(t->data) - r->base);
    return result;
}

bool make_accessible(const ggml_tensor * t) {
    if (!t->data) return false;
    const ggml_backend_buffer * b = t->buffer;
    if (!b || !is_device_buffer(b)) return !b || sparamx_ggml::is_host(b);
    return own(b)->make_real(size_t(static_cast<char *>(t->data) - own(b)->base), sparamx_ggml::bytes_of(t));
}

void refuse_memory() { refusing = true; }

} // namespace plugin
