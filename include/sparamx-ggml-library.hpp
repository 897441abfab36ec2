/*
 * sparamx-ggml-library.hpp - the first half of the adapter for ggml hosts: the library that is used or the reason why
 * none is, and ggml's tensors and products in the library's words.
 *
 * Included by sparamx-ggml-cpu.hpp, which says how the adapter is used.
 */
#ifndef SPARAMX_GGML_LIBRARY_HPP
#define SPARAMX_GGML_LIBRARY_HPP

#include "ggml-backend-impl.h"
#include "ggml.h"

#include "sparamx-ggml-names.hpp"
#include "sparamx.h"

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace sparamx_ggml {

inline constexpr const char * type_name = "SPARAMX"; /* of the buffer type, as the library has it */

inline void say(const std::string & line) {
    std::fprintf(stderr, "sparamx: %s\n", line.c_str());
}

/* A tensor's name as it can stand in a line: names come out of model files. */
inline std::string printable(const char * name) {
    std::string text(name ? name : "");
    for (char & c : text) {
        if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
    }
    return text.empty() ? "a tensor without a name" : text;
}

inline std::string failure(const sparamx_api * api, const char * what, const ggml_tensor * tensor,
                           sparamx_status status) {
    return std::string(what) + " of " + (tensor ? printable(tensor->name) : "a buffer") + " failed: " +
        api->status_string(status);
}

/* ggml's buffer interface has no way to report a failed upload, and a product that is not computed would leave the
 * host with garbage: so this ends the process, as ggml's own assertions do. */
[[noreturn]] inline void fail(const sparamx_api * api, const char * what, const ggml_tensor * tensor,
                              sparamx_status status) {
    say(failure(api, what, tensor, status));
    std::abort();
}

/* ------------------------------------------------------------------------------------------------- library -- */

struct library {
    const sparamx_api * api = nullptr;
    name_rules          rules;
    std::string         about; /* what is used, or why nothing is */

    /* Loads the library at the first call. It stays loaded. Nothing is held meanwhile: a constructor that the dynamic
     * linker runs may call this too, while another thread waits in here for the dynamic linker. If several threads come
     * first together each loads it, which is loading it once, and one of them is right. */
    static const library & get() {
        /* never destroyed: hosts free buffers after static destructors */
        static std::atomic<const library *> loaded{ nullptr };
        const library *                     known = loaded.load(std::memory_order_acquire);
        if (known) return *known;
        library * made = new library();
        if (loaded.compare_exchange_strong(known, made, std::memory_order_acq_rel)) return *made;
        delete made;
        return *known;
    }

  private:
    library() {
        const char * file = variable("SPARAMX_LIB");
        about = rules.read();
        if (!about.empty()) return;
        std::string beside; /* the real file of this plugin, for one that was found through a symbolic link */
        void *      handle = nullptr;
#ifdef SPARAMX_GGML_PLUGIN
        if (!file) {
            beside = beside_plugin();
            if (!beside.empty()) handle = dlopen(beside.c_str(), RTLD_NOW | RTLD_LOCAL);
        }
#endif
        if (!file) file = "libsparamx.so.0";
        if (!handle) handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
        if (!handle) {
            const char * error = dlerror();
            about = std::string("cannot load the library: ") + (error ? error : file);
            return;
        }
        about = use(handle, file);
        if (!about.empty()) {
            api = nullptr;
            dlclose(handle);
            return;
        }
        api->set_log(log, nullptr);
        about = describe();
    }

#ifdef SPARAMX_GGML_PLUGIN
    /* "": there is none. The dynamic linker's $ORIGIN is the folder of the link, not of the file. */
    static std::string beside_plugin() {
        Dl_info info;
        if (!dladdr(reinterpret_cast<void *>(&beside_plugin), &info) || !info.dli_fname) return {};
        char * real = realpath(info.dli_fname, nullptr);
        if (!real) return {};
        std::string path(real);
        std::free(real);
        path = path.substr(0, path.rfind('/') + 1) + "libsparamx.so.0";
        return access(path.c_str(), R_OK) == 0 ? path : std::string();
    }
#endif

    /* Empty if the library can be used, else why not. */
    std::string use(void * handle, const char * file) {
        auto get_api = reinterpret_cast<decltype(&sparamx_get_api)>(dlsym(handle, "sparamx_get_api"));
        if (!get_api) return std::string(file) + " is not libsparamx";
        api = get_api(SPARAMX_ABI);
        if (!api) return std::string(file) + " does not speak interface " + std::to_string(SPARAMX_ABI);
        if (api->abi != SPARAMX_ABI || api->size < sizeof(sparamx_api)) {
            return std::string(file) + " is older than " SPARAMX_VERSION_STRING;
        }
        sparamx_capability can = capability(api);
        if (can.status != SPARAMX_OK) return api->status_string(can.status);
        if (can.isa < SPARAMX_ISA_AVX512 && !variable("SPARAMX_REFERENCE")) {
            /* The reference kernels are there to be compared with, and for tests, not to run a model. */
            return std::string("no fast kernels here: ") + can.avx512_reason;
        }
        return {};
    }

    std::string describe() const {
        const sparamx_capability can = capability(api);
        const std::string        name = std::string("libsparamx ") + api->version() + " loaded, with ";
        if (can.isa == SPARAMX_ISA_AMX) return name + "AMX";
        if (can.isa == SPARAMX_ISA_AVX512) return name + "AVX-512 (no AMX: " + can.amx_reason + ")";
        return name + "its reference kernels, which are slow: SPARAMX_REFERENCE is set";
    }

    static sparamx_capability capability(const sparamx_api * api) {
        sparamx_capability can = {};
        can.size = sizeof(can);
        api->get_capability(&can);
        return can;
    }

    static void log(int32_t level, const char * message, void *) {
        if (level <= SPARAMX_LOG_WARNING) say(message);
    }
};

/* --------------------------------------------------------------------------------------------- translation -- */

inline sparamx_tensor translate(const ggml_tensor * t, sparamx_buffer * buffer = nullptr) {
    sparamx_tensor r = {};
    r.size = sizeof(r);
    r.type = static_cast<int32_t>(t->type); /* ggml's numbers are the numbers of the file format */
    for (int i = 0; i < 4; ++i) {
        r.ne[i] = t->ne[i];
        r.nb[i] = t->nb[i];
    }
    r.data = t->data;
    r.buffer = buffer;
    r.name = t->name;
    return r;
}

/* Which tensors of a node are what. Stock ggml has no fused kinds; a host that has them names in SPARAMX_GGML_FUSED a
 * function of a node and these parts that fills in the parts if the node is one. */
struct node_parts {
    int32_t             kind = 0; /* SPARAMX_OP_*, 0: no product */
    const ggml_tensor * weight = nullptr, * weight2 = nullptr, * x = nullptr, * ids = nullptr;
    int32_t             activation = 0;
    float               limit = 0;

    explicit node_parts(const ggml_tensor * node) {
        if (node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID) {
            kind = node->op == GGML_OP_MUL_MAT ? SPARAMX_OP_MUL_MAT : SPARAMX_OP_MUL_MAT_ID;
            weight = node->src[0];
            x = node->src[1];
            if (kind == SPARAMX_OP_MUL_MAT_ID) ids = node->src[2];
        }
#ifdef SPARAMX_GGML_FUSED
        SPARAMX_GGML_FUSED(node, *this);
#endif
    }

    int64_t tokens(const ggml_tensor * node) const { return ids ? node->ne[2] : node->ne[1]; }
};

/* A product of the host's graph in the library's words. Holds pointers into itself: not to be copied. */
struct product {
    node_parts     parts;
    sparamx_tensor dst, weight, weight2, x, ids;
    sparamx_op     op;

    /* buffer, buffer2: of the library, where the weights are; NULL while they are nowhere. */
    product(const ggml_tensor * node, sparamx_buffer * buffer, sparamx_buffer * buffer2 = nullptr)
        : parts(node), dst(translate(node)), weight(translate(parts.weight, buffer)), weight2(), x(translate(parts.x)),
          ids(), op() {
        op.size = sizeof(op);
        op.kind = parts.kind;
        op.dst = &dst;
        op.weight = &weight;
        op.x = &x;
        op.activation = parts.activation;
        op.limit = parts.limit;
        if (parts.weight2) {
            weight2 = translate(parts.weight2, buffer2);
            op.weight2 = &weight2;
        }
        if (parts.ids) {
            ids = translate(parts.ids);
            op.ids = &ids;
        }
    }
    product(const product &) = delete;
    product & operator=(const product &) = delete;
};

inline bool is_empty(const ggml_tensor * t) {
    return t->ne[0] <= 0 || t->ne[1] <= 0 || t->ne[2] <= 0 || t->ne[3] <= 0;
}

/* Bytes from the tensor's first to its last, as ggml counts them; SIZE_MAX, which no buffer has, if they cannot be
 * counted. For tensors that the library does not know; a plugin cannot ask ggml how many elements a block has. */
inline size_t bytes_of(const ggml_tensor * t) {
    if (is_empty(t)) return 0;
    size_t first_row = 0;
    if (__builtin_mul_overflow(size_t(t->ne[0]), t->nb[0], &first_row)) return SIZE_MAX;
    const size_t block = t->nb[1] ? first_row / t->nb[1] : 1;
    if ((block == 32 || block == 256) && first_row % block == 0 && first_row / block == t->nb[1]) first_row = t->nb[1];
    size_t total = first_row;
    for (int i = 1; i < 4; ++i) {
        size_t part;
        if (__builtin_mul_overflow(size_t(t->ne[i] - 1), t->nb[i], &part)) return SIZE_MAX;
        if (__builtin_add_overflow(total, part, &total)) return SIZE_MAX;
    }
    return total;
}

inline bool is_host(const ggml_backend_buffer * buffer) {
    return buffer->buft->iface.is_host && buffer->buft->iface.is_host(buffer->buft);
}

} // namespace sparamx_ggml

#endif /* SPARAMX_GGML_LIBRARY_HPP */
