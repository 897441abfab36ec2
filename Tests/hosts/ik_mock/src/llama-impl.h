#pragma once
#include "ggml-backend-impl.h"

#include <cstdio>

#define LLAMA_LOG_WARN(...) std::fprintf(stderr, __VA_ARGS__)

struct ggml_context;
struct llama_model { ggml_tensor * output; };
struct llama_cparams { int min_experts; };

llama_cparams mock_context(llama_cparams params);
bool mock_requantize(llama_model & model, ggml_type new_type);
ggml_context * mock_lora_context(ggml_backend_buffer_type_t buft);
