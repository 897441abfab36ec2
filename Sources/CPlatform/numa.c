// libnuma is loaded when it is there; without it there is one node. Nothing links to it.
#define _GNU_SOURCE
#include "platform.h"
#include <dlfcn.h>

typedef struct numa_table {
    void *handle;
    int (*max_node)(void);
    void (*interleave)(void *, size_t, void *);
    void **all_nodes;
} numa_table;

static bool numa_open(numa_table *t) {
    t->handle = dlopen("libnuma.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!t->handle) return false;
    int (*available)(void) = (int (*)(void))dlsym(t->handle, "numa_available");
    t->max_node = (int (*)(void))dlsym(t->handle, "numa_max_node");
    t->interleave = (void (*)(void *, size_t, void *))dlsym(t->handle, "numa_interleave_memory");
    t->all_nodes = (void **)dlsym(t->handle, "numa_all_nodes_ptr");
    if (available && t->max_node && t->interleave && t->all_nodes && available() >= 0) return true;
    dlclose(t->handle);
    return false;
}

int32_t sx_numa_nodes(void) {
    numa_table t;
    if (!numa_open(&t)) return 1;
    int nodes = t.max_node() + 1;
    dlclose(t.handle);
    return nodes > 0 ? nodes : 1;
}

bool sx_numa_interleave(void *pointer, size_t bytes) {
    numa_table t;
    if (!numa_open(&t)) return false;
    bool several = t.max_node() > 0;
    if (several) t.interleave(pointer, bytes, *t.all_nodes);
    dlclose(t.handle);
    return several;
}
