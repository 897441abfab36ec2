#include "judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../common/plain.h"
#include "../common/roles.h"

static sparamx_tensor describe(const gguf_tensor *source) {
    sparamx_tensor t = {.size = sizeof t, .type = (int32_t)source->type, .name = source->name};
    for (int i = 0; i < 4; i++) t.ne[i] = source->ne[i];
    t.nb[0] = gguf_block_bytes(source->type);
    t.nb[1] = gguf_row_bytes(source->type, source->ne[0]);
    t.nb[2] = t.nb[1] * (uint64_t)t.ne[1]; /* the reader has checked these products */
    t.nb[3] = t.nb[2] * (uint64_t)t.ne[2];
    return t;
}

/* -- zeros of what the library does not count ---------------------------------------------------------------------- */

typedef struct counting {
    plain_matrix rows;
    int64_t *zeros, *negative; /* one of each for each thread */
} counting;

static void count_share(int ith, int nth, void *ctx) {
    counting *c = ctx;
    int64_t each = c->rows.n / nth, rest = c->rows.n % nth; /* n * ith could overflow: the file chooses n */
    int64_t begin = each * ith + (ith < rest ? ith : rest);
    c->zeros[ith] = plain_zeros(&c->rows, begin, begin + each + (ith < rest));
    c->negative[ith] = plain_negative_zeros(&c->rows, begin, begin + each + (ith < rest));
}

/* Shares of zeros and of negative zeros; NAN if this program does not know the type. */
static double count_zeros(const gguf_tensor *t, team *team, double *negative) {
    int64_t rows = t->ne[1] * t->ne[2] * t->ne[3]; /* no more than the file has bytes */
    counting c = {.rows = {t->type, rows, t->ne[0], gguf_row_bytes(t->type, t->ne[0]), t->data}};
    double zeros = 0, weights = (double)c.rows.n * (double)c.rows.k;
    *negative = 0;
    if (t->data == NULL || t->nbytes == 0 || !plain_has_type(t->type)) return NAN;
    c.zeros = calloc(2 * (size_t)team_size(team), sizeof *c.zeros);
    if (c.zeros == NULL) return NAN;
    c.negative = c.zeros + team_size(team);
    team_run(team, count_share, &c);
    for (int i = 0; i < team_size(team); i++) {
        zeros += (double)c.zeros[i];
        *negative += (double)c.negative[i] / weights;
    }
    free(c.zeros);
    return zeros / weights;
}

/* -- one tensor ---------------------------------------------------------------------------------------------------- */

/* A buffer of its own, as a host would make one for many tensors: the form is known when the last byte has arrived. */
static sparamx_status pack(const sparamx_api *api, const gguf_tensor *source, int threads, sparamx_tensor_info *info) {
    sparamx_buffer_options wanted = {.size = sizeof wanted, .pack_threads = threads < 64 ? threads : 64};
    sparamx_tensor t = describe(source);
    sparamx_buffer *buffer = NULL;
    size_t bytes = 0;
    sparamx_status status = api->buffer_type_alloc_size(&t, &bytes);
    if (status == SPARAMX_OK) status = api->buffer_create(bytes, &wanted, &buffer);
    if (status != SPARAMX_OK) return status;
    t.buffer = buffer;
    t.data = api->buffer_base(buffer);
    status = api->buffer_init_tensor(buffer, &t);
    if (status == SPARAMX_OK) status = api->buffer_set_tensor(buffer, &t, source->data, 0, (size_t)source->nbytes);
    if (status == SPARAMX_OK) status = api->buffer_tensor_info(buffer, &t, info);
    api->buffer_destroy(buffer);
    return status;
}

static void judge_tensor(judgement *j, judged *d, team *t) {
    const gguf_tensor *source = d->source;
    bool experts = role_is_experts(source);
    sparamx_tensor tensor = describe(source);
    sparamx_status status = SPARAMX_ERR_TYPE;
    d->share = role_read_share(j->file, source);
    d->tied = role_is_tied_output(j->file, source);
    d->reason = role_reason_to_keep(j->file, source);
    if (d->reason == NULL) {
        status = j->api->supports_weight(&tensor, experts ? SPARAMX_OP_MUL_MAT_ID : SPARAMX_OP_MUL_MAT);
        d->info = (sparamx_tensor_info){.size = sizeof d->info};
        if (status == SPARAMX_OK) status = pack(j->api, source, team_size(t), &d->info);
        d->reason = status == SPARAMX_OK ? d->info.reason : j->api->status_string(status);
    }
    d->placed = status == SPARAMX_OK;
    d->sparsity = count_zeros(source, t, &d->negative);
    if (d->placed) d->sparsity = d->info.sparsity;
}

static void add_up(judgement *j, const judged *d) {
    uint64_t kept = d->placed ? d->info.packed_bytes : d->source->nbytes;
    j->file_bytes += d->source->nbytes;
    j->memory_bytes += kept + judge_host_copy(d);
    j->read_before += (double)d->source->nbytes * d->share;
    j->read_after += (double)kept * d->share;
    if (!d->placed) return;
    double weights = (double)d->info.n * (double)d->info.k * (double)d->info.matrices;
    j->placed++;
    j->placed_weights += weights;
    j->negative_zeros += weights * d->negative;
    if (d->info.form != SPARAMX_FORM_SPARSE) return;
    j->sparse++;
    j->sparse_weights += weights;
}

bool judge(judgement *j, const gguf_file *file, const sparamx_api *api, team *t,
           void (*progress)(int i, int n, const char *name)) {
    *j = (judgement){.file = file, .api = api, .n_tensors = (int)gguf_n_tensors(file)};
    if (!gguf_get_string(file, "general.name", j->name, sizeof j->name)) strcpy(j->name, "unnamed");
    if (!gguf_get_string(file, "general.architecture", j->architecture, sizeof j->architecture))
        strcpy(j->architecture, "unknown");
    j->parts = gguf_n_files(file);
    j->tensors = calloc((size_t)j->n_tensors + 1, sizeof *j->tensors);
    if (j->tensors == NULL) return false;
    for (int i = 0; i < j->n_tensors; i++) {
        judged *d = &j->tensors[i];
        d->source = gguf_tensor_at(file, (uint64_t)i);
        if (progress != NULL) progress(i, j->n_tensors, d->source->name);
        judge_tensor(j, d, t);
        add_up(j, d);
    }
    return true;
}

void judge_free(judgement *j) {
    free(j->tensors);
    j->tensors = NULL;
}

uint64_t judge_host_copy(const judged *d) { return d->placed && d->tied ? d->source->nbytes : 0; }

double judge_gain(const judgement *j) { return j->read_after > 0 ? j->read_before / j->read_after : 1; }
