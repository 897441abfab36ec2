/*
 * arguments_apply_test - bad arguments for whole layers, and hosts whose loops do not do what they should. Nothing is
 * written when a call is refused; afterwards the linear is as it was.
 */
#define _GNU_SOURCE
#include "faults.h"

#include <stdlib.h>

enum { N = 33, K = 64, M = 3, WORK = 1 << 18 };

static uint16_t weights[N * K];
static float x[M * K + 16], y[M * N + 16], before[M * N + 16], bias[N + 4], expected[M * N];
static _Alignas(64) uint8_t work[WORK + 64];
static sparamx_linear *linear;

static sparamx_linear_call good(void) {
    return (sparamx_linear_call){.size = sizeof(sparamx_linear_call), .m = M, .ldx = K, .ldy = N, .x = x, .y = y,
                                 .bias = bias, .tasks = 4, .work_size = WORK, .work = work};
}

static sparamx_status apply(sparamx_linear_call c) {
    memcpy(y, before, sizeof y);
    sparamx_status status = sparamx_linear_apply(linear, &c);
    if (status != SPARAMX_OK && status != SPARAMX_ERR_STATE)
        CHECK(memcmp(y, before, sizeof y) == 0, "a refused call wrote results (%d)", status);
    return status;
}

/* work_size refuses what does not depend on memory, with the same status. */
static sparamx_status size_of(sparamx_linear_call c) {
    size_t bytes = 77;
    sparamx_status status = sparamx_linear_call_work_size(linear, &c, &bytes);
    CHECK((status == SPARAMX_OK) == (bytes != 77), "work_size: %d and %zu bytes", status, bytes);
    return status;
}

/* The call with one field changed gives this status; asks: the question about the work area too. */
#define WRONG(status, asks, field, ...) \
    do { \
        sparamx_linear_call c_ = good(); \
        c_.field = __VA_ARGS__; \
        EXPECT(status, apply(c_)); \
        if (asks) EXPECT(status, size_of(c_)); \
    } while (0)

static void test_fields(void) {
    static const int32_t wrong_types[] = {-1, 2, 8, 26, 31, 9999, INT32_MAX, INT32_MIN};
    static const int64_t wrong_tokens[] = {-1, (int64_t)INT32_MAX + 1, INT64_MAX, INT64_MIN};
    static const int32_t wrong_tasks[] = {0, -1, 1025, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT(wrong_types); i++) {
        WRONG(SPARAMX_ERR_TYPE, true, x_type, wrong_types[i]);
        WRONG(SPARAMX_ERR_TYPE, true, y_type, wrong_types[i]);
        WRONG(SPARAMX_ERR_TYPE, true, bias_type, wrong_types[i]);
        sparamx_linear_call c = good();
        c.bias_type = wrong_types[i], c.bias = NULL; /* not looked at */
        EXPECT(SPARAMX_OK, apply(c));
        c.m = 0, c.x_type = wrong_types[i];
        EXPECT(SPARAMX_ERR_TYPE, apply(c));
    }
    for (size_t i = 0; i < COUNT(wrong_tokens); i++) WRONG(SPARAMX_ERR_RANGE, true, m, wrong_tokens[i]);
    for (size_t i = 0; i < COUNT(wrong_tasks); i++) WRONG(SPARAMX_ERR_RANGE, true, tasks, wrong_tasks[i]);
    WRONG(SPARAMX_ERR_RANGE, true, reserved, 1);
    static const int64_t wrong_lines[] = {K - 1, N - 1, 0, -1, INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < COUNT(wrong_lines); i++) {
        WRONG(SPARAMX_ERR_STRIDE, false, ldx, wrong_lines[i]);
        if (wrong_lines[i] < N || wrong_lines[i] == INT64_MAX) WRONG(SPARAMX_ERR_STRIDE, false, ldy, wrong_lines[i]);
    }
    WRONG(SPARAMX_ERR_RANGE, false, ldx, (int64_t)1 << 61);
    WRONG(SPARAMX_ERR_RANGE, false, ldy, (int64_t)1 << 60);
    sparamx_linear_call none = good();
    none.m = 0, none.x = NULL, none.y = NULL, none.work = NULL, none.work_size = 0;
    EXPECT(SPARAMX_OK, apply(none));
    EXPECT(SPARAMX_OK, size_of(none));
}

static void test_memory(void) {
    WRONG(SPARAMX_ERR_NULL, false, x, NULL);
    WRONG(SPARAMX_ERR_NULL, false, y, NULL);
    WRONG(SPARAMX_ERR_NULL, false, work, NULL);
    WRONG(SPARAMX_ERR_ALIGNMENT, false, x, (const char *)x + 2);
    WRONG(SPARAMX_ERR_ALIGNMENT, false, y, (char *)y + 1);
    WRONG(SPARAMX_ERR_ALIGNMENT, false, bias, (const char *)bias + 2);
    WRONG(SPARAMX_ERR_RANGE, false, x, (const void *)(UINTPTR_MAX - 63));
    WRONG(SPARAMX_ERR_RANGE, false, y, (void *)(UINTPTR_MAX - 63));
    WRONG(SPARAMX_ERR_OVERLAP, false, x, y);
    WRONG(SPARAMX_ERR_OVERLAP, false, bias, y + M * N - 1);
    WRONG(SPARAMX_ERR_OVERLAP, false, x, (const float *)(const void *)work);
    WRONG(SPARAMX_ERR_OVERLAP, false, bias, (const float *)(const void *)work);
    WRONG(SPARAMX_ERR_OVERLAP, false, work, (uint8_t *)y + 100);
    WRONG(SPARAMX_ERR_RANGE, false, work_size, SIZE_MAX);
    sparamx_linear_call c = good();
    size_t bytes = 0;
    EXPECT(SPARAMX_OK, sparamx_linear_call_work_size(linear, &c, &bytes));
    WRONG(SPARAMX_ERR_WORK_SIZE, false, work_size, bytes - 1);
    WRONG(SPARAMX_OK, false, work_size, bytes);
    for (size_t shift = 1; shift < 64; shift += 7) {
        c.work = work + shift, c.work_size = bytes;
        EXPECT(SPARAMX_OK, apply(c));
    }
    c = good();
    EXPECT(SPARAMX_ERR_NULL, sparamx_linear_call_work_size(linear, &c, NULL));
    OUT_FAULTS(size_t, p, sparamx_linear_call_work_size(linear, &c, p));
    HANDLE_FAULTS(sparamx_linear, p, sparamx_linear_apply(p, &c));
    HANDLE_FAULTS(sparamx_linear, p, sparamx_linear_call_work_size(p, &c, &bytes));
    STRUCT_FAULTS(sparamx_linear_call, p, good(), sparamx_linear_apply(linear, p));
    STRUCT_FAULTS(sparamx_linear_call, p, good(), sparamx_linear_call_work_size(linear, p, &bytes));
}

/* ------------------------------------------------------------------------------------------ hosts' wrong loops -- */

typedef void (*task_fn)(int32_t index, void *data);

static void run_none(task_fn task, void *data, int32_t count, void *user) {
    (void)task, (void)data, (void)count, (void)user;
}

static void skip_one(task_fn task, void *data, int32_t count, void *user) {
    for (int32_t i = 0; i < count; i++) {
        if (i != *(const int32_t *)user) task(i, data);
    }
}

/* As many calls as there are tasks, but one of them twice. */
static void repeat_one(task_fn task, void *data, int32_t count, void *user) {
    (void)user;
    for (int32_t i = 0; i < count; i++) task(i == 1 ? 0 : i, data);
}

static void run_twice(task_fn task, void *data, int32_t count, void *user) {
    (void)user;
    for (int32_t i = 0; i < 2 * count; i++) task(i % count, data);
}

/* A call of the same layer from inside, with memory of its own. */
static void call_inside(task_fn task, void *data, int32_t count, void *user) {
    static float inner[M * N];
    static uint8_t inner_work[WORK];
    (void)user;
    for (int32_t i = 0; i < count; i++) {
        sparamx_linear_call c = good();
        c.y = inner, c.work = inner_work;
        EXPECT(SPARAMX_OK, sparamx_linear_apply(linear, &c));
        CHECK(memcmp(inner, expected, sizeof inner) == 0, "a call inside another one");
        task(i, data);
    }
}

static void test_loops(void) {
    int32_t skipped = 0;
    WRONG(SPARAMX_ERR_STATE, false, parallel, run_none);
    WRONG(SPARAMX_ERR_STATE, false, parallel, repeat_one);
    for (skipped = 0; skipped < 4; skipped++) {
        sparamx_linear_call c = good();
        c.parallel = skip_one, c.user = &skipped;
        EXPECT(SPARAMX_ERR_STATE, apply(c));
    }
    WRONG(SPARAMX_OK, false, parallel, run_twice);
    CHECK(memcmp(y, expected, sizeof expected) == 0, "every task twice");
    WRONG(SPARAMX_OK, false, parallel, call_inside);
    CHECK(memcmp(y, expected, sizeof expected) == 0, "calls inside a call");
}

int main(void) {
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.5, 3, weights);
    fill_activations(M * K + 16, 5, x);
    for (size_t i = 0; i < COUNT(before); i++) before[i] = (float)i + 0.5f;
    for (int i = 0; i < N; i++) bias[i] = (float)i / 3;
    if (sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, NULL, &linear) != SPARAMX_OK) return 2;
    EXPECT(SPARAMX_OK, apply(good()));
    memcpy(expected, y, sizeof expected);
    test_fields();
    test_memory();
    test_loops();
    EXPECT(SPARAMX_OK, apply(good()));
    CHECK(memcmp(y, expected, sizeof expected) == 0, "the product after bad arguments");
    sparamx_linear_destroy(linear);
    return check_end();
}
