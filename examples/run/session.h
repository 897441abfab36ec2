/* session.h - what all measurements of one run share: threads, activations, results, cold caches. */
#ifndef EXAMPLES_RUN_SESSION_H
#define EXAMPLES_RUN_SESSION_H

#include "../common/measure.h"
#include "../common/threads.h"
#include "model.h"
#include "options.h"

typedef struct session {
    const options *options; /* with n_m > 0 */
    team *team;
    cold_cache *cache;
    float *x; /* activations: enough for the largest M and K */
    float *y; /* results: enough for the largest M and outputs per token */
    int32_t *ids; /* of the experts that each token is multiplied with */
} session;

/* False with one sentence in error. */
bool session_open(session *s, const options *o, const model *m, char *error, size_t error_size);
void session_close(session *s);

/* Empties the caches but for the first x_count activations, then runs fn on all threads. Returns milliseconds. */
double session_time(session *s, team_fn fn, void *ctx, int64_t x_count);

/* How often to measure a product of m tokens that took first_ms the first time; 0 if that first time is enough. */
int session_repeats(const session *s, double first_ms, int64_t m);

/* A line on stderr that is overwritten by the next one, if stderr is a terminal. NULL wipes it. */
void session_progress(const char *what, int index, int count, const char *name);

#endif
