/* sizes.h - what each type takes in memory, dense and sparse, by its share of zeros. Nothing is timed. */
#ifndef BENCH_SIZES_H
#define BENCH_SIZES_H

#include "options.h"

#include <stdio.h>

/* Prints the table; json may be NULL. The program's exit status. */
int sizes_run(const options *o, FILE *json);

#endif /* BENCH_SIZES_H */
