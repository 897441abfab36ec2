/*
 * fail.c - libfail.so, for LD_PRELOAD: stands between libsparamx and libc.
 *
 * Counts the library's calls of everything in libc that can fail: malloc, calloc, posix_memalign, mmap, munmap,
 * madvise, mprotect, pthread_create, sched_getaffinity, sysconf, syscall, dlopen, dlsym, and those for files. Makes the
 * n-th of them fail, and keeps account of what the library has not given back. A call is the library's if it returns
 * into it; the rest of the process is left alone. With FAIL_GUARD=1 in the environment each block of memory that the
 * library gets ends at a page that nobody may touch. Tests reach it through fail.h.
 */
#define _GNU_SOURCE
#include "fail.h"
#include "in_library.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

#define EXPORT __attribute__((visibility("default")))

enum { PAGE = 4096, BLOCKS = 4096, LARGE = 4 << 20 }; /* the library cuts large mappings to size: no guards there */

typedef struct block {
    uintptr_t begin, bytes; /* as the library sees it; begin 0 for a free entry */
    uintptr_t map, map_bytes; /* what stands behind it; 0 for memory of malloc */
} block;

static bool guarded;
static block blocks[BLOCKS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long calls, fail_at, failures, guards, stuck;
static const char *failed_function = "";

/* -- whose call it is ---------------------------------------------------------------------------------------------- */

__attribute__((constructor)) static void start(void) {
    const char *guard = getenv("FAIL_GUARD");
    guarded = guard != NULL && strcmp(guard, "1") == 0;
    find_library();
}

#define FROM_LIBRARY() in_library((uintptr_t)__builtin_return_address(0))

/* Counts a call; true if it has to fail. */
static bool fails(const char *function) {
    pthread_mutex_lock(&mutex);
    bool now = ++calls == fail_at;
    if (now) failures++, failed_function = function;
    pthread_mutex_unlock(&mutex);
    return now;
}

/* -- the account --------------------------------------------------------------------------------------------------- */

static void remember(uintptr_t begin, uintptr_t bytes, uintptr_t map, uintptr_t map_bytes) {
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < BLOCKS; i++) {
        if (blocks[i].begin != 0) continue;
        blocks[i] = (block){begin, bytes, map, map_bytes};
        pthread_mutex_unlock(&mutex);
        return;
    }
    abort();
}

/* Takes the block that starts here out of the account. */
static bool forget(uintptr_t begin, block *out) {
    bool found = false;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < BLOCKS && !found; i++) {
        if (begin == 0 || blocks[i].begin != begin) continue;
        *out = blocks[i];
        blocks[i].begin = 0;
        found = true;
    }
    pthread_mutex_unlock(&mutex);
    return found;
}

/* A call that libnodes.so, which stands before this one, answers itself. */
EXPORT bool fail_count(const char *function) { return fails(function); }

EXPORT void fail_arm(long n) {
    pthread_mutex_lock(&mutex);
    calls = 0, fail_at = n, failures = 0, stuck = 0, failed_function = "";
    pthread_mutex_unlock(&mutex);
}

EXPORT long fail_calls(void) { return calls; }
EXPORT long fail_failures(void) { return failures; }
EXPORT long fail_stuck(void) { return stuck; }
EXPORT long fail_guards(void) { return guards; }
EXPORT const char *fail_function(void) { return failed_function; }

EXPORT long fail_outstanding(void) {
    long count = 0;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < BLOCKS; i++) count += blocks[i].begin != 0;
    pthread_mutex_unlock(&mutex);
    return count;
}

/* -- system calls, which must not go through the functions below --------------------------------------------------- */

static long raw_syscall(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (result >= 0 || result < -4095) return result;
    errno = (int)-result;
    return -1;
}

EXPORT long syscall(long number, ...) {
    if (FROM_LIBRARY() && fails("syscall")) {
        errno = ENOSYS;
        return -1;
    }
    va_list list;
    va_start(list, number);
    long a[6];
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    return raw_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

EXPORT int madvise(void *pointer, size_t bytes, int advice) {
    if (FROM_LIBRARY() && fails("madvise")) {
        errno = EINVAL;
        return -1;
    }
    return (int)raw_syscall(SYS_madvise, (long)pointer, (long)bytes, advice, 0, 0, 0);
}

EXPORT int sched_getaffinity(pid_t pid, size_t bytes, cpu_set_t *set) {
    if (FROM_LIBRARY() && fails("sched_getaffinity")) {
        errno = EINVAL;
        return -1;
    }
    memset(set, 0, bytes);
    return raw_syscall(SYS_sched_getaffinity, pid, (long)bytes, (long)set, 0, 0, 0) < 0 ? -1 : 0;
}

EXPORT int mprotect(void *pointer, size_t bytes, int protection) {
    if (FROM_LIBRARY() && fails("mprotect")) {
        errno = ENOMEM;
        return -1;
    }
    return (int)raw_syscall(SYS_mprotect, (long)pointer, (long)bytes, protection, 0, 0, 0);
}

/* -- files --------------------------------------------------------------------------------------------------------- */

#define FILE_CALL(type, name, number, parameters, ...)            \
    EXPORT type name parameters {                                 \
        if (FROM_LIBRARY() && fails(#name)) {                     \
            errno = EIO;                                          \
            return -1;                                            \
        }                                                         \
        return (type)raw_syscall(number, __VA_ARGS__);            \
    }

FILE_CALL(int, fstat, SYS_fstat, (int file, struct stat *out), file, (long)out, 0, 0, 0, 0)
FILE_CALL(int, fstatat, SYS_newfstatat, (int directory, const char *path, struct stat *out, int flags), directory,
          (long)path, (long)out, flags, 0, 0)
FILE_CALL(ssize_t, pread, SYS_pread64, (int file, void *to, size_t bytes, off_t offset), file, (long)to, (long)bytes,
          offset, 0, 0)
FILE_CALL(ssize_t, pwrite, SYS_pwrite64, (int file, const void *from, size_t bytes, off_t offset), file, (long)from,
          (long)bytes, offset, 0, 0)
FILE_CALL(int, fsync, SYS_fsync, (int file), file, 0, 0, 0, 0, 0)
FILE_CALL(int, ftruncate, SYS_ftruncate, (int file, off_t size), file, size, 0, 0, 0, 0)
FILE_CALL(int, access, SYS_access, (const char *path, int how), (long)path, how, 0, 0, 0, 0)
FILE_CALL(int, linkat, SYS_linkat, (int from, const char *old, int to, const char *path, int flags), from, (long)old,
          to, (long)path, flags, 0)
FILE_CALL(int, renameat, SYS_renameat, (int from, const char *old, int to, const char *path), from, (long)old, to,
          (long)path, 0, 0)
FILE_CALL(int, getrlimit, SYS_getrlimit, (__rlimit_resource_t which, struct rlimit *out), (long)which, (long)out, 0, 0,
          0, 0)
FILE_CALL(int, unlinkat, SYS_unlinkat, (int directory, const char *path, int flags), directory, (long)path, flags, 0, 0,
          0)

static mode_t mode_of(va_list list, int flags) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; }

EXPORT int openat(int directory, const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = mode_of(list, flags);
    va_end(list);
    if (FROM_LIBRARY() && fails("openat")) {
        errno = EIO;
        return -1;
    }
    return (int)raw_syscall(SYS_openat, directory, (long)path, flags, mode, 0, 0);
}

EXPORT int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = mode_of(list, flags);
    va_end(list);
    if (FROM_LIBRARY() && fails("open")) {
        errno = EIO;
        return -1;
    }
    return (int)raw_syscall(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0, 0);
}

/* Calls libc's function of this name, which stands behind ours; every one of them is as old as x86-64. */
#define BEHIND(name, type, ...)                                        \
    static type(*next)(__VA_ARGS__);                                   \
    if (next == NULL) {                                                \
        void *symbol = dlvsym(RTLD_NEXT, name, "GLIBC_2.2.5");         \
        memcpy(&next, &symbol, sizeof next);                           \
    }

EXPORT long sysconf(int name) {
    BEHIND("sysconf", long, int)
    return FROM_LIBRARY() && fails("sysconf") ? -1 : next(name);
}

EXPORT void *dlopen(const char *file, int mode) {
    BEHIND("dlopen", void *, const char *, int)
    return FROM_LIBRARY() && fails("dlopen") ? NULL : next(file, mode);
}

EXPORT void *dlsym(void *handle, const char *name) {
    BEHIND("dlsym", void *, void *, const char *)
    return FROM_LIBRARY() && fails("dlsym") ? NULL : next(handle, name);
}

/* -- memory -------------------------------------------------------------------------------------------------------- */

static void *kernel_map(size_t bytes, int protection) {
    return (void *)raw_syscall(SYS_mmap, 0, (long)bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                               0);
}

/* A block that ends, but for its alignment, at a forbidden page. */
static void *guarded_block(size_t bytes, size_t alignment) {
    size_t whole = (bytes + PAGE - 1) / PAGE * PAGE;
    uint8_t *map = kernel_map(whole + 2 * PAGE, PROT_NONE);
    if (map == MAP_FAILED || mprotect(map + PAGE, whole, PROT_READ | PROT_WRITE) != 0) return NULL;
    uintptr_t begin = ((uintptr_t)map + PAGE + whole - bytes) & ~(uintptr_t)(alignment - 1);
    remember(begin, bytes, (uintptr_t)map, whole + 2 * PAGE);
    guards++;
    return (void *)begin;
}

static void *library_memory(const char *function, size_t bytes, size_t alignment) {
    if (fails(function)) {
        errno = ENOMEM;
        return NULL;
    }
    if (guarded && bytes < LARGE) return guarded_block(bytes, alignment);
    void *p = alignment > 16 ? __libc_memalign(alignment, bytes) : __libc_calloc(1, bytes);
    if (p != NULL) remember((uintptr_t)p, bytes, 0, 0);
    return p;
}

EXPORT void *malloc(size_t bytes) {
    return FROM_LIBRARY() ? library_memory("malloc", bytes, 16) : __libc_malloc(bytes);
}

EXPORT void *calloc(size_t count, size_t bytes) {
    return FROM_LIBRARY() ? library_memory("calloc", count * bytes, 16) : __libc_calloc(count, bytes);
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t bytes) {
    void *p = FROM_LIBRARY() ? library_memory("posix_memalign", bytes, alignment) : __libc_memalign(alignment, bytes);
    if (p == NULL) return ENOMEM;
    *out = p;
    return 0;
}

/* The library may leave through a jump to free, so the address counts and not the caller. */
EXPORT void free(void *pointer) {
    block b;
    if (pointer != NULL && forget((uintptr_t)pointer, &b) && b.map != 0) munmap((void *)b.map, b.map_bytes);
    else __libc_free(pointer);
}

EXPORT void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
    if (!FROM_LIBRARY())
        return (void *)raw_syscall(SYS_mmap, (long)address, (long)bytes, protection, flags, file, offset);
    if (fails("mmap")) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    if (guarded && bytes < LARGE) {
        void *p = guarded_block(bytes, 64);
        return p != NULL ? p : MAP_FAILED;
    }
    void *p = (void *)raw_syscall(SYS_mmap, (long)address, (long)bytes, protection, flags, file, offset);
    /* In the place of a mapping: that one counts. */
    if (p != MAP_FAILED && !(flags & MAP_FIXED)) remember((uintptr_t)p, bytes, 0, 0);
    return p;
}

/* Cuts [begin, end) out of the accounted mappings. */
static void cut(uintptr_t begin, uintptr_t end) {
    end = (end + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    for (int i = 0; i < BLOCKS; i++) {
        block b = blocks[i];
        uintptr_t last = (b.begin + b.bytes + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
        if (b.begin == 0 || b.map != 0 || b.begin % PAGE != 0 || end <= b.begin || begin >= last) continue;
        blocks[i].begin = 0;
        if (b.begin < begin) blocks[i] = (block){b.begin, begin - b.begin, 0, 0};
        if (end >= last) continue;
        int j = 0;
        while (j < BLOCKS && blocks[j].begin != 0) j++;
        if (j == BLOCKS) abort();
        blocks[j] = (block){end, last - end, 0, 0};
    }
}

EXPORT int munmap(void *pointer, size_t bytes) {
    block b;
    if (FROM_LIBRARY() && fails("munmap")) {
        stuck++;
        errno = ENOMEM;
        return -1;
    }
    uintptr_t begin = (uintptr_t)pointer;
    if (guarded && bytes < LARGE && forget(begin, &b)) {
        if (b.map != 0) return (int)raw_syscall(SYS_munmap, (long)b.map, (long)b.map_bytes, 0, 0, 0, 0);
        remember(b.begin, b.bytes, 0, 0);
    }
    pthread_mutex_lock(&mutex);
    cut(begin, begin + bytes);
    pthread_mutex_unlock(&mutex);
    return (int)raw_syscall(SYS_munmap, (long)pointer, (long)bytes, 0, 0, 0, 0);
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    BEHIND("pthread_create", int, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *)
    return FROM_LIBRARY() && fails("pthread_create") ? EAGAIN : next(thread, attributes, run, argument);
}
