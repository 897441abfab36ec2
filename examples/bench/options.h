/* options.h - the command line of sparamx-bench. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "cases.h"

typedef enum mode { MODE_PRODUCTS, MODE_PACK, MODE_BREAK_EVEN, MODE_SIZES, MODE_ERRORS, MODE_LIST, MODE_GROWTH,
               MODE_TUNE } mode;

typedef struct shape {
    int64_t n, k;
} shape;

typedef struct options {
    const weight_type *types[MAX_CHOICES];
    int32_t forms[MAX_CHOICES];
    double sparsities[MAX_CHOICES];
    int64_t m[MAX_CHOICES];
    shape shapes[MAX_CHOICES];
    int type_count, form_count, sparsity_count, m_count, shape_count;
    int experts, top_k; /* 0: single matrices */
    int threads;
    const char *kernel;
    int repeat;
    double seconds;
    const char *json, *tune;
    bool any_accuracy;
    mode mode;
    bool markdown, help;
} options;

/* False after a sentence on stderr. Defaults are filled in by mode. */
bool options_read(int argc, char **argv, options *o);

/* The forms asked for that this type has; returns how many. */
int options_forms(const options *o, const weight_type *type, int32_t forms[MAX_CHOICES]);

extern const char options_help[];

#endif /* BENCH_OPTIONS_H */
