/* judge.h - what the library would make of each tensor of a model file, and what the whole file would take. */
#ifndef EXAMPLES_EXPLAIN_JUDGE_H
#define EXAMPLES_EXPLAIN_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/gguf.h"
#include "../common/threads.h"
#include "sparamx.h"

typedef struct judged {
    const gguf_tensor *source;
    bool placed;        /* the library takes it; else the host keeps it */
    const char *reason; /* why this form, or why the host keeps it */
    double sparsity;    /* share of codes at the background, 0...1; NAN if this program does not know the type */
    double negative;    /* share of weights that are -0: values to the library, not its zero */
    bool tied;          /* the token embedding that is the output matrix too: loaded twice, the second copy is judged */
    double share;       /* of the tensor that one generated token reads: 1, less for experts, 0 for lookup tables */
    sparamx_tensor_info info; /* if placed */
} judged;

typedef struct judgement {
    const gguf_file *file;
    const sparamx_api *api;
    judged *tensors;
    int n_tensors;
    char name[64], architecture[32];
    uint64_t parts; /* files of the model */

    int placed, sparse;                    /* how many */
    uint64_t file_bytes, memory_bytes;     /* of all tensors: in the file, and as they would be kept */
    double read_before, read_after;        /* bytes of weights per generated token */
    double placed_weights, sparse_weights; /* how many */
    double negative_zeros;                 /* of the placed weights */
} judgement;

/* Packs every tensor once, one after the other. False if there is not enough memory. progress may be NULL. */
bool judge(judgement *j, const gguf_file *file, const sparamx_api *api, team *t,
           void (*progress)(int i, int n, const char *name));
void judge_free(judgement *j);

/* Bytes that the host keeps beside what the library took: the copy of a tied token embedding that is looked up. */
uint64_t judge_host_copy(const judged *d);

/* Tokens per second afterwards / before, if only bytes of weights counted. 1 if nothing is read. */
double judge_gain(const judgement *j);

#endif
