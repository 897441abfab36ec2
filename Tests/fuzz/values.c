/* values.c - types, tensors and floats for the fuzz targets. */
#include "fuzz.h"

#include <stdlib.h>

const weight_type weight_types[WEIGHT_TYPES] = {
    {30, 1, 2, {-1, -1}},      {1, 1, 2, {-1, -1}},     {8, 32, 34, {0, -1}},   {2, 32, 18, {0, -1}},
    {3, 32, 20, {0, 2}},       {6, 32, 22, {0, -1}},    {7, 32, 24, {0, 2}},    {10, 256, 84, {80, 82}},
    {11, 256, 110, {108, -1}}, {12, 256, 144, {0, 2}},  {13, 256, 176, {0, 2}}, {14, 256, 210, {208, -1}},
    {20, 32, 18, {0, -1}},     {23, 256, 136, {0, -1}}, {39, 32, 17, {-1, -1}},
};

const weight_type *weight_type_find(int32_t number) {
    for (int i = 0; i < WEIGHT_TYPES; i++) {
        if (weight_types[i].number == number) return &weight_types[i];
    }
    return NULL;
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

void weight_tame(const weight_type *type, uint8_t *w, size_t bytes) {
    for (size_t at = 0; at + (size_t)type->bytes <= bytes; at += (size_t)type->bytes) {
        uint8_t *block = w + at;
        /* BF16 and F16: below 1; scales: below 2^-3; MXFP4's exponent: about 1. */
        if (type->block == 1) block[1] &= type->number == 1 ? 0xbb : 0xbf;
        for (int i = 0; i < 2; i++) {
            if (type->halves[i] >= 0) block[type->halves[i] + 1] &= 0xaf;
        }
        if (type->number == 39) block[0] = (uint8_t)(118 + (block[0] & 7));
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
