/*
 * cases.h - the timing of products with, and of the packing of, random pruned weights.
 *
 * A group is one type, shape and share of zeros. Its cases (form and number of tokens M) share the packed matrices and
 * take turns, so that a slow moment of the machine hits all of them alike.
 */
#ifndef BENCH_CASES_H
#define BENCH_CASES_H

#include "machine.h"
#include "weights.h"

#define MAX_CHOICES 32 /* values that one option may list */

/* "auto", "dense", "sparse" or "raw". */
const char *form_name(int32_t form);

typedef struct group {
    const weight_type *type;
    int64_t n, k;
    double sparsity;
    int32_t forms[MAX_CHOICES];
    int form_count;
    int64_t m[MAX_CHOICES];
    int m_count;
    const char *kernel; /* NULL, or the one to use */
    int rounds;
    double seconds;    /* no new round after this time */
    const char *label; /* for the progress line */
} group;

/* A measured case. */
typedef struct bench_row {
    char kernel[64];
    const weight_type *type;
    int32_t requested, form; /* they differ if AUTO was requested */
    double sparsity;         /* as asked for */
    double zeros;            /* as the library counted it */
    int64_t m, n, k;
    int threads, copies, rounds;
    uint64_t packed_bytes;
    double bits_per_weight;
    double error;        /* sqrt-NMSE against double precision */
    double ms, ms_best;  /* NAN if there is a problem */
    ceilings near;       /* medians of the readings around this case */
    char problem[160];   /* empty, or why there is no speed */
} bench_row;

/* A measured way of packing. */
typedef struct pack_row {
    const weight_type *type;
    int32_t requested, form;
    double sparsity;
    int64_t n, k;
    int threads, rounds;
    uint64_t source_bytes, packed_bytes;
    double ms; /* NAN if there is a problem */
    double read_gbps;
    char problem[160];
} pack_row;

double row_gbps(const bench_row *row);
double row_tflops(const bench_row *row);
/* NAN where this machine has no such ceiling. */
double row_read_fraction(const bench_row *row);
double row_fraction_of(const bench_row *row, ceiling c);
double pack_gbps(const pack_row *row);

/* Measures a group into rows, which has room for form_count * m_count. Returns how many there are. */
int group_run(machine *m, const group *g, bench_row *rows);

/* Measures packing into rows, one per form of the group; its m is not used. Returns how many there are. */
int group_pack(machine *m, const group *g, pack_row *rows);

#endif /* BENCH_CASES_H */
