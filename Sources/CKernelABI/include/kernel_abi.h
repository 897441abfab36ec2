// The argument blocks that the core hands to kernels, and the names of all kernels. Kernels are reached by C symbol
// only: in Embedded Swift an imported Swift function may be compiled again inside its client, and a client built for
// baseline x86-64 must never hold a copy of AVX-512 or AMX code.
#pragma once
#include "quant.h"

#pragma clang assume_nonnull begin

// No instruction: the assembler writes unwind tables for the whole object file in which this is compiled. Embedded
// Swift asks for none (Package.swift), so each file of kernels from which functions remain calls it once; the check of
// the built library finds the one that does not.
static inline void sx_unwind_tables(void) { __asm__ volatile(".cfi_sections .eh_frame"); }

enum {
    SX_PANEL = 16,        // output rows (columns of a B tile) in a panel
    SX_TILE_BYTES = 1024, // 16 tile rows of 64 bytes
    SX_SLAB_KBLOCKS = 16, // K-blocks in one slab of packed activations (1 KB per token, 2 KB in float32)
    SX_CHUNK_K = 256,     // K covered by one entry of the offsets stream
    SX_VALUE_PAD = 64,    // bytes after the values, so that 64-byte loads never leave the mapping
    SX_GEMM_M = 512,      // tokens multiplied per pass over the weights in the large-M kernels
    SX_GEMM_PAIRS = 8,    // pairs of panels that share one pass over a chunk of activations
    SX_CODEC_SCRATCH = 20480, // bytes that a codec function for a quantized type needs
    SX_CODED_RECORD = 16,     // side bytes of a chunk in the coded forms of BF16: its table of exponents
    SX_CODED_SCRATCH = 32768, // bytes that a codec function for a coded form needs
};

// Where things are in a thread's scratch memory, in bytes from its start.
enum {
    // The reference: the levels of a chunk.
    SX_LEVELS_BYTES = 8192,
    // Many tokens on AVX-512: two expanded chunks, with scales, minimums, a reader's memory and a list; then results:
    // per token and pair of panels 128 bytes, for F16 per panel.
    SX_GEMM_SECOND = 16384, SX_GEMM_SCALES = 32768, SX_GEMM_MINIMUMS = 40960, SX_GEMM_MEMORY = 49152,
    SX_GEMM_LIST = 49216,
    SX_GEMM_WIDE_LIST = 49152, // of BF16 and F16, which have neither scales nor a reader
    SX_GEMM_BYTES = 65536,
    // Up to 32 tokens on AMX: the saved tile configuration, two stages of two expanded tiles, results on their way out.
    SX_RING_STAGES = 4096, SX_RING_RESULTS = 16384, SX_RING_PANELS = 20480, SX_RING_BYTES = 40960,
    // Many tokens on AMX: two stages of two expanded chunks; a quantized type's panels; then a cell of four result
    // tiles per 32 tokens and pair of panels.
    SX_TILE_GEMM_STAGE = 32768, SX_TILE_GEMM_SECOND = 16384, SX_TILE_GEMM_PANELS = 98304, SX_TILE_GEMM_BYTES = 131072,
};

// One weight matrix. Streams point at the first panel of the matrix (values of the sparse form excepted: offsets are
// relative to the start of the stream).
typedef struct sx_weights {
    const uint8_t *values;             // dense: all codes, panel by panel; sparse: codes that are not background
    const uint8_t *_Nullable bitmap;   // sparse: [panel][kblock][16 rows][4 or 8 bytes]
    const uint8_t *_Nullable side;     // quantized types: the side stream, see quant.h
    const uint64_t *_Nullable offsets; // sparse: [panel][chunk], see sx_offset_bytes and sx_offset_low
    int64_t n, k;
    int64_t kblocks;                   // tiles per panel
    int64_t chunks;                    // offsets per panel
    int32_t type;                      // GGUF type number; read by the reference kernel only
    int32_t sparse;                    // 1: the sparse form; read by the reference kernel only
    int32_t coded;                     // 1: a coded form, whose offsets and tables (side) are there in both cases; read
                                       // by the reference kernel only
} sx_weights;

// The tokens it is multiplied with: as the host has them, or packed, as the kernel's row in kernels.def says.
typedef struct sx_tokens {
    int64_t m;
    const float *_Nullable data;       // as the host has them
    int64_t ld;                        // in floats
    const uint8_t *_Nullable packed;   // see sx_activation_args
    const float *_Nullable scales;     // Q8, per 32
    const int32_t *_Nullable sums;     // Q8, per `part_k` of the weight's type
    int64_t rows;                      // tokens the packed activations have room for, at least m
    int64_t kblocks;                   // of the packed activations (64 bytes or 128 bytes per token each)
    int64_t first;                     // gemm kernels multiply tokens first..<m; all others want 0 here
} sx_tokens;

typedef struct sx_results {
    float *data;                       // row per token; column 0 of the matrix
    int64_t ld;                        // in floats
} sx_results;

// One matrix product, as one thread sees it.
typedef struct sx_kernel_args {
    sx_weights w;
    sx_tokens x;
    sx_results y;
    int64_t panel_begin, panel_end;    // this thread's panels
    uint8_t *scratch;                  // this thread's own, 64-byte aligned
} sx_kernel_args;

typedef void (*sx_kernel_fn)(const sx_kernel_args *args);

// Packing of activations. A work item is one token of a slab, item = slab * m + token; a thread does a range of them.
// Layout: [slab][tile of 16 tokens][K-block][token][row bytes], the last tile of tokens holding only m % 16 rows,
// so that for one token the rows are simply consecutive. Q8 scales and sums: the same with 2 (sums per 16: 4) entries
// per row, the parts before the tokens: [slab][tile][K-block][part][token].
typedef struct sx_activation_args {
    const float *x;
    int64_t ldx;              // in floats
    int64_t m, k, kblocks;    // kblocks of the packed layout (32 k each for bf16 and f32, 64 for q8)
    int64_t rows;             // tokens the layout has room for: m, or more as the kernel's row says (the rest is zero)
    uint8_t *a;
    float *_Nullable a_scale;
    int32_t *_Nullable a_sum; // Q8, per `part_k` codes: -offset * their sum; with a minimum the bits of a float:
                              // scale * sum
    int32_t part_k, offset;   // Q8: of the weight's type
    int32_t minimum;          // Q8: 1: the weight's type has one
    int32_t half_scale;       // Q8: 1: scales, and sums that are scaled, are rounded to float16, as ggml does for such
                              // types
    int64_t item_begin, item_end;
} sx_activation_args;

typedef void (*sx_activation_fn)(const sx_activation_args *args);

// Index of the row of 64 (bf16, q8) or 128 (f32) bytes that holds this token's share of a K-block.
static inline int64_t sx_activation_row(int64_t rows, int64_t kblocks, int64_t kblock, int64_t token) {
    int64_t slab = kblock / SX_SLAB_KBLOCKS * SX_SLAB_KBLOCKS, left = kblocks - slab; // its first K-block
    int64_t blocks = left < SX_SLAB_KBLOCKS ? left : SX_SLAB_KBLOCKS;
    int64_t tile = token / 16 * 16, tile_rows = rows - tile < 16 ? rows - tile : 16;
    return slab * rows + tile * blocks + (kblock - slab) * tile_rows + token - tile;
}

// Index of the Q8 scale or sum of one part (of `parts` per K-block) of this token's share of a K-block.
static inline int64_t sx_activation_part(int64_t rows, int64_t kblocks, int64_t kblock, int64_t part, int64_t parts,
                                         int64_t token) {
    int64_t tile = token / 16, tile_rows = rows - 16 * tile < 16 ? rows - 16 * tile : 16;
    return parts * sx_activation_row(rows, kblocks, kblock, 16 * tile) + part * tile_rows + token - 16 * tile;
}

// One panel of weights on its way into or out of the packed form.
typedef struct sx_codec_args {
    int32_t type;                 // GGUF type number
    int32_t rows;                 // rows present in this panel, 1...16
    int64_t k, kblocks;
    uint8_t *file;                // first row in the file's layout (only unpacking writes there)
    int64_t row_stride;           // bytes
    uint8_t *values;              // dense: this panel's tiles; sparse: this panel's first code
    uint8_t *_Nullable bitmap;    // sparse: this panel's masks
    uint8_t *_Nullable side;      // quantized types: this panel's side stream
    uint64_t *_Nullable counts;   // count: per chunk of 256 k the bytes in values and, above bit 48, those of the low
                                  // bits
    uint64_t *_Nullable kept;     // count, sparse packing: codes that are not background are added here
    const uint64_t *_Nullable offsets; // sparse: this panel's entries and the one after them. Packing writes nowhere
                                  // else
    uint64_t *_Nullable changed;  // sparse packing: set to 1 if the source is no longer what was counted; the panel is
                                  // then worth nothing
    uint8_t *_Nullable scratch;   // quantized types: SX_CODEC_SCRATCH bytes
} sx_codec_args;

typedef void (*sx_codec_fn)(const sx_codec_args *args);

// Reference, for every CPU.
void sx_reference_product_plain(const sx_kernel_args *args);
void sx_reference_product_codes(const sx_kernel_args *args);
void sx_reference_activation_bf16(const sx_activation_args *args);
void sx_reference_activation_f32(const sx_activation_args *args);
void sx_reference_activation_q8(const sx_activation_args *args);
void sx_reference_count(const sx_codec_args *args);
void sx_reference_pack_dense(const sx_codec_args *args);
void sx_reference_pack_sparse(const sx_codec_args *args);
void sx_reference_unpack_dense(const sx_codec_args *args);
void sx_reference_unpack_sparse(const sx_codec_args *args);
void sx_reference_coded_count(const sx_codec_args *args);
void sx_reference_coded_pack_dense(const sx_codec_args *args);
void sx_reference_coded_pack_sparse(const sx_codec_args *args);
void sx_reference_coded_unpack_dense(const sx_codec_args *args);
void sx_reference_coded_unpack_sparse(const sx_codec_args *args);
void sx_reference_quant_count(const sx_codec_args *args);
void sx_reference_quant_pack_dense(const sx_codec_args *args);
void sx_reference_quant_pack_sparse(const sx_codec_args *args);
void sx_reference_quant_unpack_dense(const sx_codec_args *args);
void sx_reference_quant_unpack_sparse(const sx_codec_args *args);

// AVX-512.
void sx_avx512_activation_bf16(const sx_activation_args *args);
void sx_avx512_activation_f32(const sx_activation_args *args);
void sx_avx512_activation_q8(const sx_activation_args *args);
void sx_avx512_count(const sx_codec_args *args);
void sx_avx512_pack_dense(const sx_codec_args *args);
void sx_avx512_pack_sparse(const sx_codec_args *args);
void sx_avx512_unpack_dense(const sx_codec_args *args);
void sx_avx512_unpack_sparse(const sx_codec_args *args);
void sx_avx512_quant_count(const sx_codec_args *args);
void sx_avx512_quant_pack_dense(const sx_codec_args *args);
void sx_avx512_quant_pack_sparse(const sx_codec_args *args);
void sx_avx512_quant_unpack_dense(const sx_codec_args *args);
void sx_avx512_quant_unpack_sparse(const sx_codec_args *args);

// Integer sums of one K-block and panel that wait to be scaled, 64 bytes per token; those of its second 32 k are 2 KB
// behind those of the first.
typedef struct sx_scaling {
    const uint8_t *sums;
    uint8_t *totals;          // in single precision, 64 bytes per token
    const float *scales;      // of the K-block: two times 16; 64 floats behind them its minimums
    const uint8_t *x;         // scales of 32 tokens for the first 32 k, for the others, then their sums likewise
    int64_t tokens;
} sx_scaling;

// The AMX kernels of all quantized types share their bodies. What differs is how a K-block is brought from the packed
// form to levels, scales and minimums: one function per type and form, called for K-block after K-block of a panel.
typedef struct sx_expansion {
    const sx_kernel_args *args;
    int64_t panel, kblock;    // which K-block is next; the first one is the first of a chunk
    uint8_t *slot;            // 1 KB for its levels
    const uint8_t *levels;    // out: where the levels are (dense Q8_0: where they were)
    float *scales, *minimums; // out: 16 of each per part; zeros where the type has no minimum
    void *reader;             // SX_READER_BYTES that stay as they are between calls
    sx_scaling *_Nullable waiting; // what is to be scaled meanwhile; only types with 32 weights per part have it
} sx_expansion;

enum { SX_READER_BYTES = 128 };

typedef void (*sx_expand_fn)(sx_expansion *next);

#pragma clang assume_nonnull end

// The product kernels: every row of every type, as sx_avx512_q4_0_dense_m1(). Those of the reference are the two above.
#include "kernels.def"
#define SX_REFERENCE_KERNEL(...)
#define SX_AVX512_KERNEL(kernel, name, form) \
    void sx_avx512_##name##_##form##_##kernel(const sx_kernel_args *_Nonnull args);
#define SX_AMX_KERNEL(kernel, name, form) \
    void sx_amx_##name##_##form##_##kernel(const sx_kernel_args *_Nonnull args);
#define SX_ROW(level, kernel, first, last, from_dense, from_sparse, x, multiple, above, exact, scratch, name) \
    SX_##level##_KERNEL(kernel, name, dense) SX_##level##_KERNEL(kernel, name, sparse)
#define SX_CODED_ROW(level, kernel, first, last, from_dense, from_sparse, x, multiple, above, exact, scratch, name) \
    SX_##level##_KERNEL(kernel, name, coded) SX_##level##_KERNEL(kernel, name, coded_sparse)
#define SX_DECLARE_BOTH(...)
#define SX_DECLARE_CODED(NAME, name) SX_KERNELS_##NAME(SX_CODED_ROW, name)
#define SX_WIDE(NAME, name, number, forms) SX_KERNELS_##NAME(SX_ROW, name) SX_DECLARE_##forms(NAME, name)
#define SX_QUANT(NAME, name, number, k, bytes, low, high, part, ...) SX_KERNELS_PARTS_OF_##part(SX_ROW, name)
#include "types.def"
#undef SX_REFERENCE_KERNEL
#undef SX_AVX512_KERNEL
#undef SX_AMX_KERNEL
#undef SX_ROW
#undef SX_CODED_ROW
#undef SX_DECLARE_BOTH
#undef SX_DECLARE_CODED
#undef SX_WIDE
#undef SX_QUANT

// What the AMX kernels of a quantized type hand to their bodies.
#define SX_WIDE(...)
#define SX_QUANT(NAME, name, ...) \
    void sx_amx_##name##_dense_expand(sx_expansion *_Nonnull next); \
    void sx_amx_##name##_sparse_expand(sx_expansion *_Nonnull next);
#include "types.def"
#undef SX_WIDE
#undef SX_QUANT
