// The memory of the device for RPC servers: plain memory, in which weights are packed as they arrive.
#pragma once

#include "host.hpp"

#include "sparamx.h"

#include <string>

namespace plugin {

struct served_weight {
    sparamx_buffer * packed; // of the library, for this tensor alone
    sparamx_tensor   as;     // as it stands there
    std::string      name;
    size_t           size;
};

void start_served_memory(const host & host, ggml_backend_dev_t device);

ggml_backend_buffer_type_t served_buffer_type();

inline bool in_served_memory(const ggml_tensor * t) { return t->buffer && t->buffer->buft == served_buffer_type(); }

// The packed weight that the tensor is, whole; NULL if there is none.
served_weight * served_as(const ggml_tensor * t);

// The tensor's bytes are where its data pointer says, from now on. op, which is going to read or write them, is told
// where that unpacks a weight.
void put_back(const ggml_tensor * t, const char * op);

// No upload is going on: time for the line about what was taken.
void uploads_are_done();

} // namespace plugin
