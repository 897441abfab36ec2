/*
 * rounding.h - activations as ggml's CPU backend rounds them before a product: the yardstick for the library's errors.
 *
 * By weight type (vec_dot_type of ggml-cpu.c): BF16 and F16 to their own format; the K types and IQ4_XS to int8 in
 * blocks of 256 with a float scale (Q8_K); the others to int8 in blocks of 32 with an F16 scale (Q8_0, Q8_1).
 */
#ifndef BENCH_ROUNDING_H
#define BENCH_ROUNDING_H

#include <stdint.h>

/* Rounds k activations for a weight of this GGUF type; k is a multiple of its block. in and out may be the same. */
void round_as_ggml(uint32_t weight_type, const float *in, int64_t k, float *out);

#endif /* BENCH_ROUNDING_H */
