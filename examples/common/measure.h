/* measure.h - what every measurement needs: a clock, medians, random activations and caches that are cold again. */
#ifndef EXAMPLES_MEASURE_H
#define EXAMPLES_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#include "threads.h"

/* Monotonic time in milliseconds. */
double clock_ms(void);

/* Sorts the values; n >= 1. */
double median(double *values, int n);

/* The next number of the SplitMix64 generator. */
uint64_t random_u64(uint64_t *state);

/* Normally distributed numbers, mean 0 and variance 1: the same for the same seed on every machine with this libm. */
void fill_normal(float *out, size_t n, uint64_t seed);

/* Memory half as large again as the last-level cache: reading it leaves nothing else in the caches. */
typedef struct cold_cache cold_cache;

/* NULL if there is not enough memory. */
cold_cache *cold_cache_create(team *t);
void cold_cache_destroy(cold_cache *cache);
size_t cold_cache_bytes(const cold_cache *cache);

/* Reads the memory with all threads of the team. */
void cold_cache_evict(cold_cache *cache);

#endif
