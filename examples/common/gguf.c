/* A model of one or several files as one list of tensors and one set of metadata. gguf_part.c reads each file. */
#include "gguf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_part.h"

enum { MAX_PARTS = 65535, MAX_PATH = 4096 };

struct gguf_file {
    gguf_part *parts; /* in order: the first one has the metadata */
    uint64_t n_parts, n_tensors;
    gguf_tensor **tensors;
};

static bool get_uint(const gguf_part *part, const char *key, uint64_t *out) {
    /* Value types in order: uint8 int8 uint16 int16 uint32 int32 float32 bool string array uint64 int64 float64. */
    static const uint8_t is_integer[] = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0};
    static const uint8_t is_signed[] = {0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0};
    gguf_key_value kv;
    uint64_t value = 0;
    if (!gguf_find_key(part, key, &kv) || kv.type >= sizeof is_integer || !is_integer[kv.type]) return false;
    uint64_t bytes = gguf_value_size(kv.type);
    memcpy(&value, part->map + kv.value, (size_t)bytes); /* little-endian, as the file */
    if (is_signed[kv.type] && value >> (8 * bytes - 1) != 0) return false;
    *out = value;
    return true;
}

bool gguf_get_uint(const gguf_file *file, const char *key, uint64_t *out) {
    return get_uint(&file->parts[0], key, out);
}

bool gguf_get_string(const gguf_file *file, const char *key, char *out, size_t size) {
    gguf_key_value kv;
    gguf_text value;
    if (size == 0 || !gguf_find_key(&file->parts[0], key, &kv) || kv.type != GGUF_VALUE_STRING) return false;
    gguf_cursor c = {&file->parts[0], kv.value};
    if (!gguf_read_text(&c, &value)) return false;
    gguf_copy_printable(value, out, size);
    return true;
}

/* -- the files of one model ---------------------------------------------------------------------------------------- */

typedef struct opening {
    gguf_file *file;
    const char *path;
    char *error;
    size_t error_size;
} opening;

/* Writes the sentence; always false, so that a check can return it. */
__attribute__((format(printf, 2, 3))) static bool refuse(const opening *o, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (o->error_size > 0) vsnprintf(o->error, o->error_size, format, args);
    va_end(args);
    return false;
}

/* The name of part number 'index' (from 0) of count, if path is that of one of them: NAME-00001-of-00003.gguf. */
static bool part_path(const char *path, uint64_t own, uint64_t index, uint64_t count, char *out) {
    char ending[32];
    size_t n = strlen(path);
    snprintf(ending, sizeof ending, "-%05u-of-%05u.gguf", (unsigned)own + 1, (unsigned)count);
    if (n < strlen(ending) || n >= MAX_PATH || strcmp(path + n - strlen(ending), ending) != 0) return false;
    snprintf(out, MAX_PATH, "%.*s-%05u-of-%05u.gguf", (int)(n - strlen(ending)), path, (unsigned)index + 1,
             (unsigned)count);
    return true;
}

/* Opens the other parts around the one that was named, which is open as parts[0]. */
static bool open_others(opening *o, uint64_t own, uint64_t count) {
    gguf_file *file = o->file;
    char path[MAX_PATH], why[256];
    gguf_part *parts = calloc((size_t)count, sizeof *parts);
    if (parts == NULL) return refuse(o, "there is not enough memory for the parts of the model");
    parts[own] = file->parts[0];
    free(file->parts);
    file->parts = parts;
    file->n_parts = count;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number, its_count;
        if (!part_path(o->path, own, i, count, path))
            return refuse(o, "this is part %u of %u of a model, but its name does not end in -%05u-of-%05u.gguf, so "
                          "the others cannot be found: give all parts their names "
                          "back", (unsigned)own + 1, (unsigned)count,
                          (unsigned)own + 1, (unsigned)count);
        const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
        if (i != own && !gguf_part_open(&parts[i], path, why, sizeof why))
            return refuse(o, "part %u of %u, %s: %s", (unsigned)i + 1, (unsigned)count, name, why);
        if (!get_uint(&parts[i], "split.no", &number) || !get_uint(&parts[i], "split.count", &its_count) ||
            number != i || its_count != count)
            return refuse(o, "%s does not say that it is part %u of %u: it belongs to another model", name,
                          (unsigned)i + 1, (unsigned)count);
    }
    return true;
}

static bool find_others(opening *o) {
    uint64_t count, own;
    if (!get_uint(&o->file->parts[0], "split.count", &count) || count <= 1) return true;
    if (count > MAX_PARTS || !get_uint(&o->file->parts[0], "split.no", &own) || own >= count)
        return refuse(o, "the file says that it is one of several parts of a model, but not which: it is damaged");
    return open_others(o, own, count);
}

static bool check_parts(opening *o) {
    gguf_file *file = o->file;
    uint64_t wanted;
    bool ok = true;
    if (file->n_parts == 1) return true;
    if (get_uint(&file->parts[0], "split.tensors.count", &wanted) && wanted != file->n_tensors)
        return refuse(o, "the parts hold %llu tensors instead of %llu: they are not all of one model",
                      (unsigned long long)file->n_tensors, (unsigned long long)wanted);
    gguf_text *names = malloc(((size_t)file->n_tensors + 1) * sizeof *names);
    if (names == NULL) return refuse(o, "there is not enough memory for the tensor list");
    for (uint64_t i = 0; i < file->n_tensors; i++)
        names[i] = (gguf_text){(const uint8_t *)file->tensors[i]->name, strlen(file->tensors[i]->name)};
    const gguf_text *twice = gguf_find_equal(names, file->n_tensors);
    if (twice != NULL)
        ok = refuse(o, "two parts hold the tensor %s: they are not of one model", (const char *)twice->bytes);
    free(names);
    return ok;
}

static bool list_tensors(opening *o) {
    gguf_file *file = o->file;
    uint64_t at = 0;
    for (uint64_t i = 0; i < file->n_parts; i++) file->n_tensors += file->parts[i].n_tensors;
    file->tensors = malloc(((size_t)file->n_tensors + 1) * sizeof *file->tensors);
    if (file->tensors == NULL) return refuse(o, "there is not enough memory for the tensor list");
    for (uint64_t i = 0; i < file->n_parts; i++)
        for (uint64_t j = 0; j < file->parts[i].n_tensors; j++) file->tensors[at++] = &file->parts[i].tensors[j];
    return check_parts(o);
}

gguf_file *gguf_open(const char *path, char *error, size_t error_size) {
    gguf_file *file = calloc(1, sizeof *file);
    opening o = {file, path, error, error_size};
    if (error_size > 0) error[0] = 0;
    if (file != NULL) file->parts = calloc(1, sizeof *file->parts);
    if (file == NULL || file->parts == NULL) {
        free(file);
        refuse(&o, "there is not enough memory to open the file");
        return NULL;
    }
    file->n_parts = 1;
    if (gguf_part_open(&file->parts[0], path, error, error_size) && find_others(&o) && list_tensors(&o)) return file;
    gguf_close(file);
    return NULL;
}

void gguf_close(gguf_file *file) {
    if (file == NULL) return;
    for (uint64_t i = 0; i < file->n_parts; i++) gguf_part_close(&file->parts[i]);
    free(file->parts);
    free(file->tensors);
    free(file);
}

uint64_t gguf_n_files(const gguf_file *file) { return file->n_parts; }

uint64_t gguf_file_size(const gguf_file *file) {
    uint64_t size = 0;
    for (uint64_t i = 0; i < file->n_parts; i++) size += file->parts[i].size;
    return size;
}

uint64_t gguf_n_tensors(const gguf_file *file) { return file->n_tensors; }

const gguf_tensor *gguf_tensor_at(const gguf_file *file, uint64_t index) { return file->tensors[index]; }

const gguf_tensor *gguf_find_tensor(const gguf_file *file, const char *name) {
    for (uint64_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i]->name, name) == 0) return file->tensors[i];
    return NULL;
}
