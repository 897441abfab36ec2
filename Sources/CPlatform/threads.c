#define _GNU_SOURCE
#include "platform.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { MAX_THREADS = 64 };

typedef struct part {
    sx_task_fn task;
    void *context;
    int32_t index, count;
} part;

static void *run(void *argument) {
    part *p = argument;
    p->task(p->index, p->count, p->context);
    return NULL;
}

void sx_parallel(int32_t count, sx_task_fn task, void *context) {
    if (count > MAX_THREADS) count = MAX_THREADS;
    pthread_t threads[MAX_THREADS];
    bool started[MAX_THREADS] = {false};
    part parts[MAX_THREADS];
    // The host's signals are for the host's threads.
    sigset_t all, before;
    sigfillset(&all);
    bool masked = count > 1 && pthread_sigmask(SIG_SETMASK, &all, &before) == 0;
    for (int32_t i = 1; i < count; ++i) {
        parts[i] = (part){task, context, i, count};
        started[i] = pthread_create(&threads[i], NULL, run, &parts[i]) == 0;
    }
    if (masked) pthread_sigmask(SIG_SETMASK, &before, NULL);
    task(0, count, context);
    for (int32_t i = 1; i < count; ++i) {
        if (started[i]) pthread_join(threads[i], NULL);
        else task(i, count, context);
    }
}

void sx_mutex_init(sx_mutex *mutex) { pthread_mutex_init(&mutex->mutex, NULL); }
void sx_mutex_lock(sx_mutex *mutex) { pthread_mutex_lock(&mutex->mutex); }
void sx_mutex_unlock(sx_mutex *mutex) { pthread_mutex_unlock(&mutex->mutex); }
void sx_mutex_destroy(sx_mutex *mutex) { pthread_mutex_destroy(&mutex->mutex); }

static _Alignas(64) char storage[1024];
static pthread_mutex_t once_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool filled;

void *sx_once(void (*fill)(void *)) {
    if (!__atomic_load_n(&filled, __ATOMIC_ACQUIRE)) {
        pthread_mutex_lock(&once_mutex);
        if (!filled) {
            fill(storage);
            __atomic_store_n(&filled, true, __ATOMIC_RELEASE);
        }
        pthread_mutex_unlock(&once_mutex);
    }
    return storage;
}

void *sx_self_test_memory(void) {
    static _Alignas(64) char memory[65536];
    memset(memory, 0, sizeof memory);
    return memory;
}

static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static sx_log_fn log_receiver;
static void *log_user;

void sx_log_set(sx_log_fn log, void *user) {
    pthread_mutex_lock(&log_mutex);
    log_receiver = log;
    log_user = user;
    pthread_mutex_unlock(&log_mutex);
}

bool sx_log_enabled(void) {
    pthread_mutex_lock(&log_mutex);
    bool enabled = log_receiver != NULL;
    pthread_mutex_unlock(&log_mutex);
    return enabled;
}

void sx_log(int32_t level, const char *message, const char *name) {
    pthread_mutex_lock(&log_mutex);
    sx_log_fn receiver = log_receiver;
    void *user = log_user;
    pthread_mutex_unlock(&log_mutex);
    if (!receiver) return;
    char line[512];
    if (name && *name) snprintf(line, sizeof line, "sparamx: %.100s: %s", name, message);
    else snprintf(line, sizeof line, "sparamx: %s", message);
    receiver(level, line, user);
}
