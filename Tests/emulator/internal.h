/*
 * internal.h - what the files of the emulator share. Hidden, for libtile-emulator.so is loaded into programs whose own
 * functions may have any name.
 *
 * Nearly all of it runs in a signal handler: it takes no lock, allocates nothing, uses no stdio and makes no system
 * call but to read /proc/self/maps (cpuid.c) and before it dies (violation.c). Vector registers are free to use: the
 * kernel saved them in the signal frame.
 */
#ifndef TILE_EMULATOR_INTERNAL_H
#define TILE_EMULATOR_INTERNAL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tile_emulator.h"

#include <ucontext.h>

#if !defined(__x86_64__) || !defined(__linux__)
#error "the tile emulator is for Linux on x86-64"
#endif

#pragma GCC visibility push(hidden)

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64 };

/* state.c. Bytes of a tile outside its configured rows and columns are always zero: every operation keeps that. */
typedef struct {
    uint8_t tile[TILES][ROWS][ROW_BYTES];
    uint8_t config[64]; /* as LDTILECFG read it; all zero when none is loaded */
    uint8_t configured;
} __attribute__((aligned(64))) tile_state;

extern __thread tile_state emu_state __attribute__((tls_model("initial-exec")));

static inline unsigned tile_rows(unsigned t) { return emu_state.config[48 + t]; }
static inline unsigned tile_colsb(unsigned t) { return emu_state.config[16 + 2 * t]; } /* the upper byte is zero */

/* LDTILECFG and TILERELEASE. */
void emu_load_config(uint64_t rip, uint64_t address);
void emu_release(void);

/* violation.c. Writes "tile emulator: tdpbssd at 0x...: A.rows is not C.rows (16, 8)" to stderr and aborts. */
__attribute__((noreturn, cold, noinline)) void emu_violation(int op, uint64_t rip, const char *what, int numbers,
                                                             uint64_t a, uint64_t b);

/* arithmetic.c. The tiles and their shapes have been checked. */
void emu_multiply(int op, unsigned c, unsigned a, unsigned b);
void emu_load_tile(unsigned t, uint64_t address, uint64_t stride);
void emu_store_tile(unsigned t, uint64_t address, uint64_t stride);

/* decode.c. The instruction at RIP; false if it is not an AMX instruction. */
typedef struct {
    int op;
    unsigned reg, rm, vvvv;
    uint64_t rip, next;   /* where it is, and the one behind it */
    uint64_t base, index; /* addends of its address; for tiles in memory the index is the stride of the rows */
} instruction;
int emu_decode(const greg_t *gregs, instruction *in);

/*
 * execute.c, cpuid.c. Execute the instruction at RIP and step over it. False if it is not one of theirs; then nothing
 * has changed.
 */
int emu_execute(greg_t *gregs);
int emu_execute_cpuid(greg_t *gregs);

/*
 * signal.c. Set before tile_emulator_install() by what interprets AVX-512 (interpreter/): makes the interrupted code
 * go on there; false if the instruction at RIP is none that needs it. NULL where AVX-512 is not interpreted.
 */
extern int (*emu_interpret)(greg_t *gregs);

/* arithmetic_avx2.c. The same as in arithmetic.c, for CPUs without AVX-512. */
void emu_multiply_avx2(int op, unsigned c, unsigned a, unsigned b);
void emu_load_tile_avx2(unsigned t, uint64_t address, uint64_t stride);
void emu_store_tile_avx2(unsigned t, uint64_t address, uint64_t stride);

/* counts.c. One more of a TILE_*. */
void emu_count(int op);

#pragma GCC visibility pop

#endif
