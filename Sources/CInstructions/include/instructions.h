// Dictionary of instructions for the kernel modules: one inline function, one instruction. Tile intrinsics and
// intrinsics with an immediate operand are macros, which Swift cannot import; bf16 vectors have no Swift type.
// The target lists must be subsets of the flags of the module that calls them, or the calls stay calls: the check of
// the built library looks for them. Never always_inline: that crashes the compiler from a baseline module.
#pragma once
#include <immintrin.h>
#include <stdint.h>

#define SX_AVX512 static inline __attribute__((target( \
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2,avx512vnni,avx512bf16")))
#define SX_TILE static inline __attribute__((target("amx-tile,amx-int8,amx-bf16")))

// Loads, stores, broadcasts.
SX_AVX512 __m512i sx_load(const void *p) { return _mm512_loadu_si512(p); }
SX_AVX512 void sx_store(void *p, __m512i v) { _mm512_storeu_si512(p, v); }
SX_AVX512 __m512 sx_load_ps(const void *p) { return _mm512_loadu_ps(p); }
SX_AVX512 void sx_store_ps(void *p, __m512 v) { _mm512_storeu_ps(p, v); }
SX_AVX512 void sx_store32(void *p, __m512i v) { _mm256_storeu_si256((__m256i *)p, _mm512_castsi512_si256(v)); }
SX_AVX512 __m512i sx_broadcast32(const void *p) { int v; __builtin_memcpy(&v, p, 4); return _mm512_set1_epi32(v); }
SX_AVX512 __m512 sx_broadcast_ps(const void *p) { float v; __builtin_memcpy(&v, p, 4); return _mm512_set1_ps(v); }
SX_AVX512 __m512 sx_broadcast_two_ps(const void *p) {
    double v;
    __builtin_memcpy(&v, p, 8);
    return _mm512_castpd_ps(_mm512_set1_pd(v));
}
SX_AVX512 void sx_prefetch(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }
SX_AVX512 void sx_prefetch_l2(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T1); }
SX_AVX512 void sx_mask_store_ps(void *p, uint16_t mask, __m512 v) { _mm512_mask_storeu_ps(p, mask, v); }
SX_AVX512 void sx_mask_store16(void *p, uint32_t mask, __m512i v) { _mm512_mask_storeu_epi16(p, mask, v); }
SX_AVX512 void sx_mask_store8(void *p, uint64_t mask, __m512i v) { _mm512_mask_storeu_epi8(p, mask, v); }
SX_AVX512 __m512i sx_mask_load8(__m512i other, uint64_t mask, const void *p) {
    return _mm512_mask_loadu_epi8(other, mask, p);
}
SX_AVX512 __m512 sx_mask_load_ps(uint16_t mask, const void *p) { return _mm512_maskz_loadu_ps(mask, p); }

// Expansion and its reverse.
// Expansions from registers: reading memory, on Zen 5, they wait for all stores before them (a row expanded and stored
// took 5.0 cycles, 3.2 with a load of its own). The empty statement keeps the compiler from joining load and expansion.
SX_AVX512 __m512i sx_expand16(uint32_t mask, __m512i v) {
    __asm__("" : "+v"(v));
    return _mm512_maskz_expand_epi16(mask, v);
}
SX_AVX512 __m512i sx_expand8(__m512i other, uint64_t mask, __m512i v) {
    __asm__("" : "+v"(v));
    return _mm512_mask_expand_epi8(other, mask, v);
}
SX_AVX512 __m512i sx_compress16(uint32_t mask, __m512i v) { return _mm512_maskz_compress_epi16(mask, v); }
SX_AVX512 __m512i sx_compress8(uint64_t mask, __m512i v) { return _mm512_maskz_compress_epi8(mask, v); }
SX_AVX512 uint32_t sx_nonzero16(__m512i v) { return _mm512_test_epi16_mask(v, v); }
SX_AVX512 uint64_t sx_differs8(__m512i v, __m512i w) { return _mm512_cmpneq_epi8_mask(v, w); }

SX_AVX512 uint64_t sx_equals8(__m512i v, __m512i w) { return _mm512_cmpeq_epi8_mask(v, w); }
SX_AVX512 uint16_t sx_equals32(__m512i v, __m512i w) { return _mm512_cmpeq_epi32_mask(v, w); }
SX_AVX512 uint16_t sx_greater32(__m512i v, __m512i w) { return _mm512_cmpgt_epi32_mask(v, w); }
SX_AVX512 __m512i sx_choose32(uint16_t mask, __m512i a, __m512i b) { return _mm512_mask_mov_epi32(b, mask, a); }
SX_AVX512 __m512i sx_replace8(__m512i v, uint64_t mask, uint8_t by) {
    return _mm512_mask_set1_epi8(v, mask, (char)by);
}
SX_AVX512 __m512i sx_mask_sub8(__m512i v, uint64_t mask, __m512i w) { return _mm512_mask_sub_epi8(v, mask, v, w); }

// Bits of packed codes.
SX_AVX512 __m512i sx_and(__m512i a, __m512i b) { return _mm512_and_si512(a, b); }
SX_AVX512 __m512i sx_or(__m512i a, __m512i b) { return _mm512_or_si512(a, b); }
SX_AVX512 __m512i sx_select(__m512i mask, __m512i a, __m512i b) { return _mm512_ternarylogic_epi32(mask, a, b, 0xca); }
SX_AVX512 __m512i sx_half_down(__m512i v) { return _mm512_srli_epi16(v, 4); }
SX_AVX512 __m512i sx_half_up(__m512i v) { return _mm512_slli_epi16(v, 4); }
SX_AVX512 __m512i sx_sixteenth(__m512i v) { return _mm512_srai_epi32(v, 4); }
SX_AVX512 __m512i sx_up16(__m512i v, int32_t n) { return _mm512_sll_epi16(v, _mm_cvtsi32_si128(n)); }
SX_AVX512 __m512i sx_down16(__m512i v, int32_t n) { return _mm512_srl_epi16(v, _mm_cvtsi32_si128(n)); }
SX_AVX512 __m512i sx_rotate32(__m512i v, __m512i right) { return _mm512_rorv_epi32(v, right); }
SX_AVX512 __m512i sx_up32(__m512i v, __m512i n) { return _mm512_sllv_epi32(v, n); }
SX_AVX512 __m512i sx_down32(__m512i v, __m512i n) { return _mm512_srlv_epi32(v, n); }
SX_AVX512 __m512i sx_rotate16(__m512i v) { return _mm512_shldi_epi16(v, v, 15); } // right by one
SX_AVX512 __m512i sx_set32(int32_t v) { return _mm512_set1_epi32(v); }
SX_AVX512 __m512i sx_shuffle8(__m512i v, __m512i index) { return _mm512_shuffle_epi8(v, index); }
SX_AVX512 __m512i sx_table16(const void *p) { // for sx_shuffle8
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)p));
}
SX_AVX512 __m512i sx_widen_u16(const void *p) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)); }
SX_AVX512 __m512i sx_widen_i8(const void *p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)); }
SX_AVX512 __m512i sx_widen_twice(const void *p) {
    return _mm512_cvtepu8_epi32(_mm_castpd_si128(_mm_loaddup_pd((const double *)p)));
}
SX_AVX512 __m512i sx_sub32(__m512i a, __m512i b) { return _mm512_sub_epi32(a, b); }
SX_AVX512 __m512i sx_as_integer(__m512 v) { return _mm512_castps_si512(v); }
SX_AVX512 __m512 sx_as_float(__m512i v) { return _mm512_castsi512_ps(v); }
// The low byte of each of 16 integers four times.
SX_AVX512 __m512i sx_four_times(__m512i v) {
    return _mm512_shuffle_epi8(v, _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0));
}
// Levels of the 4-bit types that are not linear, for sx_shuffle8: sx_code_level() has the same numbers.
SX_AVX512 __m512i sx_levels_iq4(void) {
    return _mm512_broadcast_i32x4(_mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118,
                                                -127, -115, -103, -90, -75, -59, -39, -15));
}
SX_AVX512 __m512i sx_levels_fp4(void) {
    return _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
}
SX_AVX512 __m512i sx_shifts(int32_t step, int32_t wrap) { // lane i: i % wrap * step, wrap a power of two
    __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_mullo_epi32(_mm512_and_si512(lanes, _mm512_set1_epi32(wrap - 1)), _mm512_set1_epi32(step));
}
SX_AVX512 __m512i sx_upper_lanes(int32_t value) { // 0 in lanes 0...7, value in lanes 8...15
    return _mm512_maskz_set1_epi32(0xff00, value);
}
SX_AVX512 __m512i sx_lanes_of_mask(uint16_t mask, int32_t value) { return _mm512_maskz_set1_epi32(mask, value); }

// Dot products.
SX_AVX512 __m512 sx_dpbf16(__m512 acc, __m512i a, __m512i b) { return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b); }
SX_AVX512 __m512i sx_dpbusd(__m512i acc, __m512i u8, __m512i s8) { return _mm512_dpbusd_epi32(acc, u8, s8); }

// Conversions. Rounding is nearest-even whatever the host's MXCSR says, where the instruction can say so.
SX_AVX512 __m512 sx_f16_low(__m512i v) { return _mm512_cvtph_ps(_mm512_castsi512_si256(v)); }
SX_AVX512 __m512 sx_f16_high(__m512i v) { return _mm512_cvtph_ps(_mm512_extracti64x4_epi64(v, 1)); }
SX_AVX512 __m512 sx_f16_load(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
SX_AVX512 __m512i sx_bf16_pack(__m512 high, __m512 low) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }
// Elements of 16 bits that are no operands of a product. Rounding to bfloat16 is done with integers, because the
// instruction for it loses subnormal numbers.
SX_AVX512 __m512 sx_widen_bf16(uint16_t mask, const void *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p)), 16));
}
SX_AVX512 __m512 sx_widen_f16(uint16_t mask, const void *p) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, p));
}
SX_AVX512 void sx_narrow_bf16(void *p, uint16_t mask, __m512 v) {
    __m512i bits = _mm512_castps_si512(v), upper = _mm512_srli_epi32(bits, 16);
    __m512i half = _mm512_add_epi32(_mm512_and_si512(upper, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
    __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32(0x40));
    _mm256_mask_storeu_epi16(p, mask, _mm512_cvtepi32_epi16(rounded));
}
SX_AVX512 void sx_narrow_f16(void *p, uint16_t mask, __m512 v) {
    _mm256_mask_storeu_epi16(p, mask, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
SX_AVX512 __m512i sx_round32(__m512 v) {
    return _mm512_cvt_roundps_epi32(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
SX_AVX512 __m512 sx_float(__m512i v) { return _mm512_cvtepi32_ps(v); }
SX_AVX512 __m512i sx_widen_u8(const void *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)); }
SX_AVX512 void sx_store_saturated8(void *p, __m512i v) { _mm_storeu_si128((__m128i *)p, _mm512_cvtsepi32_epi8(v)); }

// Arithmetic that Swift's SIMD types do not name.
SX_AVX512 __m512 sx_fma(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
SX_AVX512 __m512 sx_fmsub(__m512 a, __m512 b, __m512 c) { return _mm512_fmsub_ps(a, b, c); }
SX_AVX512 __m512 sx_fnmadd(__m512 a, __m512 b, __m512 c) { return _mm512_fnmadd_ps(a, b, c); }
SX_AVX512 __m512 sx_mul(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
SX_AVX512 __m512 sx_sub_ps(__m512 a, __m512 b) { return _mm512_sub_ps(a, b); }
SX_AVX512 __m512 sx_add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
SX_AVX512 __m512 sx_zero_ps(void) { return _mm512_setzero_ps(); }
SX_AVX512 __m512i sx_zero(void) { return _mm512_setzero_si512(); }
SX_AVX512 __m512i sx_set8(int8_t v) { return _mm512_set1_epi8(v); }
SX_AVX512 __m512 sx_set_ps(float v) { return _mm512_set1_ps(v); }
SX_AVX512 __m512i sx_add32(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
SX_AVX512 __m512i sx_absolute_bits(__m512 v) {
    return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
}
SX_AVX512 __m512i sx_clamp_low(__m512i v) { return _mm512_max_epi32(v, _mm512_set1_epi32(-128)); }
SX_AVX512 __m512i sx_max32(__m512i a, __m512i b) { return _mm512_max_epu32(a, b); }
SX_AVX512 uint32_t sx_reduce_max32(__m512i v) { return _mm512_reduce_max_epu32(v); }
SX_AVX512 int32_t sx_reduce_add32(__m512i v) { return _mm512_reduce_add_epi32(v); }

// Shuffles.
SX_AVX512 __m512i sx_unpack_low8(__m512i a, __m512i b) { return _mm512_unpacklo_epi8(a, b); }
SX_AVX512 __m512i sx_unpack_high8(__m512i a, __m512i b) { return _mm512_unpackhi_epi8(a, b); }
SX_AVX512 __m512i sx_unpack_low32(__m512i a, __m512i b) { return _mm512_unpacklo_epi32(a, b); }
SX_AVX512 __m512i sx_unpack_high32(__m512i a, __m512i b) { return _mm512_unpackhi_epi32(a, b); }
SX_AVX512 __m512i sx_unpack_low64(__m512i a, __m512i b) { return _mm512_unpacklo_epi64(a, b); }
SX_AVX512 __m512i sx_unpack_high64(__m512i a, __m512i b) { return _mm512_unpackhi_epi64(a, b); }
SX_AVX512 __m512i sx_lanes_even(__m512i a, __m512i b) { return _mm512_shuffle_i32x4(a, b, 0x88); }
SX_AVX512 __m512i sx_lanes_odd(__m512i a, __m512i b) { return _mm512_shuffle_i32x4(a, b, 0xdd); }
SX_AVX512 __m512 sx_permute_ps(__m512i index, __m512 v) { return _mm512_permutexvar_ps(index, v); }
SX_AVX512 __m512 sx_permute2_ps(__m512 a, __m512i index, __m512 b) { return _mm512_permutex2var_ps(a, index, b); }

// Bytes of a VNNI row of 16 columns x 4 k as 16 integers: quarters 0 and 1 are k, k+1 of columns 0-7 and 8-15,
// quarters 2 and 3 are k+2, k+3 of the same.
SX_AVX512 __m512i sx_pair_bytes(int quarter) {
    __m512i base = _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29);
    return _mm512_add_epi32(base, _mm512_set1_epi32(32 * (quarter & 1) + 2 * (quarter >> 1)));
}
// As floats: 2^23 + byte, because 0x4b000000 is 2^23 and its last place counts ones. Saves the conversion. Written out,
// because the compiler makes the two-table vpermt2b of the intrinsic, which takes port 5 twice.
SX_AVX512 __m512 sx_float_bytes(__m512i index, __m512i v) {
    __m512i floats = _mm512_set1_epi32(0x4b000000);
    __asm__("vpermb %2, %1, %0 %{%3%}" : "+v"(floats) : "v"(index), "v"(v), "Yk"((__mmask64)0x1111111111111111));
    return _mm512_castsi512_ps(floats);
}
// Lane i / 2 of one half of 16 floats, for i = 0...15.
SX_AVX512 __m512i sx_twice_lanes(int half) {
    __m512i base = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_add_epi32(base, _mm512_set1_epi32(8 * half));
}
// Indices of the even and the odd lanes of two vectors, for sx_permute2_ps.
SX_AVX512 __m512i sx_even_lanes(void) {
    return _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
SX_AVX512 __m512i sx_odd_lanes(void) {
    return _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

// Tiles. Roles are the same in every AMX kernel: 0...3 results, 4 and 5 activations, 6 and 7 weights.
SX_TILE void sx_tile_save_config(void *p) { _tile_storeconfig(p); }
SX_TILE void sx_tile_load_config(const void *p) { _tile_loadconfig(p); }
SX_TILE void sx_tile_release(void) { _tile_release(); }
#define SX_TILE_NAMES(t) \
    SX_TILE void sx_tile_zero_##t(void) { _tile_zero(t); } \
    SX_TILE void sx_tile_load_##t(const void *p, int64_t stride) { _tile_loadd(t, p, stride); } \
    SX_TILE void sx_tile_stream_##t(const void *p, int64_t stride) { _tile_stream_loadd(t, p, stride); } \
    SX_TILE void sx_tile_store_##t(void *p, int64_t stride) { _tile_stored(t, p, stride); }
SX_TILE_NAMES(0) SX_TILE_NAMES(1) SX_TILE_NAMES(2) SX_TILE_NAMES(3)
SX_TILE_NAMES(4) SX_TILE_NAMES(5) SX_TILE_NAMES(6) SX_TILE_NAMES(7)
#define SX_TILE_DOTS(c, a, b) \
    SX_TILE void sx_tile_bf16_##c##_##a##_##b(void) { _tile_dpbf16ps(c, a, b); } \
    SX_TILE void sx_tile_s8u8_##c##_##a##_##b(void) { _tile_dpbsud(c, a, b); }
SX_TILE_DOTS(0, 4, 6) SX_TILE_DOTS(1, 4, 6) SX_TILE_DOTS(1, 5, 6) SX_TILE_DOTS(1, 5, 7)
SX_TILE_DOTS(2, 4, 7) SX_TILE_DOTS(2, 4, 6) SX_TILE_DOTS(3, 5, 7) SX_TILE_DOTS(2, 5, 6)
