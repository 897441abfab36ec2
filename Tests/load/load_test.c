/*
 * load_test SECONDS [THREADS [SEED]] - a host with 16 threads (or THREADS) at work for so long. They form teams of
 * random size, multiply shared weights of every reported type, form and shape, and pack, upload, read and free beside
 * that. Every result is compared. Memory must not grow, and nothing may be left at the end.
 */
#define _GNU_SOURCE
#include "../abi/check.h"
#include "load.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 64, SAMPLES = 40 };

/* -- teams --------------------------------------------------------------------------------------------------------- */

/* Threads join the team that is open until it is full; then it works, and the next thread opens another one. */
typedef struct team {
    int size, joined, left;
    bool full;
    pthread_barrier_t barrier;
    job work;
    bool good[MOST_THREADS];
} team;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static team *open_team;

static bool stopped(host *h) { return __atomic_load_n(&h->stop, __ATOMIC_ACQUIRE); }

/* A place in a full team, or NULL at the end. */
static team *join(host *h, uint64_t *state, int *place) {
    pthread_mutex_lock(&mutex);
    if (stopped(h)) {
        pthread_mutex_unlock(&mutex);
        return NULL;
    }
    if (open_team == NULL) {
        team *t = must_allocate(sizeof *t);
        uint64_t r = random_next(state);
        t->size = r % 3 ? 1 : 1 + (int)(r / 3 % (uint64_t)h->threads);
        t->work.barrier = &t->barrier;
        pthread_barrier_init(&t->barrier, NULL, (unsigned)t->size);
        job_choose(&t->work, h, t->size, state);
        open_team = t;
    }
    team *mine = open_team;
    *place = mine->joined++;
    if (mine->joined == mine->size) {
        mine->full = true;
        open_team = NULL;
        pthread_cond_broadcast(&filled);
    }
    while (!mine->full && !stopped(h)) pthread_cond_wait(&filled, &mutex);
    bool works = mine->full;
    pthread_mutex_unlock(&mutex);
    return works ? mine : NULL; /* a team that never filled up is given back at the end */
}

void host_wake(host *h) {
    pthread_mutex_lock(&mutex);
    __atomic_store_n(&h->stop, true, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&filled);
    pthread_mutex_unlock(&mutex);
}

void host_thread(host *h, int index, uint64_t seed) {
    uint64_t state = seed;
    int place = 0;
    for (team *t; (t = join(h, &state, &place)) != NULL;) {
        job *j = &t->work;
        if (place == 0 && j->before != NULL) j->before(j);
        pthread_barrier_wait(&t->barrier);
        /* A single thread's own slot goes by its index, a team's share by its place. */
        t->good[place] = j->share(j, t->size == 1 && j->before == NULL ? index : place, t->size);
        pthread_barrier_wait(&t->barrier);
        if (place == 0) {
            bool good = j->after == NULL || j->after(j);
            for (int i = 0; i < t->size; i++) good = good && t->good[i];
            if (!good && __atomic_add_fetch(&h->wrong, 1, __ATOMIC_RELAXED) < 20)
                printf("not ok: %s went wrong: %s %s, n %lld, k %lld, m %lld, %d threads\n", j->name,
                       j->w->p.type->name, form_name(j->w->p.form), (long long)j->w->p.n, (long long)j->w->p.k,
                       (long long)j->m, t->size);
        }
        int size = t->size; /* the last to leave frees the team, so nobody looks at it after having left */
        if (__atomic_add_fetch(&t->left, 1, __ATOMIC_ACQ_REL) == size) {
            pthread_barrier_destroy(&t->barrier);
            free(t);
        }
    }
}

/* -- the host ------------------------------------------------------------------------------------------------------ */

static host h;
static uint64_t seed = 1;

static void *run(void *index) {
    host_thread(&h, (int)(intptr_t)index, seed * 1000 + (uint64_t)(uintptr_t)index);
    return NULL;
}

static size_t resident(size_t *space) {
    unsigned long all = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu %lu", &all, &pages) != 2) exit(2);
    fclose(file);
    if (space != NULL) *space = all * (size_t)sysconf(_SC_PAGESIZE);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t largest(const size_t *samples, int begin, int end) {
    size_t most = 0;
    for (int i = begin; i < end; i++) most = samples[i] > most ? samples[i] : most;
    return most;
}

static bool start_host(int threads, pthread_t *crew) {
    open_team = NULL;
    if (!CHECK(host_open(&h, threads, seed), "the weights cannot be packed, or their products are wrong")) return false;
    printf("%d weights are packed, %d threads start\n", h.weight_count, threads);
    for (intptr_t i = 0; i < threads; i++) {
        if (pthread_create(&crew[i], NULL, run, (void *)i) != 0) exit(2);
    }
    return true;
}

static void end_host(int threads, pthread_t *crew) {
    host_wake(&h);
    for (int i = 0; i < threads; i++) pthread_join(crew[i], NULL);
    if (open_team != NULL) {
        /* It never filled up, so nobody waits at its barrier. */
        pthread_barrier_destroy(&open_team->barrier);
        free(open_team);
    }
    host_close(&h);
    malloc_trim(0);
}

static void wait_for(double seconds) {
    struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 5;
    int threads = argc > 2 ? atoi(argv[2]) : 16;
    if (argc > 3) seed = strtoull(argv[3], NULL, 10);
    if (seconds <= 0 || threads < 1 || threads > MOST_THREADS) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    mallopt(M_ARENA_MAX, 2); /* what grows is to be the host's or the library's, not malloc's */

    /* Once in short, so that what the process keeps for itself is there: arenas, caches, stacks. */
    pthread_t crew[MOST_THREADS];
    if (!start_host(threads, crew)) return check_end();
    wait_for(seconds / 5);
    end_host(threads, crew);
    CHECK(h.wrong == 0, "%ld jobs went wrong", h.wrong);
    size_t space_before = 0, space = 0, before = resident(&space_before), allocated = mallinfo2().uordblks;

    if (!start_host(threads, crew)) return check_end();
    printf("level %d, %d weights, %d threads, %g seconds, seed %llu\n", isa_level(), h.weight_count, threads, seconds,
           (unsigned long long)seed);
    size_t samples[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        wait_for(seconds / SAMPLES);
        samples[i] = resident(NULL);
    }
    end_host(threads, crew);

    long all = h.products + h.raw + h.packs + h.uploads + h.reads + h.repacks;
    printf("%ld jobs: %ld products with packed weights, %ld with the host's bytes, %ld packed and freed, %ld uploads, "
           "%ld read, %ld packed anew\n",
           all, h.products, h.raw, h.packs, h.uploads, h.reads, h.repacks);
    CHECK(h.wrong == 0, "%ld of %ld jobs went wrong", h.wrong, all);
    CHECK(h.products > 0 && h.raw > 0 && h.packs > 0 && h.uploads > 0 && h.reads > 0 && h.repacks > 0,
          "a kind of job was never done: too few seconds");
    checks.passed += all - h.wrong;
    if (getenv("LOAD_MEMORY_UNCHECKED") != NULL) return check_end(); /* a sanitizer's own memory grows */

    /* The second fifth of the time against the last: what grew is what was not given back. */
    size_t early = largest(samples, SAMPLES / 5, 2 * SAMPLES / 5), late = largest(samples, 4 * SAMPLES / 5, SAMPLES);
    long left = (long)(mallinfo2().uordblks - allocated), stays = (long)(resident(&space) - before);
    long mapped = (long)(space - space_before);
    printf(
        "resident: %.1f MiB early, %.1f MiB late; when all is given back %ld KiB more than before, %ld KiB of malloc, "
        "%ld KiB of address space\n",
        (double)early / (1 << 20), (double)late / (1 << 20), stays >> 10, left >> 10, mapped >> 10);
    CHECK(late <= early + early / 20 + (8u << 20), "memory grew from %.1f to %.1f MiB", (double)early / (1 << 20),
          (double)late / (1 << 20));
    /* libc keeps up to 40 MiB of stacks. An object of the library has memory of malloc, so that is the finest measure.
     */
    CHECK(stays <= 24 << 20 && left <= 48 << 10 && mapped <= 48 << 20,
          "left: %ld KiB resident, %ld KiB of malloc, %ld KiB of address space", stays >> 10, left >> 10, mapped >> 10);
    return check_end();
}
