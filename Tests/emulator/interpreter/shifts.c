/*
 * shifts.c - shifts and rotations of vector elements. A count as large as the element or larger gives zero, or the
 * sign.
 */
#include "vector.h"

#include <Zydis/Zydis.h>

static inline __m256i shift_right_q(__m256i v, __m128i count) { /* arithmetic, which AVX2 lacks for 64 bits */
    const uint64_t n = (uint64_t)_mm_cvtsi128_si64(count);
    const __m256i sign = _mm256_cmpgt_epi64(_mm256_setzero_si256(), v);
    if (n > 63) return sign;
    const __m128i up = _mm_cvtsi64_si128((long long)(64 - n));
    return _mm256_or_si256(_mm256_srl_epi64(v, count), _mm256_sll_epi64(sign, up));
}

/* By an immediate, or by the low 64 bits of a register or of memory, whatever the mask says. */
#define SHIFT(name, element, shift)                                                                              \
    static insn *name(insn *i, machine *m) {                                                                     \
        v64 room, result;                                                                                        \
        const v64 *v;                                                                                            \
        __m128i count;                                                                                           \
        if (i->has_immediate) {                                                                                  \
            count = _mm_cvtsi64_si128((long long)(i->immediate & 0xff));                                         \
            v = source(i, m, &room, element);                                                                    \
        } else {                                                                                                 \
            const uint64_t at = i->memory != IN_REGISTERS ? address_of(i, m) : (uint64_t)(uintptr_t)&REG(v64, i->b); \
            count = _mm_loadl_epi64((const __m128i *)(uintptr_t)at);                                             \
            v = &REG(v64, i->a);                                                                                 \
        }                                                                                                        \
        HALVES result.h[h] = shift(v->h[h], count);                                                              \
        return put(i, m, &result, element);                                                                      \
    }
SHIFT(psllw, 2, _mm256_sll_epi16)
SHIFT(pslld, 4, _mm256_sll_epi32)
SHIFT(psllq, 8, _mm256_sll_epi64)
SHIFT(psrlw, 2, _mm256_srl_epi16)
SHIFT(psrld, 4, _mm256_srl_epi32)
SHIFT(psrlq, 8, _mm256_srl_epi64)
SHIFT(psraw, 2, _mm256_sra_epi16)
SHIFT(psrad, 4, _mm256_sra_epi32)
SHIFT(psraq, 8, shift_right_q)

VECTOR_2(psllvd, 4, _mm256_sllv_epi32(A, B))
VECTOR_2(psllvq, 8, _mm256_sllv_epi64(A, B))
VECTOR_2(psrlvd, 4, _mm256_srlv_epi32(A, B))
VECTOR_2(psrlvq, 8, _mm256_srlv_epi64(A, B))
VECTOR_2(psravd, 4, _mm256_srav_epi32(A, B))

#define EACH_2(name, element, count, member, expression)                     \
    static insn *name(insn *i, machine *m) {                                 \
        v64 room, result;                                                    \
        const v64 *b = source(i, m, &room, element), *a = &REG(v64, i->a);   \
        EACH(count) result.member[x] = (expression);                         \
        return put(i, m, &result, element);                                  \
    }
EACH_2(psllvw, 2, 32, w, b->w[x] > 15 ? 0 : (uint16_t)(a->w[x] << b->w[x]))
EACH_2(psrlvw, 2, 32, w, b->w[x] > 15 ? 0 : (uint16_t)(a->w[x] >> b->w[x]))
EACH_2(psravw, 2, 32, sw, (int16_t)(a->sw[x] >> (b->w[x] > 15 ? 15 : b->w[x])))
EACH_2(psravq, 8, 8, sq, a->sq[x] >> (b->q[x] > 63 ? 63 : b->q[x]))

static inline __m256i rotate_left_d(__m256i v, __m256i n) {
    const __m256i left = _mm256_and_si256(n, _mm256_set1_epi32(31));
    return _mm256_or_si256(_mm256_sllv_epi32(v, left),
                           _mm256_srlv_epi32(v, _mm256_sub_epi32(_mm256_set1_epi32(32), left)));
}
static inline __m256i rotate_left_q(__m256i v, __m256i n) {
    const __m256i left = _mm256_and_si256(n, _mm256_set1_epi64x(63));
    return _mm256_or_si256(_mm256_sllv_epi64(v, left),
                           _mm256_srlv_epi64(v, _mm256_sub_epi64(_mm256_set1_epi64x(64), left)));
}
#define NEGATED(suffix, n) _mm256_sub_##suffix(_mm256_setzero_si256(), n)
VECTOR_2(prolvd, 4, rotate_left_d(A, B))
VECTOR_2(prolvq, 8, rotate_left_q(A, B))
VECTOR_2(prorvd, 4, rotate_left_d(A, NEGATED(epi32, B)))
VECTOR_2(prorvq, 8, rotate_left_q(A, NEGATED(epi64, B)))
VECTOR_1(prold, 4, rotate_left_d(B, _mm256_set1_epi32((int)i->immediate)))
VECTOR_1(prolq, 8, rotate_left_q(B, _mm256_set1_epi64x(i->immediate)))
VECTOR_1(prord, 4, rotate_left_d(B, _mm256_set1_epi32(-(int)i->immediate)))
VECTOR_1(prorq, 8, rotate_left_q(B, _mm256_set1_epi64x(-i->immediate)))

/* The first element before the second: the upper half of both, shifted to the left by the immediate. */
static insn *pshldw(insn *i, machine *m) {
    v64 room, result;
    const v64 *b = source(i, m, &room, 2), *a = &REG(v64, i->a);
    const unsigned n = (unsigned)i->immediate & 15;
    EACH(32) result.w[x] = (uint16_t)((((uint32_t)a->w[x] << 16) | b->w[x]) << n >> 16);
    return put(i, m, &result, 2);
}

/* Whole blocks of 16 bytes, by bytes. */
#define SHIFT_BYTES(name, left)                                                            \
    static insn *name(insn *i, machine *m) {                                               \
        v64 room, result;                                                                  \
        const v64 *b = source(i, m, &room, 1);                                             \
        const unsigned n = (unsigned)(i->immediate & 0xff);                                \
        EACH(64) {                                                                         \
            const unsigned at = x & 15, from = left ? at - n : at + n;                     \
            result.b[x] = from < 16 ? b->b[(x & 48) + from] : 0;                           \
        }                                                                                  \
        return put(i, m, &result, 1);                                                      \
    }
SHIFT_BYTES(pslldq, 1)
SHIFT_BYTES(psrldq, 0)

void add_integer_shifts(void) {
#define SAME(NAME, name) {ZYDIS_MNEMONIC_V##NAME, name}
    static const row rows[] = {
        SAME(PSLLW, psllw), SAME(PSLLD, pslld), SAME(PSLLQ, psllq), SAME(PSRLW, psrlw), SAME(PSRLD, psrld),
        SAME(PSRLQ, psrlq),
        SAME(PSRAW, psraw), SAME(PSRAD, psrad), SAME(PSRAQ, psraq), SAME(PSLLVW, psllvw), SAME(PSLLVD, psllvd),
        SAME(PSLLVQ, psllvq), SAME(PSRLVW, psrlvw), SAME(PSRLVD, psrlvd), SAME(PSRLVQ, psrlvq), SAME(PSRAVW, psravw),
        SAME(PSRAVD, psravd), SAME(PSRAVQ, psravq), SAME(PROLVD, prolvd), SAME(PROLVQ, prolvq), SAME(PRORVD, prorvd),
        SAME(PRORVQ, prorvq), SAME(PROLD, prold), SAME(PROLQ, prolq), SAME(PRORD, prord), SAME(PRORQ, prorq),
        SAME(PSHLDW, pshldw), SAME(PSLLDQ, pslldq), SAME(PSRLDQ, psrldq),
    };
    ADD_ROWS(rows);
}
