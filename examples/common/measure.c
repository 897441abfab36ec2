#define _GNU_SOURCE 1 /* _SC_LEVEL3_CACHE_SIZE */

#include "measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const size_t MIB = 1024 * 1024;

double clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, int n) {
    qsort(values, (size_t)n, sizeof *values, by_value);
    return n % 2 != 0 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

uint64_t random_u64(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in (0, 1]: never 0, whose logarithm is not finite. */
static double random_uniform(uint64_t *state) { return (double)((random_u64(state) >> 11) + 1) * 0x1p-53; }

void fill_normal(float *out, size_t n, uint64_t seed) {
    const double two_pi = 6.283185307179586;
    for (size_t i = 0; i < n; i += 2) { /* Box and Muller: two numbers at a time */
        double radius = sqrt(-2.0 * log(random_uniform(&seed)));
        double angle = two_pi * random_uniform(&seed);
        out[i] = (float)(radius * cos(angle));
        if (i + 1 < n) out[i + 1] = (float)(radius * sin(angle));
    }
}

struct cold_cache {
    team *t;
    uint64_t *words;
    size_t n_words;
    uint64_t sums[TEAM_MAX_THREADS * 8]; /* what was read, one cache line per thread: else the reads would be removed */
};

static size_t positive(long value) { return value > 0 ? (size_t)value : 0; }

static size_t bytes_to_evict(void) {
    size_t cache = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
    cache = positive(sysconf(_SC_LEVEL3_CACHE_SIZE));
#endif
    size_t bytes = cache + cache / 2;
    if (bytes < 64 * MIB) bytes = 64 * MIB; /* unknown, or no third level */
    size_t memory = positive(sysconf(_SC_PHYS_PAGES)) * positive(sysconf(_SC_PAGESIZE));
    if (memory > 0 && bytes > memory / 8) bytes = memory / 8;
    return bytes > 1024 * MIB ? 1024 * MIB : bytes;
}

cold_cache *cold_cache_create(team *t) {
    size_t bytes = bytes_to_evict();
    cold_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) return NULL;
    cache->t = t;
    cache->n_words = bytes / sizeof *cache->words;
    cache->words = malloc(bytes);
    if (cache->words == NULL) {
        free(cache);
        return NULL;
    }
    memset(cache->words, 1, bytes); /* untouched memory would all be one page of zeros, and stay in the cache */
    return cache;
}

void cold_cache_destroy(cold_cache *cache) {
    if (cache == NULL) return;
    free(cache->words);
    free(cache);
}

size_t cold_cache_bytes(const cold_cache *cache) { return cache->n_words * sizeof *cache->words; }

static void read_share(int ith, int nth, void *ctx) {
    cold_cache *cache = ctx;
    size_t share = cache->n_words / (size_t)nth;
    const uint64_t *words = cache->words + share * (size_t)ith;
    uint64_t sum = 0;
    for (size_t i = 0; i + 8 <= share; i += 8) sum += words[i]; /* one word of each cache line */
    cache->sums[8 * ith] += sum;
}

void cold_cache_evict(cold_cache *cache) { team_run(cache->t, read_share, cache); }
