/*
 * permute.c - elements that change places: shuffles, permutations, interleaving, blends, expansion and compression.
 */
#include "vector.h"

#include <Zydis/Zydis.h>

/* Elements change places, so an element that the mask leaves out may still be needed. */
#define PERMUTE_BY(name, element, expression)                                      \
    static insn *name(insn *i, machine *m) {                                       \
        v64 room, result;                                                          \
        const v64 *b = source_whole(i, m, &room, element), *a = &REG(v64, i->a);   \
        HALVES {                                                                   \
            const __m256i A = a->h[h], B = b->h[h];                                \
            result.h[h] = expression;                                              \
        }                                                                          \
        return put(i, m, &result, element);                                        \
    }

PERMUTE_BY(pshufb, 1, _mm256_shuffle_epi8(A, B))
PERMUTE_BY(unpack_low_b, 1, _mm256_unpacklo_epi8(A, B))
PERMUTE_BY(unpack_low_w, 2, _mm256_unpacklo_epi16(A, B))
PERMUTE_BY(unpack_low_d, 4, _mm256_unpacklo_epi32(A, B))
PERMUTE_BY(unpack_low_q, 8, _mm256_unpacklo_epi64(A, B))
PERMUTE_BY(unpack_high_b, 1, _mm256_unpackhi_epi8(A, B))
PERMUTE_BY(unpack_high_w, 2, _mm256_unpackhi_epi16(A, B))
PERMUTE_BY(unpack_high_d, 4, _mm256_unpackhi_epi32(A, B))
PERMUTE_BY(unpack_high_q, 8, _mm256_unpackhi_epi64(A, B))
PERMUTE_BY(packsswb, 1, _mm256_packs_epi16(A, B))
PERMUTE_BY(packuswb, 1, _mm256_packus_epi16(A, B))
PERMUTE_BY(packssdw, 2, _mm256_packs_epi32(A, B))
PERMUTE_BY(packusdw, 2, _mm256_packus_epi32(A, B))

#define EACH_1(name, element, count, member, expression)                     \
    static insn *name(insn *i, machine *m) {                                 \
        v64 room, result;                                                    \
        const v64 *b = source_whole(i, m, &room, element);                         \
        const unsigned n = (unsigned)i->immediate & 0xff;                    \
        EACH(count) result.member[x] = (expression);                         \
        return put(i, m, &result, element);                                  \
    }
#define EACH_2(name, element, count, member, expression)                     \
    static insn *name(insn *i, machine *m) {                                 \
        v64 room, result;                                                    \
        const v64 *b = source_whole(i, m, &room, element), *a = &REG(v64, i->a);   \
        const unsigned n = (unsigned)i->immediate & 0xff;                    \
        (void)n;                                                             \
        EACH(count) result.member[x] = (expression);                         \
        return put(i, m, &result, element);                                  \
    }
/* Within blocks of 16 bytes, by the immediate. */
EACH_1(pshufd, 4, 16, d, b->d[(x & 12) + (n >> 2 * (x & 3) & 3)])
EACH_1(pshuflw, 2, 32, w, b->w[x & 4 ? x : (x & 24) + (n >> 2 * (x & 3) & 3)])
EACH_1(pshufhw, 2, 32, w, b->w[x & 4 ? (x & 24) + 4 + (n >> 2 * (x & 3) & 3) : x])
EACH_2(shufps, 4, 16, d, (x & 2 ? b : a)->d[(x & 12) + (n >> 2 * (x & 3) & 3)])
EACH_2(shufpd, 8, 8, q, (x & 1 ? b : a)->q[(x & 6) + (n >> x & 1)])
EACH_1(permq_immediate, 8, 8, q, b->q[(x & 4) + (n >> 2 * (x & 3) & 3)])
EACH_1(movddup, 8, 8, q, b->q[(x & 6) + 0 * n])
EACH_1(movshdup, 4, 16, d, b->d[(x | 1) + 0 * n])
EACH_1(movsldup, 4, 16, d, b->d[(x & 14) + 0 * n])

static insn *palignr(insn *i, machine *m) {
    v64 room, result;
    const v64 *b = source_whole(i, m, &room, 1), *a = &REG(v64, i->a);
    const unsigned n = (unsigned)i->immediate & 0xff;
    EACH(64) {
        const unsigned from = (x & 15) + n;
        result.b[x] = from < 16 ? b->b[(x & 48) + from] : from < 32 ? a->b[(x & 48) + from - 16] : 0;
    }
    return put(i, m, &result, 1);
}

/* By the indices in the first source, across the whole vector. */
EACH_2(permb, 1, 64, b, b->b[a->b[x] & (i->vl - 1)])
EACH_2(permw, 2, 32, w, b->w[a->w[x] & (i->vl / 2 - 1)])
EACH_2(permd, 4, 16, d, b->d[a->d[x] & (i->vl / 4 - 1)])
EACH_2(permq_variable, 8, 8, q, b->q[a->q[x] & (i->vl / 8 - 1)])
static insn *permq(insn *i, machine *m) { return i->has_immediate ? permq_immediate(i, m) : permq_variable(i, m); }

/* Two tables: VPERMT2 takes the indices from the first source and tables from the destination and the last, VPERMI2
 * otherwise. */
#define PERMUTE_2(suffix, element, count, member) \
    static insn *permute_2_##suffix(insn *i, machine *m, const v64 *low, const v64 *index) { \
        v64 room, result; \
        const v64 *high = source_whole(i, m, &room, element); \
        const unsigned n = i->vl / element; \
        EACH(count) { \
            const unsigned from = (unsigned)index->member[x] & (2 * n - 1); \
            result.member[x] = from < n ? low->member[from] : high->member[from - n]; \
        } \
        return put(i, m, &result, element); \
    } \
    static insn *permt2##suffix(insn *i, machine *m) { \
        return permute_2_##suffix(i, m, &REG(v64, i->d), &REG(v64, i->a)); \
    } \
    static insn *permi2##suffix(insn *i, machine *m) { \
        return permute_2_##suffix(i, m, &REG(v64, i->a), &REG(v64, i->d)); \
    }
PERMUTE_2(b, 1, 64, b)
PERMUTE_2(w, 2, 32, w)
PERMUTE_2(d, 4, 16, d)
PERMUTE_2(q, 8, 8, q)

/* Blocks of 16 bytes. */
static insn *shuffle_blocks(insn *i, machine *m, unsigned element) {
    v64 room, result;
    const v64 *b = source_whole(i, m, &room, element), *a = &REG(v64, i->a);
    const unsigned n = (unsigned)i->immediate;
    if (i->vl == 32) {
        result.x[0] = a->x[n & 1];
        result.x[1] = b->x[n >> 1 & 1];
        result.h[1] = _mm256_setzero_si256();
    } else {
        result.x[0] = a->x[n & 3];
        result.x[1] = a->x[n >> 2 & 3];
        result.x[2] = b->x[n >> 4 & 3];
        result.x[3] = b->x[n >> 6 & 3];
    }
    return put(i, m, &result, element);
}
static insn *shuf_4(insn *i, machine *m) { return shuffle_blocks(i, m, 4); }
static insn *shuf_8(insn *i, machine *m) { return shuffle_blocks(i, m, 8); }

static insn *perm2i128(insn *i, machine *m) {
    v64 room, result;
    const v64 *b = source_whole(i, m, &room, 8), *a = &REG(v64, i->a);
    for (unsigned x = 0; x < 2; x++) {
        const unsigned n = (unsigned)i->immediate >> 4 * x & 15;
        result.x[x] = n & 8 ? _mm_setzero_si128() : (n & 2 ? b : a)->x[n & 1];
    }
    result.h[1] = _mm256_setzero_si256();
    return put(i, m, &result, 8);
}

#define ALIGN(name, element, count, member)                                                       \
    static insn *name(insn *i, machine *m) {                                                      \
        v64 room, result;                                                                         \
        const v64 *b = source_whole(i, m, &room, element), *a = &REG(v64, i->a);                        \
        const unsigned all = i->vl / element, n = (unsigned)i->immediate & (all - 1);             \
        EACH(count) {                                                                             \
            const unsigned from = (x + n) & (2 * all - 1);                                        \
            result.member[x] = from < all ? b->member[from] : a->member[from - all];              \
        }                                                                                         \
        return put(i, m, &result, element);                                                       \
    }
ALIGN(alignd, 4, 16, d)
ALIGN(alignq, 8, 8, q)

/* VBLENDM: the mask chooses between the sources; with {z}, between the last one and zero. */
#define BLEND_MASK(name, element)                                                       \
    static insn *name(insn *i, machine *m) {                                            \
        v64 room, selected, result;                                                     \
        const v64 *b = source(i, m, &room, element), *a = &REG(v64, i->a);              \
        vector_expand_mask(i->mask == 0 ? ~0ull : m->k[i->mask], element, &selected);   \
        HALVES {                                                                        \
            const __m256i others = i->zeroing ? _mm256_setzero_si256() : a->h[h];       \
            result.h[h] = _mm256_blendv_epi8(others, b->h[h], selected.h[h]);           \
        }                                                                               \
        insn plain = *i;                                                                \
        plain.mask = 0;                                                                 \
        plain.plain = i->vl == 64;                                                      \
        put(&plain, m, &result, element);                                               \
        return i->next;                                                                 \
    }
BLEND_MASK(blend_1, 1)
BLEND_MASK(blend_2, 2)
BLEND_MASK(blend_4, 4)
BLEND_MASK(blend_8, 8)

EACH_2(pblendd, 4, 16, d, (n >> (x & 7) & 1 ? b : a)->d[x])
EACH_2(pblendw, 2, 32, w, (n >> (x & 7) & 1 ? b : a)->w[x])

/* ------------------------------------------------------------------------------------- expansion and compression -- */

/* The next element of the source for each bit of the mask. In memory only those that are used are touched. */
#define EXPAND(name, element, count, type, member)                                                              \
    static insn *name(insn *i, machine *m) {                                                                    \
        v64 room, result;                                                                                       \
        const v64 *b = &REG(v64, i->b);                                                                         \
        uint64_t k = mask_of(i, m, i->vl / element);                                                            \
        if (i->memory != IN_REGISTERS) {                                                                        \
            memcpy(&room, (const void *)(uintptr_t)address_of(i, m), element * (unsigned)__builtin_popcountll(k)); \
            b = &room;                                                                                          \
        }                                                                                                       \
        const type *next = b->member;                                                                           \
        for (; k != 0; k &= k - 1) result.member[__builtin_ctzll(k)] = *next++;                                 \
        return put(i, m, &result, element);                                                                     \
    }
EXPAND(expand_1, 1, 64, uint8_t, b)
EXPAND(expand_2, 2, 32, uint16_t, w)
EXPAND(expand_4, 4, 16, uint32_t, d)
EXPAND(expand_8, 8, 8, uint64_t, q)

#define COMPRESS(name, element, count, type, member)                                                            \
    static insn *name(insn *i, machine *m) {                                                                    \
        const v64 *b = &REG(v64, i->b);                                                                         \
        v64 result;                                                                                             \
        uint64_t k = mask_of(i, m, i->vl / element);                                                            \
        unsigned n = 0;                                                                                         \
        for (; k != 0; k &= k - 1) result.member[n++] = b->member[__builtin_ctzll(k)];                          \
        if (i->memory == MEMORY_D) {                                                                            \
            memcpy((void *)(uintptr_t)address_of(i, m), &result, element * n);                                  \
            return i->next;                                                                                     \
        }                                                                                                       \
        v64 *d = &REG(v64, i->d);                                                                               \
        for (; n < i->vl / element; n++) result.member[n] = i->zeroing ? 0 : d->member[n];                      \
        for (n = i->vl; n < 64; n++) result.b[n] = 0;                                                           \
        *d = result;                                                                                            \
        return i->next;                                                                                         \
    }
COMPRESS(compress_1, 1, 64, uint8_t, b)
COMPRESS(compress_2, 2, 32, uint16_t, w)
COMPRESS(compress_4, 4, 16, uint32_t, d)
COMPRESS(compress_8, 8, 8, uint64_t, q)

void add_permute(void) {
#define SAME(NAME, name) {ZYDIS_MNEMONIC_V##NAME, name}
    static const row rows[] = {
        SAME(PSHUFB, pshufb), SAME(PUNPCKLBW, unpack_low_b), SAME(PUNPCKLWD, unpack_low_w),
        SAME(PUNPCKLDQ, unpack_low_d),
        SAME(PUNPCKLQDQ, unpack_low_q), SAME(PUNPCKHBW, unpack_high_b), SAME(PUNPCKHWD, unpack_high_w),
        SAME(PUNPCKHDQ, unpack_high_d), SAME(PUNPCKHQDQ, unpack_high_q), SAME(UNPCKLPS, unpack_low_d),
        SAME(UNPCKHPS, unpack_high_d), SAME(UNPCKLPD, unpack_low_q), SAME(UNPCKHPD, unpack_high_q),
        SAME(PACKSSWB, packsswb),
        SAME(PACKUSWB, packuswb), SAME(PACKSSDW, packssdw), SAME(PACKUSDW, packusdw), SAME(PSHUFD, pshufd),
        SAME(PSHUFLW, pshuflw), SAME(PSHUFHW, pshufhw), SAME(SHUFPS, shufps), SAME(SHUFPD, shufpd),
        SAME(PALIGNR, palignr),
        SAME(MOVDDUP, movddup), SAME(MOVSHDUP, movshdup), SAME(MOVSLDUP, movsldup),
        SAME(PERMB, permb), SAME(PERMW, permw), SAME(PERMD, permd), SAME(PERMPS, permd), SAME(PERMQ, permq),
        SAME(PERMPD, permq),
        SAME(PERMT2B, permt2b), SAME(PERMT2W, permt2w), SAME(PERMT2D, permt2d), SAME(PERMT2PS, permt2d),
        SAME(PERMT2Q, permt2q),
        SAME(PERMT2PD, permt2q), SAME(PERMI2B, permi2b), SAME(PERMI2W, permi2w), SAME(PERMI2D, permi2d),
        SAME(PERMI2PS, permi2d),
        SAME(PERMI2Q, permi2q), SAME(PERMI2PD, permi2q), SAME(SHUFI32X4, shuf_4), SAME(SHUFF32X4, shuf_4),
        SAME(SHUFI64X2, shuf_8), SAME(SHUFF64X2, shuf_8), SAME(PERM2I128, perm2i128), SAME(PERM2F128, perm2i128),
        SAME(ALIGND, alignd), SAME(ALIGNQ, alignq), SAME(PBLENDMB, blend_1), SAME(PBLENDMW, blend_2),
        SAME(PBLENDMD, blend_4),
        SAME(PBLENDMQ, blend_8), SAME(BLENDMPS, blend_4), SAME(BLENDMPD, blend_8), SAME(PBLENDD, pblendd),
        SAME(PBLENDW, pblendw),
        SAME(BLENDPS, pblendd), SAME(PEXPANDB, expand_1), SAME(PEXPANDW, expand_2), SAME(PEXPANDD, expand_4),
        SAME(PEXPANDQ, expand_8), SAME(EXPANDPS, expand_4), SAME(EXPANDPD, expand_8), SAME(PCOMPRESSB, compress_1),
        SAME(PCOMPRESSW, compress_2), SAME(PCOMPRESSD, compress_4), SAME(PCOMPRESSQ, compress_8),
        SAME(COMPRESSPS, compress_4),
        SAME(COMPRESSPD, compress_8),
    };
    ADD_ROWS(rows);
}
