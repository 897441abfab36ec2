/*
 * counts.c - which instructions were emulated, and how often.
 */
#include "internal.h"

#include <string.h>

static uint64_t counts[TILE_OP_COUNT] __attribute__((aligned(64)));

static const char *const names[TILE_OP_COUNT] = {
    "ldtilecfg", "sttilecfg", "tilerelease", "tilezero",  "tileloadd", "tileloaddt1", "tilestored", "tdpbssd",
    "tdpbsud",   "tdpbusd",   "tdpbuud",     "tdpbf16ps", "tdpfp16ps", "cpuid",       "xgetbv",
};

void emu_count(int op) { __atomic_fetch_add(&counts[op], 1, __ATOMIC_RELAXED); }

uint64_t tile_emulator_count(int op) {
    return op >= 0 && op < TILE_OP_COUNT ? __atomic_load_n(&counts[op], __ATOMIC_RELAXED) : 0;
}

uint64_t tile_emulator_count_named(const char *name) {
    for (int op = 0; op < TILE_OP_COUNT; op++)
        if (strcmp(name, names[op]) == 0) return tile_emulator_count(op);
    return 0;
}

void tile_emulator_reset_counts(void) {
    for (int op = 0; op < TILE_OP_COUNT; op++) __atomic_store_n(&counts[op], 0, __ATOMIC_RELAXED);
}

const char *tile_emulator_name(int op) { return op >= 0 && op < TILE_OP_COUNT ? names[op] : NULL; }
