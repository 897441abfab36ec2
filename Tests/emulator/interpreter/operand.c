/*
 * operand.c - the slow ways of an operand: memory under a mask, broadcast, results under a mask or shorter than 64
 * bytes.
 *
 * Elements that a mask leaves out are not touched in memory: tests put forbidden pages there.
 */
#include "vector.h"

void vector_expand_mask(uint64_t k, unsigned element, v64 *to) {
    const __m256i bits_8 = _mm256_set1_epi64x((long long)0x8040201008040201ull);
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3,
                                            3, 3, 3, 3, 3, 3, 3);
    for (unsigned h = 0; h < 2; h++) {
        __m256i bits, all;
        switch (element) {
        case 1:
            all = _mm256_shuffle_epi8(_mm256_set1_epi32((int)(k >> 32 * h)), spread);
            bits = bits_8;
            to->h[h] = _mm256_cmpeq_epi8(_mm256_and_si256(all, bits), bits);
            break;
        case 2:
            all = _mm256_set1_epi16((short)(k >> 16 * h));
            bits = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768);
            to->h[h] = _mm256_cmpeq_epi16(_mm256_and_si256(all, bits), bits);
            break;
        case 4:
            all = _mm256_set1_epi32((int)(k >> 8 * h));
            bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            to->h[h] = _mm256_cmpeq_epi32(_mm256_and_si256(all, bits), bits);
            break;
        default:
            all = _mm256_set1_epi64x((long long)(k >> 4 * h));
            bits = _mm256_setr_epi64x(1, 2, 4, 8);
            to->h[h] = _mm256_cmpeq_epi64(_mm256_and_si256(all, bits), bits);
            break;
        }
    }
}

/* Copies the elements that k selects, and no byte else. */
static void copy_selected(char *to, const char *from, uint64_t k, unsigned element, unsigned count) {
    if ((k & (k + 1)) == 0) { /* the first ones, or all */
        memcpy(to, from, element * (unsigned)__builtin_popcountll(k & low_bits(count)));
        return;
    }
    for (; k != 0; k &= k - 1) {
        const unsigned x = (unsigned)__builtin_ctzll(k) * element;
        memcpy(to + x, from + x, element);
    }
}

void vector_load_slow(const insn *i, machine *m, v64 *to, unsigned element) {
    const char *p = (const char *)(uintptr_t)address_of(i, m);
    if (i->broadcast) {
        if (i->mask != 0 && mask_of(i, m, i->vl / element) == 0) return;
        switch (i->memory_size) {
        case 8: to->h[0] = _mm256_set1_epi64x(*(const long long *)(const void *)p); break;
        case 4: to->h[0] = _mm256_set1_epi32(*(const int *)(const void *)p); break;
        default: to->h[0] = _mm256_set1_epi16(*(const short *)(const void *)p); break;
        }
        to->h[1] = to->h[0];
        return;
    }
    to->h[0] = to->h[1] = _mm256_setzero_si256();
    if (i->mask == 0) {
        memcpy(to, p, i->memory_size);
        return;
    }
    /* In memory the elements may be narrower than those that the mask selects (VPMOVZX). */
    const unsigned count = i->vl / element;
    copy_selected((char *)to, p, mask_of(i, m, count), i->memory_size / count, count);
}

void vector_put_slow(const insn *i, machine *m, const v64 *result, unsigned element) {
    v64 *d = &REG(v64, i->d);
    v64 r = *result;
    if (i->mask != 0) {
        v64 selected;
        vector_expand_mask(m->k[i->mask], element, &selected);
        HALVES {
            const __m256i others = i->zeroing ? _mm256_setzero_si256() : d->h[h];
            r.h[h] = _mm256_blendv_epi8(others, r.h[h], selected.h[h]);
        }
    }
    if (i->vl == 16) {
        r.x[1] = _mm_setzero_si128();
        r.h[1] = _mm256_setzero_si256();
    } else if (i->vl == 32) {
        r.h[1] = _mm256_setzero_si256();
    }
    *d = r;
}

/* Writes the first `bytes` of a value to the instruction's operand in memory, under its mask. */
void vector_store(const insn *i, machine *m, const v64 *value, unsigned element, unsigned bytes) {
    char *p = (char *)(uintptr_t)address_of(i, m);
    if (i->mask == 0) {
        if (bytes == 64) {
            _mm256_storeu_si256((__m256i *)(void *)p, value->h[0]);
            _mm256_storeu_si256((__m256i *)(void *)(p + 32), value->h[1]);
        } else {
            memcpy(p, value, bytes);
        }
        return;
    }
    copy_selected(p, (const char *)value, mask_of(i, m, bytes / element), element, bytes / element);
}
