/* tune.h - which kernels are fastest on this machine, as a profile that the library takes (sparamx_profile_load). */
#ifndef BENCH_TUNE_H
#define BENCH_TUNE_H

#include "options.h"

/* Measures the types of the options and writes o->tune. The program's exit status. */
int tune_run(const options *o);

#endif /* BENCH_TUNE_H */
