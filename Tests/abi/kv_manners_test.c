/*
 * kv_manners_test - what calls on caches take from the host: memory is asked for by create and load alone, and any of
 * those calls may fail; the floating-point mode is as before, and results do not depend on it. Needs libfail.so in
 * LD_PRELOAD, which also puts a forbidden page behind every block of memory: no kernel reads beyond it.
 */
#define _GNU_SOURCE
#include "check.h"
#include "fail.h"
#include "kv.h"

#include <stdlib.h>
#include <string.h>
#include <xmmintrin.h>

enum { CELLS = 256, HEADS = 2, DIM = 64, T = 2, H = 4, WORK = 1 << 20 };

static uint8_t *k, *v;
static float q[DIM * T * H], dst[DIM * T * H], first[DIM * T * H];
static uint8_t work[WORK];
static int64_t cells[CELLS];

static sparamx_kv_options options(void) {
    sparamx_kv_options o = kv_options(SPARAMX_TYPE_F16, HEADS, DIM, DIM, CELLS);
    o.k_zeros = 0.3f, o.v_zeros = 0.5f;
    return o;
}

static sparamx_status write_all(sparamx_kv *kv) { return sparamx_kv_write(kv, cells, CELLS, k, 0, v, 0); }

static sparamx_status pack(sparamx_kv *kv) {
    sparamx_params p = {.size = sizeof p, .nth = 1};
    return sparamx_kv_pack(kv, &p, -1);
}

static sparamx_status attend(const sparamx_kv *kv) {
    sparamx_tensor queries = make_tensor(SPARAMX_TYPE_F32, DIM, T, H, 1, q, NULL),
                   to = make_tensor(SPARAMX_TYPE_F32, DIM, H, T, 1, dst, NULL);
    sparamx_attention a = {.size = sizeof a, .streams = 1, .dst = &to, .q = &queries, .kv = &kv, .cells = CELLS,
                           .scale = 0.125f, .softcap = 20, .max_bias = 3};
    sparamx_params p = {.size = sizeof p, .nth = 1, .work = work, .work_size = WORK};
    memset(dst, 0xff, sizeof dst);
    return sparamx_attention_compute(&p, &a);
}

/* -- bytes of a cache ---------------------------------------------------------------------------------------------- */

static uint8_t saved[1 << 20];
static size_t saved_size, saved_at;

static bool put(const void *data, size_t size, void *user) {
    (void)user;
    if (size > sizeof saved - saved_size) return false;
    memcpy(saved + saved_size, data, size);
    saved_size += size;
    return true;
}

static bool take(void *data, size_t size, void *user) {
    (void)user;
    if (size > saved_size - saved_at) return false;
    memcpy(data, saved + saved_at, size);
    saved_at += size;
    return true;
}

static sparamx_status create(sparamx_kv **out) {
    sparamx_kv_options o = options();
    return sparamx_kv_create(&o, out);
}
static sparamx_status load(sparamx_kv **out) {
    saved_at = 0;
    return sparamx_kv_load(take, NULL, out);
}

/* -- every call of the library to libc fails once ------------------------------------------------------------------ */

static void test_failures(sparamx_status (*make)(sparamx_kv **out), const char *what) {
    long refused = 0;
    for (long n = 1; n < 100; n++) {
        long before = fail_outstanding();
        sparamx_kv *made = NULL;
        fail_arm(n);
        sparamx_status status = make(&made);
        long failures = fail_failures(), stuck = fail_stuck();
        fail_arm(0);
        CHECK(status == SPARAMX_OK || (failures > 0 && status == SPARAMX_ERR_NO_MEMORY), "%s, call %ld: %d", what, n,
              status);
        CHECK((status == SPARAMX_OK) == (made != NULL), "%s, call %ld: %d and %p", what, n, status, (void *)made);
        refused += status != SPARAMX_OK;
        if (made) CHECK(write_all(made) == SPARAMX_OK && attend(made) == SPARAMX_OK, "%s, call %ld: use", what, n);
        sparamx_kv_destroy(made);
        long lost = fail_outstanding() - before;
        CHECK(lost >= 0 && lost <= stuck, "%s, call %ld: %ld blocks lost", what, n, lost);
        if (failures == 0) break;
    }
    CHECK(refused >= 4, "%s: %ld calls were refused", what, refused);
}

/* Nothing after create takes memory. */
static void test_quiet(void) {
    sparamx_kv *kv = NULL;
    CHECK(create(&kv) == SPARAMX_OK, "create");
    float one[HEADS * DIM];
    sparamx_tensor queries = make_tensor(SPARAMX_TYPE_F32, DIM, T, H, 1, q, NULL);
    sparamx_kv_info info = {.size = sizeof info};
    long before = fail_outstanding();
    fail_arm(0);
    CHECK(write_all(kv) == SPARAMX_OK && sparamx_kv_observe(kv, &queries) == SPARAMX_OK && pack(kv) == SPARAMX_OK &&
              attend(kv) == SPARAMX_OK && sparamx_kv_read(kv, 1, 1, one, one) == SPARAMX_OK &&
              sparamx_kv_write(kv, cells, 3, k, 0, v, 0) == SPARAMX_OK &&
              sparamx_kv_copy(kv, 9, kv, 64, 99) == SPARAMX_OK &&
              sparamx_kv_remove(kv, 0, CELLS) == SPARAMX_OK && sparamx_kv_get_info(kv, &info) == SPARAMX_OK &&
              sparamx_kv_verify(kv) == SPARAMX_OK, "calls");
    CHECK(fail_outstanding() == before, "%ld blocks more", fail_outstanding() - before);
    sparamx_kv_destroy(kv);
}

/* In a mode that results must not depend on. */
static void test_mode(void) {
    for (int packed = 0; packed < 2; packed++) {
        sparamx_kv *kv = NULL, *other = NULL;
        CHECK(create(&kv) == SPARAMX_OK && create(&other) == SPARAMX_OK, "create");
        unsigned usual = _mm_getcsr(), mode = _MM_MASK_MASK | _MM_ROUND_UP | _MM_FLUSH_ZERO_ON;
        CHECK(write_all(kv) == SPARAMX_OK && (!packed || pack(kv) == SPARAMX_OK) && attend(kv) == SPARAMX_OK, "attend");
        memcpy(first, dst, sizeof first);
        _mm_setcsr(mode);
        sparamx_status statuses[] = {write_all(other), packed ? pack(other) : SPARAMX_OK, attend(other)};
        unsigned after = _mm_getcsr();
        _mm_setcsr(usual);
        for (size_t i = 0; i < COUNT(statuses); i++) CHECK(statuses[i] == SPARAMX_OK, "call %d", (int)i);
        CHECK((after & ~0x3fu) == mode, "the mode is %x and was %x", after, mode);
        CHECK(memcmp(first, dst, sizeof first) == 0, "results depend on the mode, packed %d", packed);
        sparamx_kv_destroy(kv);
        sparamx_kv_destroy(other);
    }
}

/* Caches and rows of every size end at a forbidden page. */
static void test_guards(void) {
    static const int32_t dims[] = {16, 64, 80, 96, 128, 256, 512};
    for (size_t i = 0; i < COUNT(dims); i++)
        for (int sparse = 0; sparse < 2; sparse++) {
            sparamx_kv_options o = kv_options(i & 1 ? SPARAMX_TYPE_F32 : SPARAMX_TYPE_BF16, 1, dims[i],
                                              dims[COUNT(dims) - 1 - i], 64 * (1 + (int64_t)i % 3));
            o.k_zeros = o.v_zeros = sparse ? 0.4f : 0;
            kv_case c = kv_make(o, false, i);
            const sparamx_kv *kv[] = {c.kv};
            CHECK(kv_write_cells(&c, 0, o.cells) == SPARAMX_OK && kv_pack_all(c.kv, 1, -1) == SPARAMX_OK, "pack");
            kv_ask ask = kv_question(kv, 1, &o, 3, 1, o.cells, true, i);
            CHECK(kv_attend(&ask, 1) == SPARAMX_OK, "attend");
            kv_end_question(&ask);
            kv_drop(&c);
        }
    CHECK(fail_guards() > 0, "no block had a forbidden page");
}

int main(void) {
    isa_level();
    size_t bytes = (size_t)CELLS * HEADS * DIM * 2;
    k = must_allocate(bytes), v = must_allocate(bytes);
    kv_fill_rows(SPARAMX_TYPE_F16, CELLS * HEADS * DIM, 1, k);
    kv_fill_rows(SPARAMX_TYPE_F16, CELLS * HEADS * DIM, 2, v);
    fill_activations(DIM * T * H, 5, q);
    for (int i = 0; i < CELLS; i++) cells[i] = i;
    sparamx_kv *kv = NULL;
    CHECK(create(&kv) == SPARAMX_OK && write_all(kv) == SPARAMX_OK && pack(kv) == SPARAMX_OK &&
              sparamx_kv_remove(kv, 3, 1) == SPARAMX_OK && sparamx_kv_save(kv, put, NULL) == SPARAMX_OK, "a cache");
    sparamx_kv_destroy(kv);
    test_failures(create, "create");
    test_failures(load, "load");
    test_quiet();
    test_mode();
    test_guards();
    free(k);
    free(v);
    return check_end();
}
