/*
 * memory_test.c - tiles and configurations in memory: which bytes are read and written, and every form of address.
 */
#include "machine.h"
#include "reference.h"

#include <string.h>
#include <sys/mman.h>

FOR_ASSEMBLER uint8_t selftest_config[64], selftest_config_out[64];

/* Rows and columns of every size, strides of every sign, and not one byte outside. */
void test_memory(void) {
    static uint8_t source[1 << 16], target[1 << 16], expected[1 << 16];
    for (int i = 0; i < 300; i++) {
        config c = empty_config();
        const unsigned t = random_below(8), rows = 1 + random_below(16), colsb = 4 * (1 + random_below(16));
        set_tile(&c, t, rows, colsb);
        ldtilecfg(&c);
        random_bytes(source, sizeof source);
        random_bytes(target, sizeof target);
        memcpy(expected, target, sizeof target);
        const long load_stride = (long)random_below(3000) - 1500;
        const long store_stride = (long)(colsb + random_below(1000)) * (random_below(2) ? 1 : -1);
        const uint8_t *from = source + 30000 + random_below(64);
        uint8_t *to = target + 30000 + random_below(64);
        tile(random_below(2) ? selftest_tileloadd : selftest_tileloaddt1, t, from, load_stride);
        store(t, to, store_stride);
        for (unsigned r = 0; r < rows; r++)
            memcpy(expected + (to - target) + (long)r * store_stride, from + (long)r * load_stride, colsb);
        CHECK(memcmp(target, expected, sizeof target) == 0, "tile %u, %u rows of %u bytes, strides %ld and %ld", t,
              rows, colsb, load_stride, store_stride);
    }

    /* The last byte before a page that cannot be touched. */
    const size_t page = 4096;
    uint8_t *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + page, page, PROT_NONE) != 0) {
        skipped++;
        return;
    }
    random_bytes(pages, page);
    for (unsigned colsb = 4; colsb <= 64; colsb += 4) {
        config c = empty_config();
        tile_bytes out;
        set_tile(&c, 2, 5, colsb);
        ldtilecfg(&c);
        load(2, pages + page - 5 * colsb, colsb);
        store(2, out, 64);
        store(2, pages + page - 5 * colsb, colsb);
        int equal = 1;
        for (unsigned r = 0; r < 5; r++) equal &= memcmp(out[r], pages + page - (5 - r) * colsb, colsb) == 0;
        CHECK(equal, "five rows of %u bytes before a guard page", colsb);
    }
    munmap(pages, 2 * page);
    tilerelease();
}

/* Every base, index, scale and size of displacement. */
void test_addressing(void) {
    static uint8_t area[1 << 18], copy[1 << 18];
    static const int disps[3] = {0, -128, 8192};
    tile_bytes in, out;
    config c = empty_config();
    set_tile(&c, 5, 7, 20);
    ldtilecfg(&c);
    const long stride = 72;
    selftest_base = (uint64_t)(uintptr_t)(area + (1 << 17)); /* with RSP as the base, the signal frame lies below */
    for (unsigned base = 0; base < 16; base++) {
        for (unsigned index = 0; index < 15; index++) {
            const unsigned index_register = index < 4 ? index : index + 1; /* without RSP */
            if (index_register == base) continue;
            for (unsigned scale = 0; scale < 4; scale++) {
                for (unsigned d = 0; d < 3; d++) {
                    const unsigned entry = ((base * 15 + index) * 4 + scale) * 3 + d;
                    uint8_t *at = area + (1 << 17) + disps[d];
                    selftest_index = (uint64_t)stride >> scale;
                    random_bytes(at, 7 * stride);
                    memcpy(copy, at, 7 * stride);
                    selftest_enter(selftest_load_from + 64 * entry);
                    store(5, out, 64);
                    int equal = 1;
                    for (unsigned r = 0; r < 7; r++) equal &= memcmp(out[r], copy + stride * r, 20) == 0;
                    CHECK(equal, "tileloadd, base %u, index %u, scale %u, displacement %d", base, index_register,
                          1u << scale, disps[d]);

                    random_bytes(in, sizeof in);
                    load(5, in, 64);
                    memset(at, 0xaa, 7 * stride);
                    selftest_enter(selftest_store_to + 64 * entry);
                    memset(copy, 0xaa, 7 * stride);
                    for (unsigned r = 0; r < 7; r++) memcpy(copy + stride * r, in[r], 20);
                    CHECK(memcmp(at, copy, 7 * stride) == 0,
                          "tilestored, base %u, index %u, scale %u, displacement %d", base, index_register,
                          1u << scale, disps[d]);
                }
            }
        }
    }

    /* No index: every row from the same address. No base: a displacement of 32 bits and the index. */
    random_bytes(in, sizeof in);
    __asm__ volatile("tileloadd 4(%0), %%tmm5" : : "r"(in) : "memory");
    store(5, out, 64);
    int equal = 1;
    for (unsigned r = 0; r < 7; r++) equal &= memcmp(out[r], &in[0][4], 20) == 0;
    CHECK(equal, "tileloadd without an index");

    const size_t low = 0x20000000;
    uint8_t *fixed = mmap((void *)low, 4096, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (fixed == (uint8_t *)low) {
        random_bytes(fixed, 4096);
        __asm__ volatile("tileloadd 0x20000000(,%0,2), %%tmm5" : : "r"(40ul) : "memory");
        store(5, out, 64);
        equal = 1;
        for (unsigned r = 0; r < 7; r++) equal &= memcmp(out[r], fixed + 80 * r, 20) == 0;
        CHECK(equal, "tileloadd without a base");
        memcpy(fixed, &c, 64);
        tilerelease();
        __asm__ volatile("ldtilecfg 0x20000000" ::: "memory");
        __asm__ volatile("sttilecfg 0x20000040" ::: "memory");
        CHECK(memcmp(fixed + 64, &c, 64) == 0, "ldtilecfg and sttilecfg at an absolute address");
    } else {
        skipped++;
    }

    /* The configuration: every base without index, RIP, and base with index. */
    for (unsigned base = 0; base < 16; base++) {
        for (unsigned d = 0; d < 3; d++) {
            uint8_t *at = area + (1 << 17) + disps[d];
            c = empty_config();
            set_tile(&c, base % 8, 1 + base, 4 + 4 * d);
            memcpy(at, &c, 64);
            selftest_enter(selftest_ldtilecfg_from + 32 * (base * 3 + d));
            memset(at, 0xaa, 64);
            selftest_enter(selftest_sttilecfg_to + 32 * (base * 3 + d));
            CHECK(memcmp(at, &c, 64) == 0, "ldtilecfg and sttilecfg, base %u, displacement %d", base, disps[d]);
        }
    }
    c = full_config();
    memcpy(selftest_config, &c, 64);
    __asm__ volatile("ldtilecfg selftest_config(%%rip)" ::: "memory");
    __asm__ volatile("sttilecfg selftest_config_out(%%rip)" ::: "memory");
    CHECK(memcmp(selftest_config_out, &c, 64) == 0, "ldtilecfg and sttilecfg relative to RIP");
    tilerelease();
    __asm__ volatile("movq %0, %%r13\nmovq $3, %%r9\nldtilecfg -24(%%r13,%%r9,8)" : : "r"(&c) : "r9", "r13", "memory");
    CHECK(tile_emulator_state(selftest_config_out) == 1 && memcmp(selftest_config_out, &c, 64) == 0,
          "ldtilecfg with an index");
    tilerelease();
}
