// libnuma is loaded when it is there, there are nodes to speak of, and the host asks for interleaving. Nothing links to
// it. Nothing of ours is held while the loader is called, and in a process that was forked while another thread was
// inside the loader nothing but that request calls it.
#define _GNU_SOURCE
#include "platform.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

typedef struct bitmask { // as libnuma declares it
    unsigned long size;
    unsigned long *maskp;
} bitmask;

typedef struct numa_table {
    void *handle;
    // The system call. numa_interleave_memory() prints to stderr when that fails.
    long (*mbind)(void *, unsigned long, int, const unsigned long *, unsigned long, unsigned);
    bitmask **all_nodes;
} numa_table;

enum { INTERLEAVE = 3 }; // MPOL_INTERLEAVE

static bool numa_open(numa_table *t) {
    t->handle = dlopen("libnuma.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!t->handle) return false;
    int (*available)(void) = (int (*)(void))dlsym(t->handle, "numa_available");
    t->mbind = (long (*)(void *, unsigned long, int, const unsigned long *, unsigned long, unsigned))
        dlsym(t->handle, "mbind");
    t->all_nodes = (bitmask **)dlsym(t->handle, "numa_all_nodes_ptr");
    if (available && t->mbind && t->all_nodes && available() >= 0) return true;
    dlclose(t->handle);
    return false;
}

// The file lists ranges, such as "0-1" or "0,2-3": the last number is the highest node. Without the file there is one.
static int32_t highest_node(void) {
    char text[256];
    int file = open("/sys/devices/system/node/online", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text);
    close(file);
    int32_t node = 0;
    for (ssize_t i = 0; i < length && node < 65536; ++i) {
        bool digit = text[i] >= '0' && text[i] <= '9', before = i > 0 && text[i - 1] >= '0' && text[i - 1] <= '9';
        if (digit) node = (before ? node * 10 : 0) + (text[i] - '0');
    }
    return node;
}

int32_t sx_numa_nodes(void) {
    static int32_t known;
    int32_t nodes = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (nodes > 0) return nodes;
    // Threads that come at the same time find the same.
    int cancel = sx_cancel_off();
    nodes = highest_node() + 1;
    sx_cancel_restore(cancel);
    __atomic_store_n(&known, nodes, __ATOMIC_RELAXED);
    return nodes;
}

// The library, kept for interleaving until this one is unloaded. NULL: not asked for, or not possible here.
static numa_table kept;
static void *kept_handle;

void sx_numa_prepare(void) {
    if (__atomic_load_n(&kept_handle, __ATOMIC_ACQUIRE) || sx_numa_nodes() < 2) return;
    static bool claimed;
    int cancel = sx_cancel_off();
    numa_table t;
    if (numa_open(&t)) {
        // Of threads that come at the same time one wins; the others do not wait for it, and their first tensors may
        // lie as if they had not asked.
        if (!__atomic_exchange_n(&claimed, true, __ATOMIC_ACQ_REL)) {
            kept = t;
            __atomic_store_n(&kept_handle, t.handle, __ATOMIC_RELEASE);
        } else {
            dlclose(t.handle);
        }
    }
    sx_cancel_restore(cancel);
}

bool sx_numa_interleave(void *pointer, size_t bytes) {
    if (!__atomic_load_n(&kept_handle, __ATOMIC_ACQUIRE)) return false;
    const bitmask *all = *kept.all_nodes;
    return kept.mbind(pointer, bytes, INTERLEAVE, all->maskp, all->size + 1, 0) == 0;
}

__attribute__((destructor)) static void stop(void) {
    if (kept_handle) dlclose(kept_handle);
}
