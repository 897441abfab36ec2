/*
 * arithmetic_avx2.c - what arithmetic.c computes, with AVX2, for CPUs without AVX-512.
 */
#include "internal.h"

#include <immintrin.h>
#include <string.h>

#define VECTOR __attribute__((target("avx2,fma,f16c"), noinline))
#define VECTOR_INLINE __attribute__((target("avx2,fma,f16c"), always_inline)) static inline

VECTOR_INLINE __m256i even_bytes(__m256i x, int is_signed) {
    return is_signed ? _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8) : _mm256_and_si256(x, _mm256_set1_epi16(0xff));
}

VECTOR_INLINE __m256i odd_bytes(__m256i x, int is_signed) {
    return is_signed ? _mm256_srai_epi16(x, 8) : _mm256_srli_epi16(x, 8);
}

/* Half of a row at a time; columns beyond those that are configured are zero in B and so stay zero in C. */
VECTOR static void multiply_bytes(unsigned c, unsigned a, unsigned b, int a_signed, int b_signed) {
    const unsigned m_count = tile_rows(c), k_count = tile_rows(b);
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned m = 0; m < m_count; m++) {
            __m256i *row = (__m256i *)(void *)&emu_state.tile[c][m][32 * half];
            __m256i sum = _mm256_load_si256(row);
            for (unsigned k = 0; k < k_count; k++) {
                int32_t pair;
                memcpy(&pair, &emu_state.tile[a][m][4 * k], 4);
                const __m256i x = _mm256_set1_epi32(pair);
                const __m256i y = _mm256_load_si256((const __m256i *)(const void *)&emu_state.tile[b][k][32 * half]);
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even_bytes(x, a_signed), even_bytes(y, b_signed)));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(odd_bytes(x, a_signed), odd_bytes(y, b_signed)));
            }
            _mm256_store_si256(row, sum);
        }
    }
}

VECTOR_INLINE void expand_pairs(__m256i x, int is_bf16, __m256 *even, __m256 *odd) {
    if (is_bf16) {
        *even = _mm256_castsi256_ps(_mm256_slli_epi32(x, 16));
        *odd = _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32((int)0xffff0000u)));
    } else {
        const __m256i low = _mm256_and_si256(x, _mm256_set1_epi32(0xffff)), high = _mm256_srli_epi32(x, 16);
        /* all even, then all odd */
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
        *even = _mm256_cvtph_ps(_mm256_castsi256_si128(words));
        *odd = _mm256_cvtph_ps(_mm256_extracti128_si256(words, 1));
    }
}

/* The order of arithmetic.c: one chain for the even elements, one for the odd ones, their sum to C. */
VECTOR static void multiply_pairs(unsigned c, unsigned a, unsigned b, int is_bf16) {
    const unsigned m_count = tile_rows(c), k_count = tile_rows(b), columns = tile_colsb(c) / 4;
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned m = 0; m < m_count; m++) {
            __m256 even = _mm256_setzero_ps(), odd = _mm256_setzero_ps();
            for (unsigned k = 0; k < k_count; k++) {
                int32_t pair;
                memcpy(&pair, &emu_state.tile[a][m][4 * k], 4);
                __m256 a_even, a_odd, b_even, b_odd;
                expand_pairs(_mm256_set1_epi32(pair), is_bf16, &a_even, &a_odd);
                expand_pairs(_mm256_load_si256((const __m256i *)(const void *)&emu_state.tile[b][k][32 * half]),
                             is_bf16, &b_even, &b_odd);
                even = _mm256_fmadd_ps(a_even, b_even, even);
                odd = _mm256_fmadd_ps(a_odd, b_odd, odd);
            }
            float *row = (float *)(void *)&emu_state.tile[c][m][32 * half];
            const __m256 sum = _mm256_add_ps(_mm256_load_ps(row), _mm256_add_ps(even, odd));
            const __m256i column = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                                                    _mm256_set1_epi32((int)(8 * half)));
            const __m256i used = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)columns), column);
            _mm256_store_ps(row, _mm256_and_ps(sum, _mm256_castsi256_ps(used)));
        }
    }
}

void emu_multiply_avx2(int op, unsigned c, unsigned a, unsigned b) {
    const unsigned before = _mm_getcsr();
    switch (op) {
    case TILE_TDPBSSD: multiply_bytes(c, a, b, 1, 1); break;
    case TILE_TDPBSUD: multiply_bytes(c, a, b, 1, 0); break;
    case TILE_TDPBUSD: multiply_bytes(c, a, b, 0, 1); break;
    case TILE_TDPBUUD: multiply_bytes(c, a, b, 0, 0); break;
    default:
        _mm_setcsr(0x9fc0); /* flush to zero, denormals are zero, to nearest */
        multiply_pairs(c, a, b, op == TILE_TDPBF16PS);
        _mm_setcsr(before);
        break;
    }
}

void emu_load_tile_avx2(unsigned t, uint64_t address, uint64_t stride) {
    for (unsigned r = 0; r < tile_rows(t); r++) {
        memset(emu_state.tile[t][r], 0, ROW_BYTES);
        memcpy(emu_state.tile[t][r], (const void *)(uintptr_t)(address + r * stride), tile_colsb(t));
    }
}

void emu_store_tile_avx2(unsigned t, uint64_t address, uint64_t stride) {
    for (unsigned r = 0; r < tile_rows(t); r++)
        memcpy((void *)(uintptr_t)(address + r * stride), emu_state.tile[t][r], tile_colsb(t));
}
