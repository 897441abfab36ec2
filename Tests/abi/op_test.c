/*
 * op_test - products as a ggml host asks for them: MUL_MAT with three and four dimensions, broadcasting, strides and
 * weights that are not packed, against a plain loop; what supports_op and work_size say before there is any data.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SPACE = 1 << 22, GAP = 0x7f };

typedef struct problem {
    int32_t type;
    int64_t n, k, m;
    int64_t b2, b3; /* matrices */
    int64_t x2, x3; /* multiples of them */
    int64_t pad;    /* floats between rows, planes and blocks of x and dst */
} problem;

static const problem problems[] = {
    {SPARAMX_TYPE_BF16, 17, 33, 1, 1, 1, 1, 1, 0},  {SPARAMX_TYPE_BF16, 40, 70, 5, 2, 1, 2, 1, 0},
    {SPARAMX_TYPE_BF16, 33, 64, 3, 2, 2, 4, 2, 3},  {SPARAMX_TYPE_F16, 20, 31, 2, 1, 1, 3, 2, 0},
    {SPARAMX_TYPE_F16, 16, 100, 18, 2, 3, 4, 3, 5}, {SPARAMX_TYPE_Q8_0, 35, 96, 6, 1, 2, 3, 4, 1},
    {SPARAMX_TYPE_Q8_0, 16, 32, 40, 3, 1, 3, 2, 0}, {SPARAMX_TYPE_BF16, 33, 65, 34, 2, 2, 2, 2, 7}};

enum { PACKED_DENSE, PACKED_SPARSE, RAW_IN_BUFFER, HOST_MEMORY, PLACES };
static const char *const places[] = {"dense", "sparse", "raw in a buffer", "in the host's memory"};

/* A float32 tensor with gaps between rows, planes and blocks. */
static sparamx_tensor floats(int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3, int64_t pad, size_t *count) {
    sparamx_tensor t = make_tensor(SPARAMX_TYPE_F32, ne0, ne1, ne2, ne3, NULL, NULL);
    t.nb[1] = (uint64_t)(ne0 + pad) * 4;
    t.nb[2] = t.nb[1] * (uint64_t)ne1 + (uint64_t)pad * 8;
    t.nb[3] = t.nb[2] * (uint64_t)ne2 + (uint64_t)pad * 16;
    *count = (size_t)(t.nb[3] * (uint64_t)ne3) / 4;
    return t;
}

/* Every result within the bound, every gap untouched. */
static bool right(const problem *p, const uint8_t *w, const sparamx_tensor *x, const sparamx_tensor *y) {
    int64_t wrong = 0;
    size_t matrix = row_bytes(p->type, p->k) * (size_t)p->n;
    for (int64_t i3 = 0; i3 < p->x3; i3++) {
        for (int64_t i2 = 0; i2 < p->x2; i2++) {
            int64_t which = i3 / (p->x3 / p->b3) * p->b2 + i2 / (p->x2 / p->b2);
            const char *xs = (char *)x->data + (uint64_t)i3 * x->nb[3] + (uint64_t)i2 * x->nb[2];
            const char *ys = (char *)y->data + (uint64_t)i3 * y->nb[3] + (uint64_t)i2 * y->nb[2];
            wrong += count_wrong(p->type, p->n, p->k, w + (size_t)which * matrix, p->m, (const float *)(const void *)xs,
                                 (int64_t)(x->nb[1] / 4), (const float *)(const void *)ys, (int64_t)(y->nb[1] / 4));
        }
    }
    size_t written = 0, filled = (size_t)(p->n * p->m * p->x2 * p->x3);
    const uint32_t *bits = y->data;
    for (size_t i = 0; i < (size_t)(y->nb[3] * (uint64_t)p->x3) / 4; i++) written += bits[i] != 0x7f7f7f7f;
    return wrong == 0 && written == filled;
}

static void test_problem(const problem *p, int place) {
    sparamx_buffer_options o = {.size = sizeof o,
                                .usage = place == RAW_IN_BUFFER ? SPARAMX_USAGE_ANY : SPARAMX_USAGE_WEIGHTS,
                                .form = place == PACKED_SPARSE ? SPARAMX_FORM_SPARSE : SPARAMX_FORM_DENSE};
    sparamx_buffer *buffer = NULL;
    if (!CHECK(sparamx_buffer_create(SPACE, &o, &buffer) == SPARAMX_OK, "a buffer")) return;
    size_t x_count, y_count, bytes = row_bytes(p->type, p->k) * (size_t)(p->n * p->b2 * p->b3);
    uint8_t *w = must_allocate(bytes);
    fill_weights(p->type, p->n * p->b2 * p->b3, p->k, 0.5, 3, w);
    sparamx_tensor wt = make_tensor(p->type, p->k, p->n, p->b2, p->b3, NULL, NULL);
    sparamx_tensor x = floats(p->k, p->m, p->x2, p->x3, p->pad, &x_count),
                   y = floats(p->n, p->m, p->x2, p->x3, p->pad, &y_count);
    sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &y, .weight = &wt, .x = &x};

    /* A host asks before it has anything but shapes. */
    size_t early = 0, early3 = 0, late = 0, late3 = 0;
    CHECK(sparamx_supports_weight(&wt, SPARAMX_OP_MUL_MAT) == SPARAMX_OK && sparamx_supports_op(&op) == SPARAMX_OK,
          "asked without data");
    CHECK(sparamx_work_size(&op, 1, &early) == SPARAMX_OK && sparamx_work_size(&op, 3, &early3) == SPARAMX_OK &&
              early3 >= early,
          "work size without data");
    if (place == HOST_MEMORY) {
        wt.data = w;
    } else {
        wt.buffer = buffer;
        wt.data = (char *)sparamx_buffer_base(buffer) + 8192;
        CHECK(sparamx_supports_op(&op) == SPARAMX_OK && sparamx_work_size(&op, 1, &late) == SPARAMX_OK && late <= early,
              "asked before it is announced");
        CHECK(sparamx_buffer_init_tensor(buffer, &wt) == SPARAMX_OK && sparamx_supports_op(&op) == SPARAMX_OK,
              "announced");
        CHECK(sparamx_buffer_set_tensor(buffer, &wt, w, 0, bytes) == SPARAMX_OK, "upload");
    }
    x.data = must_allocate(x_count * 4);
    y.data = must_allocate(y_count * 4);
    fill_activations((int64_t)x_count, 5, x.data);
    CHECK(sparamx_supports_op(&op) == SPARAMX_OK && sparamx_work_size(&op, 1, &late) == SPARAMX_OK &&
          sparamx_work_size(&op, 3, &late3) == SPARAMX_OK, "asked with data");
    CHECK(late <= early && late3 <= early3, "needs more with data (%zu, %zu) than without (%zu, %zu)", late, late3,
          early, early3);
    float *first = must_allocate(y_count * 4);
    for (int threads = 1; threads <= 4; threads++) {
        memset(y.data, GAP, y_count * 4);
        sparamx_status status = multiply_op(&op, threads);
        CHECK(status == SPARAMX_OK && right(p, w, &x, &y), "%s %s, problem %d, %d threads: status %d",
              type_name(p->type), places[place], (int)(p - problems), threads, status);
        if (threads == 1) memcpy(first, y.data, y_count * 4);
        CHECK(memcmp(first, y.data, y_count * 4) == 0, "%d threads give another result", threads);
    }
    free(first);
    free(x.data);
    free(y.data);
    free(w);
    sparamx_buffer_destroy(buffer);
}

/* x repeated by strides of 0, as a host broadcasts it without copying. */
static void test_zero_strides(void) {
    enum { N = 20, K = 64, M = 2 };
    uint8_t w[N * K * 2];
    float x[M * K], y[3 * 2 * M * N];
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.5, 3, w);
    fill_activations(M * K, 1, x);
    sparamx_tensor wt = make_tensor(SPARAMX_TYPE_BF16, K, N, 1, 1, w, NULL);
    sparamx_tensor xt = make_tensor(SPARAMX_TYPE_F32, K, M, 3, 2, x, NULL),
                   yt = make_tensor(SPARAMX_TYPE_F32, N, M, 3, 2, y, NULL);
    xt.nb[2] = xt.nb[3] = 0;
    sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &yt, .weight = &wt, .x = &xt};
    CHECK(multiply_op(&op, 2) == SPARAMX_OK, "planes of x that are one");
    int64_t wrong = 0;
    for (int i = 0; i < 6; i++) wrong += count_wrong(SPARAMX_TYPE_BF16, N, K, w, M, x, K, y + i * M * N, N);
    CHECK(wrong == 0, "planes of x that are one: %lld wrong", (long long)wrong);
}

/* Infinities and NaN come through, and stay in their rows. */
static void test_special_values(void) {
    enum { N = 32, K = 64 };
    for (size_t f = 0; f < COUNT(packed_forms); f++) {
        for (size_t i = 0; i < COUNT(weight_types); i++) {
            int32_t type = weight_types[i];
            uint8_t w[N * K * 2 + N * 8];
            float x[K], y[N];
            uint16_t infinity = type == SPARAMX_TYPE_BF16 ? 0x7f80 : 0x7c00;
            fill_weights(type, N, K, 0.5, 3, w);
            memcpy(w + row_bytes(type, K) * 3, &infinity, 2); /* a weight, or the scale of a block */
            for (int l = 0; l < K; l++) x[l] = 1;
            sparamx_linear_options o = {.size = sizeof o, .form = packed_forms[f]};
            sparamx_linear *linear = NULL;
            CHECK(sparamx_linear_create(type, N, K, w, 0, &o, &linear) == SPARAMX_OK, "linear");
            CHECK(multiply(linear, 1, 1, x, K, y, N) == SPARAMX_OK, "product");
            bool others = true;
            for (int j = 0; j < N; j++) others = others && (j == 3 || isfinite(y[j]));
            CHECK(!isfinite(y[3]) && others, "%s %s: an infinite weight gives %g", type_name(type),
                  form_name(packed_forms[f]), (double)y[3]);
            sparamx_linear_destroy(linear);
        }
    }
}

int main(void) {
    for (size_t i = 0; i < COUNT(problems); i++) {
        for (int place = 0; place < PLACES; place++) test_problem(&problems[i], place);
    }
    test_zero_strides();
    test_special_values();
    return check_end();
}
