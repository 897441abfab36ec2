#include "types.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The types that are no blocks. The others are as the example programs have them, which take nothing from the
 * library. */
static gguf_type all[GGUF_TYPES] = {
    {SPARAMX_TYPE_F16, "f16", 1, 2, NULL},
    {SPARAMX_TYPE_BF16, "bf16", 1, 2, NULL},
    {SPARAMX_TYPE_F32, "f32", 1, 4, NULL},
};
static int all_count = 3;

static void learn(const quant_type *table, int count) {
    for (int i = 0; i < count && all_count < GGUF_TYPES; i++) {
        const quant_type *q = &table[i];
        all[all_count++] = (gguf_type){(int32_t)q->type, q->name, q->block, q->bytes, q};
    }
}

/* Before main, so that any number of threads may ask. */
__attribute__((constructor)) static void learn_all(void) {
    learn(quant_types_plain, quant_types_plain_count);
    learn(quant_types_k, quant_types_k_count);
}

const gguf_type *gguf_find(int32_t number) {
    for (int i = 0; i < all_count; i++) {
        if (all[i].number == number) return &all[i];
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
            printf("not ok: kernel %s is of type %d, which is not in examples/common/quants_*.c\n"
                   "0 passed, 1 failed, 0 skipped\n",
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

int64_t gguf_whole(const gguf_type *type, int64_t k) { return (k + type->block - 1) / type->block * type->block; }

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
        if (type->quant != NULL) type->quant->random_scales(block, &state);
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
