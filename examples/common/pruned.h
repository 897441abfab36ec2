/*
 * pruned.h - random pruned weights in the layouts of GGUF: what a benchmark multiplies.
 *
 * Codes are normally distributed around the one that stands for zero, scales random and of the size of a real model's.
 * Nothing but a pruned weight gets the code of zero, so a share of zeros is exact; that it is a real quantizer's choice
 * too is what Tests/hosts/test_types.py measures.
 */
#ifndef EXAMPLES_PRUNED_H
#define EXAMPLES_PRUNED_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the functions below know this GGUF type: BF16, F16 and all of quants.h. */
bool pruned_has_type(uint32_t type);

/* Writes k random weights, none of them zero. k is a multiple of the type's block. */
void pruned_random(uint32_t type, uint8_t *row, int64_t k, uint64_t *state);

/* Prunes exactly that many of the k weights, every choice of places being equally likely; none in a type that has no
 * code for zero. scratch: k bytes. */
void pruned_set(uint32_t type, uint8_t *row, int64_t k, int64_t zeros, uint64_t *state, uint8_t *scratch);

#endif
