/*
 * results NAME... - a line for each kernel and each form of packing that runs here: its name and a digest of what it
 * computes on a fixed set of weights, shapes and tokens. Two libraries that print the same lines compute the same bits.
 *
 * Usage: results [--kernel TEXT]     only kernels whose names have TEXT in them
 */
#include "support.h"
#include "types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a, 64 bits. */
static uint64_t digest(uint64_t seed, const void *data, size_t bytes) {
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++) seed = (seed ^ p[i]) * 0x100000001b3u;
    return seed;
}

static const struct {
    int64_t n, k;
} shapes[] = {{48, 512}, {37, 1280}, {16, 256}};
static const int64_t counts[] = {1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 31, 32, 33, 48, 70};

/* Whatever the tokens, every kernel that can serve them; results of two threads are the same as of one. */
static uint64_t of_kernel(const sparamx_kernel_info *row, const gguf_type *type) {
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t s = 0; s < COUNT(shapes); s++) {
        int64_t n = shapes[s].n, k = shapes[s].k;
        uint8_t *weights = must_allocate((size_t)n * gguf_row_bytes(type, k));
        gguf_fill(type, n, k, 0.5, 3 + s, weights);
        sparamx_linear_options o = {.size = sizeof o, .form = row->form, .kernel = row->name};
        sparamx_linear *linear = NULL;
        sparamx_status status = sparamx_linear_create(type->number, n, k, weights, 0, &o, &linear);
        sum = digest(sum, &status, sizeof status);
        for (size_t c = 0; status == SPARAMX_OK && c < COUNT(counts); c++) {
            int64_t m = counts[c];
            if (m < row->m_min || m > row->m_max) continue;
            float *x = must_allocate((size_t)(m * k) * sizeof *x), *y = must_allocate((size_t)(m * n) * sizeof *y);
            fill_activations(m * k, 7 + c, x);
            sparamx_status done = multiply(linear, m, 1 + (int)(c % 2), x, k, y, n);
            sum = digest(digest(sum, &done, sizeof done), y, (size_t)(m * n) * sizeof *y);
            free(x);
            free(y);
        }
        sparamx_linear_destroy(linear);
        free(weights);
    }
    return sum;
}

/* The size of the packed form and what comes back of any bytes at all, cut into panels, chunks and rows of all
 * sizes. */
static uint64_t of_packing(const gguf_type *type, int32_t form) {
    uint64_t sum = 0xcbf29ce484222325u;
    for (int64_t n = 1; n <= 35; n += 17) {
        for (int64_t k = type->block; k <= 4 * 256; k += gguf_whole(type, 160)) {
            size_t bytes = (size_t)n * gguf_row_bytes(type, k);
            uint8_t *weights = must_allocate(bytes), *back = must_allocate(bytes);
            fill_bytes(bytes, (uint64_t)(n * 1000 + k), weights);
            sparamx_buffer_options o = {.size = sizeof o, .form = form};
            sparamx_buffer *buffer = NULL;
            sparamx_tensor_info info = {.size = sizeof info};
            if (sparamx_buffer_create(bytes, &o, &buffer) != SPARAMX_OK) exit(2);
            sparamx_tensor t = gguf_tensor(type, k, n, sparamx_buffer_base(buffer), buffer);
            sparamx_status status = sparamx_buffer_set_tensor(buffer, &t, weights, 0, bytes);
            if (status == SPARAMX_OK) status = sparamx_buffer_tensor_info(buffer, &t, &info);
            if (status == SPARAMX_OK) status = sparamx_buffer_get_tensor(buffer, &t, back, 0, bytes);
            sum = digest(digest(sum, &status, sizeof status), &info.packed_bytes, sizeof info.packed_bytes);
            sum = digest(sum, back, bytes);
            sparamx_buffer_destroy(buffer);
            free(weights);
            free(back);
        }
    }
    return sum;
}

int main(int argc, char **argv) {
    const char *wanted = argc == 3 && strcmp(argv[1], "--kernel") == 0 ? argv[2] : "";
    if (argc != 1 && wanted[0] == 0) {
        fprintf(stderr, "usage: results [--kernel TEXT]\n");
        return 2;
    }
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info row = {.size = sizeof row};
        if (sparamx_kernel_get(i, &row) != SPARAMX_OK || row.usable != SPARAMX_OK) continue;
        if (strstr(row.name, wanted) == NULL) continue;
        printf("%s %016llx\n", row.name, (unsigned long long)of_kernel(&row, gguf_find(row.type)));
        fflush(stdout);
    }
    const gguf_type *types[GGUF_TYPES];
    int count = gguf_reported(types);
    for (int i = 0; i < count && wanted[0] == 0; i++) {
        for (size_t f = 0; f < COUNT(packed_forms); f++) {
            if (!gguf_serves(types[i], packed_forms[f])) continue;
            printf("packing-%s-%s %016llx\n", types[i]->name, form_name(packed_forms[f]),
                   (unsigned long long)of_packing(types[i], packed_forms[f]));
            fflush(stdout);
        }
    }
    return 0;
}
