#define _GNU_SOURCE
#include "weights.h"
#include "common/gguf.h"
#include "common/plain.h"
#include "common/pruned.h"
#include "machine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define POOL_ELEMENTS ((size_t)1 << 21)

/* Numbers of the GGUF format; sparamx.h names those that the library had when it was written. */
const weight_type weight_types[] = {
    {"bf16", GGUF_BF16, 1, 2},      {"f16", GGUF_F16, 1, 2},        {"q8_0", GGUF_Q8_0, 32, 34},
    {"q4_0", GGUF_Q4_0, 32, 18},    {"q4_1", GGUF_Q4_1, 32, 20},    {"q5_0", GGUF_Q5_0, 32, 22},
    {"q5_1", GGUF_Q5_1, 32, 24},    {"q2_k", GGUF_Q2_K, 256, 84},   {"q3_k", GGUF_Q3_K, 256, 110},
    {"q4_k", GGUF_Q4_K, 256, 144},  {"q5_k", GGUF_Q5_K, 256, 176},  {"q6_k", GGUF_Q6_K, 256, 210},
    {"iq4_nl", GGUF_IQ4_NL, 32, 18}, {"iq4_xs", GGUF_IQ4_XS, 256, 136}, {"mxfp4", GGUF_MXFP4, 32, 17},
};
const int weight_type_count = sizeof weight_types / sizeof *weight_types;

const char *weight_type_name(int32_t id) {
    for (int i = 0; i < weight_type_count; i++) {
        if (weight_types[i].id == id) return weight_types[i].name;
    }
    return "?";
}

sparamx_status weight_type_status(const weight_type *type) {
    int64_t k = type->block > 1 ? 256 : 64; /* whole blocks of any type */
    uint64_t row = (uint64_t)(k / type->block) * type->block_bytes;
    sparamx_tensor t = {.size = sizeof t, .type = type->id, .ne = {k, 16, 1, 1}};
    t.nb[0] = type->block_bytes;
    t.nb[1] = row;
    t.nb[2] = t.nb[3] = 16 * row;
    return sparamx_supports_weight(&t, SPARAMX_OP_MUL_MAT);
}

void weights_decode(const weight_type *type, const uint8_t *row, int64_t k, float *values) {
    plain_to_float((uint32_t)type->id, row, k, values);
}

/* ------------------------------------------------------------------------------------------------------- matrix -- */

/* Rows are cut from a pool of encoded blocks at random places: drawing each weight anew would take minutes in all. */
typedef struct filling {
    weights *w;
    double sparsity;
    uint8_t *pool;
    size_t pool_blocks;
    uint8_t *scratch; /* k bytes for each thread */
} filling;

static bool pool_create(filling *f) {
    const weight_type *type = f->w->type;
    size_t elements = POOL_ELEMENTS > 2 * (size_t)f->w->k ? POOL_ELEMENTS : 2 * (size_t)f->w->k;
    f->pool_blocks = elements / (size_t)type->block;
    f->pool = malloc(f->pool_blocks * type->block_bytes);
    uint64_t state = 2;
    if (f->pool) pruned_random((uint32_t)type->id, f->pool, (int64_t)f->pool_blocks * type->block, &state);
    return f->pool != NULL;
}

static int64_t zeros_before(const filling *f, int64_t row) {
    return llround((double)row * (double)f->w->k * f->sparsity);
}

static void fill_rows(void *arg, int ith, int nth) {
    filling *f = arg;
    weights *w = f->w;
    size_t blocks = (size_t)(w->k / w->type->block);
    uint8_t *scratch = f->scratch + (size_t)ith * (size_t)w->k;
    for (int64_t row = w->rows * ith / nth; row < w->rows * (ith + 1) / nth; row++) {
        uint64_t state = random_seed((uint64_t)row);
        size_t from = random_next(&state) % (f->pool_blocks - blocks + 1);
        uint8_t *to = w->data + (size_t)row * w->row_bytes;
        memcpy(to, f->pool + from * w->type->block_bytes, w->row_bytes);
        pruned_set((uint32_t)w->type->id, to, w->k, zeros_before(f, row + 1) - zeros_before(f, row), &state, scratch);
    }
}

bool weights_create(weights *w, team *t, const weight_type *type, int64_t rows, int64_t k, double sparsity) {
    *w = (weights){.type = type, .rows = rows, .k = k};
    w->row_bytes = (size_t)(k / type->block) * type->block_bytes;
    w->bytes = (size_t)rows * w->row_bytes;
    w->data = pages_get(w->bytes);
    filling f = {.w = w, .sparsity = sparsity};
    f.scratch = malloc((size_t)team_size(t) * (size_t)k);
    bool made = w->data && f.scratch && pool_create(&f);
    if (made) team_run(t, fill_rows, &f);
    free(f.scratch);
    free(f.pool);
    if (!made) weights_destroy(w);
    return made;
}

void weights_destroy(weights *w) {
    pages_free(w->data, w->bytes);
    *w = (weights){0};
}

const uint8_t *weights_row(const weights *w, int64_t row) { return w->data + (size_t)row * w->row_bytes; }
