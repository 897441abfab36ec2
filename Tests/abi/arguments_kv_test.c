/*
 * arguments_kv_test - bad arguments for key-value caches and attention. Nothing is written when a call is refused;
 * afterwards the cache is as it was.
 */
#define _GNU_SOURCE
#include "faults.h"
#include "kv.h"

#include <math.h>
#include <stdlib.h>

enum { CELLS = 130, HEADS = 2, DIM = 64, T = 2, H = 4, WORK = 1 << 18 };

static sparamx_kv *kv, *attached, *other;
static uint16_t rows[CELLS * HEADS * DIM], mask[CELLS * T];
static float q[DIM * T * H + 4], dst[DIM * T * H + 4], before[DIM * T * H + 4], sinks[H + 1];
static _Alignas(64) uint8_t work[WORK + 64];

static sparamx_kv_options good_options(void) { return kv_options(SPARAMX_TYPE_F16, HEADS, DIM, DIM, CELLS); }

/* -- caches -------------------------------------------------------------------------------------------------------- */

static sparamx_status create(sparamx_kv_options o) {
    sparamx_kv *made = (sparamx_kv *)(void *)rows;
    sparamx_status status = sparamx_kv_create(&o, &made);
    CHECK((status == SPARAMX_OK) == (made != (sparamx_kv *)(void *)rows), "create: %d", status);
    if (status == SPARAMX_OK) sparamx_kv_destroy(made);
    return status;
}

/* The options with one field changed give this status. */
#define WRONG_OPTION(status, field, ...) \
    do { \
        sparamx_kv_options o_ = good_options(); \
        o_.field = __VA_ARGS__; \
        EXPECT(status, create(o_)); \
    } while (0)

static void test_create(void) {
    static const int32_t wrong_types[] = {-1, 2, 14, 26, 31, 9999, INT32_MAX, INT32_MIN};
    static const int32_t wrong_dims[] = {0, -16, 8, 65, 520, 528, 1024, INT32_MAX, INT32_MIN};
    static const float wrong_shares[] = {-0.1f, 0.96f, 1, NAN, INFINITY, -INFINITY};
    EXPECT(SPARAMX_OK, create(good_options()));
    for (size_t i = 0; i < COUNT(wrong_types); i++) {
        WRONG_OPTION(SPARAMX_ERR_TYPE, type_k, wrong_types[i]);
        WRONG_OPTION(SPARAMX_ERR_TYPE, type_v, wrong_types[i]);
    }
    for (size_t i = 0; i < COUNT(wrong_dims); i++) {
        WRONG_OPTION(SPARAMX_ERR_SHAPE, k_dim, wrong_dims[i]);
        WRONG_OPTION(SPARAMX_ERR_SHAPE, v_dim, wrong_dims[i]);
    }
    for (size_t i = 0; i < COUNT(wrong_shares); i++) {
        WRONG_OPTION(SPARAMX_ERR_RANGE, k_zeros, wrong_shares[i]);
        WRONG_OPTION(SPARAMX_ERR_RANGE, v_zeros, wrong_shares[i]);
    }
    static const int32_t wrong_values[] = {-1, 2, INT32_MAX};
    for (size_t i = 0; i < COUNT(wrong_values); i++) WRONG_OPTION(SPARAMX_ERR_RANGE, values, wrong_values[i]);
    static const int32_t wrong_heads[] = {0, -1, 1025, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT(wrong_heads); i++) WRONG_OPTION(SPARAMX_ERR_RANGE, heads, wrong_heads[i]);
    static const int64_t wrong_cells[] = {0, -1, (int64_t)INT32_MAX + 1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < COUNT(wrong_cells); i++) WRONG_OPTION(SPARAMX_ERR_RANGE, cells, wrong_cells[i]);
    WRONG_OPTION(SPARAMX_ERR_RANGE, window, -2);
    WRONG_OPTION(SPARAMX_ERR_RANGE, sinks, INT32_MIN);
    WRONG_OPTION(SPARAMX_ERR_RANGE, reserved, 1);
    WRONG_OPTION(SPARAMX_ERR_STRIDE, k_stride, 4096);
    WRONG_OPTION(SPARAMX_ERR_NULL, k_rows, rows);
    WRONG_OPTION(SPARAMX_ERR_NULL, v_rows, rows);
    sparamx_kv_options o = good_options();
    o.type_k = SPARAMX_TYPE_Q8_0, o.k_dim = 80;
    EXPECT(SPARAMX_ERR_SHAPE, create(o)); /* heads of whole blocks */
    static const int32_t no_kept[] = {SPARAMX_TYPE_F32, SPARAMX_TYPE_Q8_0};
    for (size_t i = 0; i < COUNT(no_kept); i++) {
        o = good_options();
        o.values = SPARAMX_KV_KEPT, o.type_v = no_kept[i];
        EXPECT(SPARAMX_ERR_TYPE, create(o));
    }
    o = good_options();
    o.k_rows = rows, o.v_rows = rows;
    EXPECT(SPARAMX_OK, create(o)); /* keys that are values, too */
    static const uint64_t wrong_strides[] = {1, HEADS * DIM * 2 - 2, HEADS * DIM * 2 + 1, UINT64_MAX,
                                             (uint64_t)1 << 63};
    for (size_t i = 0; i < COUNT(wrong_strides); i++) {
        o.k_stride = wrong_strides[i], o.v_stride = 0;
        EXPECT(SPARAMX_ERR_STRIDE, create(o));
        o.k_stride = 0, o.v_stride = wrong_strides[i];
        EXPECT(SPARAMX_ERR_STRIDE, create(o));
    }
    o.k_stride = (uint64_t)1 << 61, o.v_stride = 0;
    EXPECT(SPARAMX_ERR_RANGE, create(o));
    o.k_stride = 0, o.k_rows = (const char *)rows + 1;
    EXPECT(SPARAMX_ERR_ALIGNMENT, create(o));
    o.k_rows = (const void *)(UINTPTR_MAX - 99);
    EXPECT(SPARAMX_ERR_RANGE, create(o));
    o = good_options();
    o.heads = 1024, o.cells = INT32_MAX, o.k_dim = o.v_dim = 512, o.type_k = o.type_v = SPARAMX_TYPE_F32;
    EXPECT(SPARAMX_ERR_NO_MEMORY, create(o)); /* petabytes */
    sparamx_kv *made;
    sparamx_kv_options fine = good_options();
    STRUCT_FAULTS(sparamx_kv_options, p, good_options(), sparamx_kv_create(p, &made));
    OUT_FAULTS(sparamx_kv *, p, sparamx_kv_create(&fine, p));
}

static void test_cells(void) {
    static const int64_t wrong[][2] = {
        {-1, 1},        {0, -1},   {0, CELLS + 1},         {CELLS, 1},            {CELLS + 1, 0},
        {INT64_MAX, 1}, {1, CELLS}, {INT64_MAX, INT64_MAX}, {INT64_MIN, INT64_MIN}, {0, INT64_MAX}};
    float *one = must_allocate(HEADS * DIM * 4);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        int64_t first = wrong[i][0], n = wrong[i][1];
        EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_touch(attached, first, n));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_remove(kv, first, n));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_read(kv, first, n, one, one));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_copy(kv, first, kv, 0, n));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_copy(kv, 0, kv, first, n));
        int64_t cell = first < 0 || first >= CELLS ? first : CELLS;
        EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_write(kv, &cell, 1, rows, 0, rows, 0));
    }
    int64_t cells[2] = {3, 0};
    EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_write(kv, cells, -1, rows, 0, rows, 0));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_write(kv, cells, INT64_MAX, rows, 0, rows, 0));
    EXPECT(SPARAMX_OK, sparamx_kv_write(kv, NULL, 0, NULL, 0, NULL, 0));
    EXPECT(SPARAMX_ERR_NULL, sparamx_kv_write(kv, NULL, 1, rows, 0, rows, 0));
    EXPECT(SPARAMX_ERR_NULL, sparamx_kv_write(kv, cells, 1, NULL, 0, rows, 0));
    EXPECT(SPARAMX_ERR_NULL, sparamx_kv_write(kv, cells, 1, rows, 0, NULL, 0));
    EXPECT(SPARAMX_ERR_ALIGNMENT, sparamx_kv_write(kv, (const int64_t *)(const void *)((char *)cells + 4), 1, rows, 0,
                                                   rows, 0));
    EXPECT(SPARAMX_ERR_ALIGNMENT, sparamx_kv_write(kv, cells, 1, (char *)rows + 1, 0, rows, 0));
    EXPECT(SPARAMX_ERR_STRIDE, sparamx_kv_write(kv, cells, 2, rows, HEADS * DIM * 2 - 2, rows, 0));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_write(kv, cells, 2, (void *)(UINTPTR_MAX - 511), 0, rows, 0));
    EXPECT(SPARAMX_ERR_STATE, sparamx_kv_write(attached, cells, 1, rows, 0, rows, 0));
    EXPECT(SPARAMX_ERR_STATE, sparamx_kv_touch(kv, 0, 1));
    EXPECT(SPARAMX_ERR_STATE, sparamx_kv_copy(attached, 0, kv, 0, 1));
    EXPECT(SPARAMX_ERR_SHAPE, sparamx_kv_copy(other, 0, kv, 0, 1));
    EXPECT(SPARAMX_ERR_INCOMPLETE, sparamx_kv_read(kv, CELLS - 2, 2, one, one));
    EXPECT(SPARAMX_ERR_ALIGNMENT, sparamx_kv_read(kv, 0, 1, (float *)(void *)((char *)one + 2), NULL));
    EXPECT(SPARAMX_OK, sparamx_kv_read(kv, 0, 1, NULL, NULL));
    sparamx_params p = {.size = sizeof p, .nth = 1};
    EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_pack(other, &p, -2));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_pack(other, &p, 4096));
    sparamx_params none = {.size = sizeof none};
    EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_pack(other, &none, 0));
    sparamx_params two = {.size = sizeof two, .nth = 2};
    EXPECT(SPARAMX_ERR_NULL, sparamx_kv_pack(other, &two, 0)); /* no barrier */
    sparamx_params fine = p;
    STRUCT_FAULTS(sparamx_params, s, fine, sparamx_kv_pack(other, s, -1));
    sparamx_kv_info info = {.size = sizeof info};
    STRUCT_FAULTS(sparamx_kv_info, s, info, sparamx_kv_get_info(kv, s));
    HANDLE_FAULTS(sparamx_kv, h, sparamx_kv_write(h, cells, 1, rows, 0, rows, 0));
    HANDLE_FAULTS(sparamx_kv, h, sparamx_kv_touch(h, 0, 1));
    HANDLE_FAULTS(sparamx_kv, h, sparamx_kv_remove(h, 0, 1));
    HANDLE_FAULTS(sparamx_kv, h, sparamx_kv_copy(h, 0, kv, 0, 1));
    HANDLE_FAULTS(sparamx_kv, h, sparamx_kv_copy(kv, 0, h, 0, 1));
    HANDLE_FAULTS(sparamx_kv, h, sparamx_kv_read(h, 0, 1, one, one));
    HANDLE_FAULTS(sparamx_kv, h, sparamx_kv_pack(h, &p, -1));
    HANDLE_FAULTS(sparamx_kv, h, sparamx_kv_get_info(h, &info));
    HANDLE_FAULTS(sparamx_kv, h, sparamx_kv_verify(h));
    free(one);
    sparamx_kv_destroy(NULL);
}

/* -- attention ----------------------------------------------------------------------------------------------------- */

typedef struct ask {
    sparamx_attention a;
    sparamx_tensor q, dst, mask, sinks;
    const sparamx_kv *caches[2];
    size_t work_size;
    void *work;
} ask;

static ask good(void) {
    ask g = {.q = make_tensor(SPARAMX_TYPE_F32, DIM, T, H, 1, q, NULL),
             .dst = make_tensor(SPARAMX_TYPE_F32, DIM, H, T, 1, dst, NULL),
             .mask = make_tensor(SPARAMX_TYPE_F16, CELLS, T, 1, 1, mask, NULL),
             .sinks = make_tensor(SPARAMX_TYPE_F32, H, 1, 1, 1, sinks, NULL), .caches = {kv, kv}, .work_size = WORK,
             .work = work};
    g.a = (sparamx_attention){.size = sizeof g.a, .streams = 1, .cells = CELLS, .scale = 0.125f};
    return g;
}

static sparamx_status run(ask g) {
    g.a.kv = g.caches, g.a.q = &g.q, g.a.dst = &g.dst, g.a.mask = &g.mask, g.a.sinks = &g.sinks;
    sparamx_params p = {.size = sizeof p, .nth = 1, .work = g.work, .work_size = g.work_size};
    memcpy(dst, before, sizeof dst);
    sparamx_status status = sparamx_attention_compute(&p, &g.a);
    if (status != SPARAMX_OK) CHECK(memcmp(dst, before, sizeof dst) == 0, "a refused call wrote results (%d)", status);
    return status;
}

/* supports and work_size refuse what does not depend on memory, with the same status. */
static sparamx_status ask_for(ask g) {
    g.a.kv = g.caches, g.a.q = &g.q, g.a.dst = &g.dst, g.a.mask = &g.mask, g.a.sinks = &g.sinks;
    size_t bytes = 77;
    sparamx_status status = sparamx_attention_supports(&g.a), size = sparamx_attention_work_size(&g.a, 1, &bytes);
    CHECK(status == size && (status == SPARAMX_OK) == (bytes != 77), "supports %d, work_size %d", status, size);
    return status;
}

#define WRONG(status, field, ...) \
    do { \
        ask g_ = good(); \
        g_.field = __VA_ARGS__; \
        EXPECT(status, run(g_)); \
        EXPECT(status, ask_for(g_)); \
    } while (0)
#define WRONG_MEMORY(status, field, ...) \
    do { \
        ask g_ = good(); \
        g_.field = __VA_ARGS__; \
        EXPECT(status, run(g_)); \
    } while (0)

static void test_attention(void) {
    EXPECT(SPARAMX_OK, run(good()));
    EXPECT(SPARAMX_OK, ask_for(good()));
    static const int64_t wrong_cells[] = {0, -1, CELLS + 1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < COUNT(wrong_cells); i++) WRONG(SPARAMX_ERR_RANGE, a.cells, wrong_cells[i]);
    WRONG(SPARAMX_ERR_RANGE, a.reserved, 1);
    WRONG(SPARAMX_ERR_RANGE, a.scale, NAN);
    WRONG(SPARAMX_ERR_RANGE, a.scale, INFINITY);
    WRONG(SPARAMX_ERR_RANGE, a.softcap, -1);
    WRONG(SPARAMX_ERR_RANGE, a.softcap, NAN);
    WRONG(SPARAMX_ERR_RANGE, a.max_bias, -1);
    WRONG(SPARAMX_ERR_RANGE, a.max_bias, INFINITY);
    static const int32_t wrong_streams[] = {0, -1, 2, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT(wrong_streams); i++) WRONG(SPARAMX_ERR_SHAPE, a.streams, wrong_streams[i]);
    WRONG(SPARAMX_ERR_NULL, caches[0], NULL);
    WRONG(SPARAMX_ERR_STATE, caches[0], (const sparamx_kv *)(const void *)work);
    WRONG(SPARAMX_ERR_TYPE, q.type, SPARAMX_TYPE_F16);
    WRONG(SPARAMX_ERR_TYPE, dst.type, SPARAMX_TYPE_F16);
    WRONG(SPARAMX_ERR_TYPE, mask.type, SPARAMX_TYPE_F32);
    WRONG(SPARAMX_ERR_TYPE, sinks.type, SPARAMX_TYPE_F16);
    WRONG(SPARAMX_ERR_SHAPE, q.ne[0], DIM - 16);
    WRONG(SPARAMX_ERR_SHAPE, q.ne[2], 3);
    WRONG(SPARAMX_ERR_SHAPE, q.ne[1], 1);
    WRONG(SPARAMX_ERR_SHAPE, dst.ne[0], DIM - 16);
    WRONG(SPARAMX_ERR_SHAPE, dst.ne[1], H - 1);
    WRONG(SPARAMX_ERR_SHAPE, mask.ne[0], CELLS - 1);
    WRONG(SPARAMX_ERR_SHAPE, mask.ne[1], T - 1);
    WRONG(SPARAMX_ERR_SHAPE, mask.ne[2], 3);
    WRONG(SPARAMX_ERR_SHAPE, mask.ne[3], 2);
    WRONG(SPARAMX_ERR_SHAPE, sinks.ne[0], H - 1);
    WRONG(SPARAMX_ERR_SHAPE, sinks.ne[1], 2);
    WRONG(SPARAMX_ERR_STRIDE, q.nb[0], 8);
    WRONG(SPARAMX_ERR_STRIDE, dst.nb[1], DIM * 4 - 4);
    WRONG(SPARAMX_ERR_STRIDE, mask.nb[0], 4);
    WRONG(SPARAMX_ERR_STRIDE, mask.nb[1], CELLS * 2 + 1);
    WRONG(SPARAMX_ERR_STRIDE, sinks.nb[0], 8);
    ask many = good(); /* 17 tokens */
    many.q.ne[1] = many.dst.ne[2] = many.mask.ne[1] = 17;
    many.q.data = many.dst.data = many.mask.data = NULL;
    EXPECT(SPARAMX_ERR_SHAPE, ask_for(many));

    WRONG(SPARAMX_ERR_ALIGNMENT, q.data, (char *)q + 2);
    WRONG(SPARAMX_ERR_ALIGNMENT, dst.data, (char *)dst + 1);
    WRONG(SPARAMX_ERR_ALIGNMENT, mask.data, (char *)mask + 1);
    WRONG(SPARAMX_ERR_ALIGNMENT, sinks.data, (char *)sinks + 2);
    WRONG(SPARAMX_ERR_OVERLAP, q.data, dst + 1);
    WRONG(SPARAMX_ERR_OVERLAP, mask.data, dst + 1);
    WRONG(SPARAMX_ERR_OVERLAP, sinks.data, dst + DIM * T * H - 1);
    WRONG(SPARAMX_ERR_RANGE, q.data, (void *)(UINTPTR_MAX - 63));
    WRONG_MEMORY(SPARAMX_ERR_NULL, q.data, NULL);
    WRONG_MEMORY(SPARAMX_ERR_NULL, dst.data, NULL);
    WRONG_MEMORY(SPARAMX_ERR_NULL, mask.data, NULL);
    WRONG_MEMORY(SPARAMX_ERR_NULL, sinks.data, NULL);
    WRONG_MEMORY(SPARAMX_ERR_NULL, work, NULL);
    WRONG_MEMORY(SPARAMX_ERR_OVERLAP, work, (uint8_t *)dst);
    WRONG_MEMORY(SPARAMX_ERR_OVERLAP, work, (uint8_t *)q);
    WRONG_MEMORY(SPARAMX_ERR_OVERLAP, work, (uint8_t *)mask);
    WRONG_MEMORY(SPARAMX_ERR_RANGE, work_size, SIZE_MAX);
    /* Rows of the host's are read too, from the first byte to the last. */
    ask on_rows = good();
    on_rows.caches[0] = attached;
    EXPECT(SPARAMX_OK, sparamx_kv_touch(attached, 0, CELLS));
    EXPECT(SPARAMX_OK, run(on_rows));
    float *const last = (float *)(void *)((char *)rows + sizeof rows) - 1;
    float *const places[] = {(float *)(void *)rows, last};
    for (size_t i = 0; i < COUNT(places); i++) {
        on_rows.dst.data = places[i];
        EXPECT(SPARAMX_ERR_OVERLAP, ask_for(on_rows));
        EXPECT(SPARAMX_ERR_OVERLAP, run(on_rows));
        on_rows.dst.data = dst;
        on_rows.work = (uint8_t *)places[i];
        EXPECT(SPARAMX_ERR_OVERLAP, run(on_rows));
        on_rows.work = good().work;
    }
    EXPECT(SPARAMX_OK, sparamx_kv_remove(attached, 0, CELLS));

    ask g = good();
    g.a.kv = g.caches, g.a.q = &g.q, g.a.dst = &g.dst, g.a.mask = &g.mask, g.a.sinks = &g.sinks;
    size_t bytes = 0;
    EXPECT(SPARAMX_OK, sparamx_attention_work_size(&g.a, 1, &bytes));
    WRONG_MEMORY(SPARAMX_ERR_WORK_SIZE, work_size, bytes - 1);
    WRONG_MEMORY(SPARAMX_OK, work_size, bytes);
    EXPECT(SPARAMX_ERR_RANGE, sparamx_attention_work_size(&g.a, 0, &bytes));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_attention_work_size(&g.a, 1025, &bytes));
    OUT_FAULTS(size_t, p, sparamx_attention_work_size(&g.a, 1, p));
    sparamx_params params = {.size = sizeof params, .nth = 1, .work = work, .work_size = WORK};
    STRUCT_FAULTS(sparamx_attention, p, g.a, sparamx_attention_supports(p));
    STRUCT_FAULTS(sparamx_attention, p, g.a, sparamx_attention_work_size(p, 1, &bytes));
    STRUCT_FAULTS(sparamx_attention, p, g.a, sparamx_attention_compute(&params, p));
    STRUCT_FAULTS(sparamx_params, p, params, sparamx_attention_compute(p, &g.a));
    sparamx_attention a = g.a;
    a.q = NULL;
    EXPECT(SPARAMX_ERR_NULL, sparamx_attention_supports(&a));
    a = g.a, a.dst = NULL;
    EXPECT(SPARAMX_ERR_NULL, sparamx_attention_supports(&a));
    a = g.a, a.kv = NULL;
    EXPECT(SPARAMX_ERR_NULL, sparamx_attention_supports(&a));

    STRUCT_FAULTS(sparamx_tensor, p, g.q, sparamx_kv_observe(kv, p));
    HANDLE_FAULTS(sparamx_kv, h, sparamx_kv_observe(h, &g.q));
    sparamx_tensor wrong = g.q;
    wrong.ne[0] = DIM - 16;
    EXPECT(SPARAMX_ERR_SHAPE, sparamx_kv_observe(kv, &wrong));
    wrong = g.q, wrong.data = NULL;
    EXPECT(SPARAMX_ERR_NULL, sparamx_kv_observe(kv, &wrong));
    wrong = g.q, wrong.data = (char *)q + 2;
    EXPECT(SPARAMX_ERR_ALIGNMENT, sparamx_kv_observe(kv, &wrong));
    wrong = g.q, wrong.data = (void *)(UINTPTR_MAX - 63);
    EXPECT(SPARAMX_ERR_RANGE, sparamx_kv_observe(kv, &wrong));
}

int main(void) {
    kv_fill_rows(SPARAMX_TYPE_F16, CELLS * HEADS * DIM, 1, (uint8_t *)rows);
    fill_activations(DIM * T * H, 5, q);
    for (size_t i = 0; i < COUNT(before); i++) before[i] = (float)i + 0.5f;
    sparamx_kv_options o = good_options();
    if (sparamx_kv_create(&o, &kv) != SPARAMX_OK) return 2;
    o.k_rows = o.v_rows = rows;
    if (sparamx_kv_create(&o, &attached) != SPARAMX_OK) return 2;
    o = good_options(), o.k_zeros = 0.5f;
    if (sparamx_kv_create(&o, &other) != SPARAMX_OK) return 2;
    int64_t cells[CELLS];
    for (int i = 0; i < CELLS; i++) cells[i] = i;
    EXPECT(SPARAMX_OK, sparamx_kv_write(kv, cells, CELLS - 1, rows, 0, rows, 0));
    EXPECT(SPARAMX_OK, kv_pack_all(kv, 1, -1));
    static float first[DIM * T * H];
    EXPECT(SPARAMX_OK, run(good()));
    memcpy(first, dst, sizeof first);
    test_create();
    test_cells();
    test_attention();
    EXPECT(SPARAMX_OK, run(good()));
    CHECK(memcmp(first, dst, sizeof first) == 0, "attention after bad arguments");
    EXPECT(SPARAMX_OK, sparamx_kv_verify(kv));
    sparamx_kv_destroy(kv);
    sparamx_kv_destroy(attached);
    sparamx_kv_destroy(other);
    return check_end();
}
