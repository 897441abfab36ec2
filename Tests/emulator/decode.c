/*
 * decode.c - from bytes to an AMX instruction and its operands.
 *
 * Encodings and operation follow the Intel SDM, volume 2 ("Intel AMX instruction set reference"). All of them are
 * C4 RXBmmmmm WvvvvLpp opcode ModRM [SIB] [disp] with map 0F38, W = 0, L = 0:
 *
 *   opcode  form       pp: none        66           F3            F2
 *   49      memory /0  LDTILECFG       STTILECFG
 *   49      register   TILERELEASE C0                             TILEZERO
 *   4B      memory                     TILELOADDT1  TILESTORED    TILELOADD
 *   5C      register                                TDPBF16PS     TDPFP16PS
 *   5E      register   TDPBUUD         TDPBUSD      TDPBSUD       TDPBSSD
 */
#include "internal.h"

#include <string.h>

/* Registers by their number in ModRM, SIB and VEX. */
static const uint8_t greg_index[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                       REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static inline uint64_t greg(const greg_t *gregs, unsigned number) { return (uint64_t)gregs[greg_index[number]]; }

enum { PP_NONE = 0, PP_66 = 1, PP_F3 = 2, PP_F2 = 3 };

/* The operation that (opcode, pp, memory form) selects, or -1 if this is not an AMX instruction that we know. */
static int select_op(unsigned opcode, unsigned pp, int is_memory, unsigned modrm) {
    switch (opcode) {
    case 0x49:
        if (is_memory) {
            if ((modrm >> 3 & 7) != 0) return -1;
            return pp == PP_NONE ? TILE_LDTILECFG : pp == PP_66 ? TILE_STTILECFG : -1;
        }
        if (pp == PP_NONE && modrm == 0xc0) return TILE_TILERELEASE;
        return pp == PP_F2 && (modrm & 7) == 0 ? TILE_TILEZERO : -1;
    case 0x4b: {
        static const int8_t op[4] = {-1, TILE_TILELOADDT1, TILE_TILESTORED, TILE_TILELOADD};
        return is_memory ? op[pp] : -1;
    }
    case 0x5c: {
        static const int8_t op[4] = {-1, -1, TILE_TDPBF16PS, TILE_TDPFP16PS};
        return is_memory ? -1 : op[pp];
    }
    case 0x5e: {
        static const int8_t op[4] = {TILE_TDPBUUD, TILE_TDPBUSD, TILE_TDPBSUD, TILE_TDPBSSD};
        return is_memory ? -1 : op[pp];
    }
    default: return -1;
    }
}

/*
 * An operand in memory behind ModRM: base + displacement, and index << scale, which is an addend of the address or the
 * stride of the rows. Gives the byte behind it.
 */
static const uint8_t *decode_memory(const greg_t *gregs, const uint8_t *p, unsigned modrm, unsigned vex_x,
                                    unsigned vex_b, instruction *in) {
    const unsigned mod = modrm >> 6;
    unsigned base_number = (modrm & 7) | vex_b << 3, no_base = 0, rip_relative = 0;
    if ((modrm & 7) == 4) {
        const unsigned sib = *p++;
        const unsigned index_number = (sib >> 3 & 7) | vex_x << 3;
        base_number = (sib & 7) | vex_b << 3;
        no_base = mod == 0 && (sib & 7) == 5;
        if (index_number != 4) in->index = greg(gregs, index_number) << (sib >> 6);
    } else {
        rip_relative = mod == 0 && (modrm & 7) == 5;
    }
    int32_t displacement = 0;
    if (mod == 1) {
        displacement = (int8_t)*p++;
    } else if (mod == 2 || no_base || rip_relative) {
        memcpy(&displacement, p, 4);
        p += 4;
    }
    in->base = (uint64_t)(int64_t)displacement;
    if (rip_relative) {
        in->base += (uint64_t)(uintptr_t)p;
    } else if (!no_base) {
        in->base += greg(gregs, base_number);
    }
    return p;
}

int emu_decode(const greg_t *gregs, instruction *in) {
    const uint64_t rip = (uint64_t)gregs[REG_RIP];
    const uint8_t *p = (const uint8_t *)(uintptr_t)rip;

    /* Segment overrides for CS, DS, ES, SS mean nothing in 64-bit mode; the others are not worth emulating. */
    const char *bad_prefix = NULL;
    for (;; p++) {
        if (*p == 0x2e || *p == 0x36 || *p == 0x3e || *p == 0x26) {
            /* skip */
        } else if (*p == 0x64 || *p == 0x65) {
            bad_prefix = "FS or GS prefix: not emulated";
        } else if (*p == 0x67) {
            bad_prefix = "address size prefix: not emulated";
        } else {
            break;
        }
        if (p - (const uint8_t *)(uintptr_t)rip >= 8) return 0;
    }
    if (p[0] != 0xc4 || (p[1] & 0x1f) != 0x02) return 0;
    const unsigned vex_r = ~p[1] >> 7 & 1, vex_x = ~p[1] >> 6 & 1, vex_b = ~p[1] >> 5 & 1;
    const unsigned vex_w = p[2] >> 7, vex_v = ~p[2] >> 3 & 15, vex_l = p[2] >> 2 & 1, pp = p[2] & 3;
    const unsigned opcode = p[3];
    if (opcode != 0x49 && opcode != 0x4b && opcode != 0x5c && opcode != 0x5e) return 0;
    const unsigned modrm = p[4];
    const int is_memory = modrm >> 6 != 3;
    const int op = select_op(opcode, pp, is_memory, modrm);
    if (op < 0) return 0;

    if (bad_prefix != NULL) emu_violation(op, rip, bad_prefix, 0, 0, 0);
    if (vex_w != 0) emu_violation(op, rip, "VEX.W is not 0", 0, 0, 0);
    if (vex_l != 0) emu_violation(op, rip, "VEX.L is not 0", 0, 0, 0);
    if (op < TILE_TDPBSSD && vex_v != 0) emu_violation(op, rip, "VEX.vvvv is not 1111b", 0, 0, 0);
    if (opcode == 0x4b && (modrm & 7) != 4) emu_violation(op, rip, "no SIB byte", 0, 0, 0);

    *in = (instruction){.op = op, .rip = rip, .vvvv = vex_v};
    in->reg = (modrm >> 3 & 7) | vex_r << 3;
    in->rm = (modrm & 7) | vex_b << 3;
    p += 5;
    if (is_memory) p = decode_memory(gregs, p, modrm, vex_x, vex_b, in);
    in->next = (uint64_t)(uintptr_t)p;
    return 1;
}
