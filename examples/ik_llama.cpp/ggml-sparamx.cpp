#include "ggml-sparamx.h"

#include "sparamx/sparamx.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

// Up and gate in one op: src[0] is up, src[1] gate, src[2] the activations, src[3] the experts' numbers. Not with
// biases (src[4], src[5]), with up and gate in one tensor (no src[1]), or with other activations: the graph has none of
// these for our weights.
template <class Parts>
static void ggml_sparamx_fused(const ggml_tensor * node, Parts & parts) {
    const bool experts = node->op == GGML_OP_MOE_FUSED_UP_GATE;
    if (!experts && node->op != GGML_OP_FUSED_UP_GATE) return;
    const int  function = node->op_params[0];
    const bool silu = function == GGML_UNARY_OP_SILU;
    if ((!silu && function != GGML_UNARY_OP_GELU) || !node->src[1] || node->src[4] || node->src[5]) return;
    parts.kind = experts ? SPARAMX_OP_MOE_UP_GATE : SPARAMX_OP_UP_GATE;
    parts.weight = node->src[0];
    parts.weight2 = node->src[1];
    parts.x = node->src[2];
    parts.ids = experts ? node->src[3] : nullptr;
    parts.activation = silu ? SPARAMX_ACTIVATION_SILU : SPARAMX_ACTIVATION_GELU;
    std::memcpy(&parts.limit, node->op_params + 1, sizeof(float));
    if (!(parts.limit > 1e-6f)) parts.limit = 0; // as the host has it
}

#define SPARAMX_GGML_FUSED ggml_sparamx_fused
#define SPARAMX_GGML_WITHOUT_TRAITS
#include "sparamx/sparamx-ggml-cpu.hpp"

bool ggml_sparamx_enabled(void) {
    if (!sparamx_ggml::variable("SPARAMX_ENABLE")) return false;
    sparamx_ggml::library::get(); // before anything is held: see there
    static const bool enabled = sparamx_ggml::start(ggml_backend_buffer_init);
    return enabled;
}

// Weights that a graph of this host reads by another op than a product, or through a view. It has no table of which op
// reads which weight, as llama.cpp has: these were found in its graphs.
static bool is_left_to_this_host(const char * name) {
    static const char * const parts[] = {
        "embed_tokens", "markov_w1", "compressor_ape", "attn_rel_b", // rows are taken from them
        "_conv.",                                                    // convolutions
        "attn_output_a",                                             // DeepSeek 4: reshaped
        "gate_up_exps", "up_gate_exps",                              // up and gate in one tensor
    };
    for (const char * part : parts) {
        if (std::strstr(name, part)) return true;
    }
    return false;
}

ggml_backend_buffer_type_t ggml_sparamx_buffer_type_for(const ggml_tensor * weight, const char * name) {
    if (!ggml_sparamx_enabled()) return nullptr;
    // Only weights of products. Norms and tables are no matrices.
    const size_t length = std::strlen(name), suffix = std::strlen(".weight");
    if (length < suffix || std::strcmp(name + length - suffix, ".weight") != 0) return nullptr;
    if (is_left_to_this_host(name) || weight->ne[1] < 2) return nullptr;
    const sparamx_ggml::library & lib = sparamx_ggml::library::get();
    if (!lib.rules.allow(name, sparamx_ggml::reading::unknown)) return nullptr;
    const sparamx_tensor t = sparamx_ggml::translate(weight);
    const int32_t kind = std::strstr(name, "_exps.") ? SPARAMX_OP_MUL_MAT_ID : SPARAMX_OP_MUL_MAT;
    if (lib.api->supports_weight(&t, kind) != SPARAMX_OK) return nullptr;
    return &sparamx_ggml::state().type;
}

bool ggml_sparamx_is_buffer_type(ggml_backend_buffer_type_t type) {
    return type == &sparamx_ggml::state().type;
}

// Ops that read nothing.
static bool is_view(const ggml_tensor * node) {
    return node->op == GGML_OP_NONE || node->op == GGML_OP_RESHAPE || node->op == GGML_OP_VIEW ||
           node->op == GGML_OP_PERMUTE ||
           node->op == GGML_OP_TRANSPOSE;
}

int ggml_sparamx_supports_op(const ggml_tensor * node) {
    for (const ggml_tensor * source : node->src) {
        if (source && sparamx_ggml::in_our_buffer(source)) return is_view(node) || sparamx_ggml::supports(node) ? 1 : 0;
    }
    return -1;
}

bool ggml_sparamx_owns(const ggml_tensor * node) {
    return sparamx_ggml::owns(node);
}

size_t ggml_sparamx_work_size(const ggml_tensor * node, int n_threads, size_t of_the_host) {
    if (!ggml_sparamx_enabled()) return of_the_host;
    if (sparamx_ggml::owns(node)) return sparamx_ggml::work_size(node, n_threads);
    if (!is_view(node)) {
        for (const ggml_tensor * source : node->src) {
            if (!source || !sparamx_ggml::in_our_buffer(source)) continue;
            std::fprintf(stderr, "sparamx: %s reads %s, which is packed: SPARAMX_LEAVE=%s leaves it to the host\n",
                         ggml_op_name(node->op), source->name, source->name);
            std::abort();
        }
    }
    return of_the_host;
}

void ggml_sparamx_compute(const ggml_tensor * node, int ith, int nth, size_t work_size, void * work,
                          void (*barrier)(void *), void * barrier_data) {
    sparamx_ggml::compute(node, ith, nth, work_size, work, barrier, barrier_data);
}
