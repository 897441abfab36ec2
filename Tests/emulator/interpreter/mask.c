/*
 * mask.c - instructions on mask registers, and between them and vectors.
 */
#include "vector.h"

#include <Zydis/Zydis.h>

#define WIDTHS(X) X(B, b, 8) X(W, w, 16) X(D, d, 32) X(Q, q, 64)

/* KMOV reads and writes as many bits as it says, in general registers, masks and memory; the rest becomes zero. */
#define KMOV(NAME, name, bits)                                                                                        \
    static insn *kmov##name(insn *i, machine *m) {                                                                    \
        if (i->memory == MEMORY_D) {                                                                                  \
            AT(uint##bits##_t, address_of(i, m)) = (uint##bits##_t)REG(uint64_t, i->b);                               \
        } else if (i->memory != IN_REGISTERS) {                                                                       \
            REG(uint64_t, i->d) = AT(uint##bits##_t, address_of(i, m));                                               \
        } else {                                                                                                      \
            REG(uint64_t, i->d) = (uint##bits##_t)REG(uint64_t, i->b);                                                \
        }                                                                                                             \
        return i->next;                                                                                               \
    }
WIDTHS(KMOV)

#define KLOGIC_1(NAME, name, bits, op, expression)                                    \
    static insn *k##op##name(insn *i, machine *m) {                                   \
        const uint64_t a = REG(uint64_t, i->a), b = REG(uint64_t, i->b);              \
        (void)a;                                                                      \
        REG(uint64_t, i->d) = (uint##bits##_t)(expression);                           \
        return i->next;                                                               \
    }
#define KAND(NAME, name, bits) KLOGIC_1(NAME, name, bits, and, a & b)
#define KANDN(NAME, name, bits) KLOGIC_1(NAME, name, bits, andn, ~a & b)
#define KOR(NAME, name, bits) KLOGIC_1(NAME, name, bits, or, a | b)
#define KXOR(NAME, name, bits) KLOGIC_1(NAME, name, bits, xor, a ^ b)
#define KXNOR(NAME, name, bits) KLOGIC_1(NAME, name, bits, xnor, ~(a ^ b))
#define KADD(NAME, name, bits) KLOGIC_1(NAME, name, bits, add, a + b)
#define KNOT(NAME, name, bits) KLOGIC_1(NAME, name, bits, not, ~b)
#define KSHIFTL(NAME, name, bits) \
    KLOGIC_1(NAME, name, bits, shiftl, (i->immediate & 255) > bits - 1 ? 0 : b << (i->immediate & 63))
#define KSHIFTR(NAME, name, bits) \
    KLOGIC_1(NAME, name, bits, shiftr, (i->immediate & 255) > bits - 1 ? 0 : (uint##bits##_t)b >> (i->immediate & 63))
WIDTHS(KAND)
WIDTHS(KANDN)
WIDTHS(KOR)
WIDTHS(KXOR)
WIDTHS(KXNOR)
WIDTHS(KADD)
WIDTHS(KNOT)
WIDTHS(KSHIFTL)
WIDTHS(KSHIFTR)

/* The first source becomes the upper half. */
#define KUNPACK(name, half, bits)                                                                             \
    static insn *name(insn *i, machine *m) {                                                                      \
        REG(uint64_t, i->d) = (REG(uint64_t, i->a) << half | (REG(uint64_t, i->b) & low_bits(half))) & low_bits(bits); \
        return i->next;                                                                                           \
    }
KUNPACK(kunpckbw, 8, 16)
KUNPACK(kunpckwd, 16, 32)
KUNPACK(kunpckdq, 32, 64)

/* KORTEST: ZF if the OR is zero, CF if it is all ones. KTEST: ZF if the AND is zero, CF if the AND with NOT is. */
#define KORTEST(NAME, name, bits)                                                                                 \
    static insn *kortest##name(insn *i, machine *m) {                                                             \
        const uint##bits##_t x = (uint##bits##_t)(REG(uint64_t, i->d) | REG(uint64_t, i->b));                     \
        m->flags = (x == 0 ? FLAG_ZF : 0u) | (x == (uint##bits##_t)~0ull ? FLAG_CF : 0u);                         \
        return i->next;                                                                                           \
    }                                                                                                             \
    static insn *ktest##name(insn *i, machine *m) {                                                               \
        const uint64_t a = REG(uint64_t, i->d), b = REG(uint64_t, i->b);                                          \
        m->flags = ((uint##bits##_t)(a & b) == 0 ? FLAG_ZF : 0u) | ((uint##bits##_t)(~a & b) == 0 ? FLAG_CF : 0u); \
        return i->next;                                                                                           \
    }
WIDTHS(KORTEST)

/* VPMOV..2M: the signs of the elements; VPMOVM2..: a mask to elements of all ones or zero. */
#define SIGNS(name, element, count, member, bits)                                           \
    static insn *name(insn *i, machine *m) {                                                \
        const v64 *b = &REG(v64, i->b);                                                     \
        uint64_t k = 0;                                                                     \
        EACH(count) k |= (uint64_t)(b->member[x] >> (bits - 1)) << x;                       \
        REG(uint64_t, i->d) = k & low_bits(i->vl / element);                                \
        return i->next;                                                                     \
    }
SIGNS(movb2m, 1, 64, b, 8)
SIGNS(movw2m, 2, 32, w, 16)
SIGNS(movd2m, 4, 16, d, 32)
SIGNS(movq2m, 8, 8, q, 64)
#define ELEMENTS(name, element)                                              \
    static insn *name(insn *i, machine *m) {                                 \
        v64 result;                                                          \
        vector_expand_mask(REG(uint64_t, i->b), element, &result);           \
        return put(i, m, &result, element);                                  \
    }
ELEMENTS(movm2b, 1)
ELEMENTS(movm2w, 2)
ELEMENTS(movm2d, 4)
ELEMENTS(movm2q, 8)

void add_mask(void) {
#define EVERY(NAME, name, bits) \
    {ZYDIS_MNEMONIC_KMOV##NAME, kmov##name}, {ZYDIS_MNEMONIC_KAND##NAME, kand##name}, \
        {ZYDIS_MNEMONIC_KANDN##NAME, kandn##name}, {ZYDIS_MNEMONIC_KOR##NAME, kor##name}, \
        {ZYDIS_MNEMONIC_KXOR##NAME, kxor##name}, {ZYDIS_MNEMONIC_KXNOR##NAME, kxnor##name}, \
        {ZYDIS_MNEMONIC_KADD##NAME, kadd##name}, {ZYDIS_MNEMONIC_KNOT##NAME, knot##name}, \
        {ZYDIS_MNEMONIC_KSHIFTL##NAME, kshiftl##name}, {ZYDIS_MNEMONIC_KSHIFTR##NAME, kshiftr##name}, \
        {ZYDIS_MNEMONIC_KORTEST##NAME, kortest##name}, {ZYDIS_MNEMONIC_KTEST##NAME, ktest##name},
    static const row rows[] = {
        WIDTHS(EVERY)
        {ZYDIS_MNEMONIC_KUNPCKBW, kunpckbw}, {ZYDIS_MNEMONIC_KUNPCKWD, kunpckwd}, {ZYDIS_MNEMONIC_KUNPCKDQ, kunpckdq},
        {ZYDIS_MNEMONIC_VPMOVB2M, movb2m}, {ZYDIS_MNEMONIC_VPMOVW2M, movw2m}, {ZYDIS_MNEMONIC_VPMOVD2M, movd2m},
        {ZYDIS_MNEMONIC_VPMOVQ2M, movq2m}, {ZYDIS_MNEMONIC_VPMOVM2B, movm2b}, {ZYDIS_MNEMONIC_VPMOVM2W, movm2w},
        {ZYDIS_MNEMONIC_VPMOVM2D, movm2d}, {ZYDIS_MNEMONIC_VPMOVM2Q, movm2q},
    };
    ADD_ROWS(rows);
}
