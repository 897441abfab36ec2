/* model.h - which tensors of a model file are multiplied, and what was measured for each. */
#ifndef EXAMPLES_RUN_MODEL_H
#define EXAMPLES_RUN_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/gguf.h"
#include "../common/plain.h"
#include "options.h"
#include "sparamx.h"

/* One figure group of a tensor: the product with m tokens. */
typedef struct timing {
    int64_t m;
    double dense_ms, packed_ms; /* with the library */
    double plain_ms;            /* without */
    double error;               /* the larger one of dense and packed */
    int64_t wrong;              /* outputs beyond the bound of a single output */
    double spread;              /* of the repetitions, the larger one of dense and packed: see quiet.h */
    int repeats;
    const char *kernel;
} timing;

/* A weight matrix of the file and what was found out about it. */
typedef struct weight {
    const gguf_tensor *source;
    plain_matrix matrix;    /* with experts: the first one's */
    /* matrices of this shape, and how many of them a token is multiplied with: 1 without experts */
    int64_t experts, used;
    double tolerance;

    int32_t form;
    double zeros;           /* share, 0...1 */
    int64_t negative_zeros; /* weights that are -0: values to the library, not its zero */
    double bits_per_weight; /* as packed; without the library as in the file */
    uint64_t dense_bytes, packed_bytes;
    const char *reason; /* why this form */
    int reason_note, kernels_note; /* numbers of its explanations below the table */
    bool nonfinite;   /* the weights hold NaN or infinities: results cannot be compared with anything */
    bool readback_ok;
    bool ok; /* every error is within the tolerance and the bytes came back */
    timing at[MAX_M];
} weight;

/* A tensor that is left alone, and the sentence that says why. */
typedef struct skipped {
    const gguf_tensor *source;
    const char *reason;
} skipped;

typedef struct model {
    const gguf_file *file;
    weight *weights;
    int n_weights;
    skipped *skipped;
    int n_skipped;
    char name[64];
    char architecture[32];
    uint64_t parts; /* files of the model */
} model;

/* api NULL: all matrices that the plain C code can multiply. False if there is not enough memory. */
bool model_select(model *out, const gguf_file *file, const options *o, const sparamx_api *api);
void model_free(model *m);

/* The tensor as the library wants it described, not yet in any buffer. */
sparamx_tensor model_tensor(const weight *w);

/* Largest K, experts per token, and outputs per token of the weights, for scratch memory. */
int64_t model_max_k(const model *m);
int64_t model_max_used(const model *m);
int64_t model_max_outputs(const model *m);

#endif
