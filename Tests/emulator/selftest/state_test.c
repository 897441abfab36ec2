/*
 * state_test.c - the configuration, what zeroes a tile, and whose tiles and registers are touched.
 */
#include "machine.h"
#include "reference.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

void test_config(void) {
    const config zero = empty_config();
    config c = full_config(), out;

    memset(&out, 0xaa, sizeof out);
    sttilecfg(&out);
    CHECK(memcmp(&out, &zero, 64) == 0, "sttilecfg without a configuration");
    memset(&out, 0xaa, sizeof out);
    CHECK(tile_emulator_state(out.bytes) == 0 && memcmp(&out, &zero, 64) == 0, "state without a configuration");

    for (int i = 0; i < 50; i++) {
        c = empty_config();
        set_tile(&c, random_below(8), 1 + random_below(16), 4 * (1 + random_below(16)));
        for (unsigned t = 0; t < 8; t++)
            if (random_below(2)) set_tile(&c, t, 1 + random_below(16), 4 * (1 + random_below(16)));
        ldtilecfg(&c);
        memset(&out, 0xaa, sizeof out);
        sttilecfg(&out);
        CHECK(memcmp(&out, &c, 64) == 0, "sttilecfg gives back what ldtilecfg read");
        memset(&out, 0xaa, sizeof out);
        CHECK(tile_emulator_state(out.bytes) == 1 && memcmp(&out, &c, 64) == 0, "state");
        CHECK(on_hardware || tile_emulator_configured_threads() == 1, "configured threads");
    }

    tilerelease();
    sttilecfg(&out);
    CHECK(memcmp(&out, &zero, 64) == 0, "sttilecfg after tilerelease");
    CHECK(on_hardware || tile_emulator_configured_threads() == 0, "configured threads after tilerelease");

    c = full_config();
    ldtilecfg(&c);
    ldtilecfg(&zero);
    sttilecfg(&out);
    CHECK(memcmp(&out, &zero, 64) == 0, "palette 0 releases");

    if (!on_hardware) { /* whether a CPU with AMX has palette 2 is another matter */
        random_bytes(c.bytes, sizeof c);
        c.bytes[0] = 2;
        ldtilecfg(&c);
        sttilecfg(&out);
        CHECK(memcmp(&out, &c, 64) == 0, "a configuration of palette 2 is kept as it is");
        CHECK(tile_emulator_configured_threads() == 1, "configured threads with palette 2");
    }
    tilerelease();
}

void test_zeroing(void) {
    tile_bytes in, out, zero;
    memset(zero, 0, sizeof zero);
    random_bytes(in, sizeof in);
    const config c = full_config();
    for (unsigned t = 0; t < 8; t++) {
        ldtilecfg(&c);
        load(t, in, 64);
        store(t, out, 64);
        CHECK(memcmp(in, out, sizeof in) == 0, "load and store of tile %u", t);
        tile(selftest_tileloaddt1, t, in[3], 32);
        store(t, out, 64);
        int equal = 1;
        for (unsigned r = 0; r < 16 && equal; r++) equal = memcmp(out[r], &in[3][0] + 32 * r, r < 15 ? 64 : 0) == 0;
        CHECK(equal, "tileloaddt1 with overlapping rows, tile %u", t);
        tile(selftest_tilezero, t, NULL, 0);
        store(t, out, 64);
        CHECK(memcmp(out, zero, sizeof zero) == 0, "tilezero of tile %u", t);
        load(t, in, 64);
        ldtilecfg(&c);
        store(t, out, 64);
        CHECK(memcmp(out, zero, sizeof zero) == 0, "ldtilecfg zeroes tile %u", t);
    }
    tilerelease();
}

/* General registers, flags and vector registers keep their contents. */
__attribute__((target("avx512f"))) void test_registers(void) {
    uint8_t in[3][64], out[3][64];
    uint64_t gpr[4] = {1, 2, 3, 4}, flags = 0;
    random_bytes(in, sizeof in);
    config c = full_config();
    ldtilecfg(&c);
    __asm__ volatile(
        "vmovdqu64 (%[in]), %%zmm0\n"
        "vmovdqu64 64(%[in]), %%zmm15\n"
        "vmovdqu64 128(%[in]), %%zmm31\n"
        "movq $0x1234567, %%r10\n"
        "movq $-2, %%r15\n"
        "stc\n"
        "tdpbf16ps %%tmm2, %%tmm1, %%tmm0\n"
        "tdpbusd %%tmm2, %%tmm1, %%tmm0\n"
        "pushfq\n"
        "popq %[flags]\n"
        "movq %%r10, (%[gpr])\n"
        "movq %%r15, 8(%[gpr])\n"
        "vmovdqu64 %%zmm0, (%[out])\n"
        "vmovdqu64 %%zmm15, 64(%[out])\n"
        "vmovdqu64 %%zmm31, 128(%[out])\n"
        : [flags] "=&r"(flags)
        : [in] "r"(in), [out] "r"(out), [gpr] "r"(gpr)
        : "memory", "cc", "r10", "r15", "xmm0", "xmm15", "xmm31");
    CHECK(memcmp(in, out, sizeof in) == 0, "vector registers");
    CHECK(gpr[0] == 0x1234567 && gpr[1] == (uint64_t)-2 && (flags & 1) == 1, "general registers and flags");
    tilerelease();
}

enum { THREADS = 4 };
static pthread_barrier_t barrier;
static int thread_ok[THREADS];

static void *thread_main(void *argument) {
    const unsigned id = (unsigned)(uintptr_t)argument;
    config c = empty_config(), out;
    tile_bytes in, back;
    int ok = 1;
    set_tile(&c, 3, 4 + id, 4 * (1 + id));
    memset(in, (int)(0x10 + id), sizeof in);
    sttilecfg(&out);
    /* Emulated, a new thread has no configuration though main has one. Linux gives it main's, but not the tiles. */
    ok &= on_hardware || out.bytes[0] == 0;
    pthread_barrier_wait(&barrier);
    ldtilecfg(&c);
    load(3, in, 64);
    pthread_barrier_wait(&barrier);
    ok &= on_hardware || tile_emulator_configured_threads() == THREADS + 1;
    memset(back, 0, sizeof back);
    store(3, back, 64);
    for (unsigned r = 0; r < 4 + id; r++) ok &= memcmp(back[r], in[r], 4 * (1 + id)) == 0;
    ok &= back[0][4 * (1 + id)] == 0;
    ok &= tile_emulator_state(out.bytes) == 1 && memcmp(&out, &c, 64) == 0;
    pthread_barrier_wait(&barrier);
    tilerelease();
    thread_ok[id] = ok;
    return NULL;
}

void test_threads(void) {
    pthread_t threads[THREADS];
    tile_bytes in, out;
    const config c = full_config();
    config after;
    random_bytes(in, sizeof in);
    ldtilecfg(&c);
    load(3, in, 64);
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, thread_main, (void *)(uintptr_t)i) != 0) abort();
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(thread_ok[i], "thread %u has its own tiles", i);
    }
    store(3, out, 64);
    sttilecfg(&after);
    CHECK(memcmp(in, out, sizeof in) == 0 && memcmp(&after, &c, 64) == 0, "the first thread kept its tiles");
    tilerelease();
    CHECK(on_hardware || tile_emulator_configured_threads() == 0, "no thread holds a configuration");
}
