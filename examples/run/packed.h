/* packed.h - a model's weights in the library, as a host built around ggml would keep them there. */
#ifndef EXAMPLES_RUN_PACKED_H
#define EXAMPLES_RUN_PACKED_H

#include "model.h"
#include "session.h"
#include "sparamx.h"

typedef struct packed_model {
    const sparamx_api *api;
    session *session;
    sparamx_buffer **buffers;
    int n_buffers;
    sparamx_tensor *tensors; /* one for each weight of the model */
    double upload_ms;        /* time that set_tensor took for all weights */
    char error[512];         /* one sentence after a failure */
} packed_model;

/* Puts every weight into buffers of the library's type. False with a sentence in p->error. */
bool packed_open(packed_model *p, const sparamx_api *api, session *s, const model *m);
void packed_close(packed_model *p);

/* Bytes of memory that the library holds for the weights. */
size_t packed_resident(const packed_model *p);

/* Measures weight number index of the model against dense tiles, checks the results and reads the bytes back. */
bool packed_measure(packed_model *p, model *m, int index);

#endif
