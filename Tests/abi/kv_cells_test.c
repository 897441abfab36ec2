/*
 * kv_cells_test - cells of key-value caches: written, overwritten, removed, copied, packed and unpacked, in rows kept
 * here and in rows of the host's. What is read back is what a plain model of the cache says; what packing leaves out is
 * what the options say, for every cell and head; a stray write into packed memory is found.
 */
#define _GNU_SOURCE
#include "check.h"
#include "kv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CELLS = 400, HEADS = 2, K_DIM = 64, V_DIM = 96 };

/* The library's mappings, newest last: this mmap stands before libc's. */
static struct {
    uint8_t *base;
    size_t bytes;
} maps[64];
static int n_maps;

void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
    void *p = (void *)syscall(SYS_mmap, address, bytes, protection, flags, file, offset);
    if (p != MAP_FAILED && n_maps < 64) maps[n_maps].base = p, maps[n_maps++].bytes = bytes;
    return p;
}

static sparamx_kv_info info_of(const sparamx_kv *kv) {
    sparamx_kv_info info = {.size = sizeof info};
    CHECK(sparamx_kv_get_info(kv, &info) == SPARAMX_OK, "get_info");
    return info;
}

/* The numbers of a row, as the host gave them. */
static void given(const kv_case *c, int64_t cell, float *k, float *v) {
    kv_numbers(c->options.type_k, HEADS * K_DIM, c->k + (size_t)cell * c->k_row, k);
    kv_numbers(c->options.type_v, HEADS * V_DIM, c->v + (size_t)cell * c->v_row, v);
}

/* Cells that do not read back as they were given. */
static int count_wrong_cells(const kv_case *c, int64_t first, int64_t n) {
    float k[2][HEADS * K_DIM], v[2][HEADS * V_DIM];
    int wrong = 0;
    for (int64_t cell = first; cell < first + n; cell++) {
        given(c, cell, k[0], v[0]);
        if (sparamx_kv_read(c->kv, cell, 1, k[1], v[1]) != SPARAMX_OK || memcmp(k[0], k[1], sizeof k[0]) != 0 ||
            memcmp(v[0], v[1], sizeof v[0]) != 0) wrong++;
    }
    return wrong;
}

static sparamx_kv_options options_of(int32_t type, int32_t values) {
    sparamx_kv_options o = kv_options(type, HEADS, K_DIM, V_DIM, CELLS);
    o.values = values;
    return o;
}

/* -- what packing keeps -------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    float x = fabsf(*(const float *)a), y = fabsf(*(const float *)b);
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Exactly `keep` numbers of each head: the largest, by size times weight; codes within half a step. */
static void check_kept(const float *from, const float *kept, int64_t dim, int64_t keep, const float *weights,
                       bool codes, const char *what) {
    float sizes[512], most = 0;
    int64_t left = 0;
    for (int64_t d = 0; d < dim; d++) {
        sizes[d] = from[d] * (weights ? weights[d] : 1);
        if (fabsf(from[d]) > most) most = fabsf(from[d]);
    }
    qsort(sizes, (size_t)dim, sizeof *sizes, by_size);
    float least = fabsf(sizes[keep - 1]), step = codes ? most / 127 * 0.51f : 0;
    for (int64_t d = 0; d < dim; d++) {
        float size = fabsf(from[d] * (weights ? weights[d] : 1));
        left += kept[d] != 0;
        bool in = size >= least * 0.999999f, out = size <= least * 1.000001f;
        CHECK((in && fabsf(kept[d] - from[d]) <= step) || (out && kept[d] == 0), "%s: %g became %g, the least kept %g",
              what, (double)from[d], (double)kept[d], (double)least);
    }
    CHECK(codes ? left <= keep : left == keep, "%s: %d numbers kept and not %d", what, (int)left, (int)keep);
}

static void test_kept(void) {
    static const float shares[] = {0, 0.3f, 0.5f, 0.77f, 0.95f};
    for (size_t i = 0; i < COUNT(shares); i++)
        for (int32_t values = 0; values < 2; values++)
            for (int observed = 0; observed < 2; observed++) {
                sparamx_kv_options o = options_of(SPARAMX_TYPE_F16, values);
                o.k_zeros = shares[i], o.v_zeros = shares[COUNT(shares) - 1 - i];
                kv_case c = kv_make(o, false, i + 1);
                float q[4 * K_DIM], root[HEADS][K_DIM];
                for (int d = 0; d < 4 * K_DIM; d++) q[d] = (float)(1 + d % 7 * (d % 3)) / 4;
                sparamx_tensor queries = make_tensor(SPARAMX_TYPE_F32, K_DIM, 1, 4, 1, q, NULL);
                for (int n = 0; n < 3 && observed; n++)
                    CHECK(sparamx_kv_observe(c.kv, &queries) == SPARAMX_OK, "observe");
                for (int h = 0; h < HEADS; h++)
                    for (int d = 0; d < K_DIM; d++) {
                        const float *two = q + 2 * h * K_DIM + d;
                        root[h][d] = sqrtf((two[0] * two[0] + two[K_DIM] * two[K_DIM]) / 2);
                    }
                CHECK(kv_write_cells(&c, 0, CELLS) == SPARAMX_OK, "write");
                CHECK(kv_pack_all(c.kv, 3, -1) == SPARAMX_OK, "pack");
                sparamx_kv_info info = info_of(c.kv);
                CHECK(info.packed_blocks == CELLS / 64 && info.open_blocks == 1, "%d blocks packed",
                      (int)info.packed_blocks);
                CHECK(info.k_kept == lroundf((1 - o.k_zeros) * K_DIM) &&
                          info.v_kept == lroundf((1 - o.v_zeros) * V_DIM), "%d and %d kept", info.k_kept, info.v_kept);
                CHECK(info.observed == (observed ? 3u : 0u), "%d tokens observed", (int)info.observed);
                int64_t bytes = values ? 2 : 1, scales = values ? 0 : 128;
                CHECK((int64_t)info.block_bytes ==
                          HEADS * (2 * scales + 64 * bytes * (info.k_kept + info.v_kept) +
                                   (info.k_kept < K_DIM ? 8 * K_DIM : 0) + (info.v_kept < V_DIM ? 8 * V_DIM : 0)),
                      "a block has %d bytes", (int)info.block_bytes);
                for (int64_t cell = 0; cell < CELLS / 64 * 64; cell += 37) {
                    float k[2][HEADS * K_DIM], v[2][HEADS * V_DIM];
                    given(&c, cell, k[0], v[0]);
                    CHECK(sparamx_kv_read(c.kv, cell, 1, k[1], v[1]) == SPARAMX_OK, "read");
                    for (int h = 0; h < HEADS; h++) {
                        check_kept(k[0] + h * K_DIM, k[1] + h * K_DIM, K_DIM, info.k_kept, observed ? root[h] : NULL,
                                   !values, "keys");
                        check_kept(v[0] + h * V_DIM, v[1] + h * V_DIM, V_DIM, info.v_kept, NULL, !values, "values");
                    }
                }
                kv_drop(&c);
            }
}

/* -- writing, removing, copying ------------------------------------------------------------------------------------ */

static void test_write(int32_t type, bool attach) {
    kv_case c = kv_make(options_of(type, SPARAMX_KV_INT8), attach, 3);
    float k[HEADS * K_DIM];
    CHECK(sparamx_kv_read(c.kv, 0, 1, k, NULL) == SPARAMX_ERR_INCOMPLETE, "a cell that is not there was read");
    CHECK(kv_write_cells(&c, 0, CELLS) == SPARAMX_OK, "write");
    CHECK(count_wrong_cells(&c, 0, CELLS) == 0, "type %d: rows read back otherwise", type);
    CHECK(kv_pack_all(c.kv, 2, -1) == SPARAMX_OK && info_of(c.kv).packed_blocks == CELLS / 64, "pack");
    /* A cell that is written anew makes the rows of its block come back. */
    kv_fill_rows(type, HEADS * K_DIM, 1234, c.k + 100 * c.k_row);
    kv_fill_rows(type, HEADS * V_DIM, 1235, c.v + 100 * c.v_row);
    CHECK(kv_write_cells(&c, 100, 1) == SPARAMX_OK, "write");
    CHECK(count_wrong_cells(&c, 100, 1) == 0, "type %d: a cell written anew reads back otherwise", type);
    CHECK(info_of(c.kv).packed_blocks == CELLS / 64 - 1, "the block is packed still");
    CHECK(kv_pack_all(c.kv, 1, -1) == SPARAMX_OK && info_of(c.kv).packed_blocks == CELLS / 64, "pack");
    CHECK(sparamx_kv_remove(c.kv, 64, 64) == SPARAMX_OK && info_of(c.kv).packed_blocks == CELLS / 64 - 1, "remove");
    CHECK(sparamx_kv_read(c.kv, 127, 1, k, NULL) == SPARAMX_ERR_INCOMPLETE, "a removed cell was read");
    CHECK(sparamx_kv_read(c.kv, 128, 1, k, NULL) == SPARAMX_OK, "a cell beside them is gone");
    CHECK(info_of(c.kv).present == CELLS - 64, "%d cells", (int)info_of(c.kv).present);
    CHECK(kv_write_cells(&c, 64, 64) == SPARAMX_OK && count_wrong_cells(&c, 64, 64) == 0, "written after removal");
    CHECK(sparamx_kv_remove(c.kv, 300, 7) == SPARAMX_OK && info_of(c.kv).present == CELLS - 7, "a few cells");
    CHECK(sparamx_kv_read(c.kv, 303, 1, k, NULL) == SPARAMX_ERR_INCOMPLETE, "a cell of them was read");
    CHECK(sparamx_kv_read(c.kv, 299, 1, k, NULL) == SPARAMX_OK && sparamx_kv_read(c.kv, 307, 1, k, NULL) == SPARAMX_OK,
          "a cell beside them is gone");
    CHECK(sparamx_kv_remove(c.kv, 0, CELLS) == SPARAMX_OK && info_of(c.kv).present == 0, "remove all");
    CHECK(info_of(c.kv).packed_blocks == 0 && info_of(c.kv).row_bytes == 0, "something is left");
    kv_drop(&c);
}

/* Unpacked by a write and packed again, as often as one likes, cells keep their numbers. */
static void test_again(void) {
    sparamx_kv_options o = options_of(SPARAMX_TYPE_F16, SPARAMX_KV_INT8);
    o.k_zeros = 0.5f;
    kv_case c = kv_make(o, false, 9);
    kv_write_cells(&c, 0, 64);
    kv_pack_all(c.kv, 1, -1);
    static float first[2][64 * HEADS * V_DIM], then[2][64 * HEADS * V_DIM];
    sparamx_kv_read(c.kv, 0, 64, first[0], first[1]);
    for (int round = 0; round < 5; round++) {
        CHECK(kv_write_cells(&c, 13, 1) == SPARAMX_OK && info_of(c.kv).packed_blocks == 0, "write");
        CHECK(kv_pack_all(c.kv, 1, -1) == SPARAMX_OK && info_of(c.kv).packed_blocks == 1, "pack");
        sparamx_kv_read(c.kv, 0, 64, then[0], then[1]);
        CHECK(memcmp(first, then, sizeof first) == 0, "round %d changes cells that were not written", round);
    }
    kv_drop(&c);
}

static void test_window(void) {
    static const struct {
        int32_t window, sinks;
        float zeros;
        int64_t newest;
        int packed; /* bits */
    } cases[] = {{-1, -1, 0, 300, 0x3f}, {0, 0, 0, 300, 0x3f},     {0, 0, 0.5f, 300, 0x26}, {0, -1, 0.5f, -1, 0x3f},
                 {1, -1, 0, 383, 0x1f},  {65, -1, 0, 383, 0x0f},   {64, 64, 0, 383, 0x1e},  {64, 65, 0, 384, 0x1c},
                 {1, -1, 0, 0, 0x3e},    {100, -1, 0, 190, 0x39}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        sparamx_kv_options o = options_of(SPARAMX_TYPE_BF16, SPARAMX_KV_INT8);
        o.window = cases[i].window, o.sinks = cases[i].sinks, o.k_zeros = cases[i].zeros;
        kv_case c = kv_make(o, false, 3);
        kv_write_cells(&c, 0, CELLS);
        CHECK(kv_pack_all(c.kv, 2, cases[i].newest) == SPARAMX_OK, "pack");
        int packed = 0;
        for (int block = 0; block < CELLS / 64; block++)
            if (count_wrong_cells(&c, block * 64, 64) > 0) packed |= 1 << block;
        CHECK(packed == cases[i].packed, "case %d: blocks %x are packed and not %x", (int)i, packed, cases[i].packed);
        kv_drop(&c);
    }
}

/* Copies against a model: which cell of the source each cell is of, -1: none. */
static void test_copy(void) {
    uint64_t state = 5;
    for (int round = 0; round < 60; round++) {
        sparamx_kv_options o = options_of(round & 1 ? SPARAMX_TYPE_F32 : SPARAMX_TYPE_Q8_0, SPARAMX_KV_INT8);
        kv_case a = kv_make(o, round % 3 == 0, 3), b = kv_make(o, false, 4);
        bool same = round % 4 == 1 && round % 3 != 0, aligned = round & 2;
        kv_write_cells(&a, 0, CELLS);
        kv_write_cells(&b, 0, CELLS);
        sparamx_kv_remove(a.kv, 200, 20);
        if (round % 5) kv_pack_all(a.kv, 1, -1);
        if (round % 7 == 2) kv_pack_all(b.kv, 1, -1);
        int64_t from = (int64_t)(random_next(&state) % 200), to = (int64_t)(random_next(&state) % 200);
        int64_t n = (int64_t)(random_next(&state) % 200);
        if (aligned) from = from / 64 * 64, to = to / 64 * 64;
        sparamx_kv *dst = same ? a.kv : b.kv;
        static float before[CELLS][2][HEADS * V_DIM], old[CELLS][2][HEADS * V_DIM];
        bool there[CELLS], was[CELLS];
        for (int64_t i = 0; i < CELLS; i++) {
            there[i] = sparamx_kv_read(a.kv, i, 1, before[i][0], before[i][1]) == SPARAMX_OK;
            was[i] = sparamx_kv_read(dst, i, 1, old[i][0], old[i][1]) == SPARAMX_OK;
        }
        CHECK(sparamx_kv_copy(dst, to, a.kv, from, n) == SPARAMX_OK, "copy");
        CHECK(sparamx_kv_verify(dst) == SPARAMX_OK, "verify after a copy");
        for (int64_t i = 0; i < CELLS; i++) {
            float k[HEADS * K_DIM], v[HEADS * V_DIM];
            bool copied = i >= to && i < to + n, want = copied ? there[from + i - to] : was[i];
            bool got = sparamx_kv_read(dst, i, 1, k, v) == SPARAMX_OK;
            if (!CHECK(want == got, "round %d: cell %d is %sthere", round, (int)i, got ? "" : "not ")) continue;
            if (!got) continue;
            float(*from_numbers)[HEADS * V_DIM] = copied ? before[from + i - to] : old[i];
            double most = 0, worst = 0;
            for (int d = 0; d < HEADS * K_DIM; d++) {
                most = fmax(most, fabs((double)from_numbers[0][d]));
                worst = fmax(worst, fabs((double)k[d] - (double)from_numbers[0][d]));
            }
            for (int d = 0; d < HEADS * V_DIM; d++)
                worst = fmax(worst, fabs((double)v[d] - (double)from_numbers[1][d]));
            /* Rows of float32 hold what codes are exactly; those of Q8_0 scale 32 numbers and not a head. */
            CHECK(worst <= (round & 1 ? 0 : most / 100), "round %d: cell %d is off by %g of %g", round, (int)i, worst,
                  most);
        }
        kv_drop(&a);
        kv_drop(&b);
    }
}

/* -- stray writes -------------------------------------------------------------------------------------------------- */

static void test_damage(void) {
    for (int32_t values = 0; values < 2; values++) {
        sparamx_kv_options o = options_of(SPARAMX_TYPE_F16, values);
        o.k_zeros = 0.5f, o.v_zeros = 0.25f, o.cells = 128;
        n_maps = 0;
        kv_case c = kv_make(o, false, 5);
        sparamx_kv_info info = info_of(c.kv);
        uint8_t *packed = NULL;
        for (int i = 0; i < n_maps; i++)
            if (maps[i].bytes >= 2 * info.block_bytes && maps[i].bytes < 2 * info.block_bytes + 8192)
                packed = maps[i].base; /* the last of that size */
        if (!CHECK(packed != NULL, "the packed memory was not found")) return;
        kv_write_cells(&c, 0, 128);
        kv_pack_all(c.kv, 1, -1);
        CHECK(sparamx_kv_verify(c.kv) == SPARAMX_OK, "verify");
        size_t head = info.block_bytes / HEADS, scales = values ? 0 : 128;
        /* A bit of the bitmap of keys, of values; a negative scale. */
        size_t places[] = {scales + 9, head + scales + 8 * K_DIM + 32 * K_DIM * (values ? 2 : 1) + scales + 100,
                           info.block_bytes + 1};
        for (size_t i = 0; i < COUNT(places); i++) {
            if (i == 2 && values) continue;
            packed[places[i]] ^= 0x80;
            CHECK(sparamx_kv_verify(c.kv) == SPARAMX_ERR_DAMAGED, "values %d: damage %d is not found", values, (int)i);
            packed[places[i]] ^= 0x80;
            CHECK(sparamx_kv_verify(c.kv) == SPARAMX_OK, "verify");
        }
        kv_drop(&c);
    }
}

int main(void) {
    static const int32_t types[] = {SPARAMX_TYPE_F16, SPARAMX_TYPE_BF16, SPARAMX_TYPE_F32, SPARAMX_TYPE_Q8_0};
    for (size_t i = 0; i < COUNT(types); i++) {
        test_write(types[i], false);
        test_write(types[i], true);
    }
    test_kept();
    test_again();
    test_window();
    test_copy();
    test_damage();
    return check_end();
}
