/*
 * fuzz.h - what the fuzz targets share: bytes of an input taken one after the other, claims that end the run when they
 * do not hold, and the platform that platform.c puts under the library.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "quants.h"

#include <sparamx.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

/* -------------------------------------------------------------------------------------------------------- input -- */

typedef struct input {
    const uint8_t *at, *end;
} input;

/* Behind the end an input goes on with zeros. */
static inline uint8_t take(input *in) { return in->at < in->end ? *in->at++ : 0; }

static inline uint64_t take_bytes(input *in, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; i++) value |= (uint64_t)take(in) << (8 * i);
    return value;
}

static inline int below(input *in, int limit) { return take(in) % limit; }

/* A number that is likely to hurt: small ones, edges of types and of the library's own limits, or any 8 bytes. */
int64_t take_number(input *in);

/* ------------------------------------------------------------------------------------------------------- claims -- */

/* Ends the run with a line that says what did not hold; libFuzzer then keeps the input. */
#define CLAIM(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) fuzz_broken(__FILE__, __LINE__, #condition, __VA_ARGS__);                                    \
    } while (0)

__attribute__((noreturn, format(printf, 4, 5))) void fuzz_broken(const char *file, int line, const char *claim,
                                                                 const char *format, ...);

/* With FUZZ_TRACE=1 in the environment: what the input does, call by call. */
#define TRACE(...)                                                                                                     \
    do {                                                                                                               \
        if (fuzz_tracing()) fuzz_trace(__VA_ARGS__);                                                                   \
    } while (0)
bool fuzz_tracing(void);
__attribute__((format(printf, 1, 2))) void fuzz_trace(const char *format, ...);

/* ----------------------------------------------------------------------------------------------------- platform -- */

/* Levels: each is to the library a process of its own, with its own capability. */
enum { LEVEL_REFERENCE, LEVEL_AVX512, LEVEL_AMX, LEVEL_SCRATCH, LEVELS };

/* From now on the library is at this level. */
void fuzz_level(int level);

/* Levels up to this one run here: AMX on emulated tiles. */
int fuzz_highest(void);

/* The scratch level asks anew, with this value of SPARAMX_ISA (NULL: not set). */
void fuzz_ask_again(const char *isa);

/* The n-th allocation or mapping from now on fails, and all behind it; 0: none fails. Whether one has failed. */
void fuzz_fail_at(int n);
bool fuzz_failed(void);
/* Counts a call that can fail; true if it has to. */
bool fuzz_refuse(void);

/* Memory the library holds: must be what it was when all objects are destroyed. */
int64_t fuzz_held(void);

/* The mapping made last. */
uint8_t *fuzz_last_mapping(size_t *bytes);
/* The packed form of a weight that has just been created. */
uint8_t *fuzz_packed(const sparamx_linear *linear, size_t *bytes);

/* `bytes` bytes that end where nothing may be touched; the same place for the same number 0...3. At most 64 KiB. */
void *fuzz_edge(int number, size_t bytes);

/* ------------------------------------------------------------------------------------------------------- values -- */

typedef struct weight_type {
    int32_t number;
    int32_t block, bytes; /* elements and bytes of a block */
    const quant_type *quant; /* what is inside a block; NULL for BF16 and F16 */
} weight_type;

/* BF16, F16 and the quantized types that the example programs know, which take nothing from the library. */
enum { MOST_WEIGHT_TYPES = 32 };
int weight_type_count(void);
const weight_type *weight_type_at(int index);

/* The index of a type by its number in GGUF, -1 for none. */
int weight_type_index(int32_t number);
/* NULL if there is none. */
const weight_type *weight_type_find(int32_t number);

/* The index of the type that a byte of an input stands for: that of its number in GGUF, or else any. So a seed keeps
 * its types when there are more of them. */
int weight_type_of(uint8_t byte);

/* k, or the next whole number of the type's blocks. */
int64_t whole_blocks(const weight_type *type, int64_t k);

/* The form that a weight gets that is asked for in this one: not every type has a sparse form. */
int32_t form_made(const weight_type *type, int32_t form);

/* A contiguous tensor. */
sparamx_tensor fuzz_tensor(const weight_type *type, int64_t k, int64_t n, int64_t matrices, void *data,
                           sparamx_buffer *buffer);
sparamx_tensor fuzz_floats(int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3, void *data);

/* Scales of the blocks that are not small become some that are, so that products stay finite. */
void weight_tame(const weight_type *type, uint8_t *w, size_t bytes);

/* One bit pattern, or NaN both. */
bool same_float(float a, float b);
/* Index of the first float that differs, -1 for none. */
int64_t first_difference(const float *a, const float *b, int64_t count);

/* The row of the kernel table that the plan takes for m tokens at this level. */
const sparamx_kernel_info *planned(int level, int32_t type, int32_t form, int64_t m);
/* All rows. */
const sparamx_kernel_info *kernel_rows(int *count);

#endif
