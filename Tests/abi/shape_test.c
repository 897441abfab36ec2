/*
 * shape_test - strides that a host may describe a tensor with, held against every byte they reach: rows of a result
 * that the library accepts never overlap, whatever dimension is one, and alloc_size has room for a tensor with its
 * dimensions in any order.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

static uint64_t state = 1;
static int64_t below(int64_t n) { return (int64_t)(random_next(&state) % (uint64_t)n); }

/* Whether two rows of the tensor share a byte. */
static bool rows_overlap(const sparamx_tensor *t) {
    static uint8_t touched[1 << 16];
    memset(touched, 0, sizeof touched);
    for (int64_t i = 0; i < t->ne[1] * t->ne[2] * t->ne[3]; i++) {
        int64_t i1 = i % t->ne[1], i2 = i / t->ne[1] % t->ne[2], i3 = i / t->ne[1] / t->ne[2];
        size_t at = (size_t)i1 * t->nb[1] + (size_t)i2 * t->nb[2] + (size_t)i3 * t->nb[3];
        for (size_t j = 0; j < (size_t)t->ne[0] * 4; j++) {
            if (at + j >= sizeof touched) exit(2);
            if (touched[at + j]++) return true;
        }
    }
    return false;
}

static void test_results(void) {
    enum { K = 32 };
    long accepted = 0, refused = 0, wrong = 0;
    for (int round = 0; round < 20000; round++) {
        int64_t n = 1 + below(4), ne1 = 1 + below(3), ne2 = 1 + below(3), ne3 = 1 + below(3);
        sparamx_tensor w = make_tensor(SPARAMX_TYPE_BF16, K, n, 1, 1, NULL, NULL),
                       x = make_tensor(SPARAMX_TYPE_F32, K, ne1, ne2, ne3, NULL, NULL),
                       y = make_tensor(SPARAMX_TYPE_F32, n, ne1, ne2, ne3, NULL, NULL);
        for (int i = 1; i < 4; i++) {
            /* As it should be, smaller or larger; of a dimension of one anything. */
            if (below(2) == 0) y.nb[i] = y.nb[i] + (uint64_t)below(4) * 4 - (below(3) == 0 && y.nb[i] > 0 ? 4 : 0);
            if (below(8) == 0) y.nb[i] = (uint64_t)below(16) * 4;
            if (i < 3 && below(2) == 0) y.nb[i + 1] = y.nb[i] * (uint64_t)y.ne[i];
        }
        sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &y, .weight = &w, .x = &x};
        sparamx_op up = op;
        up.kind = SPARAMX_OP_UP_GATE, up.weight2 = &w;
        sparamx_status status = sparamx_supports_op(&op), fused = sparamx_supports_op(&up);
        bool overlap = rows_overlap(&y);
        wrong += status != fused || (status == SPARAMX_OK && overlap) ||
                 (status != SPARAMX_OK && status != SPARAMX_ERR_STRIDE);
        status == SPARAMX_OK ? accepted++ : refused++;
    }
    CHECK(wrong == 0, "%ld results are accepted whose rows overlap, or refused for another reason", wrong);
    CHECK(accepted > 500 && refused > 500, "%ld accepted, %ld refused", accepted, refused);
}

/* The last byte that the tensor reaches, in any order of its dimensions. */
static void test_alloc_size(void) {
    static const int32_t types[] = {SPARAMX_TYPE_F32, SPARAMX_TYPE_F16, SPARAMX_TYPE_BF16, SPARAMX_TYPE_I32};
    static const size_t bytes[] = {4, 2, 2, 4};
    size_t page = sparamx_buffer_type_alignment();
    for (int round = 0; round < 2000; round++) {
        size_t kind = (size_t)below((int64_t)COUNT(types)), size = 0, end = bytes[kind];
        int64_t rows = 1 + below(90), planes = 1 + below(3);
        sparamx_tensor t = make_tensor(types[kind], 1 + below(90), rows, planes, 1 + below(3), NULL, NULL);
        int order[4] = {0, 1, 2, 3};
        for (int i = 3; i > 0; i--) {
            int j = (int)below(i + 1), kept = order[i];
            order[i] = order[j], order[j] = kept;
        }
        uint64_t stride = bytes[kind];
        for (int i = 0; i < 4; i++) t.nb[order[i]] = stride, stride *= (uint64_t)t.ne[order[i]];
        for (int i = 0; i < 4; i++) end += (size_t)(t.ne[i] - 1) * t.nb[i];
        sparamx_status status = sparamx_buffer_type_alloc_size(&t, &size);
        if (!CHECK(status == SPARAMX_OK && size >= end && size < end + page,
                   "type %d, %lld x %lld, dimension %d first: status %d, %zu bytes for %zu", t.type, (long long)t.ne[0],
                   (long long)t.ne[1], order[0], status, size, end))
            break;
    }
}

int main(void) {
    test_results();
    test_alloc_size();
    return check_end();
}
