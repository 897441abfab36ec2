/*
 * kv.h - what the C tests of key-value caches share: caches with random cells, attention called by a team of threads,
 * and what attention is in double precision.
 */
#ifndef KV_H
#define KV_H

#include "support.h"

#include <sparamx-kv.h>

/* A cache, what the host wrote to it as rows, and those as numbers. */
typedef struct kv_case {
    sparamx_kv_options options;
    sparamx_kv *kv;
    size_t k_row, v_row; /* bytes */
    uint8_t *k, *v;      /* rows, one for each cell */
} kv_case;

size_t kv_head_bytes(int32_t type, int64_t dim);

/* Options of a cache of one type, that packs all it can. */
sparamx_kv_options kv_options(int32_t type, int32_t heads, int32_t k_dim, int32_t v_dim, int64_t cells);

/* Makes the cache and random rows for all of its cells, which are the cache's own or, with attach, the host's. Ends the
 * program if the cache cannot be made. */
kv_case kv_make(sparamx_kv_options options, bool attach, uint64_t seed);
void kv_drop(kv_case *c);
void kv_fill_rows(int32_t type, int64_t count, uint64_t seed, uint8_t *out); /* count numbers */
sparamx_status kv_write_cells(kv_case *c, int64_t first, int64_t n);         /* or touches them */
sparamx_status kv_pack_all(sparamx_kv *kv, int nth, int64_t newest);
void kv_numbers(int32_t type, int64_t count, const uint8_t *row, float *out);

/* One attention: tensors over memory of its own. */
typedef struct kv_ask {
    sparamx_attention a;
    sparamx_tensor q, dst, mask, sinks;
    int64_t tokens, heads;
} kv_ask;

/* Random queries; a causal mask over `cells` cells in which some are hidden, if masked. */
kv_ask kv_question(const sparamx_kv *const *kv, int streams, const sparamx_kv_options *o, int64_t heads, int64_t tokens,
                   int64_t cells, bool masked, uint64_t seed);
void kv_end_question(kv_ask *ask);
/* The status of all nth threads, or -1 if they differ. */
sparamx_status kv_attend(kv_ask *ask, int nth);
/* The struct with pointers to its tensors, which moved with it. */
const sparamx_attention *kv_point(kv_ask *ask);

/*
 * The same in double precision, over keys and values in float32, [cell][head][dim], and a bit for each cell that is
 * there: dst of one stream, in the order of dst's elements.
 */
void kv_exact(kv_ask *ask, const sparamx_kv_options *o, int64_t stream, const float *k, const float *v,
              const bool *there, double *out);

float kv_half(uint16_t bits);
uint16_t kv_to_half(float value);

#endif
