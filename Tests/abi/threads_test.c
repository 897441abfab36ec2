/*
 * threads_test - results are the same to the last bit for 1 to 8 threads; packing does not depend on the number of
 * threads; several threads pack, compute and read at the same time, on objects of their own and on shared ones.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_M = 100, MAX_K = 288, MAX_N = 150 };

static void test_same_bits(int32_t type, int32_t form, int64_t n, int64_t k) {
    static const int64_t tokens[] = {1, 2, 3, 4, 5, 8, 16, 17, 32, 33, MAX_M};
    uint8_t *w = must_allocate(row_bytes(type, k) * (size_t)n);
    float *x = must_allocate(MAX_M * MAX_K * sizeof *x), *y = must_allocate(MAX_M * MAX_N * sizeof *y),
          *first = must_allocate(MAX_M * MAX_N * sizeof *y);
    fill_weights(type, n, k, 0.5, 3, w);
    fill_activations(MAX_M * MAX_K, 4, x);
    sparamx_linear_options o = {.size = sizeof o, .form = form};
    sparamx_linear *linear = NULL;
    CHECK(sparamx_linear_create(type, n, k, w, 0, &o, &linear) == SPARAMX_OK, "linear");
    for (size_t i = 0; i < COUNT(tokens); i++) {
        int64_t m = tokens[i];
        for (int threads = 1; threads <= 8; threads++) {
            memset(y, 0x7f, (size_t)(m * n) * sizeof *y);
            CHECK(multiply(linear, m, threads, x, k, y, n) == SPARAMX_OK, "product");
            if (threads == 1) memcpy(first, y, (size_t)(m * n) * sizeof *y);
            CHECK(memcmp(first, y, (size_t)(m * n) * sizeof *y) == 0,
                  "%s %s n %lld m %lld: %d threads give another result", type_name(type), form_name(form), (long long)n,
                  (long long)m, threads);
        }
        CHECK(count_wrong(type, n, k, w, m, x, k, first, n) == 0, "wrong results");
    }
    sparamx_linear_destroy(linear);
    free(w);
    free(x);
    free(y);
    free(first);
}

/* More threads than panels, and than the machine has CPUs. */
static void test_many_threads(void) {
    enum { N = 17, K = 64, M = 3 };
    uint8_t w[N * K * 2];
    float x[M * K], y[M * N], first[M * N];
    sparamx_linear *linear = NULL;
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.5, 3, w);
    fill_activations(M * K, 4, x);
    CHECK(sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, w, 0, NULL, &linear) == SPARAMX_OK, "linear");
    CHECK(multiply(linear, M, 1, x, K, first, N) == SPARAMX_OK, "product");
    CHECK(multiply(linear, M, 64, x, K, y, N) == SPARAMX_OK && memcmp(first, y, sizeof y) == 0, "64 threads");
    sparamx_linear_destroy(linear);
}

/* 1.5 MB each, so that several threads are really used. */
static void test_packing(void) {
    enum { N = 768, K = 1024 };
    uint8_t *w = must_allocate(N * K * 2), *back = must_allocate(N * K * 2);
    float x[K], y[N], first[N];
    fill_activations(K, 4, x);
    for (size_t i = 0; i < COUNT(weight_types) * COUNT(packed_forms); i++) {
        int32_t type = weight_types[i % 3], form = packed_forms[i / 3];
        size_t bytes = row_bytes(type, K) * N;
        fill_weights(type, N, K, 0.6, 3, w);
        uint64_t packed = 0;
        for (int threads = 0; threads <= 64; threads = threads < 8 ? threads + 1 : threads * 2) {
            sparamx_linear_options o = {.size = sizeof o, .form = form, .pack_threads = threads};
            sparamx_linear *linear = NULL;
            sparamx_tensor_info info = {.size = sizeof info};
            CHECK(sparamx_linear_create(type, N, K, w, 0, &o, &linear) == SPARAMX_OK &&
                      sparamx_linear_info(linear, &info) == SPARAMX_OK,
                  "linear");
            if (threads == 0) packed = info.packed_bytes;
            CHECK(info.packed_bytes == packed, "%d threads pack into another size", threads);
            CHECK(sparamx_linear_read(linear, 0, N, back) == SPARAMX_OK && memcmp(w, back, bytes) == 0,
                  "%d threads: read-back", threads);
            CHECK(multiply(linear, 1, 2, x, K, threads == 0 ? first : y, N) == SPARAMX_OK, "product");
            CHECK(threads == 0 || memcmp(first, y, sizeof y) == 0, "%d threads pack another tensor", threads);
            sparamx_linear_destroy(linear);
        }
    }
    free(w);
    free(back);
}

/* Threads without any order among them: tensors of one buffer are uploaded, a shared linear is computed with and read.
 */
typedef struct crowd {
    sparamx_buffer *buffer;
    const sparamx_linear *shared;
    const uint8_t *w;
    const float *x, *expected;
    bool good[8];
} crowd;

enum { CROWD_N = 130, CROWD_K = 1024, CROWD_M = 4, ROUNDS = 6 };

static void crowd_member(int index, void *context) {
    crowd *c = context;
    size_t bytes = (size_t)CROWD_N * CROWD_K * 2, slot = (bytes + 4095) / 4096 * 4096;
    uint8_t *back = must_allocate(bytes);
    float *y = must_allocate(CROWD_M * CROWD_N * sizeof *y);
    sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, CROWD_K, CROWD_N, 1, 1,
                                   (uint8_t *)sparamx_buffer_base(c->buffer) + (size_t)index * slot, c->buffer);
    sparamx_tensor xt = make_tensor(SPARAMX_TYPE_F32, CROWD_K, CROWD_M, 1, 1, (void *)(uintptr_t)c->x, NULL);
    sparamx_tensor yt = make_tensor(SPARAMX_TYPE_F32, CROWD_N, CROWD_M, 1, 1, y, NULL);
    sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &yt, .weight = &t, .x = &xt};
    size_t size = CROWD_M * CROWD_N * sizeof *y;
    bool good = true;
    for (int round = 0; round < ROUNDS && good; round++) {
        size_t cut = bytes / (size_t)(round + 2);
        good = sparamx_buffer_set_tensor(c->buffer, &t, c->w, 0, cut) == SPARAMX_OK;
        good = good && sparamx_buffer_set_tensor(c->buffer, &t, c->w + cut, cut, bytes - cut) == SPARAMX_OK;
        good = good && sparamx_buffer_get_tensor(c->buffer, &t, back, 0, bytes) == SPARAMX_OK &&
               memcmp(back, c->w, bytes) == 0;
        good = good && multiply_op(&op, 1 + index % 2) == SPARAMX_OK && memcmp(y, c->expected, size) == 0;
        memset(y, 0, size);
        good = good && multiply(c->shared, CROWD_M, 1 + round % 2, c->x, CROWD_K, y, CROWD_N) == SPARAMX_OK &&
               memcmp(y, c->expected, size) == 0;
        good = good && sparamx_linear_read(c->shared, 0, CROWD_N, back) == SPARAMX_OK && memcmp(back, c->w, bytes) == 0;
        if (round % 2) good = good && sparamx_buffer_init_tensor(c->buffer, &t) == SPARAMX_OK;
    }
    c->good[index] = good;
    free(back);
    free(y);
}

static void test_crowd(void) {
    size_t bytes = (size_t)CROWD_N * CROWD_K * 2;
    uint8_t *w = must_allocate(bytes);
    float *x = must_allocate(CROWD_M * CROWD_K * sizeof *x), *expected = must_allocate(CROWD_M * CROWD_N * sizeof *x);
    fill_weights(SPARAMX_TYPE_BF16, CROWD_N, CROWD_K, 0.5, 5, w);
    fill_activations(CROWD_M * CROWD_K, 6, x);
    sparamx_buffer_options o = {.size = sizeof o, .form = SPARAMX_FORM_SPARSE};
    sparamx_linear_options lo = {.size = sizeof lo, .form = SPARAMX_FORM_SPARSE};
    sparamx_linear *shared = NULL;
    crowd c = {.w = w, .x = x, .expected = expected};
    CHECK(sparamx_buffer_create(8 * (bytes + 4096), &o, &c.buffer) == SPARAMX_OK, "a buffer");
    CHECK(sparamx_linear_create(SPARAMX_TYPE_BF16, CROWD_N, CROWD_K, w, 0, &lo, &shared) == SPARAMX_OK, "linear");
    CHECK(multiply(shared, CROWD_M, 1, x, CROWD_K, expected, CROWD_N) == SPARAMX_OK, "product");
    c.shared = shared;
    run_threads(8, crowd_member, &c);
    for (int i = 0; i < 8; i++) CHECK(c.good[i], "thread %d of a crowd", i);
    sparamx_linear_destroy(shared);
    sparamx_buffer_destroy(c.buffer);
    free(w);
    free(x);
    free(expected);
}

/* The first calls of a process, at the same time. */
static int32_t seen[8];
static void ask(int index, void *context) {
    (void)context;
    seen[index] = isa_level();
}
static void test_first_calls(void) {
    run_threads(8, ask, NULL);
    for (int i = 1; i < 8; i++) CHECK(seen[i] == seen[0], "thread %d sees level %d, not %d", i, seen[i], seen[0]);
}

int main(void) {
    test_first_calls();
    for (size_t i = 0; i < COUNT(weight_types); i++) {
        for (size_t j = 0; j < COUNT(packed_forms); j++) {
            test_same_bits(weight_types[i], packed_forms[j], MAX_N, weight_types[i] == SPARAMX_TYPE_Q8_0 ? MAX_K : 257);
            test_same_bits(weight_types[i], packed_forms[j], 16, 64);
        }
    }
    test_many_threads();
    test_packing();
    test_crowd();
    return check_end();
}
