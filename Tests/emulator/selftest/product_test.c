/*
 * product_test.c - products of tiles against the scalar loops.
 */
#include "machine.h"
#include "reference.h"

#include <immintrin.h>
#include <string.h>

void test_products(int op) {
    if (on_hardware && op == TILE_TDPFP16PS && !cpu_has_fp16) {
        skipped++;
        return;
    }
    for (int i = 0; i < 400; i++) {
        const int kind = on_hardware && op >= TILE_TDPBF16PS ? 1 + 2 * (i & 1) : i & 3;
        unsigned d, a, b;
        do {
            d = random_below(8);
            a = random_below(8);
            b = random_below(8);
        } while (d == a || d == b || a == b);
        const int full = i % 8 == 7;
        const unsigned rows = full ? 16 : 1 + random_below(16), depth = full ? 16 : 1 + random_below(16);
        const unsigned cols = full ? 16 : 1 + random_below(16);
        config c = empty_config();
        for (unsigned t = 0; t < 8; t++)
            if (random_below(2)) set_tile(&c, t, 1 + random_below(16), 4 * (1 + random_below(16)));
        set_tile(&c, d, rows, 4 * cols);
        set_tile(&c, a, rows, 4 * depth);
        set_tile(&c, b, depth, 4 * cols);
        tile_bytes in[8], out[8];
        for (unsigned t = 0; t < 8; t++) fill(op, kind, in[t], t == d);
        ldtilecfg(&c);
        for (unsigned t = 0; t < 8; t++)
            if (rows_of(&c, t) != 0) load(t, in[t], 64);

        /* Twice, so that what lies outside the configured part of the result would show if it grew. */
        tdp(op, d, a, b);
        tdp(op, d, a, b);
        reference_tdp(op, in[d], in[a], in[b], rows, depth, cols);
        reference_tdp(op, in[d], in[a], in[b], rows, depth, cols);
        int others = 1;
        for (unsigned t = 0; t < 8; t++) {
            if (rows_of(&c, t) == 0) continue;
            memset(out[t], 0, sizeof out[t]);
            store(t, out[t], 64);
            if (t == d) continue;
            for (unsigned r = 0; r < rows_of(&c, t); r++)
                others &= memcmp(in[t][r], out[t][r], colsb_of(&c, t)) == 0;
        }
        CHECK(same(op, in[d], out[d], rows, cols), "%s tmm%u, tmm%u, tmm%u: %u x %u x %u, kind %d",
              tile_emulator_name(op), d, a, b, rows, depth, cols, kind);
        CHECK(others, "%s leaves the other tiles alone", tile_emulator_name(op));
    }
    tilerelease();
}

void test_float_corners(void) {
    config c = empty_config();
    set_tile(&c, 0, 1, 8);
    set_tile(&c, 1, 1, 4);
    set_tile(&c, 2, 1, 8);
    ldtilecfg(&c);
    static const struct {
        const char *what;
        uint16_t a[2], b[2];
        uint32_t before, after;
    } cases[] = {
        {"1*2 + 3*4 + 5", {0x3f80, 0x4040}, {0x4000, 0x4080}, 0x40a00000, 0x41980000},
        {"a denormal operand is zero", {0x0001, 0}, {0x7f00, 0}, 0x3f800000, 0x3f800000},
        {"a denormal in the result tile is zero", {0, 0}, {0, 0}, 0x007fffff, 0x00000000},
        {"a result that is denormal becomes zero", {0x1f80, 0}, {0x1f80, 0}, 0x00000000, 0x00000000},
        {"2^-63 * 2^-63 is the smallest normal number", {0x2000, 0}, {0x2000, 0}, 0, 0x00800000},
        {"a negative denormal becomes minus zero plus zero", {0, 0}, {0, 0}, 0x80000001, 0x00000000},
        {"infinity", {0x7f80, 0}, {0x3f80, 0}, 0x3f800000, 0x7f800000},
        {"infinity times zero is no number", {0x7f80, 0}, {0, 0}, 0x3f800000, 0x7fc00000},
        {"even + odd are added before C: 2^24 - 2^24 + 1", {0x4b80, 0x3f80}, {0x3f80, 0x3f80}, 0xcb800000, 0x3f800000},
        {"rounding to even of 2^24 + 1", {0x3f80, 0}, {0x3f80, 0}, 0x4b800000, 0x4b800000},
        {"rounding to even of 2^24 + 3", {0x4040, 0}, {0x3f80, 0}, 0x4b800000, 0x4b800002},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (i == 8 && on_hardware) continue;
        uint32_t result[2] = {cases[i].before, 0x3f800000};
        const uint16_t b[4] = {cases[i].b[0], cases[i].b[1], 0, 0};
        load(0, result, 8);
        load(1, cases[i].a, 4);
        load(2, b, 8);
        tdp(TILE_TDPBF16PS, 0, 1, 2);
        store(0, result, 8);
        /* even + odd rounds 2^24 + 1 to 2^24, so the sum with -2^24 is 0 and not 1 */
        const uint32_t expected = i == 8 ? 0 : cases[i].after;
        CHECK(result[0] == expected || (is_nan(expected) && is_nan(result[0])), "%s: %08x, not %08x", cases[i].what,
              result[0], expected);
    }

    /* MXCSR is neither consulted nor changed. */
    uint32_t results[4];
    const uint16_t a[2] = {0x3f81, 0x3f83}, b[4] = {0x3f85, 0x3f87, 0x3f89, 0x3f8b};
    for (unsigned mode = 0; mode < 4; mode++) {
        uint32_t sum[2] = {0x4b000001, 0x4b000003};
        const unsigned before = _mm_getcsr(), during = (before & ~0x6000u) | mode << 13;
        load(0, sum, 8);
        load(1, a, 4);
        load(2, b, 8);
        _mm_setcsr(during);
        tdp(TILE_TDPBF16PS, 0, 1, 2);
        CHECK((_mm_getcsr() & ~0x3fu) == (during & ~0x3fu), "MXCSR is kept");
        _mm_setcsr(before);
        store(0, sum, 8);
        results[mode] = sum[0];
        CHECK(results[mode] == results[0], "rounding mode %u has no effect", mode);
    }
    tilerelease();
}

/* Several instructions without anything between them, which the emulator does in one go. */
void test_group(void) {
    tile_bytes a, b, c, out;
    random_bytes(a, sizeof a);
    random_bytes(b, sizeof b);
    memset(c, 0, sizeof c);
    config setup = full_config(), after;
    const uint64_t before = total_count();
    __asm__ volatile(
        "ldtilecfg (%[setup])\n"
        "tilezero %%tmm0\n"
        "tileloadd (%[a],%[stride],1), %%tmm1\n"
        "tileloaddt1 (%[b],%[stride],1), %%tmm2\n"
        "tdpbssd %%tmm2, %%tmm1, %%tmm0\n"
        "tdpbuud %%tmm2, %%tmm1, %%tmm0\n"
        "tilestored %%tmm0, (%[out],%[stride],1)\n"
        "tilerelease\n"
        "sttilecfg (%[after])\n"
        :
        : [setup] "r"(&setup), [a] "r"(a), [b] "r"(b), [out] "r"(out), [after] "r"(&after), [stride] "r"(64ul)
        : "memory");
    reference_tdp(TILE_TDPBSSD, c, a, b, 16, 16, 16);
    reference_tdp(TILE_TDPBUUD, c, a, b, 16, 16, 16);
    CHECK(memcmp(c, out, sizeof c) == 0, "a group of instructions");
    CHECK(after.bytes[0] == 0, "released at its end");
    CHECK(on_hardware || total_count() - before == 9, "nine instructions counted");
}
