/*
 * files.h - what the tests of packed files share: a directory for them, whole files as bytes, and the checksums of
 * FORMAT.md, so that a test can write what a writer would not.
 */
#ifndef FILES_H
#define FILES_H

#include "types.h"

/* Where FORMAT.md puts things. */
enum {
    FILE_PAGE = 4096,
    AT_MAGIC = 0,
    AT_ORDER = 8,
    AT_VERSION = 12,
    AT_FILE_BYTES = 16,
    AT_INDEX = 24,
    AT_INDEX_BYTES = 32,
    AT_COUNT = 40,
    AT_KEY_BYTES = 44,
    AT_INDEX_SUM = 48,
    AT_ZERO = 56,
    AT_KEY = 64,
    AT_SUM = 4088,
    ENTRY_BYTES = 256,
    ENTRY_TYPE = 0,
    ENTRY_FORM = 4,
    ENTRY_REASON = 8,
    ENTRY_NAME_BYTES = 12,
    ENTRY_NE = 16,
    ENTRY_BACKGROUND = 48,
    ENTRY_VALUES = 56,
    ENTRY_PACKED = 64,
    ENTRY_OFFSET = 72,
    ENTRY_BLOCK = 80,
    ENTRY_ZERO = 88,
    ENTRY_NAME = 96
};

/* A file as bytes. */
typedef struct content {
    uint8_t *bytes;
    size_t size;
} content;

/* A directory of its own, removed with its files at the end of the process that asked first. */
const char *directory(void);
/* A path in it. Valid until eight more were asked for. */
const char *path_to(const char *name);
int files_in_directory(void);

content read_whole(const char *path); /* {NULL, 0} if it cannot be read */
bool write_whole(const char *path, const void *bytes, size_t size);
content copy_of(content c);

uint64_t xxh64(const void *bytes, size_t size);
uint64_t get64(const uint8_t *at);
uint32_t get32(const uint8_t *at);
void put64(uint8_t *at, uint64_t value);
void put32(uint8_t *at, uint32_t value);
/* Makes the checksums of index and header right again. */
void sign(content c);
uint8_t *entry_of(content c, int index);

#endif
