/* The types whose blocks have plain scales, in blocks of 32 to 128 weights: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL,
 * MXFP4, NVFP4, Q2_0, Q1_0. */
#include "gguf.h"
#include "half.h"
#include "quants.h"

enum { BLOCK = 32, HALF = 16 };

/* Four bits: the low nibbles are weights 0...15, the high ones 16...31. */
static void get_nibbles(const uint8_t *p, uint8_t *codes) {
    for (int i = 0; i < HALF; i++) {
        codes[i] = p[i] & 15;
        codes[i + HALF] = p[i] >> 4;
    }
}

static void put_nibbles(uint8_t *p, const uint8_t *codes) {
    for (int i = 0; i < HALF; i++) p[i] = (uint8_t)((codes[i] & 15) | (codes[i + HALF] & 15) << 4);
}

/* The fifth bits of Q5_0 and Q5_1: bit i of four bytes is that of weight i. */
static void get_fifth(const uint8_t *p, uint8_t *codes) {
    for (int i = 0; i < BLOCK; i++) codes[i] |= (uint8_t)((p[i / 8] >> i % 8 & 1) << 4);
}

static void put_fifth(uint8_t *p, const uint8_t *codes) {
    memset(p, 0, 4);
    for (int i = 0; i < BLOCK; i++) p[i / 8] |= (uint8_t)((codes[i] >> 4 & 1) << i % 8);
}

static void get_q4_0(const uint8_t *b, uint8_t *codes) { get_nibbles(b + 2, codes); }
static void put_q4_0(uint8_t *b, const uint8_t *codes) { put_nibbles(b + 2, codes); }
static void get_q4_1(const uint8_t *b, uint8_t *codes) { get_nibbles(b + 4, codes); }
static void put_q4_1(uint8_t *b, const uint8_t *codes) { put_nibbles(b + 4, codes); }
static void get_mxfp4(const uint8_t *b, uint8_t *codes) { get_nibbles(b + 1, codes); }
static void put_mxfp4(uint8_t *b, const uint8_t *codes) { put_nibbles(b + 1, codes); }

static void get_q5_0(const uint8_t *b, uint8_t *codes) {
    get_nibbles(b + 6, codes);
    get_fifth(b + 2, codes);
}

static void put_q5_0(uint8_t *b, const uint8_t *codes) {
    put_nibbles(b + 6, codes);
    put_fifth(b + 2, codes);
}

static void get_q5_1(const uint8_t *b, uint8_t *codes) {
    get_nibbles(b + 8, codes);
    get_fifth(b + 4, codes);
}

static void put_q5_1(uint8_t *b, const uint8_t *codes) {
    put_nibbles(b + 8, codes);
    put_fifth(b + 4, codes);
}

/* Signed bytes, here as 0...255 like the codes of all other types. */
static void get_q8_0(const uint8_t *b, uint8_t *codes) {
    for (int i = 0; i < BLOCK; i++) codes[i] = b[2 + i] ^ 0x80;
}

static void put_q8_0(uint8_t *b, const uint8_t *codes) {
    for (int i = 0; i < BLOCK; i++) b[2 + i] = codes[i] ^ 0x80;
}

static void scale_alone(const uint8_t *b, float *scales, float *minimums) {
    (void)minimums;
    scales[0] = f16_to_float(load_u16(b));
}

/* ggml adds what these two types store: the minimum is its negative. */
static void scale_and_sum(const uint8_t *b, float *scales, float *minimums) {
    scales[0] = f16_to_float(load_u16(b));
    minimums[0] = -f16_to_float(load_u16(b + 2));
}

/* Half of a power of two, because the table holds the doubled values of E2M1. */
static void scale_mxfp4(const uint8_t *b, float *scales, float *minimums) {
    (void)minimums;
    scales[0] = float_from_bits(b[0] < 2 ? 0x00200000u << b[0] : (uint32_t)(b[0] - 1) << 23);
}

/* Half of a number with 4 bits of exponent and 3 of fraction, for 16 weights each; what would be NaN is 0. */
static void scale_nvfp4(const uint8_t *b, float *scales, float *minimums) {
    (void)minimums;
    for (int i = 0; i < 4; i++) {
        int exponent = b[i] >> 3 & 15, fraction = b[i] & 7;
        float value = exponent == 0 ? ldexpf((float)fraction, -10) : ldexpf((float)(8 + fraction), exponent - 11);
        scales[i] = b[i] == 0x7f ? 0 : value;
    }
}

static void get_nvfp4(const uint8_t *b, uint8_t *codes) {
    for (int i = 0; i < 32; i++) {
        codes[i / 8 * 16 + i % 8] = b[4 + i] & 15;
        codes[i / 8 * 16 + 8 + i % 8] = b[4 + i] >> 4;
    }
}

static void put_nvfp4(uint8_t *b, const uint8_t *codes) {
    for (int i = 0; i < 32; i++) {
        b[4 + i] = (uint8_t)((codes[i / 8 * 16 + i % 8] & 15) | (codes[i / 8 * 16 + 8 + i % 8] & 15) << 4);
    }
}

/* Around 0.02 for the largest weight of a block, as in a model a few thousand wide. */
static float random_scale(uint64_t *state, float most_value) {
    return (float)quant_random_between(state, 500, 1500) * 6e-5f / most_value;
}

static void random_q4_0(uint8_t *b, uint64_t *state) {
    float scale = random_scale(state, 8); /* of either sign, as the quantizer writes it */
    store_u16(b, float_to_f16(quant_random(state) & 1 ? -scale : scale));
}

static void random_q5_0(uint8_t *b, uint64_t *state) {
    float scale = random_scale(state, 16);
    store_u16(b, float_to_f16(quant_random(state) & 1 ? -scale : scale));
}

static void random_q8_0(uint8_t *b, uint64_t *state) { store_u16(b, float_to_f16(random_scale(state, 127))); }

static void random_iq4_nl(uint8_t *b, uint64_t *state) {
    float scale = random_scale(state, 127);
    store_u16(b, float_to_f16(quant_random(state) & 1 ? -scale : scale));
}

static void random_q4_1(uint8_t *b, uint64_t *state) {
    float scale = random_scale(state, 8);
    store_u16(b, float_to_f16(scale));
    store_u16(b + 2, float_to_f16(-scale * (float)quant_random_between(state, 6, 9)));
}

static void random_q5_1(uint8_t *b, uint64_t *state) {
    float scale = random_scale(state, 16);
    store_u16(b, float_to_f16(scale));
    store_u16(b + 2, float_to_f16(-scale * (float)quant_random_between(state, 13, 18)));
}

static void random_mxfp4(uint8_t *b, uint64_t *state) { b[0] = (uint8_t)quant_random_between(state, 118, 120); }

static void get_q2_0(const uint8_t *b, uint8_t *codes) {
    for (int i = 0; i < 64; i++) codes[i] = b[2 + i / 4] >> i % 4 * 2 & 3;
}

static void put_q2_0(uint8_t *b, const uint8_t *codes) {
    memset(b + 2, 0, 16);
    for (int i = 0; i < 64; i++) b[2 + i / 4] |= (uint8_t)((codes[i] & 3) << i % 4 * 2);
}

static void get_q1_0(const uint8_t *b, uint8_t *codes) {
    for (int i = 0; i < 128; i++) codes[i] = b[2 + i / 8] >> i % 8 & 1;
}

static void put_q1_0(uint8_t *b, const uint8_t *codes) {
    memset(b + 2, 0, 16);
    for (int i = 0; i < 128; i++) b[2 + i / 8] |= (uint8_t)((codes[i] & 1) << i % 8);
}

/* Minus one and one. */
static const int8_t values_q1_0[2] = {-1, 1};

static void random_q1_0(uint8_t *b, uint64_t *state) { store_u16(b, float_to_f16(random_scale(state, 4))); }

static void random_q2_0(uint8_t *b, uint64_t *state) { store_u16(b, float_to_f16(random_scale(state, 4))); }

static void random_nvfp4(uint8_t *b, uint64_t *state) {
    for (int i = 0; i < 4; i++) b[i] = (uint8_t)quant_random_between(state, 1, 3);
}

static const int8_t values_mxfp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

const quant_type quant_types_plain[] = {
    {GGUF_Q4_0, 32, 18, 32, 16, 4, 8, 8, NULL, get_q4_0, put_q4_0, scale_alone, random_q4_0, "q4_0"},
    {GGUF_Q4_1, 32, 20, 32, 16, 4, QUANT_OWN, 0, NULL, get_q4_1, put_q4_1, scale_and_sum, random_q4_1, "q4_1"},
    {GGUF_Q5_0, 32, 22, 32, 32, 5, 16, 16, NULL, get_q5_0, put_q5_0, scale_alone, random_q5_0, "q5_0"},
    {GGUF_Q5_1, 32, 24, 32, 32, 5, QUANT_OWN, 0, NULL, get_q5_1, put_q5_1, scale_and_sum, random_q5_1, "q5_1"},
    {GGUF_Q8_0, 32, 34, 32, 256, 8, 128, 128, NULL, get_q8_0, put_q8_0, scale_alone, random_q8_0, "q8_0"},
    {GGUF_IQ4_NL, 32, 18, 32, 16, 4, 8, 0, quant_values_iq4, get_q4_0, put_q4_0, scale_alone, random_iq4_nl, "iq4_nl"},
    {GGUF_MXFP4, 32, 17, 32, 16, 4, 0, 0, values_mxfp4, get_mxfp4, put_mxfp4, scale_mxfp4, random_mxfp4, "mxfp4"},
    {GGUF_NVFP4, 64, 36, 16, 16, 4, 0, 0, values_mxfp4, get_nvfp4, put_nvfp4, scale_nvfp4, random_nvfp4, "nvfp4"},
    {GGUF_Q2_0, 64, 18, 64, 4, 2, 1, 1, NULL, get_q2_0, put_q2_0, scale_alone, random_q2_0, "q2_0"},
    {GGUF_Q1_0, 128, 18, 128, 2, 1, QUANT_NO_ZERO, 0, values_q1_0, get_q1_0, put_q1_0, scale_alone, random_q1_0,
     "q1_0"},
};
const int quant_types_plain_count = sizeof quant_types_plain / sizeof *quant_types_plain;
