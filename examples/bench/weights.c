#define _GNU_SOURCE
#include "weights.h"
#include "machine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define POOL_ELEMENTS ((size_t)1 << 21)
#define DEVIATION 0.02f /* of weights in real models, in order of magnitude */

const weight_type weight_types[] = {
    {"bf16", SPARAMX_TYPE_BF16, 1, 2},
    {"f16", SPARAMX_TYPE_F16, 1, 2},
    {"q8_0", SPARAMX_TYPE_Q8_0, 32, 34},
};
const int weight_type_count = sizeof weight_types / sizeof *weight_types;

const char *weight_type_name(int32_t id) {
    for (int i = 0; i < weight_type_count; i++) {
        if (weight_types[i].id == id) return weight_types[i].name;
    }
    return "?";
}

/* ------------------------------------------------------------------------------------------------------- values -- */

static uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float bits_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint16_t to_bf16(float value) {
    uint32_t bits = float_bits(value);
    return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

/* Finite values within the range of F16 only. */
static uint16_t to_f16(float value) {
    uint32_t sign = (float_bits(value) >> 16) & 0x8000, size = float_bits(value) & 0x7FFFFFFF;
    if (size < 0x38800000) return (uint16_t)(sign | (uint32_t)lrintf(fabsf(value) * 0x1p24f)); /* subnormal */
    return (uint16_t)(sign | ((size + 0xFFF + ((size >> 13) & 1) - 0x38000000) >> 13));
}

static float from_f16(uint16_t code) {
    uint32_t size = code & 0x7FFF;
    float value = size < 0x400 ? (float)size * 0x1p-24f : bits_float((size << 13) + 0x38000000);
    return code & 0x8000 ? -value : value;
}

static void encode_half(const weight_type *type, const float *values, uint8_t *out) {
    uint16_t code = type->id == SPARAMX_TYPE_BF16 ? to_bf16(*values) : to_f16(*values);
    if ((code & 0x7FFF) == 0) code = type->id == SPARAMX_TYPE_BF16 ? 0x3C80 : 0x2400; /* 1/64 rather than zero */
    memcpy(out, &code, sizeof code);
}

static void encode_q8_0(const float *values, uint8_t *out) {
    float most = 0;
    for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(values[i]));
    uint16_t scale = to_f16(most / 127);
    memcpy(out, &scale, sizeof scale);
    for (int i = 0; i < 32; i++) {
        long code = lrintf(values[i] * (127 / most));
        out[2 + i] = (uint8_t)(int8_t)(code != 0 ? code : 1);
    }
}

void weights_decode(const weight_type *type, const uint8_t *row, int64_t k, float *values) {
    for (int64_t i = 0; i < k; i++) {
        const uint8_t *block = row + (size_t)(i / type->block) * type->block_bytes;
        uint16_t half;
        memcpy(&half, block, sizeof half);
        if (type->id == SPARAMX_TYPE_BF16) values[i] = bits_float((uint32_t)half << 16);
        if (type->id == SPARAMX_TYPE_F16) values[i] = from_f16(half);
        if (type->id == SPARAMX_TYPE_Q8_0) values[i] = from_f16(half) * (float)(int8_t)block[2 + i % 32];
    }
}

/* ------------------------------------------------------------------------------------------------------- matrix -- */

/* Rows are cut from a pool of encoded blocks at random places: drawing each weight anew would take minutes in all. */
typedef struct filling {
    weights *w;
    double sparsity;
    uint8_t *pool;
    size_t pool_blocks;
} filling;

static bool pool_create(filling *f) {
    const weight_type *type = f->w->type;
    size_t elements = POOL_ELEMENTS > 2 * (size_t)f->w->k ? POOL_ELEMENTS : 2 * (size_t)f->w->k;
    f->pool_blocks = elements / (size_t)type->block;
    f->pool = malloc(f->pool_blocks * type->block_bytes);
    float *values = malloc(elements * sizeof *values);
    if (f->pool && values) {
        random_normals(values, elements, 2);
        for (size_t i = 0; i < elements; i++) values[i] *= DEVIATION;
        for (size_t i = 0; i < f->pool_blocks; i++) {
            uint8_t *out = f->pool + i * type->block_bytes;
            if (type->id == SPARAMX_TYPE_Q8_0) encode_q8_0(values + i * 32, out);
            else encode_half(type, values + i, out);
        }
    }
    bool made = f->pool && values;
    free(values);
    return made;
}

/* Knuth's selection sampling: exactly zeros of the row's k weights, every choice of places equally likely. */
static void prune_row(const weights *w, uint8_t *row, int64_t zeros, uint64_t *state) {
    const weight_type *type = w->type;
    size_t width = type->id == SPARAMX_TYPE_Q8_0 ? 1 : 2;
    size_t head = type->block_bytes - width * (size_t)type->block;
    for (int64_t i = 0; zeros > 0; i++) {
        if ((int64_t)(((random_next(state) >> 32) * (uint64_t)(w->k - i)) >> 32) >= zeros) continue;
        uint8_t *block = row + (size_t)(i / type->block) * type->block_bytes;
        memset(block + head + (size_t)(i % type->block) * width, 0, width);
        zeros--;
    }
}

static int64_t zeros_before(const filling *f, int64_t row) {
    return llround((double)row * (double)f->w->k * f->sparsity);
}

static void fill_rows(void *arg, int ith, int nth) {
    filling *f = arg;
    weights *w = f->w;
    size_t blocks = (size_t)(w->k / w->type->block);
    for (int64_t row = w->rows * ith / nth; row < w->rows * (ith + 1) / nth; row++) {
        uint64_t state = random_seed((uint64_t)row);
        size_t from = random_next(&state) % (f->pool_blocks - blocks + 1);
        uint8_t *to = w->data + (size_t)row * w->row_bytes;
        memcpy(to, f->pool + from * w->type->block_bytes, w->row_bytes);
        prune_row(w, to, zeros_before(f, row + 1) - zeros_before(f, row), &state);
    }
}

bool weights_create(weights *w, team *t, const weight_type *type, int64_t rows, int64_t k, double sparsity) {
    *w = (weights){.type = type, .rows = rows, .k = k};
    w->row_bytes = (size_t)(k / type->block) * type->block_bytes;
    w->bytes = (size_t)rows * w->row_bytes;
    w->data = pages_get(w->bytes);
    filling f = {.w = w, .sparsity = sparsity};
    bool made = w->data && pool_create(&f);
    if (made) team_run(t, fill_rows, &f);
    free(f.pool);
    if (!made) weights_destroy(w);
    return made;
}

void weights_destroy(weights *w) {
    pages_free(w->data, w->bytes);
    *w = (weights){0};
}

const uint8_t *weights_row(const weights *w, int64_t row) { return w->data + (size_t)row * w->row_bytes; }
