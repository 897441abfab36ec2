#include "llama-impl.h"

llama_cparams mock_context(llama_cparams params) {
    llama_cparams cparams = {};
    cparams.min_experts      = params.min_experts;
    return cparams;
}

static bool requantized = false;

// A second output matrix, put where the first is.
static void llm_requantize_output_tensor(llama_model & model, ggml_type new_type) {
    if (new_type == GGML_TYPE_COUNT || !model.output) return;
    requantized = true;
}

bool mock_requantize(llama_model & model, ggml_type new_type) {
    requantized = false;
    llm_requantize_output_tensor(model, new_type);
    return requantized;
}

// A context stands for its buffer type here.
ggml_context * mock_lora_context(ggml_backend_buffer_type_t type) {
    auto get_ctx_for_buft = [&](ggml_backend_buffer_type_t buft) -> ggml_context * {
        return reinterpret_cast<ggml_context *>(buft);
    };
    return get_ctx_for_buft(type);
}
