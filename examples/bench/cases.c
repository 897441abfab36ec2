#define _GNU_SOURCE
#include "cases.h"
#include "pass.h"
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPARE_ROWS 61    /* each copy starts at another row of one source; a prime: panels of 16 rows differ too */

/* One packed form of a group's matrix, in several copies. */
typedef struct set {
    int32_t form; /* as requested */
    sparamx_linear **copy;
    int copies;
    sparamx_tensor_info info;
    sparamx_status status; /* of the copy that could not be made */
} set;

typedef struct bench_case {
    const set *set;
    bench_row *row;
    double *ms; /* one per round */
} bench_case;

typedef struct bench {
    machine *machine;
    const group *group;
    weights source;
    set sets[MAX_CHOICES];
    int set_count;
    bench_case *cases;
    int case_count;
    float *x, *y;
    void *work;
    size_t work_bytes;
} bench;

const char *form_name(int32_t form) {
    static const char *const names[] = {"auto", "dense", "sparse", "raw", "coded", "coded-sparse", "auto-coded"};
    return form >= SPARAMX_FORM_AUTO && form <= SPARAMX_FORM_AUTO_CODED ? names[form] : "?";
}

double row_gbps(const bench_row *row) {
    double read = row->experts ? (double)row->experts_read / row->experts : 1;
    return read * (double)row->packed_bytes / row->ms * 1e-6;
}

double row_tflops(const bench_row *row) {
    double products = (double)row->m * (row->experts ? row->top_k : 1);
    return 2.0 * products * (double)row->n * (double)row->k / row->ms * 1e-9;
}

double row_read_fraction(const bench_row *row) { return row_gbps(row) / row->near.value[CEILING_READ_GBPS]; }

double row_fraction_of(const bench_row *row, ceiling c) { return row_tflops(row) / row->near.value[c]; }

double pack_gbps(const pack_row *row) { return (double)row->source_bytes / row->ms * 1e-6; }

/* ------------------------------------------------------------------------------------------------------- copies -- */

static int64_t first_row(int copy) { return (int64_t)copy * 7 % SPARE_ROWS; }

static int64_t largest_m(const group *g) {
    int64_t most = 0;
    for (int i = 0; i < g->m_count; i++) most = g->m[i] > most ? g->m[i] : most;
    return most;
}

static bool has_small_m(const group *g) {
    for (int i = 0; i < g->m_count; i++) {
        if (g->m[i] <= LARGE_M) return true;
    }
    return false;
}

size_t group_source_bytes(const group *g) {
    return (size_t)g->n * (size_t)(g->k / g->type->block) * g->type->block_bytes;
}

sparamx_status group_pack_one(const machine *m, const group *g, int32_t form, const void *data, sparamx_linear **out) {
    sparamx_linear_options options = {
        .size = sizeof options,
        .form = form,
        .pack_threads = m->threads < 64 ? m->threads : 64,
        .kernel = g->kernel,
    };
    return sparamx_linear_create(g->type->id, g->n, g->k, data, 0, &options, out);
}

static int copies_needed(const bench *b, const set *s) {
    if (!has_small_m(b->group)) return LARGE_M_COPIES;
    size_t count = machine_cycle_bytes(b->machine) / (size_t)(s->info.packed_bytes + 1) + 1;
    return count < LARGE_M_COPIES ? LARGE_M_COPIES : count > MOST_COPIES ? MOST_COPIES : (int)count;
}

static sparamx_status set_create(bench *b, set *s, int32_t form) {
    const group *g = b->group;
    *s = (set){.form = form, .info = {.size = sizeof s->info}};
    s->copy = calloc(MOST_COPIES, sizeof(sparamx_linear *));
    if (!s->copy) return SPARAMX_ERR_NO_MEMORY;
    int wanted = 1;
    while (s->copies < wanted) {
        report_progress("%s: packing %s, copy %d", g->label, form_name(form), s->copies + 1);
        const uint8_t *data = weights_row(&b->source, first_row(s->copies));
        sparamx_status status = group_pack_one(b->machine, g, form, data, &s->copy[s->copies]);
        if (status != SPARAMX_OK) return status;
        if (s->copies++ > 0) continue;
        status = sparamx_linear_info(s->copy[0], &s->info);
        if (status != SPARAMX_OK) return status;
        wanted = copies_needed(b, s);
    }
    return SPARAMX_OK;
}

static void set_destroy(set *s) {
    for (int i = 0; i < s->copies; i++) sparamx_linear_destroy(s->copy[i]);
    free(s->copy);
}

/* ------------------------------------------------------------------------------------------------------- passes -- */

static sparamx_status run_pass(const bench *b, const set *s, int64_t m, int first, int count, double *seconds) {
    const group *g = b->group;
    pass p = {.team = b->machine->team, .copy = s->copy, .first = first, .count = count, .m = m, .n = g->n, .k = g->k,
              .x = b->x, .y = b->y, .work = b->work, .work_bytes = b->work_bytes};
    return pass_run(&p, seconds);
}

/* -------------------------------------------------------------------------------------------------------- check -- */

typedef struct checking {
    uint8_t *bytes; /* a row of the matrix as the library gives it back */
    float *values;
    double wrong, right; /* sums of squares: of the error, and of what a result of random signs amounts to */
} checking;

double dot_with_squares(const float *x, const float *w, int64_t k, double *squares) {
    double sum = 0;
    for (int64_t i = 0; i < k; i++) {
        double term = (double)x[i] * (double)w[i];
        sum += term;
        *squares += term * term;
    }
    return sum;
}

/* What is wrong with one row of the matrix, or NULL. Adds its errors for three tokens. */
static const char *check_row(const bench *b, const bench_case *c, int copy, int64_t n, checking *k) {
    const group *g = b->group;
    if (sparamx_linear_read(c->set->copy[copy], n, 1, k->bytes) != SPARAMX_OK) return "a row could not be read back";
    if (memcmp(k->bytes, weights_row(&b->source, first_row(copy) + n), b->source.row_bytes) != 0) {
        return "a row read back differs from what was packed";
    }
    weights_decode(g->type, k->bytes, g->k, k->values);
    int64_t tokens[] = {0, c->row->m / 2, c->row->m - 1};
    for (int i = 0; i < 3; i++) {
        double truth = dot_with_squares(b->x + tokens[i] * g->k, k->values, g->k, &k->right);
        double off = (double)b->y[tokens[i] * g->n + n] - truth;
        k->wrong += off * off;
    }
    return NULL;
}

static const char *check_outputs(const bench *b, const bench_case *c, int copy, checking *k) {
    const group *g = b->group;
    for (int64_t i = 0; i < c->row->m * g->n; i++) {
        if (!isfinite(b->y[i])) return "an output was not written or is not finite";
    }
    for (int i = 0; i < CHECKED_ROWS; i++) { /* first and last row included */
        const char *problem = check_row(b, c, copy, (g->n - 1) * i / (CHECKED_ROWS - 1), k);
        if (problem) return problem;
    }
    c->row->error = k->right > 0 ? sqrt(k->wrong / k->right) : sqrt(k->wrong);
    if (c->row->error <= WRONG) return NULL;
    snprintf(c->row->problem, sizeof c->row->problem, "wrong result: sqrt-NMSE %g against double precision",
             c->row->error);
    return c->row->problem;
}

/* Computes one product and puts into the row's problem what is wrong with it. A speed of a wrong result is none. */
static void check(const bench *b, bench_case *c, int index) {
    const group *g = b->group;
    int copy = index % c->set->copies;
    double seconds;
    memset(b->y, 0xFF, (size_t)(c->row->m * g->n) * sizeof *b->y); /* NAN wherever nothing is written */
    sparamx_status status = run_pass(b, c->set, c->row->m, copy, 1, &seconds);
    checking k = {.bytes = malloc(b->source.row_bytes), .values = malloc((size_t)g->k * sizeof(float))};
    const char *problem = status != SPARAMX_OK   ? sparamx_status_string(status)
                          : k.bytes && k.values ? check_outputs(b, c, copy, &k)
                                                : "no memory for the check";
    if (problem && problem != c->row->problem) {
        snprintf(c->row->problem, sizeof c->row->problem, "%s", problem);
    }
    free(k.bytes);
    free(k.values);
}

/* -------------------------------------------------------------------------------------------------------- cases -- */

const char *kernel_for(const sparamx_tensor_info *info, int64_t m) {
    for (int i = 0; i < info->n_ranges; i++) {
        if (m >= info->ranges[i].m_min && m <= info->ranges[i].m_max) return info->ranges[i].name;
    }
    return NULL;
}

/* Adds the case to the group unless the one kernel that is allowed does not serve it. */
static void add_case(bench *b, const set *s, int64_t m, bench_row *rows) {
    const group *g = b->group;
    bool unfit = s->status == SPARAMX_ERR_RANGE || (s->status == SPARAMX_OK && !kernel_for(&s->info, m));
    if (g->kernel && unfit) return;
    bench_case *c = &b->cases[b->case_count];
    bench_row *row = &rows[b->case_count];
    int copies = m <= LARGE_M || s->copies < LARGE_M_COPIES ? s->copies : LARGE_M_COPIES;
    *row = (bench_row){.type = g->type, .requested = s->form, .sparsity = g->sparsity, .m = m, .n = g->n, .k = g->k};
    row->form = s->info.form;
    row->threads = b->machine->threads;
    row->copies = copies;
    row->zeros = s->info.sparsity;
    row->packed_bytes = s->info.packed_bytes;
    row->bits_per_weight = s->info.bits_per_weight;
    row->error = row->ms = row->ms_best = NAN;
    const char *name = kernel_for(&s->info, m);
    snprintf(row->kernel, sizeof row->kernel, "%s", name ? name : "-");
    sparamx_status status = s->status;
    size_t work = 0;
    if (status == SPARAMX_OK) status = sparamx_linear_work_size(s->copy[0], m, b->machine->threads, &work);
    if (status != SPARAMX_OK) snprintf(row->problem, sizeof row->problem, "%s", sparamx_status_string(status));
    else if (!name) snprintf(row->problem, sizeof row->problem, "the library names no kernel for this M");
    if (work > b->work_bytes) b->work_bytes = work;
    *c = (bench_case){.set = s, .row = row, .ms = calloc((size_t)g->rounds, sizeof(double))};
    if (!c->ms) snprintf(row->problem, sizeof row->problem, "no memory for the samples");
    b->case_count++;
}

static bool get_areas(bench *b) {
    const group *g = b->group;
    size_t m = (size_t)largest_m(g), x_count = m * (size_t)g->k;
    b->x = aligned_alloc(64, (x_count * sizeof(float) + 63) / 64 * 64);
    b->y = aligned_alloc(64, (m * (size_t)g->n * sizeof(float) + 63) / 64 * 64);
    b->work = aligned_alloc(64, b->work_bytes / 64 * 64 + 64);
    if (b->x) random_normals(b->x, x_count, 3);
    return b->x && b->y && b->work;
}

static void sample(bench *b, bench_case *c, int round) {
    double seconds;
    sparamx_status status = run_pass(b, c->set, c->row->m, 0, c->row->copies, &seconds);
    c->ms[round] = seconds * 1e3 / c->row->copies;
    if (status != SPARAMX_OK) {
        snprintf(c->row->problem, sizeof c->row->problem, "%s", sparamx_status_string(status));
    }
}

/* Rounds over all cases, each round starting with another one, with readings of the ceilings in between. */
static void run_rounds(bench *b) {
    const group *g = b->group;
    double start = bench_now(), read_at = -READING_AGE;
    int first = b->machine->readings, rounds = 0;
    while (rounds < g->rounds && (rounds == 0 || bench_now() - start < g->seconds)) {
        for (int i = 0; i < b->case_count; i++) {
            bench_case *c = &b->cases[(i + rounds) % b->case_count];
            if (c->row->problem[0]) continue;
            report_progress("%s: round %d of %d, %s M=%lld", g->label, rounds + 1, g->rounds, form_name(c->set->form),
                            (long long)c->row->m);
            if (i == 0 || bench_now() - read_at > READING_AGE) {
                machine_measure(b->machine);
                read_at = bench_now();
            }
            sample(b, c, rounds);
        }
        rounds++;
    }
    machine_measure(b->machine);
    ceilings near = machine_ceilings(b->machine, first);
    for (int i = 0; i < b->case_count; i++) {
        bench_row *row = b->cases[i].row;
        row->near = near;
        row->rounds = rounds;
        if (row->problem[0]) continue;
        row->ms = bench_median(b->cases[i].ms, rounds);
        row->ms_best = b->cases[i].ms[0]; /* the median has sorted them */
    }
}

/* The forms of the group whose memory fits together. */
static int run_forms(machine *m, const group *g, const int32_t *forms, int count, bench_row *rows) {
    bench b = {.machine = m, .group = g};
    b.cases = calloc((size_t)(count * g->m_count), sizeof *b.cases);
    if (b.cases && weights_create(&b.source, m->team, g->type, g->n + SPARE_ROWS, g->k, g->sparsity)) {
        for (; b.set_count < count; b.set_count++) {
            set *s = &b.sets[b.set_count];
            s->status = set_create(&b, s, forms[b.set_count]);
            for (int i = 0; i < g->m_count; i++) add_case(&b, s, g->m[i], rows);
        }
        bool areas = get_areas(&b);
        for (int i = 0; i < b.case_count; i++) {
            if (!areas) snprintf(rows[i].problem, sizeof rows[i].problem, "no memory for activations");
            if (!rows[i].problem[0]) check(&b, &b.cases[i], i);
        }
        weights_destroy(&b.source);
        if (b.case_count > 0) run_rounds(&b);
    } else {
        fprintf(stderr, "sparamx-bench: no memory for %s weights\n", g->type->name);
    }
    for (int i = 0; i < b.case_count; i++) free(b.cases[i].ms);
    for (int i = 0; i < b.set_count; i++) set_destroy(&b.sets[i]);
    free(b.cases);
    free(b.x);
    free(b.y);
    free(b.work);
    return b.case_count;
}

int group_run(machine *m, const group *g, bench_row *rows) {
    /* Sparse at 0% zeros is the largest form: a bitmap more than the source, and a code of its own for each group. */
    size_t one = group_source_bytes(g) + (size_t)(g->n * g->k) / 8 * 5 / 4;
    size_t per_form = (has_small_m(g) ? machine_cycle_bytes(m) : 0) + LARGE_M_COPIES * one;
    if (one + (size_t)g->form_count * per_form <= machine_memory_budget(m)) {
        return run_forms(m, g, g->forms, g->form_count, rows);
    }
    int count = 0;
    if (one + per_form > machine_memory_budget(m)) {
        fprintf(stderr, "sparamx-bench: %s needs %.1f GB, which are not to spare\n", g->label,
                (double)(one + per_form) * 1e-9);
        return 0;
    }
    for (int i = 0; i < g->form_count; i++) count += run_forms(m, g, &g->forms[i], 1, rows + count);
    return count;
}
