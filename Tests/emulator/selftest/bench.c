/*
 * bench.c - what one emulated instruction costs, alone and in a group.
 */
#include "machine.h"
#include "reference.h"

#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#define BENCH(what, per_round, statement)                                                         \
    do {                                                                                          \
        double best = 1e30;                                                                       \
        for (int repeat = 0; repeat < 10; repeat++) {                                             \
            const double start = now();                                                           \
            for (int i = 0; i < 2000; i++) { statement; }                                         \
            const double each = (now() - start) / (2000.0 * (per_round));                         \
            if (each < best) best = each;                                                         \
        }                                                                                         \
        printf("%-44s %8.0f ns\n", what, best);                                                   \
    } while (0)

#define TIMES_8(text) text text text text text text text text

void bench(void) {
    static tile_bytes t __attribute__((aligned(64)));
    static uint8_t strided[16 * 4096];
    const config c = full_config();
    config out;
    fill(TILE_TDPBF16PS, 1, t, 0);
    ldtilecfg(&c);
    printf("alone (one signal each), full tiles, best of 10 x 2000:\n");
    BENCH("  sttilecfg", 1, sttilecfg(&out));
    BENCH("  ldtilecfg", 1, ldtilecfg(&c));
    for (unsigned i = 0; i < 8; i++) load(i, t, 64);
    BENCH("  tilezero", 1, tile(selftest_tilezero, 0, NULL, 0));
    BENCH("  tileloadd", 1, load(0, t, 64));
    BENCH("  tileloadd, stride 4096", 1, load(0, strided, 4096));
    BENCH("  tilestored", 1, store(0, t, 64));
    fill(TILE_TDPBF16PS, 1, t, 0);
    for (unsigned i = 0; i < 8; i++) load(i, t, 64);
    BENCH("  tdpbssd", 1, tdp(TILE_TDPBSSD, 0, 1, 2));
    BENCH("  tdpbsud", 1, tdp(TILE_TDPBSUD, 0, 1, 2));
    BENCH("  tdpbusd", 1, tdp(TILE_TDPBUSD, 0, 1, 2));
    BENCH("  tdpbuud", 1, tdp(TILE_TDPBUUD, 0, 1, 2));
    tile(selftest_tilezero, 0, NULL, 0);
    BENCH("  tdpbf16ps", 1, tdp(TILE_TDPBF16PS, 0, 1, 2));
    BENCH("  tdpfp16ps", 1, tdp(TILE_TDPFP16PS, 0, 1, 2));
    printf("in groups of eight, per instruction:\n");
    BENCH("  tilezero", 8, __asm__ volatile(TIMES_8("tilezero %%tmm0\n") ::: "memory"));
    BENCH("  tileloadd", 8,
          __asm__ volatile(TIMES_8("tileloadd (%0,%1,1), %%tmm7\n") : : "r"(t), "r"(64ul) : "memory"));
    BENCH("  tdpbssd", 8, __asm__ volatile(TIMES_8("tdpbssd %%tmm2, %%tmm1, %%tmm0\n") ::: "memory"));
    tile(selftest_tilezero, 0, NULL, 0);
    BENCH("  tdpbf16ps", 8, __asm__ volatile(TIMES_8("tdpbf16ps %%tmm2, %%tmm1, %%tmm0\n") ::: "memory"));
    tilerelease();
}
