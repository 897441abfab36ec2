// The device's memory: buffers that are host memory, beside which the library keeps the weights packed.
#pragma once

#include "host.hpp"

#include "sparamx.h"

namespace plugin {

// The buffer type that the device offers.
ggml_backend_buffer_type_t device_buffer_type();

void start_memory(const host & host, ggml_backend_dev_t device);

bool is_device_buffer(const ggml_backend_buffer * b);
bool is_device_buffer_type(ggml_backend_buffer_type_t type);

// The library keeps it.
bool is_packed(const ggml_tensor * t);

// A packed tensor as it stands in the library's buffer.
sparamx_tensor in_library(const ggml_tensor * t);

// The tensor's bytes may be read and written: it is in host memory, which is there from now on. False if it is
// elsewhere or if there is no memory.
bool make_accessible(const ggml_tensor * t);

// From now on until it has refused a buffer once, the device gives no memory.
void refuse_memory();

} // namespace plugin
