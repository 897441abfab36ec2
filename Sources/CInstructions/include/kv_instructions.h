// The instructions of attention over key-value caches; see instructions.h.
#pragma once
#include "instructions.h"

SX_AVX512 uint32_t sx_mask_equals16(uint32_t mask, const void *p, uint16_t value) { // 32 words, those of the mask
    return _mm512_mask_cmpeq_epi16_mask(mask, _mm512_maskz_loadu_epi16(mask, p), _mm512_set1_epi16((short)value));
}
SX_AVX512 __m512 sx_mask_max_ps(__m512 most, uint16_t mask, __m512 v) { // a NaN in v does not count
    return _mm512_mask_max_ps(most, mask, v, most);
}
SX_AVX512 __m512 sx_mask_mul(uint16_t mask, __m512 a, __m512 b) { return _mm512_maskz_mul_ps(mask, a, b); }
SX_AVX512 uint16_t sx_no_numbers(__m512 v) { return _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q); }
SX_AVX512 float sx_first_ps(__m512 v) { return _mm512_cvtss_f32(v); }
SX_AVX512 float sx_reduce_max_ps(__m512 v) { return _mm512_reduce_max_ps(v); } // of numbers
// Halves are added to halves, as the reference does.
SX_AVX512 float sx_sum_lanes(__m512 v) {
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
SX_AVX512 void sx_store_low8(void *p, __m512i v) { // the low byte of each of 16 integers
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(v));
}
SX_AVX512 __m512i sx_up7(__m512i v) { return _mm512_slli_epi32(v, 7); }
SX_AVX512 __m512i sx_up8(__m512i v) { return _mm512_slli_epi32(v, 8); }
SX_AVX512 __m512i sx_down7(__m512i v) { return _mm512_srai_epi32(v, 7); }
SX_AVX512 __m512i sx_down8(__m512i v) { return _mm512_srli_epi32(v, 8); }
