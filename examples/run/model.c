#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "../common/quants.h"
#include "../common/roles.h"

/* See --help. All are a few times what rounding of activations to bf16 or to int8 in blocks costs: measured by
 * sparamx-bench --errors, the root of the NMSE is 0.0015 and 0.006. */
static double tolerance_of(uint32_t type) {
    if (type == GGUF_F32) return 1e-5;
    return quant_find(type) != NULL ? 0.01 : 0.006;
}

static weight describe(const gguf_file *file, const gguf_tensor *t) {
    weight w = {.source = t, .tolerance = tolerance_of(t->type), .readback_ok = true, .ok = true,
                .experts = 1, .used = 1};
    if (role_is_experts(t)) {
        w.experts = t->ne[2];
        w.used = (int64_t)(role_expert_share(file) * (double)t->ne[2] + 0.5);
        w.used = w.used < 1 ? 1 : w.used;
    }
    w.matrix = (plain_matrix){t->type, t->ne[1], t->ne[0], gguf_row_bytes(t->type, t->ne[0]), t->data};
    return w;
}

sparamx_tensor model_tensor(const weight *w) {
    sparamx_tensor t = {.size = sizeof t, .type = (int32_t)w->source->type, .name = w->source->name};
    uint64_t row = w->matrix.row_bytes;
    for (int i = 0; i < 4; i++) t.ne[i] = w->source->ne[i];
    t.nb[0] = gguf_block_bytes(w->source->type);
    t.nb[1] = row;
    t.nb[2] = row * (uint64_t)t.ne[1];
    t.nb[3] = t.nb[2] * (uint64_t)t.ne[2];
    return t;
}

/* Tiles have rows of whole blocks of 32 and whole panels of 16 rows: a file of one column would take 32 times its
 * size. */
static const uint64_t MOST_PADDING = 4, SMALL = 1 << 16;

static uint64_t padded_bytes(const gguf_tensor *t) {
    uint64_t k = ((uint64_t)t->ne[0] + 31) / 32 * 32, n = ((uint64_t)t->ne[1] + 15) / 16 * 16;
    double padding = (double)k / (double)t->ne[0] * ((double)n / (double)t->ne[1]);
    return (uint64_t)(padding * (double)t->nbytes);
}

/* NULL if the tensor is to be multiplied, else why not. */
static const char *reason_to_skip(const gguf_file *file, const weight *w, const sparamx_api *api) {
    const gguf_tensor *t = w->source;
    const char *kept = role_reason_to_keep(file, t);
    if (kept != NULL) return kept;
    if (t->ne[2] != w->experts || t->ne[3] != 1) return "more than two dimensions (convolutions)";
    if (padded_bytes(t) > MOST_PADDING * t->nbytes + SMALL)
        return "its rows are so short that tiles would take several times its bytes: nothing to gain";
    if (api != NULL) {
        sparamx_tensor tensor = model_tensor(w);
        int32_t kind = role_is_experts(t) ? SPARAMX_OP_MUL_MAT_ID : SPARAMX_OP_MUL_MAT;
        sparamx_status status = api->supports_weight(&tensor, kind);
        if (status != SPARAMX_OK) return api->status_string(status);
    }
    return plain_has_type(t->type) ? NULL : "this program has no plain C product for this type";
}

static void read_title(model *m) {
    if (!gguf_get_string(m->file, "general.name", m->name, sizeof m->name)) strcpy(m->name, "unnamed");
    if (!gguf_get_string(m->file, "general.architecture", m->architecture, sizeof m->architecture))
        strcpy(m->architecture, "unknown");
    m->parts = gguf_n_files(m->file);
}

bool model_select(model *m, const gguf_file *file, const options *o, const sparamx_api *api) {
    uint64_t n = gguf_n_tensors(file);
    *m = (model){.file = file};
    read_title(m);
    m->weights = calloc((size_t)n + 1, sizeof *m->weights);
    m->skipped = calloc((size_t)n + 1, sizeof *m->skipped);
    if (m->weights == NULL || m->skipped == NULL) {
        model_free(m);
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        const gguf_tensor *t = gguf_tensor_at(file, i);
        if (o->filter != NULL && strstr(t->name, o->filter) == NULL) continue;
        weight w = describe(file, t);
        const char *reason = reason_to_skip(file, &w, api);
        if (reason == NULL) {
            m->weights[m->n_weights++] = w;
        } else {
            m->skipped[m->n_skipped++] = (skipped){t, reason};
        }
    }
    return true;
}

void model_free(model *m) {
    free(m->weights);
    free(m->skipped);
    *m = (model){0};
}

int64_t model_max_k(const model *m) {
    int64_t k = 0;
    for (int i = 0; i < m->n_weights; i++) k = m->weights[i].matrix.k > k ? m->weights[i].matrix.k : k;
    return k;
}

int64_t model_max_used(const model *m) {
    int64_t used = 1;
    for (int i = 0; i < m->n_weights; i++) used = m->weights[i].used > used ? m->weights[i].used : used;
    return used;
}

int64_t model_max_outputs(const model *m) {
    int64_t n = 0;
    for (int i = 0; i < m->n_weights; i++) {
        /* at most the tensor's rows, which are in the file */
        int64_t outputs = m->weights[i].matrix.n * m->weights[i].used;
        n = outputs > n ? outputs : n;
    }
    return n;
}
