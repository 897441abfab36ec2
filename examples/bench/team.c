#define _GNU_SOURCE
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>

#include "../common/barrier.h"

/* Long enough for the gap between two threads that finish one product, short enough to let a lost CPU go. */
#define SPINS 20000

typedef struct member {
    team *team;
    pthread_t thread;
    int index;
    int cpu;
} member;

struct team {
    int n;
    int spins;
    member *members;

    pthread_mutex_t lock; /* guards the fields down to stop */
    pthread_cond_t wake;
    pthread_cond_t done;
    unsigned long job_number;
    int running;
    team_job job;
    void *arg;
    bool stop;

    barrier barrier;
};

static void *member_main(void *arg) {
    member *self = arg;
    team *t = self->team;
    unsigned long seen = 0;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (!t->stop && t->job_number == seen) pthread_cond_wait(&t->wake, &t->lock);
        if (t->stop) break;
        seen = t->job_number;
        pthread_mutex_unlock(&t->lock);
        t->job(t->arg, self->index, t->n);
        pthread_mutex_lock(&t->lock);
        if (--t->running == 0) pthread_cond_signal(&t->done);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* The index-th CPU of the set, counted around when there are fewer CPUs than threads. */
static int nth_cpu(const cpu_set_t *set, int index) {
    int skip = index % CPU_COUNT(set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, set) && skip-- == 0) return cpu;
    }
    return -1;
}

static bool member_start(team *t, int index, const cpu_set_t *allowed) {
    member *self = &t->members[index];
    *self = (member){.team = t, .index = index, .cpu = allowed ? nth_cpu(allowed, index) : -1};
    if (pthread_create(&self->thread, NULL, member_main, self) != 0) return false;
    if (self->cpu >= 0) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(self->cpu, &one);
        if (pthread_setaffinity_np(self->thread, sizeof one, &one) != 0) self->cpu = -1;
    }
    return true;
}

team *team_create(int n) {
    team *t = n >= 1 ? aligned_alloc(_Alignof(team), sizeof *t) : NULL;
    if (!t) return NULL;
    *t = (team){.n = 0, .spins = SPINS};
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    pthread_cond_init(&t->done, NULL);
    t->members = calloc((size_t)n, sizeof *t->members);

    cpu_set_t allowed;
    bool known = sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 0;
    /* With more threads than CPUs the one to wait for may need this very CPU. */
    if (known && n > CPU_COUNT(&allowed)) t->spins = 0;
    while (t->members && t->n < n && member_start(t, t->n, known ? &allowed : NULL)) t->n++;
    if (t->n < n) {
        team_destroy(t);
        return NULL;
    }
    return t;
}

void team_destroy(team *t) {
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
    for (int i = 0; i < t->n; i++) pthread_join(t->members[i].thread, NULL);
    pthread_cond_destroy(&t->done);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t->members);
    free(t);
}

int team_size(const team *t) { return t->n; }

int team_cpu(const team *t, int ith) { return t->members[ith].cpu; }

void team_run(team *t, team_job job, void *arg) {
    pthread_mutex_lock(&t->lock);
    t->job = job;
    t->arg = arg;
    t->running = t->n;
    t->job_number++;
    pthread_cond_broadcast(&t->wake);
    while (t->running > 0) pthread_cond_wait(&t->done, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

void team_barrier(void *data) {
    team *t = data;
    barrier_wait(&t->barrier, t->n, t->spins);
}
