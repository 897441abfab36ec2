#include "check.h"

#include <math.h>
#include <stdlib.h>

#include "measure.h"

enum { FULL_TOKENS = 4, SAMPLED_ROWS = 32 };

/* A single wrong output among tens of thousands hardly moves the error over all of them. So each output has a bound of
 * its own as well: far above any rounding, and far below the size of the output itself. */
static const double SINGLE_OUTPUT_FACTOR = 6;

typedef struct partial {
    double diff2, ref2;
    int64_t checked, wrong;
    char padding[32]; /* one cache line per thread */
} partial;

typedef struct job {
    const plain_matrix *w;
    const float *x, *y;
    int64_t m;
    double bound;       /* of a single output, per unit of |row| * rms(x) */
    double *x_rms;      /* per token */
    uint8_t *all_tokens; /* per row of w: whether it is one of the sample */
    float *rows;        /* one row of w per thread */
    partial *sums;      /* per thread */
} job;

static void check_output(const job *j, partial *sum, const float *row, double row_norm, int64_t i, int64_t n) {
    double ref = plain_dot_double(row, j->x + i * j->w->k, j->w->k);
    double got = (double)j->y[i * j->w->n + n];
    sum->checked++;
    if (!isfinite(ref)) { /* the weights hold infinities or NaN: the result must not be finite either */
        sum->wrong += isfinite(got) ? 1 : 0;
        return;
    }
    double diff = got - ref;
    sum->diff2 += diff * diff;
    sum->ref2 += ref * ref;
    if (!(fabs(diff) <= j->bound * row_norm * j->x_rms[i])) sum->wrong++; /* written so that NaN is wrong */
}

static void check_share(int ith, int nth, void *ctx) {
    const job *j = ctx;
    const plain_matrix *w = j->w;
    float *row = j->rows + (int64_t)ith * w->k;
    partial sum = {0};
    for (int64_t n = w->n * ith / nth; n < w->n * (ith + 1) / nth; n++) {
        plain_to_float(w->type, w->data + (uint64_t)n * w->row_bytes, w->k, row);
        double norm = sqrt(plain_dot_double(row, row, w->k));
        for (int64_t i = 0; i < j->m; i++) {
            bool chosen = j->all_tokens[n] != 0 || j->m <= FULL_TOKENS || i == 0 || i == j->m - 1;
            if (chosen) check_output(j, &sum, row, norm, i, n);
        }
    }
    j->sums[ith] = sum;
}

static void prepare(job *j) {
    uint64_t state = 0x5eed;
    for (int64_t i = 0; i < j->m; i++) {
        const float *x = j->x + i * j->w->k;
        j->x_rms[i] = sqrt(plain_dot_double(x, x, j->w->k) / (double)j->w->k);
    }
    j->all_tokens[0] = j->all_tokens[j->w->n - 1] = 1;
    for (int i = 2; i < SAMPLED_ROWS; i++) j->all_tokens[random_u64(&state) % (uint64_t)j->w->n] = 1;
}

static void add_up(const job *j, int nth, check_result *out) {
    double diff2 = 0, ref2 = 0;
    *out = (check_result){.error = 0};
    for (int i = 0; i < nth; i++) {
        diff2 += j->sums[i].diff2;
        ref2 += j->sums[i].ref2;
        out->checked += j->sums[i].checked;
        out->wrong += j->sums[i].wrong;
    }
    if (diff2 == 0) return;
    out->error = sqrt(diff2 / ref2);
    if (isnan(out->error)) out->error = INFINITY; /* outputs that are NaN: comparisons must see a large error */
}

bool check_product(team *t, const plain_matrix *w, const float *x, int64_t m, const float *y, double tolerance,
                   check_result *out) {
    size_t nth = (size_t)team_size(t);
    job j = {.w = w, .x = x, .y = y, .m = m, .bound = SINGLE_OUTPUT_FACTOR * tolerance};
    j.x_rms = calloc((size_t)m, sizeof *j.x_rms);
    j.all_tokens = calloc((size_t)w->n, 1);
    j.rows = calloc(nth * (size_t)w->k, sizeof *j.rows);
    j.sums = calloc(nth, sizeof *j.sums);
    bool ok = j.x_rms != NULL && j.all_tokens != NULL && j.rows != NULL && j.sums != NULL;
    if (ok) {
        prepare(&j);
        team_run(t, check_share, &j);
        add_up(&j, (int)nth, out);
    }
    free(j.x_rms);
    free(j.all_tokens);
    free(j.rows);
    free(j.sums);
    return ok;
}
