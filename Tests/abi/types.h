/*
 * types.h - the weight types of GGUF files as tables, for tests that run over every type the library reports instead of
 * a list of their own. A type that gets kernels later is covered from that day on.
 */
#ifndef TYPES_H
#define TYPES_H

#include "../../examples/common/quants.h"
#include "support.h"

typedef struct gguf_type {
    int32_t number;     /* in the GGUF format */
    const char *name;
    int32_t block;      /* elements */
    int32_t bytes;      /* of a block */
    const quant_type *quant; /* what is inside a block; NULL for numbers */
} gguf_type;

enum { GGUF_TYPES = 32 }; /* at most */

/* NULL if the tests do not know it. */
const gguf_type *gguf_find(int32_t number);

/*
 * The weight types that the library's kernel table lists, each once. Ends the program if it lists one that is not
 * known here: a type nobody tests must not pass in silence.
 */
int gguf_reported(const gguf_type *out[GGUF_TYPES]);

/* Whether the kernel table has the type in this form. */
bool gguf_serves(const gguf_type *type, int32_t form);

size_t gguf_row_bytes(const gguf_type *type, int64_t k);

/* k, or the next whole number of the type's blocks. */
int64_t gguf_whole(const gguf_type *type, int64_t k);

/* n rows of k weights with finite values, a share of the codes (or of the blocks' bytes) zero. k: whole blocks. */
void gguf_fill(const gguf_type *type, int64_t n, int64_t k, double sparsity, uint64_t seed, void *out);

/* A contiguous tensor [k, n]. */
sparamx_tensor gguf_tensor(const gguf_type *type, int64_t k, int64_t n, void *data, sparamx_buffer *buffer);

/* The name of the reference kernel of a type and form, NULL if the table has none. */
const char *gguf_reference(int32_t type, int32_t form);

/*
 * Whether y is the product of the weights and x, within what the coarsest kernel of any type may be off. The measure is
 * the library's reference kernel, which runs on every CPU; for the types that support.c decodes it is double precision.
 */
bool gguf_product_right(const gguf_type *type, int32_t form, int64_t n, int64_t k, const void *w, int64_t m,
                        const float *x, const float *y);

#endif
