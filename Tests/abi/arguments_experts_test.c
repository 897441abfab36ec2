/*
 * arguments_experts_test - bad arguments for the op kinds with experts and the fused ones: supports_op, work_size and
 * compute judge an op alike, all threads of compute do, and nothing is written.
 */
#define _GNU_SOURCE
#include "faults.h"

#include <math.h>
#include <stdlib.h>

enum { N = 33, K = 64, E = 4, U = 2, T = 3, BYTES = N * K * 2 * E, SIZE = 1 << 18, WORK = 1 << 24 };

static sparamx_buffer *buffer;
static uint8_t *base, weights[BYTES];
static float x[K * U * T], y[N * U * T], before[N * U * T];
static int32_t ids[U * T];
static sparamx_tensor wt, gt, xt, yt, it;
static sparamx_op op; /* good; its tensors are those five */
static sparamx_params params;
static int32_t kind;
static void *work;

static bool with_experts(void) { return kind != SPARAMX_OP_UP_GATE; }
static bool fused(void) { return kind != SPARAMX_OP_MUL_MAT_ID; }

static void restore(void) {
    int64_t experts = with_experts() ? E : 1, slots = with_experts() ? U : 1;
    uint8_t *at = with_experts() ? base : base + (1 << 16);
    wt = make_tensor(SPARAMX_TYPE_BF16, K, N, experts, 1, at, buffer);
    gt = make_tensor(SPARAMX_TYPE_BF16, K, N, experts, 1, at, buffer);
    xt = make_tensor(SPARAMX_TYPE_F32, K, with_experts() ? slots : T, with_experts() ? T : 1, 1, x, NULL);
    yt = make_tensor(SPARAMX_TYPE_F32, N, with_experts() ? slots : T, with_experts() ? T : 1, 1, y, NULL);
    it = make_tensor(SPARAMX_TYPE_F32, U, T, 1, 1, ids, NULL);
    it.type = SPARAMX_TYPE_I32;
    op = (sparamx_op){.size = sizeof op, .kind = kind, .dst = &yt, .weight = &wt, .x = &xt};
    if (fused()) op.weight2 = &gt;
    if (with_experts()) op.ids = &it;
    params = (sparamx_params){.size = sizeof params, .nth = 1, .work_size = WORK, .work = work};
    for (int i = 0; i < U * T; i++) ids[i] = i % E;
}

/* The op as it stands is refused by all three with this status; then it is good again. */
#define REFUSED(want) refused((want), __LINE__)
/* By compute alone: what only shows there. */
#define COMPUTE(want) compute_refuses((want), __LINE__)

static bool untouched(void) {
    for (int i = 0; i < N * U * T; i++) {
        if (y[i] != 5.0f) return false;
    }
    return true;
}

static void refused(sparamx_status want, int line) {
    size_t size = 77;
    long failed = checks.failed;
    for (int i = 0; i < N * U * T; i++) y[i] = 5.0f;
    EXPECT(want, sparamx_supports_op(&op));
    EXPECT(want, sparamx_work_size(&op, 1, &size));
    EXPECT(want, sparamx_compute(&params, &op));
    CHECK(size == 77 && untouched(), "a refused op wrote");
    if (checks.failed > failed) printf("  kind %d in line %d\n", kind, line);
    restore();
}

static void compute_refuses(sparamx_status want, int line) {
    long failed = checks.failed;
    for (int i = 0; i < N * U * T; i++) y[i] = 5.0f;
    EXPECT(SPARAMX_OK, sparamx_supports_op(&op));
    EXPECT(want, sparamx_compute(&params, &op));
    CHECK(untouched(), "a refused product wrote results");
    if (checks.failed > failed) printf("  kind %d in line %d\n", kind, line);
    restore();
}

static void test_structs(void) {
    size_t size = 77;
#define IN_OP(field, call) \
    do { \
        STRUCT_FAULTS(sparamx_tensor, p, *good.field, (op.field = p, call)); \
        restore(); \
    } while (0)
#define IN_OPS(field) \
    do { \
        IN_OP(field, sparamx_supports_op(&op)); \
        IN_OP(field, sparamx_work_size(&op, 1, &size)); \
        IN_OP(field, sparamx_compute(&params, &op)); \
    } while (0)
    sparamx_op good = op;
    IN_OPS(weight);
    IN_OPS(x);
    IN_OPS(dst);
    if (fused()) IN_OPS(weight2);
    if (with_experts()) IN_OPS(ids);
    CHECK(size == 77, "a failed work_size wrote its result");
}

static void test_types_and_numbers(void) {
    static const int32_t types[] = {-1, 9, 9999, INT32_MIN};
    for (size_t i = 0; i < COUNT(types); i++) {
        wt.type = types[i], REFUSED(SPARAMX_ERR_TYPE);
        xt.type = types[i], REFUSED(SPARAMX_ERR_TYPE);
        yt.type = types[i], REFUSED(SPARAMX_ERR_TYPE);
        if (fused()) gt.type = types[i], REFUSED(SPARAMX_ERR_TYPE);
        if (with_experts()) it.type = types[i], REFUSED(SPARAMX_ERR_TYPE);
    }
    if (with_experts()) it.type = SPARAMX_TYPE_F32, REFUSED(SPARAMX_ERR_TYPE);
    if (!fused()) return;
    op.activation = 2, REFUSED(SPARAMX_ERR_OP);
    op.activation = -1, REFUSED(SPARAMX_ERR_OP);
    op.activation = INT32_MIN, REFUSED(SPARAMX_ERR_OP);
    op.limit = -1, REFUSED(SPARAMX_ERR_RANGE);
    op.limit = NAN, REFUSED(SPARAMX_ERR_RANGE);
    op.limit = -INFINITY, REFUSED(SPARAMX_ERR_RANGE);
}

static void test_shapes(void) {
    static const int64_t wrong[] = {0, -1, INT64_MIN, INT64_MAX};
    sparamx_tensor *const tensors[] = {&wt, &xt, &yt, &gt, &it};
    for (size_t i = 0; i < COUNT(tensors); i++) {
        if ((tensors[i] == &gt && !fused()) || (tensors[i] == &it && !with_experts())) continue;
        for (int d = 0; d < 4; d++) {
            for (size_t j = 0; j < COUNT(wrong); j++) tensors[i]->ne[d] = wrong[j], REFUSED(SPARAMX_ERR_SHAPE);
        }
    }
    xt.ne[0] = K - 1, REFUSED(SPARAMX_ERR_SHAPE);
    yt.ne[0] = N - 1, REFUSED(SPARAMX_ERR_SHAPE);
    yt.ne[1] += 1, REFUSED(SPARAMX_ERR_SHAPE);
    yt.ne[2] += 1, yt.nb[3] *= 2, REFUSED(SPARAMX_ERR_SHAPE);
    wt.ne[3] = 2, REFUSED(SPARAMX_ERR_SHAPE);
    if (fused()) {
        gt = make_tensor(SPARAMX_TYPE_BF16, K, N - 1, wt.ne[2], 1, base, buffer), REFUSED(SPARAMX_ERR_SHAPE);
        gt = make_tensor(SPARAMX_TYPE_BF16, K + 1, N, wt.ne[2], 1, base, buffer), REFUSED(SPARAMX_ERR_SHAPE);
    }
    if (with_experts()) {
        it.ne[0] = U + 1, REFUSED(SPARAMX_ERR_SHAPE);
        it.ne[1] = T + 1, REFUSED(SPARAMX_ERR_SHAPE);
        it.ne[2] = 2, REFUSED(SPARAMX_ERR_SHAPE);
        it.ne[3] = 2, REFUSED(SPARAMX_ERR_SHAPE);
        xt = make_tensor(SPARAMX_TYPE_F32, K, 3, T, 1, x, NULL), REFUSED(SPARAMX_ERR_SHAPE); /* 2 slots, 3 rows */
        xt = make_tensor(SPARAMX_TYPE_F32, K, U, T, 2, x, NULL), REFUSED(SPARAMX_ERR_SHAPE);
        if (fused()) gt = make_tensor(SPARAMX_TYPE_BF16, K, N, E - 1, 1, base, buffer), REFUSED(SPARAMX_ERR_SHAPE);
    } else {
        wt = make_tensor(SPARAMX_TYPE_BF16, K, N, 2, 1, base, buffer), REFUSED(SPARAMX_ERR_SHAPE);
    }
}

static void test_strides(void) {
    static const uint64_t huge[] = {UINT64_MAX, UINT64_MAX / 2, (uint64_t)1 << 62, ((uint64_t)1 << 62) - 4};
    wt.nb[1] += 2, REFUSED(SPARAMX_ERR_STRIDE);
    if (fused()) gt.nb[1] += 2, REFUSED(SPARAMX_ERR_STRIDE);
    xt.nb[0] = 8, REFUSED(SPARAMX_ERR_STRIDE);
    yt.nb[0] = 8, REFUSED(SPARAMX_ERR_STRIDE);
    xt.nb[1] += 2, REFUSED(SPARAMX_ERR_STRIDE);
    yt.nb[1] = 4 * N - 4, REFUSED(SPARAMX_ERR_STRIDE);
    if (with_experts()) {
        yt.nb[2] = 4 * N, REFUSED(SPARAMX_ERR_STRIDE);
        it.nb[0] = 8, REFUSED(SPARAMX_ERR_STRIDE);
        it.nb[1] = 6, REFUSED(SPARAMX_ERR_STRIDE);
        it.nb[0] = 0, REFUSED(SPARAMX_ERR_STRIDE);
    }
    sparamx_tensor *const tensors[] = {&xt, &yt, &wt, &gt, &it};
    for (size_t i = 0; i < COUNT(huge); i++) {
        for (size_t j = 0; j < COUNT(tensors); j++) {
            if ((tensors[j] == &gt && !fused()) || (tensors[j] == &it && !with_experts())) continue;
            for (int d = 0; d < 3; d++) {
                if (tensors[j]->ne[d] == 1) continue;
                tensors[j]->nb[d] = huge[i];
                EXPECT_EITHER(SPARAMX_ERR_STRIDE, SPARAMX_ERR_RANGE, sparamx_supports_op(&op));
                EXPECT_EITHER(SPARAMX_ERR_STRIDE, SPARAMX_ERR_RANGE, sparamx_compute(&params, &op));
                restore();
            }
        }
    }
}

/* More rows than can be counted, and work areas beyond all memory. */
static void test_sizes(void) {
    size_t size = 77;
    const int64_t most = INT32_MAX;
    if (with_experts()) {
        xt = make_tensor(SPARAMX_TYPE_F32, K, 1, most, 1, x, NULL);
        yt = make_tensor(SPARAMX_TYPE_F32, N, most, most, 1, y, NULL);
        it = make_tensor(SPARAMX_TYPE_F32, most, most, 1, 1, ids, NULL), it.type = SPARAMX_TYPE_I32;
    } else {
        xt = make_tensor(SPARAMX_TYPE_F32, K, most, 2, 1, x, NULL);
        yt = make_tensor(SPARAMX_TYPE_F32, N, most, 2, 1, y, NULL);
    }
    EXPECT(SPARAMX_ERR_RANGE, sparamx_supports_op(&op));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_work_size(&op, 1, &size));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_compute(&params, &op));
    restore();
    EXPECT(SPARAMX_ERR_RANGE, sparamx_work_size(&op, 0, &size));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_work_size(&op, 1025, &size));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_work_size(&op, INT32_MIN, &size));
    CHECK(size == 77, "a failed work_size wrote its result");
}

static void test_memory(void) {
    size_t size = 0;
    EXPECT(SPARAMX_OK, sparamx_work_size(&op, 1, &size));
    params.work_size = 64, COMPUTE(SPARAMX_ERR_WORK_SIZE);
    params.work = NULL, COMPUTE(SPARAMX_ERR_NULL);
    xt.data = NULL, COMPUTE(SPARAMX_ERR_NULL);
    yt.data = NULL, COMPUTE(SPARAMX_ERR_NULL);
    wt.data = NULL, COMPUTE(SPARAMX_ERR_NULL);
    xt.data = (char *)x + 2, REFUSED(SPARAMX_ERR_ALIGNMENT);
    yt.data = x, REFUSED(SPARAMX_ERR_OVERLAP);
    xt.data = work, COMPUTE(SPARAMX_ERR_OVERLAP);
    yt.data = (char *)work + 64, COMPUTE(SPARAMX_ERR_OVERLAP);
    if (fused()) {
        gt.data = NULL, COMPUTE(SPARAMX_ERR_NULL);
        gt.data = base + SIZE;
        EXPECT(SPARAMX_ERR_RANGE, sparamx_compute(&params, &op));
        restore();
    }
    if (with_experts()) {
        it.data = NULL, COMPUTE(SPARAMX_ERR_NULL);
        it.data = (char *)ids + 1, REFUSED(SPARAMX_ERR_ALIGNMENT);
        it.data = y + 3, REFUSED(SPARAMX_ERR_OVERLAP);
        it.data = (char *)work + 128, COMPUTE(SPARAMX_ERR_OVERLAP);
        it.data = (void *)(UINTPTR_MAX - 3), REFUSED(SPARAMX_ERR_RANGE);
    }
    /* A weight in the host's memory must be apart from what is written, too. */
    sparamx_tensor raw = wt;
    raw.buffer = NULL, raw.data = weights;
    wt = raw, yt.data = weights, REFUSED(SPARAMX_ERR_OVERLAP);
    wt = raw, params.work = weights, COMPUTE(SPARAMX_ERR_OVERLAP);
    if (fused()) gt = raw, yt.data = weights, REFUSED(SPARAMX_ERR_OVERLAP);
}

/* Expert numbers that are none: at every place, for every number of threads, and nobody waits at the barrier. */
static void test_ids(void) {
    static const int32_t wrong[] = {-1, E, INT32_MIN, INT32_MAX, -E};
    if (!with_experts()) return;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        for (int place = 0; place < U * T; place++) {
            ids[place] = wrong[i], COMPUTE(SPARAMX_ERR_RANGE);
            ids[place] = wrong[i];
            for (int threads = 2; threads <= 4; threads++) {
                sparamx_status status = multiply_in(NULL, &op, 0, threads, NULL, 0, NULL, 0, work, WORK);
                CHECK(status == SPARAMX_ERR_RANGE, "expert %d, %d threads: %d", wrong[i], threads, status);
            }
            restore();
        }
    }
    for (int i = 0; i < U * T; i++) ids[i] = E - 1; /* the last, and the same one several times per token */
    EXPECT(SPARAMX_OK, sparamx_compute(&params, &op));
    restore();
}

static void test_incomplete(void) {
    sparamx_tensor *const sides[] = {&wt, &gt};
    for (int i = 0; i < (fused() ? 2 : 1); i++) {
        sparamx_tensor *t = sides[i];
        t->data = base + (3 << 16);
        EXPECT(SPARAMX_ERR_FOREIGN, sparamx_compute(&params, &op));
        EXPECT(SPARAMX_OK, sparamx_buffer_init_tensor(buffer, t));
        EXPECT(SPARAMX_OK, sparamx_supports_op(&op));
        EXPECT(SPARAMX_ERR_INCOMPLETE, sparamx_compute(&params, &op));
        restore();
        EXPECT(SPARAMX_OK, sparamx_buffer_reset(buffer));
        for (int k = 0; k < 2; k++) {
            uint8_t *at = k ? base + (1 << 16) : base;
            sparamx_tensor again = make_tensor(SPARAMX_TYPE_BF16, K, N, k ? 1 : E, 1, at, buffer);
            EXPECT(SPARAMX_OK, sparamx_buffer_set_tensor(buffer, &again, weights, 0, tensor_bytes(&again)));
        }
    }
}

int main(void) {
    static const int32_t kinds[] = {SPARAMX_OP_MUL_MAT_ID, SPARAMX_OP_UP_GATE, SPARAMX_OP_MOE_UP_GATE};
    fill_weights(SPARAMX_TYPE_BF16, N * E, K, 0.5, 1, weights);
    fill_activations(K * U * T, 2, x);
    EXPECT(SPARAMX_OK, sparamx_buffer_create(SIZE, NULL, &buffer));
    base = sparamx_buffer_base(buffer);
    work = must_allocate(WORK);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        kind = kinds[i];
        restore();
        if (i < 2) EXPECT(SPARAMX_OK, sparamx_buffer_set_tensor(buffer, &wt, weights, 0, tensor_bytes(&wt)));
        EXPECT(SPARAMX_OK, sparamx_supports_weight(&wt, kind));
        EXPECT(SPARAMX_OK, sparamx_compute(&params, &op));
        size_t results = (size_t)(yt.ne[0] * yt.ne[1] * yt.ne[2]) * sizeof *y;
        memcpy(before, y, sizeof before);
        test_structs();
        test_types_and_numbers();
        test_shapes();
        test_strides();
        test_sizes();
        test_memory();
        test_ids();
        test_incomplete();
        EXPECT(SPARAMX_OK, sparamx_compute(&params, &op));
        CHECK(memcmp(y, before, results) == 0, "kind %d: another result after bad arguments", kind);
    }
    free(work);
    sparamx_buffer_destroy(buffer);
    return check_end();
}
