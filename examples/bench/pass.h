/* pass.h - products with several copies of a matrix in turn, by the whole team: what is timed. */
#ifndef BENCH_PASS_H
#define BENCH_PASS_H

#include "team.h"

#include <sparamx.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pass {
    team *team;
    sparamx_linear *const *copy; /* all of one shape */
    int first, count;            /* copies */
    int64_t m, n, k;
    const float *x; /* m rows of k, and of n in y */
    float *y;
    void *work;
    size_t work_bytes;
} pass;

/* Computes count products; in *seconds the time of all of them, activations and barriers included. */
sparamx_status pass_run(const pass *p, double *seconds);

#endif /* BENCH_PASS_H */
