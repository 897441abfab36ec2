// The element-wise end of the fused kinds: what up and gate products become.
#pragma once
#include <stdint.h>

#pragma clang assume_nonnull begin

enum { SX_SILU = 0, SX_GELU = 1 };

// out[i] = f(gate[i]) * up[i] for one row of results. SiLU: f(g) = g * s(g). GELU: f(g) = g * s(g * (c1 + c2 * g * g)),
// which is its tanh form because (1 + tanh z) / 2 = s(2 z). s is the logistic function. limit > 0: f(g) is cut at
// limit, up at -limit and limit. All steps are single precision in a fixed order: every level gives the same bits.
typedef struct sx_up_gate_args {
    const float *up, *gate;
    float *out;
    int64_t count;
    int32_t function; // SX_SILU, SX_GELU
    float limit;
} sx_up_gate_args;

// exp(-a) for a >= 0 by Cody and Waite: n = -a * log2(e) to the nearest integer, r = -a - n * ln 2 in two steps, a
// polynomial of r, times 2^n. Beyond 120 the result is 0 in single precision.
#define SX_EXP_END 120.0f
#define SX_EXP_LOG2E 1.44269504088896341f
#define SX_EXP_LN2_HIGH 0.693359375f
#define SX_EXP_LN2_LOW -2.12194440e-4f
#define SX_EXP_P0 1.9875691500e-4f
#define SX_EXP_P1 1.3981999507e-3f
#define SX_EXP_P2 8.3334519073e-3f
#define SX_EXP_P3 4.1665795894e-2f
#define SX_EXP_P4 1.6666665459e-1f
#define SX_EXP_P5 5.0000001201e-1f
#define SX_GELU_C1 1.59576912160573071f   // 2 * sqrt(2 / pi)
#define SX_GELU_C2 0.0713548162726009f    // C1 * 0.044715

void sx_reference_up_gate(const sx_up_gate_args *args);
void sx_avx512_up_gate(const sx_up_gate_args *args);

#pragma clang assume_nonnull end
