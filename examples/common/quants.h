/*
 * quants.h - the quantized types of GGUF, each as codes, scales and minimums.
 *
 * In every type here a weight is  scale * value(code) - minimum,  with one scale and one minimum per group of weights.
 * Only where the bits of codes and scales lie differs from type to type: quants_plain.c and quants_k.c know that, from
 * the block structs of ggml-common.h. Tests/examples/check_quants.py compares them with the PyPI package gguf. The C
 * tests of Tests/ and the fuzzing read them too, so nothing here may be taken from the library.
 */
#ifndef EXAMPLES_QUANTS_H
#define EXAMPLES_QUANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QUANT_MAX_BLOCK = 256, QUANT_MAX_GROUPS = 16, QUANT_OWN = -1, QUANT_NO_ZERO = -2 };

typedef struct quant_type {
    uint32_t type;      /* number in GGUF */
    uint16_t block;     /* weights per block */
    uint16_t bytes;     /* bytes per block */
    uint16_t group;     /* weights that share a scale */
    uint16_t n_codes;   /* codes are 0...n_codes-1 */
    uint16_t bits;      /* of a code in the file */
    int16_t background; /* the code of a pruned weight; QUANT_OWN: one for each group; QUANT_NO_ZERO: there is none */
    int16_t offset;     /* value(code) is code - offset ... */
    const int8_t *values; /* ... or, if not NULL, values[code] */
    void (*get_codes)(const uint8_t *block, uint8_t *codes);
    void (*put_codes)(uint8_t *block, const uint8_t *codes);
    void (*get_scales)(const uint8_t *block, float *scales, float *minimums);
    /* Random scales of the size of a real model's, minimums such that some code is close to zero. state: SplitMix64. */
    void (*random_scales)(uint8_t *block, uint64_t *state);
    const char *name; /* in small letters */
} quant_type;

/* NULL if the type is none of the quantized types known here. */
const quant_type *quant_find(uint32_t type);

/* The value of a code before scale and minimum. */
static inline int quant_value(const quant_type *q, uint8_t code) {
    return q->values != NULL ? q->values[code] : code - q->offset;
}

/* Converts the first k weights of a row to float, in the order of operations that ggml uses. k is whole blocks. */
void quant_to_float(const quant_type *q, const uint8_t *row, int64_t k, float *out);

/* Weights of the row at their background code: the type's own, or in each group the most frequent one; 0 if there is
 * no code for zero. */
int64_t quant_count_background(const quant_type *q, const uint8_t *row, int64_t k);

/* The codes in a block that stand for a pruned weight: one per group, the code whose weight is closest to zero. */
void quant_zero_codes(const quant_type *q, const uint8_t *block, uint8_t *codes);

/* The next number of the SplitMix64 generator, and a whole number from low to high. */
uint64_t quant_random(uint64_t *state);
int quant_random_between(uint64_t *state, int low, int high);

/* The tables of quants_plain.c and quants_k.c. */
extern const quant_type quant_types_plain[];
extern const int quant_types_plain_count;
extern const quant_type quant_types_k[];
extern const int quant_types_k_count;

/* Values of the 16 codes of IQ4_NL and IQ4_XS. */
extern const int8_t quant_values_iq4[16];

#endif
