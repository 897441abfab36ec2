/* options.h - the command line of sparamx-run. */
#ifndef EXAMPLES_RUN_OPTIONS_H
#define EXAMPLES_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum { MAX_M = 8, MAX_REPEAT = 1000 };

/* How the program ends. */
enum { EXIT_WRONG_RESULT = 1, EXIT_BAD_INPUT = 2, EXIT_NO_LIBRARY = 3 };

typedef struct options {
    const char *model;
    bool amx;            /* use the library; without it nothing is loaded */
    const char *library; /* what to load, NULL for the usual place */
    int threads;
    int64_t m[MAX_M]; /* rows of activations (tokens) to measure, rising; n_m 0 if the user named none */
    int n_m;
    int32_t form; /* SPARAMX_FORM_* */
    int repeat;   /* timed products per figure; 0 if the user named none */
    const char *filter; /* part of the tensor names to use, NULL for all */
    const char *json;   /* file to write the results to, or NULL */
} options;

/* 0: go on. Otherwise the program ends with *status: after --help, or after one sentence on stderr. */
int options_parse(int argc, char **argv, options *out, int *status);

#endif
