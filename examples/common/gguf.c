#define _POSIX_C_SOURCE 200809L

#include "gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Far above any model, and low enough that a forged count cannot make the reader allocate gigabytes. */
enum { MAX_TENSORS = 1 << 18, MAX_KEYS = 1 << 18, MAX_KEY_BYTES = 65535, DEFAULT_ALIGNMENT = 32 };

/* Types of metadata values. */
enum { VALUE_STRING = 8, VALUE_ARRAY = 9 };

struct gguf_file {
    const uint8_t *map;
    uint64_t size;
    uint64_t kv_begin; /* where the metadata starts, and how many entries it has */
    uint64_t n_kv;
    uint64_t n_tensors;
    gguf_tensor *tensors;
    char *error;
    size_t error_size;
};

/* A position in the file. Reading never passes the end: each step asks for its bytes first. */
typedef struct cursor {
    const gguf_file *file;
    uint64_t pos;
} cursor;

typedef struct text {
    const uint8_t *bytes;
    uint64_t length;
} text;

typedef struct key_value {
    text key;
    uint32_t type;
    uint64_t value; /* offset of the value in the file */
} key_value;

static void set_error(const gguf_file *file, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (file->error_size > 0) vsnprintf(file->error, file->error_size, format, args);
    va_end(args);
}

/* Ends a check that failed. A macro, so that the compiler sees that nothing after it is reached. */
#define fail(...) (set_error(__VA_ARGS__), false)

static bool fail_short(const gguf_file *file) {
    return fail(file, "the file ends in the middle of its header: it is damaged or not completely downloaded");
}

static bool take(cursor *c, uint64_t bytes, const uint8_t **out) {
    if (bytes > c->file->size - c->pos) return fail_short(c->file);
    *out = c->file->map + c->pos;
    c->pos += bytes;
    return true;
}

static bool read_u32(cursor *c, uint32_t *out) {
    const uint8_t *p;
    if (!take(c, sizeof *out, &p)) return false;
    memcpy(out, p, sizeof *out);
    return true;
}

static bool read_u64(cursor *c, uint64_t *out) {
    const uint8_t *p;
    if (!take(c, sizeof *out, &p)) return false;
    memcpy(out, p, sizeof *out);
    return true;
}

static bool read_text(cursor *c, text *out) {
    return read_u64(c, &out->length) && take(c, out->length, &out->bytes);
}

/* Control bytes in a name could drive the terminal that shows it, so nothing but printable ASCII leaves this file. */
static void copy_printable(text t, char *out, size_t size) {
    size_t n = t.length < size - 1 ? (size_t)t.length : size - 1;
    for (size_t i = 0; i < n; i++) out[i] = t.bytes[i] >= 0x20 && t.bytes[i] < 0x7f ? (char)t.bytes[i] : '?';
    out[n] = 0;
}

static bool same(text t, const char *s) {
    return t.length == strlen(s) && memcmp(t.bytes, s, (size_t)t.length) == 0;
}

/* 0 for strings, arrays and unknown types. */
static uint64_t scalar_size(uint32_t type) {
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

static bool skip_array(cursor *c) {
    uint32_t type;
    uint64_t count, bytes;
    const uint8_t *ignored;
    if (!read_u32(c, &type) || !read_u64(c, &count)) return false;
    if (scalar_size(type) != 0) {
        if (__builtin_mul_overflow(count, scalar_size(type), &bytes)) return fail_short(c->file);
        return take(c, bytes, &ignored);
    }
    if (type != VALUE_STRING) return fail(c->file, "the metadata holds an array of the unknown value type %u", type);
    for (uint64_t i = 0; i < count; i++) { /* each string takes at least 8 bytes of the file: the loop is bounded */
        text ignored_text;
        if (!read_text(c, &ignored_text)) return false;
    }
    return true;
}

static bool skip_value(cursor *c, uint32_t type) {
    const uint8_t *ignored;
    text ignored_text;
    if (scalar_size(type) != 0) return take(c, scalar_size(type), &ignored);
    if (type == VALUE_STRING) return read_text(c, &ignored_text);
    if (type == VALUE_ARRAY) return skip_array(c);
    return fail(c->file, "the metadata holds the unknown value type %u", type);
}

static bool read_key_value(cursor *c, key_value *kv) {
    if (!read_text(c, &kv->key) || !read_u32(c, &kv->type)) return false;
    if (kv->key.length > MAX_KEY_BYTES) return fail(c->file, "a metadata key is longer than the format allows");
    kv->value = c->pos;
    return skip_value(c, kv->type);
}

/* Walks the metadata again: a program asks for a handful of keys, so no index is kept. */
static bool find_key(const gguf_file *file, const char *key, key_value *kv) {
    cursor c = {file, file->kv_begin};
    for (uint64_t i = 0; i < file->n_kv; i++) {
        if (!read_key_value(&c, kv)) return false;
        if (same(kv->key, key)) return true;
    }
    return false;
}

bool gguf_get_string(const gguf_file *file, const char *key, char *out, size_t size) {
    key_value kv;
    text value;
    if (size == 0 || !find_key(file, key, &kv) || kv.type != VALUE_STRING) return false;
    cursor c = {file, kv.value};
    if (!read_text(&c, &value)) return false;
    copy_printable(value, out, size);
    return true;
}

bool gguf_get_uint(const gguf_file *file, const char *key, uint64_t *out) {
    /* Value types in order: uint8 int8 uint16 int16 uint32 int32 float32 bool string array uint64 int64 float64. */
    static const uint8_t is_integer[] = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0};
    static const uint8_t is_signed[] = {0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0};
    key_value kv;
    uint64_t value = 0;
    if (!find_key(file, key, &kv) || kv.type >= sizeof is_integer || !is_integer[kv.type]) return false;
    uint64_t bytes = scalar_size(kv.type);
    memcpy(&value, file->map + kv.value, (size_t)bytes); /* little-endian, as the file */
    if (is_signed[kv.type] && value >> (8 * bytes - 1) != 0) return false;
    *out = value;
    return true;
}

static bool read_header(cursor *c) {
    const gguf_file *file = c->file;
    const uint8_t *magic;
    uint32_t version;
    if (file->size < 24) return fail(file, "the file is too short to be a GGUF model");
    if (!take(c, 4, &magic) || !read_u32(c, &version)) return false;
    if (memcmp(magic, "GGUF", 4) != 0) return fail(file, "this is not a GGUF file: it does not start with 'GGUF'");
    if ((version & 0xffff) == 0) return fail(file, "this is a big-endian GGUF file, which is not supported");
    if (version < 2 || version > 3) return fail(file, "GGUF version %u is not supported, only 2 and 3 are", version);
    return true;
}

static bool read_metadata(gguf_file *file, cursor *c) {
    key_value kv;
    if (!read_u64(c, &file->n_tensors) || !read_u64(c, &file->n_kv)) return false;
    if (file->n_tensors > MAX_TENSORS) return fail(file, "the file claims to hold more tensors than any model has");
    if (file->n_kv > MAX_KEYS) return fail(file, "the file claims to hold more metadata than any model has");
    file->kv_begin = c->pos;
    for (uint64_t i = 0; i < file->n_kv; i++)
        if (!read_key_value(c, &kv)) return false;
    return true;
}

/* Reads name, shape and type; *offset is where the data starts, relative to the data section. */
static bool read_tensor(cursor *c, gguf_tensor *t, uint64_t *offset) {
    const gguf_file *file = c->file;
    text name;
    if (!read_text(c, &name) || !read_u32(c, &t->n_dims)) return false;
    if (name.length >= GGUF_NAME_SIZE) return fail(file, "a tensor name is longer than the format allows");
    copy_printable(name, t->name, sizeof t->name);
    if (t->n_dims < 1 || t->n_dims > 4) return fail(file, "tensor %s has %u dimensions, not 1 to 4", t->name, t->n_dims);
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t n = 1;
        if (i < t->n_dims && !read_u64(c, &n)) return false;
        if (n < 1 || n > INT64_MAX) return fail(file, "tensor %s has a dimension that is zero or too large", t->name);
        t->ne[i] = (int64_t)n;
    }
    return read_u32(c, &t->type) && read_u64(c, offset);
}

/* Every product on the way is checked, not only the last sum: a forged shape must not wrap around to a small size. */
static bool place_tensor(const gguf_file *file, gguf_tensor *t, uint64_t data_begin, uint64_t offset) {
    uint64_t begin, end, bytes = gguf_row_bytes(t->type, t->ne[0]);
    t->data = NULL;
    t->nbytes = 0;
    if (bytes == 0) {
        if (gguf_block_bytes(t->type) == 0) return true; /* an unknown type: its data cannot be found or used */
        return fail(file, "the rows of tensor %s are no whole number of blocks, or far too long", t->name);
    }
    for (int i = 1; i < 4; i++)
        if (__builtin_mul_overflow(bytes, (uint64_t)t->ne[i], &bytes))
            return fail(file, "the shape of tensor %s is too large for any file", t->name);
    if (__builtin_add_overflow(data_begin, offset, &begin) || __builtin_add_overflow(begin, bytes, &end) ||
        end > file->size)
        return fail(file, "the data of tensor %s lies beyond the end of the file: it is damaged or incomplete", t->name);
    t->data = file->map + begin;
    t->nbytes = bytes;
    return true;
}

static bool read_alignment(const gguf_file *file, uint64_t *alignment) {
    key_value kv;
    *alignment = DEFAULT_ALIGNMENT;
    if (!find_key(file, "general.alignment", &kv)) return true;
    if (!gguf_get_uint(file, "general.alignment", alignment) || *alignment == 0 || *alignment > UINT32_MAX ||
        (*alignment & (*alignment - 1)) != 0)
        return fail(file, "general.alignment is not a power of two");
    return true;
}

/* The data section starts after the tensor list, so offsets can be placed only once the whole list was read. */
static bool read_tensors(gguf_file *file, cursor *c) {
    uint64_t alignment, data_begin, *offsets;
    bool ok = true;
    if (!read_alignment(file, &alignment)) return false;
    file->tensors = calloc((size_t)file->n_tensors + 1, sizeof *file->tensors);
    offsets = calloc((size_t)file->n_tensors + 1, sizeof *offsets);
    if (file->tensors == NULL || offsets == NULL) ok = fail(file, "there is not enough memory for the tensor list");
    for (uint64_t i = 0; ok && i < file->n_tensors; i++) ok = read_tensor(c, &file->tensors[i], &offsets[i]);
    if (ok && __builtin_add_overflow(c->pos, alignment - 1, &data_begin)) ok = fail_short(file);
    for (uint64_t i = 0; ok && i < file->n_tensors; i++) {
        if (offsets[i] % alignment != 0)
            ok = fail(file, "the data of tensor %s does not keep the file's alignment", file->tensors[i].name);
        else
            ok = place_tensor(file, &file->tensors[i], data_begin & ~(alignment - 1), offsets[i]);
    }
    free(offsets);
    return ok;
}

static bool map_file(gguf_file *file, const char *path) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(file, "the file cannot be opened: %s", strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return fail(file, "this is not a regular file");
    }
    if (st.st_size <= 0) {
        close(fd);
        return fail(file, "the file is empty");
    }
    file->size = (uint64_t)st.st_size;
    void *map = mmap(NULL, (size_t)file->size, PROT_READ, MAP_PRIVATE, fd, 0);
    int reason = errno;
    close(fd);
    if (map == MAP_FAILED) return fail(file, "the file cannot be mapped into memory: %s", strerror(reason));
    file->map = map;
    return true;
}

gguf_file *gguf_open(const char *path, char *error, size_t error_size) {
    gguf_file *file = calloc(1, sizeof *file);
    if (error_size > 0) error[0] = 0;
    if (file == NULL) {
        if (error_size > 0) snprintf(error, error_size, "there is not enough memory to open the file");
        return NULL;
    }
    file->error = error;
    file->error_size = error_size;
    cursor c = {file, 0};
    if (!map_file(file, path) || !read_header(&c) || !read_metadata(file, &c) || !read_tensors(file, &c)) {
        gguf_close(file);
        return NULL;
    }
    file->error_size = 0; /* the caller's buffer may be gone when a later look-up fails */
    return file;
}

void gguf_close(gguf_file *file) {
    if (file == NULL) return;
    if (file->map != NULL) munmap((void *)(uintptr_t)file->map, (size_t)file->size);
    free(file->tensors);
    free(file);
}

uint64_t gguf_file_size(const gguf_file *file) { return file->size; }

uint64_t gguf_n_tensors(const gguf_file *file) { return file->n_tensors; }

const gguf_tensor *gguf_tensor_at(const gguf_file *file, uint64_t index) { return &file->tensors[index]; }

const gguf_tensor *gguf_find_tensor(const gguf_file *file, const char *name) {
    for (uint64_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
    return NULL;
}
