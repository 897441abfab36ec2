/*
 * machine.h - the machine that is interpreted, and what a decoded instruction is. Shared by the files of this folder.
 *
 * A handler performs one instruction on a machine and gives the instruction that follows, or NULL when native code
 * takes over at machine.rip. Operands are byte offsets into the machine, so a handler knows no register by name.
 */
#ifndef MACHINE_H
#define MACHINE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#pragma GCC visibility push(hidden)

typedef union {
    __m256i h[2];
    __m256 f[2];
    __m128i x[4];
    uint8_t b[64];
    int8_t sb[64];
    uint16_t w[32];
    int16_t sw[32];
    uint32_t d[16];
    int32_t sd[16];
    uint64_t q[8];
    int64_t sq[8];
    float ps[16];
} v64;

typedef struct machine {
    v64 z[32];
    uint64_t k[8];
    uint64_t g[17]; /* RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 ... R15, and one that is always zero */
    uint64_t rip;
    uint64_t rflags; /* at entry and exit; in between the six arithmetic flags are in .flags */
    uint32_t flags;  /* as LAHF and SETO leave AX: OF is bit 0, SF ZF AF PF CF are bits 15 14 12 10 8 */
    uint32_t depth;  /* calls since native code was left */
} machine;

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, ZERO = 16 };
enum { FLAG_OF = 1, FLAG_CF = 1 << 8, FLAG_PF = 1 << 10, FLAG_AF = 1 << 12, FLAG_ZF = 1 << 14, FLAG_SF = 1 << 15 };

/* Where the operand in memory is, if there is one. */
enum { IN_REGISTERS, MEMORY_D, MEMORY_A, MEMORY_B };

typedef struct insn insn;
typedef insn *(*handler)(insn *i, machine *m);

struct insn {
    handler perform;
    handler inner;      /* what a wrapper (rounding) wraps */
    insn *next;         /* the one behind it */
    insn *target;       /* where it jumps to, once known */
    uint64_t rip, end;  /* its address, and the one behind it */
    uint64_t goal;      /* address that it jumps to */
    int64_t immediate;
    int64_t displacement;
    uint16_t d, a, b;     /* operands: destination, first and last source */
    uint16_t base, index; /* of the address, the zero register if absent */
    uint8_t scale;        /* as a shift */
    uint8_t memory;       /* IN_REGISTERS ... MEMORY_B */
    uint8_t size;         /* bytes of the destination in a general register or in memory */
    uint8_t b_size;       /* bytes of the last source in a register or in memory */
    uint8_t memory_size;  /* bytes of the operand in memory; of one element if it is broadcast */
    uint8_t broadcast;
    uint8_t vl;           /* vector length in bytes */
    uint8_t mask;         /* number of the mask register, 0 for none */
    uint8_t zeroing;
    uint8_t plain;        /* writes all 64 bytes of its destination */
    uint8_t rounding;     /* 0, or 1 + the rounding control of MXCSR */
    uint8_t length;
    uint8_t has_immediate;
    uint8_t native;       /* of any x86-64 */
    uint16_t mnemonic;
    uint8_t bytes[16];
};

#define REG(type, offset) (*(type *)(void *)((char *)m + (offset)))
#define OFFSET_G(n) (offsetof(machine, g) + 8 * (n))
#define OFFSET_Z(n) (offsetof(machine, z) + 64 * (n))
#define OFFSET_K(n) (offsetof(machine, k) + 8 * (n))

static inline uint64_t address_of(const insn *i, machine *m) {
    return REG(uint64_t, i->base) + (REG(uint64_t, i->index) << i->scale) + (uint64_t)i->displacement;
}

#define AT(type, address) (*(type *)(uintptr_t)(address))

/* The handler of each mnemonic, NULL if it is not known. The files add theirs before the first instruction. */
typedef struct {
    uint16_t mnemonic;
    handler perform;
} row;
void add_rows(const row *rows, size_t count);
#define ADD_ROWS(rows) add_rows(rows, sizeof(rows) / sizeof((rows)[0]))
void add_scalar(void);
void add_control(void);
void add_moves(void);
void add_integer(void);
void add_integer_shifts(void);
void add_permute(void);
void add_narrow(void);
void add_float(void);
void add_convert(void);
void add_mask(void);

insn *perform_tile(insn *i, machine *m); /* any AMX instruction */

/* Scalar instructions depend on size and form, so they choose their handler per instruction. NULL: not known. */
handler scalar_handler(const insn *i);
handler string_handler(const insn *i); /* with a REP prefix */

/* decode.c. */
void decode_init(void);
int decode_is_ours(uint64_t rip);  /* an instruction that makes native code stop, and that interpretation begins with */
insn *decode_find(uint64_t rip);   /* NULL if the address is not in the text that is interpreted */
insn *decode_enter(uint64_t rip);  /* the same for an address where native code stopped, which may be new */
int decode_knows(const insn *i);   /* there is a handler for it */
__attribute__((noreturn)) void decode_unknown(uint64_t rip, const char *why);

/* arena.c: memory from the kernel, not from the program's allocator. NULL if there is none. */
void *arena_map(size_t bytes);

/* A jump: the target if it lies in the text, else native code goes on there. */
static inline insn *go_to(machine *m, uint64_t rip) {
    insn *i = decode_find(rip);
    if (i == NULL) m->rip = rip;
    return i;
}

#pragma GCC visibility pop

#endif
