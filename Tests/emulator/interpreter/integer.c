/*
 * integer.c - integer arithmetic, logic and comparisons of vectors.
 */
#include "vector.h"

#include <Zydis/Zydis.h>

#define ADD_LIKE(op, X) \
    X(op##b, 1, epi8) X(op##w, 2, epi16) X(op##d, 4, epi32) X(op##q, 8, epi64)
#define ADDITION(name, element, suffix) VECTOR_2(name, element, _mm256_add_##suffix(A, B))
ADD_LIKE(padd, ADDITION)
#define SUBTRACTION(name, element, suffix) VECTOR_2(name, element, _mm256_sub_##suffix(A, B))
ADD_LIKE(psub, SUBTRACTION)

VECTOR_2(paddsb, 1, _mm256_adds_epi8(A, B))
VECTOR_2(paddsw, 2, _mm256_adds_epi16(A, B))
VECTOR_2(paddusb, 1, _mm256_adds_epu8(A, B))
VECTOR_2(paddusw, 2, _mm256_adds_epu16(A, B))
VECTOR_2(psubsb, 1, _mm256_subs_epi8(A, B))
VECTOR_2(psubsw, 2, _mm256_subs_epi16(A, B))
VECTOR_2(psubusb, 1, _mm256_subs_epu8(A, B))
VECTOR_2(psubusw, 2, _mm256_subs_epu16(A, B))
VECTOR_2(pavgb, 1, _mm256_avg_epu8(A, B))
VECTOR_2(pavgw, 2, _mm256_avg_epu16(A, B))
VECTOR_2(pmullw, 2, _mm256_mullo_epi16(A, B))
VECTOR_2(pmulhw, 2, _mm256_mulhi_epi16(A, B))
VECTOR_2(pmulhuw, 2, _mm256_mulhi_epu16(A, B))
VECTOR_2(pmulhrsw, 2, _mm256_mulhrs_epi16(A, B))
VECTOR_2(pmulld, 4, _mm256_mullo_epi32(A, B))
VECTOR_2(pmuldq, 8, _mm256_mul_epi32(A, B))
VECTOR_2(pmuludq, 8, _mm256_mul_epu32(A, B))
VECTOR_2(pmaddwd, 4, _mm256_madd_epi16(A, B))
VECTOR_2(pmaddubsw, 2, _mm256_maddubs_epi16(A, B))
VECTOR_2(psadbw, 8, _mm256_sad_epu8(A, B))
VECTOR_2(pmaxsb, 1, _mm256_max_epi8(A, B))
VECTOR_2(pmaxsw, 2, _mm256_max_epi16(A, B))
VECTOR_2(pmaxsd, 4, _mm256_max_epi32(A, B))
VECTOR_2(pmaxub, 1, _mm256_max_epu8(A, B))
VECTOR_2(pmaxuw, 2, _mm256_max_epu16(A, B))
VECTOR_2(pmaxud, 4, _mm256_max_epu32(A, B))
VECTOR_2(pminsb, 1, _mm256_min_epi8(A, B))
VECTOR_2(pminsw, 2, _mm256_min_epi16(A, B))
VECTOR_2(pminsd, 4, _mm256_min_epi32(A, B))
VECTOR_2(pminub, 1, _mm256_min_epu8(A, B))
VECTOR_2(pminuw, 2, _mm256_min_epu16(A, B))
VECTOR_2(pminud, 4, _mm256_min_epu32(A, B))
VECTOR_1(pabsb, 1, _mm256_abs_epi8(B))
VECTOR_1(pabsw, 2, _mm256_abs_epi16(B))
VECTOR_1(pabsd, 4, _mm256_abs_epi32(B))
VECTOR_2(and_4, 4, _mm256_and_si256(A, B))
VECTOR_2(and_8, 8, _mm256_and_si256(A, B))
VECTOR_2(andn_4, 4, _mm256_andnot_si256(A, B))
VECTOR_2(andn_8, 8, _mm256_andnot_si256(A, B))
VECTOR_2(or_4, 4, _mm256_or_si256(A, B))
VECTOR_2(or_8, 8, _mm256_or_si256(A, B))
VECTOR_2(xor_4, 4, _mm256_xor_si256(A, B))
VECTOR_2(xor_8, 8, _mm256_xor_si256(A, B))

static insn *pmullq(insn *i, machine *m) {
    v64 room, result;
    const v64 *b = source(i, m, &room, 8), *a = &REG(v64, i->a);
    EACH(8) result.q[x] = a->q[x] * b->q[x];
    return put(i, m, &result, 8);
}

#define EACH_2(name, element, count, member, expression)                     \
    static insn *name(insn *i, machine *m) {                                 \
        v64 room, result;                                                    \
        const v64 *b = source(i, m, &room, element), *a = &REG(v64, i->a);   \
        EACH(count) result.member[x] = expression;                           \
        return put(i, m, &result, element);                                  \
    }
EACH_2(pmaxsq, 8, 8, sq, a->sq[x] > b->sq[x] ? a->sq[x] : b->sq[x])
EACH_2(pminsq, 8, 8, sq, a->sq[x] < b->sq[x] ? a->sq[x] : b->sq[x])
EACH_2(pmaxuq, 8, 8, q, a->q[x] > b->q[x] ? a->q[x] : b->q[x])
EACH_2(pminuq, 8, 8, q, a->q[x] < b->q[x] ? a->q[x] : b->q[x])

/*
 * Products of unsigned (A) and signed (B) bytes, four to a sum of 32 bits, without the saturation of VPMADDUBSW: even
 * and odd bytes become words, whose products in pairs fit.
 */
static inline __m256i dot_bytes(__m256i D, __m256i A, __m256i B) {
    const __m256i low = _mm256_set1_epi16(0xff);
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(A, low), _mm256_srai_epi16(_mm256_slli_epi16(B, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(A, 8), _mm256_srai_epi16(B, 8));
    return _mm256_add_epi32(D, _mm256_add_epi32(even, odd));
}
VECTOR_3(pdpbusd, 4, dot_bytes(D, A, B))
VECTOR_3(pdpwssd, 4, _mm256_add_epi32(D, _mm256_madd_epi16(A, B)))

/* Any function of three bits: the immediate holds its eight values, the bit of the destination is the highest of
 * three. */
static inline __m256i ternary(__m256i D, __m256i A, __m256i B, unsigned table) {
    const __m256i ones = _mm256_set1_epi32(-1);
    __m256i result = _mm256_setzero_si256();
    for (unsigned x = 0; x < 8; x++) {
        if ((table >> x & 1) == 0) continue;
        const __m256i d = x & 4 ? D : _mm256_xor_si256(D, ones), a = x & 2 ? A : _mm256_xor_si256(A, ones);
        const __m256i b = x & 1 ? B : _mm256_xor_si256(B, ones);
        result = _mm256_or_si256(result, _mm256_and_si256(d, _mm256_and_si256(a, b)));
    }
    return result;
}
VECTOR_3(pternlogd, 4, ternary(D, A, B, (unsigned)i->immediate))
VECTOR_3(pternlogq, 8, ternary(D, A, B, (unsigned)i->immediate))

/* -------------------------------------------------------------------------------------- comparisons into vectors -- */

VECTOR_2(pcmpeqb, 1, _mm256_cmpeq_epi8(A, B))
VECTOR_2(pcmpeqw, 2, _mm256_cmpeq_epi16(A, B))
VECTOR_2(pcmpeqd, 4, _mm256_cmpeq_epi32(A, B))
VECTOR_2(pcmpeqq, 8, _mm256_cmpeq_epi64(A, B))
VECTOR_2(pcmpgtb, 1, _mm256_cmpgt_epi8(A, B))
VECTOR_2(pcmpgtw, 2, _mm256_cmpgt_epi16(A, B))
VECTOR_2(pcmpgtd, 4, _mm256_cmpgt_epi32(A, B))
VECTOR_2(pcmpgtq, 8, _mm256_cmpgt_epi64(A, B))

/* ---------------------------------------------------------------------------------------- comparisons into masks -- */

static insn *put_mask(insn *i, machine *m, uint64_t bits, unsigned count) {
    REG(uint64_t, i->d) = bits & mask_of(i, m, count);
    return i->next;
}

/* The bits of the signs of bytes. */
static inline uint64_t signs(const v64 *v) {
    return (uint32_t)_mm256_movemask_epi8(v->h[0]) | (uint64_t)(uint32_t)_mm256_movemask_epi8(v->h[1]) << 32;
}

/* One bit per element out of elements that are all ones or zero. */
static uint64_t bits_of(const v64 *v, unsigned element) {
    if (element == 1) return signs(v);
    const uint64_t bits = signs(v);
    static const uint64_t every[9] = {
        [2] = 0x5555555555555555ull, [4] = 0x1111111111111111ull, [8] = 0x0101010101010101ull};
    return _pext_u64(bits, every[element]);
}

#define TEST_MASK(name, element, suffix, wanted)                                       \
    static insn *name(insn *i, machine *m) {                                           \
        v64 room, zero;                                                                \
        const v64 *b = source(i, m, &room, element), *a = &REG(v64, i->a);             \
        HALVES zero.h[h] = _mm256_cmpeq_##suffix(_mm256_and_si256(a->h[h], b->h[h]), _mm256_setzero_si256()); \
        const uint64_t bits = bits_of(&zero, element);                                 \
        return put_mask(i, m, wanted ? ~bits : bits, i->vl / element);                 \
    }
TEST_MASK(ptestmb, 1, epi8, 1)
TEST_MASK(ptestmw, 2, epi16, 1)
TEST_MASK(ptestmd, 4, epi32, 1)
TEST_MASK(ptestmq, 8, epi64, 1)
TEST_MASK(ptestnmb, 1, epi8, 0)
TEST_MASK(ptestnmw, 2, epi16, 0)
TEST_MASK(ptestnmd, 4, epi32, 0)
TEST_MASK(ptestnmq, 8, epi64, 0)

/* Predicates 0 to 7: =, <, <=, never, !=, >=, >, always. Unsigned numbers are compared with their highest bit
 * turned. */
#define COMPARE_MASK(name, element, suffix, turn)                                                       \
    static insn *name##_with(insn *i, machine *m, unsigned predicate) {                                 \
        v64 room, equal, less;                                                                          \
        const v64 *b = source(i, m, &room, element), *a = &REG(v64, i->a);                              \
        HALVES {                                                                                        \
            const __m256i A = _mm256_xor_si256(a->h[h], turn), B = _mm256_xor_si256(b->h[h], turn);     \
            equal.h[h] = _mm256_cmpeq_##suffix(A, B);                                                   \
            less.h[h] = _mm256_cmpgt_##suffix(B, A);                                                    \
        }                                                                                               \
        const uint64_t e = bits_of(&equal, element), l = bits_of(&less, element);                       \
        const uint64_t bits = (predicate & 3) == 0 ? e : (predicate & 3) == 1 ? l : (predicate & 3) == 2 ? e | l : 0; \
        return put_mask(i, m, predicate & 4 ? ~bits : bits, i->vl / element);                           \
    }                                                                                                   \
    static insn *name(insn *i, machine *m) { return name##_with(i, m, (unsigned)i->immediate & 7); }
COMPARE_MASK(pcmpb, 1, epi8, _mm256_setzero_si256())
COMPARE_MASK(pcmpw, 2, epi16, _mm256_setzero_si256())
COMPARE_MASK(pcmpd, 4, epi32, _mm256_setzero_si256())
COMPARE_MASK(pcmpq, 8, epi64, _mm256_setzero_si256())
COMPARE_MASK(pcmpub, 1, epi8, _mm256_set1_epi8(-128))
COMPARE_MASK(pcmpuw, 2, epi16, _mm256_set1_epi16(-32768))
COMPARE_MASK(pcmpud, 4, epi32, _mm256_set1_epi32((int)0x80000000))
COMPARE_MASK(pcmpuq, 8, epi64, _mm256_set1_epi64x((long long)0x8000000000000000ull))

/* VPCMPEQ and VPCMPGT write a vector in their VEX form and a mask in the other. */
#define BOTH(name, with, predicate) \
    static insn *name##_any(insn *i, machine *m) { \
        return i->d < OFFSET_Z(32) ? name(i, m) : with##_with(i, m, predicate); \
    }
BOTH(pcmpeqb, pcmpb, 0)
BOTH(pcmpeqw, pcmpw, 0)
BOTH(pcmpeqd, pcmpd, 0)
BOTH(pcmpeqq, pcmpq, 0)
BOTH(pcmpgtb, pcmpb, 6)
BOTH(pcmpgtw, pcmpw, 6)
BOTH(pcmpgtd, pcmpd, 6)
BOTH(pcmpgtq, pcmpq, 6)

/* VPTEST: ZF if the AND is zero, CF if the AND with NOT is. */
static insn *ptest(insn *i, machine *m) {
    v64 room;
    const v64 *b = source(i, m, &room, 8), *a = &REG(v64, i->d);
    const unsigned words = i->vl / 8u;
    uint64_t both = 0, outside = 0;
    EACH(words) both |= a->q[x] & b->q[x], outside |= ~a->q[x] & b->q[x];
    m->flags = (both == 0 ? FLAG_ZF : 0u) | (outside == 0 ? FLAG_CF : 0u);
    return i->next;
}

static insn *pmovmskb(insn *i, machine *m) {
    REG(uint64_t, i->d) = signs(&REG(v64, i->b)) & low_bits(i->b_size);
    return i->next;
}

/* The signs of floats, whatever else they hold. */
static insn *movmskps(insn *i, machine *m) {
    const v64 *b = &REG(v64, i->b);
    uint64_t signs = 0;
    EACH(i->b_size / 4u) signs |= (uint64_t)(b->d[x] >> 31) << x;
    REG(uint64_t, i->d) = signs;
    return i->next;
}

static insn *movmskpd(insn *i, machine *m) {
    const v64 *b = &REG(v64, i->b);
    uint64_t signs = 0;
    EACH(i->b_size / 8u) signs |= b->q[x] >> 63 << x;
    REG(uint64_t, i->d) = signs;
    return i->next;
}

void add_integer(void) {
#define SAME(NAME, name) {ZYDIS_MNEMONIC_V##NAME, name}
    static const row rows[] = {
        SAME(PADDB, paddb), SAME(PADDW, paddw), SAME(PADDD, paddd), SAME(PADDQ, paddq), SAME(PSUBB, psubb),
        SAME(PSUBW, psubw),
        SAME(PSUBD, psubd), SAME(PSUBQ, psubq), SAME(PADDSB, paddsb), SAME(PADDSW, paddsw), SAME(PADDUSB, paddusb),
        SAME(PADDUSW, paddusw), SAME(PSUBSB, psubsb), SAME(PSUBSW, psubsw), SAME(PSUBUSB, psubusb),
        SAME(PSUBUSW, psubusw),
        SAME(PAVGB, pavgb), SAME(PAVGW, pavgw), SAME(PMULLW, pmullw), SAME(PMULHW, pmulhw), SAME(PMULHUW, pmulhuw),
        SAME(PMULHRSW, pmulhrsw), SAME(PMULLD, pmulld), SAME(PMULDQ, pmuldq), SAME(PMULUDQ, pmuludq),
        SAME(PMADDWD, pmaddwd),
        SAME(PMADDUBSW, pmaddubsw), SAME(PSADBW, psadbw), SAME(PMAXSB, pmaxsb), SAME(PMAXSW, pmaxsw),
        SAME(PMAXSD, pmaxsd),
        SAME(PMAXSQ, pmaxsq), SAME(PMAXUB, pmaxub), SAME(PMAXUW, pmaxuw), SAME(PMAXUD, pmaxud), SAME(PMAXUQ, pmaxuq),
        SAME(PMINSB, pminsb), SAME(PMINSW, pminsw), SAME(PMINSD, pminsd), SAME(PMINSQ, pminsq), SAME(PMINUB, pminub),
        SAME(PMINUW, pminuw), SAME(PMINUD, pminud), SAME(PMINUQ, pminuq), SAME(PABSB, pabsb), SAME(PABSW, pabsw),
        SAME(PABSD, pabsd), SAME(PMULLQ, pmullq), SAME(PAND, and_8), SAME(PANDD, and_4), SAME(PANDQ, and_8),
        SAME(ANDPS, and_4),
        SAME(ANDPD, and_8), SAME(PANDN, andn_8), SAME(PANDND, andn_4), SAME(PANDNQ, andn_8), SAME(ANDNPS, andn_4),
        SAME(ANDNPD, andn_8), SAME(POR, or_8), SAME(PORD, or_4), SAME(PORQ, or_8), SAME(ORPS, or_4), SAME(ORPD, or_8),
        SAME(PXOR, xor_8), SAME(PXORD, xor_4), SAME(PXORQ, xor_8), SAME(XORPS, xor_4), SAME(XORPD, xor_8),
        SAME(PDPBUSD, pdpbusd), SAME(PDPWSSD, pdpwssd), SAME(PTERNLOGD, pternlogd), SAME(PTERNLOGQ, pternlogq),
        SAME(PCMPEQB, pcmpeqb_any), SAME(PCMPEQW, pcmpeqw_any), SAME(PCMPEQD, pcmpeqd_any), SAME(PCMPEQQ, pcmpeqq_any),
        SAME(PCMPGTB, pcmpgtb_any), SAME(PCMPGTW, pcmpgtw_any), SAME(PCMPGTD, pcmpgtd_any), SAME(PCMPGTQ, pcmpgtq_any),
        SAME(PCMPB, pcmpb), SAME(PCMPW, pcmpw), SAME(PCMPD, pcmpd), SAME(PCMPQ, pcmpq), SAME(PCMPUB, pcmpub),
        SAME(PCMPUW, pcmpuw), SAME(PCMPUD, pcmpud), SAME(PCMPUQ, pcmpuq), SAME(PTESTMB, ptestmb),
        SAME(PTESTMW, ptestmw),
        SAME(PTESTMD, ptestmd), SAME(PTESTMQ, ptestmq), SAME(PTESTNMB, ptestnmb), SAME(PTESTNMW, ptestnmw),
        SAME(PTESTNMD, ptestnmd), SAME(PTESTNMQ, ptestnmq), SAME(PTEST, ptest), SAME(PMOVMSKB, pmovmskb),
        SAME(MOVMSKPS, movmskps), SAME(MOVMSKPD, movmskpd),
    };
    ADD_ROWS(rows);
}
