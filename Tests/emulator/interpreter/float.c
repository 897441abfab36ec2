/*
 * float.c - arithmetic on floats, by the CPU's own AVX and FMA under the program's MXCSR.
 */
#include "vector.h"

#include <Zydis/Zydis.h>
#include <math.h>

#define PS(v) _mm256_castsi256_ps(v)
#define PD(v) _mm256_castsi256_pd(v)
#define SI(v) _mm256_castps_si256(v)
#define SID(v) _mm256_castpd_si256(v)

/* Scalars: the lowest element of the result, the others of the first source. */
static insn *put_scalar(insn *i, machine *m, uint64_t value, unsigned element) {
    v64 result;
    result.h[1] = _mm256_setzero_si256();
    result.h[0] = _mm256_zextsi128_si256(REG(v64, i->a).x[0]);
    if (i->mask != 0 && (m->k[i->mask] & 1) == 0) value = i->zeroing ? 0 : REG(uint64_t, i->d);
    if (element == 4) {
        result.d[0] = (uint32_t)value;
    } else {
        result.q[0] = value;
    }
    REG(v64, i->d) = result;
    return i->next;
}

static __m128 scalar_b(const insn *i, machine *m) {
    if (i->memory == IN_REGISTERS) return _mm_castsi128_ps(REG(v64, i->b).x[0]);
    if (i->mask != 0 && (m->k[i->mask] & 1) == 0) return _mm_setzero_ps();
    return i->memory_size == 4 ? _mm_load_ss((const float *)(uintptr_t)address_of(i, m))
                               : _mm_castpd_ps(_mm_load_sd((const double *)(uintptr_t)address_of(i, m)));
}

#define SCALAR_PS(name, expression) \
    static insn *name(insn *i, machine *m) { \
        const __m128 B = scalar_b(i, m), A = _mm_castsi128_ps(REG(v64, i->a).x[0]), \
                     D = _mm_castsi128_ps(REG(v64, i->d).x[0]); \
        (void)A, (void)D; \
        return put_scalar(i, m, (uint32_t)_mm_cvtsi128_si32(_mm_castps_si128(expression)), 4); \
    }
#define SCALAR_PD(name, expression)                                                                                 \
    static insn *name(insn *i, machine *m) {                                                                        \
        const __m128d B = _mm_castps_pd(scalar_b(i, m)), A = _mm_castsi128_pd(REG(v64, i->a).x[0]);                 \
        (void)A;                                                                                                    \
        return put_scalar(i, m, (uint64_t)_mm_cvtsi128_si64(_mm_castpd_si128(expression)), 8);                      \
    }
/* Of two NaN the first operand's is the result, so no compiler may exchange them. */
#define IN_ORDER(op)                                                         \
    static inline __m256 op##_ps(__m256 a, __m256 b) {                       \
        __asm__("v" #op "ps %1, %0, %0" : "+x"(a) : "x"(b));                 \
        return a;                                                            \
    }                                                                        \
    static inline __m256d op##_pd(__m256d a, __m256d b) {                    \
        __asm__("v" #op "pd %1, %0, %0" : "+x"(a) : "x"(b));                 \
        return a;                                                            \
    }
#define ARITHMETIC(op)                                                       \
    IN_ORDER(op)                                                             \
    VECTOR_2(op##ps, 4, SI(op##_ps(PS(A), PS(B))))                           \
    VECTOR_2(op##pd, 8, SID(op##_pd(PD(A), PD(B))))                          \
    SCALAR_PS(op##ss, _mm_##op##_ss(A, B))                                   \
    SCALAR_PD(op##sd, _mm_##op##_sd(A, B))
ARITHMETIC(add)
ARITHMETIC(sub)
ARITHMETIC(mul)
ARITHMETIC(div)
ARITHMETIC(min)
ARITHMETIC(max)
VECTOR_1(sqrtps, 4, SI(_mm256_sqrt_ps(PS(B))))
SCALAR_PS(sqrtss, _mm_sqrt_ss(B))

/* The three digits: which of destination (1), first (2) and last source (3) are multiplied, and which is added. */
#define FMA_FORM(name, op, x, y, z) VECTOR_3(name, 4, SI(_mm256_##op##_ps(PS(x), PS(y), PS(z))))
#define FMA_FORMS(op)                                                                                      \
    FMA_FORM(op##132ps, op, D, B, A) FMA_FORM(op##213ps, op, A, D, B) FMA_FORM(op##231ps, op, A, B, D)     \
    SCALAR_PS(op##132ss, _mm_##op##_ss(D, B, A))                                                           \
    SCALAR_PS(op##213ss, _mm_##op##_ss(A, D, B))                                                           \
    SCALAR_PS(op##231ss, _mm_##op##_ss(A, B, D))
FMA_FORMS(fmadd)
FMA_FORMS(fmsub)
FMA_FORMS(fnmadd)
FMA_FORMS(fnmsub)

/*
 * VDPBF16PS, as the manual has it: the product of the upper elements of each pair is added first, then that of the
 * lower ones, each with one rounding to nearest even; denormals are zero, going in and coming out, whatever MXCSR says.
 */
static insn *dpbf16ps(insn *i, machine *m) {
    v64 room, result;
    const v64 *b = source(i, m, &room, 4), *a = &REG(v64, i->a), *d = &REG(v64, i->d);
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
    const unsigned before = _mm_getcsr();
    _mm_setcsr(0x9fc0);
    HALVES {
        __m256i A = a->h[h], B = b->h[h];
        __asm__ volatile("" : "+x"(A), "+x"(B)); /* nothing is computed before MXCSR is set, or after it is set back */
        __m256 sum = _mm256_fmadd_ps(PS(_mm256_and_si256(A, upper)), PS(_mm256_and_si256(B, upper)), d->f[h]);
        sum = _mm256_fmadd_ps(PS(_mm256_slli_epi32(A, 16)), PS(_mm256_slli_epi32(B, 16)), sum);
        __asm__ volatile("" : "+x"(sum));
        result.f[h] = sum;
    }
    _mm_setcsr(before);
    return put(i, m, &result, 4);
}

/* a * 2^floor(b). The double product is exact, so that only its conversion rounds. */
static float scale(float a, float b) {
    if (isnan(a) || isnan(b)) return a + b;
    if (isinf(b)) {
        if (b > 0) return a == 0 ? NAN : a * (float)INFINITY;
        return isinf(a) ? NAN : copysignf(0, a);
    }
    const double n = floor((double)b);
    return (float)ldexp((double)a, n > 600 ? 600 : n < -600 ? -600 : (int)n);
}

static insn *scalefps(insn *i, machine *m) {
    v64 room, result;
    const v64 *b = source(i, m, &room, 4), *a = &REG(v64, i->a);
    EACH(16) result.ps[x] = scale(a->ps[x], b->ps[x]);
    return put(i, m, &result, 4);
}

static insn *scalefss(insn *i, machine *m) {
    const float value = scale(REG(float, i->a), _mm_cvtss_f32(scalar_b(i, m)));
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return put_scalar(i, m, bits, 4);
}

/* VCMPPS: into a mask, or into a vector in its VEX form. Predicates are made of equal, less and unordered. */
static insn *cmpps(insn *i, machine *m) {
    v64 room, r;
    const v64 *b = source(i, m, &room, 4), *a = &REG(v64, i->a);
    const unsigned p = (unsigned)i->immediate & 15;
    const int equal = (p & 3) == 0 || (p & 3) == 2, less = (p & 3) == 1 || (p & 3) == 2, special = (p & 3) == 3;
    uint64_t bits = 0;
    HALVES {
        const __m256 A = a->f[h], B = b->f[h], none = _mm256_setzero_ps();
        const __m256 e = _mm256_cmp_ps(A, B, _CMP_EQ_OQ), l = _mm256_cmp_ps(A, B, _CMP_LT_OQ),
                     u = _mm256_cmp_ps(A, B, _CMP_UNORD_Q);
        __m256 x = _mm256_or_ps(equal ? e : none, less ? l : none);
        if ((special && p < 8) || (!special && p >= 8)) x = _mm256_or_ps(x, u);
        if (p & 4) x = _mm256_xor_ps(x, PS(_mm256_set1_epi32(-1)));
        r.f[h] = x;
        bits |= (uint64_t)(unsigned)_mm256_movemask_ps(x) << 8 * h;
    }
    if (i->d < OFFSET_Z(32)) return put(i, m, &r, 4);
    REG(uint64_t, i->d) = bits & mask_of(i, m, i->vl / 4);
    return i->next;
}

static insn *ucomiss(insn *i, machine *m) {
    const __m128 A = _mm_castsi128_ps(REG(v64, i->d).x[0]), B = scalar_b(i, m);
    uint32_t ax;
    __asm__("vucomiss %[b], %[a]\n\tlahf\n\tseto %%al" : "=a"(ax) : [a] "x"(A), [b] "x"(B) : "cc");
    m->flags = ax & 0xffff;
    return i->next;
}

static insn *ucomisd(insn *i, machine *m) {
    const __m128d A = _mm_castsi128_pd(REG(v64, i->d).x[0]), B = _mm_castps_pd(scalar_b(i, m));
    uint32_t ax;
    __asm__("vucomisd %[b], %[a]\n\tlahf\n\tseto %%al" : "=a"(ax) : [a] "x"(A), [b] "x"(B) : "cc");
    m->flags = ax & 0xffff;
    return i->next;
}

void add_float(void) {
#define SAME(NAME, name) {ZYDIS_MNEMONIC_V##NAME, name}
#define FOUR(NAME, name) \
    SAME(NAME##PS, name##ps), SAME(NAME##PD, name##pd), SAME(NAME##SS, name##ss), SAME(NAME##SD, name##sd)
#define SIX(NAME, name) \
    SAME(NAME##132PS, name##132ps), SAME(NAME##213PS, name##213ps), SAME(NAME##231PS, name##231ps), \
        SAME(NAME##132SS, name##132ss), SAME(NAME##213SS, name##213ss), SAME(NAME##231SS, name##231ss)
    static const row rows[] = {
        FOUR(ADD, add), FOUR(SUB, sub), FOUR(MUL, mul), FOUR(DIV, div), FOUR(MIN, min), FOUR(MAX, max),
        SAME(SQRTPS, sqrtps), SAME(SQRTSS, sqrtss), SIX(FMADD, fmadd), SIX(FMSUB, fmsub), SIX(FNMADD, fnmadd),
        SIX(FNMSUB, fnmsub), SAME(DPBF16PS, dpbf16ps), SAME(SCALEFPS, scalefps), SAME(SCALEFSS, scalefss),
        SAME(CMPPS, cmpps),
        SAME(UCOMISS, ucomiss), SAME(COMISS, ucomiss), SAME(UCOMISD, ucomisd), SAME(COMISD, ucomisd),
    };
    ADD_ROWS(rows);
}
