#include "plain.h"

#include <math.h>
#include <string.h>

#include "gguf.h"
#include "half.h"
#include "quants.h"

bool plain_has_type(uint32_t type) {
    return type == GGUF_F32 || type == GGUF_F16 || type == GGUF_BF16 || quant_find(type) != NULL;
}

void plain_to_float(uint32_t type, const void *row, int64_t k, float *out) {
    const uint8_t *p = row;
    const quant_type *q = quant_find(type);
    if (q != NULL) {
        quant_to_float(q, p, k, out);
        return;
    }
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
    const quant_type *q = quant_find(type);
    int64_t zeros = 0;
    if (q != NULL) return quant_count_background(q, row, k);
    if (type == GGUF_F32) {
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

int64_t plain_negative_zeros(const plain_matrix *w, int64_t row_begin, int64_t row_end) {
    int64_t step = w->type == GGUF_F32 ? 4 : 2, found = 0;
    if (w->type != GGUF_F32 && w->type != GGUF_F16 && w->type != GGUF_BF16) return 0;
    for (int64_t j = row_begin; j < row_end; j++) {
        const uint8_t *row = w->data + (uint64_t)j * w->row_bytes;
        for (int64_t i = 0; i < step * w->k; i += step)
            found += load_u16(row + i + step - 2) == 0x8000 && (step == 2 || load_u16(row + i) == 0);
    }
    return found;
}

bool plain_has_nonfinite(const plain_matrix *w, int64_t row_begin, int64_t row_end, float *scratch) {
    for (int64_t j = row_begin; j < row_end; j++) {
        plain_to_float(w->type, w->data + (uint64_t)j * w->row_bytes, w->k, scratch);
        for (int64_t i = 0; i < w->k; i++)
            if (!isfinite(scratch[i])) return true;
    }
    return false;
}
