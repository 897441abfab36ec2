// SPARAMX_COLLECT=FILE: the Gram matrices X^T X of the inputs X of all weight matrices, for pruners that want more than
// an imatrix. README.md says how it is used.
//
// The host asks each of its extra buffer types about each op. This one takes no weights; it looks at products before
// they are computed, by the library or by the host itself, and lets them go on.
#pragma once

#include "host.hpp"

namespace plugin {

// Begins to collect if the variable is set and nothing speaks against it; if something does, a line says what. True if
// the plugin must stay loaded.
bool start_collecting(const host & host);

bool is_collecting();

// For products that the CPU backend does not compute: on each of the threads that do, before they begin.
void collect_inputs(const ggml_tensor * node, int ith, int nth, void (*barrier)(void *), void * barrier_data);

} // namespace plugin
