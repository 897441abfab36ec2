/*
 * control.c - jumps, calls, the stack, conditions, and AMX instructions, which the tile emulator performs.
 */
#include "../internal.h"
#include "machine.h"
#include "trace.h"

#include <Zydis/Zydis.h>

static inline insn *jump(insn *i, machine *m) {
    if (i->target == NULL) i->target = go_to(m, i->goal); /* stays NULL, and rip is set anew, for a goal elsewhere */
    return i->target;
}

#define C (m->flags & FLAG_CF)
#define Z (m->flags & FLAG_ZF)
#define S (m->flags & FLAG_SF)
#define O (m->flags & FLAG_OF)
#define P (m->flags & FLAG_PF)
#define LESS ((m->flags >> 15 ^ m->flags) & 1)
#define CONDITIONS(X)                                                                                                 \
    X(O, O, O != 0) X(NO, NO, O == 0) X(B, B, C != 0) X(NB, NB, C == 0) X(Z, Z, Z != 0) X(NZ, NZ, Z == 0)             \
    X(BE, BE, (C | Z) != 0) X(NBE, NBE, (C | Z) == 0) X(S, S, S != 0) X(NS, NS, S == 0) X(P, P, P != 0)               \
    X(NP, NP, P == 0) X(L, L, LESS != 0) X(NL, NL, LESS == 0) X(LE, LE, (LESS | Z) != 0) X(NLE, NLE, (LESS | Z) == 0)

#define CONDITIONAL(jcc, name, condition)                                                    \
    static insn *jump_##jcc(insn *i, machine *m) { return (condition) ? jump(i, m) : i->next; } \
    static insn *set_##jcc(insn *i, machine *m) {                                            \
        const uint8_t value = (condition);                                                   \
        if (i->memory != IN_REGISTERS) {                                                     \
            AT(uint8_t, address_of(i, m)) = value;                                           \
        } else {                                                                             \
            REG(uint8_t, i->d) = value;                                                      \
        }                                                                                    \
        return i->next;                                                                      \
    }                                                                                        \
    static insn *move_##jcc(insn *i, machine *m) {                                           \
        const uint64_t from = i->memory != IN_REGISTERS ? address_of(i, m) : (uint64_t)(uintptr_t)&REG(uint8_t, i->b); \
        if (i->size == 8) {                                                                  \
            const uint64_t value = AT(uint64_t, from); /* read in any case, as the CPU does */  \
            if (condition) REG(uint64_t, i->d) = value;                                      \
        } else if (i->size == 4) {                                                           \
            const uint32_t value = AT(uint32_t, from);                                       \
            REG(uint64_t, i->d) = (condition) ? value : REG(uint32_t, i->d);                 \
        } else {                                                                             \
            const uint16_t value = AT(uint16_t, from);                                       \
            if (condition) REG(uint16_t, i->d) = value;                                      \
        }                                                                                    \
        return i->next;                                                                      \
    }
#undef JUMPS
CONDITIONS(CONDITIONAL)
#undef C
#undef Z
#undef S
#undef O
#undef P

static uint64_t read_goal(const insn *i, machine *m) {
    return i->memory != IN_REGISTERS ? AT(uint64_t, address_of(i, m)) : REG(uint64_t, i->d);
}

static insn *jmp(insn *i, machine *m) { return i->has_immediate ? jump(i, m) : go_to(m, read_goal(i, m)); }

static insn *call(insn *i, machine *m) {
    const uint64_t goal = i->has_immediate ? i->goal : read_goal(i, m);
    m->g[RSP] -= 8;
    AT(uint64_t, m->g[RSP]) = i->end;
    m->depth++;
    if (*(const uint8_t *)(uintptr_t)goal == 0xcc) { /* a breakpoint of a test */
        m->rip = goal;
        return NULL;
    }
    return i->has_immediate ? jump(i, m) : go_to(m, goal);
}

/*
 * A return beyond where interpretation began ends it, unless the function leaves more in a vector register than native
 * code can see. Compilers clear the upper parts (VZEROUPPER) unless a result lies in them.
 */
static insn *ret(insn *i, machine *m) {
    const uint64_t goal = AT(uint64_t, m->g[RSP]);
    m->g[RSP] += 8 + (i->has_immediate ? (uint64_t)i->immediate & 0xffff : 0);
    if (m->depth > 0) {
        m->depth--;
        return go_to(m, goal);
    }
    __m256i dirty = _mm256_setzero_si256();
    for (unsigned r = 0; r < 16; r++) dirty = _mm256_or_si256(dirty, m->z[r].h[1]);
    if (!_mm256_testz_si256(dirty, dirty)) return go_to(m, goal);
    m->rip = goal;
    return NULL;
}

static insn *push(insn *i, machine *m) {
    const uint64_t value = i->has_immediate ? (uint64_t)i->immediate : read_goal(i, m);
    m->g[RSP] -= 8;
    AT(uint64_t, m->g[RSP]) = value;
    return i->next;
}

static insn *pop(insn *i, machine *m) {
    const uint64_t value = AT(uint64_t, m->g[RSP]);
    m->g[RSP] += 8;
    if (i->memory != IN_REGISTERS) {
        AT(uint64_t, address_of(i, m)) = value;
    } else {
        REG(uint64_t, i->d) = value;
    }
    return i->next;
}

static insn *leave(insn *i, machine *m) {
    m->g[RSP] = m->g[RBP];
    m->g[RBP] = AT(uint64_t, m->g[RSP]);
    m->g[RSP] += 8;
    return i->next;
}

/* Native code meets it again: it kills the program, or a handler of the program takes it. */
static insn *trap(insn *i, machine *m) {
    m->rip = i->rip;
    return NULL;
}

void (*trace_of_tile)(const greg_t *gregs);

insn *perform_tile(insn *i, machine *m) {
    static const uint8_t place[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                      REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    greg_t gregs[NGREG];
    for (unsigned r = 0; r < 16; r++) gregs[place[r]] = (greg_t)m->g[r];
    gregs[REG_RIP] = (greg_t)i->rip;
    if (trace_of_tile != NULL) trace_of_tile(gregs);
    if (!emu_execute(gregs)) decode_unknown(i->rip, "the tile emulator does not know this instruction");
    return i->next;
}

void add_control(void) {
#define ROWS(jcc, name, condition) \
    {ZYDIS_MNEMONIC_J##jcc, jump_##jcc}, {ZYDIS_MNEMONIC_SET##jcc, set_##jcc}, {ZYDIS_MNEMONIC_CMOV##jcc, move_##jcc},
    static const row rows[] = {
        CONDITIONS(ROWS)
        {ZYDIS_MNEMONIC_JMP, jmp},     {ZYDIS_MNEMONIC_CALL, call}, {ZYDIS_MNEMONIC_RET, ret},
        {ZYDIS_MNEMONIC_PUSH, push},
        {ZYDIS_MNEMONIC_POP, pop},     {ZYDIS_MNEMONIC_LEAVE, leave}, {ZYDIS_MNEMONIC_UD2, trap},
        {ZYDIS_MNEMONIC_INT3, trap},
    };
    ADD_ROWS(rows);
}
