// Elements of the host's that are no float32: activations on their way in, results and biases on their way out.
#pragma once
#include <stdint.h>

#pragma clang assume_nonnull begin

// One row. Widening is exact. Narrowing adds the bias in float32 and rounds to nearest, ties to even, with subnormal
// numbers kept; a NaN stays one, quiet. Every level gives the same bits.
typedef struct sx_elements_args {
    const void *from;            // widen: elements of `type`; narrow: float32
    void *to;                    // widen: float32; narrow: elements of `type`; may be `from` if type is F32
    const float *_Nullable bias; // narrow: count numbers that are added first
    int64_t count;
    int32_t type;                // SPARAMX_TYPE_F32 (narrow alone), _F16 or _BF16
} sx_elements_args;

enum { SX_ELEMENT_F32 = 0, SX_ELEMENT_F16 = 1, SX_ELEMENT_BF16 = 30 };

void sx_reference_widen(const sx_elements_args *args);
void sx_reference_narrow(const sx_elements_args *args);
void sx_avx512_widen(const sx_elements_args *args);
void sx_avx512_narrow(const sx_elements_args *args);

#pragma clang assume_nonnull end
