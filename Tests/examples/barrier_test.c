/*
 * barrier_test - the barrier of the example programs: nobody leaves before all have come, whatever the mix of spinning,
 * yielding and sleeping; and who waits long takes no processor time from others. Last line: the count.
 */
#define _GNU_SOURCE 1 /* RUSAGE_THREAD */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "common/barrier.h"
#include "common/threads.h"

enum { ROUNDS = 20000, MOST = 8, LATE_MS = 400 };

static int passed, failed;

static void check(int good, const char *what, double value) {
    if (good) passed++;
    else failed++;
    if (!good) printf("not ok: %s: %g\n", what, value);
}

typedef struct crowd {
    barrier b;
    int n, spins;
    atomic_int inside, wrong;
} crowd;

static void *walk(void *data) {
    crowd *c = data;
    for (int i = 0; i < ROUNDS; i++) {
        atomic_fetch_add(&c->inside, 1);
        barrier_wait(&c->b, c->n, c->spins);
        if (atomic_load(&c->inside) < (i + 1) * c->n) atomic_fetch_add(&c->wrong, 1);
        barrier_wait(&c->b, c->n, c->spins);
    }
    return NULL;
}

static void check_rounds(int n, int spins) {
    static crowd c;
    pthread_t threads[MOST];
    c = (crowd){.n = n, .spins = spins};
    for (int i = 0; i < n; i++) pthread_create(&threads[i], NULL, walk, &c);
    for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
    check(atomic_load(&c.wrong) == 0 && atomic_load(&c.inside) == ROUNDS * n, "threads that left early",
          atomic_load(&c.wrong));
}

static double used_ms[2];

/* The first thread is late; the second one waits for it. */
static void late(int ith, int nth, void *ctx) {
    struct rusage before, after;
    getrusage(RUSAGE_THREAD, &before);
    if (ith == 0) nanosleep(&(struct timespec){.tv_nsec = LATE_MS * 1000000L}, NULL);
    team_barrier(ctx);
    getrusage(RUSAGE_THREAD, &after);
    used_ms[ith] = 1e3 * (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
                                  before.ru_stime.tv_sec) +
                   1e-3 * (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
                                   before.ru_stime.tv_usec);
    (void)nth;
}

int main(void) {
    for (int n = 1; n <= MOST; n *= 2) {
        check_rounds(n, 0);
        check_rounds(n, 512);
    }
    team *t = team_create(2);
    team_run(t, late, t);
    check(used_ms[1] < LATE_MS / 8.0, "milliseconds of processor time spent waiting", used_ms[1]);
    team_destroy(t);
    printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed > 0;
}
