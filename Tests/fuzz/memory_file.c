/*
 * memory_file.c - the one file there is while the library is fuzzed, in memory: what is written appears in it when it
 * is finished, what is opened is it. Each call fails where fuzz_fail_at says so.
 */
#include "memory_file.h"

#include <errno.h>
#include <stdlib.h>

/* As platform.h has them. */
enum { FAILED = -1, ENDED = -3, NO_MEMORY = -4 };

static uint8_t file[MOST_FILE], fresh[MOST_FILE];
static size_t file_bytes;

uint8_t *memory_file(size_t *bytes) {
    *bytes = file_bytes;
    return file;
}

void memory_file_resize(size_t bytes) {
    if (bytes > MOST_FILE) abort();
    if (bytes > file_bytes) memset(file + file_bytes, 0, bytes - file_bytes);
    file_bytes = bytes;
}

static bool refused(void) {
    if (!fuzz_refuse()) return false;
    errno = EIO;
    return true;
}

int32_t __wrap_sx_file_open(const char *path, int64_t *size);
int32_t __wrap_sx_file_open(const char *path, int64_t *size) {
    (void)path;
    *size = (int64_t)file_bytes;
    return refused() ? FAILED : 1000;
}

void __wrap_sx_file_close(int32_t number);
void __wrap_sx_file_close(int32_t number) { CLAIM(number == 1000, "%d is closed", number); }

int32_t __wrap_sx_file_read(int32_t number, void *to, size_t bytes, int64_t offset);
int32_t __wrap_sx_file_read(int32_t number, void *to, size_t bytes, int64_t offset) {
    CLAIM(number == 1000 && offset >= 0, "%d at %lld", number, (long long)offset);
    if (refused()) return FAILED;
    if ((uint64_t)offset > file_bytes || bytes > file_bytes - (size_t)offset) return bytes == 0 ? 1 : ENDED;
    memcpy(to, file + offset, bytes);
    return 1;
}

bool __wrap_sx_file_map(void *place, size_t bytes, int32_t number, int64_t offset);
bool __wrap_sx_file_map(void *place, size_t bytes, int32_t number, int64_t offset) {
    CLAIM(number == 1000 && offset % 4096 == 0 && bytes % 4096 == 0, "%zu at %lld", bytes, (long long)offset);
    if (refused()) return false;
    CLAIM((size_t)offset + bytes <= file_bytes, "mapped beyond the end: %zu at %lld", bytes, (long long)offset);
    memcpy(place, file + offset, bytes);
    return true;
}

bool __wrap_sx_make_constant(void *place, size_t bytes);
bool __wrap_sx_make_constant(void *place, size_t bytes) {
    (void)place;
    (void)bytes;
    return !fuzz_refuse();
}

int32_t __wrap_sx_new_file_create(const char *path, void **out);
int32_t __wrap_sx_new_file_create(const char *path, void **out) {
    (void)path;
    if (refused()) return FAILED;
    *out = malloc(1);
    return *out ? 0 : NO_MEMORY;
}

bool __wrap_sx_new_file_write(void *it, const void *from, size_t bytes, int64_t offset);
bool __wrap_sx_new_file_write(void *it, const void *from, size_t bytes, int64_t offset) {
    (void)it;
    if (refused()) return false;
    CLAIM(offset >= 0 && (size_t)offset + bytes <= MOST_FILE, "%zu at %lld", bytes, (long long)offset);
    memcpy(fresh + offset, from, bytes);
    return true;
}

bool __wrap_sx_new_file_finish(void *it, int64_t size);
bool __wrap_sx_new_file_finish(void *it, int64_t size) {
    (void)it;
    if (refused()) return false;
    CLAIM(size >= 0 && size <= MOST_FILE, "%lld bytes", (long long)size);
    memcpy(file, fresh, (size_t)size);
    file_bytes = (size_t)size;
    return true;
}

void __wrap_sx_new_file_end(void *it);
void __wrap_sx_new_file_end(void *it) { free(it); }
