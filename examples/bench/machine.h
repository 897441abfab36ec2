/*
 * machine.h - what this machine is, and the ceilings that a kernel is measured against.
 *
 * Shared machines drift, so a ceiling is not a constant: readings are taken again and again between the cases, kept in
 * a log, and a case is compared with the readings taken around it.
 */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include "team.h"

#include <sparamx.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ceiling {
    CEILING_READ_GBPS,          /* all threads read memory, far beyond the last-level cache */
    CEILING_AMX_BF16_TFLOPS,    /* tdpbf16ps with its tile loads, from a buffer that fits the first-level cache */
    CEILING_AMX_INT8_TOPS,      /* tdpbssd, likewise */
    CEILING_AVX512_BF16_TFLOPS, /* vdpbf16ps on registers alone */
    CEILING_AVX512_F32_TFLOPS,  /* vfmadd231ps on registers alone */
    CEILING_COUNT
} ceiling;

/* One reading of every ceiling, NAN where this machine has none. */
typedef struct ceilings {
    double value[CEILING_COUNT];
} ceilings;

typedef struct machine {
    sparamx_capability capability;
    team *team;
    int threads;
    size_t llc_bytes; /* last-level cache of all CPUs in the team together */
    double read_best; /* fastest single pass over the buffer so far, GB/s */

    void *buffer; /* random bytes to read */
    size_t buffer_bytes;
    int read_streams; /* per thread, in the fastest way to read that was found: 1 or 4 */
    void *tiles;      /* random operands for the arithmetic ceilings */

    ceilings *log;
    int readings;
    int log_space;
} machine;

/* Starts the team, finds the facts, fills the buffers, takes a first reading. Says what is wrong on stderr. */
bool machine_open(machine *m, int threads);
void machine_close(machine *m);

/* Takes a reading (about a quarter of a second) and adds it to the log. False if the log cannot grow. */
bool machine_measure(machine *m);

/* Medians of the readings from number first on. */
ceilings machine_ceilings(const machine *m, int first);

/* Bytes of different weights to cycle through, so that what is read again has left the last-level cache. */
size_t machine_cycle_bytes(const machine *m);

/* Bytes that a benchmark may still take: what the system has to spare, and at most 8 GB in all. */
size_t machine_memory_budget(const machine *m);

const char *machine_isa_name(int32_t isa);

/* Seconds from a monotonic clock. */
double bench_now(void);

/* Waits for the whole team and returns the time at which it was let go; members only. */
double team_start(team *t);

/* Sorts values and returns their median; NAN if there are none or one of them is NAN. */
double bench_median(double *values, int count);

/* xorshift64*; the state must not be 0. */
static inline uint64_t random_next(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Dull;
}

/* A state for the index-th of many independent streams. */
static inline uint64_t random_seed(uint64_t index) {
    uint64_t z = (index + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    return (z ^ (z >> 27)) | 1;
}

/* count values, normally distributed, mean 0, standard deviation 1. */
void random_normals(float *values, size_t count, uint64_t seed);

/* Memory of this process's own, on 2 MB pages where the system has them. NULL if it cannot be had. */
void *pages_get(size_t bytes);
void pages_free(void *pages, size_t bytes);

#endif /* BENCH_MACHINE_H */
