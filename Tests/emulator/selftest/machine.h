/*
 * machine.h - the AMX instructions as functions, for every tile and every way to address memory.
 */
#ifndef SELFTEST_MACHINE_H
#define SELFTEST_MACHINE_H

#include "selftest.h"

#define FOR_ASSEMBLER __attribute__((visibility("hidden")))

/* Tables of functions, 16 bytes each: one per tile. */
extern const uint8_t selftest_tileloadd[] FOR_ASSEMBLER, selftest_tileloaddt1[] FOR_ASSEMBLER,
    selftest_tilestored[] FOR_ASSEMBLER, selftest_tilezero[] FOR_ASSEMBLER;
void tile(const uint8_t *table, unsigned t, const void *address, long stride);
void load(unsigned t, const void *p, long stride);
void store(unsigned t, void *p, long stride);
void tdp(int op, unsigned d, unsigned a, unsigned b);

/* [base][index][scale][disp], 64 bytes each, tile 5; and [base][disp], 32 bytes each. To enter with selftest_enter. */
extern const uint8_t selftest_load_from[] FOR_ASSEMBLER, selftest_store_to[] FOR_ASSEMBLER;
extern const uint8_t selftest_ldtilecfg_from[] FOR_ASSEMBLER, selftest_sttilecfg_to[] FOR_ASSEMBLER;
void selftest_enter(const void *entry) FOR_ASSEMBLER;
extern uint64_t selftest_base FOR_ASSEMBLER, selftest_index FOR_ASSEMBLER;

/* An instruction in bytes. RDI and RSI hold an address and a stride for those that want them. */
extern uint8_t scratch[64 * 16];
#define BYTES(...) __asm__ volatile(".byte " __VA_ARGS__ : : "D"(scratch), "S"(64l) : "memory")

typedef struct {
    uint8_t bytes[64];
} config;

void ldtilecfg(const config *c);
void sttilecfg(config *c);
void tilerelease(void);

config empty_config(void);
config full_config(void);
void set_tile(config *c, unsigned t, unsigned rows, unsigned colsb);
unsigned rows_of(const config *c, unsigned t);
unsigned colsb_of(const config *c, unsigned t);

#endif
