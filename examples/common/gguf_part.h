/* gguf_part.h - one file of a model, for gguf.c alone: programs use gguf.h. */
#ifndef EXAMPLES_GGUF_PART_H
#define EXAMPLES_GGUF_PART_H

#include "gguf.h"

typedef struct gguf_part {
    const uint8_t *map;
    uint64_t size;
    uint64_t kv_begin; /* where the metadata starts, and how many entries it has */
    uint64_t n_kv;
    uint64_t n_tensors;
    gguf_tensor *tensors;
    char *error;
    size_t error_size;
} gguf_part;

/* A position in the file. Reading never passes the end: each step asks for its bytes first. */
typedef struct gguf_cursor {
    const gguf_part *file;
    uint64_t pos;
} gguf_cursor;

typedef struct gguf_text {
    const uint8_t *bytes;
    uint64_t length;
} gguf_text;

typedef struct gguf_key_value {
    gguf_text key;
    uint32_t type;
    uint64_t value; /* offset of the value in the file */
} gguf_key_value;

enum { GGUF_VALUE_UINT32 = 4, GGUF_VALUE_STRING = 8, GGUF_VALUE_ARRAY = 9 };

/* False with one sentence in error; close it then too. error must live until gguf_part_open() returns. */
bool gguf_part_open(gguf_part *part, const char *path, char *error, size_t error_size);
void gguf_part_close(gguf_part *part);

__attribute__((format(printf, 2, 3))) void gguf_set_error(const gguf_part *part, const char *format, ...);

/* Ends a check that failed. A macro, so that the compiler sees that nothing after it is reached. */
#define gguf_fail(...) (gguf_set_error(__VA_ARGS__), false)
#define gguf_fail_short(part) \
    gguf_fail(part, "the file ends in the middle of its header: it is damaged or not completely downloaded")

bool gguf_take(gguf_cursor *c, uint64_t bytes, const uint8_t **out);
bool gguf_read_u32(gguf_cursor *c, uint32_t *out);
bool gguf_read_u64(gguf_cursor *c, uint64_t *out);
bool gguf_read_text(gguf_cursor *c, gguf_text *out);

/* The first of two equal texts among n, which are sorted; NULL if all differ. */
const gguf_text *gguf_find_equal(gguf_text *texts, uint64_t n);

bool gguf_find_key(const gguf_part *part, const char *key, gguf_key_value *kv);

/* Bytes of a value; 0 for strings, arrays and unknown types. */
uint64_t gguf_value_size(uint32_t type);

/* Control bytes in a name could drive the terminal that shows it, so nothing but printable ASCII leaves the reader. */
void gguf_copy_printable(gguf_text t, char *out, size_t size);

/* Reads the list of tensors that begins at the cursor, and places their data (gguf_tensors.c). */
bool gguf_read_tensors(gguf_part *part, gguf_cursor *c);

#endif
