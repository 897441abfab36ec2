/* The types in blocks of 256 weights: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS. Scales are small integers times one F16. */
#include "gguf.h"
#include "half.h"
#include "quants.h"

enum { BLOCK = 256 };

/* -- codes --------------------------------------------------------------------------------------------------------- */

/* Two bits each: the four pairs of byte i of 32 are weights i, 32 + i, 64 + i and 96 + i of a half block. */
static void get_pairs(const uint8_t *p, uint8_t *codes) {
    for (int i = 0; i < BLOCK; i++) codes[i] = p[i / 128 * 32 + i % 32] >> 2 * (i / 32 % 4) & 3;
}

static void put_pairs(uint8_t *p, const uint8_t *codes) {
    memset(p, 0, BLOCK / 4);
    for (int i = 0; i < BLOCK; i++) p[i / 128 * 32 + i % 32] |= (uint8_t)((codes[i] & 3) << 2 * (i / 32 % 4));
}

/* Four bits each: byte i of 32 is weights i and 32 + i of a quarter. */
static void get_quads(const uint8_t *p, uint8_t *codes) {
    for (int i = 0; i < BLOCK; i++) codes[i] = p[i / 64 * 32 + i % 32] >> 4 * (i / 32 % 2) & 15;
}

static void put_quads(uint8_t *p, const uint8_t *codes) {
    memset(p, 0, BLOCK / 2);
    for (int i = 0; i < BLOCK; i++) p[i / 64 * 32 + i % 32] |= (uint8_t)((codes[i] & 15) << 4 * (i / 32 % 2));
}

/* One bit each: bit j of byte i of 32 is that of weight 32 * j + i. It becomes the given bit of the code. */
static void get_bits(const uint8_t *p, uint8_t *codes, int bit) {
    for (int i = 0; i < BLOCK; i++) codes[i] |= (uint8_t)((p[i % 32] >> i / 32 & 1) << bit);
}

static void put_bits(uint8_t *p, const uint8_t *codes, int bit) {
    memset(p, 0, BLOCK / 8);
    for (int i = 0; i < BLOCK; i++) p[i % 32] |= (uint8_t)((codes[i] >> bit & 1) << i / 32);
}

static void get_q2_k(const uint8_t *b, uint8_t *codes) { get_pairs(b + 16, codes); }
static void put_q2_k(uint8_t *b, const uint8_t *codes) { put_pairs(b + 16, codes); }
static void get_q4_k(const uint8_t *b, uint8_t *codes) { get_quads(b + 16, codes); }
static void put_q4_k(uint8_t *b, const uint8_t *codes) { put_quads(b + 16, codes); }

static void get_q3_k(const uint8_t *b, uint8_t *codes) {
    get_pairs(b + 32, codes);
    get_bits(b, codes, 2);
}

static void put_q3_k(uint8_t *b, const uint8_t *codes) {
    put_pairs(b + 32, codes);
    put_bits(b, codes, 2);
}

static void get_q5_k(const uint8_t *b, uint8_t *codes) {
    get_quads(b + 48, codes);
    get_bits(b + 16, codes, 4);
}

static void put_q5_k(uint8_t *b, const uint8_t *codes) {
    put_quads(b + 48, codes);
    put_bits(b + 16, codes, 4);
}

/* Low nibbles: byte i of 64 is weights i and 64 + i of a half block. The upper two bits lie as in Q2_K. */
static void get_q6_k(const uint8_t *b, uint8_t *codes) {
    get_pairs(b + 128, codes);
    for (int i = 0; i < BLOCK; i++) {
        uint8_t low = b[i / 128 * 64 + i % 64] >> 4 * (i / 64 % 2) & 15;
        codes[i] = (uint8_t)(codes[i] << 4 | low);
    }
}

static void put_q6_k(uint8_t *b, const uint8_t *codes) {
    uint8_t high[BLOCK];
    memset(b, 0, 128);
    for (int i = 0; i < BLOCK; i++) {
        high[i] = codes[i] >> 4;
        b[i / 128 * 64 + i % 64] |= (uint8_t)((codes[i] & 15) << 4 * (i / 64 % 2));
    }
    put_pairs(b + 128, high);
}

/* Low nibbles of each 16 bytes are the first half of 32 weights, high ones the second, as in Q4_0. */
static void get_iq4_xs(const uint8_t *b, uint8_t *codes) {
    for (int i = 0; i < BLOCK; i++) codes[i] = b[8 + i / 32 * 16 + i % 16] >> 4 * (i / 16 % 2) & 15;
}

static void put_iq4_xs(uint8_t *b, const uint8_t *codes) {
    memset(b + 8, 0, BLOCK / 2);
    for (int i = 0; i < BLOCK; i++) b[8 + i / 32 * 16 + i % 16] |= (uint8_t)((codes[i] & 15) << 4 * (i / 16 % 2));
}

/* -- scales -------------------------------------------------------------------------------------------------------- */

static void scales_q2_k(const uint8_t *b, float *scales, float *minimums) {
    float d = f16_to_float(load_u16(b + 80)), dmin = f16_to_float(load_u16(b + 82));
    for (int g = 0; g < 16; g++) {
        scales[g] = d * (float)(b[g] & 15);
        minimums[g] = dmin * (float)(b[g] >> 4);
    }
}

/* Six bits each: sixteen low nibbles in the first eight bytes, then four pairs in each of the other four. */
static void scales_q3_k(const uint8_t *b, float *scales, float *minimums) {
    float d = f16_to_float(load_u16(b + 108));
    const uint8_t *p = b + 96;
    (void)minimums;
    for (int g = 0; g < 16; g++) {
        int low = p[g % 8] >> 4 * (g / 8) & 15, high = p[8 + g % 4] >> 2 * (g / 4) & 3;
        scales[g] = d * (float)((low | high << 4) - 32);
    }
}

/* Q4_K and Q5_K. Six bits each: of groups 0...3 whole, of 4...7 the low nibbles in the last four bytes and the rest in
 * the upper two bits of the first eight. */
static void scales_q4_k(const uint8_t *b, float *scales, float *minimums) {
    float d = f16_to_float(load_u16(b)), dmin = f16_to_float(load_u16(b + 2));
    const uint8_t *p = b + 4;
    for (int g = 0; g < 8; g++) {
        int scale = g < 4 ? p[g] & 63 : (p[g + 4] & 15) | p[g - 4] >> 6 << 4;
        int minimum = g < 4 ? p[g + 4] & 63 : p[g + 4] >> 4 | p[g] >> 6 << 4;
        scales[g] = d * (float)scale;
        minimums[g] = dmin * (float)minimum;
    }
}

static void scales_q6_k(const uint8_t *b, float *scales, float *minimums) {
    float d = f16_to_float(load_u16(b + 208));
    (void)minimums;
    for (int g = 0; g < 16; g++) scales[g] = d * (float)(int8_t)b[192 + g];
}

static void scales_iq4_xs(const uint8_t *b, float *scales, float *minimums) {
    float d = f16_to_float(load_u16(b));
    (void)minimums;
    for (int g = 0; g < 8; g++) {
        int low = b[4 + g / 2] >> 4 * (g % 2) & 15, high = load_u16(b + 2) >> 2 * g & 3;
        scales[g] = d * (float)((low | high << 4) - 32);
    }
}

/* -- random scales: of the same size as in quants_plain.c ---------------------------------------------------------- */

static float random_unit(uint64_t *state, float most_value) {
    return (float)quant_random_between(state, 700, 1300) * 6e-5f / most_value;
}

static void random_q2_k(uint8_t *b, uint64_t *state) {
    float d = random_unit(state, 3 * 15);
    store_u16(b + 80, float_to_f16(d));
    store_u16(b + 82, float_to_f16(2 * d));
    for (int g = 0; g < 16; g++) {
        int scale = quant_random_between(state, 7, 15), zero = quant_random_between(state, 1, 2);
        b[g] = (uint8_t)(scale | (scale * zero + 1) / 2 << 4);
    }
}

static void random_q3_k(uint8_t *b, uint64_t *state) {
    store_u16(b + 108, float_to_f16(random_unit(state, 4 * 32)));
    memset(b + 96, 0, 12);
    for (int g = 0; g < 16; g++) {
        int size = quant_random_between(state, 16, 31), scale = quant_random(state) & 1 ? 32 + size : 32 - size;
        b[96 + g % 8] |= (uint8_t)((scale & 15) << 4 * (g / 8));
        b[104 + g % 4] |= (uint8_t)(scale >> 4 << 2 * (g / 4));
    }
}

/* middle: of the codes. The factor of the minimums is so large that six bits hold each of them. */
static void random_minimums(uint8_t *b, uint64_t *state, int middle) {
    float d = random_unit(state, (float)middle * 63);
    uint8_t *p = b + 4;
    store_u16(b, float_to_f16(d));
    store_u16(b + 2, float_to_f16((float)(middle + 2) * d));
    memset(p, 0, 12);
    for (int g = 0; g < 8; g++) {
        int scale = quant_random_between(state, 24, 63), zero = quant_random_between(state, middle - 2, middle + 1);
        int minimum = (scale * zero + middle / 2) / (middle + 2);
        if (g < 4) {
            p[g] |= (uint8_t)scale;
            p[g + 4] |= (uint8_t)minimum;
        } else {
            p[g + 4] = (uint8_t)((scale & 15) | (minimum & 15) << 4);
            p[g - 4] |= (uint8_t)(scale >> 4 << 6);
            p[g] |= (uint8_t)(minimum >> 4 << 6);
        }
    }
}

static void random_q4_k(uint8_t *b, uint64_t *state) { random_minimums(b, state, 8); }
static void random_q5_k(uint8_t *b, uint64_t *state) { random_minimums(b, state, 16); }

static void random_q6_k(uint8_t *b, uint64_t *state) {
    store_u16(b + 208, float_to_f16(random_unit(state, 32 * 127)));
    for (int g = 0; g < 16; g++) {
        int size = quant_random_between(state, 48, 127);
        b[192 + g] = (uint8_t)(int8_t)(quant_random(state) & 1 ? size : -size);
    }
}

static void random_iq4_xs(uint8_t *b, uint64_t *state) {
    uint16_t high = 0;
    store_u16(b, float_to_f16(random_unit(state, 127 * 32)));
    memset(b + 4, 0, 4);
    for (int g = 0; g < 8; g++) {
        int size = quant_random_between(state, 16, 31), scale = quant_random(state) & 1 ? 32 + size : 32 - size;
        b[4 + g / 2] |= (uint8_t)((scale & 15) << 4 * (g % 2));
        high |= (uint16_t)(scale >> 4 << 2 * g);
    }
    store_u16(b + 2, high);
}

const quant_type quant_types_k[] = {
    {GGUF_Q2_K, 256, 84, 16, 4, 2, QUANT_OWN, 0, NULL, get_q2_k, put_q2_k, scales_q2_k, random_q2_k, "q2_k"},
    {GGUF_Q3_K, 256, 110, 16, 8, 3, 4, 4, NULL, get_q3_k, put_q3_k, scales_q3_k, random_q3_k, "q3_k"},
    {GGUF_Q4_K, 256, 144, 32, 16, 4, QUANT_OWN, 0, NULL, get_q4_k, put_q4_k, scales_q4_k, random_q4_k, "q4_k"},
    {GGUF_Q5_K, 256, 176, 32, 32, 5, QUANT_OWN, 0, NULL, get_q5_k, put_q5_k, scales_q4_k, random_q5_k, "q5_k"},
    {GGUF_Q6_K, 256, 210, 16, 64, 6, 32, 32, NULL, get_q6_k, put_q6_k, scales_q6_k, random_q6_k, "q6_k"},
    {GGUF_IQ4_XS, 256, 136, 32, 16, 4, 8, 0, quant_values_iq4, get_iq4_xs, put_iq4_xs, scales_iq4_xs, random_iq4_xs,
     "iq4_xs"},
};
const int quant_types_k_count = sizeof quant_types_k / sizeof *quant_types_k;
