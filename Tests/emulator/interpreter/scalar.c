/*
 * scalar.c - instructions on general registers. Each runs the CPU's own instruction on copies of its operands, so that
 * results and flags are the CPU's.
 */
#include "machine.h"

#include <Zydis/Zydis.h>

/* Writes a general register: 32 bits clear the upper half. */
#define WRITE_R(type, value)                                                        \
    do {                                                                            \
        if (sizeof(type) == 4) {                                                    \
            REG(uint64_t, i->d) = (uint32_t)(value);                                \
        } else {                                                                    \
            REG(type, i->d) = (type)(value);                                        \
        }                                                                           \
    } while (0)
#define WRITE_M(type, value) (AT(type, address_of(i, m)) = (type)(value))
#define D_R(type) REG(type, i->d)
#define D_M(type) AT(type, address_of(i, m))
#define S_R(type) REG(type, i->b)
#define S_M(type) AT(type, address_of(i, m))
#define S_I(type) ((type)i->immediate)

/* Flags come out of AX in the form of machine.flags, and go in by an addition and SAHF. */
#define FLAGS_OUT "lahf\n\tseto %%al"
#define FLAGS_IN "movl %[old], %%eax\n\taddb $0x7f, %%al\n\tsahf\n\t"

#define SUFFIX_uint8_t "b"
#define SUFFIX_uint16_t "w"
#define SUFFIX_uint32_t "l"
#define SUFFIX_uint64_t "q"
#define CHAR_uint8_t "q"
#define CHAR_uint16_t "r"
#define CHAR_uint32_t "r"
#define CHAR_uint64_t "r"

/* d = d op s, with flags; carry is what went in. */
#define TWO(name, op, type, form_d, form_s, keep)                                                               \
    static insn *name(insn *i, machine *m) {                                                                    \
        type d = D_##form_d(type);                                                                              \
        const type s = S_##form_s(type);                                                                        \
        uint32_t ax;                                                                                            \
        __asm__(FLAGS_IN op SUFFIX_##type " %[s], %[d]\n\t" FLAGS_OUT                                           \
                : [d] "+&" CHAR_##type(d), "=&a"(ax)                                                            \
                : [s] CHAR_##type(s), [old] "r"(m->flags)                                                       \
                : "cc");                                                                                        \
        m->flags = ax & 0xffff;                                                                                 \
        if (keep) WRITE_##form_d(type, d);                                                                      \
        return i->next;                                                                                         \
    }
/* The same where nothing of the flags goes in. */
#define TWO_FAST(name, op, type, form_d, form_s, keep)                                                          \
    static insn *name(insn *i, machine *m) {                                                                    \
        type d = D_##form_d(type);                                                                              \
        const type s = S_##form_s(type);                                                                        \
        uint32_t ax;                                                                                            \
        __asm__(op SUFFIX_##type " %[s], %[d]\n\t" FLAGS_OUT                                                    \
                : [d] "+&" CHAR_##type(d), "=&a"(ax)                                                            \
                : [s] CHAR_##type(s)                                                                            \
                : "cc");                                                                                        \
        m->flags = ax & 0xffff;                                                                                 \
        if (keep) WRITE_##form_d(type, d);                                                                      \
        return i->next;                                                                                         \
    }
#define FORMS(macro, op, type, keep)                       \
    macro(op##_##type##_RR, #op, type, R, R, keep)         \
    macro(op##_##type##_RM, #op, type, R, M, keep)         \
    macro(op##_##type##_MR, #op, type, M, R, keep)         \
    macro(op##_##type##_RI, #op, type, R, I, keep)         \
    macro(op##_##type##_MI, #op, type, M, I, keep)
#define SIZES(macro, op, keep)        \
    FORMS(macro, op, uint8_t, keep)   \
    FORMS(macro, op, uint16_t, keep)  \
    FORMS(macro, op, uint32_t, keep)  \
    FORMS(macro, op, uint64_t, keep)
SIZES(TWO_FAST, add, 1)
SIZES(TWO_FAST, sub, 1)
SIZES(TWO_FAST, and, 1)
SIZES(TWO_FAST, or, 1)
SIZES(TWO_FAST, xor, 1)
SIZES(TWO_FAST, cmp, 0)
SIZES(TWO_FAST, test, 0)
SIZES(TWO, adc, 1)
SIZES(TWO, sbb, 1)

#define MOVE(name, op, type, form_d, form_s, keep)       \
    static insn *name(insn *i, machine *m) {             \
        const type s = S_##form_s(type);                 \
        WRITE_##form_d(type, s);                         \
        return i->next;                                  \
    }
SIZES(MOVE, mov, 1)

typedef handler table[4][5];
#define ROW_OF(op, type) {op##_##type##_RR, op##_##type##_RM, op##_##type##_MR, op##_##type##_RI, op##_##type##_MI}
#define TABLE_OF(op) \
    static const table op##_table = {ROW_OF(op, uint8_t), ROW_OF(op, uint16_t), ROW_OF(op, uint32_t), \
                                     ROW_OF(op, uint64_t)};
TABLE_OF(add)
TABLE_OF(sub)
TABLE_OF(and)
TABLE_OF(or)
TABLE_OF(xor)
TABLE_OF(cmp)
TABLE_OF(test)
TABLE_OF(adc)
TABLE_OF(sbb)
TABLE_OF(mov)

/* ------------------------------------------------------------------------------------- one operand, and shifts -- */

#define ONE(name, op, type, form)                                               \
    static insn *name(insn *i, machine *m) {                                    \
        type d = D_##form(type);                                                \
        uint32_t ax;                                                            \
        __asm__(FLAGS_IN op SUFFIX_##type " %[d]\n\t" FLAGS_OUT                 \
                : [d] "+&" CHAR_##type(d), "=&a"(ax)                            \
                : [old] "r"(m->flags)                                           \
                : "cc");                                                        \
        m->flags = ax & 0xffff;                                                 \
        WRITE_##form(type, d);                                                  \
        return i->next;                                                         \
    }
#define SHIFT(name, op, type, form)                                                              \
    static insn *name(insn *i, machine *m) {                                                     \
        type d = D_##form(type);                                                                 \
        const uint8_t count = i->has_immediate ? (uint8_t)i->immediate : (uint8_t)m->g[RCX];     \
        uint32_t ax;                                                                             \
        __asm__(FLAGS_IN op SUFFIX_##type " %%cl, %[d]\n\t" FLAGS_OUT                            \
                : [d] "+&" CHAR_##type(d), "=&a"(ax)                                             \
                : [old] "r"(m->flags), "c"(count)                                                \
                : "cc");                                                                         \
        m->flags = ax & 0xffff;                                                                  \
        WRITE_##form(type, d);                                                                   \
        return i->next;                                                                          \
    }
#define FORMS_1(macro, op, type) macro(op##_##type##_R, #op, type, R) macro(op##_##type##_M, #op, type, M)
#define SIZES_1(macro, op) \
    FORMS_1(macro, op, uint8_t) FORMS_1(macro, op, uint16_t) FORMS_1(macro, op, uint32_t) FORMS_1(macro, op, uint64_t)
SIZES_1(ONE, inc)
SIZES_1(ONE, dec)
SIZES_1(ONE, neg)
SIZES_1(ONE, not )
SIZES_1(SHIFT, shl)
SIZES_1(SHIFT, shr)
SIZES_1(SHIFT, sar)
SIZES_1(SHIFT, rol)
SIZES_1(SHIFT, ror)
typedef handler table_1[4][2];
#define ROW_1(op, type) {op##_##type##_R, op##_##type##_M}
#define TABLE_1(op) \
    static const table_1 op##_table = {ROW_1(op, uint8_t), ROW_1(op, uint16_t), ROW_1(op, uint32_t), \
                                       ROW_1(op, uint64_t)};
TABLE_1(inc)
TABLE_1(dec)
TABLE_1(neg)
TABLE_1(not )
TABLE_1(shl)
TABLE_1(shr)
TABLE_1(sar)
TABLE_1(rol)
TABLE_1(ror)

/* ------------------------------------------------------------------------------------------- the choice of them -- */

handler scalar_handler(const insn *i) {
    const table *two = NULL;
    const table_1 *one = NULL;
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_ADD: two = &add_table; break;
    case ZYDIS_MNEMONIC_SUB: two = &sub_table; break;
    case ZYDIS_MNEMONIC_AND: two = &and_table; break;
    case ZYDIS_MNEMONIC_OR: two = &or_table; break;
    case ZYDIS_MNEMONIC_XOR: two = &xor_table; break;
    case ZYDIS_MNEMONIC_CMP: two = &cmp_table; break;
    case ZYDIS_MNEMONIC_TEST: two = &test_table; break;
    case ZYDIS_MNEMONIC_ADC: two = &adc_table; break;
    case ZYDIS_MNEMONIC_SBB: two = &sbb_table; break;
    case ZYDIS_MNEMONIC_MOV: two = &mov_table; break;
    case ZYDIS_MNEMONIC_INC: one = &inc_table; break;
    case ZYDIS_MNEMONIC_DEC: one = &dec_table; break;
    case ZYDIS_MNEMONIC_NEG: one = &neg_table; break;
    case ZYDIS_MNEMONIC_NOT: one = &not_table; break;
    case ZYDIS_MNEMONIC_SHL: one = &shl_table; break;
    case ZYDIS_MNEMONIC_SHR: one = &shr_table; break;
    case ZYDIS_MNEMONIC_SAR: one = &sar_table; break;
    case ZYDIS_MNEMONIC_ROL: one = &rol_table; break;
    case ZYDIS_MNEMONIC_ROR: one = &ror_table; break;
    default: return NULL;
    }
    if (i->size != 1 && i->size != 2 && i->size != 4 && i->size != 8) return NULL;
    const unsigned size = (unsigned)__builtin_ctz(i->size);
    if (one != NULL) return (*one)[size][i->memory == MEMORY_D || (i->memory == MEMORY_B && i->has_immediate)];
    if (i->has_immediate) return (*two)[size][i->memory != IN_REGISTERS ? 4 : 3];
    return (*two)[size][i->memory == IN_REGISTERS ? 0 : i->memory == MEMORY_D ? 2 : 1];
}

/* -------------------------------------------------------------------------------------------------------- others -- */

static uint64_t read_b(const insn *i, machine *m) { /* zero-extended */
    const uint64_t p = i->memory == MEMORY_B || i->memory == MEMORY_D ? address_of(i, m)
                                                                      : (uint64_t)(uintptr_t)&REG(uint8_t, i->b);
    switch (i->b_size) {
    case 1: return AT(uint8_t, p);
    case 2: return AT(uint16_t, p);
    case 4: return AT(uint32_t, p);
    default: return AT(uint64_t, p);
    }
}

static uint64_t read_a(const insn *i, machine *m) {
    const uint64_t p = i->memory == MEMORY_A ? address_of(i, m) : (uint64_t)(uintptr_t)&REG(uint8_t, i->a);
    return i->size == 4 ? AT(uint32_t, p) : AT(uint64_t, p);
}

static void write_d(const insn *i, machine *m, uint64_t value) {
    const uint64_t p = i->memory == MEMORY_D ? address_of(i, m) : (uint64_t)(uintptr_t)&REG(uint8_t, i->d);
    switch (i->size) {
    case 1: AT(uint8_t, p) = (uint8_t)value; break;
    case 2: AT(uint16_t, p) = (uint16_t)value; break;
    case 4:
        if (i->memory == MEMORY_D) {
            AT(uint32_t, p) = (uint32_t)value;
        } else {
            AT(uint64_t, p) = (uint32_t)value;
        }
        break;
    default: AT(uint64_t, p) = value; break;
    }
}

static insn *lea(insn *i, machine *m) {
    write_d(i, m, address_of(i, m));
    return i->next;
}

static insn *movzx(insn *i, machine *m) {
    write_d(i, m, read_b(i, m));
    return i->next;
}

static insn *movsx(insn *i, machine *m) {
    const uint64_t value = read_b(i, m);
    write_d(i, m,
            i->b_size == 1   ? (uint64_t)(int8_t)value
            : i->b_size == 2 ? (uint64_t)(int16_t)value
                             : (uint64_t)(int32_t)value);
    return i->next;
}

static insn *xchg(insn *i, machine *m) { /* the one in memory is d; without LOCK it is locked all the same */
    if (i->memory != IN_REGISTERS) decode_unknown(i->rip, "XCHG with memory");
    const uint64_t d = i->size == 4 ? REG(uint32_t, i->d) : REG(uint64_t, i->d), b = read_b(i, m);
    if (i->size < 4) decode_unknown(i->rip, "XCHG of 8 or 16 bits");
    write_d(i, m, b);
    REG(uint64_t, i->b) = d;
    return i->next;
}

static insn *cdqe(insn *i, machine *m) {
    m->g[RAX] = (uint64_t)(int64_t)(int32_t)m->g[RAX];
    return i->next;
}

static insn *cdq(insn *i, machine *m) {
    m->g[RDX] = (uint32_t)((int32_t)m->g[RAX] >> 31);
    return i->next;
}

static insn *cqo(insn *i, machine *m) {
    m->g[RDX] = (uint64_t)((int64_t)m->g[RAX] >> 63);
    return i->next;
}

/* IMUL with two and three operands; with one, MUL, DIV and IDIV. A quotient that does not fit traps here as there. */
static insn *imul(insn *i, machine *m) {
    if (i->size != 4 && i->size != 8) decode_unknown(i->rip, "IMUL of 8 or 16 bits");
    uint64_t s = read_b(i, m), d;
    uint32_t ax;
    if (i->has_immediate) {
        d = (uint64_t)i->immediate;
    } else {
        d = REG(uint64_t, i->d);
    }
    if (i->size == 4) {
        uint32_t d32 = (uint32_t)d;
        __asm__("imull %[s], %[d]\n\t" FLAGS_OUT : [d] "+&r"(d32), "=&a"(ax) : [s] "r"((uint32_t)s) : "cc");
        d = d32;
    } else {
        __asm__("imulq %[s], %[d]\n\t" FLAGS_OUT : [d] "+&r"(d), "=&a"(ax) : [s] "r"(s) : "cc");
    }
    m->flags = ax & 0xffff;
    write_d(i, m, d);
    return i->next;
}

#define WIDE(name, op)                                                                                                \
    static insn *name(insn *i, machine *m) {                                                                          \
        if (i->b_size != 4 && i->b_size != 8) decode_unknown(i->rip, "of 8 or 16 bits");                              \
        const uint64_t s = read_b(i, m);                                                                              \
        uint64_t a = m->g[RAX], d = m->g[RDX], f;                                                                     \
        if (i->b_size == 4) {                                                                                         \
            __asm__(op "l %k[s]\n\tmovq %%rax, %%rcx\n\t" FLAGS_OUT "\n\txchgq %%rax, %%rcx"                          \
                    : "+a"(a), "+d"(d), "=&c"(f) : [s] "r"(s) : "cc");                                                \
            a = (uint32_t)a, d = (uint32_t)d;                                                                         \
        } else {                                                                                                      \
            __asm__(op "q %[s]\n\tmovq %%rax, %%rcx\n\t" FLAGS_OUT "\n\txchgq %%rax, %%rcx"                           \
                    : "+a"(a), "+d"(d), "=&c"(f) : [s] "r"(s) : "cc");                                                \
        }                                                                                                             \
        m->flags = f & 0xffff;                                                                                        \
        m->g[RAX] = a;                                                                                                \
        m->g[RDX] = d;                                                                                                \
        return i->next;                                                                                               \
    }
WIDE(mul, "mul")
WIDE(imul_wide, "imul")
WIDE(divide, "div")
WIDE(idivide, "idiv")

static insn *imul_any(insn *i, machine *m) {
    if (i->d == i->b && !i->has_immediate && i->bytes[0] != 0x0f && i->bytes[1] != 0x0f) return imul_wide(i, m);
    return imul(i, m);
}

static insn *shrd(insn *i, machine *m) {
    const unsigned count = (unsigned)(i->has_immediate ? i->immediate : (int64_t)m->g[RCX]);
    if (i->memory != IN_REGISTERS || i->size != 8) decode_unknown(i->rip, "of memory, or of 16 or 32 bits");
    uint64_t d = REG(uint64_t, i->d);
    uint32_t ax;
    __asm__(FLAGS_IN "shrdq %%cl, %[s], %[d]\n\t" FLAGS_OUT
            : [d] "+&r"(d), "=&a"(ax) : [s] "r"(REG(uint64_t, i->b)), "c"(count), [old] "r"(m->flags) : "cc");
    m->flags = ax & 0xffff;
    REG(uint64_t, i->d) = d;
    return i->next;
}

static insn *shld(insn *i, machine *m) {
    const unsigned count = (unsigned)(i->has_immediate ? i->immediate : (int64_t)m->g[RCX]);
    if (i->memory != IN_REGISTERS || i->size != 8) decode_unknown(i->rip, "of memory, or of 16 or 32 bits");
    uint64_t d = REG(uint64_t, i->d);
    uint32_t ax;
    __asm__(FLAGS_IN "shldq %%cl, %[s], %[d]\n\t" FLAGS_OUT
            : [d] "+&r"(d), "=&a"(ax) : [s] "r"(REG(uint64_t, i->b)), "c"(count), [old] "r"(m->flags) : "cc");
    m->flags = ax & 0xffff;
    REG(uint64_t, i->d) = d;
    return i->next;
}

/* Counts of bits: d from b. */
#define COUNT(name, op)                                                                                               \
    static insn *name(insn *i, machine *m) {                                                                          \
        const uint64_t s = read_b(i, m);                                                                              \
        uint64_t d = REG(uint64_t, i->d);                                                                             \
        uint32_t ax;                                                                                                  \
        if (i->size == 4) {                                                                                           \
            __asm__(op "l %k[s], %k[d]\n\t" FLAGS_OUT : [d] "+&r"(d), "=&a"(ax) : [s] "r"(s) : "cc");                 \
        } else if (i->size == 8) {                                                                                    \
            __asm__(op "q %[s], %[d]\n\t" FLAGS_OUT : [d] "+&r"(d), "=&a"(ax) : [s] "r"(s) : "cc");                   \
        } else {                                                                                                      \
            decode_unknown(i->rip, "of 16 bits");                                                                     \
        }                                                                                                             \
        m->flags = ax & 0xffff;                                                                                       \
        write_d(i, m, d);                                                                                             \
        return i->next;                                                                                               \
    }
COUNT(popcnt, "popcnt")
COUNT(tzcnt, "tzcnt")
COUNT(lzcnt, "lzcnt")
COUNT(bsf, "bsf")
COUNT(bsr, "bsr")
COUNT(blsr, "blsr")
COUNT(blsi, "blsi")
COUNT(blsmsk, "blsmsk")

/* Three operands: x is the first source, y the last. */
#define THREE(name, op, flags_change)                                                                                 \
    static insn *name(insn *i, machine *m) {                                                                          \
        const uint64_t x = read_a(i, m), y = i->memory == MEMORY_A ? REG(uint64_t, i->b) : read_b(i, m);              \
        uint64_t d;                                                                                                   \
        uint32_t ax;                                                                                                  \
        if (i->size == 4) {                                                                                           \
            __asm__(op(k) FLAGS_OUT : [d] "=&r"(d), "=&a"(ax) : [x] "r"(x), [y] "r"(y) : "cc");                       \
            d = (uint32_t)d;                                                                                          \
        } else {                                                                                                      \
            __asm__(op(q) FLAGS_OUT : [d] "=&r"(d), "=&a"(ax) : [x] "r"(x), [y] "r"(y) : "cc");                       \
        }                                                                                                             \
        if (flags_change) m->flags = ax & 0xffff;                                                                     \
        write_d(i, m, d);                                                                                             \
        return i->next;                                                                                               \
    }
#define ANDN(s) "andn %" #s "[y], %" #s "[x], %" #s "[d]\n\t"
#define BZHI(s) "bzhi %" #s "[y], %" #s "[x], %" #s "[d]\n\t"
#define SHLX(s) "shlx %" #s "[y], %" #s "[x], %" #s "[d]\n\t"
#define SHRX(s) "shrx %" #s "[y], %" #s "[x], %" #s "[d]\n\t"
#define SARX(s) "sarx %" #s "[y], %" #s "[x], %" #s "[d]\n\t"
#define BEXTR(s) "bextr %" #s "[y], %" #s "[x], %" #s "[d]\n\t"
#define PDEP(s) "pdep %" #s "[y], %" #s "[x], %" #s "[d]\n\t"
#define PEXT(s) "pext %" #s "[y], %" #s "[x], %" #s "[d]\n\t"
THREE(andn, ANDN, 1)
THREE(bzhi, BZHI, 1)
THREE(shlx, SHLX, 0)
THREE(shrx, SHRX, 0)
THREE(sarx, SARX, 0)
THREE(bextr, BEXTR, 1)
THREE(pdep, PDEP, 0)
THREE(pext, PEXT, 0)

static insn *rorx(insn *i, machine *m) {
    const uint64_t s = read_b(i, m);
    const unsigned n = (unsigned)i->immediate & (i->size == 4 ? 31 : 63);
    write_d(i, m,
            i->size == 4 ? (uint64_t)(uint32_t)((uint32_t)s >> n | (uint32_t)s << (-n & 31)) : s >> n | s << (-n & 63));
    return i->next;
}

/* The upper half of the product is written last: both destinations may be the same register. */
static insn *mulx(insn *i, machine *m) {
    const uint64_t s = read_b(i, m);
    if (i->size == 4) {
        const uint64_t product = (uint64_t)(uint32_t)s * (uint32_t)m->g[RDX];
        REG(uint64_t, i->a) = (uint32_t)product;
        REG(uint64_t, i->d) = product >> 32;
    } else {
        const unsigned __int128 product = (unsigned __int128)s * m->g[RDX];
        REG(uint64_t, i->a) = (uint64_t)product;
        REG(uint64_t, i->d) = (uint64_t)(product >> 64);
    }
    return i->next;
}

static insn *bt(insn *i, machine *m) {
    if (i->memory != IN_REGISTERS) decode_unknown(i->rip, "BT of memory");
    const uint64_t n = (i->has_immediate ? (uint64_t)i->immediate : REG(uint64_t, i->b)) & (i->size * 8u - 1);
    m->flags = (m->flags & ~(uint32_t)FLAG_CF) | (REG(uint64_t, i->d) >> n & 1 ? FLAG_CF : 0u);
    return i->next;
}

static insn *bswap(insn *i, machine *m) {
    write_d(i, m, i->size == 4 ? __builtin_bswap32(REG(uint32_t, i->d)) : __builtin_bswap64(REG(uint64_t, i->d)));
    return i->next;
}

/* REP STOS and REP MOVS, upwards. */
#define STRING(name, type, from)                                                \
    static insn *name(insn *i, machine *m) {                                    \
        for (; m->g[RCX] != 0; m->g[RCX]--) {                                   \
            AT(type, m->g[RDI]) = from;                                         \
            m->g[RDI] += sizeof(type);                                          \
        }                                                                       \
        return i->next;                                                         \
    }
STRING(stosb, uint8_t, (uint8_t)m->g[RAX])
STRING(stosd, uint32_t, (uint32_t)m->g[RAX])
STRING(stosq, uint64_t, m->g[RAX])
STRING(movsb, uint8_t, AT(uint8_t, (m->g[RSI] += 1) - 1))
STRING(movsd, uint32_t, AT(uint32_t, (m->g[RSI] += 4) - 4))
STRING(movsq, uint64_t, AT(uint64_t, (m->g[RSI] += 8) - 8))

handler string_handler(const insn *i) {
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_STOSB: return stosb;
    case ZYDIS_MNEMONIC_STOSD: return stosd;
    case ZYDIS_MNEMONIC_STOSQ: return stosq;
    case ZYDIS_MNEMONIC_MOVSB: return movsb;
    case ZYDIS_MNEMONIC_MOVSD: return movsd;
    case ZYDIS_MNEMONIC_MOVSQ: return movsq;
    default: return NULL;
    }
}

static insn *nothing(insn *i, machine *m) {
    (void)m;
    return i->next;
}

void add_scalar(void) {
    static const row rows[] = {
        {ZYDIS_MNEMONIC_LEA, lea},       {ZYDIS_MNEMONIC_MOVZX, movzx},   {ZYDIS_MNEMONIC_MOVSX, movsx},
        {ZYDIS_MNEMONIC_MOVSXD, movsx},  {ZYDIS_MNEMONIC_XCHG, xchg},     {ZYDIS_MNEMONIC_CDQE, cdqe},
        {ZYDIS_MNEMONIC_CDQ, cdq},       {ZYDIS_MNEMONIC_CQO, cqo},       {ZYDIS_MNEMONIC_IMUL, imul_any},
        {ZYDIS_MNEMONIC_MUL, mul},       {ZYDIS_MNEMONIC_DIV, divide},    {ZYDIS_MNEMONIC_IDIV, idivide},
        {ZYDIS_MNEMONIC_SHRD, shrd},     {ZYDIS_MNEMONIC_SHLD, shld},     {ZYDIS_MNEMONIC_POPCNT, popcnt},
        {ZYDIS_MNEMONIC_TZCNT, tzcnt},   {ZYDIS_MNEMONIC_LZCNT, lzcnt},   {ZYDIS_MNEMONIC_BSF, bsf},
        {ZYDIS_MNEMONIC_BSR, bsr},       {ZYDIS_MNEMONIC_BLSR, blsr},     {ZYDIS_MNEMONIC_BLSI, blsi},
        {ZYDIS_MNEMONIC_BLSMSK, blsmsk}, {ZYDIS_MNEMONIC_ANDN, andn},     {ZYDIS_MNEMONIC_BZHI, bzhi},
        {ZYDIS_MNEMONIC_SHLX, shlx},     {ZYDIS_MNEMONIC_SHRX, shrx},     {ZYDIS_MNEMONIC_SARX, sarx},
        {ZYDIS_MNEMONIC_BEXTR, bextr},   {ZYDIS_MNEMONIC_PDEP, pdep},     {ZYDIS_MNEMONIC_PEXT, pext},
        {ZYDIS_MNEMONIC_RORX, rorx},     {ZYDIS_MNEMONIC_MULX, mulx},     {ZYDIS_MNEMONIC_BT, bt},
        {ZYDIS_MNEMONIC_BSWAP, bswap},   {ZYDIS_MNEMONIC_NOP, nothing},   {ZYDIS_MNEMONIC_PREFETCHT0, nothing},
        {ZYDIS_MNEMONIC_PREFETCHT1, nothing}, {ZYDIS_MNEMONIC_PREFETCHT2, nothing},
        {ZYDIS_MNEMONIC_PREFETCHNTA, nothing}, {ZYDIS_MNEMONIC_PREFETCHW, nothing}, {ZYDIS_MNEMONIC_ENDBR64, nothing},
    };
    ADD_ROWS(rows);
}
