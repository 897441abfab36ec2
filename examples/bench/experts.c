#define _GNU_SOURCE
#include "cases.h"
#include "report.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PRODUCTS 1024 /* of a pass */
#define MOST_TENSORS 64

/* One packed form of the group's experts, in several copies, each in a buffer of its own as a host has it. */
typedef struct set {
    int32_t form; /* as requested */
    sparamx_buffer *buffer[MOST_TENSORS];
    sparamx_tensor tensor[MOST_TENSORS];
    int copies;
    sparamx_tensor_info info;
    sparamx_status status;
} set;

/* The choices of all products of a pass. Each takes other experts than the one before with the same copy. */
typedef struct choice {
    int32_t *ids; /* [products][m][top_k] */
    int products, experts_read;
} choice;

typedef struct expert_case {
    const set *set;
    bench_row *row;
    choice chosen;
    double *ms;
} expert_case;

typedef struct bench {
    machine *machine;
    const group *group;
    weights source;
    float *x, *y;
    void *work;
    size_t work_bytes;
} bench;

/* ------------------------------------------------------------------------------------------------------ weights -- */

static sparamx_tensor strided(int32_t type, size_t element, int64_t block, int64_t a, int64_t b, int64_t c,
                              void *data) {
    sparamx_tensor t = {.size = sizeof t, .type = type, .ne = {a, b, c, 1}, .data = data};
    t.nb[0] = element;
    t.nb[1] = element * (uint64_t)(a / block);
    t.nb[2] = t.nb[1] * (uint64_t)b;
    t.nb[3] = t.nb[2] * (uint64_t)c;
    return t;
}

static sparamx_status add_copy(const bench *b, set *s) {
    const group *g = b->group;
    sparamx_buffer_options options = {.size = sizeof options, .form = s->form};
    sparamx_tensor *t = &s->tensor[s->copies];
    sparamx_buffer **buffer = &s->buffer[s->copies];
    size_t bytes;
    *t = strided(g->type->id, g->type->block_bytes, g->type->block, g->k, g->n, g->experts, NULL);
    sparamx_status status = sparamx_buffer_type_alloc_size(t, &bytes);
    if (status == SPARAMX_OK) status = sparamx_buffer_create(bytes, &options, buffer);
    if (status != SPARAMX_OK) return status;
    s->copies++;
    t->buffer = *buffer;
    t->data = sparamx_buffer_base(*buffer);
    status = sparamx_buffer_init_tensor(*buffer, t);
    if (status == SPARAMX_OK) status = sparamx_buffer_set_tensor(*buffer, t, b->source.data, 0, b->source.bytes);
    return status;
}

static void set_create(const bench *b, set *s, int32_t form) {
    *s = (set){.form = form, .info = {.size = sizeof s->info}};
    size_t wanted = 1;
    while (s->status == SPARAMX_OK && (size_t)s->copies < wanted) {
        report_progress("%s: packing %s, copy %d", b->group->label, form_name(form), s->copies + 1);
        s->status = add_copy(b, s);
        if (s->copies > 1 || s->status != SPARAMX_OK) continue;
        s->status = sparamx_buffer_tensor_info(s->buffer[0], &s->tensor[0], &s->info);
        wanted = machine_cycle_bytes(b->machine) / (size_t)(s->info.packed_bytes + 1) + 1;
        if (wanted > MOST_TENSORS) wanted = MOST_TENSORS;
    }
}

static void set_destroy(set *s) {
    for (int i = 0; i < s->copies; i++) sparamx_buffer_destroy(s->buffer[i]);
}

/* ------------------------------------------------------------------------------------------------------ choices -- */

static bool choose(choice *c, const group *g, int64_t m, int copies) {
    uint8_t *seen = calloc((size_t)g->experts, 1);
    int64_t *first = malloc((size_t)m * sizeof *first);
    bool ok = seen && first;
    uint64_t state = 5;
    c->experts_read = 0;
    for (int64_t t = 0; ok && t < m; t++) {
        first[t] = (int64_t)(random_next(&state) % (uint64_t)g->experts);
        for (int u = 0; u < g->top_k; u++) {
            uint8_t *mark = &seen[(first[t] + u) % g->experts];
            c->experts_read += *mark == 0;
            *mark = 1;
        }
    }
    int turns = ok && m <= LARGE_M ? (g->experts + c->experts_read - 1) / c->experts_read : 1;
    c->products = turns * copies < MOST_PRODUCTS ? turns * copies : MOST_PRODUCTS;
    if (m > LARGE_M && c->products > LARGE_M_COPIES) c->products = LARGE_M_COPIES;
    c->ids = ok ? malloc((size_t)c->products * (size_t)m * (size_t)g->top_k * sizeof *c->ids) : NULL;
    for (int p = 0; c->ids && p < c->products; p++) {
        int64_t shift = (int64_t)(p / copies) * c->experts_read;
        for (int64_t i = 0; i < m * g->top_k; i++) {
            c->ids[p * m * g->top_k + i] = (int32_t)((first[i / g->top_k] + i % g->top_k + shift) % g->experts);
        }
    }
    free(seen);
    free(first);
    return c->ids != NULL;
}

/* ------------------------------------------------------------------------------------------------------- passes -- */

typedef struct product {
    sparamx_tensor x, ids, y;
    sparamx_op op;
} product;

/* Holds pointers into *p. */
static void describe(product *p, const bench *b, const expert_case *c, int index) {
    const group *g = b->group;
    int64_t m = c->row->m;
    p->x = strided(SPARAMX_TYPE_F32, sizeof(float), 1, g->k, 1, m, b->x);
    p->y = strided(SPARAMX_TYPE_F32, sizeof(float), 1, g->n, g->top_k, m, b->y);
    p->ids = strided(SPARAMX_TYPE_I32, sizeof(int32_t), 1, g->top_k, m, 1, c->chosen.ids + index * m * g->top_k);
    p->op = (sparamx_op){.size = sizeof p->op, .kind = SPARAMX_OP_MUL_MAT_ID, .dst = &p->y, .x = &p->x, .ids = &p->ids,
                         .weight = &c->set->tensor[index % c->set->copies]};
}

typedef struct pass {
    const bench *bench;
    const expert_case *at;
    int count;
    atomic_int status;
    double seconds;
} pass;

static void pass_job(void *arg, int ith, int nth) {
    pass *p = arg;
    const bench *b = p->bench;
    team *t = b->machine->team;
    sparamx_params params = {.size = sizeof params, .ith = ith, .nth = nth, .work_size = b->work_bytes, .work = b->work,
                             .barrier = team_barrier, .barrier_data = t};
    double start = team_start(t);
    for (int i = 0; i < p->count; i++) {
        product u;
        describe(&u, b, p->at, i);
        sparamx_status s = sparamx_compute(&params, &u.op);
        if (s != SPARAMX_OK) atomic_store(&p->status, s);
        team_barrier(t);
    }
    if (ith == 0) p->seconds = bench_now() - start;
}

/* Milliseconds per product; a failure goes into the row. */
static double run_pass(const bench *b, const expert_case *c, int count) {
    pass p = {.bench = b, .at = c, .count = count};
    atomic_init(&p.status, SPARAMX_OK);
    team_run(b->machine->team, pass_job, &p);
    sparamx_status status = atomic_load(&p.status);
    if (status != SPARAMX_OK) snprintf(c->row->problem, sizeof c->row->problem, "%s", sparamx_status_string(status));
    return p.seconds * 1e3 / count;
}

/* -------------------------------------------------------------------------------------------------------- check -- */

/* What is wrong with some outputs of the first product, or NULL. */
static const char *check_outputs(const bench *b, const expert_case *c, uint8_t *bytes, float *values) {
    const group *g = b->group;
    const sparamx_tensor *t = &c->set->tensor[0];
    int64_t m = c->row->m, tokens[] = {0, m / 2, m - 1};
    double wrong = 0, right = 0;
    for (int64_t i = 0; i < m * g->top_k * g->n; i++) {
        if (!isfinite(b->y[i])) return "an output was not written or is not finite";
    }
    for (int i = 0; i < CHECKED_ROWS * 3; i++) {
        int64_t n = (g->n - 1) * (i / 3) / (CHECKED_ROWS - 1), slot = tokens[i % 3] * g->top_k + i % g->top_k;
        int64_t row = c->chosen.ids[slot] * g->n + n;
        size_t size = b->source.row_bytes;
        sparamx_status status = sparamx_buffer_get_tensor(t->buffer, t, bytes, (size_t)row * size, size);
        if (status != SPARAMX_OK) return "a row could not be read back";
        if (memcmp(bytes, weights_row(&b->source, row), size) != 0)
            return "a row read back differs from what was packed";
        weights_decode(g->type, bytes, g->k, values);
        double off = (double)b->y[slot * g->n + n] -
                     dot_with_squares(b->x + tokens[i % 3] * g->k, values, g->k, &right);
        wrong += off * off;
    }
    c->row->error = right > 0 ? sqrt(wrong / right) : sqrt(wrong);
    return c->row->error <= WRONG ? NULL : "wrong result: its sqrt-NMSE against double precision is too large";
}

static void check(const bench *b, const expert_case *c) {
    const group *g = b->group;
    memset(b->y, 0xFF, (size_t)(c->row->m * g->top_k * g->n) * sizeof *b->y); /* NAN wherever nothing is written */
    run_pass(b, c, 1);
    if (c->row->problem[0]) return;
    uint8_t *bytes = malloc(b->source.row_bytes);
    float *values = malloc((size_t)g->k * sizeof *values);
    const char *problem = bytes && values ? check_outputs(b, c, bytes, values) : "no memory for the check";
    if (problem) snprintf(c->row->problem, sizeof c->row->problem, "%s", problem);
    free(bytes);
    free(values);
}

/* -------------------------------------------------------------------------------------------------------- cases -- */

static void make_case(bench *b, expert_case *c, const set *s, int64_t m, bench_row *row) {
    const group *g = b->group;
    *row = (bench_row){.type = g->type, .requested = s->form, .form = s->info.form, .sparsity = g->sparsity, .m = m,
                       .n = g->n, .k = g->k, .experts = g->experts, .top_k = g->top_k, .copies = s->copies};
    row->threads = b->machine->threads;
    row->zeros = s->info.sparsity;
    row->packed_bytes = s->info.packed_bytes;
    row->bits_per_weight = s->info.bits_per_weight;
    row->error = row->ms = row->ms_best = NAN;
    *c = (expert_case){.set = s, .row = row, .ms = calloc((size_t)g->rounds, sizeof(double))};
    sparamx_status status = s->status;
    if (status == SPARAMX_OK && (!c->ms || !choose(&c->chosen, g, m, s->copies))) status = SPARAMX_ERR_NO_MEMORY;
    if (status == SPARAMX_OK) {
        product p;
        size_t work = 0;
        /* of an expert, on average */
        int64_t tokens = (m * g->top_k + c->chosen.experts_read - 1) / c->chosen.experts_read;
        const char *name = kernel_for(&s->info, tokens);
        snprintf(row->kernel, sizeof row->kernel, "%s", name ? name : "-");
        row->experts_read = c->chosen.experts_read;
        describe(&p, b, c, 0);
        status = sparamx_work_size(&p.op, b->machine->threads, &work);
        if (work > b->work_bytes) b->work_bytes = work;
    }
    if (status != SPARAMX_OK) snprintf(row->problem, sizeof row->problem, "%s", sparamx_status_string(status));
}

static bool get_areas(bench *b) {
    const group *g = b->group;
    size_t m = 0;
    for (int i = 0; i < g->m_count; i++) m = (size_t)g->m[i] > m ? (size_t)g->m[i] : m;
    b->x = aligned_alloc(64, (m * (size_t)g->k * sizeof(float) + 63) / 64 * 64);
    b->y = aligned_alloc(64, (m * (size_t)g->top_k * (size_t)g->n * sizeof(float) + 63) / 64 * 64);
    b->work = aligned_alloc(64, b->work_bytes / 64 * 64 + 64);
    if (b->x) random_normals(b->x, m * (size_t)g->k, 3);
    return b->x && b->y && b->work;
}

/* Cases take turns, with readings of the ceilings in between. */
static void run_rounds(bench *b, expert_case *cases, int count) {
    const group *g = b->group;
    double start = bench_now(), read_at = -READING_AGE;
    int first = b->machine->readings, rounds = 0;
    for (; rounds < g->rounds && (rounds == 0 || bench_now() - start < g->seconds); rounds++) {
        for (int i = 0; i < count; i++) {
            expert_case *c = &cases[(i + rounds) % count];
            if (c->row->problem[0]) continue;
            report_progress("%s: round %d of %d, %s M=%lld", g->label, rounds + 1, g->rounds, form_name(c->set->form),
                            (long long)c->row->m);
            if (i == 0 || bench_now() - read_at > READING_AGE) {
                machine_measure(b->machine);
                read_at = bench_now();
            }
            c->ms[rounds] = run_pass(b, c, c->chosen.products);
        }
    }
    machine_measure(b->machine);
    for (int i = 0; i < count; i++) {
        bench_row *row = cases[i].row;
        row->near = machine_ceilings(b->machine, first);
        row->rounds = rounds;
        if (row->problem[0]) continue;
        row->ms = bench_median(cases[i].ms, rounds);
        row->ms_best = cases[i].ms[0]; /* the median has sorted them */
    }
}

/* All numbers of tokens of one form. */
static void run_form(bench *b, int32_t form, bench_row *rows) {
    const group *g = b->group;
    expert_case cases[MAX_CHOICES];
    set *s = malloc(sizeof *s);
    if (!s) return;
    set_create(b, s, form);
    b->work_bytes = 0;
    for (int i = 0; i < g->m_count; i++) make_case(b, &cases[i], s, g->m[i], &rows[i]);
    bool areas = get_areas(b);
    for (int i = 0; i < g->m_count; i++) {
        if (!areas) snprintf(rows[i].problem, sizeof rows[i].problem, "no memory for activations");
        if (!rows[i].problem[0]) check(b, &cases[i]);
    }
    run_rounds(b, cases, g->m_count);
    for (int i = 0; i < g->m_count; i++) {
        free(cases[i].ms);
        free(cases[i].chosen.ids);
    }
    free(b->x);
    free(b->y);
    free(b->work);
    b->x = b->y = NULL; /* the next form asks for its work area before it has any */
    b->work = NULL;
    set_destroy(s);
    free(s);
}

int group_run_experts(machine *m, const group *g, bench_row *rows) {
    bench b = {.machine = m, .group = g};
    size_t one = group_source_bytes(g) * (size_t)g->experts;
    if (one / 2 * 5 + machine_cycle_bytes(m) > machine_memory_budget(m) ||
        !weights_create(&b.source, m->team, g->type, g->n * g->experts, g->k, g->sparsity)) {
        fprintf(stderr, "sparamx-bench: %s: no memory for %d experts\n", g->label, g->experts);
        return 0;
    }
    for (int f = 0; f < g->form_count; f++) run_form(&b, g->forms[f], rows + f * g->m_count);
    weights_destroy(&b.source);
    return g->form_count * g->m_count;
}
