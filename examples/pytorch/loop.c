/*
 * loop.c - the parallel loop that sparamx_linear_apply gets from PyTorch: the OpenMP team that is in the process
 * already. A second pool of threads beside it would wait for its spinning workers.
 *
 * Nothing is linked to: whoever loads this passes the address of GOMP_parallel, which every OpenMP runtime that PyTorch
 * is built with has (GNU's, LLVM's, Intel's).
 */
#include <stdint.h>

typedef void (*task_fn)(int32_t index, void *data);
typedef void (*gomp_parallel_fn)(void (*member)(void *), void *data, unsigned threads, unsigned flags);

typedef struct loop {
    task_fn task;
    void *data;
    int32_t count, next;
} loop;

/* The team may be smaller than was asked for, so its members take tasks until there are none. */
static void run_member(void *context) {
    loop *l = context;
    for (;;) {
        int32_t index = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
        if (index >= l->count) return;
        l->task(index, l->data);
    }
}

/* The field `parallel` of sparamx_linear_call; user: the address of GOMP_parallel. */
__attribute__((visibility("default"))) void sparamx_openmp_loop(task_fn task, void *data, int32_t count, void *user) {
    loop l = {task, data, count, 0};
    gomp_parallel_fn parallel;
    __builtin_memcpy(&parallel, &user, sizeof parallel);
    parallel(run_member, &l, (unsigned)count, 0);
}
