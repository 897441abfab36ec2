#include "quants.h"

#include <math.h>
#include <stddef.h>

const int8_t quant_values_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static const quant_type *find_in(const quant_type *table, int count, uint32_t type) {
    for (int i = 0; i < count; i++)
        if (table[i].type == type) return &table[i];
    return NULL;
}

const quant_type *quant_find(uint32_t type) {
    const quant_type *q = find_in(quant_types_plain, quant_types_plain_count, type);
    return q != NULL ? q : find_in(quant_types_k, quant_types_k_count, type);
}

static void group_to_float(const quant_type *q, const uint8_t *codes, float scale, float minimum, float *out) {
    if (q->values != NULL) {
        for (int i = 0; i < q->group; i++) out[i] = scale * (float)q->values[codes[i]] - minimum;
    } else {
        for (int i = 0; i < q->group; i++) out[i] = scale * (float)((int)codes[i] - q->offset) - minimum;
    }
}

/* A minimum of +0 changes nothing, -0 included: so the types without one need no other loop. */
void quant_to_float(const quant_type *q, const uint8_t *row, int64_t k, float *out) {
    uint8_t codes[QUANT_MAX_BLOCK];
    for (; k > 0; k -= q->block, row += q->bytes, out += q->block) {
        float scales[QUANT_MAX_GROUPS], minimums[QUANT_MAX_GROUPS] = {0};
        q->get_codes(row, codes);
        q->get_scales(row, scales, minimums);
        for (int g = 0; g < q->block / q->group; g++)
            group_to_float(q, codes + g * q->group, scales[g], minimums[g], out + g * q->group);
    }
}

static int count_in_group(const quant_type *q, const uint8_t *codes) {
    int counts[32] = {0}, most = 0; /* types with a minimum have at most 5 bits */
    if (q->background == QUANT_NO_ZERO) return 0;
    if (q->background >= 0) {
        for (int i = 0; i < q->group; i++) most += codes[i] == q->background;
        return most;
    }
    for (int i = 0; i < q->group; i++) {
        int count = ++counts[codes[i] & 31];
        most = count > most ? count : most;
    }
    return most;
}

int64_t quant_count_background(const quant_type *q, const uint8_t *row, int64_t k) {
    uint8_t codes[QUANT_MAX_BLOCK];
    int64_t count = 0;
    for (; k > 0; k -= q->block, row += q->bytes) {
        q->get_codes(row, codes);
        for (int i = 0; i < q->block; i += q->group) count += count_in_group(q, codes + i);
    }
    return count;
}

void quant_zero_codes(const quant_type *q, const uint8_t *block, uint8_t *codes) {
    float scales[QUANT_MAX_GROUPS], minimums[QUANT_MAX_GROUPS] = {0};
    q->get_scales(block, scales, minimums);
    for (int g = 0; g < q->block / q->group; g++) {
        int best = q->background >= 0 ? q->background : 0;
        for (int code = 0; q->background < 0 && code < q->n_codes; code++) {
            float size = fabsf(scales[g] * (float)quant_value(q, (uint8_t)code) - minimums[g]);
            float least = fabsf(scales[g] * (float)quant_value(q, (uint8_t)best) - minimums[g]);
            if (size < least) best = code;
        }
        codes[g] = (uint8_t)best;
    }
}

uint64_t quant_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int quant_random_between(uint64_t *state, int low, int high) {
    return low + (int)((quant_random(state) >> 32) * (uint64_t)(high - low + 1) >> 32);
}
