/* Maps one file and reads its header and metadata: what ggml's own reader refuses, this one refuses too. */
#define _POSIX_C_SOURCE 200809L

#include "gguf_part.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ggml's own limits. No limit on counts is needed: each entry takes some bytes of the file. */
static const uint64_t MAX_STRING = 1 << 30, MAX_ELEMENTS = 1 << 30;

enum { LEAST_KEY_VALUE = 8 + 1 + 4 + 1, LEAST_TENSOR = 8 + 4 + 4 + 8 };

void gguf_set_error(const gguf_part *part, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (part->error_size > 0) vsnprintf(part->error, part->error_size, format, args);
    va_end(args);
}

bool gguf_take(gguf_cursor *c, uint64_t bytes, const uint8_t **out) {
    if (bytes > c->file->size - c->pos) return gguf_fail_short(c->file);
    *out = c->file->map + c->pos;
    c->pos += bytes;
    return true;
}

bool gguf_read_u32(gguf_cursor *c, uint32_t *out) {
    const uint8_t *p;
    if (!gguf_take(c, sizeof *out, &p)) return false;
    memcpy(out, p, sizeof *out);
    return true;
}

bool gguf_read_u64(gguf_cursor *c, uint64_t *out) {
    const uint8_t *p;
    if (!gguf_take(c, sizeof *out, &p)) return false;
    memcpy(out, p, sizeof *out);
    return true;
}

bool gguf_read_text(gguf_cursor *c, gguf_text *out) {
    if (!gguf_read_u64(c, &out->length)) return false;
    if (out->length > MAX_STRING && out->length <= c->file->size)
        return gguf_fail(c->file, "the file holds a text of more than a gigabyte, which no engine reads");
    return gguf_take(c, out->length, &out->bytes);
}

void gguf_copy_printable(gguf_text t, char *out, size_t size) {
    size_t n = t.length < size - 1 ? (size_t)t.length : size - 1;
    for (size_t i = 0; i < n; i++) out[i] = t.bytes[i] >= 0x20 && t.bytes[i] < 0x7f ? (char)t.bytes[i] : '?';
    out[n] = 0;
}

static int by_text(const void *a, const void *b) {
    const gguf_text *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, (size_t)(x->length < y->length ? x->length : y->length));
    return order != 0 ? order : (x->length > y->length) - (x->length < y->length);
}

const gguf_text *gguf_find_equal(gguf_text *texts, uint64_t n) {
    if (n > 1) qsort(texts, (size_t)n, sizeof *texts, by_text);
    for (uint64_t i = 1; i < n; i++)
        if (by_text(&texts[i - 1], &texts[i]) == 0) return &texts[i];
    return NULL;
}

uint64_t gguf_value_size(uint32_t type) {
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

static bool skip_array(gguf_cursor *c) {
    uint32_t type;
    uint64_t count, bytes;
    const uint8_t *ignored;
    if (!gguf_read_u32(c, &type) || !gguf_read_u64(c, &count)) return false;
    if (gguf_value_size(type) == 0 && type != GGUF_VALUE_STRING)
        return gguf_fail(c->file, "the metadata holds an array of the value type %u, which no engine reads", type);
    uint64_t least = type == GGUF_VALUE_STRING ? sizeof(uint64_t) : gguf_value_size(type);
    if (__builtin_mul_overflow(count, least, &bytes) || bytes > c->file->size - c->pos) return gguf_fail_short(c->file);
    if (count > MAX_ELEMENTS)
        return gguf_fail(c->file, "the metadata holds an array that is longer than any engine reads");
    if (type != GGUF_VALUE_STRING) return gguf_take(c, bytes, &ignored);
    for (uint64_t i = 0; i < count; i++) { /* each string takes at least 8 bytes of the file: the loop is bounded */
        gguf_text ignored_text;
        if (!gguf_read_text(c, &ignored_text)) return false;
    }
    return true;
}

static bool skip_value(gguf_cursor *c, uint32_t type) {
    const uint8_t *ignored;
    gguf_text ignored_text;
    if (gguf_value_size(type) != 0) return gguf_take(c, gguf_value_size(type), &ignored);
    if (type == GGUF_VALUE_STRING) return gguf_read_text(c, &ignored_text);
    if (type == GGUF_VALUE_ARRAY) return skip_array(c);
    return gguf_fail(c->file, "the metadata holds the unknown value type %u", type);
}

static bool read_key_value(gguf_cursor *c, gguf_key_value *kv) {
    if (!gguf_read_text(c, &kv->key) || !gguf_read_u32(c, &kv->type)) return false;
    if (kv->key.length == 0) return gguf_fail(c->file, "the metadata holds a key without a name");
    kv->value = c->pos;
    return skip_value(c, kv->type);
}

/* Walks the metadata again: a program asks for a handful of keys, so no index is kept. */
bool gguf_find_key(const gguf_part *part, const char *key, gguf_key_value *kv) {
    gguf_cursor c = {part, part->kv_begin};
    for (uint64_t i = 0; i < part->n_kv; i++) {
        if (!read_key_value(&c, kv)) return false;
        if (kv->key.length == strlen(key) && memcmp(kv->key.bytes, key, strlen(key)) == 0) return true;
    }
    return false;
}

static bool read_header(gguf_cursor *c) {
    const gguf_part *part = c->file;
    const uint8_t *magic;
    uint32_t version;
    if (part->size < 24) return gguf_fail(part, "the file is too short to be a GGUF model");
    if (!gguf_take(c, 4, &magic) || !gguf_read_u32(c, &version)) return false;
    if (memcmp(magic, "GGUF", 4) != 0) return gguf_fail(part, "this is not a GGUF file: it does not start with 'GGUF'");
    if (version != 0 && (version & 0xffff) == 0)
        return gguf_fail(part, "this is a big-endian GGUF file, which is not supported");
    if (version < 2 || version > 3)
        return gguf_fail(part, "GGUF version %u is not supported, only 2 and 3 are", version);
    return true;
}

static bool check_keys(const gguf_part *part, gguf_text *keys) {
    char name[64];
    const gguf_text *twice = gguf_find_equal(keys, part->n_kv);
    if (twice == NULL) return true;
    gguf_copy_printable(*twice, name, sizeof name);
    return gguf_fail(part, "the metadata holds the key %s twice: convert the model anew", name);
}

static bool read_metadata(gguf_part *part, gguf_cursor *c) {
    gguf_key_value kv;
    bool ok = true;
    if (!gguf_read_u64(c, &part->n_tensors) || !gguf_read_u64(c, &part->n_kv)) return false;
    uint64_t left = part->size - c->pos;
    if (part->n_kv > left / LEAST_KEY_VALUE || part->n_tensors > left / LEAST_TENSOR) return gguf_fail_short(part);
    gguf_text *keys = malloc(((size_t)part->n_kv + 1) * sizeof *keys);
    if (keys == NULL) return gguf_fail(part, "there is not enough memory for the metadata");
    part->kv_begin = c->pos;
    for (uint64_t i = 0; ok && i < part->n_kv; i++) {
        ok = read_key_value(c, &kv);
        keys[i] = kv.key;
    }
    ok = ok && check_keys(part, keys);
    free(keys);
    return ok;
}

/* O_NONBLOCK: opening a pipe would wait for a writer. */
static bool map_file(gguf_part *part, const char *path) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return gguf_fail(part, "the file cannot be opened: %s", strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return gguf_fail(part, "this is not a regular file");
    }
    if (st.st_size <= 0) {
        close(fd);
        return gguf_fail(part, "the file is empty");
    }
    part->size = (uint64_t)st.st_size;
    void *map = mmap(NULL, (size_t)part->size, PROT_READ, MAP_PRIVATE, fd, 0);
    int reason = errno;
    close(fd);
    if (map == MAP_FAILED) return gguf_fail(part, "the file cannot be mapped into memory: %s", strerror(reason));
    part->map = map;
    return true;
}

bool gguf_part_open(gguf_part *part, const char *path, char *error, size_t error_size) {
    gguf_cursor c = {part, 0};
    *part = (gguf_part){.error = error, .error_size = error_size};
    bool ok = map_file(part, path) && read_header(&c) && read_metadata(part, &c) && gguf_read_tensors(part, &c);
    part->error_size = 0; /* the caller's buffer may be gone when a later look-up fails */
    return ok;
}

void gguf_part_close(gguf_part *part) {
    if (part->map != NULL) munmap((void *)(uintptr_t)part->map, (size_t)part->size);
    free(part->tensors);
    *part = (gguf_part){.map = NULL};
}
