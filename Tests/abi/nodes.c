/*
 * nodes.c - libnodes.so, for LD_PRELOAD: plays a machine with four memory nodes (nodes.h) to libsparamx. It stands
 * between the library and the Linux kernel's lists of nodes, libnuma, and the question on which CPU a thread is; the
 * rest of the process is left alone. NODES in the environment plays something else: "one", a machine of one node;
 * "no-libnuma"; "no-lists", an old kernel that lists no nodes with CPUs; "refuse", mbind always fails; "roam", threads
 * are on another node whenever they are asked.
 */
#define _GNU_SOURCE
#include "nodes.h"
#include "in_library.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { REQUESTS = 1 << 16 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static nodes_request requests[REQUESTS];
static int count;
static __thread int standing_on;
static int libnuma; /* its address is the handle */
static bool one, without, no_lists, refuse, roam;

__attribute__((constructor)) static void start(void) {
    const char *what = getenv("NODES");
    if (what == NULL) what = "";
    one = strcmp(what, "one") == 0;
    without = strcmp(what, "no-libnuma") == 0;
    no_lists = strcmp(what, "no-lists") == 0;
    refuse = strcmp(what, "refuse") == 0;
    roam = strcmp(what, "roam") == 0;
}

EXPORT void nodes_stand_on(int node) { standing_on = node; }

EXPORT int nodes_requests(const nodes_request **out) {
    *out = requests;
    return count;
}

EXPORT void nodes_forget(void) { count = 0; }

EXPORT int nodes_of(const void *page, unsigned long *mask) {
    const char *at = page;
    int mode = 0;
    for (int i = 0; i < count; i++) {
        if (at < requests[i].begin || at >= requests[i].begin + requests[i].bytes) continue;
        mode = requests[i].mode;
        *mask = requests[i].mask;
    }
    return mode;
}

/* -- libnuma ------------------------------------------------------------------------------------------------------- */

typedef struct bitmask {
    unsigned long size;
    unsigned long *maskp;
} bitmask;

static unsigned long with_memory[16] = {0x7};
static bitmask all_nodes = {1024, with_memory}, *all_nodes_pointer = &all_nodes;

static int available(void) { return 0; }

static int distance(int from, int to) {
    static const unsigned char table[4][4] = {{10, 21, 14, 32}, {21, 10, 24, 12}, {14, 24, 10, 35}, {32, 12, 35, 10}};
    return from >= 0 && from < 4 && to >= 0 && to < 4 ? table[from][to] : 0;
}

static long bind_memory(void *begin, unsigned long bytes, int mode, const unsigned long *mask, unsigned long most,
                        unsigned flags) {
    if (refuse || flags != 0 || most < 5 || bytes == 0 || (unsigned long)begin % 4096 != 0) return -1;
    pthread_mutex_lock(&mutex);
    if (count == REQUESTS) count = 0; /* what is asked under load nobody looks up */
    requests[count++] = (nodes_request){begin, (bytes + 4095) / 4096 * 4096, mode, mask[0]};
    pthread_mutex_unlock(&mutex);
    return 0;
}

/* -- what the library asks ----------------------------------------------------------------------------------------- */

static bool asked(const void *caller) {
    if (library_end == 0) find_library();
    return in_library((uintptr_t)caller);
}

#define NEXT(name, type, ...)                                  \
    static type(*next)(__VA_ARGS__);                           \
    if (next == NULL) {                                        \
        void *symbol = dlvsym(RTLD_NEXT, name, "GLIBC_2.2.5"); \
        memcpy(&next, &symbol, sizeof next);                   \
    }

/* libfail.so, if it is there behind this one, says which calls fail. */
extern bool fail_count(const char *function) __attribute__((weak));
static bool fails(const char *function) { return fail_count != NULL && fail_count(function); }

EXPORT void *dlopen(const char *file, int mode) {
    NEXT("dlopen", void *, const char *, int)
    if (file == NULL || strcmp(file, "libnuma.so.1") != 0) return next(file, mode);
    return fails("dlopen") || without ? NULL : &libnuma;
}

EXPORT int dlclose(void *handle) {
    NEXT("dlclose", int, void *)
    return handle == &libnuma ? 0 : next(handle);
}

EXPORT void *dlsym(void *handle, const char *name) {
    NEXT("dlsym", void *, void *, const char *)
    if (handle != &libnuma) return next(handle, name);
    if (fails("dlsym")) return NULL;
    if (strcmp(name, "numa_available") == 0) return (void *)available;
    if (strcmp(name, "mbind") == 0) return (void *)bind_memory;
    if (strcmp(name, "numa_all_nodes_ptr") == 0) return &all_nodes_pointer;
    return strcmp(name, "numa_distance") == 0 ? (void *)distance : NULL;
}

EXPORT int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, unsigned) : 0;
    va_end(list);
    const char *text = NULL;
    if (!one) { /* by their names alone: a sanitizer may be the one that calls */
        if (strcmp(path, "/sys/devices/system/node/online") == 0) text = "0-3\n";
        if (strcmp(path, "/sys/devices/system/node/has_cpu") == 0) {
            if (no_lists) return -1;
            text = "0-1,3\n";
        }
    }
    if (text == NULL) return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    int file = memfd_create("nodes", MFD_CLOEXEC);
    if (file >= 0 && (write(file, text, strlen(text)) < 0 || lseek(file, 0, SEEK_SET) < 0)) abort();
    return file;
}

EXPORT int getcpu(unsigned *cpu, unsigned *node) {
    if (!asked(__builtin_return_address(0))) return (int)syscall(SYS_getcpu, cpu, node, NULL);
    static unsigned questions;
    *cpu = 0;
    *node = roam ? __atomic_fetch_add(&questions, 7, __ATOMIC_RELAXED) / 4 % 4 : (unsigned)standing_on;
    return 0;
}
