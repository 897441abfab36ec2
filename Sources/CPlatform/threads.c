#define _GNU_SOURCE
#include "platform.h"
#include <signal.h>

// Threads of packing need a few KB of stack. The default of 8 MB stays in the C library's cache afterwards, and all of
// it is resident in a process that locks its memory.
enum { MAX_THREADS = 64, STACK = 512 << 10 };

typedef struct share {
    sx_task_fn task;
    void *context;
    int32_t index, count;
} share;

static void *run(void *argument) {
    share *p = argument;
    p->task(p->index, p->count, p->context);
    return NULL;
}

// What somebody sends to the process is for the host's threads. A fault is sent to the thread that caused it: blocked,
// it would kill the process without the host's handler, and the host's mapped file may be what is truncated.
static void fill_with_asynchronous(sigset_t *set) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigfillset(set);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; ++i) sigdelset(set, faults[i]);
}

void sx_parallel(int32_t count, sx_task_fn task, void *context) {
    if (count > MAX_THREADS) count = MAX_THREADS;
    pthread_t threads[MAX_THREADS];
    bool started[MAX_THREADS] = {false};
    share shares[MAX_THREADS];
    // Joining is a cancellation point: a caller that is cancelled there would leave threads that write to its stack.
    int cancel = sx_cancel_off();
    sigset_t blocked, before;
    fill_with_asynchronous(&blocked);
    bool masked = count > 1 && pthread_sigmask(SIG_BLOCK, &blocked, &before) == 0;
    pthread_attr_t attributes;
    bool sized = pthread_attr_init(&attributes) == 0;
    if (sized) pthread_attr_setstacksize(&attributes, STACK);
    for (int32_t i = 1; i < count; ++i) {
        shares[i] = (share){task, context, i, count};
        started[i] = pthread_create(&threads[i], sized ? &attributes : NULL, run, &shares[i]) == 0;
    }
    if (sized) pthread_attr_destroy(&attributes);
    if (masked) pthread_sigmask(SIG_SETMASK, &before, NULL);
    task(0, count, context);
    for (int32_t i = 1; i < count; ++i) {
        if (started[i]) pthread_join(threads[i], NULL);
        else task(i, count, context);
    }
    sx_cancel_restore(cancel);
}

int sx_cancel_off(void) {
    int before = PTHREAD_CANCEL_ENABLE;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

void sx_cancel_restore(int before) { pthread_setcancelstate(before, NULL); }

void sx_mutex_init(sx_mutex *mutex) { pthread_mutex_init(&mutex->mutex, NULL); }
void sx_mutex_lock(sx_mutex *mutex) { pthread_mutex_lock(&mutex->mutex); }
void sx_mutex_unlock(sx_mutex *mutex) { pthread_mutex_unlock(&mutex->mutex); }
void sx_mutex_destroy(sx_mutex *mutex) { pthread_mutex_destroy(&mutex->mutex); }
