/* jobs.c - the weights that all share, and what a team or a single thread does with them. */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int64_t n, k, tokens[TOKENS];
} shapes[] = {{17, 256, {1, 2, 4, 16, 17, 33}}, {130, 512, {1, 3, 5, 8, 32, 40}}, {515, 1024, {1, 4, 17, 0, 0, 0}}};

static void count(long *counter) { __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED); }

/* -- weights ------------------------------------------------------------------------------------------------------- */

static bool weight_open(weight *w, const gguf_type *type, int32_t form, size_t shape, uint64_t seed) {
    w->p = (piece){.type = type, .form = form, .n = shapes[shape].n, .k = shapes[shape].k};
    piece *p = &w->p;
    for (int i = 0; i < TOKENS; i++) {
        w->tokens[i] = shapes[shape].tokens[i];
        if (w->tokens[i] > p->m) p->m = w->tokens[i];
    }
    p->bytes = gguf_row_bytes(type, p->k) * (size_t)p->n;
    p->w = must_allocate(p->bytes);
    p->x = must_allocate((size_t)(p->m * p->k) * sizeof(float));
    gguf_fill(type, p->n, p->k, 0.5, seed, p->w);
    fill_activations(p->m * p->k, seed, p->x);
    pthread_rwlock_init(&w->lock, NULL);
    if (piece_pack(p, 0, &w->linear) != SPARAMX_OK) return false;
    for (int i = 0; i < TOKENS && w->tokens[i] > 0; i++) {
        w->want[i] = must_allocate((size_t)(w->tokens[i] * p->n) * sizeof(float));
        if (multiply(w->linear, w->tokens[i], 1, p->x, p->k, w->want[i], p->n) != SPARAMX_OK ||
            !gguf_product_right(type, form, p->n, p->k, p->w, w->tokens[i], p->x, w->want[i]))
            return false;
    }
    return true;
}

static void weight_close(weight *w) {
    sparamx_linear_destroy(w->linear);
    for (int i = 0; i < TOKENS; i++) free(w->want[i]);
    pthread_rwlock_destroy(&w->lock);
    piece_drop(&w->p);
}

/* The thread's own weight, and its place in a buffer that all threads upload to. One place holds one tensor. */
static weight *own_weight(host *h, int thread, sparamx_tensor *t) {
    weight *w = &h->weights[(thread * h->weight_count / h->threads + (int)h->seed) % h->weight_count];
    uint8_t *place = (uint8_t *)sparamx_buffer_base(h->private) + (size_t)thread * h->slot;
    *t = gguf_tensor(w->p.type, w->p.k, w->p.n, place, h->private);
    return w;
}

bool host_open(host *h, int threads, uint64_t seed) {
    const gguf_type *types[GGUF_TYPES];
    int type_count = gguf_reported(types);
    /* An odd number, so that both forms are there. */
    const char *every_text = getenv("LOAD_EVERY");
    int every = every_text ? atoi(every_text) : 1;
    *h = (host){.threads = threads, .seed = seed};
    for (int i = 0; i < type_count * PACKED_FORMS * (int)COUNT(shapes); i++) {
        const gguf_type *type = types[i / PACKED_FORMS % type_count];
        if (i % every != 0 || !gguf_serves(type, packed_forms[i % PACKED_FORMS])) continue;
        weight *w = &h->weights[h->weight_count++];
        if (!weight_open(w, type, packed_forms[i % PACKED_FORMS], (size_t)(i / PACKED_FORMS / type_count),
                         seed + (uint64_t)i))
            return false;
        if (w->p.bytes > h->slot) h->slot = w->p.bytes;
    }
    h->slot = (h->slot + 4095) / 4096 * 4096;
    /* What these ask for is there where libnodes.so plays memory nodes, between which threads roam. */
    sparamx_buffer_options o = {.size = sizeof o, .numa = SPARAMX_NUMA_DISTRIBUTE}, m = o;
    m.numa = SPARAMX_NUMA_MIRROR;
    if (sparamx_buffer_create(h->slot * (size_t)h->weight_count, &o, &h->shared) != SPARAMX_OK ||
        sparamx_buffer_create(h->slot * (size_t)threads, &m, &h->private) != SPARAMX_OK)
        return false;
    for (int i = 0; i < h->weight_count; i++) {
        weight *w = &h->weights[i];
        uint8_t *place = (uint8_t *)sparamx_buffer_base(h->shared) + (size_t)i * h->slot;
        w->tensor = gguf_tensor(w->p.type, w->p.k, w->p.n, place, h->shared);
        if (sparamx_buffer_set_tensor(h->shared, &w->tensor, w->p.w, 0, w->p.bytes) != SPARAMX_OK) return false;
    }
    for (int i = 0; i < threads; i++) { /* from the start, so that memory does not grow by them */
        sparamx_tensor t;
        const weight *w = own_weight(h, i, &t);
        if (sparamx_buffer_set_tensor(h->private, &t, w->p.w, 0, w->p.bytes) != SPARAMX_OK) return false;
    }
    return true;
}

void host_close(host *h) {
    for (int i = 0; i < h->weight_count; i++) weight_close(&h->weights[i]);
    sparamx_buffer_destroy(h->shared);
    sparamx_buffer_destroy(h->private);
}

/* -- products by a team -------------------------------------------------------------------------------------------- */

static void wait_for_team(void *data) { pthread_barrier_wait(data); }

/* A work area of exactly the size, at any address. */
static void prepare(job *j, int nth, sparamx_status status, size_t bytes) {
    if (status != SPARAMX_OK) return; /* compute will say so */
    j->room = must_allocate(bytes + 64);
    j->y = must_allocate((size_t)(j->m * j->w->p.n) * sizeof(float));
    memset(j->y, 0x7f, (size_t)(j->m * j->w->p.n) * sizeof(float));
    j->params = (sparamx_params){.size = sizeof j->params, .nth = nth, .work = (char *)j->room + j->seed % 64,
                                 .work_size = bytes, .barrier = wait_for_team, .barrier_data = j->barrier};
}

static void before_linear(job *j) {
    size_t bytes = 0;
    pthread_rwlock_rdlock(&j->w->lock);
    sparamx_status status = sparamx_linear_work_size(j->w->linear, j->m, j->params.nth, &bytes);
    prepare(j, j->params.nth, status, bytes);
}

static bool share_linear(job *j, int ith, int nth) {
    sparamx_params params = j->params;
    (void)nth;
    params.ith = ith;
    return sparamx_linear_compute(j->w->linear, &params, j->m, j->w->p.x, j->w->p.k, j->y, j->w->p.n) == SPARAMX_OK;
}

static bool after_product(job *j) {
    pthread_rwlock_unlock(&j->w->lock);
    bool same = j->y != NULL && memcmp(j->y, j->want, (size_t)(j->m * j->w->p.n) * sizeof(float)) == 0;
    free(j->y);
    free(j->room);
    return same;
}

/* The op, on the tensor in the buffer or on the host's own bytes. */
static void before_op(job *j) {
    size_t bytes = 0;
    const piece *p = &j->w->p;
    pthread_rwlock_rdlock(&j->w->lock);
    int nth = j->params.nth;
    prepare(j, nth, SPARAMX_OK, 0);
    free(j->room);
    j->room = NULL;
    j->xt = make_tensor(SPARAMX_TYPE_F32, p->k, j->m, 1, 1, p->x, NULL);
    j->yt = make_tensor(SPARAMX_TYPE_F32, p->n, j->m, 1, 1, j->y, NULL);
    j->op =
        (sparamx_op){.size = sizeof j->op, .kind = SPARAMX_OP_MUL_MAT, .dst = &j->yt, .weight = &j->wt, .x = &j->xt};
    sparamx_status status = sparamx_work_size(&j->op, nth, &bytes);
    if (status != SPARAMX_OK) bytes = 0;
    j->room = must_allocate(bytes + 64);
    j->params.work = (char *)j->room + j->seed % 64;
    j->params.work_size = bytes;
}

static bool share_op(job *j, int ith, int nth) {
    sparamx_params params = j->params;
    (void)nth;
    params.ith = ith;
    return sparamx_compute(&params, &j->op) == SPARAMX_OK;
}

/* A tensor in a buffer is packed as AUTO decides, and host bytes as the product goes: another form, other sums. */
static bool after_op(job *j) {
    pthread_rwlock_unlock(&j->w->lock);
    const piece *p = &j->w->p;
    bool right = memcmp(j->y, j->want, (size_t)(j->m * p->n) * sizeof(float)) == 0 ||
                 gguf_product_right(p->type, p->form, p->n, p->k, p->w, j->m, p->x, j->y);
    free(j->y);
    free(j->room);
    return right;
}

/* -- what one thread does ------------------------------------------------------------------------------------------ */

/* Packs a new weight of any type, form and shape, uses it and gives it back. */
static bool share_pack(job *j, int ith, int nth) {
    (void)ith, (void)nth;
    uint64_t s = j->seed;
    const gguf_type *type = j->w->p.type;
    int64_t k = type->block * (1 + (int64_t)(random_next(&s) % (type->block == 1 ? 300 : 512 / (uint64_t)type->block)));
    piece p = {.type = type, .n = 1 + (int64_t)(random_next(&s) % 70), .k = k};
    p.form = random_next(&s) % 3 ? j->w->p.form : SPARAMX_FORM_AUTO;
    p.m = 1 + (int64_t)(random_next(&s) % 6);
    p.bytes = gguf_row_bytes(type, k) * (size_t)p.n;
    p.w = must_allocate(p.bytes);
    p.x = must_allocate((size_t)(p.m * k) * sizeof(float));
    p.want = must_allocate((size_t)(p.m * p.n) * sizeof(float));
    gguf_fill(type, p.n, k, (double)(random_next(&s) % 100) / 100, s, p.w);
    fill_activations(p.m * k, s, p.x);
    sparamx_linear *linear = NULL;
    sparamx_tensor_info info = {.size = sizeof info};
    bool good = piece_pack(&p, (int32_t)(random_next(&s) % 9), &linear) == SPARAMX_OK &&
                sparamx_linear_info(linear, &info) == SPARAMX_OK && info.n == p.n && info.k == k &&
                (p.form == SPARAMX_FORM_AUTO || info.form == p.form) &&
                multiply(linear, p.m, 1, p.x, k, p.want, p.n) == SPARAMX_OK &&
                gguf_product_right(type, info.form, p.n, k, p.w, p.m, p.x, p.want) && piece_reads(&p, linear);
    sparamx_linear_destroy(linear);
    piece_drop(&p);
    count(&j->h->packs);
    return good;
}

/* The thread's own tensor: parts in any order, read back, announced again or not. */
static bool share_upload(job *j, int thread, int nth) {
    (void)nth;
    host *h = j->h;
    sparamx_tensor t;
    j->w = own_weight(h, thread, &t);
    const piece *p = &j->w->p;
    uint64_t s = j->seed;
    uint8_t *back = must_allocate(p->bytes);
    bool good = random_next(&s) % 2 || sparamx_buffer_init_tensor(h->private, &t) == SPARAMX_OK;
    size_t parts = 1 + random_next(&s) % 5, first = random_next(&s) % parts;
    for (size_t i = 0; i < parts; i++) {
        size_t part = (first + i) % parts, begin = p->bytes * part / parts, end = p->bytes * (part + 1) / parts;
        good = good && sparamx_buffer_set_tensor(h->private, &t, p->w + begin, begin, end - begin) == SPARAMX_OK;
    }
    size_t at = random_next(&s) % p->bytes, size = random_next(&s) % (p->bytes - at + 1);
    if (random_next(&s) % 2) /* writes over what is there with what is there: unpacked, packed again */
        good = good && sparamx_buffer_set_tensor(h->private, &t, p->w + at, at, size) == SPARAMX_OK;
    good = good && sparamx_buffer_get_tensor(h->private, &t, back, 0, p->bytes) == SPARAMX_OK &&
           memcmp(back, p->w, p->bytes) == 0 && sparamx_buffer_resident(h->private) > 0;
    free(back);
    count(&h->uploads);
    return good;
}

/* Any part of what all share. */
static bool share_read(job *j, int ith, int nth) {
    (void)ith, (void)nth;
    const piece *p = &j->w->p;
    uint64_t s = j->seed;
    int64_t row = (int64_t)(random_next(&s) % (uint64_t)p->n),
            rows = 1 + (int64_t)(random_next(&s) % (uint64_t)(p->n - row));
    size_t bytes = gguf_row_bytes(p->type, p->k), at = random_next(&s) % p->bytes,
           size = 1 + random_next(&s) % (p->bytes - at);
    uint8_t *back = must_allocate(p->bytes);
    sparamx_tensor_info info = {.size = sizeof info};
    pthread_rwlock_rdlock(&j->w->lock);
    bool good = sparamx_linear_read(j->w->linear, row, rows, back) == SPARAMX_OK &&
                memcmp(back, p->w + (size_t)row * bytes, (size_t)rows * bytes) == 0;
    good = good && sparamx_buffer_get_tensor(j->h->shared, &j->w->tensor, back, at, size) == SPARAMX_OK &&
           memcmp(back, p->w + at, size) == 0;
    good = good && sparamx_buffer_tensor_info(j->h->shared, &j->w->tensor, &info) == SPARAMX_OK && info.n == p->n;
    pthread_rwlock_unlock(&j->w->lock);
    free(back);
    count(&j->h->reads);
    return good;
}

/* What all share is packed anew while they use the other weights. */
static bool share_repack(job *j, int ith, int nth) {
    (void)ith, (void)nth;
    weight *w = j->w;
    sparamx_linear *fresh = NULL;
    bool good = piece_pack(&w->p, (int32_t)(j->seed % 9), &fresh) == SPARAMX_OK;
    pthread_rwlock_wrlock(&w->lock);
    if (good) {
        sparamx_linear_destroy(w->linear);
        w->linear = fresh;
    }
    good = good && sparamx_buffer_set_tensor(j->h->shared, &w->tensor, w->p.w, 0, w->p.bytes) == SPARAMX_OK;
    pthread_rwlock_unlock(&w->lock);
    count(&j->h->repacks);
    return good;
}

void job_choose(job *j, host *h, int nth, uint64_t *state) {
    pthread_barrier_t *barrier = j->barrier;
    weight *w = &h->weights[random_next(state) % (uint64_t)h->weight_count];
    *j = (job){.h = h, .w = w, .barrier = barrier, .seed = random_next(state), .params.nth = nth};
    uint64_t which = nth > 1 ? random_next(state) % 10 : random_next(state) % 20;
    if (which < 10) {
        int i = (int)(random_next(state) % TOKENS);
        while (w->tokens[i] == 0) i--;
        j->m = w->tokens[i];
        j->want = w->want[i];
        bool raw = which == 9, op = which > 5;
        j->wt = raw ? gguf_tensor(w->p.type, w->p.k, w->p.n, w->p.w, NULL) : w->tensor;
        j->before = op ? before_op : before_linear;
        j->share = op ? share_op : share_linear;
        j->after = op ? after_op : after_product;
        j->name = raw ? "a product with the host's bytes" : op ? "an op" : "a product";
        count(raw ? &h->raw : &h->products);
    } else {
        static const struct {
            bool (*share)(job *, int, int);
            const char *name;
        } alone[] = {{share_pack, "packing"}, {share_upload, "an upload"}, {share_read, "reading"},
                     {share_repack, "packing anew"}};
        size_t i = which < 13 ? 0 : which < 16 ? 1 : which < 18 ? 2 : 3;
        j->share = alone[i].share;
        j->name = alone[i].name;
    }
}
