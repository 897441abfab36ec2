/*
 * selftest.c - checks the tile emulator against plain scalar loops. On a CPU with AMX the same comparisons run on the
 * CPU's own instructions instead, which checks the loops.
 *
 *   selftest           all checks; last line "N passed, N failed, N skipped"; status 1 if any failed
 *   selftest --bench   what one emulated instruction costs
 *
 * The instructions are written by the assembler (tables of small functions below), so the emulator's decoder is
 * compared with an encoder that is not ours. Only TDPFP16PS is in bytes: binutils before 2.40 does not know it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tile_emulator.h"

#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int passed, failed, skipped, inexact;
static int on_hardware, cpu_has_fp16;

#define CHECK(condition, ...)                          \
    do {                                               \
        if (condition) {                               \
            passed++;                                  \
        } else {                                       \
            failed++;                                  \
            printf("FAILED %s:%d: ", __func__, __LINE__); \
            printf(__VA_ARGS__);                       \
            printf("\n");                              \
        }                                              \
    } while (0)

static uint64_t random_state = 88172645463325252ull;
static uint32_t random_u32(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}
static unsigned random_below(unsigned n) { return random_u32() % n; }
static void random_bytes(void *p, size_t n) {
    for (size_t i = 0; i < n; i++) ((uint8_t *)p)[i] = (uint8_t)random_u32();
}

/* ------------------------------------------------------------------------------------------- instruction tables -- */

/* clang-format off */
__asm__(
    ".text\n"
    /* [d][a][b], 8 bytes each */
    ".macro SELFTEST_TDP name insn\n"
    ".globl \\name\n.hidden \\name\n.balign 8\n\\name:\n"
    ".irp d,0,1,2,3,4,5,6,7\n.irp a,0,1,2,3,4,5,6,7\n.irp b,0,1,2,3,4,5,6,7\n"
    ".balign 8\n"
    ".if (\\d != \\a) && (\\d != \\b) && (\\a != \\b)\n"
    "\\insn %tmm\\b, %tmm\\a, %tmm\\d\n"
    ".endif\n"
    "ret\n"
    ".endr\n.endr\n.endr\n"
    ".endm\n"
    ".macro SELFTEST_FP16 name\n"
    ".globl \\name\n.hidden \\name\n.balign 8\n\\name:\n"
    ".irp d,0,1,2,3,4,5,6,7\n.irp a,0,1,2,3,4,5,6,7\n.irp b,0,1,2,3,4,5,6,7\n"
    ".balign 8\n"
    ".byte 0xc4, 0xe2, 0x03 | ((15 - \\b) << 3), 0x5c, 0xc0 | (\\d << 3) | \\a\n"
    "ret\n"
    ".endr\n.endr\n.endr\n"
    ".endm\n"
    "SELFTEST_TDP selftest_tdpbssd tdpbssd\n"
    "SELFTEST_TDP selftest_tdpbsud tdpbsud\n"
    "SELFTEST_TDP selftest_tdpbusd tdpbusd\n"
    "SELFTEST_TDP selftest_tdpbuud tdpbuud\n"
    "SELFTEST_TDP selftest_tdpbf16ps tdpbf16ps\n"
    "SELFTEST_FP16 selftest_tdpfp16ps\n"
    /* [t], 16 bytes each; address in RDI, stride in RSI */
    ".macro SELFTEST_TILE name insn\n"
    ".globl \\name\n.hidden \\name\n.balign 16\n\\name:\n"
    ".irp t,0,1,2,3,4,5,6,7\n"
    ".balign 16\n"
    ".ifc \\insn,tilestored\n"
    "\\insn %tmm\\t, (%rdi,%rsi,1)\n"
    ".else\n"
    ".ifc \\insn,tilezero\n"
    "\\insn %tmm\\t\n"
    ".else\n"
    "\\insn (%rdi,%rsi,1), %tmm\\t\n"
    ".endif\n"
    ".endif\n"
    "ret\n"
    ".endr\n"
    ".endm\n"
    "SELFTEST_TILE selftest_tileloadd tileloadd\n"
    "SELFTEST_TILE selftest_tileloaddt1 tileloaddt1\n"
    "SELFTEST_TILE selftest_tilestored tilestored\n"
    "SELFTEST_TILE selftest_tilezero tilezero\n"
    /* [base][index][scale][disp], 64 bytes each, entered through selftest_enter; tile 5 */
    ".macro SELFTEST_ADDRESS name insn before after\n"
    ".globl \\name\n.hidden \\name\n.balign 64\n\\name:\n"
    ".irp base,rax,rcx,rdx,rbx,rsp,rbp,rsi,rdi,r8,r9,r10,r11,r12,r13,r14,r15\n"
    ".irp index,rax,rcx,rdx,rbx,rbp,rsi,rdi,r8,r9,r10,r11,r12,r13,r14,r15\n"
    ".irp scale,1,2,4,8\n.irp disp,0,-128,8192\n"
    ".balign 64\n"
    ".ifnc \\base,\\index\n"
    "movq selftest_base(%rip), %\\base\n"
    "movq selftest_index(%rip), %\\index\n"
    "\\insn \\before \\disp(%\\base,%\\index,\\scale) \\after\n"
    ".endif\n"
    "movq selftest_rsp(%rip), %rsp\n"
    "ret\n"
    ".endr\n.endr\n.endr\n.endr\n"
    ".endm\n"
    "SELFTEST_ADDRESS selftest_load_from tileloadd \"\" \", %tmm5\"\n"
    "SELFTEST_ADDRESS selftest_store_to tilestored \"%tmm5,\" \"\"\n"
    /* [base][disp], 32 bytes each: ModRM without SIB where the register allows it */
    ".macro SELFTEST_CONFIG name insn\n"
    ".globl \\name\n.hidden \\name\n.balign 32\n\\name:\n"
    ".irp base,rax,rcx,rdx,rbx,rsp,rbp,rsi,rdi,r8,r9,r10,r11,r12,r13,r14,r15\n"
    ".irp disp,0,-128,8192\n"
    ".balign 32\n"
    "movq selftest_base(%rip), %\\base\n"
    "\\insn \\disp(%\\base)\n"
    "movq selftest_rsp(%rip), %rsp\n"
    "ret\n"
    ".endr\n.endr\n"
    ".endm\n"
    "SELFTEST_CONFIG selftest_ldtilecfg_from ldtilecfg\n"
    "SELFTEST_CONFIG selftest_sttilecfg_to sttilecfg\n"
    /* Calls the entry at RDI, which may spoil every register including RSP. */
    ".globl selftest_enter\n.hidden selftest_enter\n"
    "selftest_enter:\n"
    "pushq %rbx\npushq %rbp\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "leaq 1f(%rip), %rax\n"
    "pushq %rax\n"
    "movq %rsp, selftest_rsp(%rip)\n"
    "jmp *%rdi\n"
    "1:\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbp\npopq %rbx\n"
    "ret\n");
/* clang-format on */

#define FOR_ASSEMBLER __attribute__((visibility("hidden")))
extern const uint8_t selftest_tdpbssd[] FOR_ASSEMBLER, selftest_tdpbsud[] FOR_ASSEMBLER,
    selftest_tdpbusd[] FOR_ASSEMBLER, selftest_tdpbuud[] FOR_ASSEMBLER, selftest_tdpbf16ps[] FOR_ASSEMBLER,
    selftest_tdpfp16ps[] FOR_ASSEMBLER, selftest_tileloadd[] FOR_ASSEMBLER, selftest_tileloaddt1[] FOR_ASSEMBLER,
    selftest_tilestored[] FOR_ASSEMBLER, selftest_tilezero[] FOR_ASSEMBLER, selftest_load_from[] FOR_ASSEMBLER,
    selftest_store_to[] FOR_ASSEMBLER, selftest_ldtilecfg_from[] FOR_ASSEMBLER, selftest_sttilecfg_to[] FOR_ASSEMBLER;
void selftest_enter(const void *entry) FOR_ASSEMBLER;
FOR_ASSEMBLER uint64_t selftest_base, selftest_index, selftest_rsp;
FOR_ASSEMBLER uint8_t selftest_config[64], selftest_config_out[64];

typedef void (*plain_function)(void);
typedef void (*memory_function)(const void *address, long stride);

static void tdp(int op, unsigned d, unsigned a, unsigned b) {
    static const uint8_t *const table[] = {selftest_tdpbssd, selftest_tdpbsud,   selftest_tdpbusd,
                                           selftest_tdpbuud, selftest_tdpbf16ps, selftest_tdpfp16ps};
    ((plain_function)(uintptr_t)(table[op - TILE_TDPBSSD] + ((d * 8 + a) * 8 + b) * 8))();
    __asm__ volatile("" ::: "memory");
}

static void tile(const uint8_t *table, unsigned t, const void *address, long stride) {
    ((memory_function)(uintptr_t)(table + t * 16))(address, stride);
    __asm__ volatile("" ::: "memory");
}
static void load(unsigned t, const void *p, long stride) { tile(selftest_tileloadd, t, p, stride); }
static void store(unsigned t, void *p, long stride) { tile(selftest_tilestored, t, p, stride); }

typedef struct {
    uint8_t bytes[64];
} config;

static void ldtilecfg(const config *c) { __asm__ volatile("ldtilecfg %0" : : "m"(*c) : "memory"); }
static void sttilecfg(config *c) { __asm__ volatile("sttilecfg %0" : "=m"(*c) : : "memory"); }
static void tilerelease(void) { __asm__ volatile("tilerelease" ::: "memory"); }

static config empty_config(void) {
    config c;
    memset(&c, 0, sizeof c);
    return c;
}
static void set_tile(config *c, unsigned t, unsigned rows, unsigned colsb) {
    c->bytes[0] = 1;
    c->bytes[16 + 2 * t] = (uint8_t)colsb;
    c->bytes[17 + 2 * t] = (uint8_t)(colsb >> 8);
    c->bytes[48 + t] = (uint8_t)rows;
}
static unsigned rows_of(const config *c, unsigned t) { return c->bytes[48 + t]; }
static unsigned colsb_of(const config *c, unsigned t) { return c->bytes[16 + 2 * t]; }

static config full_config(void) {
    config c = empty_config();
    for (unsigned t = 0; t < 8; t++) set_tile(&c, t, 16, 64);
    return c;
}

/* ---------------------------------------------------------------------------------------------- scalar reference -- */

typedef uint8_t tile_bytes[16][64];

static float from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
static uint32_t to_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}
static float flush(float f) {
    const uint32_t bits = to_bits(f);
    return (bits & 0x7f800000u) == 0 ? from_bits(bits & 0x80000000u) : f;
}
static float from_half(uint16_t h) {
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const float sign = h & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexpf((float)fraction, -24);
    return sign * ldexpf((float)(1024 + fraction), exponent - 25);
}
static float element(int op, const uint8_t *p) {
    uint16_t bits;
    memcpy(&bits, p, 2);
    return op == TILE_TDPBF16PS ? flush(from_bits((uint32_t)bits << 16)) : from_half(bits);
}

static void reference_tdp(int op, tile_bytes c, tile_bytes a, tile_bytes b, unsigned rows, unsigned depth,
                          unsigned cols) {
    for (unsigned m = 0; m < rows; m++) {
        for (unsigned n = 0; n < cols; n++) {
            uint32_t old, result;
            memcpy(&old, &c[m][4 * n], 4);
            if (op >= TILE_TDPBF16PS) {
                float even = 0, odd = 0;
                for (unsigned k = 0; k < depth; k++) {
                    even = flush(fmaf(element(op, &a[m][4 * k]), element(op, &b[k][4 * n]), even));
                    odd = flush(fmaf(element(op, &a[m][4 * k + 2]), element(op, &b[k][4 * n + 2]), odd));
                }
                result = to_bits(flush(flush(from_bits(old)) + flush(even + odd)));
            } else {
                const int a_signed = op == TILE_TDPBSSD || op == TILE_TDPBSUD;
                const int b_signed = op == TILE_TDPBSSD || op == TILE_TDPBUSD;
                result = old;
                for (unsigned k = 0; k < depth; k++) {
                    for (unsigned i = 0; i < 4; i++) {
                        const int x = a_signed ? (int8_t)a[m][4 * k + i] : a[m][4 * k + i];
                        const int y = b_signed ? (int8_t)b[k][4 * n + i] : b[k][4 * n + i];
                        result += (uint32_t)(x * y);
                    }
                }
            }
            memcpy(&c[m][4 * n], &result, 4);
        }
    }
}

static int is_nan(uint32_t bits) { return (bits & 0x7fffffffu) > 0x7f800000u; }

/*
 * Whether the tiles agree. Every NaN equals every NaN. Hardware is not held to the last bit of the manual's order of
 * summation: a small relative difference there is counted and passes.
 */
static int same(int op, tile_bytes x, tile_bytes y, unsigned rows, unsigned cols) {
    for (unsigned m = 0; m < rows; m++) {
        for (unsigned n = 0; n < cols; n++) {
            uint32_t p, q;
            memcpy(&p, &x[m][4 * n], 4);
            memcpy(&q, &y[m][4 * n], 4);
            if (p == q) continue;
            if (op < TILE_TDPBF16PS) return 0;
            if (is_nan(p) && is_nan(q)) continue;
            if (on_hardware) {
                inexact++;
                const float f = from_bits(p), g = from_bits(q);
                if (fabsf(f - g) <= 1e-3f * (1 + fabsf(f))) continue;
            }
            return 0;
        }
    }
    return 1;
}

/* -------------------------------------------------------------------------------------------------------- checks -- */

static uint64_t total_count(void) {
    uint64_t total = 0;
    for (int op = 0; op < TILE_OP_COUNT; op++) total += tile_emulator_count(op);
    return total;
}

static void test_config(void) {
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
    tilerelease();
}

static void test_zeroing(void) {
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

/* Rows and columns of every size, strides of every sign, and not one byte outside. */
static void test_memory(void) {
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
static void test_addressing(void) {
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

/* Contents that make the arithmetic work: 0 random bytes, 1 values around 1, 2 near underflow, 3 small integers. */
static void fill(int op, int kind, tile_bytes t, int is_result) {
    random_bytes(t, sizeof(tile_bytes));
    if (op < TILE_TDPBF16PS || kind == 0) return;
    for (unsigned i = 0; i < (is_result ? 256u : 512u); i++) {
        const float f = (float)(int32_t)random_u32() / 2147483648.0f;
        const int exponent_of_2 = is_result ? -124 : -60 - (int)random_below(8);
        const float value = kind == 1 ? f : kind == 3 ? rintf(f * 8) : ldexpf(f, exponent_of_2);
        if (is_result) {
            memcpy((uint8_t *)t + 4 * i, &value, 4);
        } else if (op == TILE_TDPBF16PS) {
            const uint16_t bits = (uint16_t)(to_bits(value) >> 16);
            memcpy((uint8_t *)t + 2 * i, &bits, 2);
        } else {
            /* binary16: a fraction of ten bits, denormals for kind 2, built by hand */
            const int exponent = kind == 2 ? (int)random_below(2) : 15;
            uint16_t bits = (uint16_t)((random_u32() & 0x8000) | (unsigned)exponent << 10 | (random_u32() & 1023));
            if (kind == 3) bits = (uint16_t)((random_u32() & 0x8000) | (15u + random_below(3)) << 10);
            memcpy((uint8_t *)t + 2 * i, &bits, 2);
        }
    }
}

static void test_products(int op) {
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

static void test_float_corners(void) {
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
static void test_group(void) {
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

/* General registers, flags and vector registers keep their contents. */
__attribute__((target("avx512f"))) static void test_registers(void) {
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

/* ------------------------------------------------------------------------------------------------------- threads -- */

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

static void test_threads(void) {
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

/* ---------------------------------------------------------------------------------------------------- violations -- */

/* Runs in a child; gives its wait status and what it wrote to stderr. */
static int in_child(void (*body)(int), int argument, char *message, size_t size) {
    int ends[2];
    fflush(stdout);
    if (pipe(ends) != 0) abort();
    const pid_t pid = fork();
    if (pid < 0) abort();
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(ends[1], STDERR_FILENO);
        body(argument);
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t n;
    while (length < size - 1 && (n = read(ends[0], message + length, size - 1 - length)) > 0) length += (size_t)n;
    message[length] = 0;
    close(ends[0]);
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

static uint8_t scratch[64 * 16];

static void with_config(void (*change)(config *)) {
    config c = full_config();
    change(&c);
    ldtilecfg(&c);
}
#define CONFIG_CASE(name, statement)                         \
    static void name##_change(config *c) { statement; }     \
    static void name(int unused) {                           \
        (void)unused;                                        \
        with_config(name##_change);                          \
    }
CONFIG_CASE(bad_palette, c->bytes[0] = 2)
CONFIG_CASE(bad_start_row, c->bytes[1] = 3)
CONFIG_CASE(bad_reserved_2, c->bytes[2] = 1)
CONFIG_CASE(bad_reserved_15, c->bytes[15] = 1)
CONFIG_CASE(bad_reserved_32, c->bytes[32] = 1)
CONFIG_CASE(bad_reserved_47, c->bytes[47] = 1)
CONFIG_CASE(bad_reserved_56, c->bytes[56] = 1)
CONFIG_CASE(bad_reserved_63, c->bytes[63] = 1)
CONFIG_CASE(bad_rows, set_tile(c, 7, 17, 64))
CONFIG_CASE(bad_colsb, set_tile(c, 6, 16, 68))
CONFIG_CASE(bad_colsb_high, set_tile(c, 6, 16, 256))
CONFIG_CASE(bad_colsb_odd, set_tile(c, 0, 16, 62))
CONFIG_CASE(bad_no_rows, set_tile(c, 0, 0, 64))
CONFIG_CASE(bad_no_columns, set_tile(c, 0, 16, 0))
CONFIG_CASE(bad_palette_0, c->bytes[0] = 0)
CONFIG_CASE(bad_empty, *c = empty_config(); c->bytes[0] = 1)

/* A body with a configuration: C is tile 0 (8 x 32 bytes), A is 1 (8 x 16), B is 2 (4 x 32), 7 is not configured. */
static config small_config(void) {
    config c = empty_config();
    set_tile(&c, 0, 8, 32);
    set_tile(&c, 1, 8, 16);
    set_tile(&c, 2, 4, 32);
    set_tile(&c, 3, 7, 16);
    set_tile(&c, 4, 4, 28);
    set_tile(&c, 5, 5, 32);
    return c;
}
#define CASE(name, configured, statement)  \
    static void name(int unused) {         \
        (void)unused;                      \
        const config c = small_config();   \
        if (configured) ldtilecfg(&c);     \
        statement;                         \
    }
#define BYTES(...) __asm__ volatile(".byte " __VA_ARGS__ : : "D"(scratch), "S"(64l) : "memory")

CASE(zero_unconfigured, 0, tile(selftest_tilezero, 0, NULL, 0))
CASE(load_unconfigured, 0, load(0, scratch, 64))
CASE(loadt1_unconfigured, 0, tile(selftest_tileloaddt1, 0, scratch, 64))
CASE(store_unconfigured, 0, store(0, scratch, 64))
CASE(tdp_unconfigured, 0, tdp(TILE_TDPBSSD, 0, 1, 2))
CASE(after_release, 1, tilerelease(); tile(selftest_tilezero, 0, NULL, 0))
CASE(zero_no_tile, 1, tile(selftest_tilezero, 7, NULL, 0))
CASE(load_no_tile, 1, load(7, scratch, 64))
CASE(store_no_tile, 1, store(7, scratch, 64))
CASE(tdp_no_dest, 1, tdp(TILE_TDPBUSD, 7, 1, 2))
CASE(tdp_no_a, 1, tdp(TILE_TDPBUSD, 0, 7, 2))
CASE(tdp_no_b, 1, tdp(TILE_TDPBUSD, 0, 1, 7))
CASE(tdp_a_rows, 1, tdp(TILE_TDPBUUD, 0, 3, 2))
CASE(tdp_b_columns, 1, tdp(TILE_TDPBSUD, 0, 1, 4))
CASE(tdp_depth, 1, tdp(TILE_TDPBF16PS, 0, 1, 5))
CASE(tdp_depth_fp16, 1, tdp(TILE_TDPFP16PS, 0, 1, 5))
CASE(same_dest_a, 1, BYTES("0xc4, 0xe2, 0x6b, 0x5e, 0xc0")) /* tdpbssd tmm0, tmm0, tmm2 */
CASE(same_dest_b, 1, BYTES("0xc4, 0xe2, 0x7b, 0x5e, 0xc1")) /* tdpbssd tmm0, tmm1, tmm0 */
CASE(same_a_b, 1, BYTES("0xc4, 0xe2, 0x72, 0x5c, 0xc1"))    /* tdpbf16ps tmm0, tmm1, tmm1 */
CASE(vex_w, 1, BYTES("0xc4, 0xe2, 0xeb, 0x5e, 0xc1"))
CASE(vex_l, 1, BYTES("0xc4, 0xe2, 0x6f, 0x5e, 0xc1"))
CASE(vex_vvvv, 1, BYTES("0xc4, 0xe2, 0x73, 0x4b, 0x04, 0x37"))
CASE(tile_8_dest, 1, BYTES("0xc4, 0x62, 0x6b, 0x5e, 0xc1"))
CASE(tile_9_a, 1, BYTES("0xc4, 0xc2, 0x6b, 0x5e, 0xc1"))
CASE(tile_10_b, 1, BYTES("0xc4, 0xe2, 0x2b, 0x5e, 0xc1"))
CASE(no_sib, 1, BYTES("0xc4, 0xe2, 0x7b, 0x4b, 0x07"))
CASE(fs_prefix, 1, BYTES("0x64, 0xc4, 0xe2, 0x7b, 0x4b, 0x04, 0x37"))
CASE(no_permission, 1, tile_emulator_demand_permission(); load(0, scratch, 64))
CASE(no_permission_config, 0, tile_emulator_demand_permission(); ldtilecfg(&c))

static void test_violations(void) {
    /* hardware: whether a CPU with AMX faults as well */
    static const struct {
        void (*body)(int);
        const char *message;
        int hardware;
    } cases[] = {
        {bad_palette, "ldtilecfg at 0x", 1},
        {bad_palette, "palette is neither 0 nor 1 (2)", 1},
        {bad_start_row, "start_row is not 0 (3)", 0},
        {bad_reserved_2, "reserved bytes 2-15", 1},
        {bad_reserved_15, "reserved bytes 2-15", 1},
        {bad_reserved_32, "reserved bytes 32-47", 1},
        {bad_reserved_47, "reserved bytes 32-47", 1},
        {bad_reserved_56, "reserved bytes 56-63", 1},
        {bad_reserved_63, "reserved bytes 56-63", 1},
        {bad_rows, "more than 16 rows (tile, rows) (7, 17)", 1},
        {bad_colsb, "more than 64 bytes per row (tile, colsb) (6, 68)", 1},
        {bad_colsb_high, "more than 64 bytes per row (tile, colsb) (6, 256)", 1},
        {bad_colsb_odd, "colsb is not a multiple of 4 (tile, colsb) (0, 62)", 0},
        {bad_no_rows, "columns but no rows", 1},
        {bad_no_columns, "rows but no columns", 1},
        {bad_palette_0, "palette 0 with other bytes not zero", 0},
        {bad_empty, "palette 1 without any tile", 0},
        {zero_unconfigured, "tilezero", 1},
        {zero_unconfigured, "no configuration is loaded", 1},
        {load_unconfigured, "tileloadd", 1},
        {loadt1_unconfigured, "tileloaddt1", 1},
        {store_unconfigured, "tilestored", 1},
        {tdp_unconfigured, "tdpbssd", 1},
        {after_release, "no configuration is loaded", 1},
        {zero_no_tile, "tilezero at", 1},
        {load_no_tile, "tile is not configured (7)", 1},
        {store_no_tile, "tile is not configured (7)", 1},
        {tdp_no_dest, "tile is not configured (7)", 1},
        {tdp_no_a, "tile is not configured (7)", 1},
        {tdp_no_b, "tile is not configured (7)", 1},
        {tdp_a_rows, "tdpbuud", 1},
        {tdp_a_rows, "A.rows is not C.rows (7, 8)", 1},
        {tdp_b_columns, "tdpbsud", 1},
        {tdp_b_columns, "B.colsb is not C.colsb (28, 32)", 1},
        {tdp_depth, "A.colsb is not 4 * B.rows (A.colsb, B.rows) (16, 5)", 1},
        {tdp_depth_fp16, "tdpfp16ps", 1},
        {same_dest_a, "not distinct", 1},
        {same_dest_b, "not distinct", 1},
        {same_a_b, "not distinct", 1},
        {vex_w, "VEX.W", 1},
        {vex_l, "VEX.L", 1},
        {vex_vvvv, "VEX.vvvv", 1},
        {tile_8_dest, "tile number above 7 (8)", 1},
        {tile_9_a, "tile number above 7 (9)", 1},
        {tile_10_b, "tile number above 7 (10)", 1},
        {no_sib, "no SIB byte", 1},
        {fs_prefix, "FS or GS prefix", 0},
        {no_permission, "no permission", 0},
        {no_permission_config, "no permission", 0},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (on_hardware && !cases[i].hardware) {
            skipped++;
            continue;
        }
        char message[1024];
        const int status = in_child(cases[i].body, 0, message, sizeof message);
        if (on_hardware) {
            CHECK(WIFSIGNALED(status) && (WTERMSIG(status) == SIGILL || WTERMSIG(status) == SIGSEGV),
                  "violation %u does not fault here: status %d", i, status);
        } else {
            const char *newline = strchr(message, '\n');
            CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(message, cases[i].message) != NULL &&
                      newline != NULL && newline[1] == 0,
                  "violation %u: status %d, message \"%s\"", i, status, message);
        }
    }
}

/* ------------------------------------------------------------------------------------------------ not our SIGILL -- */

static void other_handler(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number;
    (void)context;
    _exit(info->si_addr != NULL ? 42 : 43);
}
static void plain_handler(int signal_number) { _exit(signal_number == SIGILL ? 44 : 45); }

static void not_ours(int which) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    if (which == 1) {
        action.sa_sigaction = other_handler;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGILL, &action, NULL);
    } else if (which == 2) {
        action.sa_handler = plain_handler;
        sigaction(SIGILL, &action, NULL);
    } else if (which == 3 || which == 9) {
        action.sa_handler = SIG_IGN;
        sigaction(SIGILL, &action, NULL);
    }
    tile_emulator_install();
    switch (which) {
    case 4: raise(SIGILL); break;
    case 5: BYTES("0x27, 0xa2"); break;
    case 6: BYTES("0x0f, 0xff, 0xc0"); break;
    case 7: /* the same, in a file that is not ".emulated." */
        tile_emulator_emulate_cpuid("full");
        BYTES("0x27, 0xa2");
        break;
    case 8: BYTES("0xc4, 0xe2, 0x78, 0x5c, 0xc1"); break; /* opcode 5C without prefix: nothing we know */
    case 9: raise(SIGILL); _exit(46);
    default: __asm__ volatile("ud2");
    }
}

/* Before the emulator is installed in this process: the children install it. */
static void test_chain(void) {
    static const struct {
        int which, exit_status; /* -1: killed by SIGILL */
    } cases[] = {{0, -1}, {1, 42}, {2, 44}, {3, -1}, {4, -1}, {5, -1}, {6, -1}, {7, -1}, {8, -1}, {9, 46}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[256];
        const int status = in_child(not_ours, cases[i].which, message, sizeof message);
        const int killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGILL;
        const int exited = WIFEXITED(status) && WEXITSTATUS(status) == cases[i].exit_status;
        CHECK(message[0] == 0 && (cases[i].exit_status < 0 ? killed : exited),
              "SIGILL case %d: status %d \"%s\"", cases[i].which, status, message);
    }
}

/* --------------------------------------------------------------------------------------------------------- bench -- */

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

static void bench(void) {
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

/* ---------------------------------------------------------------------------------------------------------- main -- */

static int ask_for_hardware(void) {
    uint32_t a, b, c, d;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) cpu_has_fp16 = a >> 21 & 1;
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0; /* ARCH_REQ_XCOMP_PERM, XTILEDATA */
}

int main(int argc, char **argv) {
    test_chain();
    const int installed = tile_emulator_install();
    CHECK(tile_emulator_install() == installed, "a second install gives the same answer");
    CHECK(tile_emulator_active() == (installed == TILE_EMULATOR_ON), "active");
    if (installed == TILE_EMULATOR_NOT_NEEDED && ask_for_hardware()) {
        on_hardware = 1;
        printf("this CPU has AMX: its own instructions are tested, not the emulator\n");
    } else if (installed != TILE_EMULATOR_ON) {
        printf("cannot emulate here (%d): %s\n", installed,
               installed == TILE_EMULATOR_NOT_NEEDED ? "the CPU has AMX, but the kernel refuses permission"
               : installed == TILE_EMULATOR_NO_AVX512 ? "the CPU lacks AVX-512"
                                                      : "sigaction failed");
        printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped + 1);
        return failed != 0;
    }
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench();
        return 0;
    }

    CHECK(total_count() == 0, "nothing counted yet");
    test_config();
    test_zeroing();
    test_memory();
    test_addressing();
    for (int op = TILE_TDPBSSD; op <= TILE_TDPFP16PS; op++) {
        const uint64_t before = tile_emulator_count(op);
        test_products(op);
        CHECK(on_hardware || tile_emulator_count(op) - before == 800, "count of %s", tile_emulator_name(op));
        CHECK(tile_emulator_count_named(tile_emulator_name(op)) == tile_emulator_count(op), "count by name");
    }
    test_float_corners();
    test_group();
    test_registers();
    test_threads();
    test_violations();
    if (!on_hardware) {
        CHECK(tile_emulator_count(TILE_TDPBSSD) > 0, "counts");
        tile_emulator_reset_counts();
        CHECK(total_count() == 0, "counts are reset");
        CHECK(tile_emulator_count(-1) == 0 && tile_emulator_count(TILE_OP_COUNT) == 0, "counts out of range");
        CHECK(tile_emulator_count_named("nop") == 0 && tile_emulator_name(TILE_OP_COUNT) == NULL, "unknown names");
    } else if (inexact != 0) {
        printf("note: %d floating-point elements differ from the manual's order of summation\n", inexact);
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed != 0;
}
