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

#define MOST_COPIES 8192 /* for tiny shapes: each copy costs the process some mappings */
#define LARGE_M 32       /* above it a few copies will do: the weights' way through the caches no longer decides */
#define LARGE_M_COPIES 4
#define WRONG 0.01       /* sqrt-NMSE; activations in int8 blocks of 32 alone make about 0.005 */
#define READING_AGE 1.0  /* seconds after which the ceilings are read again */
#define CHECKED_ROWS 8

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
    int experts, top_k; /* matrices of this shape, and how many each token is multiplied with; 0: a single matrix */
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
    int experts, top_k, experts_read; /* as in the group, and how many different ones a product reads */
    int threads, copies, rounds;
    uint64_t packed_bytes; /* of all experts */
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

/* Bytes of one matrix of the group in GGUF's layout. */
size_t group_source_bytes(const group *g);

/* Packs one matrix of the group. */
sparamx_status group_pack_one(const machine *m, const group *g, int32_t form, const void *data, sparamx_linear **out);

/* The kernel that the library uses for m tokens, or NULL. */
const char *kernel_for(const sparamx_tensor_info *info, int64_t m);

/* A token's true result for a row, in double precision from float values. Adds the squares of the terms to *squares:
 * their sum is what the square of a result of random signs is expected to be, and unlike the square of a few actual
 * results it is never small by chance. */
double dot_with_squares(const float *x, const float *w, int64_t k, double *squares);

/* Measures a group into rows, which has room for form_count * m_count. Returns how many there are. */
int group_run(machine *m, const group *g, bench_row *rows);

/* The same for a group with experts: products of kind MUL_MAT_ID. */
int group_run_experts(machine *m, const group *g, bench_row *rows);

/* Measures packing into rows, one per form of the group; its m is not used. Returns how many there are. */
int group_pack(machine *m, const group *g, pack_row *rows);

#endif /* BENCH_CASES_H */
