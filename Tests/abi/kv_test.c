/*
 * kv_test - attention over key-value caches against attention in double precision: rows of every type, numbers kept and
 * codes, pruned and not, masks, ALiBi, soft caps, sinks, streams, any number of threads, NaN; and that the error of
 * unpruned codes is near that of attention as ggml computes it in float16.
 */
#define _GNU_SOURCE
#include "check.h"
#include "kv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = 330 }; /* five blocks and a piece */

/* What the cache says that attention sees, as numbers; cells that are not there are zero. */
typedef struct seen {
    float *k, *v;
    bool *there;
} seen;

static seen look(const sparamx_kv *kv, const sparamx_kv_options *o) {
    seen s = {must_allocate((size_t)(o->cells * o->heads * o->k_dim) * 4),
              must_allocate((size_t)(o->cells * o->heads * o->v_dim) * 4), must_allocate((size_t)o->cells)};
    for (int64_t c = 0; c < o->cells; c++)
        s.there[c] = sparamx_kv_read(kv, c, 1, s.k + c * o->heads * o->k_dim, s.v + c * o->heads * o->v_dim) ==
                     SPARAMX_OK;
    return s;
}

static void drop(seen *s) {
    free(s->k);
    free(s->v);
    free(s->there);
}

/* The largest difference from what is exact, in root mean squares of the exact result; infinity for a NaN. */
static double difference(const kv_ask *ask, int64_t stream, const double *exact, int64_t count) {
    const float *got = (const float *)ask->dst.data + stream * count;
    double squares = 0, most = 0;
    for (int64_t i = 0; i < count; i++) squares += exact[i] * exact[i];
    double unit = sqrt(squares / (double)count);
    for (int64_t i = 0; i < count; i++) {
        double d = fabs((double)got[i] - exact[i]);
        if (!(d <= most)) most = isnan(d) ? INFINITY : d;
    }
    return unit > 0 ? most / unit : most;
}

/* Attends with several numbers of threads: the same bits, and as near to what is exact as `bound`. */
static void judge(kv_ask *ask, const sparamx_kv *const *kv, const sparamx_kv_options *o, double bound,
                  const char *what) {
    int64_t count = ask->tokens * ask->heads * o->v_dim, all = count * ask->a.streams;
    float *first = must_allocate((size_t)all * 4);
    double *exact = must_allocate((size_t)count * 8);
    static const int threads[] = {1, 2, 5};
    for (size_t i = 0; i < COUNT(threads); i++) {
        memset(ask->dst.data, 0xff, (size_t)all * 4);
        sparamx_status status = kv_attend(ask, threads[i]);
        if (!CHECK(status == SPARAMX_OK, "%s, %d threads: %d", what, threads[i], status)) break;
        if (i == 0) memcpy(first, ask->dst.data, (size_t)all * 4);
        CHECK(memcmp(first, ask->dst.data, (size_t)all * 4) == 0, "%s: %d threads give other bits", what, threads[i]);
    }
    for (int32_t s = 0; s < ask->a.streams; s++) {
        seen see = look(kv[s], o);
        kv_exact(ask, o, s, see.k, see.v, see.there, exact);
        double d = difference(ask, s, exact, count);
        CHECK(d <= bound, "%s, stream %d: %g away, %g allowed", what, s, d, bound);
        drop(&see);
    }
    free(first);
    free(exact);
}

/* Open rows, then the same cells packed. */
static void test_one(sparamx_kv_options o, bool attach, int64_t group, int64_t tokens, int32_t streams, bool masked,
                     float softcap, float max_bias, bool sinks) {
    char what[200];
    const sparamx_kv *kv[2];
    kv_case c[2];
    for (int32_t s = 0; s < streams; s++) {
        c[s] = kv_make(o, attach, (uint64_t)(s * 100 + o.k_dim + tokens));
        kv[s] = c[s].kv;
        CHECK(kv_write_cells(&c[s], 0, o.cells - 3) == SPARAMX_OK, "cells could not be written");
        CHECK(sparamx_kv_remove(c[s].kv, 70 + s, 5) == SPARAMX_OK, "cells could not be removed");
    }
    kv_ask ask = kv_question(kv, streams, &c[0].options, o.heads * group, tokens, o.cells - 1, masked, 3);
    ask.a.softcap = softcap, ask.a.max_bias = max_bias;
    float sink[64];
    for (int i = 0; i < 64; i++) sink[i] = (float)i / 8 - 2;
    if (sinks) ask.sinks = make_tensor(SPARAMX_TYPE_F32, o.heads * group, 1, 1, 1, sink, NULL);
    snprintf(what, sizeof what, "types %d %d values %d dims %d %d, %d heads x %d, %d tokens, zeros %g %g", o.type_k,
             o.type_v, o.values, o.k_dim, o.v_dim, o.heads, (int)group, (int)tokens, (double)o.k_zeros,
             (double)o.v_zeros);
    judge(&ask, kv, &o, 2e-5, what);
    for (int32_t s = 0; s < streams; s++) {
        sparamx_kv_info before = {.size = sizeof before}, after = {.size = sizeof after};
        sparamx_kv_get_info(c[s].kv, &before);
        CHECK(kv_pack_all(c[s].kv, 1 + s * 2, -1) == SPARAMX_OK, "%s: pack", what);
        sparamx_kv_get_info(c[s].kv, &after);
        CHECK(before.packed_blocks == 0 && after.packed_blocks == o.cells / 64 - 1, "%s: %d packed", what,
              (int)after.packed_blocks); /* block 1 lacks cells */
        CHECK(sparamx_kv_verify(c[s].kv) == SPARAMX_OK, "%s: verify", what);
    }
    strcat(what, ", packed");
    judge(&ask, kv, &o, o.values == SPARAMX_KV_KEPT ? 2e-5 : 1e-3, what);
    kv_end_question(&ask);
    for (int32_t s = 0; s < streams; s++) kv_drop(&c[s]);
}

static void test_grid(void) {
    static const int32_t types[] = {SPARAMX_TYPE_F16, SPARAMX_TYPE_BF16, SPARAMX_TYPE_F32, SPARAMX_TYPE_Q8_0};
    static const struct {
        int32_t heads, k_dim, v_dim, group, tokens, streams;
        float k_zeros, v_zeros, softcap, max_bias;
        bool masked, sinks, attach;
    } cases[] = {
        {2, 64, 64, 1, 1, 1, 0, 0, 0, 0, false, false, false},
        {2, 128, 128, 4, 1, 1, 0.3f, 0.5f, 0, 0, true, false, true},
        {1, 80, 96, 3, 2, 1, 0.5f, 0, 0, 8, true, false, false},
        {1, 256, 64, 2, 5, 2, 0, 0.7f, 30, 0, true, true, false},
        {3, 96, 80, 5, 3, 1, 0, 0, 0, 4, true, true, true},
        {1, 64, 128, 8, 16, 2, 0.9f, 0.95f, 0, 0, false, true, true},
        {1, 512, 16, 1, 2, 1, 0.2f, 0.1f, 5, 2, true, false, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        for (size_t t = 0; t < COUNT(types); t++)
            for (int32_t values = 0; values < 2; values++) {
                sparamx_kv_options o =
                    kv_options(types[t], cases[i].heads, cases[i].k_dim, cases[i].v_dim, CELLS);
                if (t == 1) o.type_v = SPARAMX_TYPE_F16; /* the two need not be alike */
                if (values == SPARAMX_KV_KEPT && t > 1) continue;
                if (types[t] == SPARAMX_TYPE_Q8_0 && (o.k_dim % 32 != 0 || o.v_dim % 32 != 0)) continue;
                o.values = values, o.k_zeros = cases[i].k_zeros, o.v_zeros = cases[i].v_zeros;
                if (tiles_emulated() && (i + t) % 3 != 0) continue; /* interpreted instructions are slow */
                test_one(o, cases[i].attach, cases[i].group, cases[i].tokens, cases[i].streams, cases[i].masked,
                         cases[i].softcap, cases[i].max_bias, cases[i].sinks);
            }
}

/* -- the error of codes -------------------------------------------------------------------------------------------- */

static float rounded(float x) { return kv_half(kv_to_half(x)); }

/* One row of attention as ggml computes it on a CPU where keys and values are float16: q rounded to float16, scores in
 * float32, values summed up in float16, cell after cell. */
static void ggml_float16(const float *q, const float *k, const float *v, int64_t cells, int64_t dim, float scale,
                         float *out) {
    float most = -INFINITY, sum = 0;
    for (int64_t d = 0; d < dim; d++) out[d] = 0;
    for (int64_t c = 0; c < cells; c++) {
        float s = 0, old = 1, weight = 1;
        for (int64_t d = 0; d < dim; d++) s += rounded(q[d]) * k[c * dim + d];
        s *= scale;
        if (s > most) {
            old = expf(most - s);
            most = s;
            for (int64_t d = 0; d < dim; d++) out[d] = rounded(out[d] * old);
        } else {
            weight = expf(s - most);
        }
        for (int64_t d = 0; d < dim; d++) out[d] = rounded(out[d] + v[c * dim + d] * weight);
        sum = sum * old + weight;
    }
    for (int64_t d = 0; d < dim; d++) out[d] /= sum;
}

static void test_error(void) {
    static const int64_t lengths[] = {512, 4096};
    enum { DIM = 128, HEADS = 4 };
    for (size_t i = 0; i < COUNT(lengths); i++) {
        int64_t cells = lengths[i];
        if (tiles_emulated() && cells > 1000) continue;
        kv_case c = kv_make(kv_options(SPARAMX_TYPE_F16, 1, DIM, DIM, cells), false, 77);
        kv_write_cells(&c, 0, cells);
        CHECK(kv_pack_all(c.kv, 2, -1) == SPARAMX_OK, "pack");
        const sparamx_kv *kv[] = {c.kv};
        kv_ask ask = kv_question(kv, 1, &c.options, HEADS, 1, cells, false, 8);
        CHECK(kv_attend(&ask, 2) == SPARAMX_OK, "attend");
        float *k = must_allocate((size_t)(cells * DIM) * 4), *v = must_allocate((size_t)(cells * DIM) * 4);
        bool *there = must_allocate((size_t)cells);
        memset(there, 1, (size_t)cells);
        kv_numbers(SPARAMX_TYPE_F16, cells * DIM, c.k, k);
        kv_numbers(SPARAMX_TYPE_F16, cells * DIM, c.v, v);
        static double exact[HEADS * DIM];
        kv_exact(&ask, &c.options, 0, k, v, there, exact);
        double ours = 0, theirs = 0;
        for (int h = 0; h < HEADS; h++) {
            float out[DIM];
            ggml_float16((const float *)ask.q.data + h * DIM, k, v, cells, DIM, ask.a.scale, out);
            for (int d = 0; d < DIM; d++) {
                ours += pow((double)((const float *)ask.dst.data)[h * DIM + d] - exact[h * DIM + d], 2);
                theirs += pow((double)out[d] - exact[h * DIM + d], 2);
            }
        }
        CHECK(sqrt(ours) < 4 * sqrt(theirs), "%d cells: the error of codes is %.3g times that of float16", (int)cells,
              sqrt(ours / theirs));
        printf("%d cells: the error of codes is %.3g times that of float16\n", (int)cells, sqrt(ours / theirs));
        kv_end_question(&ask);
        kv_drop(&c);
        free(k);
        free(v);
        free(there);
    }
}

/* -- what is no number --------------------------------------------------------------------------------------------- */

static void test_nan(void) {
    static const uint16_t strange[] = {0x7e00, 0x7c00, 0xfc00};
    for (size_t i = 0; i < COUNT(strange); i++)
        for (int side = 0; side < 2; side++)
            for (int values = 0; values < 2; values++) {
                sparamx_kv_options o = kv_options(SPARAMX_TYPE_F16, 1, 64, 64, 192);
                o.values = values;
                kv_case c = kv_make(o, false, 5);
                uint8_t *row = side ? c.v + 140 * c.v_row : c.k + 140 * c.k_row;
                memcpy(row + 6, &strange[i], 2);
                kv_write_cells(&c, 0, 192);
                const sparamx_kv *kv[] = {c.kv};
                for (int packed = 0; packed < 2; packed++) {
                    if (packed) kv_pack_all(c.kv, 1, -1);
                    kv_ask ask = kv_question(kv, 1, &o, 2, 2, 192, true, 1);
                    uint16_t *mask = ask.mask.data;
                    mask[140] = 0, mask[192 + 140] = 0xfc00; /* the first token sees it, the second does not */
                    CHECK(kv_attend(&ask, 2) == SPARAMX_OK, "attend");
                    const float *dst = ask.dst.data;
                    int bad[2] = {0, 0};
                    for (int j = 0; j < 256; j++) bad[j / 128] += !isfinite(dst[j]);
                    /* Keys that are infinite may give a score of -infinity, which is a number to exp; codes are NaN. */
                    bool hides = side == 0 && i > 0 && !(packed && values == SPARAMX_KV_INT8);
                    CHECK(hides || bad[0] > 0, "%x in side %d is not seen, packed %d", strange[i], side, packed);
                    CHECK(bad[1] == 0, "%x that is masked out is seen, side %d, packed %d: %d", strange[i], side,
                          packed, bad[1]);
                    kv_end_question(&ask);
                }
                kv_drop(&c);
            }
}

/* Tokens that see nothing, and caches in which nothing is. */
static void test_nothing(void) {
    sparamx_kv_options o = kv_options(SPARAMX_TYPE_F16, 2, 64, 64, 128);
    kv_case c = kv_make(o, false, 5);
    const sparamx_kv *kv[] = {c.kv};
    kv_ask ask = kv_question(kv, 1, &o, 4, 2, 128, true, 1);
    float sink[4] = {1, 2, 3, 4};
    for (int round = 0; round < 6; round++) {
        if (round == 2) kv_write_cells(&c, 0, 128);
        if (round == 4) kv_pack_all(c.kv, 1, -1);
        for (int i = 0; i < 128; i++) ((uint16_t *)ask.mask.data)[i] = 0xfc00;
        ask.sinks = make_tensor(SPARAMX_TYPE_F32, 4, 1, 1, 1, round & 1 ? sink : NULL, NULL);
        memset(ask.dst.data, 0xff, 4 * 4 * 128);
        CHECK(kv_attend(&ask, 1) == SPARAMX_OK, "attend");
        const float *dst = ask.dst.data;
        int zeros[2] = {0, 0};
        for (int j = 0; j < 512; j++) zeros[j / 256] += dst[j] == 0;
        CHECK(zeros[0] == 256, "a token that sees nothing gets %d zeros", zeros[0]);
        CHECK(zeros[1] == (round < 2 ? 256 : 0), "a token that sees cells gets %d zeros in round %d", zeros[1], round);
    }
    kv_end_question(&ask);
    kv_drop(&c);
}

int main(void) {
    test_grid();
    test_error();
    test_nan();
    test_nothing();
    return check_end();
}
