#include "ggml-sparamx.h"

#define SPARAMX_GGML_WITHOUT_TRAITS
#include "sparamx/sparamx-ggml-cpu.hpp"

#include <cstdlib>
#include <cstring>

bool ggml_sparamx_enabled(void) {
    static const bool enabled = std::getenv("SPARAMX_ENABLE") && sparamx_ggml::start(ggml_backend_buffer_init);
    return enabled;
}

ggml_backend_buffer_type_t ggml_sparamx_buffer_type_for(const ggml_tensor * weight, const char * name) {
    if (!ggml_sparamx_enabled()) return nullptr;
    // Only weights of plain products: those of experts and of the fused ops for them have other names. Convolutions,
    // norms and tables are no matrices.
    const size_t length = std::strlen(name), suffix = std::strlen(".weight");
    if (length < suffix || std::strcmp(name + length - suffix, ".weight") != 0) return nullptr;
    if (std::strstr(name, "_exps") || std::strstr(name, "_exp.") || weight->ne[1] < 2) return nullptr;
    const sparamx_ggml::library & lib = sparamx_ggml::library::get();
    if (!lib.rules.allow(name)) return nullptr;
    const sparamx_tensor t = sparamx_ggml::translate(weight);
    if (lib.api->supports_weight(&t, SPARAMX_OP_MUL_MAT) != SPARAMX_OK) return nullptr;
    return &sparamx_ggml::state().type;
}

bool ggml_sparamx_is_buffer_type(ggml_backend_buffer_type_t type) {
    return type == &sparamx_ggml::state().type;
}

int ggml_sparamx_supports_op(const ggml_tensor * node) {
    for (const ggml_tensor * source : node->src) {
        if (source && sparamx_ggml::in_our_buffer(source)) {
            switch (node->op) {
                case GGML_OP_NONE:
                case GGML_OP_RESHAPE:
                case GGML_OP_VIEW:
                case GGML_OP_PERMUTE:
                case GGML_OP_TRANSPOSE: return 1;
                default: return sparamx_ggml::supports(node) ? 1 : 0;
            }
        }
    }
    return -1;
}

bool ggml_sparamx_owns(const ggml_tensor * node) {
    return sparamx_ggml::owns(node);
}

size_t ggml_sparamx_work_size(const ggml_tensor * node, int n_threads) {
    return sparamx_ggml::work_size(node, n_threads);
}

void ggml_sparamx_compute(const ggml_tensor * node, int ith, int nth, size_t work_size, void * work, void (*barrier)(void *),
                          void * barrier_data) {
    sparamx_ggml::compute(node, ith, nth, work_size, work, barrier, barrier_data);
}
