#define _GNU_SOURCE
#include "weights.h"
#include "common/gguf.h"
#include "common/plain.h"
#include "common/pruned.h"
#include "machine.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define POOL_ELEMENTS ((size_t)1 << 21)

static weight_type known[64];
static char names[64][12];

const weight_type *weight_types(int *count) {
    static int found;
    if (found == 0) {
        for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
            sparamx_kernel_info row = {.size = sizeof row};
            uint64_t block = 0;
            bool got = sparamx_kernel_get(i, &row) == SPARAMX_OK;
            bool new = got && found < (int)(sizeof known / sizeof *known);
            if (new) block = gguf_block_length((uint32_t)row.type);
            for (int j = 0; got && j < found; j++) {
                if (known[j].id != row.type) continue;
                known[j].sparse = known[j].sparse || row.form == SPARAMX_FORM_SPARSE;
                new = false;
            }
            if (!new || block == 0) continue;
            const char *name = gguf_type_name((uint32_t)row.type);
            for (size_t c = 0; name[c] != 0 && c < sizeof names[0] - 1; c++) names[found][c] = (char)tolower(name[c]);
            known[found] = (weight_type){names[found], row.type, (int64_t)block,
                                         (size_t)gguf_block_bytes((uint32_t)row.type),
                                         row.form == SPARAMX_FORM_SPARSE};
            found++;
        }
    }
    *count = found;
    return known;
}

const char *weight_type_name(int32_t id) {
    int count;
    const weight_type *types = weight_types(&count);
    for (int i = 0; i < count; i++) {
        if (types[i].id == id) return types[i].name;
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
