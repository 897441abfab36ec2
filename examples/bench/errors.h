/* errors.h - how far results lie from double precision, by type, form and number of tokens. Nothing is timed. */
#ifndef BENCH_ERRORS_H
#define BENCH_ERRORS_H

#include "options.h"

#include <stdio.h>

/* Prints the table; json may be NULL. The program's exit status. */
int errors_run(const options *o, FILE *json);

#endif /* BENCH_ERRORS_H */
