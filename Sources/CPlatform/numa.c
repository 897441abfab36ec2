// libnuma is loaded when it is there, there are nodes to speak of, and the host asks for one of the ways to place
// memory. Nothing links to it. Nothing of ours is held while the loader is called, and in a process that was forked
// while another thread was inside the loader nothing but that request calls it.
#define _GNU_SOURCE
#include "platform.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

typedef struct bitmask { // as libnuma declares it
    unsigned long size;
    unsigned long *maskp;
} bitmask;

typedef struct numa_table {
    void *handle;
    // The system call. numa_interleave_memory() prints to stderr when that fails.
    long (*mbind)(void *, unsigned long, int, const unsigned long *, unsigned long, unsigned);
    bitmask **all_nodes;             // those on which this process may have memory
    int (*distance)(int, int);       // NULL: not known
    int32_t places;                  // of those the ones with CPUs, as many as there is room for
    uint16_t node_of[SX_NUMA_PLACES];
    uint8_t place_of[1024];          // the place nearest to a node
} numa_table;

enum { PREFERRED = 1, INTERLEAVE = 3, NODES = 1024, WORD = 8 * sizeof(unsigned long) }; // MPOL_*

// The kernel's lists have ranges, such as "0-1" or "0,2-3". Marks the numbers in `set`, and returns the highest; -1 if
// there is no such file. What is behind 1023 counts only as the highest.
static int32_t read_list(const char *path, bool *set) {
    char text[256];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t length = read(file, text, sizeof text);
    close(file);
    int32_t first = -1, number = -1, highest = -1;
    for (ssize_t i = 0; i <= length; ++i) {
        char c = i < length ? text[i] : ',';
        if (c >= '0' && c <= '9' && number < 65536) {
            number = (number < 0 ? 0 : number * 10) + (c - '0');
        } else if (c == '-') {
            first = number;
            number = -1;
        } else if (number >= 0) {
            for (int32_t n = first >= 0 ? first : number; set && n <= number && n < NODES; ++n) set[n] = true;
            if (number > highest) highest = number;
            first = number = -1;
        }
    }
    return highest;
}

static int32_t distance(const numa_table *t, int32_t from, int32_t to) {
    int found = t->distance ? t->distance(from, to) : 0;
    return found > 0 ? found : from == to ? 10 : 255; // 0: not known
}

// A node without CPUs, such as memory behind CXL, is no place: nothing runs near it.
static void find_places(numa_table *t) {
    bool cpus[NODES] = {false};
    bool all = read_list("/sys/devices/system/node/has_cpu", cpus) < 0;
    const bitmask *nodes = *t->all_nodes;
    t->places = 0;
    for (int32_t node = 0; node < NODES && (unsigned long)node < nodes->size; ++node) {
        bool memory = nodes->maskp[node / WORD] >> node % WORD & 1;
        if (memory && (all || cpus[node]) && t->places < SX_NUMA_PLACES) t->node_of[t->places++] = (uint16_t)node;
    }
    for (int32_t node = 0; node < NODES; ++node) {
        int32_t best = 0;
        for (int32_t place = 1; place < t->places; ++place) {
            if (t->node_of[place] == node || (t->node_of[best] != node && distance(t, node, t->node_of[place]) <
                                                                             distance(t, node, t->node_of[best]))) {
                best = place;
            }
        }
        t->place_of[node] = (uint8_t)best;
    }
}

static bool numa_open(numa_table *t) {
    t->handle = dlopen("libnuma.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!t->handle) return false;
    int (*available)(void) = (int (*)(void))dlsym(t->handle, "numa_available");
    t->mbind = (long (*)(void *, unsigned long, int, const unsigned long *, unsigned long, unsigned))
        dlsym(t->handle, "mbind");
    t->all_nodes = (bitmask **)dlsym(t->handle, "numa_all_nodes_ptr");
    t->distance = (int (*)(int, int))dlsym(t->handle, "numa_distance");
    if (available && t->mbind && t->all_nodes && available() >= 0) {
        find_places(t);
        return true;
    }
    dlclose(t->handle);
    return false;
}

int32_t sx_numa_nodes(void) {
    static int32_t known;
    int32_t nodes = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (nodes > 0) return nodes;
    // Threads that come at the same time find the same.
    int cancel = sx_cancel_off();
    int32_t highest = read_list("/sys/devices/system/node/online", NULL);
    nodes = highest < 0 ? 1 : highest + 1;
    sx_cancel_restore(cancel);
    __atomic_store_n(&known, nodes, __ATOMIC_RELAXED);
    return nodes;
}

// The library, kept until this one is unloaded. NULL: not asked for, or not possible here.
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

int32_t sx_numa_places(void) { return __atomic_load_n(&kept_handle, __ATOMIC_ACQUIRE) ? kept.places : 1; }

// Preferred, not bound: where a node has no memory left, another one gives it, and nobody is killed.
bool sx_numa_place(void *pointer, size_t bytes, int32_t place) {
    if (place < 0 || place >= sx_numa_places() || !kept_handle) return false;
    unsigned long mask[NODES / WORD] = {0};
    mask[kept.node_of[place] / WORD] = 1ul << kept.node_of[place] % WORD;
    return kept.mbind(pointer, bytes, PREFERRED, mask, NODES + 1, 0) == 0;
}

int32_t sx_numa_here(void) {
    unsigned cpu = 0, node = 0;
    // Answered by the vDSO, without a system call.
    if (sx_numa_places() < 2 || getcpu(&cpu, &node) != 0 || node >= NODES) return 0;
    return kept.place_of[node];
}

__attribute__((destructor)) static void stop(void) {
    if (kept_handle) dlclose(kept_handle);
}
