#include "ggml-backend-impl.h"
#include "ggml-moe-prefetch.h"

ggml_backend_buffer_t ggml_backend_buffer_init(ggml_backend_buffer_type_t buft, ggml_backend_buffer_i iface, void * context, size_t size) {
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

bool mock_supports_op(const ggml_tensor * op) { return ggml_backend_cpu_supports_op(nullptr, op); }
bool mock_supports_buft(ggml_backend_buffer_type_t buft) { return ggml_backend_cpu_supports_buft(nullptr, buft); }
