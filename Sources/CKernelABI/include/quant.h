// The quantized weight types as the packed form and the kernels see them: codes of a few bits and, beside them, the
// type's own scales. types.def has the values for each type.
#pragma once
#include <stdint.h>

// GGUF type numbers: SX_Q4_0 and so on.
enum {
#define SX_WIDE(NAME, name, number, ...) SX_##NAME = number,
#define SX_QUANT(NAME, name, number, ...) SX_##NAME = number,
#include "types.def"
#undef SX_WIDE
#undef SX_QUANT
};

// What stands in the side stream, per panel of 16 columns; every field is an array of 16, one entry per column.
enum {
    SX_SIDE_F16,     // per block of the file (32, 64 or 128 weights): float16 scale
    SX_SIDE_E8,      // per block of 32: a power of two as one byte (half of 2^(e - 127))
    SX_SIDE_F16_MIN, // per block of 32: float16 scale, float16 minimum, background (4 bits, column c + 8 above c), in
                     // types of 5 bits 16 fifth bits
    SX_SIDE_K32,     // per chunk: 8 times uint16 (background 4 bits, scale 6, minimum 6), float16 d, float16 dmin, in
                     // types of 5 bits 8 times 16 fifth bits of the background
    SX_SIDE_K16_MIN, // per chunk: 16 times a byte (scale 4 bits, minimum 4), float16 d, float16 dmin, 16 times 16
                     // backgrounds of 2 bits
    SX_SIDE_I8,      // per chunk: 16 or 8 times an int8 scale, float16 d
    SX_SIDE_I6,      // the same; in the file a scale has 6 bits, so it is -32...31
    SX_SIDE_E4M3     // per block of 64: 4 times a scale of 4 bits exponent and 3 bits fraction as one byte
};

// What a code stands for: itself, a level of a table, or (SIGN, codes of one bit) 0 or 2.
enum { SX_CODE_LEVELS_PLAIN, SX_CODE_LEVELS_IQ4, SX_CODE_LEVELS_FP4, SX_CODE_LEVELS_SIGN };

// A weight is scale * (level(code) - offset) - minimum, scale and minimum per `part_k` weights.
typedef struct sx_quant {
    int32_t type;                  // 0: not a quantized type
    int32_t file_block_k, file_block_bytes; // weights and bytes of a block in the file
    int32_t low_bits, high_bits;   // a code is cut into these; planes of low bits lie before those of high bits
    int32_t part_k;                // weights under one scale: 32 or 16
    int32_t offset;
    int32_t minimum;               // 1: weights have one
    int32_t half_scale;            // 1: scales of activations, and sums that are scaled, are rounded to float16
    int32_t background;            // the code that is left out, -1: one per `part_k` weights, in the side stream
    int32_t code_levels;           // SX_CODE_LEVELS_*
    int32_t side;                  // SX_SIDE_*
    int32_t side_bytes;            // per 64 k of a panel
} sx_quant;

// The numbers of a type that is known at run time; type 0 for one that is not quantized.
static inline sx_quant sx_quant_of(int32_t type) {
    sx_quant none = {.type = 0, .file_block_k = 1, .file_block_bytes = 2, .low_bits = 8, .part_k = 32};
    switch (type) {
#define SX_WIDE(...)
#define SX_QUANT(NAME, name, number, weights, bytes, low, high, part, shift, left_out, level, record, per_64_k, least, \
                 half, forms) \
    case SX_##NAME: \
        return (sx_quant){.type = number, .file_block_k = weights, .file_block_bytes = bytes, .low_bits = low, \
                          .high_bits = high, .part_k = part, .offset = shift, .minimum = least, \
                          .half_scale = half, .background = left_out, \
                          .code_levels = SX_CODE_LEVELS_##level, .side = SX_SIDE_##record, .side_bytes = per_64_k};
#include "types.def"
#undef SX_WIDE
#undef SX_QUANT
    default: return none;
    }
}

// Block b of a chunk (32 k of 16 columns) lies in plane b % (8 / bits) of the bytes that hold its low or high bits;
// this many bytes hold that many blocks when every code is kept.
static inline int64_t sx_plane_bytes(int32_t bits, int64_t blocks) {
    int64_t planes;
    if (bits == 0) return 0;
    planes = 8 / bits;
    return (blocks + planes - 1) / planes * 512;
}

// A dense panel of this many K-blocks of 64 k.
static inline int64_t sx_dense_panel_bytes(sx_quant q, int64_t kblocks) {
    int64_t rest = kblocks % 4 * 2;
    return kblocks / 4 * (512 * (q.low_bits + q.high_bits)) + sx_plane_bytes(q.low_bits, rest)
        + sx_plane_bytes(q.high_bits, rest);
}

// Nearest float16, ties to even, as a float. Whatever float16 cannot hold stays as it is: ggml gets infinities there.
static inline float sx_round_to_half(float value) {
    union { float f; uint32_t bits; } number = {value};
    uint32_t sign = number.bits & 0x80000000u, magnitude = number.bits & 0x7fffffffu, unit;
    if (magnitude >= 0x477ff000u) return value; // rounds to 65536, is infinite, or a NaN
    if (magnitude < 0x38800000u) {
        // Subnormal in float16: a multiple of 2^-24. Adding 1/2, whose last place that is, rounds it.
        union { float f; uint32_t bits; } rest = {.bits = magnitude};
        rest.f = (rest.f + 0.5f) - 0.5f;
        rest.bits |= sign;
        return rest.f;
    }
    unit = magnitude >> 13 & 1;
    number.bits = ((magnitude + 0xfff + unit) & ~0x1fffu) | sign;
    return number.f;
}

// An entry of the offsets stream: where the chunk starts in the values, and how many bytes hold the low bits; the high
// bits follow. (16 bits for the length: at most 8 blocks of 512 bytes.)
static inline int64_t sx_offset_bytes(uint64_t entry) { return (int64_t)(entry & 0xffffffffffff); }
static inline int64_t sx_offset_low(uint64_t entry) { return (int64_t)(entry >> 48); }

// What a code stands for, as a byte that is never negative.
static inline int32_t sx_code_level(int32_t levels, int32_t code) {
    static const uint8_t iq4[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
    static const uint8_t fp4[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
    switch (levels) {
    case SX_CODE_LEVELS_IQ4: return iq4[code & 15];
    case SX_CODE_LEVELS_FP4: return fp4[code & 15];
    case SX_CODE_LEVELS_SIGN: return 2 * code;
    default: return code;
    }
}
