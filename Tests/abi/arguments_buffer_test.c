/*
 * arguments_buffer_test - bad arguments for sparamx_buffer_*. After all of them the tensors are as they were.
 */
#define _GNU_SOURCE
#include "faults.h"

#include <stdlib.h>

enum { N = 33, K = 64, PAGE = 4096, SIZE = 8 * PAGE, BYTES = N * K * 2 };

static sparamx_buffer *buffer, *other;
static uint8_t *base, weights[BYTES], scratch[BYTES + 64];
static sparamx_tensor t; /* announced at base + PAGE and complete */

static const size_t huge[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 2 + 1, (size_t)1 << 62, (size_t)1 << 46};

static sparamx_tensor at(uint8_t *place) {
    sparamx_tensor moved = t;
    moved.data = place;
    return moved;
}

static sparamx_status init_at(uint8_t *place) {
    sparamx_tensor moved = at(place);
    return sparamx_buffer_init_tensor(buffer, &moved);
}

static sparamx_status create(size_t size, int32_t usage, int32_t form, int32_t threads, int32_t numa) {
    sparamx_buffer_options o = {.size = sizeof o, .usage = usage, .form = form, .pack_threads = threads, .numa = numa};
    sparamx_buffer *out = other;
    sparamx_status status = sparamx_buffer_create(size, &o, &out);
    if (status != SPARAMX_OK) CHECK(out == other, "a failed create wrote its result");
    else sparamx_buffer_destroy(out);
    return status;
}

static void test_create(void) {
    static const int32_t wrong[] = {-1, 7, 65, 9999, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        EXPECT(SPARAMX_ERR_RANGE, create(SIZE, wrong[i], 0, 0, 0));
        EXPECT(SPARAMX_ERR_RANGE, create(SIZE, 0, wrong[i], 0, 0));
        if (wrong[i] != 7) EXPECT(SPARAMX_ERR_RANGE, create(SIZE, 0, 0, wrong[i], 0));
        EXPECT(SPARAMX_ERR_RANGE, create(SIZE, 0, 0, 0, wrong[i]));
    }
    EXPECT(SPARAMX_ERR_RANGE, create(SIZE, 2, 0, 0, 0));
    EXPECT(SPARAMX_ERR_RANGE, create(SIZE, 0, SPARAMX_FORM_RAW, 0, 0));
    EXPECT(SPARAMX_OK, create(0, 0, 0, 0, 0));
    for (size_t i = 0; i < 4; i++) EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_NO_MEMORY, create(huge[i], 0, 0, 0, 0));
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_NO_MEMORY, create(sparamx_buffer_type_max_size() + 1, 0, 0, 0, 0));
    EXPECT_EITHER(SPARAMX_OK, SPARAMX_ERR_NO_MEMORY, create(sparamx_buffer_type_max_size(), 0, 0, 0, 0));
    OUT_FAULTS(sparamx_buffer *, p, sparamx_buffer_create(SIZE, NULL, p));
    sparamx_buffer_options good = {.size = sizeof good};
    STRUCT_FAULTS_IF_THERE(sparamx_buffer_options, p, good, sparamx_buffer_create(SIZE, p, &other));

    static const int32_t wrong_usage[] = {-1, 2, 9999, INT32_MIN};
    for (size_t i = 0; i < COUNT(wrong_usage); i++)
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_set_usage(buffer, wrong_usage[i]));
}

static void test_handles(void) {
    sparamx_tensor_info info = {.size = sizeof info};
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_set_usage(p, 0));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_init_tensor(p, &t));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_set_tensor(p, &t, weights, 0, 1));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_get_tensor(p, &t, scratch, 0, 1));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_memset_tensor(p, &t, 0, 0, 1));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_set_tensor_2d(p, &t, weights, 0, 1, 2, 4, 4));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_get_tensor_2d(p, &t, scratch, 0, 1, 2, 4, 4));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_copy_tensor(p, &t, &t));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_clear(p, 0));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_reset(p));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_tensor_info(p, &t, &info));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_verify_tensor(p, &t));
    _Alignas(64) static unsigned char zeros[512];
    sparamx_buffer *none[] = {NULL, (sparamx_buffer *)(void *)zeros, (sparamx_buffer *)(void *)(zeros + 8)};
    for (size_t i = 0; i < COUNT(none); i++) {
        CHECK(sparamx_buffer_base(none[i]) == NULL, "base of what is no buffer");
        CHECK(sparamx_buffer_size(none[i]) == 0, "size of what is no buffer");
        CHECK(sparamx_buffer_resident(none[i]) == 0, "resident bytes of what is no buffer");
        sparamx_buffer_destroy(none[i]);
    }
}

static void test_tensor_structs(void) {
    sparamx_tensor_info info = {.size = sizeof info};
    sparamx_tensor source = make_tensor(t.type, K, N, 1, 1, weights, NULL);
    size_t bytes = 77;
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_buffer_type_alloc_size(p, &bytes));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_buffer_init_tensor(buffer, p));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_buffer_set_tensor(buffer, p, weights, 0, 1));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_buffer_get_tensor(buffer, p, scratch, 0, 1));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_buffer_memset_tensor(buffer, p, 0, 0, 1));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_buffer_set_tensor_2d(buffer, p, weights, 0, 1, 2, 4, 4));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_buffer_get_tensor_2d(buffer, p, scratch, 0, 1, 2, 4, 4));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_buffer_copy_tensor(buffer, p, &t));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_buffer_copy_tensor(buffer, &source, p));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_buffer_tensor_info(buffer, p, &info));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_buffer_verify_tensor(buffer, p));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_supports_weight(p, SPARAMX_OP_MUL_MAT));
    sparamx_tensor_info good = {.size = sizeof good};
    STRUCT_FAULTS(sparamx_tensor_info, p, good, sparamx_buffer_tensor_info(buffer, &t, p));
    OUT_FAULTS(size_t, p, sparamx_buffer_type_alloc_size(&t, p));
    CHECK(bytes == 77, "a failed alloc_size wrote its result");
}

static void test_shapes(void) {
    static const int64_t wrong[] = {0, -1, INT64_MIN, INT64_MAX, INT64_MAX / 2, (int64_t)1 << 40};
    size_t bytes = 77;
    for (int d = 0; d < 4; d++) {
        for (size_t i = 0; i < COUNT(wrong); i++) {
            sparamx_tensor bad = t;
            bad.ne[d] = wrong[i];
            EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_RANGE, sparamx_buffer_type_alloc_size(&bad, &bytes));
            EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_RANGE, sparamx_buffer_init_tensor(buffer, &bad));
            EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_RANGE, sparamx_buffer_get_tensor(buffer, &bad, scratch, 0, 1));
            EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_RANGE, sparamx_supports_weight(&bad, SPARAMX_OP_MUL_MAT));
        }
        sparamx_tensor bad = t;
        for (int e = 0; e < 4; e++) bad.ne[e] = INT32_MAX; /* each is allowed, the product is absurd */
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_STRIDE, sparamx_supports_weight(&bad, SPARAMX_OP_MUL_MAT));
        for (size_t i = 0; i < COUNT(huge); i++) {
            bad = t;
            bad.ne[d] = 3;
            bad.nb[d] = huge[i];
            EXPECT_EITHER(SPARAMX_ERR_STRIDE, SPARAMX_ERR_RANGE, sparamx_buffer_type_alloc_size(&bad, &bytes));
            EXPECT_EITHER(SPARAMX_ERR_STRIDE, SPARAMX_ERR_RANGE, sparamx_supports_weight(&bad, SPARAMX_OP_MUL_MAT));
        }
    }
    sparamx_tensor q = make_tensor(SPARAMX_TYPE_Q8_0, 64, N, 1, 1, base, buffer);
    for (q.ne[0] = 1; q.ne[0] < 64; q.ne[0] += 10) {
        if (q.ne[0] % 32 == 0) continue;
        EXPECT(SPARAMX_ERR_SHAPE, sparamx_supports_weight(&q, SPARAMX_OP_MUL_MAT));
        EXPECT(SPARAMX_ERR_SHAPE, sparamx_buffer_type_alloc_size(&q, &bytes));
    }
    sparamx_tensor apart = t;
    apart.nb[1] += 2; /* not contiguous: allowed in a buffer, but no weight */
    EXPECT(SPARAMX_ERR_STRIDE, sparamx_supports_weight(&apart, SPARAMX_OP_MUL_MAT));
    apart = t, apart.nb[0] = 4;
    EXPECT(SPARAMX_ERR_STRIDE, sparamx_supports_weight(&apart, SPARAMX_OP_MUL_MAT));
    apart = t, apart.nb[0] = 0;
    EXPECT(SPARAMX_ERR_STRIDE, sparamx_supports_weight(&apart, SPARAMX_OP_MUL_MAT));

    static const int32_t wrong_types[] = {-1, 0, 4, 9, 15, 26, 31, 38, 9999, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT(wrong_types); i++) {
        sparamx_tensor bad = t;
        bad.type = wrong_types[i];
        EXPECT_EITHER(SPARAMX_ERR_TYPE, SPARAMX_ERR_STRIDE, sparamx_supports_weight(&bad, SPARAMX_OP_MUL_MAT));
    }
    static const int32_t wrong_kinds[] = {-1, 0, 5, 9999, INT32_MIN};
    for (size_t i = 0; i < COUNT(wrong_kinds); i++) EXPECT(SPARAMX_ERR_OP, sparamx_supports_weight(&t, wrong_kinds[i]));
    EXPECT(SPARAMX_OK, sparamx_supports_weight(&t, SPARAMX_OP_MUL_MAT));
}

static void test_places(void) {
    size_t resident = sparamx_buffer_resident(buffer);
    EXPECT(SPARAMX_ERR_NULL, init_at(NULL));
    EXPECT(SPARAMX_ERR_RANGE, init_at(base - PAGE));
    EXPECT(SPARAMX_ERR_RANGE, init_at(base + SIZE));
    EXPECT(SPARAMX_ERR_RANGE, init_at(base + SIZE - PAGE)); /* starts inside, ends outside */
    EXPECT(SPARAMX_ERR_RANGE, init_at((uint8_t *)(uintptr_t)PAGE));
    EXPECT(SPARAMX_ERR_RANGE, init_at((uint8_t *)(UINTPTR_MAX - PAGE + 1)));
    EXPECT(SPARAMX_ERR_ALIGNMENT, init_at(base + 4 * PAGE + 1));
    EXPECT(SPARAMX_ERR_ALIGNMENT, init_at(base + 4 * PAGE + 64));
    EXPECT(SPARAMX_ERR_ALIGNMENT, init_at(base + 4 * PAGE + PAGE / 2));
    EXPECT(SPARAMX_ERR_OVERLAP, init_at(base));            /* its end cuts into t */
    EXPECT(SPARAMX_ERR_OVERLAP, init_at(base + 2 * PAGE)); /* its begin does */
    sparamx_tensor larger = make_tensor(t.type, K, 2 * N, 1, 1, t.data, buffer);
    EXPECT(SPARAMX_ERR_OVERLAP, sparamx_buffer_init_tensor(buffer, &larger));
    sparamx_tensor view = make_tensor(t.type, K, 2, 1, 1, (uint8_t *)t.data + 2 * K * 3, buffer);
    EXPECT(SPARAMX_OK, sparamx_buffer_init_tensor(buffer, &view));

    sparamx_tensor other_shape = make_tensor(t.type, N, K, 1, 1, t.data, buffer);
    EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_FOREIGN,
                  sparamx_buffer_get_tensor(buffer, &other_shape, scratch, 0, 1));
    EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_FOREIGN,
                  sparamx_buffer_set_tensor(buffer, &other_shape, weights, 0, BYTES));
    sparamx_tensor other_type = t;
    other_type.type = SPARAMX_TYPE_F16;
    EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_FOREIGN,
                  sparamx_buffer_get_tensor(buffer, &other_type, scratch, 0, 1));
    sparamx_tensor unknown = at(base + 4 * PAGE);
    sparamx_tensor_info info = {.size = sizeof info};
    EXPECT(SPARAMX_ERR_FOREIGN, sparamx_buffer_get_tensor(buffer, &unknown, scratch, 0, 1));
    EXPECT(SPARAMX_ERR_FOREIGN, sparamx_buffer_tensor_info(buffer, &unknown, &info));
    EXPECT(SPARAMX_ERR_FOREIGN, sparamx_buffer_verify_tensor(buffer, &unknown));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_get_tensor(other, &t, scratch, 0, 1)); /* of another buffer */
    EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_set_tensor(other, &t, weights, 0, 1));
    CHECK(sparamx_buffer_resident(buffer) == resident, "refused tensors take memory");
}

static void test_ranges(void) {
    sparamx_tensor free_place = at(base + 4 * PAGE);
    memset(scratch, 0x5a, sizeof scratch);
    for (size_t i = 0; i < COUNT(huge); i++) {
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_set_tensor(buffer, &t, weights, huge[i], 1));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP,
                      sparamx_buffer_set_tensor(buffer, &t, weights, 0, huge[i]));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP,
                      sparamx_buffer_set_tensor(buffer, &t, weights, huge[i], huge[i]));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_set_tensor(buffer, &free_place, weights, huge[i], 1));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_get_tensor(buffer, &t, scratch, huge[i], 1));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP,
                      sparamx_buffer_get_tensor(buffer, &t, scratch, 0, huge[i]));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_memset_tensor(buffer, &t, 1, huge[i], 1));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_memset_tensor(buffer, &t, 1, 0, huge[i]));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP,
                      sparamx_buffer_set_tensor_2d(buffer, &t, weights, huge[i], 1, 2, 2, 2));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP,
                      sparamx_buffer_set_tensor_2d(buffer, &t, weights, 0, huge[i], 2, 2, 2));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP,
                      sparamx_buffer_set_tensor_2d(buffer, &t, weights, 0, 1, huge[i], 2, 2));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP,
                      sparamx_buffer_set_tensor_2d(buffer, &t, weights, 0, 1, 2, huge[i], 2));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP,
                      sparamx_buffer_set_tensor_2d(buffer, &t, weights, 0, 1, 3, 2, SIZE_MAX - 1 - huge[i] / 4));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP,
                      sparamx_buffer_get_tensor_2d(buffer, &t, scratch, 0, 1, huge[i], 2, 2));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP,
                      sparamx_buffer_get_tensor_2d(buffer, &t, scratch, huge[i], 1, 1, 2, 2));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP,
                      sparamx_buffer_get_tensor_2d(buffer, &t, scratch, 0, huge[i], 1, 0, 0));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP,
                      sparamx_buffer_get_tensor_2d(buffer, &t, scratch, 0, 1, 2, huge[i], 2));
    }
    static const struct {
        size_t offset, size;
    } wrong[] = {{0, BYTES + 1}, {1, BYTES}, {BYTES, 1}, {BYTES + 1, 0}, {BYTES - 1, 2}};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_set_tensor(buffer, &t, weights, wrong[i].offset, wrong[i].size));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_get_tensor(buffer, &t, scratch, wrong[i].offset, wrong[i].size));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_memset_tensor(buffer, &t, 1, wrong[i].offset, wrong[i].size));
    }
    EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_set_tensor_2d(buffer, &t, weights, 0, 2, N + 1, 2 * K, 2));
    /* Copies times stride is 2^64. */
    static const struct {
        size_t copies, stride;
    } wraps[] = {{((size_t)1 << 32) + 1, (size_t)1 << 32}, {((size_t)1 << 62) + 1, 4}, {5, (size_t)1 << 62}};
    for (size_t i = 0; i < COUNT(wraps); i++) {
        size_t copies = wraps[i].copies, stride = wraps[i].stride;
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_set_tensor_2d(buffer, &t, weights, 0, 4, copies, stride, 0));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_get_tensor_2d(buffer, &t, scratch, 0, 1, copies, stride, 1));
    }
    EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_set_tensor_2d(buffer, &t, weights, 0, 4, 5, 4, (size_t)1 << 62));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_get_tensor_2d(buffer, &t, scratch, 0, 4, 5, 4, (size_t)1 << 62));
    EXPECT(SPARAMX_OK, sparamx_buffer_set_tensor(buffer, &t, weights, BYTES, 0));
    EXPECT(SPARAMX_OK, sparamx_buffer_get_tensor(buffer, &t, scratch, BYTES, 0));
    EXPECT(SPARAMX_OK, sparamx_buffer_set_tensor_2d(buffer, &t, weights, 0, 1, 0, 2, 2));
    EXPECT(SPARAMX_ERR_STRIDE, sparamx_buffer_set_tensor_2d(buffer, &t, weights, 0, 4, 2, 3, 4)); /* pieces overlap */
    EXPECT(SPARAMX_ERR_STRIDE, sparamx_buffer_set_tensor_2d(buffer, &t, weights, 0, 4, 2, 0, 4));
    EXPECT(SPARAMX_ERR_STRIDE, sparamx_buffer_get_tensor_2d(buffer, &t, scratch, 0, 4, 2, 4, 3));
    EXPECT(SPARAMX_ERR_STRIDE, sparamx_buffer_get_tensor_2d(buffer, &t, scratch, 0, 4, 2, 4, 0));

    EXPECT(SPARAMX_ERR_NULL, sparamx_buffer_set_tensor(buffer, &t, NULL, 0, 1));
    EXPECT(SPARAMX_ERR_NULL, sparamx_buffer_get_tensor(buffer, &t, NULL, 0, 1));
    EXPECT(SPARAMX_ERR_NULL, sparamx_buffer_set_tensor_2d(buffer, &t, NULL, 0, 1, 1, 2, 2));
    EXPECT(SPARAMX_ERR_NULL, sparamx_buffer_get_tensor_2d(buffer, &t, NULL, 0, 1, 1, 2, 2));
    EXPECT(SPARAMX_ERR_OVERLAP, sparamx_buffer_set_tensor(buffer, &t, base + 100, 0, 10)); /* never host memory */
    EXPECT(SPARAMX_ERR_OVERLAP, sparamx_buffer_get_tensor(buffer, &t, base + 100, 0, 10));
    EXPECT(SPARAMX_ERR_OVERLAP, sparamx_buffer_set_tensor_2d(buffer, &t, base + 100, 0, 1, 2, 2, 2));
    EXPECT(SPARAMX_ERR_OVERLAP, sparamx_buffer_get_tensor_2d(buffer, &t, base + 100, 0, 1, 2, 2, 2));
    for (size_t i = 0; i < sizeof scratch; i++) {
        if (scratch[i] != 0x5a) { CHECK(false, "a failed read wrote byte %zu", i); break; }
    }
}

static void test_copy(void) {
    sparamx_tensor source = make_tensor(t.type, K, N, 1, 1, weights, NULL), bad = source;
    bad.type = SPARAMX_TYPE_F16;
    EXPECT_EITHER(SPARAMX_ERR_TYPE, SPARAMX_ERR_SHAPE, sparamx_buffer_copy_tensor(buffer, &bad, &t));
    bad = make_tensor(t.type, K, N - 1, 1, 1, weights, NULL);
    EXPECT(SPARAMX_ERR_SHAPE, sparamx_buffer_copy_tensor(buffer, &bad, &t));
    bad = make_tensor(t.type, K, N, 1, 1, NULL, NULL);
    EXPECT(SPARAMX_ERR_NULL, sparamx_buffer_copy_tensor(buffer, &bad, &t));
    bad = at(base + 4 * PAGE); /* nobody announced it */
    EXPECT(SPARAMX_ERR_FOREIGN, sparamx_buffer_copy_tensor(buffer, &bad, &t));
    bad = t, bad.buffer = other;
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_OK, sparamx_buffer_copy_tensor(buffer, &bad, &t));
    _Alignas(64) static unsigned char zeros[512];
    bad = at(base + 4 * PAGE), bad.buffer = (sparamx_buffer *)(void *)zeros;
    EXPECT(SPARAMX_ERR_STATE, sparamx_buffer_copy_tensor(buffer, &bad, &t));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_copy_tensor(other, &source, &t)); /* dst is not in that buffer */
    bad = t, bad.data = NULL;
    EXPECT(SPARAMX_ERR_NULL, sparamx_buffer_copy_tensor(buffer, &source, &bad));
    bad = t, bad.buffer = NULL; /* says it is host memory, and is not */
    bad.data = base + 4 * PAGE;
    EXPECT(SPARAMX_ERR_OVERLAP, sparamx_buffer_copy_tensor(buffer, &bad, &t));
    EXPECT(SPARAMX_OK, sparamx_buffer_copy_tensor(buffer, &t, &t));
}

int main(void) {
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.5, 1, weights);
    EXPECT(SPARAMX_OK, sparamx_buffer_create(SIZE, NULL, &buffer));
    EXPECT(SPARAMX_OK, sparamx_buffer_create(SIZE, NULL, &other));
    base = sparamx_buffer_base(buffer);
    t = make_tensor(SPARAMX_TYPE_BF16, K, N, 1, 1, base + PAGE, buffer);
    EXPECT(SPARAMX_OK, sparamx_buffer_set_tensor(buffer, &t, weights, 0, BYTES));
    test_create();
    test_handles();
    test_tensor_structs();
    test_shapes();
    test_places();
    test_ranges();
    test_copy();
    EXPECT(SPARAMX_OK, sparamx_buffer_get_tensor(buffer, &t, scratch, 0, BYTES));
    CHECK(memcmp(scratch, weights, BYTES) == 0, "other contents after bad arguments");
    float x[K], y[N];
    fill_activations(K, 2, x);
    sparamx_tensor xt = make_tensor(SPARAMX_TYPE_F32, K, 1, 1, 1, x, NULL),
                   yt = make_tensor(SPARAMX_TYPE_F32, N, 1, 1, 1, y, NULL);
    sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &yt, .weight = &t, .x = &xt};
    EXPECT(SPARAMX_OK, multiply_op(&op, 2));
    CHECK(count_wrong(t.type, N, K, weights, 1, x, K, y, N) == 0, "wrong results after bad arguments");
    sparamx_buffer_destroy(buffer);
    sparamx_buffer_destroy(other);
    return check_end();
}
