/* values.c - types, tensors and floats for the fuzz targets. */
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>

static weight_type types[MOST_WEIGHT_TYPES];
static int type_count;

static void learn(const quant_type *table, int count) {
    for (int i = 0; i < count; i++) {
        CLAIM(type_count < MOST_WEIGHT_TYPES, "more than %d types", MOST_WEIGHT_TYPES);
        types[type_count++] = (weight_type){(int32_t)table[i].type, table[i].block, table[i].bytes, &table[i]};
    }
}

int weight_type_count(void) {
    if (type_count == 0) {
        types[type_count++] = (weight_type){SPARAMX_TYPE_BF16, 1, 2, NULL};
        types[type_count++] = (weight_type){SPARAMX_TYPE_F16, 1, 2, NULL};
        learn(quant_types_plain, quant_types_plain_count);
        learn(quant_types_k, quant_types_k_count);
    }
    return type_count;
}

const weight_type *weight_type_at(int index) {
    return index >= 0 && index < weight_type_count() ? &types[index] : NULL;
}

int weight_type_index(int32_t number) {
    for (int i = 0; i < weight_type_count(); i++) {
        if (types[i].number == number) return i;
    }
    return -1;
}

const weight_type *weight_type_find(int32_t number) { return weight_type_at(weight_type_index(number)); }

int weight_type_of(uint8_t byte) {
    int index = weight_type_index(byte);
    return index >= 0 ? index : byte % weight_type_count();
}

int64_t whole_blocks(const weight_type *type, int64_t k) { return (k + type->block - 1) / type->block * type->block; }

int32_t form_made(const weight_type *type, int32_t form) {
    int count;
    const sparamx_kernel_info *rows = kernel_rows(&count);
    for (int i = 0; i < count; i++) {
        if (rows[i].type == type->number && rows[i].form == form) return form;
    }
    switch (form) {
    case SPARAMX_FORM_SPARSE:
    case SPARAMX_FORM_CODED: return SPARAMX_FORM_DENSE;
    case SPARAMX_FORM_CODED_SPARSE: return form_made(type, SPARAMX_FORM_SPARSE);
    case SPARAMX_FORM_AUTO_CODED: return SPARAMX_FORM_AUTO;
    default: return form;
    }
}

sparamx_tensor fuzz_tensor(const weight_type *type, int64_t k, int64_t n, int64_t matrices, void *data,
                           sparamx_buffer *buffer) {
    uint64_t row = (uint64_t)(k / type->block) * (uint64_t)type->bytes, matrix = row * (uint64_t)n;
    return (sparamx_tensor){.size = sizeof(sparamx_tensor),
                            .type = type->number,
                            .ne = {k, n, matrices, 1},
                            .nb = {(uint64_t)type->bytes, row, matrix, matrix * (uint64_t)matrices},
                            .data = data,
                            .buffer = buffer};
}

sparamx_tensor fuzz_floats(int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3, void *data) {
    uint64_t row = (uint64_t)ne0 * 4, plane = row * (uint64_t)ne1, block = plane * (uint64_t)ne2;
    return (sparamx_tensor){.size = sizeof(sparamx_tensor),
                            .type = SPARAMX_TYPE_F32,
                            .ne = {ne0, ne1, ne2, ne3},
                            .nb = {4, row, plane, block},
                            .data = data};
}

/* Finite, and none beyond 8. */
static bool small(const quant_type *q, const uint8_t *block) {
    float scales[QUANT_MAX_GROUPS], minimums[QUANT_MAX_GROUPS] = {0};
    q->get_scales(block, scales, minimums);
    for (int i = 0; i < q->block / q->group; i++) {
        if (!(fabsf(scales[i]) <= 8 && fabsf(minimums[i]) <= 8)) return false;
    }
    return true;
}

void weight_tame(const weight_type *type, uint8_t *w, size_t bytes) {
    for (size_t at = 0; at + (size_t)type->bytes <= bytes; at += (size_t)type->bytes) {
        uint8_t *block = w + at;
        /* BF16 and F16: below 1. */
        if (type->quant == NULL) block[1] &= type->number == SPARAMX_TYPE_F16 ? 0xbb : 0xbf;
        else if (!small(type->quant, block)) {
            uint64_t state = 0;
            for (int i = 0; i < type->bytes; i++) state = state * 31 + block[i];
            type->quant->random_scales(block, &state);
        }
    }
}

bool same_float(float a, float b) {
    uint32_t x, y;
    memcpy(&x, &a, 4);
    memcpy(&y, &b, 4);
    return x == y || (a != a && b != b);
}

int64_t first_difference(const float *a, const float *b, int64_t count) {
    if (memcmp(a, b, (size_t)count * 4) == 0) return -1;
    for (int64_t i = 0; i < count; i++) {
        if (!same_float(a[i], b[i])) return i;
    }
    return -1;
}

const sparamx_kernel_info *kernel_rows(int *count) {
    static sparamx_kernel_info *rows;
    static int found;
    if (rows == NULL) {
        found = sparamx_kernel_count();
        rows = calloc((size_t)found, sizeof *rows);
        for (int i = 0; i < found; i++) {
            rows[i].size = sizeof rows[i];
            CLAIM(sparamx_kernel_get(i, &rows[i]) == SPARAMX_OK, "row %d", i);
        }
    }
    *count = found;
    return rows;
}

/* As the header has it: the last usable row whose m_plan, m_min and m_max fit. */
const sparamx_kernel_info *planned(int level, int32_t type, int32_t form, int64_t m) {
    int count;
    const sparamx_kernel_info *rows = kernel_rows(&count);
    for (int i = count - 1; i >= 0; i--) {
        const sparamx_kernel_info *r = &rows[i];
        if (r->type == type && r->form == form && r->isa <= level && r->m_min <= m && m <= r->m_max && r->m_plan <= m)
            return r;
    }
    fuzz_broken(__FILE__, __LINE__, "planned", "no kernel for type %d form %d m %lld at level %d", type, form,
                (long long)m, level);
}
