/*
 * support.h - what the C tests share: random weights in GGUF layouts, products in plain C, a host's team of threads.
 */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <sparamx.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const int32_t weight_types[] = {SPARAMX_TYPE_BF16, SPARAMX_TYPE_F16, SPARAMX_TYPE_Q8_0};
/* Types without coded forms get dense or sparse for them: ask gguf_serves() where that is not wanted. */
static const int32_t packed_forms[] = {SPARAMX_FORM_DENSE, SPARAMX_FORM_SPARSE, SPARAMX_FORM_CODED,
                                       SPARAMX_FORM_CODED_SPARSE};
enum { PACKED_FORMS = COUNT(packed_forms) };

const char *type_name(int32_t type);
const char *form_name(int32_t form);
size_t row_bytes(int32_t type, int64_t k);
uint64_t random_next(uint64_t *state);

/* Never NULL: ends the program when there is no memory. */
void *must_allocate(size_t bytes);

/* n rows of k weights, a share of them zero. Finite numbers. */
void fill_weights(int32_t type, int64_t n, int64_t k, double sparsity, uint64_t seed, void *out);
/* Any bytes at all, half of the codes zero: NaN, infinities, -0.0. */
void fill_bytes(size_t bytes, uint64_t seed, void *out);
void fill_activations(int64_t count, uint64_t seed, float *out);
void decode_row(int32_t type, int64_t k, const void *row, float *out);

/*
 * Results that are further from the product in double precision than the coarsest kernel of the type may be. w: n rows
 * in the type's layout.
 */
int64_t count_wrong(int32_t type, int64_t n, int64_t k, const void *w, int64_t m, const float *x, int64_t ldx,
                    const float *y, int64_t ldy);

/* A host's call: nth threads, a work area of the exact size, a barrier. The status of all threads, -1 if they differ or
 * if a thread was at the barrier more than once. */
sparamx_status multiply(const sparamx_linear *linear, int64_t m, int nth, const float *x, int64_t ldx, float *y,
                        int64_t ldy);
sparamx_status multiply_op(const sparamx_op *op, int nth);
/* The same with the caller's work area. */
sparamx_status multiply_in(const sparamx_linear *linear, const sparamx_op *op, int64_t m, int nth, const float *x,
                           int64_t ldx, float *y, int64_t ldy, void *work, size_t work_size);

/* Runs run(0...count-1, context), each on a thread of its own, and waits for them. */
void run_threads(int count, void (*run)(int index, void *context), void *context);

/* A contiguous tensor of the type. */
sparamx_tensor make_tensor(int32_t type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3, void *data,
                           sparamx_buffer *buffer);
size_t tensor_bytes(const sparamx_tensor *t);

int32_t isa_level(void);   /* the level in use */
bool tiles_emulated(void); /* AMX instructions are slow here */

#endif
