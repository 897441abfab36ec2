/*
 * piece.h - a weight with a product of known result, for tests that do the same work in odd surroundings: the weight's
 * bytes, activations, and the result that one thread computed and that was held against another computation.
 */
#ifndef PIECE_H
#define PIECE_H

#include "types.h"

typedef struct piece {
    const gguf_type *type;
    int32_t form;
    int64_t n, k, m;
    size_t bytes;     /* of the weight */
    uint8_t *w;
    float *x, *want;  /* m x k, m x n */
} piece;

/* False if the library fails or its result is wrong. */
bool piece_make(piece *p, const gguf_type *type, int32_t form, int64_t n, int64_t k, int64_t m, uint64_t seed);
void piece_drop(piece *p);

sparamx_status piece_pack(const piece *p, int32_t threads, sparamx_linear **out);

/* The product is what it was, bit for bit, with nth threads of the host; and the weight reads back as it was given. */
bool piece_product(const piece *p, const sparamx_linear *linear, int nth);
bool piece_reads(const piece *p, const sparamx_linear *linear);

/* Packs, multiplies, reads back, gives back. Its status, or -1 for a wrong result. */
sparamx_status piece_round(const piece *p, int32_t threads, int nth);

/* One piece per reported type and form; the number of them. out has room for 2 * GGUF_TYPES. Ends the program on an
 * error. */
int piece_all(piece *out, int64_t n, int64_t k, int64_t m);

#endif
