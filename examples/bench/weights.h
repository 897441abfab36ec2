/*
 * weights.h - random pruned weights in the layouts of GGUF, and their values in float.
 *
 * Normally distributed, with an exact share of zeros at random places (common/pruned.h). Nothing but a pruned weight is
 * zero: in the quantized types too, where plain rounding would add zero codes of its own.
 */
#ifndef BENCH_WEIGHTS_H
#define BENCH_WEIGHTS_H

#include "team.h"

#include <sparamx.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Layout of a weight type in GGUF. */
typedef struct weight_type {
    const char *name;
    int32_t id;
    int64_t block; /* elements */
    size_t block_bytes;
    bool sparse; /* whether the library has a sparse form of it */
} weight_type;

/* Those that the library has kernels for, in its order. */
const weight_type *weight_types(int *count);

/* "bf16" for SPARAMX_TYPE_BF16 and so on; "?" for what the benchmark does not know. */
const char *weight_type_name(int32_t id);

/* SPARAMX_OK, or why the library declines weights of this type. */
sparamx_status weight_type_status(const weight_type *type);

typedef struct weights {
    const weight_type *type;
    int64_t rows, k;
    size_t row_bytes;
    uint8_t *data;
    size_t bytes;
} weights;

/*
 * Makes rows x k weights with the team's threads. k must be a multiple of the type's block. The share of zeros holds
 * for any run of rows to within one weight, so that part of the rows is as good a matrix as all of them.
 */
bool weights_create(weights *w, team *t, const weight_type *type, int64_t rows, int64_t k, double sparsity);

/* A zero-initialised *w is fine. */
void weights_destroy(weights *w);

const uint8_t *weights_row(const weights *w, int64_t row);

/* The values of k weights; computed without the library, to check it. */
void weights_decode(const weight_type *type, const uint8_t *row, int64_t k, float *values);

#endif /* BENCH_WEIGHTS_H */
