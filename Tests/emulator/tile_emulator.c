/*
 * tile_emulator.c - a SIGILL handler that executes AMX instructions. Test code; see tile_emulator.h and README.md.
 *
 * Encodings and operation follow the Intel SDM, volume 2 ("Intel AMX instruction set reference"). All of them are
 * C4 RXBmmmmm WvvvvLpp opcode ModRM [SIB] [disp] with map 0F38, W = 0, L = 0:
 *
 *   opcode  form       pp: none        66           F3            F2
 *   49      memory /0  LDTILECFG       STTILECFG
 *   49      register   TILERELEASE C0                             TILEZERO
 *   4B      memory                     TILELOADDT1  TILESTORED    TILELOADD
 *   5C      register                                TDPBF16PS     TDPFP16PS
 *   5E      register   TDPBUUD         TDPBUSD      TDPBSUD       TDPBSSD
 *
 * The handler takes no lock, allocates nothing, uses no stdio and makes no system call, except that it reads
 * /proc/self/maps for an emulated CPUID. Vector registers are free to use: the kernel saved them in the signal frame.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tile_emulator.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#if !defined(__x86_64__) || !defined(__linux__)
#error "the tile emulator is for Linux on x86-64"
#endif

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64 };

/* ------------------------------------------------------------------------------------------------------- state -- */

/* Bytes of a tile outside its configured rows and columns are always zero: every operation keeps that. */
typedef struct {
    uint8_t tile[TILES][ROWS][ROW_BYTES];
    uint8_t config[64]; /* as LDTILECFG read it; all zero when none is loaded */
    uint8_t configured;
} tile_state;

static __thread tile_state state __attribute__((aligned(64), tls_model("initial-exec")));

static uint64_t counts[TILE_OP_COUNT] __attribute__((aligned(64)));
static int64_t configured_threads;

static int installed; /* 0 no, 1 in progress, 2 done */
static int install_result;
static int emulate_tiles;
static int permission_demanded;
static int permission_granted;
static struct sigaction previous;

enum { CPUID_OFF, CPUID_FULL, CPUID_NO_AMX, CPUID_NO_AVX512, CPUID_AMX_HIDDEN, CPUID_AVX512_HIDDEN };
static int cpuid_mode = CPUID_OFF;

static const char *const names[TILE_OP_COUNT] = {
    "ldtilecfg", "sttilecfg", "tilerelease", "tilezero",  "tileloadd", "tileloaddt1", "tilestored", "tdpbssd",
    "tdpbsud",   "tdpbusd",   "tdpbuud",     "tdpbf16ps", "tdpfp16ps", "cpuid",       "xgetbv",
};

static inline unsigned tile_rows(unsigned t) { return state.config[48 + t]; }
static inline unsigned tile_colsb(unsigned t) { return state.config[16 + 2 * t]; } /* the upper byte is zero */

static inline void count(int op) { __atomic_fetch_add(&counts[op], 1, __ATOMIC_RELAXED); }

/* -------------------------------------------------------------------------------------------------- violations -- */

typedef struct {
    char text[512];
    size_t length;
} line;

static void put_string(line *l, const char *s) {
    while (*s != 0 && l->length < sizeof l->text - 1) l->text[l->length++] = *s++;
}

static void put_number(line *l, uint64_t value, unsigned base) {
    char digits[24];
    unsigned n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (n > 0 && l->length < sizeof l->text - 1) l->text[l->length++] = digits[--n];
}

/* "tile emulator: tdpbssd at 0x...: A.rows is not C.rows (16, 8)" */
__attribute__((noreturn, cold, noinline)) static void violation(int op, uint64_t rip, const char *what, int numbers,
                                                                 uint64_t a, uint64_t b) {
    line l = {.length = 0};
    put_string(&l, "tile emulator: ");
    put_string(&l, names[op]);
    put_string(&l, " at 0x");
    put_number(&l, rip, 16);
    put_string(&l, ": ");
    put_string(&l, what);
    if (numbers > 0) {
        put_string(&l, " (");
        put_number(&l, a, 10);
        if (numbers > 1) {
            put_string(&l, ", ");
            put_number(&l, b, 10);
        }
        put_string(&l, ")");
    }
    put_string(&l, "\n");
    ssize_t written = write(STDERR_FILENO, l.text, l.length);
    (void)written;
    abort();
}

/* -------------------------------------------------------------------------------------------------- arithmetic -- */

#define VECTOR __attribute__((target("avx512f,avx512bw"), noinline))
#define VECTOR_INLINE __attribute__((target("avx512f,avx512bw"), always_inline)) static inline

/*
 * Products of bytes. Bytes become 16-bit words, split into even and odd ones, so that VPMADDWD adds two exact products
 * into 32 bits (at most 2 * 255 * 255); the sums wrap modulo 2^32 as the tile instructions do.
 */
VECTOR_INLINE __m512i even_bytes(__m512i x, int is_signed) {
    return is_signed ? _mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8) : _mm512_and_si512(x, _mm512_set1_epi16(0xff));
}

VECTOR_INLINE __m512i odd_bytes(__m512i x, int is_signed) {
    return is_signed ? _mm512_srai_epi16(x, 8) : _mm512_srli_epi16(x, 8);
}

VECTOR_INLINE void multiply_bytes(unsigned c, unsigned a, unsigned b, int a_signed, int b_signed) {
    int32_t a_even[ROWS][16] __attribute__((aligned(64)));
    int32_t a_odd[ROWS][16] __attribute__((aligned(64)));
    __m512i b_even[16], b_odd[16];
    const unsigned m_count = tile_rows(c), k_count = tile_rows(b);

    for (unsigned m = 0; m < m_count; m++) {
        const __m512i row = _mm512_load_si512(state.tile[a][m]);
        _mm512_store_si512(a_even[m], even_bytes(row, a_signed));
        _mm512_store_si512(a_odd[m], odd_bytes(row, a_signed));
    }
    for (unsigned k = 0; k < k_count; k++) {
        const __m512i row = _mm512_load_si512(state.tile[b][k]);
        b_even[k] = even_bytes(row, b_signed);
        b_odd[k] = odd_bytes(row, b_signed);
    }
    for (unsigned m = 0; m < m_count; m++) {
        __m512i even = _mm512_load_si512(state.tile[c][m]);
        __m512i odd = _mm512_setzero_si512();
        for (unsigned k = 0; k < k_count; k++) {
            even = _mm512_add_epi32(even, _mm512_madd_epi16(_mm512_set1_epi32(a_even[m][k]), b_even[k]));
            odd = _mm512_add_epi32(odd, _mm512_madd_epi16(_mm512_set1_epi32(a_odd[m][k]), b_odd[k]));
        }
        /* Columns of B beyond its colsb are zero, so columns of C beyond its colsb stay zero. */
        _mm512_store_si512(state.tile[c][m], _mm512_add_epi32(even, odd));
    }
}

VECTOR static void tdpbssd(unsigned c, unsigned a, unsigned b) { multiply_bytes(c, a, b, 1, 1); }
VECTOR static void tdpbsud(unsigned c, unsigned a, unsigned b) { multiply_bytes(c, a, b, 1, 0); }
VECTOR static void tdpbusd(unsigned c, unsigned a, unsigned b) { multiply_bytes(c, a, b, 0, 1); }
VECTOR static void tdpbuud(unsigned c, unsigned a, unsigned b) { multiply_bytes(c, a, b, 0, 0); }

/* One row of pairs of 16-bit floats to two rows of float32. BF16: the bits as they are. FP16: exact, denormals too. */
VECTOR_INLINE void expand_pairs(const uint8_t *row, int is_bf16, __m512 *even, __m512 *odd) {
    const __m512i x = _mm512_load_si512(row);
    if (is_bf16) {
        *even = _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
        *odd = _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000u)));
    } else {
        *even = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x));
        *odd = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(x, 16)));
    }
}

/*
 * Products of 16-bit floats, as the SDM has it: one chain of FMAs over k for the even elements, one for the odd ones,
 * both from zero, then C += even + odd. Round to nearest even, denormals in and out are zero (MXCSR is set by the
 * caller). C may hold what it likes outside its columns meanwhile (0 * infinity), hence the mask.
 */
VECTOR_INLINE void multiply_pairs(unsigned c, unsigned a, unsigned b, int is_bf16) {
    float a_even[ROWS][16] __attribute__((aligned(64)));
    float a_odd[ROWS][16] __attribute__((aligned(64)));
    __m512 b_even[16], b_odd[16];
    const unsigned m_count = tile_rows(c), k_count = tile_rows(b);
    const __mmask16 columns = (__mmask16)((1u << (tile_colsb(c) / 4)) - 1);

    for (unsigned m = 0; m < ROWS; m++) {
        __m512 even, odd;
        expand_pairs(state.tile[a][m], is_bf16, &even, &odd);
        _mm512_store_ps(a_even[m], even);
        _mm512_store_ps(a_odd[m], odd);
    }
    for (unsigned k = 0; k < k_count; k++) expand_pairs(state.tile[b][k], is_bf16, &b_even[k], &b_odd[k]);

    /* Four rows at a time: eight independent chains hide the latency of the FMA. Rows beyond m_count are dropped. */
    for (unsigned m0 = 0; m0 < m_count; m0 += 4) {
        __m512 even[4], odd[4];
        for (unsigned m = 0; m < 4; m++) even[m] = odd[m] = _mm512_setzero_ps();
        for (unsigned k = 0; k < k_count; k++) {
            for (unsigned m = 0; m < 4; m++) {
                even[m] = _mm512_fmadd_ps(_mm512_set1_ps(a_even[m0 + m][k]), b_even[k], even[m]);
                odd[m] = _mm512_fmadd_ps(_mm512_set1_ps(a_odd[m0 + m][k]), b_odd[k], odd[m]);
            }
        }
        for (unsigned m = 0; m < 4 && m0 + m < m_count; m++) {
            float *row = (float *)(void *)state.tile[c][m0 + m];
            const __m512 sum = _mm512_add_ps(_mm512_load_ps(row), _mm512_add_ps(even[m], odd[m]));
            _mm512_store_ps(row, _mm512_maskz_mov_ps(columns, sum));
        }
    }
}

VECTOR static void tdpbf16ps_rounded(unsigned c, unsigned a, unsigned b) { multiply_pairs(c, a, b, 1); }
VECTOR static void tdpfp16ps_rounded(unsigned c, unsigned a, unsigned b) { multiply_pairs(c, a, b, 0); }

/* Flush to zero, denormals are zero, all exceptions masked, round to nearest: whatever MXCSR says outside. */
static void with_tile_rounding(void (*multiply)(unsigned, unsigned, unsigned), unsigned c, unsigned a, unsigned b) {
    const unsigned before = _mm_getcsr();
    _mm_setcsr(0x9fc0);
    multiply(c, a, b);
    _mm_setcsr(before);
}

VECTOR static void load_tile(unsigned t, uint64_t address, uint64_t stride) {
    const __mmask64 columns = ~0ull >> (64 - tile_colsb(t));
    const unsigned rows = tile_rows(t);
    for (unsigned r = 0; r < rows; r++) {
        const __m512i row = _mm512_maskz_loadu_epi8(columns, (const void *)(uintptr_t)(address + r * stride));
        _mm512_store_si512(state.tile[t][r], row);
    }
}

VECTOR static void store_tile(unsigned t, uint64_t address, uint64_t stride) {
    const __mmask64 columns = ~0ull >> (64 - tile_colsb(t));
    const unsigned rows = tile_rows(t);
    for (unsigned r = 0; r < rows; r++) {
        const __m512i row = _mm512_load_si512(state.tile[t][r]);
        _mm512_mask_storeu_epi8((void *)(uintptr_t)(address + r * stride), columns, row);
    }
}

/* ----------------------------------------------------------------------------------------------- configuration -- */

static void release(void) {
    if (!state.configured) return; /* all zero already */
    __atomic_fetch_sub(&configured_threads, 1, __ATOMIC_RELAXED);
    memset(&state, 0, sizeof state);
}

static void load_config(uint64_t rip, uint64_t address) {
    uint8_t c[64];
    memcpy(c, (const void *)(uintptr_t)address, sizeof c);
    static const uint8_t zero[64];
    const int op = TILE_LDTILECFG;

    if (c[0] == 0) {
        /* Palette 0 is the initial state: this is how a saved "nothing loaded" is restored. Like TILERELEASE. */
        if (memcmp(c, zero, 64) != 0) violation(op, rip, "palette 0 with other bytes not zero", 0, 0, 0);
        release();
        return;
    }
    if (c[0] != 1) violation(op, rip, "palette is neither 0 nor 1", 1, c[0], 0);
    if (c[1] != 0) violation(op, rip, "start_row is not 0", 1, c[1], 0);
    if (memcmp(c + 2, zero, 14) != 0) violation(op, rip, "reserved bytes 2-15 are not zero", 0, 0, 0);
    if (memcmp(c + 32, zero, 16) != 0) violation(op, rip, "reserved bytes 32-47 are not zero", 0, 0, 0);
    if (memcmp(c + 56, zero, 8) != 0) violation(op, rip, "reserved bytes 56-63 are not zero", 0, 0, 0);
    int any = 0;
    for (unsigned t = 0; t < TILES; t++) {
        const unsigned colsb = c[16 + 2 * t] | (unsigned)c[17 + 2 * t] << 8, rows = c[48 + t];
        if (rows == 0 && colsb == 0) continue; /* not used */
        any = 1;
        if (rows == 0) violation(op, rip, "a tile has columns but no rows (tile, colsb)", 2, t, colsb);
        if (colsb == 0) violation(op, rip, "a tile has rows but no columns (tile, rows)", 2, t, rows);
        if (rows > ROWS) violation(op, rip, "more than 16 rows (tile, rows)", 2, t, rows);
        if (colsb > ROW_BYTES) violation(op, rip, "more than 64 bytes per row (tile, colsb)", 2, t, colsb);
        if (colsb % 4 != 0) violation(op, rip, "colsb is not a multiple of 4 (tile, colsb)", 2, t, colsb);
    }
    if (!any) violation(op, rip, "palette 1 without any tile", 0, 0, 0);
    release();
    memcpy(state.config, c, sizeof c);
    state.configured = 1;
    __atomic_fetch_add(&configured_threads, 1, __ATOMIC_RELAXED);
}

/* Checks that AMX may be used at all: permission, and a configuration unless the instruction works without one. */
static void check_use(int op, uint64_t rip, int needs_config) {
    if (permission_demanded && !__atomic_load_n(&permission_granted, __ATOMIC_RELAXED))
        violation(op, rip, "no permission: arch_prctl(ARCH_REQ_XCOMP_PERM, 18) has not succeeded", 0, 0, 0);
    if (needs_config && !state.configured) violation(op, rip, "no configuration is loaded", 0, 0, 0);
}

static void check_tile(int op, uint64_t rip, unsigned t) {
    if (t >= TILES) violation(op, rip, "tile number above 7", 1, t, 0);
    if (tile_rows(t) == 0) violation(op, rip, "tile is not configured", 1, t, 0);
}

static void multiply(int op, uint64_t rip, unsigned c, unsigned a, unsigned b) {
    check_use(op, rip, 1);
    check_tile(op, rip, c);
    check_tile(op, rip, a);
    check_tile(op, rip, b);
    if (c == a || c == b || a == b) violation(op, rip, "the three tiles are not distinct", 2, a, b);
    if (tile_rows(a) != tile_rows(c))
        violation(op, rip, "A.rows is not C.rows", 2, tile_rows(a), tile_rows(c));
    if (tile_colsb(b) != tile_colsb(c))
        violation(op, rip, "B.colsb is not C.colsb", 2, tile_colsb(b), tile_colsb(c));
    if (tile_colsb(a) != 4 * tile_rows(b))
        violation(op, rip, "A.colsb is not 4 * B.rows (A.colsb, B.rows)", 2, tile_colsb(a), tile_rows(b));
    switch (op) {
    case TILE_TDPBSSD: tdpbssd(c, a, b); break;
    case TILE_TDPBSUD: tdpbsud(c, a, b); break;
    case TILE_TDPBUSD: tdpbusd(c, a, b); break;
    case TILE_TDPBUUD: tdpbuud(c, a, b); break;
    case TILE_TDPBF16PS: with_tile_rounding(tdpbf16ps_rounded, c, a, b); break;
    default: with_tile_rounding(tdpfp16ps_rounded, c, a, b); break;
    }
}

/* ------------------------------------------------------------------------------------------------------ decode -- */

/* Registers by their number in ModRM, SIB and VEX. */
static const uint8_t greg_index[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                       REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static inline uint64_t greg(const greg_t *gregs, unsigned number) { return (uint64_t)gregs[greg_index[number]]; }

enum { PP_NONE = 0, PP_66 = 1, PP_F3 = 2, PP_F2 = 3 };

/* The operation that (opcode, pp, memory form) selects, or -1 if this is not an AMX instruction that we know. */
static int select_op(unsigned opcode, unsigned pp, int is_memory, unsigned modrm) {
    switch (opcode) {
    case 0x49:
        if (is_memory) {
            if ((modrm >> 3 & 7) != 0) return -1;
            return pp == PP_NONE ? TILE_LDTILECFG : pp == PP_66 ? TILE_STTILECFG : -1;
        }
        if (pp == PP_NONE && modrm == 0xc0) return TILE_TILERELEASE;
        return pp == PP_F2 && (modrm & 7) == 0 ? TILE_TILEZERO : -1;
    case 0x4b: {
        static const int8_t op[4] = {-1, TILE_TILELOADDT1, TILE_TILESTORED, TILE_TILELOADD};
        return is_memory ? op[pp] : -1;
    }
    case 0x5c: {
        static const int8_t op[4] = {-1, -1, TILE_TDPBF16PS, TILE_TDPFP16PS};
        return is_memory ? -1 : op[pp];
    }
    case 0x5e: {
        static const int8_t op[4] = {TILE_TDPBUUD, TILE_TDPBUSD, TILE_TDPBSUD, TILE_TDPBSSD};
        return is_memory ? -1 : op[pp];
    }
    default: return -1;
    }
}

/* Executes the instruction at RIP and steps over it. 0 if it is not an AMX instruction; then nothing has changed. */
static int execute(greg_t *gregs) {
    const uint64_t rip = (uint64_t)gregs[REG_RIP];
    const uint8_t *p = (const uint8_t *)(uintptr_t)rip;

    /* Segment overrides for CS, DS, ES, SS mean nothing in 64-bit mode; the others are not worth emulating. */
    const char *bad_prefix = NULL;
    for (;; p++) {
        if (*p == 0x2e || *p == 0x36 || *p == 0x3e || *p == 0x26) {
            /* skip */
        } else if (*p == 0x64 || *p == 0x65) {
            bad_prefix = "FS or GS prefix: not emulated";
        } else if (*p == 0x67) {
            bad_prefix = "address size prefix: not emulated";
        } else {
            break;
        }
        if (p - (const uint8_t *)(uintptr_t)rip >= 8) return 0;
    }
    if (p[0] != 0xc4 || (p[1] & 0x1f) != 0x02) return 0;
    const unsigned vex_r = ~p[1] >> 7 & 1, vex_x = ~p[1] >> 6 & 1, vex_b = ~p[1] >> 5 & 1;
    const unsigned vex_w = p[2] >> 7, vex_v = ~p[2] >> 3 & 15, vex_l = p[2] >> 2 & 1, pp = p[2] & 3;
    const unsigned opcode = p[3];
    if (opcode != 0x49 && opcode != 0x4b && opcode != 0x5c && opcode != 0x5e) return 0;
    const unsigned modrm = p[4];
    const unsigned mod = modrm >> 6, reg = (modrm >> 3 & 7) | vex_r << 3, rm = (modrm & 7) | vex_b << 3;
    p += 5;
    const int op = select_op(opcode, pp, mod != 3, modrm);
    if (op < 0) return 0;

    if (bad_prefix != NULL) violation(op, rip, bad_prefix, 0, 0, 0);
    if (vex_w != 0) violation(op, rip, "VEX.W is not 0", 0, 0, 0);
    if (vex_l != 0) violation(op, rip, "VEX.L is not 0", 0, 0, 0);
    if (op < TILE_TDPBSSD && vex_v != 0) violation(op, rip, "VEX.vvvv is not 1111b", 0, 0, 0);

    /* Memory: base + displacement, and index << scale, which is an addend of the address or the stride of the rows. */
    uint64_t base = 0, index = 0;
    if (mod != 3) {
        if (opcode == 0x4b && (modrm & 7) != 4) violation(op, rip, "no SIB byte", 0, 0, 0);
        unsigned base_number = rm, no_base = 0, rip_relative = 0;
        if ((modrm & 7) == 4) {
            const unsigned sib = *p++;
            const unsigned index_number = (sib >> 3 & 7) | vex_x << 3;
            base_number = (sib & 7) | vex_b << 3;
            no_base = mod == 0 && (sib & 7) == 5;
            if (index_number != 4) index = greg(gregs, index_number) << (sib >> 6);
        } else {
            rip_relative = mod == 0 && (modrm & 7) == 5;
        }
        int32_t displacement = 0;
        if (mod == 1) {
            displacement = (int8_t)*p++;
        } else if (mod == 2 || no_base || rip_relative) {
            memcpy(&displacement, p, 4);
            p += 4;
        }
        base = (uint64_t)(int64_t)displacement;
        if (rip_relative) {
            base += (uint64_t)(uintptr_t)p;
        } else if (!no_base) {
            base += greg(gregs, base_number);
        }
    }

    switch (op) {
    case TILE_LDTILECFG:
        check_use(op, rip, 0);
        load_config(rip, base + index);
        break;
    case TILE_STTILECFG:
        memcpy((void *)(uintptr_t)(base + index), state.config, sizeof state.config);
        break;
    case TILE_TILERELEASE: release(); break;
    case TILE_TILEZERO:
        check_use(op, rip, 1);
        check_tile(op, rip, reg);
        memset(state.tile[reg], 0, sizeof state.tile[reg]);
        break;
    case TILE_TILELOADD:
    case TILE_TILELOADDT1:
        check_use(op, rip, 1);
        check_tile(op, rip, reg);
        load_tile(reg, base, index);
        break;
    case TILE_TILESTORED:
        check_use(op, rip, 1);
        check_tile(op, rip, reg);
        store_tile(reg, base, index);
        break;
    default: multiply(op, rip, reg, rm, vex_v); break;
    }
    count(op);
    gregs[REG_RIP] = (greg_t)(uintptr_t)p;
    return 1;
}

/* ------------------------------------------------------------------------------------------- CPUID and XGETBV -- */

/*
 * patch_cpuid.py turns CPUID (0F A2) into 27 A2 and XGETBV (0F 01 D0) into UD0 EAX, EAX (0F FF C0). 27 is no
 * instruction in 64-bit mode. UD2, the usual choice, would not do: compilers write it for traps, and a trap that is
 * taken for a CPUID would pass unseen.
 */
enum { PATCHED_CPUID_0 = 0x27, PATCHED_CPUID_1 = 0xa2 };

/* Whether the address lies in a mapping of a file with ".emulated." in its name (without the directories). */
static int in_emulated_file(uint64_t address) {
    const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    static const char wanted[] = ".emulated.";
    const unsigned wanted_length = sizeof wanted - 1;
    char buffer[1024];
    uint64_t start = 0, end = 0;
    unsigned field = 0, matched = 0; /* field: 0 start, 1 end, 2 the rest of the line */
    int found = 0, hit = 0;
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR)) {
        for (ssize_t i = 0; i < n; i++) {
            const char ch = buffer[i];
            if (ch == '\n') {
                if (hit && address >= start && address < end) found = 1;
                start = end = 0;
                field = matched = 0;
                hit = 0;
            } else if (field < 2) {
                const int digit = ch >= '0' && ch <= '9' ? ch - '0' : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
                if (digit < 0) {
                    field++;
                } else if (field == 0) {
                    start = start << 4 | (unsigned)digit;
                } else {
                    end = end << 4 | (unsigned)digit;
                }
            } else if (ch == '/') {
                matched = 0;
                hit = 0;
            } else {
                /* '.' occurs in the pattern only at both ends, so after a mismatch it restarts at 1 or 0. */
                matched = ch == wanted[matched] ? matched + 1 : ch == '.';
                if (matched == wanted_length) {
                    hit = 1;
                    matched = 1;
                }
            }
        }
    }
    close(fd);
    return found;
}

static uint32_t without(uint32_t value, uint32_t bits, int clear) { return clear ? value & ~bits : value; }

/* AVX-512 in leaf 7. EBX: F, DQ, IFMA, PF, ER, CD, BW, VL. ECX: VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ. */
static const uint32_t avx512_ebx =
    1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31;
static const uint32_t avx512_ecx = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14;
/* EDX: 4VNNIW, 4FMAPS, VP2INTERSECT, FP16. */
static const uint32_t avx512_edx = 1u << 2 | 1u << 3 | 1u << 8 | 1u << 23;

static int execute_cpuid(greg_t *gregs) {
    const uint8_t *p = (const uint8_t *)(uintptr_t)gregs[REG_RIP];
    const int is_cpuid = p[0] == PATCHED_CPUID_0 && p[1] == PATCHED_CPUID_1;
    const int is_xgetbv = !is_cpuid && p[0] == 0x0f && p[1] == 0xff && p[2] == 0xc0;
    if (!is_cpuid && !is_xgetbv) return 0;
    const int mode = cpuid_mode, saved_errno = errno;
    const int ours = in_emulated_file((uint64_t)gregs[REG_RIP]);
    errno = saved_errno;
    if (!ours) return 0;

    if (is_cpuid) {
        const uint32_t leaf = (uint32_t)gregs[REG_RAX], subleaf = (uint32_t)gregs[REG_RCX];
        uint32_t a, b, c, d;
        __cpuid_count(leaf, subleaf, a, b, c, d);
        const int no_avx512 = mode == CPUID_NO_AVX512;
        if (leaf == 7 && subleaf == 0) {
            const uint32_t amx = 1u << 22 | 1u << 24 | 1u << 25; /* BF16, TILE, INT8 */
            d = mode == CPUID_NO_AMX ? d & ~amx : d | amx;
            b = without(b, avx512_ebx, no_avx512);
            c = without(c, avx512_ecx, no_avx512);
            d = without(d, avx512_edx, no_avx512);
        } else if (leaf == 7 && subleaf == 1) {
            a = without(a, 1u << 5, no_avx512); /* AVX512_BF16 */
            a = without(a, 1u << 21, mode == CPUID_NO_AMX); /* AMX-FP16 */
        }
        gregs[REG_RAX] = (greg_t)a;
        gregs[REG_RBX] = (greg_t)b;
        gregs[REG_RCX] = (greg_t)c;
        gregs[REG_RDX] = (greg_t)d;
        gregs[REG_RIP] += 2;
        count(TILE_CPUID);
        return 1;
    }

    const uint32_t which = (uint32_t)gregs[REG_RCX];
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(which));
    if (which == 0) {
        const uint32_t tiles = 1u << 17 | 1u << 18, avx512 = 1u << 5 | 1u << 6 | 1u << 7;
        low = mode == CPUID_NO_AMX || mode == CPUID_AMX_HIDDEN ? low & ~tiles : low | tiles;
        low = without(low, avx512, mode == CPUID_AVX512_HIDDEN);
    }
    gregs[REG_RAX] = (greg_t)low;
    gregs[REG_RDX] = (greg_t)high;
    gregs[REG_RIP] += 3;
    count(TILE_XGETBV);
    return 1;
}

/* ----------------------------------------------------------------------------------------------------- handler -- */

/* Not ours: as if this handler had never been there. */
static void chain(int signal_number, siginfo_t *info, void *context) {
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        if ((previous.sa_flags & SA_SIGINFO) != 0) {
            previous.sa_sigaction(signal_number, info, context);
        } else {
            previous.sa_handler(signal_number);
        }
    } else if (previous.sa_handler == SIG_IGN && info->si_code <= 0) {
        /* someone sent it, and it is ignored */
    } else {
        /* Back to the faulting instruction, which now kills the process. A SIGILL that was sent is sent again. */
        struct sigaction default_action;
        memset(&default_action, 0, sizeof default_action);
        default_action.sa_handler = SIG_DFL;
        sigaction(SIGILL, &default_action, NULL);
        if (info->si_code <= 0) raise(SIGILL);
    }
}

static void handle(int signal_number, siginfo_t *info, void *context) {
    greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (info->si_code > 0) { /* from the CPU, not from kill() */
        if (emulate_tiles && execute(gregs)) {
            /*
             * A signal costs more than the instruction. AMX instructions come in groups, so go on while the next one
             * is AMX too. Its first byte is read before anything else, as the CPU would.
             */
            while (*(const uint8_t *)(uintptr_t)gregs[REG_RIP] == 0xc4 && execute(gregs)) {
            }
            return;
        }
        if (cpuid_mode != CPUID_OFF && execute_cpuid(gregs)) return;
    }
    chain(signal_number, info, context);
}

/* --------------------------------------------------------------------------------------------------- interface -- */

static uint64_t read_xcr0(void) {
    uint32_t a, b, c, d;
    __cpuid(1, a, b, c, d);
    if ((c & 1u << 27) == 0) return 0; /* OSXSAVE */
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int find_out_and_install(void) {
    uint32_t a, b = 0, c, d = 0;
    __cpuid(0, a, b, c, d);
    const uint32_t max_leaf = a;
    b = d = 0;
    if (max_leaf >= 7) __cpuid_count(7, 0, a, b, c, d);
    const uint64_t xcr0 = read_xcr0();
    const int has_amx = (d & 1u << 24) != 0 && (xcr0 >> 17 & 3) == 3;
    const int has_avx512 = (b & 1u << 16) != 0 && (b & 1u << 30) != 0 && (xcr0 & 0xe6) == 0xe6;
    emulate_tiles = !has_amx && has_avx512;

    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGILL, NULL, &previous); /* before ours is there: another thread may need it at once */
    if (sigaction(SIGILL, &action, NULL) != 0) {
        emulate_tiles = 0;
        return TILE_EMULATOR_NO_HANDLER;
    }
    return has_amx ? TILE_EMULATOR_NOT_NEEDED : has_avx512 ? TILE_EMULATOR_ON : TILE_EMULATOR_NO_AVX512;
}

int tile_emulator_install(void) {
    int expected = 0;
    if (__atomic_compare_exchange_n(&installed, &expected, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        install_result = find_out_and_install();
        __atomic_store_n(&installed, 2, __ATOMIC_RELEASE);
    }
    while (__atomic_load_n(&installed, __ATOMIC_ACQUIRE) != 2) _mm_pause();
    return install_result;
}

int tile_emulator_active(void) { return __atomic_load_n(&installed, __ATOMIC_ACQUIRE) == 2 && emulate_tiles; }

uint64_t tile_emulator_count(int op) {
    return op >= 0 && op < TILE_OP_COUNT ? __atomic_load_n(&counts[op], __ATOMIC_RELAXED) : 0;
}

uint64_t tile_emulator_count_named(const char *name) {
    for (int op = 0; op < TILE_OP_COUNT; op++)
        if (strcmp(name, names[op]) == 0) return tile_emulator_count(op);
    return 0;
}

void tile_emulator_reset_counts(void) {
    for (int op = 0; op < TILE_OP_COUNT; op++) __atomic_store_n(&counts[op], 0, __ATOMIC_RELAXED);
}

const char *tile_emulator_name(int op) { return op >= 0 && op < TILE_OP_COUNT ? names[op] : NULL; }

int tile_emulator_state(uint8_t config[64]) {
    if (tile_emulator_install() == TILE_EMULATOR_NOT_NEEDED) {
        /* STTILECFG (RDI), in bytes for assemblers that do not know it */
        __asm__ volatile(".byte 0xc4, 0xe2, 0x79, 0x49, 0x07" : : "D"(config) : "memory");
    } else {
        memcpy(config, state.config, 64);
    }
    return config[0] != 0;
}

int64_t tile_emulator_configured_threads(void) { return __atomic_load_n(&configured_threads, __ATOMIC_RELAXED); }

int tile_emulator_emulate_cpuid(const char *mode) {
    static const char *const modes[] = {"full", "no-amx", "no-avx512", "amx-hidden", "avx512-hidden"};
    for (int i = 0; i < (int)(sizeof modes / sizeof modes[0]); i++) {
        if (strcmp(mode, modes[i]) == 0) {
            tile_emulator_install();
            cpuid_mode = CPUID_FULL + i;
            return 0;
        }
    }
    return -1;
}

void tile_emulator_demand_permission(void) { permission_demanded = 1; }
void tile_emulator_grant_permission(void) { __atomic_store_n(&permission_granted, 1, __ATOMIC_RELAXED); }
int tile_emulator_permitted(void) { return __atomic_load_n(&permission_granted, __ATOMIC_RELAXED); }
