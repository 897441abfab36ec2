// The plugin as the device of an RPC server: the host's CPU backend, with memory in which weights are packed.
#pragma once

#include "host.hpp"

namespace plugin {

// False if the library cannot be used; a line on stderr has said why.
bool rpc_start(const host & host, ggml_backend_reg_t reg);

ggml_backend_dev_t rpc_device();

// Functions that hosts ask a registry for by name, NULL for others.
void * rpc_function(const char * name);

} // namespace plugin
