/*
 * plain.h - the program's own products in plain C: what a host has before it uses the library, and what the library's
 * results are checked against. Portable: no intrinsics and no alignment wanted, only loops that a compiler can
 * vectorize.
 */
#ifndef EXAMPLES_PLAIN_H
#define EXAMPLES_PLAIN_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the functions below know this GGUF type: F32, F16, BF16 and all of quants.h. */
bool plain_has_type(uint32_t type);

/* Converts the first k weights of a row to float, exactly. k is a multiple of the type's block. */
void plain_to_float(uint32_t type, const void *row, int64_t k, float *out);

/* Sum of w[i] * x[i] in double, for checking. */
double plain_dot_double(const float *w, const float *x, int64_t k);

/* The same in float, for timing. */
float plain_dot_float(const float *w, const float *x, int64_t k);

/* A matrix as it stands in the file: n rows of row_bytes. */
typedef struct plain_matrix {
    uint32_t type;
    int64_t n, k;
    uint64_t row_bytes;
    const uint8_t *data;
} plain_matrix;

/* y[i * n + j] = dot(x[i * k ...], row j) in float for all m rows of x and rows j of row_begin...row_end-1.
 * scratch: k floats that belong to the calling thread. */
void plain_product(const plain_matrix *w, int64_t row_begin, int64_t row_end, const float *x, int64_t m, float *y,
                   float *scratch);

/* Weights in the rows row_begin...row_end-1 whose code is the background: what a pruned weight gets (quants.h). In F32,
 * F16 and BF16 that is +0.0; -0.0 has another code and does not count. */
int64_t plain_zeros(const plain_matrix *w, int64_t row_begin, int64_t row_end);

/* Weights that are -0.0 in F32, F16 and BF16; 0 for the other types. */
int64_t plain_negative_zeros(const plain_matrix *w, int64_t row_begin, int64_t row_end);

/* Whether a weight in these rows is NaN or infinite. scratch: k floats. Any type of plain_has_type(). */
bool plain_has_nonfinite(const plain_matrix *w, int64_t row_begin, int64_t row_end, float *scratch);

#endif
