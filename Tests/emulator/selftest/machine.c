/*
 * machine.c - the instructions are written by the assembler, in tables of small functions, so that the emulator's
 * decoder is compared with an encoder that is not ours. Only TDPFP16PS is in bytes: binutils before 2.40 does not know
 * it.
 */
#include "machine.h"

#include <string.h>

/* clang-format off */
__asm__(
    ".text\n"
    /* [d][a][b], 8 bytes each */
    ".macro SELFTEST_TDP name insn\n"
    ".globl \\name\n.hidden \\name\n.balign 8\n\\name:\n"
    ".irp d,0,1,2,3,4,5,6,7\n.irp a,0,1,2,3,4,5,6,7\n.irp b,0,1,2,3,4,5,6,7\n"
    ".balign 8\n"
    ".if (\\d != \\a) && (\\d != \\b) && (\\a != \\b)\n"
    "\\insn %tmm\\b, %tmm\\a, %tmm\\d\n"
    ".endif\n"
    "ret\n"
    ".endr\n.endr\n.endr\n"
    ".endm\n"
    ".macro SELFTEST_FP16 name\n"
    ".globl \\name\n.hidden \\name\n.balign 8\n\\name:\n"
    ".irp d,0,1,2,3,4,5,6,7\n.irp a,0,1,2,3,4,5,6,7\n.irp b,0,1,2,3,4,5,6,7\n"
    ".balign 8\n"
    ".byte 0xc4, 0xe2, 0x03 | ((15 - \\b) << 3), 0x5c, 0xc0 | (\\d << 3) | \\a\n"
    "ret\n"
    ".endr\n.endr\n.endr\n"
    ".endm\n"
    "SELFTEST_TDP selftest_tdpbssd tdpbssd\n"
    "SELFTEST_TDP selftest_tdpbsud tdpbsud\n"
    "SELFTEST_TDP selftest_tdpbusd tdpbusd\n"
    "SELFTEST_TDP selftest_tdpbuud tdpbuud\n"
    "SELFTEST_TDP selftest_tdpbf16ps tdpbf16ps\n"
    "SELFTEST_FP16 selftest_tdpfp16ps\n"
    /* [t], 16 bytes each; address in RDI, stride in RSI */
    ".macro SELFTEST_TILE name insn\n"
    ".globl \\name\n.hidden \\name\n.balign 16\n\\name:\n"
    ".irp t,0,1,2,3,4,5,6,7\n"
    ".balign 16\n"
    ".ifc \\insn,tilestored\n"
    "\\insn %tmm\\t, (%rdi,%rsi,1)\n"
    ".else\n"
    ".ifc \\insn,tilezero\n"
    "\\insn %tmm\\t\n"
    ".else\n"
    "\\insn (%rdi,%rsi,1), %tmm\\t\n"
    ".endif\n"
    ".endif\n"
    "ret\n"
    ".endr\n"
    ".endm\n"
    "SELFTEST_TILE selftest_tileloadd tileloadd\n"
    "SELFTEST_TILE selftest_tileloaddt1 tileloaddt1\n"
    "SELFTEST_TILE selftest_tilestored tilestored\n"
    "SELFTEST_TILE selftest_tilezero tilezero\n"
    /* [base][index][scale][disp], 64 bytes each, entered through selftest_enter; tile 5 */
    ".macro SELFTEST_ADDRESS name insn before after\n"
    ".globl \\name\n.hidden \\name\n.balign 64\n\\name:\n"
    ".irp base,rax,rcx,rdx,rbx,rsp,rbp,rsi,rdi,r8,r9,r10,r11,r12,r13,r14,r15\n"
    ".irp index,rax,rcx,rdx,rbx,rbp,rsi,rdi,r8,r9,r10,r11,r12,r13,r14,r15\n"
    ".irp scale,1,2,4,8\n.irp disp,0,-128,8192\n"
    ".balign 64\n"
    ".ifnc \\base,\\index\n"
    "movq selftest_base(%rip), %\\base\n"
    "movq selftest_index(%rip), %\\index\n"
    "\\insn \\before \\disp(%\\base,%\\index,\\scale) \\after\n"
    ".endif\n"
    "movq selftest_rsp(%rip), %rsp\n"
    "ret\n"
    ".endr\n.endr\n.endr\n.endr\n"
    ".endm\n"
    "SELFTEST_ADDRESS selftest_load_from tileloadd \"\" \", %tmm5\"\n"
    "SELFTEST_ADDRESS selftest_store_to tilestored \"%tmm5,\" \"\"\n"
    /* [base][disp], 32 bytes each: ModRM without SIB where the register allows it */
    ".macro SELFTEST_CONFIG name insn\n"
    ".globl \\name\n.hidden \\name\n.balign 32\n\\name:\n"
    ".irp base,rax,rcx,rdx,rbx,rsp,rbp,rsi,rdi,r8,r9,r10,r11,r12,r13,r14,r15\n"
    ".irp disp,0,-128,8192\n"
    ".balign 32\n"
    "movq selftest_base(%rip), %\\base\n"
    "\\insn \\disp(%\\base)\n"
    "movq selftest_rsp(%rip), %rsp\n"
    "ret\n"
    ".endr\n.endr\n"
    ".endm\n"
    "SELFTEST_CONFIG selftest_ldtilecfg_from ldtilecfg\n"
    "SELFTEST_CONFIG selftest_sttilecfg_to sttilecfg\n"
    /* Calls the entry at RDI, which may spoil every register including RSP. */
    ".globl selftest_enter\n.hidden selftest_enter\n"
    "selftest_enter:\n"
    "pushq %rbx\npushq %rbp\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "leaq 1f(%rip), %rax\n"
    "pushq %rax\n"
    "movq %rsp, selftest_rsp(%rip)\n"
    "jmp *%rdi\n"
    "1:\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbp\npopq %rbx\n"
    "ret\n");
/* clang-format on */

extern const uint8_t selftest_tdpbssd[] FOR_ASSEMBLER, selftest_tdpbsud[] FOR_ASSEMBLER,
    selftest_tdpbusd[] FOR_ASSEMBLER, selftest_tdpbuud[] FOR_ASSEMBLER, selftest_tdpbf16ps[] FOR_ASSEMBLER,
    selftest_tdpfp16ps[] FOR_ASSEMBLER;
uint64_t selftest_base, selftest_index;
FOR_ASSEMBLER uint64_t selftest_rsp;
uint8_t scratch[64 * 16];

typedef void (*plain_function)(void);
typedef void (*memory_function)(const void *address, long stride);

void tdp(int op, unsigned d, unsigned a, unsigned b) {
    static const uint8_t *const table[] = {selftest_tdpbssd, selftest_tdpbsud,   selftest_tdpbusd,
                                           selftest_tdpbuud, selftest_tdpbf16ps, selftest_tdpfp16ps};
    ((plain_function)(uintptr_t)(table[op - TILE_TDPBSSD] + ((d * 8 + a) * 8 + b) * 8))();
    __asm__ volatile("" ::: "memory");
}

void tile(const uint8_t *table, unsigned t, const void *address, long stride) {
    ((memory_function)(uintptr_t)(table + t * 16))(address, stride);
    __asm__ volatile("" ::: "memory");
}
void load(unsigned t, const void *p, long stride) { tile(selftest_tileloadd, t, p, stride); }
void store(unsigned t, void *p, long stride) { tile(selftest_tilestored, t, p, stride); }

void ldtilecfg(const config *c) { __asm__ volatile("ldtilecfg %0" : : "m"(*c) : "memory"); }
void sttilecfg(config *c) { __asm__ volatile("sttilecfg %0" : "=m"(*c) : : "memory"); }
void tilerelease(void) { __asm__ volatile("tilerelease" ::: "memory"); }

config empty_config(void) {
    config c;
    memset(&c, 0, sizeof c);
    return c;
}
void set_tile(config *c, unsigned t, unsigned rows, unsigned colsb) {
    c->bytes[0] = 1;
    c->bytes[16 + 2 * t] = (uint8_t)colsb;
    c->bytes[17 + 2 * t] = (uint8_t)(colsb >> 8);
    c->bytes[48 + t] = (uint8_t)rows;
}
unsigned rows_of(const config *c, unsigned t) { return c->bytes[48 + t]; }
unsigned colsb_of(const config *c, unsigned t) { return c->bytes[16 + 2 * t]; }

config full_config(void) {
    config c = empty_config();
    for (unsigned t = 0; t < 8; t++) set_tile(&c, t, 16, 64);
    return c;
}
