#define _GNU_SOURCE
#include "growth.h"

#include <sparamx.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIZES = 4, PAGE = 4096 };

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static sparamx_tensor bf16_tensor(int64_t k, int64_t n, void *data) {
    uint64_t row = (uint64_t)k * 2;
    return (sparamx_tensor){.size = sizeof(sparamx_tensor), .type = SPARAMX_TYPE_BF16, .ne = {k, n, 1, 1},
                            .nb = {2, row, row * (uint64_t)n, row * (uint64_t)n}, .data = data};
}

/* Each returns false if the library fails; the time of the call is in *time. */
typedef bool (*growth_case)(sparamx_buffer *buffer, size_t count, double *time);

/* One call with pieces that leave gaps: every other byte of two rows. */
static bool pieces_with_gaps(sparamx_buffer *buffer, size_t count, double *time) {
    sparamx_tensor t = bf16_tensor((int64_t)count, 2, sparamx_buffer_base(buffer));
    char *data = calloc(count, 2);
    double start = seconds();
    bool good = data && sparamx_buffer_set_tensor_2d(buffer, &t, data, 0, 1, count, 2, 2) == SPARAMX_OK;
    *time = seconds() - start;
    free(data);
    return good;
}

/* The left half of all rows and then the right one, as a split of columns uploads them. */
static bool halves_of_rows(sparamx_buffer *buffer, size_t count, double *time) {
    enum { HALF = 64 };
    sparamx_tensor t = bf16_tensor(HALF, (int64_t)count, sparamx_buffer_base(buffer));
    char *data = calloc(count, 2 * HALF);
    double start = seconds();
    bool good = data &&
                sparamx_buffer_set_tensor_2d(buffer, &t, data, 0, HALF, count, 2 * HALF, 2 * HALF) == SPARAMX_OK &&
                sparamx_buffer_set_tensor_2d(buffer, &t, data, HALF, HALF, count, 2 * HALF, 2 * HALF) == SPARAMX_OK;
    *time = seconds() - start;
    free(data);
    return good;
}

/* Calls from the last piece to the first. */
static bool calls_from_the_end(sparamx_buffer *buffer, size_t count, double *time) {
    sparamx_tensor t = bf16_tensor((int64_t)count, 2, sparamx_buffer_base(buffer));
    char byte = 1;
    double start = seconds();
    bool good = true;
    for (size_t i = count; good && i > 0; i--)
        good = sparamx_buffer_set_tensor(buffer, &t, &byte, 4 * (i - 1), 1) == SPARAMX_OK;
    *time = seconds() - start;
    return good;
}

static bool announcements(sparamx_buffer *buffer, size_t count, double *time) {
    double start = seconds();
    bool good = true;
    for (size_t i = 0; good && i < count; i++) {
        sparamx_tensor t = bf16_tensor(16, 16, (char *)sparamx_buffer_base(buffer) + i * PAGE);
        good = sparamx_buffer_init_tensor(buffer, &t) == SPARAMX_OK;
    }
    *time = seconds() - start;
    return good;
}

static const struct {
    const char *name;
    growth_case run;
    size_t first, bytes; /* the smallest size; bytes of buffer per piece */
} cases[] = {
    {"set_tensor_2d, pieces of 1 byte with gaps", pieces_with_gaps, 40000, 4},
    {"set_tensor_2d, columns in two halves, rows", halves_of_rows, 16000, 128},
    {"set_tensor, calls from the end, with gaps", calls_from_the_end, 40000, 4},
    {"init_tensor, tensors of one buffer", announcements, 10000, PAGE},
};

int growth_run(const options *o) {
    int failures = 0;
    printf("Microseconds per piece; each column has twice as many as the one before. Least of %d runs.\n\n", o->repeat);
    printf(o->markdown ? "| call | first size | x1 | x2 | x4 | x8 |\n|---|---|---|---|---|---|\n"
                       : "%-46s %10s %8s %8s %8s %8s\n", "call", "first size", "x1", "x2", "x4", "x8");
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        printf(o->markdown ? "| %s | %zu |" : "%-46s %10zu", cases[c].name, cases[c].first);
        for (int s = 0; s < SIZES; s++) {
            size_t count = cases[c].first << s;
            double least = 0;
            for (int r = 0; r < o->repeat; r++) {
                sparamx_buffer *buffer = NULL;
                double time = 0;
                bool good = sparamx_buffer_create(count * cases[c].bytes + PAGE, NULL, &buffer) == SPARAMX_OK &&
                            cases[c].run(buffer, count, &time);
                sparamx_buffer_destroy(buffer);
                failures += !good;
                if (r == 0 || time < least) least = time;
            }
            printf(o->markdown ? " %.3f |" : " %8.3f", least / (double)count * 1e6);
        }
        printf("\n");
    }
    if (failures > 0) fprintf(stderr, "sparamx-bench: %d runs failed\n", failures);
    return failures > 0;
}
