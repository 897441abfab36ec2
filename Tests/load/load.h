/*
 * load.h - a host under load: weights that all threads share, teams of threads that form and dissolve, and jobs.
 */
#ifndef LOAD_H
#define LOAD_H

#include "../abi/piece.h"

#include <pthread.h>

enum { TOKENS = 6, MOST_WEIGHTS = 6 * GGUF_TYPES };

/* A weight that everybody uses, as a linear and as a tensor in a buffer, with its results for each count of tokens. */
typedef struct weight {
    piece p;                   /* m is the largest count */
    int64_t tokens[TOKENS];    /* 0: none */
    float *want[TOKENS];
    pthread_rwlock_t lock;     /* readers compute; a writer packs again */
    sparamx_linear *linear;
    sparamx_tensor tensor;
} weight;

typedef struct host {
    int threads;
    uint64_t seed;
    weight weights[MOST_WEIGHTS];
    int weight_count;
    sparamx_buffer *shared;    /* the weights' tensors */
    sparamx_buffer *private;   /* a slot for each thread's own uploads */
    size_t slot;
    bool stop;                 /* atomic */
    long products, raw, packs, uploads, reads, repacks, wrong; /* atomic */
} host;

typedef struct job {
    void (*before)(struct job *);          /* on the first thread, before the others start; may be NULL */
    bool (*share)(struct job *, int ith, int nth);
    bool (*after)(struct job *);           /* on the first thread, when all have ended; may be NULL */
    host *h;
    weight *w;
    int64_t m;
    const float *want;
    float *y;
    void *room;                            /* of the work area */
    sparamx_params params;
    sparamx_tensor wt, xt, yt;
    sparamx_op op;
    pthread_barrier_t *barrier;
    uint64_t seed;
    const char *name;
} job;

/* False if the library fails or a result is wrong at the start. */
bool host_open(host *h, int threads, uint64_t seed);
void host_close(host *h);

/* A random job for nth threads. */
void job_choose(job *j, host *h, int nth, uint64_t *state);

/* What a thread of the host does until h->stop. */
void host_thread(host *h, int index, uint64_t seed);
void host_wake(host *h); /* after stop: those that wait for a team go home */

#endif
