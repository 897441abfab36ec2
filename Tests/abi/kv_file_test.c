/*
 * kv_file_test - caches as bytes: what is loaded is what was saved, bit for bit; every piece that is missing and every
 * byte that is changed is refused, and leaves nothing behind; hosts whose functions fail.
 */
#define _GNU_SOURCE
#include "check.h"
#include "kv.h"

#include <stdlib.h>
#include <string.h>

enum { CELLS = 300, HEADS = 2, DIM = 64 };

/* Bytes in memory. */
typedef struct tape {
    uint8_t *bytes;
    size_t size, at, room;
    long calls, fail_at; /* the call that returns false, 0: none */
    size_t ends[4096];   /* where pieces end */
    const sparamx_kv *kv;
} tape;

static bool put(const void *data, size_t size, void *user) {
    tape *t = user;
    if (++t->calls == t->fail_at) return false;
    if (t->size + size > t->room) {
        t->room = 2 * (t->size + size);
        t->bytes = realloc(t->bytes, t->room);
        if (t->bytes == NULL) exit(2);
    }
    memcpy(t->bytes + t->size, data, size);
    t->size += size;
    if (t->calls < (long)COUNT(t->ends)) t->ends[t->calls - 1] = t->size;
    if (t->kv && t->calls == 3) { /* calls into the library are allowed */
        float k[HEADS * DIM];
        CHECK(sparamx_kv_read(t->kv, 0, 1, k, NULL) == SPARAMX_OK, "a read from inside a save");
    }
    return true;
}

static bool take(void *data, size_t size, void *user) {
    tape *t = user;
    if (++t->calls == t->fail_at || size > t->size - t->at) return false;
    memcpy(data, t->bytes + t->at, size);
    t->at += size;
    return true;
}

static sparamx_status load(tape *t, sparamx_kv **out) {
    t->at = 0, t->calls = 0;
    return sparamx_kv_load(take, t, out);
}

static void same_caches(const sparamx_kv *a, const sparamx_kv *b, const sparamx_kv_options *o) {
    sparamx_kv_info x = {.size = sizeof x}, y = {.size = sizeof y};
    sparamx_kv_get_info(a, &x);
    sparamx_kv_get_info(b, &y);
    CHECK(x.present == y.present && x.packed_blocks == y.packed_blocks && x.open_blocks == y.open_blocks &&
              x.block_bytes == y.block_bytes && x.observed == y.observed && x.cells == y.cells, "other counts");
    float k[2][HEADS * DIM], v[2][HEADS * DIM];
    for (int64_t c = 0; c < o->cells; c++) {
        sparamx_status one = sparamx_kv_read(a, c, 1, k[0], v[0]), two = sparamx_kv_read(b, c, 1, k[1], v[1]);
        CHECK(one == two, "cell %d: %d and %d", (int)c, one, two);
        if (one != SPARAMX_OK || two != SPARAMX_OK) continue;
        CHECK(memcmp(k[0], k[1], sizeof k[0]) == 0 && memcmp(v[0], v[1], sizeof v[0]) == 0, "cell %d differs", (int)c);
    }
    static float first[DIM * 4 * 2];
    for (int i = 0; i < 2; i++) {
        const sparamx_kv *kv[] = {i ? b : a};
        kv_ask ask = kv_question(kv, 1, o, 4, 2, o->cells, true, 3);
        CHECK(kv_attend(&ask, 2) == SPARAMX_OK, "attend");
        if (i == 0) memcpy(first, ask.dst.data, sizeof first);
        CHECK(memcmp(first, ask.dst.data, sizeof first) == 0, "attention over what was loaded has other bits");
        kv_end_question(&ask);
    }
}

static kv_case scene(int32_t type, int32_t values, bool attach) {
    sparamx_kv_options o = kv_options(type, HEADS, DIM, DIM, CELLS);
    o.values = values, o.k_zeros = 0.3f, o.v_zeros = 0.5f, o.window = 70;
    kv_case c = kv_make(o, attach, 11);
    float q[DIM * 4];
    fill_activations(DIM * 4, 3, q);
    sparamx_tensor queries = make_tensor(SPARAMX_TYPE_F32, DIM, 1, 4, 1, q, NULL);
    sparamx_kv_observe(c.kv, &queries);
    kv_write_cells(&c, 0, CELLS - 20);
    kv_pack_all(c.kv, 1, CELLS - 21);
    sparamx_kv_remove(c.kv, 100, 9);
    sparamx_kv_remove(c.kv, 260, 3);
    return c;
}

/* What is loaded packs as what was saved: options and queries are there. */
static void test_round(int32_t type, int32_t values, bool attach) {
    kv_case c = scene(type, values, attach);
    tape t = {.kv = c.kv};
    sparamx_kv *loaded = NULL;
    CHECK(sparamx_kv_save(c.kv, put, &t) == SPARAMX_OK, "save");
    if (!CHECK(load(&t, &loaded) == SPARAMX_OK && t.at == t.size, "load: %zu of %zu bytes", t.at, t.size)) return;
    same_caches(c.kv, loaded, &c.options);
    CHECK(kv_pack_all(loaded, 1, -1) == SPARAMX_OK && kv_pack_all(c.kv, 1, -1) == SPARAMX_OK, "pack");
    same_caches(c.kv, loaded, &c.options);
    sparamx_kv_destroy(loaded);
    kv_drop(&c);
    free(t.bytes);
}

static void test_damage(void) {
    kv_case c = scene(SPARAMX_TYPE_F16, SPARAMX_KV_INT8, false);
    static tape t;
    sparamx_kv *nothing = (sparamx_kv *)(void *)&t, *loaded = nothing;
    CHECK(sparamx_kv_save(c.kv, put, &t) == SPARAMX_OK, "save");
    size_t whole = t.size;
    long pieces = t.calls;
    uint64_t state = 1;
    for (int i = 0; i < 3000; i++) { /* all bytes of the first pieces, others here and there */
        size_t at = i < 800 ? (size_t)i : random_next(&state) % whole;
        uint8_t before = t.bytes[at], flip = (uint8_t)(1u << random_next(&state) % 8);
        t.bytes[at] ^= flip;
        sparamx_status status = load(&t, &loaded), wanted = at < 8    ? SPARAMX_ERR_FILE_FOREIGN
                                                            : at < 16 ? SPARAMX_ERR_FILE_VERSION
                                                                      : SPARAMX_ERR_FILE_DAMAGED;
        /* A record that names fewer or more cells may end the bytes too early. */
        CHECK((status == wanted || (at > 800 && status == SPARAMX_ERR_FILE)) && loaded == nothing,
              "byte %zu changed: %d instead of %d", at, status, wanted);
        t.bytes[at] = before;
    }
    for (long i = 0; i < pieces && i < (long)COUNT(t.ends); i++) { /* cut off behind a piece, and in it */
        for (int less = 0; less < 2; less++) {
            t.size = t.ends[i] - (size_t)less;
            if (t.size >= whole) continue;
            CHECK(load(&t, &loaded) == SPARAMX_ERR_FILE && loaded == nothing, "cut off at %zu", t.size);
        }
    }
    t.size = whole;
    for (t.fail_at = 1; t.fail_at <= pieces; t.fail_at++)
        CHECK(load(&t, &loaded) == SPARAMX_ERR_FILE && loaded == nothing, "read %ld fails", t.fail_at);
    static tape other;
    for (other.fail_at = 1; other.fail_at <= pieces; other.fail_at++) {
        other.size = 0, other.calls = 0;
        CHECK(sparamx_kv_save(c.kv, put, &other) == SPARAMX_ERR_FILE && other.calls == other.fail_at,
              "write %ld fails, %ld calls", other.fail_at, other.calls);
    }
    t.fail_at = 0;
    CHECK(load(&t, &loaded) == SPARAMX_OK, "load");
    same_caches(c.kv, loaded, &c.options);
    sparamx_kv_destroy(loaded);
    CHECK(sparamx_kv_save(c.kv, NULL, NULL) == SPARAMX_ERR_NULL, "no function to write");
    CHECK(sparamx_kv_save(NULL, put, &other) == SPARAMX_ERR_NULL, "no cache");
    CHECK(sparamx_kv_load(NULL, NULL, &loaded) == SPARAMX_ERR_NULL, "no function to read");
    CHECK(sparamx_kv_load(take, &t, NULL) == SPARAMX_ERR_NULL, "no place for the cache");
    kv_drop(&c);
    free(t.bytes);
    free(other.bytes);
}

int main(void) {
    static const int32_t types[] = {SPARAMX_TYPE_F16, SPARAMX_TYPE_BF16, SPARAMX_TYPE_F32, SPARAMX_TYPE_Q8_0};
    for (size_t i = 0; i < COUNT(types); i++)
        for (int32_t values = 0; values < (i < 2 ? 2 : 1); values++)
            for (int attach = 0; attach < 2; attach++) test_round(types[i], values, attach);
    test_damage();
    return check_end();
}
