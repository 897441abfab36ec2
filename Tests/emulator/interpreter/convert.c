/*
 * convert.c - conversions between floats and integers, and between float32 and the 16-bit floats.
 */
#include "vector.h"

#include <Zydis/Zydis.h>

VECTOR_1(cvtdq2ps, 4, _mm256_castps_si256(_mm256_cvtepi32_ps(B)))
VECTOR_1(cvtps2dq, 4, _mm256_cvtps_epi32(_mm256_castsi256_ps(B)))
VECTOR_1(cvttps2dq, 4, _mm256_cvttps_epi32(_mm256_castsi256_ps(B)))

static insn *cvtudq2ps(insn *i, machine *m) {
    v64 room, result;
    const v64 *b = source(i, m, &room, 4);
    EACH(16) result.ps[x] = (float)(double)b->d[x];
    return put(i, m, &result, 4);
}

static insn *cvtph2ps(insn *i, machine *m) {
    v64 room, result;
    const v64 *b = source(i, m, &room, 4);
    HALVES result.f[h] = _mm256_cvtph_ps(b->x[h]);
    return put(i, m, &result, 4);
}

/* Bit 2 of the immediate: round as MXCSR says, else as bits 0 and 1 do. */
static insn *cvtps2ph(insn *i, machine *m) {
    const v64 *b = &REG(v64, i->b);
    v64 result;
    result.h[1] = _mm256_setzero_si256();
    const unsigned before = _mm_getcsr();
    if ((i->immediate & 4) == 0) _mm_setcsr((before & ~0x6000u) | (unsigned)(i->immediate & 3) << 13);
    HALVES {
        __m256 value = b->f[h];
        __asm__ volatile("" : "+x"(value));
        __m128i half = _mm256_cvtps_ph(value, 4);
        __asm__ volatile("" : "+x"(half));
        result.x[h] = half;
    }
    _mm_setcsr(before);
    const unsigned bytes = i->vl / 2u;
    if (i->memory == MEMORY_D) {
        vector_store(i, m, &result, 2, bytes);
        return i->next;
    }
    v64 *d = &REG(v64, i->d);
    EACH(32) {
        if (i->mask != 0 && (m->k[i->mask] >> x & 1) == 0) result.w[x] = i->zeroing ? 0 : d->w[x];
    }
    memset(&result.b[bytes], 0, 64 - bytes);
    *d = result;
    return i->next;
}

/* To nearest even; denormals become zero, and NaNs quiet. MXCSR has no say. */
static inline __m256i to_bf16(__m256i v) { /* in the lower halves of 32 bits */
    const __m256i magnitude = _mm256_and_si256(v, _mm256_set1_epi32(0x7fffffff));
    const __m256i upper = _mm256_srli_epi32(v, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(v, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))),
                                              16);
    const __m256i nan = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7f800000));
    const __m256i tiny = _mm256_cmpgt_epi32(_mm256_set1_epi32(0x00800000), magnitude);
    __m256i result = _mm256_blendv_epi8(rounded, _mm256_or_si256(upper, _mm256_set1_epi32(0x40)), nan);
    return _mm256_blendv_epi8(result, _mm256_and_si256(upper, _mm256_set1_epi32(0x8000)), tiny);
}

static inline __m128i to_bf16_packed(__m256i v) {
    const __m256i wide = to_bf16(v);
    return _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
}

/* The last source fills the lower half, the first one the upper. */
static insn *cvtne2ps2bf16(insn *i, machine *m) {
    v64 room, result, high, low;
    const v64 *b = source_whole(i, m, &room, 4), *a = &REG(v64, i->a);
    HALVES low.x[h] = to_bf16_packed(b->h[h]), high.x[h] = to_bf16_packed(a->h[h]);
    memcpy(&result, &low, i->vl / 2u);
    memcpy(&result.b[i->vl / 2u], &high, i->vl / 2u);
    return put(i, m, &result, 2);
}

static insn *cvtneps2bf16(insn *i, machine *m) {
    v64 room, result;
    const v64 *b = source(i, m, &room, 4);
    result.h[1] = _mm256_setzero_si256();
    HALVES result.x[h] = to_bf16_packed(b->h[h]);
    insn shorter = *i;
    shorter.vl = i->vl / 2;
    shorter.plain = 0;
    if (shorter.vl == 8) {
        result.q[1] = 0;
        shorter.vl = 16;
    }
    put(&shorter, m, &result, 2);
    return i->next;
}

static insn *finish_scalar(insn *i, machine *m, uint64_t bits, unsigned element) {
    v64 result;
    result.h[1] = _mm256_setzero_si256();
    result.h[0] = _mm256_zextsi128_si256(REG(v64, i->a).x[0]);
    memcpy(&result, &bits, element);
    REG(v64, i->d) = result;
    return i->next;
}

static int64_t integer_b(const insn *i, machine *m) {
    const uint64_t p = i->memory != IN_REGISTERS ? address_of(i, m) : (uint64_t)(uintptr_t)&REG(uint8_t, i->b);
    return i->b_size == 8 ? AT(int64_t, p) : AT(int32_t, p);
}

static insn *cvtsi2ss(insn *i, machine *m) {
    __m128 value = _mm_setzero_ps();
    __asm__ volatile("vcvtsi2ssq %[from], %[to], %[to]" : [to] "+x"(value) : [from] "r"(integer_b(i, m)));
    return finish_scalar(i, m, (uint32_t)_mm_cvtsi128_si32(_mm_castps_si128(value)), 4);
}

static insn *cvtsi2sd(insn *i, machine *m) {
    __m128d value = _mm_setzero_pd();
    __asm__ volatile("vcvtsi2sdq %[from], %[to], %[to]" : [to] "+x"(value) : [from] "r"(integer_b(i, m)));
    return finish_scalar(i, m, (uint64_t)_mm_cvtsi128_si64(_mm_castpd_si128(value)), 8);
}

static __m128 float_b(const insn *i, machine *m) {
    return i->memory != IN_REGISTERS ? _mm_load_ss((const float *)(uintptr_t)address_of(i, m))
                                     : _mm_castsi128_ps(REG(v64, i->b).x[0]);
}

#define TO_INTEGER(name, instruction)                                                                             \
    static insn *name(insn *i, machine *m) {                                                                      \
        const __m128 value = float_b(i, m);                                                                       \
        uint64_t result = 0;                                                                                      \
        if (i->size == 8) {                                                                                       \
            __asm__ volatile(instruction " %[from], %[to]" : [to] "=r"(result) : [from] "x"(value));              \
        } else {                                                                                                  \
            __asm__ volatile(instruction " %[from], %k[to]" : [to] "=r"(result) : [from] "x"(value));             \
        }                                                                                                         \
        REG(uint64_t, i->d) = result;                                                                             \
        return i->next;                                                                                           \
    }
TO_INTEGER(cvtss2si, "vcvtss2si")
TO_INTEGER(cvttss2si, "vcvttss2si")

void add_convert(void) {
#define SAME(NAME, name) {ZYDIS_MNEMONIC_V##NAME, name}
    static const row rows[] = {
        SAME(CVTDQ2PS, cvtdq2ps), SAME(CVTPS2DQ, cvtps2dq), SAME(CVTTPS2DQ, cvttps2dq), SAME(CVTUDQ2PS, cvtudq2ps),
        SAME(CVTPH2PS, cvtph2ps), SAME(CVTPS2PH, cvtps2ph), SAME(CVTNE2PS2BF16, cvtne2ps2bf16),
        SAME(CVTNEPS2BF16, cvtneps2bf16),
        SAME(CVTSI2SS, cvtsi2ss), SAME(CVTSI2SD, cvtsi2sd), SAME(CVTSS2SI, cvtss2si), SAME(CVTTSS2SI, cvttss2si),
    };
    ADD_ROWS(rows);
}
