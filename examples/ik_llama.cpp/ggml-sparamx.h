// libsparamx in ik_llama.cpp: what the host's C and C++ call. Every function answers at once, and as if it were not
// there, while --amx (the environment variable SPARAMX_ENABLE) was not given or the library cannot be used.
#pragma once

#include "ggml.h"
#include "ggml-backend.h"

#ifdef __cplusplus
extern "C" {
#endif

// Whether weights may be in the library's buffers. The first call loads the library.
GGML_API bool ggml_sparamx_enabled(void);

// The buffer type, if the library takes a weight of this name, type and shape from the CPU; otherwise NULL.
GGML_API ggml_backend_buffer_type_t ggml_sparamx_buffer_type_for(const struct ggml_tensor * weight, const char * name);

GGML_API bool ggml_sparamx_is_buffer_type(ggml_backend_buffer_type_t type);

// 1 or 0 for a node with a source in our buffers: the CPU computes it, or does not. -1 for all others.
GGML_API int ggml_sparamx_supports_op(const struct ggml_tensor * node);

// A product with a weight of ours, which none of the host's kernels may touch.
GGML_API bool ggml_sparamx_owns(const struct ggml_tensor * node);

// Of a node that is ours; of others what the host says. Ends the process, with a line, if another op than a product
// would read a weight of ours.
GGML_API size_t ggml_sparamx_work_size(const struct ggml_tensor * node, int n_threads, size_t of_the_host);

// Of a node that is ours.
GGML_API void   ggml_sparamx_compute(const struct ggml_tensor * node, int ith, int nth, size_t work_size, void * work,
                                     void (*barrier)(void *), void * barrier_data);

#ifdef __cplusplus
}
#endif
