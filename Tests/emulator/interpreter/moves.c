/*
 * moves.c - loads, stores, copies, broadcasts, and parts of vectors.
 */
#include "vector.h"

#include <Zydis/Zydis.h>

#define MOVE(name, element)                                              \
    static insn *name(insn *i, machine *m) {                             \
        if (i->memory == MEMORY_D) {                                     \
            vector_store(i, m, &REG(v64, i->b), element, i->vl);         \
            return i->next;                                              \
        }                                                                \
        v64 room;                                                        \
        return put(i, m, source(i, m, &room, element), element);         \
    }
MOVE(move_1, 1)
MOVE(move_2, 2)
MOVE(move_4, 4)
MOVE(move_8, 8)

/* Under no mask: an aligned form on an address that is not aligned would kill the program on a CPU, so it does here. */
#define ALIGNED(name, with)                                                                          \
    static insn *name(insn *i, machine *m) {                                                         \
        if (i->memory != IN_REGISTERS && address_of(i, m) % i->vl != 0)                              \
            decode_unknown(i->rip, "its operand in memory is not aligned");                          \
        return with(i, m);                                                                           \
    }
ALIGNED(move_4_aligned, move_4)
ALIGNED(move_8_aligned, move_8)

static insn *finish_128(insn *i, machine *m, __m128i value) {
    v64 *d = &REG(v64, i->d);
    d->h[0] = _mm256_zextsi128_si256(value);
    d->h[1] = _mm256_setzero_si256();
    return i->next;
}

/* VMOVD, VMOVQ: between general registers, memory and the lowest element. */
static insn *move_d_q(insn *i, machine *m) {
    const int to_vector = i->memory != MEMORY_D && i->d < OFFSET_Z(32);
    if (to_vector) {
        const uint64_t from = i->memory != IN_REGISTERS ? address_of(i, m) : (uint64_t)(uintptr_t)&REG(uint8_t, i->b);
        const unsigned bytes = i->mnemonic == ZYDIS_MNEMONIC_VMOVD ? 4 : 8;
        return finish_128(i, m, _mm_cvtsi64_si128(bytes == 4 ? (long long)AT(uint32_t, from) : AT(long long, from)));
    }
    const uint64_t value = REG(uint64_t, i->b);
    if (i->memory == MEMORY_D) {
        if (i->mnemonic == ZYDIS_MNEMONIC_VMOVD) {
            AT(uint32_t, address_of(i, m)) = (uint32_t)value;
        } else {
            AT(uint64_t, address_of(i, m)) = value;
        }
    } else {
        REG(uint64_t, i->d) = i->mnemonic == ZYDIS_MNEMONIC_VMOVD ? (uint32_t)value : value;
    }
    return i->next;
}

/* VMOVSS, VMOVSD. */
#define MOVE_SCALAR(name, type, member, bits)                                                               \
    static insn *name(insn *i, machine *m) {                                                                \
        const uint64_t on = i->mask == 0 ? 1 : m->k[i->mask] & 1;                                           \
        if (i->memory == MEMORY_D) {                                                                        \
            if (on) AT(type, address_of(i, m)) = REG(type, i->b);                                           \
            return i->next;                                                                                 \
        }                                                                                                   \
        v64 result;                                                                                         \
        result.h[1] = _mm256_setzero_si256();                                                               \
        result.h[0] = i->memory != IN_REGISTERS ? result.h[1] : _mm256_zextsi128_si256(REG(v64, i->a).x[0]); \
        const type old = i->zeroing ? 0 : REG(type, i->d);                                                  \
        result.member[0] = !on ? old : i->memory != IN_REGISTERS ? AT(type, address_of(i, m)) : REG(type, i->b); \
        REG(v64, i->d) = result;                                                                            \
        return i->next;                                                                                     \
    }
MOVE_SCALAR(move_ss, uint32_t, d, 32)
MOVE_SCALAR(move_sd, uint64_t, q, 64)

/* VMOVLPS, VMOVHPS and their relatives: half of an xmm register and memory. */
static insn *move_low(insn *i, machine *m) {
    if (i->memory == MEMORY_D) {
        AT(uint64_t, address_of(i, m)) = REG(uint64_t, i->b);
        return i->next;
    }
    return finish_128(i, m, _mm_insert_epi64(REG(v64, i->a).x[0], AT(long long, address_of(i, m)), 0));
}

static insn *move_high(insn *i, machine *m) {
    if (i->memory == MEMORY_D) {
        AT(uint64_t, address_of(i, m)) = REG(v64, i->b).q[1];
        return i->next;
    }
    return finish_128(i, m, _mm_insert_epi64(REG(v64, i->a).x[0], AT(long long, address_of(i, m)), 1));
}

/* One element of a register or of memory to all. The source in memory is read under no mask but "nothing at all". */
#define BROADCAST(name, element, type, set)                                                                    \
    static insn *name(insn *i, machine *m) {                                                                   \
        v64 result;                                                                                            \
        type value = 0;                                                                                        \
        if (i->memory == IN_REGISTERS) {                                                                       \
            value = REG(type, i->b);                                                                           \
        } else if (i->mask == 0 || mask_of(i, m, i->vl / element) != 0) {                                      \
            value = AT(type, address_of(i, m));                                                                \
        }                                                                                                      \
        result.h[0] = result.h[1] = set(value);                                                                \
        return put(i, m, &result, element);                                                                    \
    }
#define SET_1(x) _mm256_set1_epi8((char)(x))
#define SET_2(x) _mm256_set1_epi16((short)(x))
#define SET_4(x) _mm256_set1_epi32((int)(x))
#define SET_8(x) _mm256_set1_epi64x((long long)(x))
BROADCAST(broadcast_1, 1, uint8_t, SET_1)
BROADCAST(broadcast_2, 2, uint16_t, SET_2)
BROADCAST(broadcast_4, 4, uint32_t, SET_4)
BROADCAST(broadcast_8, 8, uint64_t, SET_8)

/* A block of 16 or 32 bytes of memory (or of a register, VBROADCAST...32X2 apart) to all blocks. */
#define BROADCAST_BLOCK(name, element, bytes)                                     \
    static insn *name(insn *i, machine *m) {                                      \
        if (i->mask != 0) decode_unknown(i->rip, "under a mask");                 \
        v64 result;                                                               \
        for (unsigned x = 0; x < 64; x += bytes)                                  \
            memcpy(&result.b[x], (const void *)(uintptr_t)address_of(i, m), bytes); \
        return put(i, m, &result, element);                                       \
    }
BROADCAST_BLOCK(broadcast_block_4_16, 4, 16)
BROADCAST_BLOCK(broadcast_block_8_16, 8, 16)
BROADCAST_BLOCK(broadcast_block_4_32, 4, 32)
BROADCAST_BLOCK(broadcast_block_8_32, 8, 32)

/* ---------------------------------------------------------------------------------------------- parts of vectors -- */

#define EXTRACT(name, element, bytes)                                                                     \
    static insn *name(insn *i, machine *m) {                                                              \
        const v64 *s = &REG(v64, i->b);                                                                   \
        const unsigned parts = i->vl / bytes;                                                             \
        v64 part;                                                                                         \
        part.h[0] = part.h[1] = _mm256_setzero_si256();                                                   \
        memcpy(&part, &s->b[((unsigned)i->immediate & (parts - 1)) * bytes], bytes);                      \
        if (i->memory == MEMORY_D) {                                                                      \
            vector_store(i, m, &part, element, bytes);                                                    \
            return i->next;                                                                               \
        }                                                                                                 \
        insn shorter = *i;                                                                                \
        shorter.vl = bytes;                                                                               \
        shorter.plain = 0;                                                                                \
        put(&shorter, m, &part, element);                                                                 \
        return i->next;                                                                                   \
    }
EXTRACT(extract_4_16, 4, 16)
EXTRACT(extract_8_16, 8, 16)
EXTRACT(extract_4_32, 4, 32)
EXTRACT(extract_8_32, 8, 32)

#define INSERT(name, element, bytes)                                                                      \
    static insn *name(insn *i, machine *m) {                                                              \
        v64 result = REG(v64, i->a);                                                                      \
        const void *from = i->memory != IN_REGISTERS ? (const void *)(uintptr_t)address_of(i, m) : &REG(v64, i->b); \
        const unsigned parts = i->vl / bytes;                                                             \
        memcpy(&result.b[((unsigned)i->immediate & (parts - 1)) * bytes], from, bytes);                   \
        return put(i, m, &result, element);                                                               \
    }
INSERT(insert_4_16, 4, 16)
INSERT(insert_8_16, 8, 16)
INSERT(insert_4_32, 4, 32)
INSERT(insert_8_32, 8, 32)

/* One element of an xmm register to a general register or to memory. */
#define EXTRACT_ONE(name, type, member, count)                              \
    static insn *name(insn *i, machine *m) {                                \
        const type value = REG(v64, i->b).member[i->immediate & (count - 1)]; \
        if (i->memory == MEMORY_D) {                                        \
            AT(type, address_of(i, m)) = value;                             \
        } else {                                                            \
            REG(uint64_t, i->d) = value;                                    \
        }                                                                   \
        return i->next;                                                     \
    }
EXTRACT_ONE(extract_b, uint8_t, b, 16)
EXTRACT_ONE(extract_w, uint16_t, w, 8)
EXTRACT_ONE(extract_d, uint32_t, d, 4)
EXTRACT_ONE(extract_q, uint64_t, q, 2)

#define INSERT_ONE(name, type, member, count) \
    static insn *name(insn *i, machine *m) { \
        v64 result; \
        result.x[0] = REG(v64, i->a).x[0]; \
        result.member[i->immediate & (count - 1)] = i->memory != IN_REGISTERS ? AT(type, address_of(i, m)) \
                                                                              : REG(type, i->b); \
        return finish_128(i, m, result.x[0]); \
    }
INSERT_ONE(insert_b, uint8_t, b, 16)
INSERT_ONE(insert_w, uint16_t, w, 8)
INSERT_ONE(insert_d, uint32_t, d, 4)
INSERT_ONE(insert_q, uint64_t, q, 2)

static insn *zero_upper(insn *i, machine *m) {
    for (unsigned r = 0; r < 16; r++) finish_128(&(insn){.d = (uint16_t)OFFSET_Z(r)}, m, m->z[r].x[0]);
    return i->next;
}

static insn *zero_all(insn *i, machine *m) {
    memset(m->z, 0, 16 * sizeof m->z[0]);
    return i->next;
}

void add_moves(void) {
    static const row rows[] = {
        {ZYDIS_MNEMONIC_VMOVDQU8, move_1},        {ZYDIS_MNEMONIC_VMOVDQU16, move_2},
        {ZYDIS_MNEMONIC_VMOVDQU32, move_4},
        {ZYDIS_MNEMONIC_VMOVDQU64, move_8},       {ZYDIS_MNEMONIC_VMOVDQU, move_8},
        {ZYDIS_MNEMONIC_VMOVUPS, move_4},
        {ZYDIS_MNEMONIC_VMOVUPD, move_8},         {ZYDIS_MNEMONIC_VLDDQU, move_8},
        {ZYDIS_MNEMONIC_VMOVDQA, move_8_aligned},
        {ZYDIS_MNEMONIC_VMOVDQA32, move_4_aligned}, {ZYDIS_MNEMONIC_VMOVDQA64, move_8_aligned},
        {ZYDIS_MNEMONIC_VMOVAPS, move_4_aligned}, {ZYDIS_MNEMONIC_VMOVAPD, move_8_aligned},
        {ZYDIS_MNEMONIC_VMOVNTDQ, move_8_aligned},
        {ZYDIS_MNEMONIC_VMOVNTPS, move_4_aligned}, {ZYDIS_MNEMONIC_VMOVD, move_d_q},
        {ZYDIS_MNEMONIC_VMOVQ, move_d_q},
        {ZYDIS_MNEMONIC_VMOVSS, move_ss},         {ZYDIS_MNEMONIC_VMOVSD, move_sd},
        {ZYDIS_MNEMONIC_VMOVLPS, move_low},
        {ZYDIS_MNEMONIC_VMOVLPD, move_low},       {ZYDIS_MNEMONIC_VMOVHPS, move_high},
        {ZYDIS_MNEMONIC_VMOVHPD, move_high},
        {ZYDIS_MNEMONIC_VPBROADCASTB, broadcast_1}, {ZYDIS_MNEMONIC_VPBROADCASTW, broadcast_2},
        {ZYDIS_MNEMONIC_VPBROADCASTD, broadcast_4}, {ZYDIS_MNEMONIC_VPBROADCASTQ, broadcast_8},
        {ZYDIS_MNEMONIC_VBROADCASTSS, broadcast_4}, {ZYDIS_MNEMONIC_VBROADCASTSD, broadcast_8},
        {ZYDIS_MNEMONIC_VBROADCASTF128, broadcast_block_8_16}, {ZYDIS_MNEMONIC_VBROADCASTI128, broadcast_block_8_16},
        {ZYDIS_MNEMONIC_VBROADCASTF32X4, broadcast_block_4_16}, {ZYDIS_MNEMONIC_VBROADCASTI32X4, broadcast_block_4_16},
        {ZYDIS_MNEMONIC_VBROADCASTF64X2, broadcast_block_8_16}, {ZYDIS_MNEMONIC_VBROADCASTI64X2, broadcast_block_8_16},
        {ZYDIS_MNEMONIC_VBROADCASTF32X8, broadcast_block_4_32}, {ZYDIS_MNEMONIC_VBROADCASTI32X8, broadcast_block_4_32},
        {ZYDIS_MNEMONIC_VBROADCASTF64X4, broadcast_block_8_32}, {ZYDIS_MNEMONIC_VBROADCASTI64X4, broadcast_block_8_32},
        {ZYDIS_MNEMONIC_VEXTRACTF128, extract_8_16}, {ZYDIS_MNEMONIC_VEXTRACTI128, extract_8_16},
        {ZYDIS_MNEMONIC_VEXTRACTF32X4, extract_4_16}, {ZYDIS_MNEMONIC_VEXTRACTI32X4, extract_4_16},
        {ZYDIS_MNEMONIC_VEXTRACTF64X2, extract_8_16}, {ZYDIS_MNEMONIC_VEXTRACTI64X2, extract_8_16},
        {ZYDIS_MNEMONIC_VEXTRACTF32X8, extract_4_32}, {ZYDIS_MNEMONIC_VEXTRACTI32X8, extract_4_32},
        {ZYDIS_MNEMONIC_VEXTRACTF64X4, extract_8_32}, {ZYDIS_MNEMONIC_VEXTRACTI64X4, extract_8_32},
        {ZYDIS_MNEMONIC_VINSERTF128, insert_8_16}, {ZYDIS_MNEMONIC_VINSERTI128, insert_8_16},
        {ZYDIS_MNEMONIC_VINSERTF32X4, insert_4_16}, {ZYDIS_MNEMONIC_VINSERTI32X4, insert_4_16},
        {ZYDIS_MNEMONIC_VINSERTF64X2, insert_8_16}, {ZYDIS_MNEMONIC_VINSERTI64X2, insert_8_16},
        {ZYDIS_MNEMONIC_VINSERTF32X8, insert_4_32}, {ZYDIS_MNEMONIC_VINSERTI32X8, insert_4_32},
        {ZYDIS_MNEMONIC_VINSERTF64X4, insert_8_32}, {ZYDIS_MNEMONIC_VINSERTI64X4, insert_8_32},
        {ZYDIS_MNEMONIC_VPEXTRB, extract_b}, {ZYDIS_MNEMONIC_VPEXTRW, extract_w}, {ZYDIS_MNEMONIC_VPEXTRD, extract_d},
        {ZYDIS_MNEMONIC_VPEXTRQ, extract_q}, {ZYDIS_MNEMONIC_VPINSRB, insert_b}, {ZYDIS_MNEMONIC_VPINSRW, insert_w},
        {ZYDIS_MNEMONIC_VPINSRD, insert_d},  {ZYDIS_MNEMONIC_VPINSRQ, insert_q},
        {ZYDIS_MNEMONIC_VZEROUPPER, zero_upper}, {ZYDIS_MNEMONIC_VZEROALL, zero_all},
    };
    ADD_ROWS(rows);
}
