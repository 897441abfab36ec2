/*
 * gguf.h - a read-only view of a GGUF model (versions 2 and 3), of one file or of several.
 *
 * Files are mapped, never copied, and treated as hostile: every length, count, offset and product is checked against
 * the size of the file before it is used. What passes gguf_open() can be read without further checks. It accepts what
 * ggml's own reader accepts, and one thing more: tensor types that are newer than this program.
 */
#ifndef EXAMPLES_GGUF_H
#define EXAMPLES_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ggml's limit: 63 bytes and the terminating zero. */
#define GGUF_NAME_SIZE 64

/* Tensor types that the examples name; the numbers are part of the file format. */
enum {
    GGUF_F32 = 0, GGUF_F16 = 1, GGUF_Q4_0 = 2, GGUF_Q4_1 = 3, GGUF_Q5_0 = 6, GGUF_Q5_1 = 7, GGUF_Q8_0 = 8,
    GGUF_Q2_K = 10, GGUF_Q3_K = 11, GGUF_Q4_K = 12, GGUF_Q5_K = 13, GGUF_Q6_K = 14, GGUF_IQ4_NL = 20, GGUF_IQ4_XS = 23,
    GGUF_BF16 = 30, GGUF_MXFP4 = 39, GGUF_NVFP4 = 40, GGUF_Q1_0 = 41, GGUF_Q2_0 = 42
};

typedef struct gguf_tensor {
    char name[GGUF_NAME_SIZE]; /* printable ASCII: other bytes of the file show as '?' */
    uint32_t type;
    uint32_t n_dims;
    int64_t ne[4];       /* elements per dimension, may be 0; ne[0] is the row length; 1 beyond n_dims */
    uint64_t nbytes;     /* of an unknown type: up to where the next tensor begins */
    const uint8_t *data; /* in the map; NULL if the type is unknown. No alignment beyond the file's own is promised */
} gguf_tensor;

typedef struct gguf_file gguf_file;

/* Maps and validates the file, and all others of a model in several files, of which any may be named:
 * NAME-00001-of-00003.gguf. NULL on failure, with one sentence in error. */
gguf_file *gguf_open(const char *path, char *error, size_t error_size);

/* Ends the map; tensors and their data must not be used afterwards. NULL is fine. */
void gguf_close(gguf_file *file);

uint64_t gguf_n_files(const gguf_file *file);
uint64_t gguf_file_size(const gguf_file *file); /* of all its files together */
uint64_t gguf_n_tensors(const gguf_file *file);

/* index < gguf_n_tensors(). */
const gguf_tensor *gguf_tensor_at(const gguf_file *file, uint64_t index);

/* NULL if there is none of that name. */
const gguf_tensor *gguf_find_tensor(const gguf_file *file, const char *name);

/* Copies a string of the metadata, cut to size and made printable. False if the key is missing or no string. */
bool gguf_get_string(const gguf_file *file, const char *key, char *out, size_t size);

/* Any integer type that is not negative. False if the key is missing or something else. */
bool gguf_get_uint(const gguf_file *file, const char *key, uint64_t *out);

/* "BF16", "Q8_0", ... or "type 99". */
const char *gguf_type_name(uint32_t type);

/* Whether the type had a number once and is refused by today's engines. */
bool gguf_type_is_removed(uint32_t type);

/* Elements of one block; 0 if the type is unknown. */
uint64_t gguf_block_length(uint32_t type);

/* Bytes of one block, the unit of a type's layout; 0 if the type is unknown. */
uint64_t gguf_block_bytes(uint32_t type);

/* Bytes of a row of k elements; 0 if the type is unknown, k is no multiple of its block, or the size overflows. */
uint64_t gguf_row_bytes(uint32_t type, int64_t k);

#endif
