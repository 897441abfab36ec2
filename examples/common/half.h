/* half.h - the 16-bit floating-point formats of GGUF, and bits of a float. Portable, no branches in the loops' way. */
#ifndef EXAMPLES_HALF_H
#define EXAMPLES_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t load_u16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store_u16(uint8_t *p, uint16_t v) { memcpy(p, &v, sizeof v); }

static inline float float_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t bits_from_float(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float bf16_to_float(uint16_t h) { return float_from_bits((uint32_t)h << 16); }

/* Rounds to nearest, ties to even; for finite values. */
static inline uint16_t float_to_bf16(float value) {
    uint32_t bits = bits_from_float(value);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/* Shifts exponent and mantissa into place and corrects the exponent's bias by a product, which also puts subnormals
 * right; infinities and NaN get their all-ones exponent back. No branch, so loops over it vectorize. */
static inline float f16_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t shifted = (uint32_t)(h & 0x7fff) << 13;
    uint32_t special = shifted >= 0x0f800000u ? 0x7f800000u : 0;
    return float_from_bits(bits_from_float(float_from_bits(shifted) * 0x1p112f) | special | sign);
}

/* Rounds to nearest, ties to even; for values within the range of F16. */
static inline uint16_t float_to_f16(float value) {
    uint32_t sign = (bits_from_float(value) >> 16) & 0x8000, size = bits_from_float(value) & 0x7fffffff;
    if (size < 0x38800000) return (uint16_t)(sign | (uint32_t)lrintf(fabsf(value) * 0x1p24f)); /* subnormal */
    return (uint16_t)(sign | ((size + 0xfff + ((size >> 13) & 1) - 0x38000000) >> 13));
}

#endif
