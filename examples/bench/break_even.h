/* break_even.h - from what share of zeros on sparse is faster, by measured speed-ups. */
#ifndef BENCH_BREAK_EVEN_H
#define BENCH_BREAK_EVEN_H

/* speed_up[i] is dense time over sparse time at the share sparsity[i], rising. Between two shares in proportion; NAN if
 * sparse is not faster anywhere. */
double break_even_of(const double *sparsity, const double *speed_up, int count);

#endif /* BENCH_BREAK_EVEN_H */
