/*
 * arithmetic.c - what the instructions compute: products of tiles, and rows from memory and to it.
 */
#include "internal.h"

#include <immintrin.h>

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
        const __m512i row = _mm512_load_si512(emu_state.tile[a][m]);
        _mm512_store_si512(a_even[m], even_bytes(row, a_signed));
        _mm512_store_si512(a_odd[m], odd_bytes(row, a_signed));
    }
    for (unsigned k = 0; k < k_count; k++) {
        const __m512i row = _mm512_load_si512(emu_state.tile[b][k]);
        b_even[k] = even_bytes(row, b_signed);
        b_odd[k] = odd_bytes(row, b_signed);
    }
    for (unsigned m = 0; m < m_count; m++) {
        __m512i even = _mm512_load_si512(emu_state.tile[c][m]);
        __m512i odd = _mm512_setzero_si512();
        for (unsigned k = 0; k < k_count; k++) {
            even = _mm512_add_epi32(even, _mm512_madd_epi16(_mm512_set1_epi32(a_even[m][k]), b_even[k]));
            odd = _mm512_add_epi32(odd, _mm512_madd_epi16(_mm512_set1_epi32(a_odd[m][k]), b_odd[k]));
        }
        /* Columns of B beyond its colsb are zero, so columns of C beyond its colsb stay zero. */
        _mm512_store_si512(emu_state.tile[c][m], _mm512_add_epi32(even, odd));
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
        expand_pairs(emu_state.tile[a][m], is_bf16, &even, &odd);
        _mm512_store_ps(a_even[m], even);
        _mm512_store_ps(a_odd[m], odd);
    }
    for (unsigned k = 0; k < k_count; k++) expand_pairs(emu_state.tile[b][k], is_bf16, &b_even[k], &b_odd[k]);

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
            float *row = (float *)(void *)emu_state.tile[c][m0 + m];
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

void emu_multiply(int op, unsigned c, unsigned a, unsigned b) {
    if (emu_interpret != NULL) {
        emu_multiply_avx2(op, c, a, b);
        return;
    }
    switch (op) {
    case TILE_TDPBSSD: tdpbssd(c, a, b); break;
    case TILE_TDPBSUD: tdpbsud(c, a, b); break;
    case TILE_TDPBUSD: tdpbusd(c, a, b); break;
    case TILE_TDPBUUD: tdpbuud(c, a, b); break;
    case TILE_TDPBF16PS: with_tile_rounding(tdpbf16ps_rounded, c, a, b); break;
    default: with_tile_rounding(tdpfp16ps_rounded, c, a, b); break;
    }
}

VECTOR static void load_tile(unsigned t, uint64_t address, uint64_t stride) {
    const __mmask64 columns = ~0ull >> (64 - tile_colsb(t));
    const unsigned rows = tile_rows(t);
    for (unsigned r = 0; r < rows; r++) {
        const __m512i row = _mm512_maskz_loadu_epi8(columns, (const void *)(uintptr_t)(address + r * stride));
        _mm512_store_si512(emu_state.tile[t][r], row);
    }
}

VECTOR static void store_tile(unsigned t, uint64_t address, uint64_t stride) {
    const __mmask64 columns = ~0ull >> (64 - tile_colsb(t));
    const unsigned rows = tile_rows(t);
    for (unsigned r = 0; r < rows; r++) {
        const __m512i row = _mm512_load_si512(emu_state.tile[t][r]);
        _mm512_mask_storeu_epi8((void *)(uintptr_t)(address + r * stride), columns, row);
    }
}

void emu_load_tile(unsigned t, uint64_t address, uint64_t stride) {
    (emu_interpret != NULL ? emu_load_tile_avx2 : load_tile)(t, address, stride);
}

void emu_store_tile(unsigned t, uint64_t address, uint64_t stride) {
    (emu_interpret != NULL ? emu_store_tile_avx2 : store_tile)(t, address, stride);
}
