/* check.h - compares results of a product with the program's own product in double. */
#ifndef EXAMPLES_CHECK_H
#define EXAMPLES_CHECK_H

#include <stdint.h>

#include "plain.h"
#include "threads.h"

typedef struct check_result {
    double error;    /* sqrt(sum of (y - ref)^2 / sum of ref^2) over the checked outputs; never NaN */
    int64_t checked; /* outputs that were compared */
    int64_t wrong;   /* of those, outputs further off than rounding explains: 6 * tolerance * |row of W| * rms(x) */
} check_result;

/*
 * y is m rows of w->n, x is m rows of w->k. Up to 4 tokens are checked completely. Of more tokens the first and the
 * last are, and besides them all tokens of 32 rows of w: the first, the last, and others chosen at random.
 * False if there is not enough memory.
 */
bool check_product(team *t, const plain_matrix *w, const float *x, int64_t m, const float *y, double tolerance,
                   check_result *out);

#endif
