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

// Environment
const char *_Nullable sx_environment(const char *name);

// Memory. NULL on failure.
void *_Nullable sx_allocate(size_t bytes);  // zeroed
void sx_free(void *_Nullable pointer);
void *_Nullable sx_map(size_t bytes);       // private, zero, not counted against overcommit until touched
void sx_unmap(void *pointer, size_t bytes);
void sx_give_back(void *pointer, size_t bytes); // contents become zero, memory is freed
void sx_huge_pages(void *pointer, size_t bytes); // 2 MB pages for the whole 2 MB frames inside

// NUMA, through libnuma if the machine has it
int32_t sx_numa_nodes(void);
bool sx_numa_interleave(void *pointer, size_t bytes); // false: not possible here, nothing changed

// Threads
typedef void (*sx_task_fn)(int32_t index, int32_t count, void *context);
// Runs task(0...count-1) on up to count threads, which end before the call returns. A thread that cannot be made costs
// speed only: its part runs in the caller.
void sx_parallel(int32_t count, sx_task_fn task, void *context);

typedef struct sx_mutex { pthread_mutex_t mutex; } sx_mutex;
void sx_mutex_init(sx_mutex *mutex);
void sx_mutex_lock(sx_mutex *mutex);
void sx_mutex_unlock(sx_mutex *mutex);
void sx_mutex_destroy(sx_mutex *mutex);

static inline void *_Nullable sx_load_acquire(void *_Nullable const *_Nonnull p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void sx_store_release(void *_Nullable *_Nonnull p, void *_Nullable v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

static inline int64_t sx_count_load(const int64_t *_Nonnull p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline void sx_count_store(int64_t *_Nonnull p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }

// Calls fill(storage) once per process and returns storage: 1 KB of zero-initialised memory.
void *sx_once(void (*fill)(void *storage));

// 64 KB of zeros, aligned to 64 bytes, for the product at start-up: whether a CPU works must not depend on free memory.
// Used inside sx_once only.
void *sx_self_test_memory(void);

// The host's log receiver, changed and read atomically as a pair.
typedef void (*sx_log_fn)(int32_t level, const char *_Null_unspecified message, void *_Null_unspecified user);
void sx_log_set(sx_log_fn _Nullable log, void *_Nullable user);
bool sx_log_enabled(void);
void sx_log(int32_t level, const char *message, const char *_Nullable name);

#pragma clang assume_nonnull end
