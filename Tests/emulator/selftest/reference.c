/*
 * reference.c - products of tiles in plain scalar loops, after the pseudocode of the Intel manual.
 */
#include "reference.h"

#include <math.h>
#include <string.h>

static float from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
static uint32_t to_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}
static float flush(float f) {
    const uint32_t bits = to_bits(f);
    return (bits & 0x7f800000u) == 0 ? from_bits(bits & 0x80000000u) : f;
}
static float from_half(uint16_t h) {
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const float sign = h & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexpf((float)fraction, -24);
    return sign * ldexpf((float)(1024 + fraction), exponent - 25);
}
static float element(int op, const uint8_t *p) {
    uint16_t bits;
    memcpy(&bits, p, 2);
    return op == TILE_TDPBF16PS ? flush(from_bits((uint32_t)bits << 16)) : from_half(bits);
}

void reference_tdp(int op, tile_bytes c, tile_bytes a, tile_bytes b, unsigned rows, unsigned depth, unsigned cols) {
    for (unsigned m = 0; m < rows; m++) {
        for (unsigned n = 0; n < cols; n++) {
            uint32_t old, result;
            memcpy(&old, &c[m][4 * n], 4);
            if (op >= TILE_TDPBF16PS) {
                float even = 0, odd = 0;
                for (unsigned k = 0; k < depth; k++) {
                    even = flush(fmaf(element(op, &a[m][4 * k]), element(op, &b[k][4 * n]), even));
                    odd = flush(fmaf(element(op, &a[m][4 * k + 2]), element(op, &b[k][4 * n + 2]), odd));
                }
                result = to_bits(flush(flush(from_bits(old)) + flush(even + odd)));
            } else {
                const int a_signed = op == TILE_TDPBSSD || op == TILE_TDPBSUD;
                const int b_signed = op == TILE_TDPBSSD || op == TILE_TDPBUSD;
                result = old;
                for (unsigned k = 0; k < depth; k++) {
                    for (unsigned i = 0; i < 4; i++) {
                        const int x = a_signed ? (int8_t)a[m][4 * k + i] : a[m][4 * k + i];
                        const int y = b_signed ? (int8_t)b[k][4 * n + i] : b[k][4 * n + i];
                        result += (uint32_t)(x * y);
                    }
                }
            }
            memcpy(&c[m][4 * n], &result, 4);
        }
    }
}

int is_nan(uint32_t bits) { return (bits & 0x7fffffffu) > 0x7f800000u; }

int same(int op, tile_bytes x, tile_bytes y, unsigned rows, unsigned cols) {
    for (unsigned m = 0; m < rows; m++) {
        for (unsigned n = 0; n < cols; n++) {
            uint32_t p, q;
            memcpy(&p, &x[m][4 * n], 4);
            memcpy(&q, &y[m][4 * n], 4);
            if (p == q) continue;
            if (op < TILE_TDPBF16PS) return 0;
            if (is_nan(p) && is_nan(q)) continue;
            if (on_hardware) {
                inexact++;
                const float f = from_bits(p), g = from_bits(q);
                if (fabsf(f - g) <= 1e-3f * (1 + fabsf(f))) continue;
            }
            return 0;
        }
    }
    return 1;
}

void fill(int op, int kind, tile_bytes t, int is_result) {
    random_bytes(t, sizeof(tile_bytes));
    if (op < TILE_TDPBF16PS || kind == 0) return;
    for (unsigned i = 0; i < (is_result ? 256u : 512u); i++) {
        const float f = (float)(int32_t)random_u32() / 2147483648.0f;
        const int exponent_of_2 = is_result ? -124 : -60 - (int)random_below(8);
        const float value = kind == 1 ? f : kind == 3 ? rintf(f * 8) : ldexpf(f, exponent_of_2);
        if (is_result) {
            memcpy((uint8_t *)t + 4 * i, &value, 4);
        } else if (op == TILE_TDPBF16PS) {
            const uint16_t bits = (uint16_t)(to_bits(value) >> 16);
            memcpy((uint8_t *)t + 2 * i, &bits, 2);
        } else {
            /* binary16: a fraction of ten bits, denormals for kind 2, built by hand */
            const int exponent = kind == 2 ? (int)random_below(2) : 15;
            uint16_t bits = (uint16_t)((random_u32() & 0x8000) | (unsigned)exponent << 10 | (random_u32() & 1023));
            if (kind == 3) bits = (uint16_t)((random_u32() & 0x8000) | (15u + random_below(3)) << 10);
            memcpy((uint8_t *)t + 2 * i, &bits, 2);
        }
    }
}
