#include "pruned.h"

#include <math.h>
#include <string.h>

#include "gguf.h"
#include "half.h"
#include "quants.h"

static const float DEVIATION = 0.02f; /* of weights in real models, in order of magnitude */

bool pruned_has_type(uint32_t type) { return type == GGUF_BF16 || type == GGUF_F16 || quant_find(type) != NULL; }

/* Box and Muller. */
static float random_normal(uint64_t *state) {
    double radius = sqrt(-2 * log(((double)(quant_random(state) >> 11) + 1) * 0x1p-53));
    return (float)(radius * cos(6.283185307179586 * (double)(quant_random(state) >> 11) * 0x1p-53));
}

static void random_halves(uint32_t type, uint8_t *row, int64_t k, uint64_t *state) {
    for (int64_t i = 0; i < k; i++) {
        float value = random_normal(state) * DEVIATION;
        uint16_t code = type == GGUF_BF16 ? float_to_bf16(value) : float_to_f16(value);
        if ((code & 0x7fff) == 0) code = type == GGUF_BF16 ? 0x3c80 : 0x2400; /* 1/64 rather than zero */
        store_u16(row + 2 * i, code);
    }
}

/* Any code but that of zero. A quantizer makes the largest of 32 weights, at about 2.1 deviations, the last code. Of
 * four codes (Q2_K) the other three are about equally frequent: the most frequent one then has 44% without pruning,
 * as in a file that llama-quantize made of an unpruned model (45%). */
static uint8_t random_code(const quant_type *q, int zero, uint64_t *state) {
    if (q->n_codes == 2) return (uint8_t)(quant_random(state) & 1); /* none is zero */
    if (q->n_codes == 4 && q->background >= 0) /* ternary */
        return (uint8_t)(zero + (quant_random(state) & 1 ? 1 : -1));
    if (q->n_codes <= 4) return (uint8_t)((zero + quant_random_between(state, 1, q->n_codes - 1)) % q->n_codes);
    int code = zero + (int)lrintf(random_normal(state) * (float)q->n_codes / 4.2f);
    if (code == zero) code += quant_random(state) & 1 ? 1 : -1;
    if (code < 0) code = zero == 0 ? 1 : 0;
    if (code >= q->n_codes) code = q->n_codes - (zero == q->n_codes - 1 ? 2 : 1);
    return (uint8_t)code;
}

/* MXFP4 and its kin are sign and magnitude, so the neighbours of zero in size are not those in number. */
static uint8_t random_signed_code(uint64_t *state) {
    int size = (int)lrintf(fabsf(random_normal(state)) * 2.5f);
    size = size < 1 ? 1 : size > 7 ? 7 : size;
    return (uint8_t)(size | (quant_random(state) & 8));
}

static void random_block(const quant_type *q, uint8_t *block, uint64_t *state) {
    uint8_t zeros[QUANT_MAX_GROUPS], codes[QUANT_MAX_BLOCK];
    bool with_sign = q->values != NULL && q->values[0] == 0;
    q->random_scales(block, state);
    quant_zero_codes(q, block, zeros);
    for (int i = 0; i < q->block; i++)
        codes[i] = with_sign ? random_signed_code(state) : random_code(q, zeros[i / q->group], state);
    q->put_codes(block, codes);
}

void pruned_random(uint32_t type, uint8_t *row, int64_t k, uint64_t *state) {
    const quant_type *q = quant_find(type);
    if (q == NULL) {
        random_halves(type, row, k, state);
        return;
    }
    for (; k > 0; k -= q->block, row += q->bytes) random_block(q, row, state);
}

/* Knuth's selection sampling: marks exactly that many of k places. */
static void choose(uint8_t *marks, int64_t k, int64_t chosen, uint64_t *state) {
    memset(marks, 0, (size_t)k);
    for (int64_t i = 0; i < k && chosen > 0; i++) {
        if ((int64_t)((quant_random(state) >> 32) * (uint64_t)(k - i) >> 32) >= chosen) continue;
        marks[i] = 1;
        chosen--;
    }
}

static void prune_block(const quant_type *q, uint8_t *block, const uint8_t *marks) {
    uint8_t zeros[QUANT_MAX_GROUPS], codes[QUANT_MAX_BLOCK];
    quant_zero_codes(q, block, zeros);
    q->get_codes(block, codes);
    for (int i = 0; i < q->block; i++)
        if (marks[i]) codes[i] = zeros[i / q->group];
    q->put_codes(block, codes);
}

void pruned_set(uint32_t type, uint8_t *row, int64_t k, int64_t zeros, uint64_t *state, uint8_t *scratch) {
    const quant_type *q = quant_find(type);
    if (zeros <= 0 || (q != NULL && q->background == QUANT_NO_ZERO)) return;
    choose(scratch, k, zeros, state);
    if (q == NULL) {
        for (int64_t i = 0; i < k; i++)
            if (scratch[i]) store_u16(row + 2 * i, 0);
        return;
    }
    for (; k > 0; k -= q->block, row += q->bytes, scratch += q->block) prune_block(q, row, scratch);
}
