#include "break_even.h"

#include <math.h>

/* The first share of zeros where sparse is faster, set so that as few points as possible lie on the wrong side of it:
 * one noisy point far above or below must not move it. */
static int find_first(const double *speed_up, int count) {
    int best = count, least = count + 1;
    for (int first = count; first >= 0; first--) {
        int wrong = 0;
        for (int i = 0; i < count; i++) wrong += (speed_up[i] >= 1) != (i >= first);
        if (wrong >= least) continue;
        least = wrong;
        best = first;
    }
    return best;
}

double break_even_of(const double *sparsity, const double *speed_up, int count) {
    int first = find_first(speed_up, count);
    if (first == count) return NAN;
    if (first == 0 || !(speed_up[first - 1] < 1)) return sparsity[first];
    double part = (1 - speed_up[first - 1]) / (speed_up[first] - speed_up[first - 1]);
    return sparsity[first - 1] + part * (sparsity[first] - sparsity[first - 1]);
}
