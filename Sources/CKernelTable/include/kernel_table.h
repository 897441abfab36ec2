// The table of kernels: a constant row for every kernel, made of kernels.def and types.def.
#pragma once
#include "kernel_abi.h"

#pragma clang assume_nonnull begin

enum { SX_ANY_TOKENS = 0x7fffffff };
enum { SX_LEVEL_REFERENCE, SX_LEVEL_AVX512, SX_LEVEL_AMX };
enum { SX_X_PLAIN, SX_X_BF16, SX_X_F32, SX_X_Q8 };

// Scratch memory of one thread: bytes whatever the tokens, and bytes per so many tokens, up to SX_GEMM_M of them.
typedef struct sx_scratch {
    int32_t fixed, per_group, group;
} sx_scratch;

typedef struct sx_kernel_row {
    const char *name;
    sx_kernel_fn function;
    int32_t level;             // SX_LEVEL_*
    int32_t type, sparse, coded;
    int32_t first, last;       // tokens it can serve
    int32_t from;              // tokens from which it is wanted
    int32_t x;                 // SX_X_*
    int32_t multiple, above;   // packed activations have a multiple of so many tokens, if there are more than `above`
    int32_t exact;             // bit-equal to the reference on the same packed activations
    sx_scratch scratch;
} sx_kernel_row;

int32_t sx_kernel_count(void);

// index: 0...sx_kernel_count() - 1.
const sx_kernel_row *sx_kernel_at(int32_t index);

// The rows of one type and form are one after the other: where they begin, and how many there are; 0 if there is none.
int32_t sx_kernels_of(int32_t type, int32_t sparse, int32_t coded, int32_t *begin);

// The types of types.def, and their names in those of kernels: "q4_0"; "" for a type that is not there.
int32_t sx_type_count(void);
int32_t sx_type_at(int32_t index);
const char *sx_type_name(int32_t type);

#pragma clang assume_nonnull end
