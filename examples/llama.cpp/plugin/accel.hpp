// The plugin as a device of its own, for matrix products only.
#pragma once

#include "host.hpp"

namespace plugin {

// False if the library cannot be used; a line on stderr has said why.
bool accel_start(const host & host, ggml_backend_reg_t reg);

ggml_backend_dev_t accel_device();

// Functions that hosts ask a registry for by name, NULL for others.
void * accel_function(const char * name);

} // namespace plugin
