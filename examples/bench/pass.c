#include "pass.h"
#include "machine.h"

#include <stdatomic.h>

typedef struct running {
    const pass *pass;
    atomic_int status;
    double seconds;
} running;

static void pass_job(void *arg, int ith, int nth) {
    running *r = arg;
    const pass *p = r->pass;
    sparamx_params params = {
        .size = sizeof params,
        .ith = ith,
        .nth = nth,
        .work_size = p->work_bytes,
        .work = p->work_bytes ? p->work : NULL,
        .barrier = team_barrier,
        .barrier_data = p->team,
    };
    double start = team_start(p->team);
    for (int i = p->first; i < p->first + p->count; i++) {
        sparamx_status s = sparamx_linear_compute(p->copy[i], &params, p->m, p->x, p->k, p->y, p->n);
        if (s != SPARAMX_OK) atomic_store(&r->status, s);
        team_barrier(p->team); /* as in a host: the next product may not overwrite the work area too early */
    }
    if (ith == 0) r->seconds = bench_now() - start;
}

sparamx_status pass_run(const pass *p, double *seconds) {
    running r = {.pass = p};
    atomic_init(&r.status, SPARAMX_OK);
    team_run(p->team, pass_job, &r);
    *seconds = r.seconds;
    return atomic_load(&r.status);
}
