/*
 * report.h - everything that is written: tables for people, Markdown for documents, JSON for programs, progress.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "cases.h"

#include <stdio.h>

/* Where sparse becomes faster than dense. */
typedef struct break_even {
    const weight_type *type;
    int64_t n, k, m;
    double sparsity; /* NAN: not in the range that was swept */
} break_even;

/* What was measured, for the JSON file. */
typedef struct results {
    bench_row *rows;
    int row_count;
    pack_row *packs;
    int pack_count;
    break_even *breaks;
    int break_count;
} results;

/* Replaces the progress line on stderr; does nothing when stderr is no terminal. */
__attribute__((format(printf, 1, 2))) void report_progress(const char *format, ...);
void report_progress_clear(void);

/* CPU, threads and caches; then the ceilings, as medians of the readings so far. */
void report_machine(const machine *m);
void report_ceilings(const machine *m);

/* Tables: the head first, then rows as they are measured. Markdown if asked for, else aligned in 110 columns. */
void report_rows_head(bool markdown);
void report_rows(const bench_row *rows, int count, bool markdown);
void report_packs_head(bool markdown);
void report_packs(const pack_row *rows, int count, bool markdown);
void report_sweep_head(bool markdown);
/* The three rows (dense, sparse, auto) of one share of zeros. */
void report_sweep(const bench_row *dense, const bench_row *sparse, const bench_row *chosen, bool markdown);
void report_break_even(const break_even *b, bool markdown);

/* The kernel table of the library, and why some rows are not used on this machine. */
void report_kernels(bool markdown);

/* False if the file could not be written. */
bool report_json(FILE *file, const machine *m, const results *r);

#endif /* BENCH_REPORT_H */
