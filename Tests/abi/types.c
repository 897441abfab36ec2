#include "types.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sizes and places as in ggml's ggml-common.h. */
const gguf_type gguf_types[GGUF_TYPES] = {
    {1, "f16", 1, 2, {-1, -1}, -1},       {30, "bf16", 1, 2, {-1, -1}, -1},   {2, "q4_0", 32, 18, {0, -1}, -1},
    {3, "q4_1", 32, 20, {0, 2}, -1},      {6, "q5_0", 32, 22, {0, -1}, -1},   {7, "q5_1", 32, 24, {0, 2}, -1},
    {8, "q8_0", 32, 34, {0, -1}, -1},     {10, "q2_k", 256, 84, {80, 82}, -1}, {11, "q3_k", 256, 110, {108, -1}, -1},
    {12, "q4_k", 256, 144, {0, 2}, -1},   {13, "q5_k", 256, 176, {0, 2}, -1}, {14, "q6_k", 256, 210, {208, -1}, -1},
    {20, "iq4_nl", 32, 18, {0, -1}, -1},  {23, "iq4_xs", 256, 136, {0, -1}, -1}, {39, "mxfp4", 32, 17, {-1, -1}, 0},
    {0, "f32", 1, 4, {-1, -1}, -1},
};

const gguf_type *gguf_find(int32_t number) {
    for (int i = 0; i < GGUF_TYPES; i++) {
        if (gguf_types[i].name != NULL && gguf_types[i].number == number) return &gguf_types[i];
    }
    return NULL;
}

int gguf_reported(const gguf_type *out[GGUF_TYPES]) {
    int count = 0;
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info row = {.size = sizeof row};
        if (sparamx_kernel_get(i, &row) != SPARAMX_OK) continue;
        const gguf_type *type = gguf_find(row.type);
        if (type == NULL) {
            printf(
                "not ok: kernel %s is of type %d, which is not in Tests/abi/types.c\n0 passed, 1 failed, 0 skipped\n",
                row.name, row.type);
            exit(1);
        }
        bool known = false;
        for (int j = 0; j < count; j++) known = known || out[j] == type;
        if (!known) out[count++] = type;
    }
    return count;
}

bool gguf_serves(const gguf_type *type, int32_t form) {
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info row = {.size = sizeof row};
        if (sparamx_kernel_get(i, &row) == SPARAMX_OK && row.type == type->number && row.form == form) return true;
    }
    return false;
}

size_t gguf_row_bytes(const gguf_type *type, int64_t k) { return (size_t)(k / type->block) * (size_t)type->bytes; }

static bool decoded_by_support(int32_t number) {
    return number == SPARAMX_TYPE_BF16 || number == SPARAMX_TYPE_F16 || number == SPARAMX_TYPE_Q8_0;
}

void gguf_fill(const gguf_type *type, int64_t n, int64_t k, double sparsity, uint64_t seed, void *out) {
    if (decoded_by_support(type->number)) {
        fill_weights(type->number, n, k, sparsity, seed, out);
        return;
    }
    uint64_t state = seed * 131 + 7, threshold = (uint64_t)(sparsity * 4294967296.0);
    uint8_t *block = out;
    for (int64_t i = 0; i < n * (k / type->block); i++, block += type->bytes) {
        for (int32_t b = 0; b < type->bytes; b++) {
            uint64_t r = random_next(&state);
            block[b] = (r >> 32) < threshold ? 0 : (uint8_t)r;
        }
        for (int j = 0; j < 2; j++) { /* about 2^-11, either sign */
            if (type->halves[j] < 0) continue;
            uint16_t half = (uint16_t)(0x1000 | (random_next(&state) & 0x83ff));
            memcpy(block + type->halves[j], &half, 2);
        }
        if (type->exponent >= 0) block[type->exponent] = (uint8_t)(118 + random_next(&state) % 4);
        if (type->number == 0) { /* finite float32 */
            float value = (float)(int32_t)random_next(&state) / 2147483648.0f;
            memcpy(block, &value, 4);
        }
    }
}

sparamx_tensor gguf_tensor(const gguf_type *type, int64_t k, int64_t n, void *data, sparamx_buffer *buffer) {
    size_t row = gguf_row_bytes(type, k), whole = row * (size_t)n;
    return (sparamx_tensor){.size = sizeof(sparamx_tensor), .type = type->number, .ne = {k, n, 1, 1},
                            .nb = {(uint64_t)type->bytes, row, whole, whole}, .data = data, .buffer = buffer,
                            .name = type->name};
}

const char *gguf_reference(int32_t type, int32_t form) {
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info row = {.size = sizeof row};
        if (sparamx_kernel_get(i, &row) == SPARAMX_OK && row.type == type && row.form == form &&
            row.isa == SPARAMX_ISA_REFERENCE)
            return row.name;
    }
    return NULL;
}

bool gguf_product_right(const gguf_type *type, int32_t form, int64_t n, int64_t k, const void *w, int64_t m,
                        const float *x, const float *y) {
    if (decoded_by_support(type->number)) return count_wrong(type->number, n, k, w, m, x, k, y, n) == 0;
    sparamx_linear_options o = {.size = sizeof o, .form = form, .kernel = gguf_reference(type->number, form)};
    sparamx_linear *linear = NULL;
    if (o.kernel == NULL || sparamx_linear_create(type->number, n, k, w, 0, &o, &linear) != SPARAMX_OK) return false;
    float *want = must_allocate((size_t)(m * n) * sizeof *want);
    bool right = multiply(linear, m, 1, x, k, want, n) == SPARAMX_OK;
    sparamx_linear_destroy(linear);
    /* Roundings to int8 and bf16 are relative to the terms, not to the sum: the norm of all results is the measure. */
    double norm = 0;
    for (int64_t i = 0; i < m * n; i++) norm += (double)want[i] * (double)want[i];
    double bound = 0.1 * sqrt(norm / (double)(m * n)) + 1e-6;
    for (int64_t i = 0; i < m * n && right; i++) right = fabs((double)want[i] - (double)y[i]) <= bound;
    free(want);
    return right;
}
