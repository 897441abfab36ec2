// What the plugin's devices ask about the nodes of a graph.
#pragma once

#include "sparamx-ggml-cpu.hpp"

namespace plugin {

// Ops that compute nothing.
inline bool is_view(const ggml_tensor * node) {
    switch (node->op) {
        case GGML_OP_NONE:
        case GGML_OP_RESHAPE:
        case GGML_OP_VIEW:
        case GGML_OP_PERMUTE:
        case GGML_OP_TRANSPOSE: return true;
        default: return false;
    }
}

inline bool is_product(const ggml_tensor * node) {
    return node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID;
}

// Nothing comes of the others.
inline bool is_work(const ggml_tensor * node) {
    return (node->flags & GGML_TENSOR_FLAG_COMPUTE) && !sparamx_ggml::is_empty(node) && !is_view(node);
}

} // namespace plugin
