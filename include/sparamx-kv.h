/*
 * sparamx-kv.h - packed key-value caches, and attention over them. A part of sparamx.h, which includes it: its
 * conventions hold here too.
 *
 * A cache is what one layer keeps of one stream of tokens: a row of keys and a row of values for each of its cells,
 * each row one piece for each head. Cells are written when tokens come. Blocks of 64 cells that are finished are packed
 * by sparamx_kv_pack: their numbers become 8-bit codes with one scale for each cell and head (or stay what they are),
 * and if the options say so, the least important of each cell and head are left out, exactly the same number for every
 * cell and head. So every packed block has the same size, and cells are written, overwritten, removed and copied in
 * place, without an allocator. Cells that are not packed are kept as they were given.
 *
 * Attention reads each key and each value once for all query heads that share them. It takes 1...16 tokens at a time;
 * a host computes the many tokens of a prompt itself.
 *
 * Rows are either kept here, or the host's own: then the host writes them, says so by sparamx_kv_touch, and this
 * library only reads them, until their block is packed. Such rows must stay readable as long as the cache lives.
 *
 *   threads    On one cache any number of threads may attend, read, verify, save and ask at once; write, touch,
 *              remove, copy, observe and pack must not overlap any other call on it.
 *   memory     sparamx_kv_create reserves all address space that the cache can ever need, and nothing after it takes
 *              more: pages become resident as cells are written and packed, and those of rows kept here are given back
 *              when their block is packed. In a process that locks its memory all of it is resident from the start.
 *   floats     NaN and infinities among the keys or values of a cell that is packed as 8-bit codes make all of them in
 *              that head NaN. A cell that is masked out, or that is not there, is not looked at.
 */
#ifndef SPARAMX_H
#include "sparamx.h" /* which includes this file where its table needs it */
#endif
#ifndef SPARAMX_KV_H
#define SPARAMX_KV_H

#ifdef __cplusplus
extern "C" {
#endif

/* What packed values are. */
enum {
    SPARAMX_KV_INT8 = 0, /* 8-bit codes, and a bfloat16 scale for each cell and head */
    SPARAMX_KV_KEPT = 1  /* the float16 or bfloat16 numbers of the rows: slower, for tests of exactness and pruning */
};

enum {
    SPARAMX_KV_BLOCK = 64,      /* cells of a block */
    SPARAMX_KV_TOKENS_MAX = 16, /* tokens of one attention */
    SPARAMX_KV_DIM_MAX = 512    /* numbers of a head */
};

typedef struct sparamx_kv sparamx_kv;

typedef struct sparamx_kv_options {
    uint32_t size;       /* sizeof(sparamx_kv_options) */
    int32_t type_k;      /* of the rows: SPARAMX_TYPE_F32, _F16, _BF16 or _Q8_0, whose heads are multiples of 32 */
    int32_t type_v;
    int32_t values;      /* SPARAMX_KV_INT8, or SPARAMX_KV_KEPT, with rows of F16 and BF16 alone: SPARAMX_ERR_TYPE */
    int32_t heads;       /* heads of keys and values, 1...1024 */
    int32_t k_dim;       /* numbers of a head: multiples of 16, 16...SPARAMX_KV_DIM_MAX: SPARAMX_ERR_SHAPE */
    int32_t v_dim;
    float k_zeros;       /* share of each head's numbers that packing leaves out, 0...0.95. How many are kept is rounded
                            to nearest, one at least; 0: all, without a bitmap */
    float v_zeros;
    int32_t window;      /* newest cells that are not packed; 0: 64 if numbers are left out, else none; -1: none */
    int32_t sinks;       /* first cells that are not packed, by whole blocks; 0 and -1: as window */
    int32_t reserved;    /* 0 */
    int64_t cells;       /* 1...2^31-1 */
    const void *k_rows;  /* NULL: rows are kept here; else both are the host's, cell 0 first, aligned to an element */
    const void *v_rows;
    uint64_t k_stride;   /* bytes from cell to cell of the host's rows; 0: one row. Not of rows kept here: 0 */
    uint64_t v_stride;
} sparamx_kv_options;

/*
 * A cache without cells. SPARAMX_ERR_RANGE, SPARAMX_ERR_TYPE, SPARAMX_ERR_SHAPE as above, SPARAMX_ERR_STRIDE for a
 * stride smaller than a row or not of whole elements, SPARAMX_ERR_NULL for one of the rows without the other,
 * SPARAMX_ERR_NO_MEMORY.
 */
sparamx_status sparamx_kv_create(const sparamx_kv_options *options, sparamx_kv **out);

/* The host's rows are not touched. NULL is fine. */
void sparamx_kv_destroy(sparamx_kv *kv);

/*
 * Writes n cells, in rows kept here: row i of k and of v, k_stride and v_stride bytes apart (0: one row), becomes cell
 * cells[i]. Cells may be there already, and a packed block they are in is unpacked to rows: what its other cells were
 * is rounded to the type of the rows. A cell that is named twice is written twice. Nothing is written if a cell is
 * outside of 0...cells-1: SPARAMX_ERR_RANGE. SPARAMX_ERR_STATE if the rows are the host's.
 */
sparamx_status sparamx_kv_write(sparamx_kv *kv, const int64_t *cells, int64_t n, const void *k, uint64_t k_stride,
                                const void *v, uint64_t v_stride);

/* The host has written cells first...first+n-1 of its rows: they are there now, and their blocks are packed anew when
 * sparamx_kv_pack comes to them. SPARAMX_ERR_STATE if rows are kept here. */
sparamx_status sparamx_kv_touch(sparamx_kv *kv, int64_t first, int64_t n);

/* Cells first...first+n-1 are not there any more; they need not have been. */
sparamx_status sparamx_kv_remove(sparamx_kv *kv, int64_t first, int64_t n);

/*
 * Cells from...from+n-1 of src, as attention sees them, become cells to...to+n-1 of dst, whose rows are kept there
 * (SPARAMX_ERR_STATE). Those that are not there in src are removed from dst. src may be dst, and ranges may overlap.
 * Types, values, heads, dimensions and shares left out must be the same (SPARAMX_ERR_SHAPE). Whole packed blocks, to
 * and from multiples of 64, stay packed, with the same bits; other packed cells are rounded to the type of the rows.
 */
sparamx_status sparamx_kv_copy(sparamx_kv *dst, int64_t to, const sparamx_kv *src, int64_t from, int64_t n);

/*
 * What attention sees of cells first...first+n-1, in float32: n rows of heads * k_dim numbers to k and of heads * v_dim
 * numbers to v, tightly packed; k or v may be NULL. SPARAMX_ERR_INCOMPLETE if one of the cells is not there: then
 * nothing is written. A shift of positions is to read, rotate and write.
 */
sparamx_status sparamx_kv_read(const sparamx_kv *kv, int64_t first, int64_t n, float *k, float *v);

/*
 * Shows the cache queries, so that packing knows which channels of the keys matter: keys are left out by their size
 * times the root of the mean square of the queries of their head in that channel, over the newest 4,096 tokens or so;
 * by size alone where no query has been shown. q: as in sparamx_attention.
 */
sparamx_status sparamx_kv_observe(sparamx_kv *kv, const sparamx_tensor *q);

/*
 * Packs every block that is finished: all of its cells are there, none is one of the newest `window` cells, which end
 * with cell newest, or of the first `sinks`. newest: -1...cells-1; -1: there is no window. Every one of the nth threads
 * of params calls it; work and work_size are not looked at, and the barrier is called once. All that is done has been
 * done when all threads have returned. Does nothing, quickly, if no block has become finished.
 */
sparamx_status sparamx_kv_pack(sparamx_kv *kv, const sparamx_params *params, int64_t newest);

typedef struct sparamx_kv_info {
    uint32_t size;            /* in: sizeof(sparamx_kv_info) */
    int32_t attached;         /* 1: the rows are the host's */
    int32_t k_kept, v_kept;   /* numbers of each cell and head that packing keeps */
    int64_t cells;            /* as given to create */
    int64_t present;          /* cells that are there */
    int64_t packed_blocks;    /* of 64 cells each */
    int64_t open_blocks;      /* blocks with cells that are not packed */
    uint64_t block_bytes;     /* of a packed block */
    uint64_t packed_bytes;    /* of all packed blocks */
    uint64_t row_bytes;       /* of blocks that are not packed, in rows kept here; 0 if the rows are the host's */
    uint64_t observed;        /* tokens whose queries have been shown */
} sparamx_kv_info;

/* Fills *info. Takes time linear in the number of blocks. */
sparamx_status sparamx_kv_get_info(const sparamx_kv *kv, sparamx_kv_info *info);

/*
 * Looks whether all packed blocks are what packing can have written: exactly as many numbers of each cell and head as
 * are kept, scales and codes that can be. If so, no call reads outside of the cache, whatever the numbers are.
 * SPARAMX_ERR_DAMAGED if not: remove or destroy what is in it, and suspect a stray write or faulty memory.
 */
sparamx_status sparamx_kv_verify(const sparamx_kv *kv);

/*
 * The whole cache as bytes, in pieces, in order (FORMAT.md has the format): cells that are there, packed or as rows,
 * and what queries have shown. write returns false to end it: SPARAMX_ERR_FILE. It may call this library, but not
 * change this cache. What was written before a failure is worth nothing.
 */
sparamx_status sparamx_kv_save(const sparamx_kv *kv, bool (*write)(const void *data, size_t size, void *user),
                               void *user);

/*
 * A cache from such bytes, on any machine, with rows kept here. read fills size bytes, or returns false if there are
 * none: SPARAMX_ERR_FILE. Everything is judged before it is used, and has a checksum: SPARAMX_ERR_FILE_FOREIGN for what
 * is no such cache, SPARAMX_ERR_FILE_VERSION, SPARAMX_ERR_FILE_DAMAGED; SPARAMX_ERR_NO_MEMORY.
 */
sparamx_status sparamx_kv_load(bool (*read)(void *data, size_t size, void *user), void *user, sparamx_kv **out);

/* ------------------------------------------------------------------------------------------------ attention -- */

/*
 * dst = softmax(q * K^T * scale + mask) * V, as ggml's FLASH_ATTN_EXT has it. q: [k_dim, T, H, S] float32, T tokens
 * (1...SPARAMX_KV_TOKENS_MAX), H query heads, a multiple of the cache's, head h reading head h / (H / heads) of the
 * cache, and S streams. dst: [v_dim, H, T, S] float32, nb[0] = 4, rows apart. mask: NULL, or float16
 * [>= cells, >= T, H' , S'] with H a multiple of H' and S of S', added to the scores; -infinity masks a cell out.
 * sinks: NULL, or H numbers in float32, the score of one more cell for each head, whose values are zero. Tokens that
 * see nothing get zeros.
 *
 * The score of a cell is q * k * scale; with softcap, which is 0 or positive, softcap * tanh(q * k * scale / softcap);
 * the mask is multiplied by ALiBi's slope of the head if max_bias, which is 0 or positive, is not 0.
 */
typedef struct sparamx_attention {
    uint32_t size;                /* sizeof(sparamx_attention) */
    int32_t streams;              /* entries of kv, which must be S */
    const sparamx_tensor *dst;
    const sparamx_tensor *q;
    const sparamx_tensor *mask;
    const sparamx_tensor *sinks;
    const sparamx_kv *const *kv;  /* the cache of each stream; alike in heads and dimensions (SPARAMX_ERR_SHAPE) */
    int64_t cells;                /* the first so many cells are looked at, 1...the cells of every cache */
    float scale, max_bias, softcap;
    int32_t reserved;             /* 0 */
} sparamx_attention;

/*
 * SPARAMX_OK if compute will take it. Data pointers may be NULL; what is there is judged as compute does. The caches
 * must be there.
 */
sparamx_status sparamx_attention_supports(const sparamx_attention *attention);

/* Bytes of work area that compute needs with n_threads threads (1...1024). */
sparamx_status sparamx_attention_work_size(const sparamx_attention *attention, int32_t n_threads, size_t *bytes);

/*
 * Computes dst. Threads, work area, tile state, floating-point mode and what is not done as in sparamx_compute. The
 * result does not depend on the number of threads, nor on the level: every level gives the same bits. dst and work
 * must not overlap each other or anything that is read, rows of the host's included: SPARAMX_ERR_OVERLAP.
 */
sparamx_status sparamx_attention_compute(const sparamx_params *params, const sparamx_attention *attention);

#ifdef __cplusplus
}
#endif

#endif /* SPARAMX_KV_H */
