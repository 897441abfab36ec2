/* growth.h - how the time of uploads and announcements grows with their number: each at four sizes. */
#ifndef BENCH_GROWTH_H
#define BENCH_GROWTH_H

#include "options.h"

/* Prints the table. The program's exit status. */
int growth_run(const options *o);

#endif /* BENCH_GROWTH_H */
