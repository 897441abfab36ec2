/*
 * oracle.h - products in double precision and how far a kernel may be from them. The bound is derived in
 * Tests/SparamxTests/Support/Oracle.swift; weights are taken apart by examples/common, which shares no code with the
 * library.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include "fuzz.h"

enum { ORACLE_OUTPUTS = 40 * 34 };

typedef struct oracle {
    int64_t n, k, m;
    double y[ORACLE_OUTPUTS], magnitude[ORACLE_OUTPUTS]; /* m x n */
    double weight_sums[34], token_sums[40];
} oracle;

/* False if there is nothing to judge: a number that is not finite, or so large that single precision overflows. */
bool oracle_make(oracle *o, int32_t type, const uint8_t *rows, size_t stride, int64_t n, int64_t k, const float *x,
                 int64_t ldx, int64_t m);

/* The first result of a kernel of this level whose products are in floating point that is further off than it may be,
 * -1 for none. */
int64_t oracle_wrong(const oracle *o, int isa, int32_t type, const float *y, int64_t ldy);
double oracle_value(const oracle *o, int64_t i);
double oracle_bound(const oracle *o, int isa, int32_t type, int64_t i);

#endif
