/*
 * reference.h - what the products should be, in plain scalar loops.
 */
#ifndef SELFTEST_REFERENCE_H
#define SELFTEST_REFERENCE_H

#include "selftest.h"

typedef uint8_t tile_bytes[16][64];

/* Contents that make the arithmetic work: 0 random bytes, 1 values around 1, 2 near underflow, 3 small integers. */
void fill(int op, int kind, tile_bytes t, int is_result);

void reference_tdp(int op, tile_bytes c, tile_bytes a, tile_bytes b, unsigned rows, unsigned depth, unsigned cols);

int is_nan(uint32_t bits);

/*
 * Whether the tiles agree. Every NaN equals every NaN. Hardware is not held to the last bit of the manual's order of
 * summation: a small relative difference there is counted and passes.
 */
int same(int op, tile_bytes x, tile_bytes y, unsigned rows, unsigned cols);

#endif
