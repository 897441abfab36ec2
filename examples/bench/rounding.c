#include "rounding.h"
#include "common/gguf.h"
#include "common/half.h"
#include "common/quants.h"

enum { SMALL_BLOCK = 32, LARGE_BLOCK = 256 };

/* quantize_row_q8_0. */
static void round_small_block(const float *in, float *out) {
    float most = 0;
    for (int i = 0; i < SMALL_BLOCK; i++) most = fmaxf(most, fabsf(in[i]));
    float scale = most / 127, inverse = scale != 0 ? 1 / scale : 0, stored = f16_to_float(float_to_f16(scale));
    for (int i = 0; i < SMALL_BLOCK; i++) out[i] = stored * roundf(in[i] * inverse);
}

/* quantize_row_q8_K: the scale is such that the largest activation becomes -127. */
static void round_large_block(const float *in, float *out) {
    float most = 0;
    for (int i = 0; i < LARGE_BLOCK; i++)
        if (fabsf(in[i]) > fabsf(most)) most = in[i];
    if (most == 0) {
        for (int i = 0; i < LARGE_BLOCK; i++) out[i] = 0;
        return;
    }
    float inverse = -127 / most, scale = 1 / inverse;
    for (int i = 0; i < LARGE_BLOCK; i++) out[i] = scale * fminf(127, rintf(inverse * in[i]));
}

void round_as_ggml(uint32_t weight_type, const float *in, int64_t k, float *out) {
    const quant_type *q = quant_find(weight_type);
    if (q == NULL) {
        for (int64_t i = 0; i < k; i++)
            out[i] = weight_type == GGUF_BF16 ? bf16_to_float(float_to_bf16(in[i])) : f16_to_float(float_to_f16(in[i]));
    } else if (q->block == LARGE_BLOCK) {
        for (int64_t i = 0; i < k; i += LARGE_BLOCK) round_large_block(in + i, out + i);
    } else {
        for (int64_t i = 0; i < k; i += SMALL_BLOCK) round_small_block(in + i, out + i);
    }
}
