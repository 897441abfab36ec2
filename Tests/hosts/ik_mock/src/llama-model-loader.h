#pragma once
#include "llama-impl.h"

#include <map>
#include <string>
#include <vector>

struct llama_model_loader {
    std::map<std::string, ggml_tensor> tensors;
    bool merge_qkv = true, merge_up_gate_exps = true;

    const ggml_tensor * get_tensor_meta(const char * name) const {
        const auto it = tensors.find(name);
        return it == tensors.end() ? nullptr : &it->second;
    }
};

struct mock_weight { size_t offs; };
struct mock_mapping {
    size_t first, last;
    void dontneed_fragment(size_t from, size_t to) { first = from, last = to; }
};
inline void ggml_backend_tensor_set(ggml_tensor *, const void *, size_t, size_t) {}
bool mock_load(ggml_tensor * cur, const char * data, bool stays, const void * lmlocks);

// A context stands for its buffer type here.
struct create_tensors_helper {
    llama_model_loader & ml;
    llama_model & model;
    std::map<ggml_backend_buffer_type_t, ggml_context *> ctx_map;
    ggml_backend_buffer_type_t default_cpu_buft = ggml_backend_cpu_buffer_type();

    create_tensors_helper(llama_model_loader & _ml, llama_model & _model);
    ggml_context * ctx_for_buft(ggml_backend_buffer_type_t buft) {
        return ctx_map[buft] = reinterpret_cast<ggml_context *>(buft);
    }
    ggml_context * get_context_for_tensor(ggml_context * ctx, const std::string & name);
    ggml_tensor * create_tensor(ggml_context * ctx, const std::string & name, const std::vector<int64_t> & ne,
                                int flags, ggml_context ** actual_context);
};
