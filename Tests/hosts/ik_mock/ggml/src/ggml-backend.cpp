#include "ggml-backend-impl.h"
#include "ggml-moe-prefetch.h"

ggml_backend_buffer_t ggml_backend_buffer_init(ggml_backend_buffer_type_t buft, ggml_backend_buffer_i iface,
                                               void * context, size_t size) {
    return new ggml_backend_buffer { iface, buft, context, size, GGML_BACKEND_BUFFER_USAGE_ANY };
}

bool ggml_backend_buft_is_host(ggml_backend_buffer_type_t buft) {
    return buft->iface.is_host && buft->iface.is_host(buft);
}

GGML_CALL static bool ggml_backend_cpu_supports_op(ggml_backend_t backend, const struct ggml_tensor * op) {
    (void) backend; (void) op;
    return true;
}

GGML_CALL static bool ggml_backend_cpu_supports_buft(ggml_backend_t backend, ggml_backend_buffer_type_t buft) {
    (void) backend;
    return ggml_backend_buft_is_host(buft);
}

ggml_backend_buffer_type_t ggml_backend_cpu_buffer_type(void) {
    static ggml_backend_buffer_type type = {};
    type.iface.is_host = [](ggml_backend_buffer_type_t) { return true; };
    return &type;
}

ggml_backend_buffer_type_t ggml_backend_buffer_get_type(ggml_backend_buffer_t buffer) {
    return buffer->buft;
}

// Backend 0 is a GPU, which takes every product whose weight it can have copied; 1 is the CPU.
typedef int ggml_backend_sched_t;

static int ggml_backend_sched_backend_from_buffer(ggml_backend_sched_t sched, const ggml_tensor * src,
                                                  const ggml_tensor * op) {
    (void) sched;
    const bool supported = ggml_backend_cpu_supports_buft(nullptr, src->buffer->buft);
    return supported && ggml_backend_cpu_supports_op(nullptr, op) ? 1 : -1;
}

int mock_sched_backend(const ggml_tensor * tensor) {
    const ggml_backend_sched_t sched = 0;
    for (const ggml_tensor * src : tensor->src) {
        if (src && src->buffer && src->buffer->usage == GGML_BACKEND_BUFFER_USAGE_WEIGHTS) {
            int src_backend_id = ggml_backend_sched_backend_from_buffer(sched, src, tensor);
            return src_backend_id == 1 ? 0 : src_backend_id;
        }
    }
    return -1;
}

bool mock_supports_op(const ggml_tensor * op) { return ggml_backend_cpu_supports_op(nullptr, op); }
bool mock_supports_buft(ggml_backend_buffer_type_t buft) { return ggml_backend_cpu_supports_buft(nullptr, buft); }
