#include "piece.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sparamx_status piece_pack(const piece *p, int32_t threads, sparamx_linear **out) {
    sparamx_linear_options o = {.size = sizeof o, .form = p->form, .pack_threads = threads};
    return sparamx_linear_create(p->type->number, p->n, p->k, p->w, 0, &o, out);
}

bool piece_make(piece *p, const gguf_type *type, int32_t form, int64_t n, int64_t k, int64_t m, uint64_t seed) {
    *p = (piece){.type = type, .form = form, .n = n, .k = k, .m = m, .bytes = gguf_row_bytes(type, k) * (size_t)n};
    p->w = must_allocate(p->bytes);
    p->x = must_allocate((size_t)(m * k) * sizeof(float));
    p->want = must_allocate((size_t)(m * n) * sizeof(float));
    gguf_fill(type, n, k, 0.5, seed, p->w);
    fill_activations(m * k, seed, p->x);
    sparamx_linear *linear = NULL;
    bool good = piece_pack(p, 1, &linear) == SPARAMX_OK &&
                multiply(linear, m, 1, p->x, k, p->want, n) == SPARAMX_OK &&
                gguf_product_right(type, form, n, k, p->w, m, p->x, p->want);
    sparamx_linear_destroy(linear);
    return good;
}

void piece_drop(piece *p) {
    free(p->w);
    free(p->x);
    free(p->want);
    *p = (piece){0};
}

bool piece_product(const piece *p, const sparamx_linear *linear, int nth) {
    size_t bytes = (size_t)(p->m * p->n) * sizeof(float);
    float *y = must_allocate(bytes);
    memset(y, 0x7f, bytes);
    bool same = multiply(linear, p->m, nth, p->x, p->k, y, p->n) == SPARAMX_OK && memcmp(y, p->want, bytes) == 0;
    free(y);
    return same;
}

bool piece_reads(const piece *p, const sparamx_linear *linear) {
    uint8_t *back = must_allocate(p->bytes);
    bool same = sparamx_linear_read(linear, 0, p->n, back) == SPARAMX_OK && memcmp(back, p->w, p->bytes) == 0;
    free(back);
    return same;
}

sparamx_status piece_round(const piece *p, int32_t threads, int nth) {
    sparamx_linear *linear = NULL;
    sparamx_status status = piece_pack(p, threads, &linear);
    if (status != SPARAMX_OK) return status;
    bool good = piece_product(p, linear, nth) && piece_reads(p, linear);
    sparamx_linear_destroy(linear);
    return good ? SPARAMX_OK : -1;
}

int piece_all(piece *out, int64_t n, int64_t k, int64_t m) {
    const gguf_type *types[GGUF_TYPES];
    int count = gguf_reported(types), made = 0;
    for (int i = 0; i < PACKED_FORMS * count; i++) {
        if (!gguf_serves(types[i / PACKED_FORMS], packed_forms[i % PACKED_FORMS])) continue;
        const int32_t form = packed_forms[i % PACKED_FORMS];
        if (piece_make(&out[made++], types[i / PACKED_FORMS], form, n, k, m, (uint64_t)i + 1)) continue;
        printf("not ok: %s %s is wrong before anything odd was done\n0 passed, 1 failed, 0 skipped\n",
               types[i / PACKED_FORMS]->name, form_name(packed_forms[i % PACKED_FORMS]));
        exit(1);
    }
    return made;
}
