#include "packed.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/check.h"
#include "../common/quiet.h"
#include "experts.h"

static bool fail(packed_model *p, const char *name, const char *what, sparamx_status status) {
    snprintf(p->error, sizeof p->error, "%s: %s failed: %s", name, what, p->api->status_string(status));
    return false;
}

static bool fail_memory(packed_model *p) {
    snprintf(p->error, sizeof p->error, "there is not enough memory");
    return false;
}

/* -- placing weights ----------------------------------------------------------------------------------------------- */

/* Gives tensors begin...*end-1 their offsets in one buffer, as many as fit, as ggml's allocator does. */
static bool lay_out(packed_model *p, const model *m, int begin, int *end, size_t *total) {
    size_t alignment = p->api->buffer_type_alignment(), limit = p->api->buffer_type_max_size();
    *total = 0;
    for (*end = begin; *end < m->n_weights; (*end)++) {
        size_t bytes, offset = (*total + alignment - 1) / alignment * alignment;
        sparamx_tensor *t = &p->tensors[*end];
        *t = model_tensor(&m->weights[*end]);
        sparamx_status status = p->api->buffer_type_alloc_size(t, &bytes);
        if (status != SPARAMX_OK) return fail(p, t->name, "asking for its size", status);
        if (*end > begin && (offset > limit || bytes > limit - offset)) break;
        t->data = (void *)(uintptr_t)offset; /* base is added when the buffer exists */
        *total = offset + bytes;
    }
    return true;
}

static bool place(packed_model *p, sparamx_buffer *buffer, sparamx_tensor *t) {
    t->buffer = buffer;
    t->data = (char *)p->api->buffer_base(buffer) + (uintptr_t)t->data;
    sparamx_status status = p->api->buffer_init_tensor(buffer, t);
    return status == SPARAMX_OK || fail(p, t->name, "announcing it", status);
}

static bool upload(packed_model *p, const sparamx_tensor *t, const gguf_tensor *source) {
    sparamx_status status = p->api->buffer_set_tensor(t->buffer, t, source->data, 0, source->nbytes);
    return status == SPARAMX_OK || fail(p, t->name, "packing it", status);
}

static bool fill_buffer(packed_model *p, const model *m, int begin, int *end) {
    sparamx_buffer_options wanted = {.size = sizeof wanted, .form = p->session->options->form};
    size_t total;
    if (!lay_out(p, m, begin, end, &total)) return false;
    sparamx_status status = p->api->buffer_create(total, &wanted, &p->buffers[p->n_buffers]);
    if (status != SPARAMX_OK) return fail(p, "buffer", "creating it", status);
    sparamx_buffer *buffer = p->buffers[p->n_buffers++];
    for (int i = begin; i < *end; i++)
        if (!place(p, buffer, &p->tensors[i])) return false;
    for (int i = begin; i < *end; i++) {
        session_progress("packing", i, m->n_weights, p->tensors[i].name);
        double start = clock_ms();
        if (!upload(p, &p->tensors[i], m->weights[i].source)) return false;
        p->upload_ms += clock_ms() - start;
    }
    return true;
}

bool packed_open(packed_model *p, const sparamx_api *api, session *s, const model *m) {
    *p = (packed_model){.api = api, .session = s};
    p->tensors = calloc((size_t)m->n_weights, sizeof *p->tensors);
    p->buffers = calloc((size_t)m->n_weights, sizeof *p->buffers); /* at the worst one for each weight */
    if (p->tensors == NULL || p->buffers == NULL) return fail_memory(p);
    for (int begin = 0, end = 0; begin < m->n_weights; begin = end)
        if (!fill_buffer(p, m, begin, &end)) return false;
    return true;
}

void packed_close(packed_model *p) {
    for (int i = 0; i < p->n_buffers; i++) p->api->buffer_destroy(p->buffers[i]);
    free(p->buffers);
    free(p->tensors);
    p->buffers = NULL;
    p->tensors = NULL;
    p->n_buffers = 0;
}

size_t packed_resident(const packed_model *p) {
    size_t bytes = 0;
    for (int i = 0; i < p->n_buffers; i++) bytes += p->api->buffer_resident(p->buffers[i]);
    return bytes;
}

/* The same weight once more, in a buffer of its own that keeps dense tiles. */
static bool open_dense(packed_model *p, const weight *w, sparamx_tensor *t, sparamx_buffer **buffer) {
    sparamx_buffer_options wanted = {.size = sizeof wanted, .form = SPARAMX_FORM_DENSE};
    size_t bytes;
    *t = model_tensor(w);
    sparamx_status status = p->api->buffer_type_alloc_size(t, &bytes);
    if (status == SPARAMX_OK) status = p->api->buffer_create(bytes, &wanted, buffer);
    if (status != SPARAMX_OK) return fail(p, t->name, "making room for dense tiles", status);
    if (place(p, *buffer, t) && upload(p, t, w->source)) return true;
    p->api->buffer_destroy(*buffer);
    return false;
}

/* -- one product --------------------------------------------------------------------------------------------------- */

typedef struct product {
    packed_model *p;
    sparamx_tensor weight, x, y, ids;
    sparamx_op op;
    void *work;
    size_t work_size;
    atomic_int status; /* of the thread that failed last */
} product;

static sparamx_tensor activations(float *data, int64_t columns, int64_t rows, int64_t planes) {
    sparamx_tensor t = {.size = sizeof t, .type = SPARAMX_TYPE_F32, .ne = {columns, rows, planes, 1}, .data = data};
    t.nb[0] = sizeof(float);
    t.nb[1] = t.nb[0] * (uint64_t)columns;
    t.nb[2] = t.nb[1] * (uint64_t)rows;
    t.nb[3] = t.nb[2] * (uint64_t)planes;
    return t;
}

/* Experts: each token once, and a result for each expert that it is multiplied with. */
static void describe_experts(product *u, const weight *source, int64_t m) {
    session *s = u->p->session;
    experts_choose(s, source, m);
    u->x = activations(s->x, source->matrix.k, 1, m);
    u->y = activations(s->y, source->matrix.n, source->used, m);
    u->ids = activations(NULL, source->used, m, 1);
    u->ids.type = SPARAMX_TYPE_I32;
    u->ids.data = s->ids;
    u->op.kind = SPARAMX_OP_MUL_MAT_ID;
    u->op.ids = &u->ids;
}

static bool product_open(product *u, packed_model *p, const weight *source, const sparamx_tensor *w, int64_t m) {
    session *s = p->session;
    memset(u, 0, sizeof *u);
    u->p = p;
    u->weight = *w;
    u->x = activations(s->x, w->ne[0], m, 1);
    u->y = activations(s->y, w->ne[1], m, 1);
    u->op = (sparamx_op){
        .size = sizeof u->op, .kind = SPARAMX_OP_MUL_MAT, .dst = &u->y, .weight = &u->weight, .x = &u->x};
    if (source->experts > 1) describe_experts(u, source, m);
    sparamx_status status = p->api->supports_op(&u->op);
    if (status == SPARAMX_OK) status = p->api->work_size(&u->op, team_size(s->team), &u->work_size);
    if (status != SPARAMX_OK) return fail(p, w->name, "preparing the product", status);
    if (u->work_size == 0) return true;
    u->work = aligned_alloc(64, (u->work_size + 63) / 64 * 64);
    return u->work != NULL || fail_memory(p);
}

static void product_close(product *u) { free(u->work); }

static void product_share(int ith, int nth, void *ctx) {
    product *u = ctx;
    sparamx_params params = {
        .size = sizeof params,
        .ith = ith,
        .nth = nth,
        .work_size = u->work_size,
        .work = u->work,
        .barrier = team_barrier,
        .barrier_data = u->p->session->team,
    };
    sparamx_status status = u->p->api->compute(&params, &u->op);
    if (status != SPARAMX_OK) atomic_store(&u->status, status);
}

static bool product_run(product *u, double *ms) {
    *ms = session_time(u->p->session, product_share, u, u->x.ne[0] * u->x.ne[1] * u->x.ne[2]);
    sparamx_status status = atomic_load(&u->status);
    return status == SPARAMX_OK || fail(u->p, u->weight.name, "the product", status);
}

/* Runs once and compares with plain C. The results start as NaN, so that an output nobody writes is found. */
static bool product_check(product *u, const weight *w, timing *at, double *ms) {
    session *s = u->p->session;
    check_result found;
    memset(s->y, 0xff, (size_t)(at->m * w->used * w->matrix.n) * sizeof *s->y);
    if (!product_run(u, ms)) return false;
    bool checked = w->experts > 1 ? experts_check(s, w, at->m, &found)
                                  : check_product(s->team, &w->matrix, s->x, at->m, s->y, w->tolerance, &found);
    if (!checked) return fail_memory(u->p);
    if (found.error > at->error) at->error = found.error;
    at->wrong += found.wrong;
    return true;
}

/* Dense and packed take turns, so that a machine that slows down does so for both. */
static bool time_both(product *dense, product *packed, timing *at) {
    double d[MAX_REPEAT], q[MAX_REPEAT];
    int n = session_repeats(dense->p->session, at->dense_ms + at->packed_ms, at->m);
    for (int i = 0; i < n; i++) {
        bool ok = i % 2 == 0 ? product_run(dense, &d[i]) && product_run(packed, &q[i])
                             : product_run(packed, &q[i]) && product_run(dense, &d[i]);
        if (!ok) return false;
    }
    at->repeats = n;
    if (n > 0) {
        double one = quiet_spread(d, n), other = quiet_spread(q, n);
        at->spread = one > other ? one : other;
        at->dense_ms = median(d, n);
        at->packed_ms = median(q, n);
    }
    return true;
}

static bool measure_at(packed_model *p, weight *w, const sparamx_tensor *dense, const sparamx_tensor *packed,
                       timing *at) {
    product d, q;
    bool ok = product_open(&d, p, w, dense, at->m);
    if (!ok) {
        product_close(&d);
        return false;
    }
    ok = product_open(&q, p, w, packed, at->m) && product_check(&d, w, at, &at->dense_ms) &&
         product_check(&q, w, at, &at->packed_ms) && time_both(&d, &q, at);
    product_close(&d);
    product_close(&q);
    if (at->error > w->tolerance || at->wrong > 0) w->ok = false;
    return ok;
}

/* -- one weight ---------------------------------------------------------------------------------------------------- */

/* Reads the tensor back in slices, which also shows that any part can be read, and compares with the file. */
static bool read_back(packed_model *p, const sparamx_tensor *t, weight *w) {
    enum { SLICE = 5000011 }; /* a prime: slices begin and end in the middle of rows and blocks */
    const gguf_tensor *source = w->source;
    uint8_t *slice = malloc(SLICE);
    bool ok = slice != NULL || fail_memory(p);
    for (uint64_t at = 0; ok && at < source->nbytes; at += SLICE) {
        size_t bytes = source->nbytes - at < SLICE ? (size_t)(source->nbytes - at) : SLICE;
        sparamx_status status = p->api->buffer_get_tensor(t->buffer, t, slice, at, bytes);
        if (status != SPARAMX_OK) ok = fail(p, t->name, "reading it back", status);
        if (ok && memcmp(slice, source->data + at, bytes) != 0) w->readback_ok = w->ok = false;
    }
    free(slice);
    return ok;
}

typedef struct scan {
    const weight *w;
    float *rows; /* one for each thread */
    atomic_bool found;
    atomic_llong negative; /* weights that are -0 */
} scan;

static void scan_share(int ith, int nth, void *ctx) {
    scan *s = ctx;
    int64_t rows = s->w->matrix.n * s->w->experts; /* one after the other */
    if (plain_has_nonfinite(&s->w->matrix, rows * ith / nth, rows * (ith + 1) / nth,
                            s->rows + (int64_t)ith * s->w->matrix.k))
        atomic_store(&s->found, true);
    atomic_fetch_add(&s->negative, plain_negative_zeros(&s->w->matrix, rows * ith / nth, rows * (ith + 1) / nth));
}

/* NaN and infinity: the results are that too, whatever was computed, and such a matrix proves nothing. And -0. */
static bool scan_weights(packed_model *p, weight *w) {
    scan s = {.w = w};
    s.rows = calloc((size_t)team_size(p->session->team) * (size_t)w->matrix.k, sizeof *s.rows);
    if (s.rows == NULL) return fail_memory(p);
    team_run(p->session->team, scan_share, &s);
    free(s.rows);
    w->nonfinite = atomic_load(&s.found);
    w->negative_zeros = atomic_load(&s.negative);
    return true;
}

static const char *kernel_for(const sparamx_tensor_info *info, int64_t m) {
    for (int i = 0; i < info->n_ranges; i++)
        if (m >= info->ranges[i].m_min && m <= info->ranges[i].m_max) return info->ranges[i].name;
    return "none";
}

static bool explain(packed_model *p, const sparamx_tensor *dense, const sparamx_tensor *packed, weight *w) {
    sparamx_tensor_info info = {.size = sizeof info};
    sparamx_status status = p->api->buffer_tensor_info(dense->buffer, dense, &info);
    w->dense_bytes = info.packed_bytes;
    if (status == SPARAMX_OK) status = p->api->buffer_tensor_info(packed->buffer, packed, &info);
    if (status != SPARAMX_OK) return fail(p, packed->name, "asking for its form", status);
    w->form = info.form;
    w->zeros = info.sparsity;
    w->bits_per_weight = info.bits_per_weight;
    w->packed_bytes = info.packed_bytes;
    w->reason = info.reason;
    for (int i = 0; i < p->session->options->n_m; i++) {
        int64_t tokens = (w->at[i].m * w->used + w->experts - 1) / w->experts; /* that an expert gets on average */
        w->at[i].kernel = kernel_for(&info, tokens);
    }
    return true;
}

bool packed_measure(packed_model *p, model *m, int index) {
    const options *o = p->session->options;
    weight *w = &m->weights[index];
    const sparamx_tensor *packed = &p->tensors[index];
    sparamx_tensor dense;
    sparamx_buffer *buffer;
    session_progress("measuring", index, m->n_weights, packed->name);
    if (!open_dense(p, w, &dense, &buffer)) return false;
    for (int i = 0; i < o->n_m; i++) w->at[i].m = o->m[i];
    bool ok = scan_weights(p, w) && explain(p, &dense, packed, w) && read_back(p, &dense, w) &&
              read_back(p, packed, w);
    for (int i = 0; ok && i < o->n_m; i++) ok = measure_at(p, w, &dense, packed, &w->at[i]);
    p->api->buffer_destroy(buffer);
    return ok;
}
