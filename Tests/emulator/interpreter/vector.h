/*
 * vector.h - how a vector instruction gets its last source and puts its result away: memory, broadcast, masks.
 */
#ifndef VECTOR_H
#define VECTOR_H

#include "machine.h"

#pragma GCC visibility push(hidden)

/* operand.c. `element` is the size of the elements that the mask selects, in bytes. */
void vector_load_slow(const insn *i, machine *m, v64 *to, unsigned element);
void vector_put_slow(const insn *i, machine *m, const v64 *result, unsigned element);
void vector_store(const insn *i, machine *m, const v64 *value, unsigned element, unsigned bytes);
void vector_expand_mask(uint64_t k, unsigned element, v64 *to);

#pragma GCC visibility pop

static inline uint64_t low_bits(unsigned n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }

/* The mask of an instruction with n elements. */
static inline uint64_t mask_of(const insn *i, machine *m, unsigned n) {
    return (i->mask == 0 ? ~0ull : m->k[i->mask]) & low_bits(n);
}

static inline const v64 *source(const insn *i, machine *m, v64 *room, unsigned element) {
    if (i->memory == IN_REGISTERS) return &REG(v64, i->b);
    if (i->memory_size == 64 && i->mask == 0) {
        const char *p = (const char *)(uintptr_t)address_of(i, m);
        room->h[0] = _mm256_loadu_si256((const __m256i *)(const void *)p);
        room->h[1] = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
    } else {
        vector_load_slow(i, m, room, element);
    }
    return room;
}

/* For instructions that take elements from other places: memory is read whole, whatever the mask says. */
static inline const v64 *source_whole(const insn *i, machine *m, v64 *room, unsigned element) {
    if (i->memory == IN_REGISTERS) return &REG(v64, i->b);
    insn whole = *i;
    whole.mask = 0;
    return source(&whole, m, room, element);
}

static inline insn *put(insn *i, machine *m, const v64 *result, unsigned element) {
    if (i->plain) {
        v64 *d = &REG(v64, i->d);
        d->h[0] = result->h[0];
        d->h[1] = result->h[1];
    } else {
        vector_put_slow(i, m, result, element);
    }
    return i->next;
}

#define HALVES for (int h = 0; h < 2; h++)

/* Instructions on whole vectors, half by half: A is the first source, B the last one, D the destination as it was. */
#define VECTOR_2(name, element, expression)                                  \
    static insn *name(insn *i, machine *m) {                                 \
        v64 room, result;                                                    \
        const v64 *b = source(i, m, &room, element), *a = &REG(v64, i->a);   \
        HALVES {                                                             \
            const __m256i A = a->h[h], B = b->h[h];                          \
            result.h[h] = expression;                                        \
        }                                                                    \
        return put(i, m, &result, element);                                  \
    }
#define VECTOR_3(name, element, expression)                                  \
    static insn *name(insn *i, machine *m) {                                 \
        v64 room, result;                                                    \
        const v64 *b = source(i, m, &room, element), *a = &REG(v64, i->a);   \
        const v64 *d = &REG(v64, i->d);                                      \
        HALVES {                                                             \
            const __m256i A = a->h[h], B = b->h[h], D = d->h[h];             \
            result.h[h] = expression;                                        \
        }                                                                    \
        return put(i, m, &result, element);                                  \
    }
#define VECTOR_1(name, element, expression)                                  \
    static insn *name(insn *i, machine *m) {                                 \
        v64 room, result;                                                    \
        const v64 *b = source(i, m, &room, element);                         \
        HALVES {                                                             \
            const __m256i B = b->h[h];                                       \
            result.h[h] = expression;                                        \
        }                                                                    \
        return put(i, m, &result, element);                                  \
    }

/* Element by element; x is an index, the others are the members of v64. */
#define EACH(count) for (unsigned x = 0; x < (count); x++)

#endif
