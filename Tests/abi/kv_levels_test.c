/*
 * kv_levels_test - attention has the same bits at this level as at level reference, which a child process computes:
 * rows of every type, codes and numbers kept, pruned or not, every dimension that models have, masks, ALiBi, soft caps,
 * sinks, numbers that are none.
 */
#define _GNU_SOURCE
#include "check.h"
#include "kv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CELLS = 600, MOST = 1 << 15, CASES = 96 };

static const int32_t types[] = {SPARAMX_TYPE_F16, SPARAMX_TYPE_BF16, SPARAMX_TYPE_F32, SPARAMX_TYPE_Q8_0};
static const int32_t dims[] = {64, 80, 96, 128, 256, 16};

typedef struct result {
    sparamx_status status;
    int32_t count;
    float dst[MOST];
} result;

/* What case i is follows from its number alone. */
static void compute(int i, result *r) {
    uint64_t state = (uint64_t)i * 977 + 5;
    sparamx_kv_options o = kv_options(types[i % 4], 1 + i % 2, dims[i / 4 % 6], dims[i / 3 % 6], CELLS);
    if (o.type_k == SPARAMX_TYPE_Q8_0) o.k_dim = (o.k_dim + 31) / 32 * 32, o.v_dim = (o.v_dim + 31) / 32 * 32;
    if (i % 4 < 2 && i % 5 == 0) o.values = SPARAMX_KV_KEPT;
    if (i % 3 > 0) o.k_zeros = (float)(random_next(&state) % 90) / 100, o.v_zeros = (float)(i % 7) / 8;
    kv_case c = kv_make(o, i % 2 == 1, (uint64_t)i);
    if (i % 11 == 7) memset(c.k + 130 * c.k_row, 0x7f, 40); /* no numbers, or large ones */
    if (i % 13 == 5) memset(c.v + 330 * c.v_row, 0xff, 40);
    if (i % 17 == 3) memset(c.k + 64 * c.k_row, 0, 64 * c.k_row); /* scales of zero */
    kv_write_cells(&c, 0, CELLS - 30);
    sparamx_kv_remove(c.kv, 200, 1 + i);
    if (i % 6 != 5) kv_pack_all(c.kv, 1, -1);
    const sparamx_kv *kv[] = {c.kv};
    int64_t heads = o.heads * (1 + i % 5), tokens = 1 + i / 7 % 4;
    kv_ask ask = kv_question(kv, 1, &o, heads, tokens, CELLS - i, i % 4 != 1, (uint64_t)i);
    float *q = ask.q.data, sinks[16];
    if (i % 19 == 2) q[5] = NAN;
    if (i % 19 == 4) memset(q, 0, (size_t)o.k_dim * 4);
    if (i % 19 == 6) q[3] = 1e-38f;
    if (i % 23 == 1) for (int d = 0; d < o.k_dim; d++) q[d] *= 3e4f;
    for (int h = 0; h < 16; h++) sinks[h] = (float)h - 4;
    if (i % 4 == 2) ask.sinks = make_tensor(SPARAMX_TYPE_F32, heads, 1, 1, 1, sinks, NULL);
    ask.a.softcap = i % 8 == 3 ? 15 : 0, ask.a.max_bias = i % 5 == 2 ? 6 : 0;
    r->count = (int32_t)(o.v_dim * heads * tokens);
    if (r->count > MOST) exit(2);
    r->status = kv_attend(&ask, 2);
    memcpy(r->dst, ask.dst.data, (size_t)r->count * 4);
    kv_end_question(&ask);
    kv_drop(&c);
}

static bool same(float a, float b) { return (isnan(a) && isnan(b)) || memcmp(&a, &b, 4) == 0 || (a == 0 && b == 0); }

int main(void) {
    result *wanted = mmap(NULL, sizeof(result) * CASES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    result *got = must_allocate(sizeof *got);
    if (wanted == MAP_FAILED) return 2;
    int end = 0, no_numbers = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        setenv("SPARAMX_ISA", "reference", 1);
        if (isa_level() != SPARAMX_ISA_REFERENCE) _exit(2);
        for (int i = 0; i < CASES; i++) compute(i, &wanted[i]);
        _exit(0);
    }
    waitpid(child, &end, 0);
    if (!CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "level reference does not compute")) return check_end();
    for (int i = 0; i < CASES; i++) {
        compute(i, got);
        CHECK(got->status == SPARAMX_OK && wanted[i].status == SPARAMX_OK, "case %d: %d and %d", i, got->status,
              wanted[i].status);
        int differ = 0, first = -1;
        for (int j = 0; j < got->count; j++) {
            no_numbers += isnan(got->dst[j]);
            if (same(got->dst[j], wanted[i].dst[j])) continue;
            if (differ++ == 0) first = j;
        }
        CHECK(differ == 0, "case %d: %d of %d results differ, the first %d: %.9g and not %.9g", i, differ, got->count,
              first, (double)got->dst[first < 0 ? 0 : first], (double)wanted[i].dst[first < 0 ? 0 : first]);
    }
    CHECK(no_numbers > 0, "no case had a NaN");
    free(got);
    return check_end();
}
