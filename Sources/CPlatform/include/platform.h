// Everything the library asks of the CPU, the kernel and libc, in one place. Nothing here aborts or prints.
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

// CPU
void sx_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[_Nonnull 4]);
uint64_t sx_xgetbv(void);
int32_t sx_request_amx(void); // 0, or the errno of arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)
int32_t sx_cpu_count(void);   // CPUs this process may run on, at least 1

const char *sx_version(void); // of this library, as in the header

// Environment
const char *_Nullable sx_environment(const char *name);

// Memory. NULL on failure.
void *_Nullable sx_allocate(size_t bytes);  // zeroed
void sx_free(void *_Nullable pointer);
void *_Nullable sx_map(size_t bytes);       // private, zero, not counted against overcommit until touched
void sx_unmap(void *pointer, size_t bytes);
// Address space alone: nothing there may be touched, and nothing of it can become resident, until it is made usable.
void *_Nullable sx_reserve(size_t bytes);
bool sx_make_usable(void *pointer, size_t bytes); // pages; false on failure, nothing changed
void sx_give_back(void *pointer, size_t bytes);   // pages, as sx_reserve left them; memory is freed
void sx_zero_pages(void *pointer, size_t bytes);  // usable pages: they stay usable, memory is freed if that is possible
void sx_huge_pages(void *pointer, size_t bytes); // 2 MB pages for the whole 2 MB frames inside

// Files. errno says why something failed.
enum { SX_FILE_FAILED = -1, SX_FILE_KIND = -2, SX_FILE_ENDED = -3, SX_FILE_NO_MEMORY = -4 };
int32_t sx_errno(void);
void sx_set_errno(int32_t number);
int32_t sx_file_open(const char *path, int64_t *size); // to read; a number from 0 on, SX_FILE_FAILED, _KIND: no file
void sx_file_close(int32_t file);
int32_t sx_file_read(int32_t file, void *to, size_t bytes, int64_t offset); // 1, SX_FILE_FAILED, _ENDED before that
// Pages of the file, in place of address space that sx_reserve gave. Only read, and those of other processes too.
bool sx_file_map(void *place, size_t bytes, int32_t file, int64_t offset);
bool sx_make_constant(void *pointer, size_t bytes); // pages; from now on they are only read
// A file that has no name, or another one, until it is finished. The directory of its path is there already.
typedef struct sx_new_file sx_new_file;
int32_t sx_new_file_create(const char *path, sx_new_file *_Nullable *_Nonnull out); // 0, SX_FILE_FAILED, _KIND: what
                                                                                    // is there is no file, _NO_MEMORY
bool sx_new_file_write(sx_new_file *file, const void *from, size_t bytes, int64_t offset);
bool sx_new_file_finish(sx_new_file *file, int64_t size); // on the disk, and then in the place of what had its name
void sx_new_file_end(sx_new_file *file); // always; what is not finished is gone

// NUMA
int32_t sx_numa_nodes(void);
void sx_numa_prepare(void); // before what follows; loads libnuma, so no lock may be held
bool sx_numa_interleave(void *pointer, size_t bytes); // false: not possible here, nothing changed
// Places: the memory nodes that have CPUs and memory for this process, numbered from 0. One if nothing is prepared.
enum { SX_NUMA_PLACES = 64 };
int32_t sx_numa_places(void);
// Pages that are not in use yet come from a place, or from elsewhere when it is full. false: nothing changed.
bool sx_numa_place(void *pointer, size_t bytes, int32_t place);
int32_t sx_numa_here(void); // the place nearest to the CPU that the calling thread is on

// Threads
typedef void (*sx_task_fn)(int32_t index, int32_t count, void *context);
// Runs task(0...count-1) on up to count threads, which end before the call returns. A thread that cannot be made costs
// speed only: its share is done in the caller. Not a cancellation point. Faults reach the host's handlers from every
// thread.
void sx_parallel(int32_t count, sx_task_fn task, void *context);

// Around what is a cancellation point and must not be one.
int sx_cancel_off(void);
void sx_cancel_restore(int before);

typedef struct sx_mutex { pthread_mutex_t mutex; } sx_mutex;
void sx_mutex_init(sx_mutex *mutex);
void sx_mutex_lock(sx_mutex *mutex);
void sx_mutex_unlock(sx_mutex *mutex);
void sx_mutex_destroy(sx_mutex *mutex);

static inline void *_Nullable sx_load_acquire(void *_Nullable const *_Nonnull p) {
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
static inline void sx_store_release(void *_Nullable *_Nonnull p, void *_Nullable v) {
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static inline int64_t sx_count_load(const int64_t *_Nonnull p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline void sx_count_add(int64_t *_Nonnull p, int64_t v) { __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }

// Which of up to 1,024 tasks have run, marked by any threads.
typedef struct sx_marks { uint64_t words[16]; } sx_marks;
static inline void sx_mark(sx_marks *marks, int32_t task) {
    __atomic_fetch_or(&marks->words[task / 64], (uint64_t)1 << task % 64, __ATOMIC_RELAXED);
}
static inline bool sx_marked_all(const sx_marks *marks, int32_t tasks) {
    for (int32_t task = 0; task < tasks; ++task) {
        if (!(__atomic_load_n(&marks->words[task / 64], __ATOMIC_RELAXED) >> task % 64 & 1)) return false;
    }
    return true;
}

// Calls fill(storage, cap) once per process and returns storage: 1 KB of zero-initialised memory. fill must not wait
// for anything. cap: what sx_once_cap set, else INT32_MAX.
void *sx_once(void (*fill)(void *storage, int32_t cap));
bool sx_once_cap(int32_t level); // false: too late, fill has been called

// What the process has as its profile: whatever was loaded last before it was settled, and then that for ever.
bool sx_profile_settled(void *_Nullable *_Nonnull out); // false: not yet, and *out is not written
bool sx_profile_is_there(void);
void *_Nullable sx_profile_load(void *profile); // what nobody has now: the one before, or this one because it is late
// Settles it, with *profile if none was loaded; afterwards *profile is what nobody has. true: this call settled it.
bool sx_profile_settle(void *_Nullable *_Nonnull profile);

// Memory of this size, aligned to 64 bytes, for the products at start-up: whether a CPU works must not depend on free
// memory. Used inside sx_once only. Pages that are not touched take no memory.
enum { SX_SELF_TEST_BYTES = 448 << 10 };
void *sx_self_test_memory(void);

// The host's log receiver. When sx_log_set returns, no call to the receiver before it is running or will be made,
// unless it is called from inside a receiver: then other calls may still be running.
typedef void (*sx_log_fn)(int32_t level, const char *_Null_unspecified message, void *_Null_unspecified user);
void sx_log_set(sx_log_fn _Nullable log, void *_Nullable user);
bool sx_log_enabled(void);
void sx_log(int32_t level, const char *message, const char *_Nullable name);
// Copies text to out (room bytes, terminated), '?' for what must not reach a terminal:
// control characters, broken UTF-8.
void sx_log_clean(char *out, size_t room, const char *text);

// Floating point as this library's results are defined: round to nearest, subnormal numbers kept, no exceptions.
// Returns what the thread had (MXCSR), to be restored.
static inline uint32_t sx_float_standard(void) {
    uint32_t before, standard = 0x1f80;
    __asm__ volatile("stmxcsr %0" : "=m"(before));
    if (before != standard) __asm__ volatile("ldmxcsr %0" : : "m"(standard));
    return before;
}
// Without libm, which the compiler would ask.
static inline float sx_square_root(float v) {
    __asm__("sqrtss %0, %0" : "+x"(v));
    return v;
}
static inline void sx_float_restore(uint32_t before) { __asm__ volatile("ldmxcsr %0" : : "m"(before)); }

#pragma clang assume_nonnull end
