/*
 * avx512_interpreter.h - runs AVX-512 code on CPUs without AVX-512, for tests only. See ../README.md.
 */
#ifndef AVX512_INTERPRETER_H
#define AVX512_INTERPRETER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What install() found. Repeated calls give the same answer and change nothing. */
enum {
    AVX512_INTERPRETER_ON = 0,         /* AVX-512 code is interpreted, and so is AMX code */
    AVX512_INTERPRETER_NOT_NEEDED = 1, /* this CPU has AVX-512 F: nothing is interpreted */
    AVX512_INTERPRETER_NO_AVX2 = -1,   /* this CPU lacks AVX2, FMA, F16C or BMI2, which the interpreter computes with */
    AVX512_INTERPRETER_NO_HANDLER = -2 /* the handler of SIGILL could not be set */
};

/* Before tile_emulator_install(), which it calls. */
int avx512_interpreter_install(void);

/*
 * Before install: the instruction of this name, "vpdpbusd" or another, does nothing, as on a faulty CPU. The string
 * stays in use.
 */
void avx512_interpreter_fault(const char *name);

/* 1 while AVX-512 code is interpreted in this process, else 0. */
int avx512_interpreter_active(void);

/* How often native code was left for the interpreter, and the instructions that it has performed. */
uint64_t avx512_interpreter_entries(void);
uint64_t avx512_interpreter_instructions(void);

/*
 * What the next call of a function executes, from its first instruction to its return, for programs with one thread.
 * trace() says whether that could be prepared; base is where the function's file is loaded. Then the function is called
 * in whatever way; traced() ends it and gives the number of records, and whether they are the whole call.
 */
typedef struct {
    uint32_t offset;  /* of the instruction, from base */
    uint32_t stride : 24, rows : 8; /* of a tile in memory */
    uint64_t address; /* of the operand in memory, or of the tile's first row; 0 without one */
} avx512_interpreter_record;
int avx512_interpreter_trace(const void *base, const void *function, avx512_interpreter_record *to, uint64_t count);
uint64_t avx512_interpreter_traced(int *complete);

#ifdef __cplusplus
}
#endif

#endif
