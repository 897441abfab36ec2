/*
 * arguments_linear_test - bad arguments for sparamx_linear_* and the functions without an object. After all of them
 * the object is as it was.
 */
#define _GNU_SOURCE
#include "faults.h"

#include <stdlib.h>

enum { N = 33, K = 64, M = 3 };

static uint8_t weights[N * K * 4 + 64];
static float x[M * K + 16], y[M * N + 16], before[M * N];
static sparamx_linear *linear;

static sparamx_status create(int32_t type, int64_t n, int64_t k, const void *data, size_t stride,
                             const sparamx_linear_options *options) {
    sparamx_linear *mark = (sparamx_linear *)(void *)weights, *out = mark;
    sparamx_status status = sparamx_linear_create(type, n, k, data, stride, options, &out);
    if (status != SPARAMX_OK) CHECK(out == mark, "a failed create wrote its result");
    else sparamx_linear_destroy(out);
    return status;
}

static sparamx_status create_with(int32_t form, int32_t threads, int32_t numa, const char *kernel) {
    sparamx_linear_options o = {
        .size = sizeof o, .form = form, .pack_threads = threads, .numa = numa, .kernel = kernel};
    return create(SPARAMX_TYPE_BF16, N, K, weights, 0, &o);
}

static void test_create(void) {
    static const int32_t wrong_types[] = {-1, 0, 4, 9, 15, 26, 31, 38, 9999, INT32_MAX, INT32_MIN};
    static const int64_t wrong_counts[] = {0, -1, INT64_MIN, INT64_MAX, INT64_MAX / 2, (int64_t)1 << 32};
    for (size_t i = 0; i < COUNT(wrong_types); i++)
        EXPECT(SPARAMX_ERR_TYPE, create(wrong_types[i], N, K, weights, 0, NULL));
    for (size_t i = 0; i < COUNT(wrong_counts); i++) {
        EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_RANGE,
                      create(SPARAMX_TYPE_BF16, wrong_counts[i], K, weights, 0, NULL));
        EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_RANGE,
                      create(SPARAMX_TYPE_BF16, N, wrong_counts[i], weights, 0, NULL));
        EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_RANGE,
                      create(SPARAMX_TYPE_Q8_0, N, wrong_counts[i], weights, 0, NULL));
    }
    static const int64_t cut_blocks[] = {1, 16, 31, 33, 48, 63};
    for (size_t i = 0; i < COUNT(cut_blocks); i++)
        EXPECT(SPARAMX_ERR_SHAPE, create(SPARAMX_TYPE_Q8_0, N, cut_blocks[i], weights, 0, NULL));
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_SHAPE,
                  create(SPARAMX_TYPE_F16, INT32_MAX, INT32_MAX, weights, 0, NULL));
    EXPECT(SPARAMX_ERR_NULL, create(SPARAMX_TYPE_BF16, N, K, NULL, 0, NULL));
    EXPECT(SPARAMX_ERR_RANGE, create(SPARAMX_TYPE_BF16, N, K, (void *)(UINTPTR_MAX - 15), 0, NULL));
    static const size_t short_strides[] = {1, 2, K, 2 * K - 1};
    for (size_t i = 0; i < COUNT(short_strides); i++)
        EXPECT(SPARAMX_ERR_STRIDE, create(SPARAMX_TYPE_BF16, N, K, weights, short_strides[i], NULL));
    static const size_t long_strides[] = {SIZE_MAX, SIZE_MAX / 2, (size_t)1 << 62, (size_t)1 << 59};
    for (size_t i = 0; i < COUNT(long_strides); i++) {
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_STRIDE,
                      create(SPARAMX_TYPE_BF16, N, K, weights, long_strides[i], NULL));
    }
    OUT_FAULTS(sparamx_linear *, p, sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, NULL, p));
    sparamx_linear_options good = {.size = sizeof good};
    STRUCT_FAULTS_IF_THERE(sparamx_linear_options, p, good, create(SPARAMX_TYPE_BF16, N, K, weights, 0, p));
    EXPECT(SPARAMX_OK, create(SPARAMX_TYPE_BF16, N, K, weights + 1, 0, NULL)); /* weights need no alignment */
}

static void test_options(void) {
    static const int32_t wrong_forms[] = {-1, 3, 7, 9999, INT32_MIN}, wrong_threads[] = {-1, 65, INT32_MAX, INT32_MIN};
    static const int32_t wrong_numa[] = {-1, 4, INT32_MAX};
    for (size_t i = 0; i < COUNT(wrong_forms); i++) EXPECT(SPARAMX_ERR_RANGE, create_with(wrong_forms[i], 0, 0, NULL));
    for (size_t i = 0; i < COUNT(wrong_threads); i++)
        EXPECT(SPARAMX_ERR_RANGE, create_with(0, wrong_threads[i], 0, NULL));
    for (size_t i = 0; i < COUNT(wrong_numa); i++) EXPECT(SPARAMX_ERR_RANGE, create_with(0, 0, wrong_numa[i], NULL));
    EXPECT(SPARAMX_OK, create_with(SPARAMX_FORM_SPARSE, 64, SPARAMX_NUMA_INTERLEAVE, NULL));
    static const char *const wrong_kernels[] = {"",
                                                "x",
                                                "reference",
                                                "reference-bf16",
                                                "reference-bf16-dens",
                                                "reference-bf16-densex",
                                                "reference-f16-dense",
                                                "reference-bf16-sparse",
                                                "avx512-q8_0-dense-m1"};
    for (size_t i = 0; i < COUNT(wrong_kernels); i++)
        EXPECT(SPARAMX_ERR_RANGE, create_with(SPARAMX_FORM_DENSE, 0, 0, wrong_kernels[i]));
    EXPECT(SPARAMX_OK, create_with(SPARAMX_FORM_DENSE, 0, 0, "reference-bf16-dense"));
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info info = {.size = sizeof info};
        sparamx_kernel_get(i, &info);
        if (info.type != SPARAMX_TYPE_BF16) continue;
        EXPECT(info.usable, create_with(info.form, 0, 0, info.name));
        EXPECT(SPARAMX_ERR_RANGE, create_with(SPARAMX_FORM_DENSE + SPARAMX_FORM_SPARSE - info.form, 0, 0, info.name));
        if (info.usable != SPARAMX_OK || info.m_max == INT64_MAX) continue;
        sparamx_linear_options o = {.size = sizeof o, .form = info.form, .kernel = info.name};
        sparamx_linear *forced = NULL;
        size_t size = 77;
        EXPECT(SPARAMX_OK, sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, &o, &forced));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_linear_work_size(forced, info.m_max + 1, 1, &size));
        if (info.m_min > 1) EXPECT(SPARAMX_ERR_RANGE, sparamx_linear_work_size(forced, info.m_min - 1, 1, &size));
        CHECK(size == 77, "a failed work_size wrote its result");
        sparamx_linear_destroy(forced);
    }
}

static void test_read(void) {
    static uint8_t rows[N * K * 2];
    static const struct { int64_t row, count;
    } wrong[] = {{-1, 1},        {0, -1},        {0, N + 1},
                 {N, 1},         {1, N},         {N + 1, 0},
                 {INT64_MAX, 1}, {1, INT64_MAX}, {INT64_MAX, INT64_MAX},
                 {INT64_MIN, 1}, {0, INT64_MIN}, {INT64_MIN, INT64_MIN}};
    memset(rows, 0x5a, sizeof rows);
    for (size_t i = 0; i < COUNT(wrong); i++)
        EXPECT(SPARAMX_ERR_RANGE, sparamx_linear_read(linear, wrong[i].row, wrong[i].count, rows));
    EXPECT(SPARAMX_ERR_NULL, sparamx_linear_read(linear, 0, 1, NULL));
    EXPECT(SPARAMX_OK, sparamx_linear_read(linear, N, 0, rows));
    for (size_t i = 0; i < sizeof rows; i++) {
        if (rows[i] != 0x5a) { CHECK(false, "a failed read wrote byte %zu", i); break; }
    }
    HANDLE_FAULTS(sparamx_linear, p, sparamx_linear_read(p, 0, 1, rows));
    EXPECT(SPARAMX_OK, sparamx_linear_read(linear, 0, N, rows));
    CHECK(memcmp(rows, weights, sizeof rows) == 0, "read-back after bad arguments");
}

static void test_work_size(void) {
    static const int64_t wrong_m[] = {0, -1, INT64_MIN, (int64_t)1 << 31, INT64_MAX};
    static const int32_t wrong_threads[] = {0, -1, 1025, INT32_MAX, INT32_MIN};
    size_t size = 77;
    for (size_t i = 0; i < COUNT(wrong_m); i++)
        EXPECT(SPARAMX_ERR_RANGE, sparamx_linear_work_size(linear, wrong_m[i], 1, &size));
    for (size_t i = 0; i < COUNT(wrong_threads); i++)
        EXPECT(SPARAMX_ERR_RANGE, sparamx_linear_work_size(linear, 1, wrong_threads[i], &size));
    CHECK(size == 77, "a failed work_size wrote its result");
    EXPECT(SPARAMX_OK, sparamx_linear_work_size(linear, INT32_MAX, 1024, &size));
    OUT_FAULTS(size_t, p, sparamx_linear_work_size(linear, 1, 1, p));
    HANDLE_FAULTS(sparamx_linear, p, sparamx_linear_work_size(p, 1, 1, &size));
}

static void no_barrier(void *data) { (void)data; }

static void test_compute(void) {
    sparamx_params good = {.size = sizeof good, .nth = 1};
    sparamx_linear_work_size(linear, M, 1, &good.work_size);
    good.work = must_allocate(good.work_size + 64);
    sparamx_params p = good;
#define COMPUTE(m, xs, ldx, ys, ldy) sparamx_linear_compute(linear, &p, m, xs, ldx, ys, ldy)
    HANDLE_FAULTS(sparamx_linear, l, sparamx_linear_compute(l, &good, M, x, K, y, N));
    STRUCT_FAULTS(sparamx_params, s, good, sparamx_linear_compute(linear, s, M, x, K, y, N));

    static const struct { int32_t ith, nth; } wrong_threads[] = {
        {0, 0}, {0, -1}, {0, 1025}, {1, 1}, {-1, 1}, {-1, 4}, {4, 4}, {1024, 1024}, {INT32_MIN, 1}, {INT32_MAX, 1},
        {0, INT32_MAX}, {0, INT32_MIN}};
    for (size_t i = 0; i < COUNT(wrong_threads); i++) {
        p.ith = wrong_threads[i].ith, p.nth = wrong_threads[i].nth, p.barrier = no_barrier;
        EXPECT(SPARAMX_ERR_RANGE, COMPUTE(M, x, K, y, N));
    }
    p = good, p.nth = 2;
    EXPECT(SPARAMX_ERR_NULL, COMPUTE(M, x, K, y, N)); /* no barrier */
    p = good, p.work_size--;
    EXPECT(SPARAMX_ERR_WORK_SIZE, COMPUTE(M, x, K, y, N));
    p = good, p.work_size = 0;
    EXPECT(SPARAMX_ERR_WORK_SIZE, COMPUTE(M, x, K, y, N));
    p = good, p.work = NULL;
    EXPECT(SPARAMX_ERR_NULL, COMPUTE(M, x, K, y, N));
    p = good, p.work_size = SIZE_MAX;
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_OK, COMPUTE(M, x, K, y, N));
    p = good, p.nth = 1024, p.barrier = no_barrier;
    EXPECT(SPARAMX_ERR_WORK_SIZE, COMPUTE(M, x, K, y, N));
    p = good;

    static const int64_t wrong_m[] = {0, -1, INT64_MIN, (int64_t)1 << 31, INT64_MAX};
    for (size_t i = 0; i < COUNT(wrong_m); i++) EXPECT(SPARAMX_ERR_RANGE, COMPUTE(wrong_m[i], x, K, y, N));
    static const int64_t short_ld[] = {0, -1, 1, INT64_MIN};
    for (size_t i = 0; i < COUNT(short_ld); i++) {
        EXPECT(SPARAMX_ERR_STRIDE, COMPUTE(M, x, short_ld[i], y, N));
        EXPECT(SPARAMX_ERR_STRIDE, COMPUTE(M, x, K, y, short_ld[i]));
    }
    EXPECT(SPARAMX_ERR_STRIDE, COMPUTE(M, x, K - 1, y, N));
    EXPECT(SPARAMX_ERR_STRIDE, COMPUTE(M, x, K, y, N - 1));
    static const int64_t long_ld[] = {INT64_MAX, INT64_MAX / 2, (int64_t)1 << 61, (int64_t)1 << 60};
    for (size_t i = 0; i < COUNT(long_ld); i++) {
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_STRIDE, COMPUTE(M, x, long_ld[i], y, N));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_STRIDE, COMPUTE(M, x, K, y, long_ld[i]));
    }

    EXPECT(SPARAMX_ERR_NULL, COMPUTE(M, NULL, K, y, N));
    EXPECT(SPARAMX_ERR_NULL, COMPUTE(M, x, K, NULL, N));
    for (uintptr_t offset = 1; offset < 4; offset++) {
        EXPECT(SPARAMX_ERR_ALIGNMENT, COMPUTE(M, (const float *)((uintptr_t)x + offset), K, y, N));
        EXPECT(SPARAMX_ERR_ALIGNMENT, COMPUTE(M, x, K, (float *)((uintptr_t)y + offset), N));
    }
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP, COMPUTE(M, (const float *)(UINTPTR_MAX - 7), K, y, N));
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP, COMPUTE(M, x, K, (float *)(UINTPTR_MAX - 7), N));

    float *work = good.work, *last = work + (good.work_size - 4) / 4;
    EXPECT(SPARAMX_ERR_OVERLAP, COMPUTE(M, x, K, x, N));
    EXPECT(SPARAMX_ERR_OVERLAP, COMPUTE(M, x, K, x + M * K - 1, N));
    EXPECT(SPARAMX_ERR_OVERLAP, COMPUTE(1, y, K, y + K - 1, N));
    EXPECT(SPARAMX_ERR_OVERLAP, COMPUTE(M, work, K, y, N));
    EXPECT(SPARAMX_ERR_OVERLAP, COMPUTE(M, last, K, y, N));
    EXPECT(SPARAMX_ERR_OVERLAP, COMPUTE(M, x, K, work, N));
    EXPECT(SPARAMX_ERR_OVERLAP, COMPUTE(M, x, K, last, N));
    CHECK(memcmp(y, before, sizeof before) == 0, "a refused product wrote results");
    free(good.work);
}

static void test_info(void) {
    sparamx_tensor_info good = {.size = sizeof good};
    STRUCT_FAULTS(sparamx_tensor_info, p, good, sparamx_linear_info(linear, p));
    HANDLE_FAULTS(sparamx_linear, p, sparamx_linear_info(p, &good));
    HANDLE_FAULTS(sparamx_linear, p, sparamx_linear_verify(p));
    EXPECT(SPARAMX_OK, sparamx_linear_verify(linear));
    sparamx_kernel_info kernel = {.size = sizeof kernel};
    STRUCT_FAULTS(sparamx_kernel_info, p, kernel, sparamx_kernel_get(0, p));
    sparamx_capability capability = {.size = sizeof capability};
    STRUCT_FAULTS(sparamx_capability, p, capability, sparamx_get_capability(p));
}

static void test_destroy(void) {
    _Alignas(64) static unsigned char zeros[512];
    sparamx_linear_destroy(NULL);
    sparamx_linear_destroy((sparamx_linear *)(void *)zeros);
    sparamx_linear_destroy((sparamx_linear *)(void *)(zeros + 8));
    CHECK(true, "destroying what is no object does nothing");
}

int main(void) {
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.5, 1, weights);
    fill_activations(M * K, 2, x);
    EXPECT(SPARAMX_OK, sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, NULL, &linear));
    EXPECT(SPARAMX_OK, multiply(linear, M, 1, x, K, y, N));
    memcpy(before, y, sizeof before);
    test_create();
    test_options();
    test_read();
    test_work_size();
    test_compute();
    test_info();
    test_destroy();
    memset(y, 0, sizeof y);
    EXPECT(SPARAMX_OK, multiply(linear, M, 2, x, K, y, N));
    CHECK(memcmp(y, before, sizeof before) == 0, "another result after bad arguments");
    CHECK(count_wrong(SPARAMX_TYPE_BF16, N, K, weights, M, x, K, y, N) == 0, "wrong results after bad arguments");
    sparamx_linear_destroy(linear);
    return check_end();
}
