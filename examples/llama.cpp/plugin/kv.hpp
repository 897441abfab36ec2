// SPARAMX_KV=KEYS,VALUES: attention of few tokens over packed key-value caches. README.md says how it is used.
//
// The host keeps its cache and writes it as ever. Beside it lies a packed copy of the blocks that are finished; what is
// written to the host's cache, by the graph or around it, makes the blocks it is in unfinished again. Attention of more
// tokens than 16 stays the host's.
#pragma once

#include "host.hpp"

namespace plugin {

// Begins to serve attention if the variable is set and nothing speaks against it; if something does, a line says what.
void start_kv(const host & host);

} // namespace plugin
