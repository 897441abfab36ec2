/*
 * arguments_op_test - bad arguments for sparamx_supports_op, _work_size and _compute: all three judge an op alike, and
 * all threads of compute do.
 */
#define _GNU_SOURCE
#include "faults.h"

#include <stdlib.h>

enum { N = 33, K = 64, M = 3, BYTES = N * K * 2, SIZE = 1 << 16, WORK = 1 << 22 };

static sparamx_buffer *buffer;
static uint8_t *base, weights[BYTES];
static float x[M * K], y[M * N], before[M * N];
static sparamx_tensor wt, xt, yt;
static sparamx_op op; /* good; its tensors are those three */
static sparamx_params params;

static void restore(void) {
    wt = make_tensor(SPARAMX_TYPE_BF16, K, N, 1, 1, base, buffer);
    xt = make_tensor(SPARAMX_TYPE_F32, K, M, 1, 1, x, NULL);
    yt = make_tensor(SPARAMX_TYPE_F32, N, M, 1, 1, y, NULL);
    op = (sparamx_op){.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &yt, .weight = &wt, .x = &xt};
    params.size = sizeof params, params.ith = 0, params.nth = 1, params.work_size = WORK, params.barrier = NULL;
}

/* The op as it stands is refused by all three with this status; then it is good again. */
#define REFUSED(want) refused((want), __LINE__)
/* By compute alone: what only shows there. */
#define COMPUTE(want) compute_refuses((want), (want), __LINE__)
#define COMPUTE_EITHER(want, other) compute_refuses((want), (other), __LINE__)

static void refused(sparamx_status want, int line) {
    size_t size = 77;
    long failed = checks.failed;
    EXPECT(want, sparamx_supports_op(&op));
    EXPECT(want, sparamx_work_size(&op, 1, &size));
    EXPECT(want, sparamx_compute(&params, &op));
    CHECK(size == 77, "a failed work_size wrote its result");
    if (checks.failed > failed) printf("  in line %d\n", line);
    restore();
}

static void compute_refuses(sparamx_status want, sparamx_status other, int line) {
    long failed = checks.failed;
    EXPECT_EITHER(want, other, sparamx_compute(&params, &op));
    if (checks.failed > failed) printf("  in line %d\n", line);
    restore();
}

static void test_structs(void) {
    size_t size = 77;
    sparamx_op good = op;
    STRUCT_FAULTS(sparamx_op, p, good, sparamx_supports_op(p));
    STRUCT_FAULTS(sparamx_op, p, good, sparamx_work_size(p, 1, &size));
    STRUCT_FAULTS(sparamx_op, p, good, sparamx_compute(&params, p));
    STRUCT_FAULTS(sparamx_params, p, params, sparamx_compute(p, &good));
    OUT_FAULTS(size_t, p, sparamx_work_size(&op, 1, p));
#define IN_OP(field, call) \
    do { \
        STRUCT_FAULTS(sparamx_tensor, p, *good.field, (op.field = p, call)); \
        restore(); \
    } while (0)
    IN_OP(weight, sparamx_supports_op(&op));
    IN_OP(weight, sparamx_work_size(&op, 1, &size));
    IN_OP(weight, sparamx_compute(&params, &op));
    IN_OP(x, sparamx_supports_op(&op));
    IN_OP(x, sparamx_work_size(&op, 1, &size));
    IN_OP(x, sparamx_compute(&params, &op));
    IN_OP(dst, sparamx_supports_op(&op));
    IN_OP(dst, sparamx_work_size(&op, 1, &size));
    IN_OP(dst, sparamx_compute(&params, &op));
    CHECK(size == 77, "a failed work_size wrote its result");
}

static void test_kinds_and_types(void) {
    static const int32_t kinds[] = {-1, 0, 5, 9999, INT32_MIN, INT32_MAX};
    static const int32_t types[] = {-1, 0, 4, 9, 15, 26, 31, 38, 9999, INT32_MIN};
    for (size_t i = 0; i < COUNT(kinds); i++) op.kind = kinds[i], REFUSED(SPARAMX_ERR_OP);
    for (size_t i = 0; i < COUNT(types); i++) {
        wt.type = types[i];
        REFUSED(SPARAMX_ERR_TYPE);
        if (types[i] == SPARAMX_TYPE_F32) continue;
        xt.type = types[i];
        REFUSED(SPARAMX_ERR_TYPE);
        yt.type = types[i];
        REFUSED(SPARAMX_ERR_TYPE);
    }
}

static void test_shapes(void) {
    static const int64_t wrong[] = {0, -1, INT64_MIN, INT64_MAX};
    sparamx_tensor *const tensors[] = {&wt, &xt, &yt};
    for (size_t i = 0; i < COUNT(tensors); i++) {
        for (int d = 0; d < 4; d++) {
            for (size_t j = 0; j < COUNT(wrong); j++) tensors[i]->ne[d] = wrong[j], REFUSED(SPARAMX_ERR_SHAPE);
        }
    }
    xt = make_tensor(SPARAMX_TYPE_F32, K - 1, M, 1, 1, x, NULL), REFUSED(SPARAMX_ERR_SHAPE);
    xt = make_tensor(SPARAMX_TYPE_F32, K + 1, M, 1, 1, x, NULL), REFUSED(SPARAMX_ERR_SHAPE);
    xt = make_tensor(SPARAMX_TYPE_F32, K, M - 1, 1, 1, x, NULL), REFUSED(SPARAMX_ERR_SHAPE);
    xt = make_tensor(SPARAMX_TYPE_F32, K, M, 2, 1, x, NULL), REFUSED(SPARAMX_ERR_SHAPE);
    xt = make_tensor(SPARAMX_TYPE_F32, K, M, 1, 2, x, NULL), REFUSED(SPARAMX_ERR_SHAPE);
    yt = make_tensor(SPARAMX_TYPE_F32, N - 1, M, 1, 1, y, NULL), REFUSED(SPARAMX_ERR_SHAPE);
    yt = make_tensor(SPARAMX_TYPE_F32, N + 1, M, 1, 1, y, NULL), REFUSED(SPARAMX_ERR_SHAPE);
    /* Three planes of x cannot share two matrices. */
    wt = make_tensor(SPARAMX_TYPE_BF16, K, N, 2, 1, base, buffer);
    xt = make_tensor(SPARAMX_TYPE_F32, K, M, 3, 1, x, NULL);
    yt = make_tensor(SPARAMX_TYPE_F32, N, M, 3, 1, y, NULL);
    REFUSED(SPARAMX_ERR_SHAPE);
    wt = make_tensor(SPARAMX_TYPE_BF16, K, N, 1, 2, base, buffer);
    REFUSED(SPARAMX_ERR_SHAPE);
}

static void test_strides(void) {
    static const uint64_t row_x[] = {0, 1, 2, 4 * K - 4, 4 * K + 1, 4 * K + 2}, row_y[] = {0, 1, 4 * N - 4, 4 * N + 2};
    wt.nb[0] = 4, REFUSED(SPARAMX_ERR_STRIDE);
    wt.nb[1] += 2, REFUSED(SPARAMX_ERR_STRIDE);
    wt.nb[1] = 0, REFUSED(SPARAMX_ERR_STRIDE);
    xt.nb[0] = 8, REFUSED(SPARAMX_ERR_STRIDE);
    yt.nb[0] = 8, REFUSED(SPARAMX_ERR_STRIDE);
    xt.nb[0] = 0, REFUSED(SPARAMX_ERR_STRIDE);
    for (size_t i = 0; i < COUNT(row_x); i++) xt.nb[1] = row_x[i], REFUSED(SPARAMX_ERR_STRIDE);
    for (size_t i = 0; i < COUNT(row_y); i++) yt.nb[1] = row_y[i], REFUSED(SPARAMX_ERR_STRIDE);
    static const uint64_t huge[] = {UINT64_MAX, UINT64_MAX / 2, (uint64_t)1 << 62, ((uint64_t)1 << 62) - 4};
    size_t size = 77;
    for (size_t i = 0; i < COUNT(huge); i++) {
        for (int d = 0; d < 4; d++) {
            xt = make_tensor(SPARAMX_TYPE_F32, K, M, 2, 2, x, NULL),
            yt = make_tensor(SPARAMX_TYPE_F32, N, M, 2, 2, y, NULL);
            xt.nb[d] = huge[i];
            EXPECT_EITHER(SPARAMX_ERR_STRIDE, SPARAMX_ERR_RANGE, sparamx_supports_op(&op));
            EXPECT_EITHER(SPARAMX_ERR_STRIDE, SPARAMX_ERR_RANGE, sparamx_compute(&params, &op));
            xt = make_tensor(SPARAMX_TYPE_F32, K, M, 2, 2, x, NULL), yt.nb[d] = huge[i];
            EXPECT_EITHER(SPARAMX_ERR_STRIDE, SPARAMX_ERR_RANGE, sparamx_supports_op(&op));
            EXPECT_EITHER(SPARAMX_ERR_STRIDE, SPARAMX_ERR_RANGE, sparamx_compute(&params, &op));
            restore();
            wt.nb[d] = huge[i];
            sparamx_status status = sparamx_supports_op(&op); /* not as it was announced */
            CHECK(status == SPARAMX_ERR_STRIDE || status == SPARAMX_ERR_RANGE ||
                      (status == SPARAMX_ERR_SHAPE && d >= 2),
                  "nb[%d] of the weight: %d", d, status);
            restore();
        }
    }
    /* Planes of the result that lie in each other. */
    xt = make_tensor(SPARAMX_TYPE_F32, K, M, 2, 1, x, NULL), yt = make_tensor(SPARAMX_TYPE_F32, N, M, 2, 1, y, NULL);
    yt.nb[2] = 4 * N;
    REFUSED(SPARAMX_ERR_STRIDE);
    CHECK(size == 77, "a failed work_size wrote its result");
}

static void test_counts(void) {
    static const int32_t threads[] = {0, -1, 1025, INT32_MAX, INT32_MIN};
    size_t size = 77;
    for (size_t i = 0; i < COUNT(threads); i++) {
        EXPECT(SPARAMX_ERR_RANGE, sparamx_work_size(&op, threads[i], &size));
        params.nth = threads[i];
        EXPECT(SPARAMX_ERR_RANGE, sparamx_compute(&params, &op));
        restore();
    }
    CHECK(size == 77, "a failed work_size wrote its result");
    static const int32_t ith[] = {-1, 1, 2, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT(ith); i++) {
        params.ith = ith[i];
        EXPECT(SPARAMX_ERR_RANGE, sparamx_compute(&params, &op));
        restore();
    }
    params.nth = 2;
    EXPECT(SPARAMX_ERR_NULL, sparamx_compute(&params, &op));
    restore();
}

static void test_memory(void) {
    void *work = params.work;
    size_t size = 0;
    EXPECT(SPARAMX_OK, sparamx_work_size(&op, 1, &size));
    params.work_size = size - 1;
    EXPECT_EITHER(SPARAMX_ERR_WORK_SIZE, SPARAMX_OK, sparamx_compute(&params, &op)); /* the packed form may need less */
    params.work_size = 0;
    EXPECT(SPARAMX_ERR_WORK_SIZE, sparamx_compute(&params, &op));
    restore(), params.work = NULL;
    EXPECT(SPARAMX_ERR_NULL, sparamx_compute(&params, &op));
    params.work = work;
    memset(y, 0, sizeof y);
    xt.data = NULL, COMPUTE(SPARAMX_ERR_NULL);
    yt.data = NULL, COMPUTE(SPARAMX_ERR_NULL);
    wt.data = NULL, COMPUTE(SPARAMX_ERR_NULL);
    for (int offset = 1; offset < 4; offset++) {
        xt.data = (char *)x + offset, REFUSED(SPARAMX_ERR_ALIGNMENT);
        yt.data = (char *)y + offset, REFUSED(SPARAMX_ERR_ALIGNMENT);
    }
    yt.data = x, REFUSED(SPARAMX_ERR_OVERLAP);
    yt.data = x + M * K - 1, REFUSED(SPARAMX_ERR_OVERLAP);
    xt.data = y + M * N - 1, REFUSED(SPARAMX_ERR_OVERLAP);
    xt.data = work, COMPUTE(SPARAMX_ERR_OVERLAP);
    yt.data = (char *)work + 64, COMPUTE(SPARAMX_ERR_OVERLAP);
    xt.data = (void *)(UINTPTR_MAX - 3), COMPUTE(SPARAMX_ERR_RANGE);
    yt.data = (void *)(UINTPTR_MAX - 3), COMPUTE(SPARAMX_ERR_RANGE);
    params.work = (void *)(UINTPTR_MAX - 3), COMPUTE(SPARAMX_ERR_RANGE);
    params.work = work;
    float zeros[M * N] = {0};
    CHECK(memcmp(y, zeros, sizeof zeros) == 0, "a refused product wrote results");
}

static void test_weights(void) {
    _Alignas(64) static unsigned char zeros[512];
    EXPECT(SPARAMX_OK, sparamx_supports_op(&op));
    wt.buffer = (sparamx_buffer *)(void *)zeros, COMPUTE(SPARAMX_ERR_STATE);
    wt.buffer = (sparamx_buffer *)(void *)(zeros + 8), COMPUTE(SPARAMX_ERR_ALIGNMENT);
    wt.data = base + 2 * 4096, COMPUTE(SPARAMX_ERR_FOREIGN); /* nobody announced it */
    wt.data = base + 64, REFUSED(SPARAMX_ERR_FOREIGN); /* it cuts into one that is announced */
    wt.data = base + wt.nb[1], wt.ne[1] = yt.ne[0] = 1, wt.nb[2] = wt.nb[3] = wt.nb[1];
    REFUSED(SPARAMX_ERR_FOREIGN); /* inside of it: a view */
    wt.data = base + 2 * 4096 + 64;
    EXPECT(SPARAMX_ERR_ALIGNMENT, sparamx_supports_op(&op)); /* free, but it can never be announced */
    COMPUTE(SPARAMX_ERR_FOREIGN);
    wt.data = base + SIZE, COMPUTE(SPARAMX_ERR_RANGE);
    wt.data = weights, COMPUTE(SPARAMX_ERR_RANGE);
    wt.type = SPARAMX_TYPE_F16, COMPUTE(SPARAMX_ERR_SHAPE); /* announced as another type */

    wt.data = base + 2 * 4096;
    EXPECT(SPARAMX_OK, sparamx_buffer_init_tensor(buffer, &wt));
    EXPECT(SPARAMX_ERR_INCOMPLETE, sparamx_compute(&params, &op));
    EXPECT(SPARAMX_OK, sparamx_buffer_set_tensor(buffer, &wt, weights, 0, BYTES - 1));
    EXPECT(SPARAMX_ERR_INCOMPLETE, sparamx_compute(&params, &op));
    EXPECT(SPARAMX_OK, sparamx_supports_op(&op));
    EXPECT(SPARAMX_OK, sparamx_buffer_set_tensor(buffer, &wt, weights + BYTES - 1, BYTES - 1, 1));
    EXPECT(SPARAMX_OK, sparamx_compute(&params, &op));
    restore();

    /* Weights that are not packed, in a buffer of the other kind and in the host's memory. */
    EXPECT(SPARAMX_OK, sparamx_buffer_set_usage(buffer, SPARAMX_USAGE_ANY));
    for (int host = 0; host < 2; host++) {
        wt.data = host ? weights : base + 4 * 4096;
        wt.buffer = host ? NULL : buffer;
        if (!host) EXPECT(SPARAMX_OK, sparamx_buffer_set_tensor(buffer, &wt, weights, 0, BYTES));
        sparamx_tensor raw = wt;
        memset(y, 0, sizeof y);
        EXPECT(SPARAMX_OK, sparamx_supports_op(&op));
        EXPECT(SPARAMX_OK, sparamx_compute(&params, &op));
        CHECK(count_wrong(SPARAMX_TYPE_BF16, N, K, weights, M, x, K, y, N) == 0, "wrong results of a raw weight");
        void *work = params.work;
        yt.data = raw.data, COMPUTE(SPARAMX_ERR_OVERLAP), wt = raw;
        yt.data = (uint8_t *)raw.data + BYTES - 2, COMPUTE_EITHER(SPARAMX_ERR_OVERLAP, SPARAMX_ERR_ALIGNMENT), wt = raw;
        params.work = (uint8_t *)raw.data + 100, COMPUTE(SPARAMX_ERR_OVERLAP), wt = raw;
        params.work = work;
        restore();
    }
    EXPECT(SPARAMX_OK, sparamx_buffer_set_usage(buffer, SPARAMX_USAGE_WEIGHTS));
    wt.buffer = NULL, wt.data = NULL;
    EXPECT(SPARAMX_OK, sparamx_supports_op(&op));
    COMPUTE(SPARAMX_ERR_NULL);
}

/* Every thread is told the same, and none waits at the barrier. */
static void test_threads(void) {
    size_t size = 0;
    EXPECT(SPARAMX_OK, sparamx_work_size(&op, 4, &size));
    xt.nb[1] = 2;
    sparamx_status status = multiply_in(NULL, &op, 0, 4, NULL, 0, NULL, 0, params.work, WORK);
    CHECK(status == SPARAMX_ERR_STRIDE, "four threads with a bad stride: %d", status);
    restore();
    status = multiply_in(NULL, &op, 0, 4, NULL, 0, NULL, 0, params.work, 64);
    CHECK(status == SPARAMX_ERR_WORK_SIZE, "four threads without work area: %d", status);
    xt.data = y;
    status = multiply_in(NULL, &op, 0, 4, NULL, 0, NULL, 0, params.work, WORK);
    CHECK(status == SPARAMX_ERR_OVERLAP, "four threads with overlapping memory: %d", status);
    restore();
}

int main(void) {
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.5, 1, weights);
    fill_activations(M * K, 2, x);
    EXPECT(SPARAMX_OK, sparamx_buffer_create(SIZE, NULL, &buffer));
    base = sparamx_buffer_base(buffer);
    params.work = must_allocate(WORK);
    restore();
    EXPECT(SPARAMX_OK, sparamx_buffer_set_tensor(buffer, &wt, weights, 0, BYTES));
    EXPECT(SPARAMX_OK, sparamx_compute(&params, &op));
    memcpy(before, y, sizeof before);
    test_structs();
    test_kinds_and_types();
    test_shapes();
    test_strides();
    test_counts();
    test_memory();
    test_weights();
    test_threads();
    EXPECT(SPARAMX_OK, sparamx_compute(&params, &op));
    CHECK(memcmp(y, before, sizeof before) == 0, "another result after bad arguments");
    CHECK(count_wrong(SPARAMX_TYPE_BF16, N, K, weights, M, x, K, y, N) == 0, "wrong results after bad arguments");
    free(params.work);
    sparamx_buffer_destroy(buffer);
    return check_end();
}
