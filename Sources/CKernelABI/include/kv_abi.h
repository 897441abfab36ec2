// Packed key-value caches: how a block lies in memory, and what the core hands to the functions that pack, read and
// attend. FORMAT.md has the same in words.
#pragma once
#include <stdint.h>

#pragma clang assume_nonnull begin

enum {
    SX_KV_CELLS = 64,      // cells of a block
    SX_KV_CHUNK = 8,       // blocks that one task attends
    SX_KV_TOKENS = 16,     // most tokens of an attention
    SX_KV_DIM = 512,       // most numbers of a head
    SX_KV_INT8 = 0, SX_KV_KEPT = 1,
    SX_KV_OPEN = 0, SX_KV_PACKED = 1, // of a block
    SX_KV_SCALE_BYTES = 128,          // a bfloat16 for each cell
    SX_KV_VALUE_PAD = 64,             // bytes after the last block, so that 64-byte loads stay inside
    SX_KV_Q_LEVELS = 16256,           // 127 * 128: the largest code of a query: high * 128 + low
    SX_KV_P_LEVELS = 65535,           // of a probability: high * 256 + low
};

// Keys or values of a cache. Number d of cell c of a block has the place
//     keys:   ((c / 16 * dim / per + d / per) * 16 + c % 16) * per + d % per     16 cells by dim numbers, four times
//     values: ((d / 16 * 64 / per + c / per) * 16 + d % 16) * per + c % per      16 numbers by 64 cells, dim / 16 times
// with per = 4 for codes of 8 bits and 2 for numbers of 16 bits, so that 64 bytes hold what one instruction multiplies.
// A bit for each place says whether the number is kept; the kept ones follow each other in this order. Where all are
// kept there are no bits.
typedef struct sx_kv_side {
    uint8_t *rows;             // cell 0; of a cell: head after head
    int64_t block_stride;      // bytes, of 64 cells' rows
    int64_t cell_stride;       // bytes
    int64_t head_stride;       // bytes
    int32_t type;              // of the rows
    int32_t dim, keep;
    int32_t values;            // SX_KV_INT8, SX_KV_KEPT
    int32_t is_values;         // 0: keys, 1: values
    int32_t reserved;
    int64_t scales, bitmap, codes; // bytes from the start of a head's part of a block; -1: there are none
} sx_kv_side;

typedef struct sx_kv_cache {
    sx_kv_side k, v;
    uint8_t *packed;           // [block][head]
    uint64_t *present;         // [block], a bit for each cell
    uint8_t *state;            // [block], SX_KV_OPEN, SX_KV_PACKED
    int64_t head_bytes, block_bytes;
    int64_t blocks;
    int32_t heads, values;
} sx_kv_cache;

static inline int32_t sx_kv_per(const sx_kv_side *side) { return side->values == SX_KV_INT8 ? 4 : 2; }

static inline int64_t sx_kv_place(const sx_kv_side *side, int64_t cell, int64_t d) {
    int64_t per = sx_kv_per(side);
    if (side->is_values) return ((d / 16 * 64 / per + cell / per) * 16 + d % 16) * per + cell % per;
    return ((cell / 16 * side->dim / per + d / per) * 16 + cell % 16) * per + d % per;
}

static inline uint8_t *sx_kv_row(const sx_kv_side *side, int64_t block, int64_t cell, int64_t head) {
    return side->rows + block * side->block_stride + cell * side->cell_stride + head * side->head_stride;
}

// One side of one head of one block: rows to the packed form, which is overwritten. All cells are there.
typedef struct sx_kv_pack_args {
    const sx_kv_cache *cache;
    const sx_kv_side *side;          // of this cache
    const float *_Nullable weights;  // dim numbers that magnitudes are multiplied by before the largest are chosen
    int64_t block, head;
} sx_kv_pack_args;

void sx_reference_kv_pack(const sx_kv_pack_args *args);

// One side of one head of one cell, as attention sees it: dim numbers.
typedef struct sx_kv_read_args {
    const sx_kv_cache *cache;
    const sx_kv_side *side;
    int64_t block, cell, head; // cell: 0...63
    float *out;
} sx_kv_read_args;

void sx_reference_kv_read(const sx_kv_read_args *args);

// Here, because Swift guards the stack of a function that hands out the address of a local.
static inline void sx_kv_read_to(const sx_kv_cache *cache, const sx_kv_side *side, int64_t block, int64_t cell,
                                 int64_t head, float *out) {
    sx_kv_read_args args = {cache, side, block, cell, head, out};
    sx_reference_kv_read(&args);
}

// The same numbers as elements of the rows' type, to the cell's row: rounded to nearest, Q8_0 as ggml does.
void sx_reference_kv_write(const sx_kv_read_args *args);

// 1 if one side of one head of a block is what packing can have written.
int32_t sx_reference_kv_verify(const sx_kv_pack_args *args);

// What some tokens see of one head's cells in some blocks: for each row of queries the largest score, the sum of
// exp(score - largest), and the values weighted by it.
typedef struct sx_kv_attend_args {
    const sx_kv_cache *cache;
    int64_t head;
    int64_t block_begin, block_end; // all the same a cell at or beyond `cells` is not looked at
    int64_t cells;
    int64_t tokens, group;          // rows: tokens * group, row = token * group + query head of this head
    const uint8_t *q;               // of the first query head of this head, token 0
    int64_t q_token, q_head;        // strides in bytes
    const uint8_t *_Nullable mask;  // float16, cell 0 of token 0 of mask head 0
    int64_t mask_token, mask_head;  // strides in bytes
    int64_t mask_heads, first_head; // query head h has mask head h % mask_heads; first_head: the first of this head's
    int64_t all_heads;              // query heads of the attention, for ALiBi
    float scale, max_bias, softcap;
    int32_t reserved;
    float *out;                     // [rows][v_dim], then [rows] largest scores, then [rows] sums
    uint8_t *scratch;               // sx_kv_scratch_bytes(), 64-byte aligned
} sx_kv_attend_args;

// Scratch memory: places for `room` rows, which is rows rounded up to a multiple of 4.
typedef struct sx_kv_scratch {
    int64_t q;        // [room][k_dim] float32
    int64_t q_high, q_low; // [room][k_dim] signed bytes
    int64_t q_scale;  // [room] float32, times the scale of the scores
    int64_t q_offset; // [room] int32: what the offset of unsigned codes adds to a product
    int64_t slope;    // [room] float32
    int64_t visible;  // [room] 64 bits
    int64_t scores;   // [room][64] float32, then probabilities
    int64_t p_high, p_low; // [room][64] unsigned bytes
    int64_t p_scale;  // [room] float32
    int64_t row;      // [SX_KV_DIM] float32
    int64_t panel;    // one expanded panel: 16 * the larger of dim and 64 bytes
    int64_t bytes;
} sx_kv_scratch;

static inline sx_kv_scratch sx_kv_scratch_of(int64_t rows, int64_t k_dim, int64_t v_dim) {
    int64_t room = (rows + 3) / 4 * 4, at = 0;
    sx_kv_scratch s;
    (void)v_dim;
#define SX_KV_PLACE(field, size) s.field = at, at += ((size) + 63) / 64 * 64
    SX_KV_PLACE(q, room * k_dim * 4);
    SX_KV_PLACE(q_high, room * k_dim);
    SX_KV_PLACE(q_low, room * k_dim);
    SX_KV_PLACE(q_scale, room * 4);
    SX_KV_PLACE(q_offset, room * 4);
    SX_KV_PLACE(slope, room * 4);
    SX_KV_PLACE(visible, room * 8);
    SX_KV_PLACE(scores, room * SX_KV_CELLS * 4);
    SX_KV_PLACE(p_high, room * SX_KV_CELLS);
    SX_KV_PLACE(p_low, room * SX_KV_CELLS);
    SX_KV_PLACE(p_scale, room * 4);
    SX_KV_PLACE(row, SX_KV_DIM * 4);
    SX_KV_PLACE(panel, 16 * SX_KV_DIM);
#undef SX_KV_PLACE
    s.bytes = at;
    return s;
}

void sx_reference_kv_slopes(const sx_kv_attend_args *args); // fills in scratch: before either of
void sx_reference_kv_attend(const sx_kv_attend_args *args);
void sx_avx512_kv_attend(const sx_kv_attend_args *args);

// Joins what the chunks of one head's cells gave to one row of results.
typedef struct sx_kv_merge_args {
    const float *parts;       // of the first chunk: [rows][v_dim], [rows], [rows]
    int64_t part_stride;      // floats, from chunk to chunk
    int64_t chunks, rows, row;
    int64_t v_dim;
    const float *_Nullable sink; // one more score
    float *out;               // [v_dim]
} sx_kv_merge_args;

void sx_reference_kv_merge(const sx_kv_merge_args *args);

#pragma clang assume_nonnull end
