/*
 * sparamx-ggml-library.hpp - the first half of the adapter for ggml hosts: the library that is used or the reason why none
 * is, the weights that it may have by their names, and ggml's tensors and products in the library's words.
 *
 * Included by sparamx-ggml-cpu.hpp, which says how the adapter is used.
 */
#ifndef SPARAMX_GGML_LIBRARY_HPP
#define SPARAMX_GGML_LIBRARY_HPP

#include "ggml-backend-impl.h"
#include "ggml.h"

#include "sparamx.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <regex>
#include <string>

namespace sparamx_ggml {

inline void say(const std::string & line) {
    std::fprintf(stderr, "sparamx: %s\n", line.c_str());
}

/* ggml's buffer interface has no way to report a failed upload, and a product that is not computed would leave the
 * host with garbage: so this ends the process, as ggml's own assertions do. */
[[noreturn]] inline void fail(const sparamx_api * api, const char * what, const ggml_tensor * tensor, sparamx_status status) {
    std::fprintf(stderr, "sparamx: %s of %s failed: %s\n", what, tensor ? tensor->name : "a buffer", api->status_string(status));
    std::abort();
}

/* --------------------------------------------------------------------------------------------------- names -- */

/* Parts of the names of weights that some models also read by another op than a product with the whole weight: the
 * token embedding (which is the output matrix too in models that tie them), MLA's key and value projections, the
 * routers of mixtures of experts, norms and small tables. */
inline bool names_left_to_host(const char * name) {
    static const char * const parts[] = { "token_embd",   "token_types", "position_embd", "attn_kv_b", "attn_k_b",
                                          "attn_v_b",     "ffn_gate_inp", "ffn_exp_probs", "_norm",    "rope_",
                                          "altup_",       "ssm_conv1d",  "shortconv.conv" };
    for (const char * part : parts) {
        if (std::strstr(name, part)) return true;
    }
    return false;
}

struct name_rules {
    std::unique_ptr<std::regex> take, leave;

    /* Empty if both variables hold regular expressions or nothing, else what is wrong. */
    std::string read() {
        std::string error = compile("SPARAMX_TAKE", take);
        return error.empty() ? compile("SPARAMX_LEAVE", leave) : error;
    }

    bool allow(const char * name) const {
        try {
            return !names_left_to_host(name) && (!take || std::regex_search(name, *take)) &&
                   (!leave || !std::regex_search(name, *leave));
        } catch (const std::regex_error &) { /* too complex for this name */
            return false;
        }
    }

  private:
    static std::string compile(const char * variable, std::unique_ptr<std::regex> & out) {
        const char * text = std::getenv(variable);
        if (!text || !*text) return {};
        try {
            out = std::make_unique<std::regex>(text);
        } catch (const std::exception & error) {
            return std::string(variable) + " is no regular expression: " + error.what();
        }
        return {};
    }
};

/* ------------------------------------------------------------------------------------------------- library -- */

struct library {
    const sparamx_api * api = nullptr;
    name_rules          rules;
    std::string         about; /* what is used, or why nothing is */

    /* Loads the library at the first call. It stays loaded. */
    static const library & get() {
        static const library * loaded = new library(); /* never destroyed: hosts free buffers after static destructors */
        return *loaded;
    }

  private:
    library() {
        const char * file = std::getenv("SPARAMX_LIB");
        if (!file || !*file) file = "libsparamx.so.0";
        about = rules.read();
        if (!about.empty()) return;
        void * handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
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
        if (can.isa < SPARAMX_ISA_AVX512) {
            /* The reference kernels are there to be compared with, not to run a model. */
            return std::string("no fast kernels here: ") + can.avx512_reason;
        }
        return {};
    }

    std::string describe() const {
        sparamx_capability can = capability(api);
        const bool         amx = can.isa == SPARAMX_ISA_AMX;
        return std::string("libsparamx ") + api->version() + (amx ? " with AMX" : " with AVX-512 (no AMX: ") +
               (amx ? "" : can.amx_reason) + (amx ? "" : ")");
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
        : parts(node), dst(translate(node)), weight(translate(parts.weight, buffer)), weight2(), x(translate(parts.x)), ids(), op() {
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
    return t->ne[0] == 0 || t->ne[1] == 0 || t->ne[2] == 0 || t->ne[3] == 0;
}

inline bool is_host(const ggml_backend_buffer * buffer) {
    return buffer->buft->iface.is_host && buffer->buft->iface.is_host(buffer->buft);
}

} // namespace sparamx_ggml

#endif /* SPARAMX_GGML_LIBRARY_HPP */
