/* tune_kernels.h - the fastest kernel of one type and form for each number of tokens. */
#ifndef BENCH_TUNE_KERNELS_H
#define BENCH_TUNE_KERNELS_H

#include "machine.h"
#include "weights.h"

#include <stdio.h>

enum { TUNE_KERNELS = 16, TUNE_POINTS = 48, TUNE_LARGEST_M = 128, TUNE_COPIES = 128 };

/* Kernels of one type and form that this machine runs, and the numbers of tokens that are measured: all where a kernel
 * begins or ends, and some between them. */
typedef struct kernel_list {
    sparamx_kernel_info kernel[TUNE_KERNELS];
    int kernels;
    int64_t point[TUNE_POINTS];
    int points;
    double ms[TUNE_POINTS][TUNE_KERNELS]; /* NAN where a kernel cannot serve, or has no rival */
} kernel_list;

/* How the matrices of one tuning are. */
typedef struct tuning {
    machine *machine;
    int64_t n, k;
    size_t cycle_bytes;   /* of different weights, so that they come from memory */
    const char *path;     /* of a file for packed weights, which every kernel maps; it is removed */
    bool any_accuracy;    /* whether kernels may be less accurate than the table's choice */
    float *x, *y;         /* TUNE_LARGEST_M rows of each */
} tuning;

/* The usable kernels of a type and form; false if there is nothing to choose from. */
bool kernels_of(kernel_list *list, int32_t type, int32_t form);

/* Measures them for at most so many seconds, but once at least. false after a sentence on stderr. */
bool kernels_measure(const tuning *t, kernel_list *list, const weight_type *type, int32_t form, double seconds);

/* Writes lines of a profile. How many ranges got another kernel than the table has. */
int kernels_write(const tuning *t, const kernel_list *list, FILE *out);

/* The row that the library's table has for m tokens, -1 for none. */
int kernels_planned(const kernel_list *list, int64_t m);

#endif /* BENCH_TUNE_KERNELS_H */
