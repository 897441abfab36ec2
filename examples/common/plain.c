#include "plain.h"

#include <string.h>

#include "gguf.h"

enum { Q8_0_BLOCK = 32, Q8_0_BYTES = 34 };

bool plain_has_type(uint32_t type) {
    return type == GGUF_F32 || type == GGUF_F16 || type == GGUF_BF16 || type == GGUF_Q8_0;
}

static uint16_t load_u16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static float float_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_from_float(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float bf16_to_float(uint16_t h) { return float_from_bits((uint32_t)h << 16); }

/* Shifts exponent and mantissa into place and corrects the exponent's bias by a product, which also puts subnormals
 * right; infinities and NaN get their all-ones exponent back. No branch, so loops over it vectorize. */
static float f16_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t shifted = (uint32_t)(h & 0x7fff) << 13;
    uint32_t special = shifted >= 0x0f800000u ? 0x7f800000u : 0;
    return float_from_bits(bits_from_float(float_from_bits(shifted) * 0x1p112f) | special | sign);
}

static void q8_0_to_float(const uint8_t *block, int64_t k, float *out) {
    for (; k > 0; k -= Q8_0_BLOCK, block += Q8_0_BYTES, out += Q8_0_BLOCK) {
        float scale = f16_to_float(load_u16(block));
        const int8_t *codes = (const int8_t *)(block + 2);
        for (int i = 0; i < Q8_0_BLOCK; i++) out[i] = scale * (float)codes[i];
    }
}

void plain_to_float(uint32_t type, const void *row, int64_t k, float *out) {
    const uint8_t *p = row;
    switch (type) {
    case GGUF_F32:
        memcpy(out, p, (size_t)k * sizeof *out);
        break;
    case GGUF_F16:
        for (int64_t i = 0; i < k; i++) out[i] = f16_to_float(load_u16(p + 2 * i));
        break;
    case GGUF_BF16:
        for (int64_t i = 0; i < k; i++) out[i] = bf16_to_float(load_u16(p + 2 * i));
        break;
    case GGUF_Q8_0:
        q8_0_to_float(p, k, out);
        break;
    default:
        break;
    }
}

/* C fixes the order of a sum, so a plain loop cannot be vectorized. Separate sums per lane can. */
enum { LANES = 16 };

double plain_dot_double(const float *w, const float *x, int64_t k) {
    double sums[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= k; i += LANES)
        for (int l = 0; l < LANES; l++) sums[l] += (double)w[i + l] * (double)x[i + l];
    for (; i < k; i++) sum += (double)w[i] * (double)x[i];
    for (int l = 0; l < LANES; l++) sum += sums[l];
    return sum;
}

float plain_dot_float(const float *w, const float *x, int64_t k) {
    float sums[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= k; i += LANES)
        for (int l = 0; l < LANES; l++) sums[l] += w[i + l] * x[i + l];
    for (; i < k; i++) sum += w[i] * x[i];
    for (int l = 0; l < LANES; l++) sum += sums[l];
    return sum;
}

void plain_product(const plain_matrix *w, int64_t row_begin, int64_t row_end, const float *x, int64_t m, float *y,
                   float *scratch) {
    for (int64_t j = row_begin; j < row_end; j++) {
        plain_to_float(w->type, w->data + (uint64_t)j * w->row_bytes, w->k, scratch);
        for (int64_t i = 0; i < m; i++) y[i * w->n + j] = plain_dot_float(scratch, x + i * w->k, w->k);
    }
}

static int64_t zeros_in_row(uint32_t type, const uint8_t *row, int64_t k) {
    int64_t zeros = 0;
    if (type == GGUF_Q8_0) {
        for (; k > 0; k -= Q8_0_BLOCK, row += Q8_0_BYTES)
            for (int i = 0; i < Q8_0_BLOCK; i++) zeros += row[2 + i] == 0;
    } else if (type == GGUF_F32) {
        for (int64_t i = 0; i < 4 * k; i += 4) zeros += load_u16(row + i) == 0 && load_u16(row + i + 2) == 0;
    } else {
        for (int64_t i = 0; i < 2 * k; i += 2) zeros += load_u16(row + i) == 0;
    }
    return zeros;
}

int64_t plain_zeros(const plain_matrix *w, int64_t row_begin, int64_t row_end) {
    int64_t zeros = 0;
    for (int64_t j = row_begin; j < row_end; j++)
        zeros += zeros_in_row(w->type, w->data + (uint64_t)j * w->row_bytes, w->k);
    return zeros;
}
