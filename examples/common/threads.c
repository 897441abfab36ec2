#define _GNU_SOURCE 1 /* sched_getaffinity */

#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "barrier.h"

/* A product takes tens of microseconds, less than waking a sleeping thread: so waiting threads spin first. After that
 * they leave the core to others: another program, or a thread of this team where there are more threads than CPUs. */
enum { SPINS_BEFORE_YIELD = 512, YIELDS_BEFORE_SLEEP = 2048 };

struct team {
    int n;
    pthread_t *threads; /* n - 1 */

    atomic_uint job_number; /* raised for every job: what the workers wait for */
    team_fn fn;             /* written before job_number is raised */
    void *ctx;
    bool stop;

    barrier barrier;

    pthread_mutex_t mutex; /* for sleeping only */
    pthread_cond_t wake;
};

typedef struct worker {
    team *t;
    int ith;
} worker;

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

int team_cpus(void) {
    cpu_set_t set;
    long n = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
    if (n < 1) n = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than a cpu_set_t holds */
    if (n < 1) return 1;
    return n > TEAM_MAX_THREADS ? TEAM_MAX_THREADS : (int)n;
}

void team_barrier(void *data) {
    team *t = data;
    barrier_wait(&t->barrier, t->n, SPINS_BEFORE_YIELD);
}

/* Waits until the job after 'seen' has been posted; returns its number. */
static unsigned await_job(team *t, unsigned seen) {
    unsigned number;
    for (int spins = 0; spins < SPINS_BEFORE_YIELD + YIELDS_BEFORE_SLEEP; spins++) {
        number = atomic_load_explicit(&t->job_number, memory_order_acquire);
        if (number != seen) return number;
        if (spins < SPINS_BEFORE_YIELD) {
            pause_cpu();
        } else {
            sched_yield();
        }
    }
    pthread_mutex_lock(&t->mutex);
    while ((number = atomic_load_explicit(&t->job_number, memory_order_acquire)) == seen)
        pthread_cond_wait(&t->wake, &t->mutex);
    pthread_mutex_unlock(&t->mutex);
    return number;
}

/* The mutex is held while the number is raised: else a worker could check it, find no job, and miss the signal. */
static void post_job(team *t) {
    pthread_mutex_lock(&t->mutex);
    atomic_fetch_add_explicit(&t->job_number, 1, memory_order_release);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->mutex);
}

static void *work(void *data) {
    worker w = *(worker *)data;
    free(data);
    for (unsigned seen = 0;;) {
        seen = await_job(w.t, seen);
        if (w.t->stop) return NULL;
        w.t->fn(w.ith, w.t->n, w.t->ctx);
        team_barrier(w.t);
    }
}

void team_run(team *t, team_fn fn, void *ctx) {
    t->fn = fn;
    t->ctx = ctx;
    if (t->n > 1) post_job(t);
    fn(0, t->n, ctx);
    team_barrier(t);
}

static bool start_worker(team *t, int ith) {
    worker *w = malloc(sizeof *w);
    if (w == NULL) return false;
    *w = (worker){t, ith};
    if (pthread_create(&t->threads[ith - 1], NULL, work, w) == 0) return true;
    free(w);
    return false;
}

/* Ends the workers 1...started. */
static void stop_workers(team *t, int started) {
    t->stop = true;
    post_job(t);
    for (int i = 0; i < started; i++) pthread_join(t->threads[i], NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->mutex);
    free(t->threads);
    free(t);
}

team *team_create(int n) {
    if (n < 1 || n > TEAM_MAX_THREADS) return NULL;
    team *t = aligned_alloc(_Alignof(team), sizeof *t);
    if (t == NULL) return NULL;
    *t = (team){.n = n};
    t->threads = calloc((size_t)n, sizeof *t->threads);
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->wake, NULL);
    for (int i = 1; i < n; i++) {
        if (t->threads != NULL && start_worker(t, i)) continue;
        stop_workers(t, i - 1);
        return NULL;
    }
    return t;
}

void team_destroy(team *t) {
    if (t != NULL) stop_workers(t, t->n - 1);
}

int team_size(const team *t) { return t->n; }
