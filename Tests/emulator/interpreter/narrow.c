/*
 * narrow.c - integers that become wider or narrower: VPMOVZX, VPMOVSX, VPMOV..B and so on.
 */
#include "vector.h"

#include <Zydis/Zydis.h>

#define WIDEN(name, element, count, to, from)                                \
    static insn *name(insn *i, machine *m) {                                 \
        v64 room, result;                                                    \
        const v64 *b = source(i, m, &room, element);                         \
        EACH(count) result.to[x] = b->from[x];                               \
        return put(i, m, &result, element);                                  \
    }
#define WIDEN_CAST(name, element, count, to, type, from)                     \
    static insn *name(insn *i, machine *m) {                                 \
        v64 room, result;                                                    \
        const v64 *b = source(i, m, &room, element);                         \
        EACH(count) result.to[x] = (type)b->from[x];                         \
        return put(i, m, &result, element);                                  \
    }
WIDEN(zx_bw, 2, 32, w, b)
WIDEN(zx_bd, 4, 16, d, b)
WIDEN(zx_bq, 8, 8, q, b)
WIDEN(zx_wd, 4, 16, d, w)
WIDEN(zx_wq, 8, 8, q, w)
WIDEN(zx_dq, 8, 8, q, d)
WIDEN_CAST(sx_bw, 2, 32, sw, int16_t, sb)
WIDEN_CAST(sx_bd, 4, 16, sd, int32_t, sb)
WIDEN_CAST(sx_bq, 8, 8, sq, int64_t, sb)
WIDEN_CAST(sx_wd, 4, 16, sd, int32_t, sw)
WIDEN_CAST(sx_wq, 8, 8, sq, int64_t, sw)
WIDEN_CAST(sx_dq, 8, 8, sq, int64_t, sd)

/* The destination has as many elements as the source, of `to_size` bytes each, and is a register or memory. */
static insn *put_narrow(insn *i, machine *m, v64 *result, unsigned from_size, unsigned to_size) {
    const unsigned bytes = i->vl / from_size * to_size;
    if (i->memory == MEMORY_D) {
        vector_store(i, m, result, to_size, bytes);
        return i->next;
    }
    v64 *d = &REG(v64, i->d);
    if (i->mask != 0) {
        v64 selected;
        vector_expand_mask(m->k[i->mask], to_size, &selected);
        HALVES {
            const __m256i others = i->zeroing ? _mm256_setzero_si256() : d->h[h];
            result->h[h] = _mm256_blendv_epi8(others, result->h[h], selected.h[h]);
        }
    }
    memset(&result->b[bytes], 0, 64 - bytes);
    *d = *result;
    return i->next;
}

static inline int64_t between(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}
static inline uint64_t at_most(uint64_t value, uint64_t high) { return value > high ? high : value; }

#define NARROW(name, from_size, count, to, type, expression)                                 \
    static insn *name(insn *i, machine *m) {                                                 \
        v64 result;                                                                          \
        const v64 *b = &REG(v64, i->b);                                                      \
        EACH(count) result.to[x] = (type)(expression);                                       \
        return put_narrow(i, m, &result, from_size, sizeof(type));                           \
    }
#define THREE_WAYS(from, to_name, from_size, count, to, type, unsigned_from, signed_from, low, high, most)       \
    NARROW(from##to_name, from_size, count, to, type, b->unsigned_from[x])                                       \
    NARROW(s##from##to_name, from_size, count, to, type, between(b->signed_from[x], low, high))                  \
    NARROW(us##from##to_name, from_size, count, to, type, at_most(b->unsigned_from[x], most))
THREE_WAYS(w, b, 2, 32, b, uint8_t, w, sw, -128, 127, 255)
THREE_WAYS(d, b, 4, 16, b, uint8_t, d, sd, -128, 127, 255)
THREE_WAYS(q, b, 8, 8, b, uint8_t, q, sq, -128, 127, 255)
THREE_WAYS(d, w, 4, 16, w, uint16_t, d, sd, -32768, 32767, 65535)
THREE_WAYS(q, w, 8, 8, w, uint16_t, q, sq, -32768, 32767, 65535)
THREE_WAYS(q, d, 8, 8, d, uint32_t, q, sq, INT32_MIN, INT32_MAX, UINT32_MAX)

void add_narrow(void) {
#define ROW(NAME, name) {ZYDIS_MNEMONIC_VPMOV##NAME, name}
    static const row rows[] = {
        ROW(ZXBW, zx_bw), ROW(ZXBD, zx_bd), ROW(ZXBQ, zx_bq), ROW(ZXWD, zx_wd), ROW(ZXWQ, zx_wq), ROW(ZXDQ, zx_dq),
        ROW(SXBW, sx_bw), ROW(SXBD, sx_bd), ROW(SXBQ, sx_bq), ROW(SXWD, sx_wd), ROW(SXWQ, sx_wq), ROW(SXDQ, sx_dq),
        ROW(WB, wb), ROW(SWB, swb), ROW(USWB, uswb), ROW(DB, db), ROW(SDB, sdb), ROW(USDB, usdb), ROW(QB, qb),
        ROW(SQB, sqb),
        ROW(USQB, usqb), ROW(DW, dw), ROW(SDW, sdw), ROW(USDW, usdw), ROW(QW, qw), ROW(SQW, sqw), ROW(USQW, usqw),
        ROW(QD, qd), ROW(SQD, sqd), ROW(USQD, usqd),
    };
    ADD_ROWS(rows);
}
