#include "rpc_memory.hpp"

#include "sparamx-ggml-cpu.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>

// An RPC server has one kind of buffer for everything, and says of no tensor what it is for. So a buffer here is plain
// memory, in which a tensor that came whole under the name of a weight is packed: the library then has its bytes, and
// the pages that they would fill were never touched. Whoever reads or writes bytes of a packed tensor otherwise than by
// a product finds them: they are put back into the memory first. A weight taken by mistake costs time, never a result.

namespace plugin {
namespace {

using sparamx_ggml::library;
using sparamx_ggml::load_report;
using sparamx_ggml::packed_cache;
using sparamx_ggml::translate;

const host *             the_host;
ggml_backend_buffer_type type;

const sparamx_api * api() { return library::get().api; }

// Why a weight of this name and type is left as it comes, "" if it is packed. is_matrix: of one that a product reads,
// as far as its name tells.
std::string refusal(const ggml_tensor * t, bool & is_matrix) {
    const size_t       length = std::strlen(t->name), suffix = std::strlen(".weight");
    const placement_op op = placement_asked(t->name);
    const bool         embedding = std::strcmp(t->name, "token_embd.weight") == 0; // read as the output matrix
    is_matrix = length > suffix && std::strcmp(t->name + length - suffix, ".weight") == 0 && !t->view_src &&
                !sparamx_ggml::is_empty(t) && t->ne[1] > 1 &&
                (op == PLACEMENT_MUL_MAT || op == PLACEMENT_MUL_MAT_ID || embedding);
    if (!is_matrix) return "no weight of a product";
    if (const char * why = library::get().rules.refusal(t->name, sparamx_ggml::reading::product)) return why;
    const sparamx_tensor as = translate(t);
    const sparamx_status status =
        api()->supports_weight(&as, op == PLACEMENT_MUL_MAT_ID ? SPARAMX_OP_MUL_MAT_ID : SPARAMX_OP_MUL_MAT);
    return status == SPARAMX_OK ? std::string() : api()->status_string(status);
}

struct region {
    using weights = std::map<size_t, std::unique_ptr<served_weight>>;

    char *  base;
    size_t  size;
    weights packed;                  // by where they are; no two overlap
    size_t  piece = 0, piece_end = 0; // a tensor that comes in pieces, and how far it has come
    bool    held = false;

    size_t offset_of(const void * data) const { return size_t(static_cast<const char *>(data) - base); }

    bool has(const void * data) const {
        const char * at = static_cast<const char *>(data);
        return at >= base && at < base + size;
    }

    weights::iterator forget(weights::iterator w) {
        packed_cache::get().forget(api(), w->second->packed);
        sparamx_ggml::destroy(api(), w->second->packed);
        return packed.erase(w);
    }

    // Makes [from, to) plain memory. Bytes that are written next, all of them, need not be put back.
    void open(size_t from, size_t to, bool written_next, const char * op) {
        auto w = packed.upper_bound(from);
        if (w != packed.begin() && std::prev(w)->first + std::prev(w)->second->size > from) --w;
        while (w != packed.end() && w->first < to) {
            served_weight & it = *w->second;
            if (!written_next || w->first < from || w->first + it.size > to) {
                const sparamx_status status =
                    api()->buffer_get_tensor(it.packed, &it.as, base + w->first, 0, it.size);
                if (status != SPARAMX_OK) sparamx_ggml::fail(api(), "read", nullptr, status);
            }
            if (op) {
                sparamx_ggml::say(sparamx_ggml::printable(it.name.c_str()) + " is not only a weight of products (" +
                                  op + "): left to the host from now on");
            }
            w = forget(w);
        }
    }

    // Whole pages in [from, to) go back to the system.
    void discard(size_t from, size_t to) {
        const size_t page = size_t(sysconf(_SC_PAGESIZE));
        from = (from + page - 1) / page * page;
        to = to / page * page;
        if (from < to) madvise(base + from, to - from, MADV_DONTNEED); // EINVAL: locked; they stay
    }

    // False if the library does not take it. The memory of t is plain.
    bool pack(const ggml_tensor * t, size_t bytes, const void * data) {
        std::unique_ptr<served_weight> w(new served_weight{ nullptr, translate(t), t->name, bytes });
        w->as.name = w->name.c_str();
        sparamx_buffer_options options = {};
        options.size = sizeof(options);
        options.usage = SPARAMX_USAGE_WEIGHTS;
        sparamx_tensor_info info = {};
        info.size = sizeof(info);
        size_t         room = 0;
        sparamx_status status = api()->buffer_type_alloc_size(&w->as, &room);
        if (status == SPARAMX_OK) status = api()->buffer_create(room, &options, &w->packed);
        if (status == SPARAMX_OK) {
            w->as.buffer = w->packed;
            w->as.data = api()->buffer_base(w->packed);
            status = api()->buffer_init_tensor(w->packed, &w->as);
        }
        packed_cache &            cache = packed_cache::get();
        const packed_cache::place place = cache.find(api(), w->as, data, bytes);
        if (status == SPARAMX_OK && !cache.load(api(), place, w->packed, w->as)) {
            status = api()->buffer_set_tensor(w->packed, &w->as, data, 0, bytes);
            if (status == SPARAMX_OK) cache.packed(api(), place, w->packed, w->as);
        }
        if (status == SPARAMX_OK) status = api()->buffer_tensor_info(w->packed, &w->as, &info);
        if (status != SPARAMX_OK || info.form == SPARAMX_FORM_RAW) {
            if (status != SPARAMX_OK) sparamx_ggml::say(sparamx_ggml::failure(api(), "upload", t, status));
            cache.forget(api(), w->packed);
            api()->buffer_destroy(w->packed);
            return false;
        }
        if (!held) load_report::get().hold(this);
        held = true;
        load_report::get().announced(this, t);
        load_report::get().written(api(), this, t, w->as, w->packed);
        const size_t at = offset_of(t->data);
        discard(at, at + bytes);
        packed[at] = std::move(w);
        return true;
    }

    void set(const ggml_tensor * t, const void * data, size_t offset, size_t n) {
        const size_t at = offset_of(t->data), bytes = sparamx_ggml::bytes_of(t);
        open(at + offset, at + offset + n, true, nullptr);
        bool              is_matrix = false;
        const std::string why = refusal(t, is_matrix);
        if (is_matrix && offset == 0) load_report::get().asked(t->name, bytes, 1, why);
        const bool whole = offset == 0 && n == bytes;
        if (why.empty() && whole && pack(t, bytes, data)) return;
        std::memcpy(base + at + offset, data, n);
        if (!why.empty() || whole) return;
        const bool goes_on = piece == at && piece_end == offset && offset > 0;
        piece = at;
        piece_end = offset == 0 || goes_on ? offset + n : 0;
        if (piece_end == bytes) pack(t, bytes, base + at);
    }
};

std::mutex           mutex; // of all regions
std::set<region *> & regions() {
    static auto * all = new std::set<region *>();
    return *all;
}

region * own(const ggml_backend_buffer * b) { return static_cast<region *>(b->context); }

served_weight * find(const ggml_tensor * t) {
    if (!in_served_memory(t) || t->view_src) return nullptr;
    region *   r = own(t->buffer);
    const auto w = r->packed.find(r->offset_of(t->data));
    if (w == r->packed.end()) return nullptr;
    const sparamx_tensor & as = w->second->as;
    bool                   same = as.type == int32_t(t->type);
    for (int i = 0; i < 4; ++i) same = same && as.ne[i] == t->ne[i] && as.nb[i] == uint64_t(t->nb[i]);
    return same ? w->second.get() : nullptr;
}

// Plain memory of a tensor from an offset on.
char * reach(const ggml_tensor * t, size_t offset, size_t n, bool written_next) {
    region *     r = own(t->buffer);
    const size_t at = r->offset_of(t->data) + offset;
    r->open(at, at + n, written_next, nullptr);
    return r->base + at;
}

// Strides come from the client, and the server checks what they span in another way.
bool fits(const ggml_tensor * t, size_t n) {
    const region * r = own(t->buffer);
    return r->has(t->data) && n <= r->size - r->offset_of(t->data);
}

void get_tensor(ggml_backend_buffer_t, const ggml_tensor * t, void * data, size_t offset, size_t n) {
    std::lock_guard<std::mutex> lock(mutex);
    if (served_weight * w = find(t)) {
        const sparamx_status status = api()->buffer_get_tensor(w->packed, &w->as, data, offset, n);
        if (status != SPARAMX_OK) sparamx_ggml::fail(api(), "read", t, status);
        return;
    }
    std::memcpy(data, reach(t, offset, n, false), n);
}

// False leaves the copy to ggml, which then reads and writes by get_tensor and set_tensor.
bool copy_tensor(ggml_backend_buffer_t, const ggml_tensor * src, ggml_tensor * dst) {
    std::lock_guard<std::mutex> lock(mutex);
    const size_t                n = sparamx_ggml::bytes_of(src);
    if (!in_served_memory(src) || n != sparamx_ggml::bytes_of(dst) || !fits(src, n) || !fits(dst, n)) return false;
    const char * from = reach(src, 0, n, false);
    std::memmove(reach(dst, 0, n, false), from, n);
    return true;
}

void clear(ggml_backend_buffer_t b, uint8_t value) {
    std::lock_guard<std::mutex> lock(mutex);
    region *                    r = own(b);
    r->open(0, r->size, true, nullptr);
    if (value == 0 && madvise(r->base, r->size, MADV_DONTNEED) == 0) return; // zero at the next touch
    std::memset(r->base, value, r->size);
}

void free_buffer(ggml_backend_buffer_t b) {
    std::lock_guard<std::mutex> lock(mutex);
    region *                    r = own(b);
    load_report::get().freed(r);
    r->open(0, r->size, true, nullptr);
    regions().erase(r);
    munmap(r->base, r->size);
    delete r;
}

ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t, size_t size) {
    size = size ? size : 1;
    void * base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return nullptr;
    region * r = new region;
    r->base = static_cast<char *>(base);
    r->size = size;
    ggml_backend_buffer_i i = {};
    i.free_buffer = free_buffer;
    i.get_base = [](ggml_backend_buffer_t b) -> void * { return own(b)->base; };
    i.memset_tensor = [](ggml_backend_buffer_t, ggml_tensor * t, uint8_t value, size_t offset, size_t n) {
        std::lock_guard<std::mutex> lock(mutex);
        std::memset(reach(t, offset, n, true), value, n);
    };
    i.set_tensor = [](ggml_backend_buffer_t b, ggml_tensor * t, const void * data, size_t offset, size_t n) {
        std::lock_guard<std::mutex> lock(mutex);
        own(b)->set(t, data, offset, n);
    };
    i.get_tensor = get_tensor;
    i.cpy_tensor = copy_tensor;
    i.clear = clear;
    std::lock_guard<std::mutex> lock(mutex);
    regions().insert(r);
    return the_host->buffer_init(&type, i, r, size);
}

} // namespace

ggml_backend_buffer_type_t served_buffer_type() { return &type; }

void start_served_memory(const host & host, ggml_backend_dev_t device) {
    the_host = &host;
    type.iface.get_name = [](ggml_backend_buffer_type_t) { return api()->buffer_type_name(); };
    type.iface.alloc_buffer = alloc_buffer;
    type.iface.get_alignment = [](ggml_backend_buffer_type_t) { return size_t(64); };
    type.iface.is_host = [](ggml_backend_buffer_type_t) { return false; };
    type.device = device;
}

served_weight * served_as(const ggml_tensor * t) {
    std::lock_guard<std::mutex> lock(mutex);
    return find(t);
}

void put_back(const ggml_tensor * t, const char * op) {
    std::lock_guard<std::mutex> lock(mutex);
    for (region * r : regions()) {
        if (!r->has(t->data)) continue;
        const size_t at = r->offset_of(t->data);
        r->open(at, at + sparamx_ggml::bytes_of(t), false, op);
    }
}

void uploads_are_done() {
    std::lock_guard<std::mutex> lock(mutex);
    bool                        were = false;
    for (region * r : regions()) {
        if (r->held) load_report::get().release(r);
        were = were || r->held;
        r->held = false;
    }
    if (were) packed_cache::get().complete(api());
    load_report::get().tell();
}

} // namespace plugin
