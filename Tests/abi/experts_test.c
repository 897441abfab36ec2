/*
 * experts_test - MUL_MAT_ID and the fused kinds as a ggml host asks for them: all places a weight can be in, x shared
 * by the experts of a token or not, unbalanced choices, one to eight threads, every buffer at the edge of forbidden
 * memory.
 * MUL_MAT_ID is compared with double precision, the fused kinds with the products they are made of.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, SPACE = 1 << 23, GAP = 0x7f };

typedef struct problem {
    int32_t type;
    int64_t n, k, experts, slots, x_slots, tokens;
    int choice; /* 0: evenly, 1: all tokens to the last, 2: mostly to the first */
} problem;

static const problem problems[] = {
    {SPARAMX_TYPE_BF16, 17, 33, 8, 2, 1, 1, 0},   {SPARAMX_TYPE_BF16, 40, 64, 128, 8, 1, 3, 0},
    {SPARAMX_TYPE_BF16, 48, 96, 8, 1, 1, 40, 1},  {SPARAMX_TYPE_BF16, 33, 70, 8, 4, 4, 24, 2},
    {SPARAMX_TYPE_F16, 20, 64, 8, 2, 2, 19, 0},   {SPARAMX_TYPE_F16, 16, 31, 9, 8, 1, 4, 2},
    {SPARAMX_TYPE_Q8_0, 35, 96, 8, 2, 1, 1, 0},   {SPARAMX_TYPE_Q8_0, 64, 64, 16, 4, 2, 20, 2},
    {SPARAMX_TYPE_Q8_0, 32, 32, 8, 8, 8, 40, 1},
    /* More rows for one expert than are multiplied at once, and more pieces of them than there are experts. */
    {SPARAMX_TYPE_BF16, 20, 33, 2, 1, 1, 1700, 1}, {SPARAMX_TYPE_Q8_0, 17, 32, 1, 2, 1, 600, 0}};

enum { PACKED_DENSE, PACKED_SPARSE, RAW_IN_BUFFER, HOST_MEMORY, PLACES };

/* Memory that ends at a page nobody may touch. */
typedef struct edge {
    void *map, *data;
    size_t size;
} edge;

static edge make_edge(size_t bytes) {
    edge e = {.size = (bytes + PAGE - 1) / PAGE * PAGE + PAGE};
    e.map = mmap(NULL, e.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (e.map == MAP_FAILED || mprotect((char *)e.map + e.size - PAGE, PAGE, PROT_NONE) != 0) exit(2);
    e.data = (char *)e.map + e.size - PAGE - bytes;
    return e;
}

static void end_edge(edge e) { munmap(e.map, e.size); }

typedef struct side {
    sparamx_buffer *buffer;
    sparamx_tensor tensor;
    edge file;
    uint8_t *copy;
} side;

static side make_side(const problem *p, int64_t experts, int place, uint64_t seed) {
    side s = {.buffer = NULL};
    sparamx_buffer_options o = {.size = sizeof o,
                                .usage = place == RAW_IN_BUFFER ? SPARAMX_USAGE_ANY : SPARAMX_USAGE_WEIGHTS,
                                .form = place == PACKED_SPARSE ? SPARAMX_FORM_SPARSE : SPARAMX_FORM_DENSE};
    size_t bytes = row_bytes(p->type, p->k) * (size_t)(p->n * experts);
    s.file = make_edge(bytes);
    s.copy = must_allocate(bytes);
    fill_weights(p->type, p->n * experts, p->k, 0.5, seed, s.copy);
    memcpy(s.file.data, s.copy, bytes);
    s.tensor = make_tensor(p->type, p->k, p->n, experts, 1, s.file.data, NULL);
    if (place == HOST_MEMORY) return s;
    if (!CHECK(sparamx_buffer_create(SPACE, &o, &s.buffer) == SPARAMX_OK, "a buffer")) exit(2);
    s.tensor.buffer = s.buffer;
    s.tensor.data = sparamx_buffer_base(s.buffer);
    CHECK(sparamx_buffer_set_tensor(s.buffer, &s.tensor, s.copy, 0, bytes) == SPARAMX_OK, "upload");
    return s;
}

static void end_side(side s) {
    sparamx_buffer_destroy(s.buffer);
    end_edge(s.file);
    free(s.copy);
}

static void choose(const problem *p, int32_t *ids) {
    uint64_t state = 9;
    for (int64_t i = 0; i < p->slots * p->tokens; i++) {
        int32_t any = (int32_t)(random_next(&state) % (uint64_t)p->experts);
        ids[i] = p->choice == 1   ? (int32_t)p->experts - 1
                 : p->choice == 2 ? (random_next(&state) % 10 < 8 ? 0 : any)
                                  : (int32_t)((i * 5 + i / p->slots) % p->experts);
    }
}

/* The op with a work area of the exact size at the edge of forbidden memory. */
static sparamx_status run(const sparamx_op *op, int threads) {
    size_t bytes = 0;
    sparamx_status status = sparamx_work_size(op, threads, &bytes);
    if (status != SPARAMX_OK) return status;
    edge work = make_edge(bytes);
    memset(work.data, 0xff, bytes);
    status = multiply_in(NULL, op, 0, threads, NULL, 0, NULL, 0, work.data, bytes);
    end_edge(work);
    return status;
}

/* Runs op with one to eight threads into dst; all must be equal. */
static void run_all(const sparamx_op *op, const char *what, const problem *p, int place) {
    size_t bytes = tensor_bytes(op->dst);
    float *first = must_allocate(bytes);
    for (int threads = 1; threads <= 8; threads++) {
        memset(op->dst->data, GAP, bytes);
        sparamx_status status = run(op, threads);
        CHECK(status == SPARAMX_OK, "%s, problem %d, place %d, %d threads: %d", what, (int)(p - problems), place,
              threads, status);
        if (threads == 1) memcpy(first, op->dst->data, bytes);
        CHECK(memcmp(first, op->dst->data, bytes) == 0, "%s, problem %d, place %d: %d threads give another result",
              what, (int)(p - problems), place, threads);
    }
    free(first);
}

static double activate(int32_t activation, double g) {
    if (activation == SPARAMX_ACTIVATION_SILU) return g / (1 + exp(-g));
    return g * (1 + tanh(0.79788456080286535588 * (g + 0.044715 * g * g * g))) / 2;
}

/* Each fused result from the two products, which the library has computed on their own. */
static int64_t fused_wrong(const float *fused, const float *up, const float *gate, size_t count, int32_t activation,
                           double limit) {
    int64_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        double f = activate(activation, (double)gate[i]), u = (double)up[i];
        if (limit > 0) f = fmin(f, limit), u = fmax(fmin(u, limit), -limit);
        wrong += !(fabs((double)fused[i] - f * u) <= fabs(f * u) * 1e-5 + 1e-30);
    }
    return wrong;
}

static void test_problem(const problem *p, int place) {
    side up = make_side(p, p->experts, place, 3), gate = make_side(p, p->experts, (place + 1) % PLACES, 4);
    size_t rows = (size_t)(p->slots * p->tokens);
    edge x = make_edge((size_t)(p->k * p->x_slots * p->tokens) * 4), y = make_edge(rows * (size_t)p->n * 4),
         ids = make_edge(rows * 4);
    fill_activations(p->k * p->x_slots * p->tokens, 5, x.data);
    choose(p, ids.data);
    sparamx_tensor xt = make_tensor(SPARAMX_TYPE_F32, p->k, p->x_slots, p->tokens, 1, x.data, NULL),
                   yt = make_tensor(SPARAMX_TYPE_F32, p->n, p->slots, p->tokens, 1, y.data, NULL),
                   it = make_tensor(SPARAMX_TYPE_F32, p->slots, p->tokens, 1, 1, ids.data, NULL), asked = up.tensor;
    it.type = SPARAMX_TYPE_I32;
    asked.data = NULL, asked.buffer = NULL;
    sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT_ID, .dst = &yt, .weight = &asked, .x = &xt,
                     .ids = &it};
    size_t early = 0, late = 0;
    CHECK(sparamx_supports_op(&op) == SPARAMX_OK && sparamx_work_size(&op, 3, &early) == SPARAMX_OK,
          "asked without data");
    op.weight = &up.tensor;
    CHECK(sparamx_work_size(&op, 3, &late) == SPARAMX_OK && late <= early, "needs %zu with data, %zu without", late,
          early);

    run_all(&op, "MUL_MAT_ID", p, place);
    int64_t wrong = 0;
    size_t matrix = row_bytes(p->type, p->k) * (size_t)p->n;
    for (size_t r = 0; r < rows; r++) {
        int64_t slot = (int64_t)r % p->slots, token = (int64_t)r / p->slots;
        wrong += count_wrong(p->type, p->n, p->k, up.copy + (size_t)((int32_t *)ids.data)[r] * matrix, 1,
                             (float *)x.data + (token * p->x_slots + slot % p->x_slots) * p->k, p->k,
                             (float *)y.data + r * (size_t)p->n, p->n);
    }
    CHECK(wrong == 0, "MUL_MAT_ID, problem %d, place %d: %lld wrong", (int)(p - problems), place, (long long)wrong);

    size_t count = rows * (size_t)p->n;
    float *u = must_allocate(count * 4), *g = must_allocate(count * 4);
    memcpy(u, y.data, count * 4);
    op.weight = &gate.tensor;
    CHECK(run(&op, 2) == SPARAMX_OK, "the gate alone");
    memcpy(g, y.data, count * 4);
    op.kind = SPARAMX_OP_MOE_UP_GATE, op.weight = &up.tensor, op.weight2 = &gate.tensor;
    for (int i = 0; i < 3; i++) {
        op.activation = i == 1 ? SPARAMX_ACTIVATION_GELU : SPARAMX_ACTIVATION_SILU;
        op.limit = i == 2 ? 0.25f : 0;
        run_all(&op, "MOE_UP_GATE", p, place);
        wrong = fused_wrong(y.data, u, g, count, op.activation, (double)op.limit);
        CHECK(wrong == 0, "MOE_UP_GATE, problem %d, place %d, activation %d: %lld wrong", (int)(p - problems), place, i,
              (long long)wrong);
    }
    free(u), free(g);
    end_side(up), end_side(gate);
    end_edge(x), end_edge(y), end_edge(ids);
}

/* Without experts, over four dimensions. */
static void test_up_gate(const problem *p, int place) {
    side up = make_side(p, 1, place, 6), gate = make_side(p, 1, (place + 2) % PLACES, 7);
    enum { X2 = 2, X3 = 2 };
    size_t rows = (size_t)p->tokens * X2 * X3, count = rows * (size_t)p->n;
    edge x = make_edge(rows * (size_t)p->k * 4), y = make_edge(count * 4);
    fill_activations((int64_t)rows * p->k, 8, x.data);
    sparamx_tensor xt = make_tensor(SPARAMX_TYPE_F32, p->k, p->tokens, X2, X3, x.data, NULL),
                   yt = make_tensor(SPARAMX_TYPE_F32, p->n, p->tokens, X2, X3, y.data, NULL);
    /* As one matrix: the number of tokens decides the kernel, and the fused product sees them all. */
    sparamx_tensor x1 = make_tensor(SPARAMX_TYPE_F32, p->k, (int64_t)rows, 1, 1, x.data, NULL),
                   y1 = make_tensor(SPARAMX_TYPE_F32, p->n, (int64_t)rows, 1, 1, y.data, NULL);
    sparamx_op one = {.size = sizeof one, .kind = SPARAMX_OP_MUL_MAT, .dst = &y1, .weight = &up.tensor, .x = &x1};
    float *u = must_allocate(count * 4), *g = must_allocate(count * 4);
    CHECK(run(&one, 2) == SPARAMX_OK, "up alone");
    memcpy(u, y.data, count * 4);
    one.weight = &gate.tensor;
    CHECK(run(&one, 2) == SPARAMX_OK, "gate alone");
    memcpy(g, y.data, count * 4);
    sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_UP_GATE, .dst = &yt, .weight = &up.tensor,
                     .weight2 = &gate.tensor, .x = &xt};
    run_all(&op, "UP_GATE", p, place);
    int64_t wrong = fused_wrong(y.data, u, g, count, SPARAMX_ACTIVATION_SILU, 0);
    CHECK(wrong == 0, "UP_GATE, problem %d, place %d: %lld wrong", (int)(p - problems), place, (long long)wrong);
    free(u), free(g);
    end_side(up), end_side(gate);
    end_edge(x), end_edge(y);
}

int main(void) {
    for (size_t i = 0; i < COUNT(problems); i++) {
        for (int place = 0; place < PLACES; place++) {
            test_problem(&problems[i], place);
            test_up_gate(&problems[i], place);
        }
    }
    return check_end();
}
