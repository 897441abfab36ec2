/*
 * float_test - results do not depend on the floating-point mode that a thread happens to have: rounding, flush to zero,
 * unmasked exceptions. Each thread has its own mode back afterwards, and inside the host's barrier. Linear, MUL_MAT,
 * MUL_MAT_ID and the fused kinds, with subnormal numbers among weights and activations.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xmmintrin.h>

enum { N = 50, K = 64, M = 6, EXPERTS = 3, TEAM = 3 };
static const unsigned standard = 0x1f80; /* round to nearest, subnormals kept, all exceptions masked */
/* Flush to zero and subnormals as zero; up; down; toward zero; exceptions of overflow and division unmasked. */
static const unsigned modes[] = {0x9fc0, 0x5f80, 0x3f80, 0x7f80, 0x1980};

typedef struct job {
    const sparamx_linear *linear;
    const sparamx_op *op;
    sparamx_params params;
    pthread_barrier_t barrier;
    const float *x;
    float *y;
    unsigned mode; /* of the second thread; the others have the standard mode */
    unsigned other;
    long bad;
} job;

static __thread unsigned mine;
static __thread job *my_job;

/* Only the flags of what has happened may differ. */
static bool as_mine(void) { return ((_mm_getcsr() ^ mine) & ~0x3fu) == 0; }

static void barrier(void *data) {
    if (!as_mine()) __atomic_add_fetch(&my_job->bad, 1, __ATOMIC_RELAXED);
    pthread_barrier_wait(data);
}

static void member(int index, void *context) {
    job *j = context;
    sparamx_params params = j->params;
    params.ith = index;
    my_job = j;
    mine = index == 1 ? j->mode : j->other;
    unsigned before = _mm_getcsr();
    _mm_setcsr(mine);
    sparamx_status status = j->op != NULL ? sparamx_compute(&params, j->op)
                                          : sparamx_linear_compute(j->linear, &params, M, j->x, K, j->y, N);
    bool same = as_mine();
    _mm_setcsr(before);
    if (!same || status != SPARAMX_OK) __atomic_add_fetch(&j->bad, 1, __ATOMIC_RELAXED);
}

/* flushed: the instructions may give zero instead of subnormal results, in every mode alike. */
static void run(job *j, float *y, size_t bytes, bool flushed, const char *what) {
    float *known = must_allocate(bytes);
    size_t size = 0;
    sparamx_status status = j->op != NULL ? sparamx_work_size(j->op, TEAM, &size)
                                          : sparamx_linear_work_size(j->linear, M, TEAM, &size);
    if (!CHECK(status == SPARAMX_OK, "%s: work size", what)) exit(2);
    j->params = (sparamx_params){.size = sizeof j->params, .nth = TEAM, .work_size = size, .work = must_allocate(size),
                                 .barrier = barrier, .barrier_data = &j->barrier};
    pthread_barrier_init(&j->barrier, NULL, TEAM);
    j->y = y, j->mode = j->other = standard, j->bad = 0;
    run_threads(TEAM, member, j);
    CHECK(j->bad == 0, "%s in the standard mode", what);
    memcpy(known, y, bytes);
    long subnormal = 0;
    for (size_t i = 0; i < bytes / 4; i++) subnormal += known[i] != 0 && known[i] > -1e-38f && known[i] < 1e-38f;
    CHECK(subnormal > 0 || flushed, "%s: no result is subnormal, so this shows nothing", what);
    for (size_t i = 0; i < 2 * COUNT(modes); i++) {
        memset(y, 0x7f, bytes);
        j->bad = 0;
        j->mode = modes[i / 2];
        j->other = i % 2 ? modes[i / 2] : standard;
        run_threads(TEAM, member, j);
        CHECK(j->bad == 0, "%s: mode %x is not as before, or not so in the barrier", what, modes[i / 2]);
        CHECK(memcmp(y, known, bytes) == 0, "%s: mode %x on %s gives other results", what, modes[i / 2],
              i % 2 ? "all threads" : "one thread");
    }
    pthread_barrier_destroy(&j->barrier);
    free(j->params.work);
    free(known);
}

/* All kinds of products with weights of this type. */
static void test_type(int32_t type, uint16_t *w, float *x) {
    static float y[M * N];
    int32_t ids[M];
    bool flushed = type == SPARAMX_TYPE_BF16 && isa_level() > SPARAMX_ISA_REFERENCE;
    for (int i = 0; i < M; i++) ids[i] = (i * 2) % EXPERTS;
    for (size_t f = 0; f < COUNT(packed_forms); f++) {
        sparamx_linear_options o = {.size = sizeof o, .form = packed_forms[f]};
        sparamx_linear *linear = NULL;
        CHECK(sparamx_linear_create(type, N, K, w, 0, &o, &linear) == SPARAMX_OK, "linear");
        job j = {.linear = linear, .x = x};
        run(&j, y, sizeof y, flushed, form_name(packed_forms[f]));
        sparamx_linear_destroy(linear);
    }
    sparamx_tensor wt = make_tensor(type, K, N, 1, 1, w, NULL), we = make_tensor(type, K, N, EXPERTS, 1, w, NULL),
                   xt = make_tensor(SPARAMX_TYPE_F32, K, M, 1, 1, x, NULL),
                   yt = make_tensor(SPARAMX_TYPE_F32, N, M, 1, 1, y, NULL),
                   xe = make_tensor(SPARAMX_TYPE_F32, K, 1, M, 1, x, NULL),
                   ye = make_tensor(SPARAMX_TYPE_F32, N, 1, M, 1, y, NULL),
                   it = make_tensor(SPARAMX_TYPE_F32, 1, M, 1, 1, ids, NULL);
    it.type = SPARAMX_TYPE_I32;
    sparamx_op ops[] = {{.size = sizeof ops[0], .kind = SPARAMX_OP_MUL_MAT, .dst = &yt, .weight = &wt, .x = &xt},
                        {.size = sizeof ops[0], .kind = SPARAMX_OP_MUL_MAT_ID, .dst = &ye, .weight = &we, .x = &xe,
                         .ids = &it},
                        {.size = sizeof ops[0], .kind = SPARAMX_OP_UP_GATE, .dst = &yt, .weight = &wt, .weight2 = &wt,
                         .x = &xt},
                        {.size = sizeof ops[0], .kind = SPARAMX_OP_MOE_UP_GATE, .dst = &ye, .weight = &we,
                         .weight2 = &we, .x = &xe, .ids = &it}};
    static const char *const names[] = {"MUL_MAT", "MUL_MAT_ID", "UP_GATE", "MOE_UP_GATE"};
    for (size_t i = 0; i < COUNT(ops); i++) {
        job j = {.op = &ops[i]};
        run(&j, y, sizeof y, flushed && i < 2, names[i]);
    }
}

int main(void) {
    static uint16_t w[EXPERTS * N * K];
    static float x[M * K];
    uint64_t state = 3;
    isa_level();
    /* Rows whose products are subnormal, and rows for which the product of two products is. */
    static const unsigned exponents[] = {0, 62, 122};
    for (size_t i = 0; i < COUNT(w); i++) {
        uint64_t r = random_next(&state);
        unsigned exponent = exponents[i / K % 3] + (unsigned)(r >> 20 & 3);
        w[i] = r >> 40 & 1 ? 0 : (uint16_t)((r & 0x8000) | exponent << 7 | (r & 0x7f));
    }
    fill_activations(M * K, 5, x);
    for (int i = 0; i < K; i++) x[i] /= 1024, x[K + i] /= 16;
    test_type(SPARAMX_TYPE_BF16, w, x);
    /* float16 has no such small numbers, so here the activations have them. */
    fill_weights(SPARAMX_TYPE_F16, EXPERTS * N, K, 0.5, 7, w);
    fill_activations(M * K, 6, x);
    for (int i = 0; i < K; i++) x[i] *= 0x1p-130f, x[K + i] *= 0x1p-66f;
    test_type(SPARAMX_TYPE_F16, w, x);
    return check_end();
}
