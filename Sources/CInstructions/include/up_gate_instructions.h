// The instructions of the fused kinds; see instructions.h.
#pragma once
#include "instructions.h"

SX_AVX512 __m512 sx_divide(__m512 a, __m512 b) { return _mm512_div_ps(a, b); }
// With a NaN on either side the second operand.
SX_AVX512 __m512 sx_min_ps(__m512 a, __m512 b) { return _mm512_min_ps(a, b); }
SX_AVX512 __m512 sx_max_ps(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
SX_AVX512 __m512 sx_scale_by_power(__m512 v, __m512 n) { return _mm512_scalef_ps(v, n); }
SX_AVX512 __m512 sx_absolute(__m512 v) { return _mm512_abs_ps(v); }
SX_AVX512 uint16_t sx_sign_bits(__m512 v) { return _mm512_movepi32_mask(_mm512_castps_si512(v)); }
SX_AVX512 __m512 sx_blend_ps(uint16_t mask, __m512 clear, __m512 set) { return _mm512_mask_blend_ps(mask, clear, set); }
