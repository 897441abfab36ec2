/*
 * selftest.h - how the self-test counts, and its parts. On a CPU with AMX the same comparisons run on the CPU's own
 * instructions instead of the emulator, which checks the loops they are compared with.
 */
#ifndef SELFTEST_H
#define SELFTEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tile_emulator.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

extern int passed, failed, skipped;
extern int inexact; /* floating-point elements that hardware sums in another order */
extern int on_hardware, cpu_has_fp16;

#define CHECK(condition, ...)                          \
    do {                                               \
        if (condition) {                               \
            passed++;                                  \
        } else {                                       \
            failed++;                                  \
            printf("FAILED %s:%d: ", __func__, __LINE__); \
            printf(__VA_ARGS__);                       \
            printf("\n");                              \
        }                                              \
    } while (0)

uint32_t random_u32(void);
unsigned random_below(unsigned n);
void random_bytes(void *p, size_t n);

uint64_t total_count(void); /* of all instructions emulated */

/* Runs the body in a child; gives its wait status and what it wrote to stderr. */
int in_child(void (*body)(int), int argument, char *message, size_t size);

void test_config(void);
void test_zeroing(void);
void test_registers(void);
void test_threads(void);
void test_memory(void);
void test_addressing(void);
void test_products(int op);
void test_float_corners(void);
void test_group(void);
void test_violations(void);
void test_chain(void);
void bench(void);

#endif
