#define _POSIX_C_SOURCE 200809L

#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const uint64_t SEED = 20240229;

/* A generated token's products are short: it takes many until their median comes out the same again. */
enum { DEFAULT_REPEAT = 5, SHORT_REPEAT = 31 };

/* Beyond this a product is long enough for its first run to be a fair figure, caches and clock included. */
static const double LONG_MS = 1000, BUDGET_MS = 3000, SHORT_MS = 2;

static float *new_floats(int64_t a, int64_t b) {
    size_t count, bytes;
    if (__builtin_mul_overflow((size_t)a, (size_t)b, &count)) return NULL;
    if (__builtin_mul_overflow(count, sizeof(float), &bytes) || bytes > SIZE_MAX - 64) return NULL;
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static bool give_up(char *error, size_t error_size, const char *sentence) {
    snprintf(error, error_size, "%s", sentence);
    return false;
}

bool session_open(session *s, const options *o, const model *m, char *error, size_t error_size) {
    int64_t max_m = o->m[o->n_m - 1], max_k = model_max_k(m);
    *s = (session){.options = o};
    s->team = team_create(o->threads);
    if (s->team == NULL) return give_up(error, error_size, "the threads cannot be started: try --threads 1");
    s->cache = cold_cache_create(s->team);
    s->x = new_floats(max_m, max_k);
    s->y = new_floats(max_m, model_max_outputs(m));
    s->ids = calloc((size_t)max_m * (size_t)model_max_used(m), sizeof *s->ids);
    if (s->cache == NULL || s->x == NULL || s->y == NULL || s->ids == NULL)
        return give_up(error, error_size, "there is not enough memory: try a smaller number in --m");
    fill_normal(s->x, (size_t)max_m * (size_t)max_k, SEED);
    return true;
}

void session_close(session *s) {
    free(s->x);
    free(s->y);
    free(s->ids);
    cold_cache_destroy(s->cache);
    team_destroy(s->team);
    *s = (session){0};
}

double session_time(session *s, team_fn fn, void *ctx, int64_t x_count) {
    volatile float sink = 0;
    cold_cache_evict(s->cache);
    /* In a model the activations come straight from the operation before; only the weights are cold. */
    if (x_count <= 1 << 18)
        for (int64_t i = 0; i < x_count; i += 16) sink += s->x[i];
    double begin = clock_ms();
    team_run(s->team, fn, ctx);
    return clock_ms() - begin;
}

int session_repeats(const session *s, double first_ms, int64_t m) {
    if (s->options->repeat > 0) return s->options->repeat;
    if (first_ms > LONG_MS) return 0;
    int n = (int)(BUDGET_MS / (first_ms + 1));
    int most = m == 1 && first_ms < SHORT_MS ? SHORT_REPEAT : DEFAULT_REPEAT;
    return n > most ? most : n;
}

void session_progress(const char *what, int index, int count, const char *name) {
    if (!isatty(STDERR_FILENO)) return;
    if (what == NULL) {
        fputs("\r\033[K", stderr);
    } else {
        fprintf(stderr, "\r\033[K%s %d of %d: %s", what, index + 1, count, name);
    }
    fflush(stderr);
}
