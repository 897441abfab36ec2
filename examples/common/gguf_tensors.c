/*
 * The list of tensors of one file. ggml wants the data of the tensors one after the other in the order of the list,
 * each rounded up to the alignment, and so does this reader: that rules out gaps, overlaps and data that two tensors
 * share.
 */
#include <stdlib.h>
#include <string.h>

#include "gguf_part.h"

enum { DEFAULT_ALIGNMENT = 32 };

static bool read_alignment(const gguf_part *part, uint64_t *alignment) {
    gguf_key_value kv;
    uint32_t value;
    *alignment = DEFAULT_ALIGNMENT;
    if (!gguf_find_key(part, "general.alignment", &kv)) return true;
    if (kv.type != GGUF_VALUE_UINT32) return gguf_fail(part, "general.alignment is no number of 32 bits");
    memcpy(&value, part->map + kv.value, sizeof value);
    *alignment = value;
    if (value != 0 && (value & (value - 1)) == 0) return true;
    return gguf_fail(part, "general.alignment is %u, which is no power of two", value);
}

/* Elements of the tensor; every product is checked, not only the last. A dimension may be 0: such a tensor has no
 * data. */
static bool check_shape(const gguf_part *part, const gguf_tensor *t) {
    int64_t elements = t->ne[0];
    for (int i = 1; i < 4; i++) {
        if (t->ne[i] > 1 && INT64_MAX / t->ne[i] < elements)
            return gguf_fail(part, "the shape of tensor %s is too large for any file", t->name);
        elements *= t->ne[i];
    }
    return true;
}

/* Reads name, shape and type; *offset is where the data starts, relative to the data section. */
static bool read_tensor(gguf_cursor *c, gguf_tensor *t, gguf_text *name, uint64_t *offset) {
    const gguf_part *part = c->file;
    if (!gguf_read_text(c, name)) return false;
    if (name->length >= GGUF_NAME_SIZE)
        return gguf_fail(part, "a tensor name has 64 bytes or more, which is longer than engines read");
    gguf_copy_printable(*name, t->name, sizeof t->name);
    if (!gguf_read_u32(c, &t->n_dims)) return false;
    if (t->n_dims > 4) return gguf_fail(part, "tensor %s has %u dimensions, not up to 4", t->name, t->n_dims);
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t n = 1;
        if (i < t->n_dims && !gguf_read_u64(c, &n)) return false;
        if (n > INT64_MAX) return gguf_fail(part, "tensor %s has a dimension that is too large", t->name);
        t->ne[i] = (int64_t)n;
    }
    return check_shape(part, t) && gguf_read_u32(c, &t->type) && gguf_read_u64(c, offset);
}

static bool size_tensor(const gguf_part *part, gguf_tensor *t) {
    uint64_t block = gguf_block_length(t->type), elements = 1, bytes;
    if (gguf_type_is_removed(t->type))
        return gguf_fail(part, "tensor %s has the type %u, which is no longer part of the format", t->name, t->type);
    if (block == 0) return true; /* newer than this program: the size follows from where the next one begins */
    if ((uint64_t)t->ne[0] % block != 0)
        return gguf_fail(part, "the rows of tensor %s are no whole number of blocks", t->name);
    for (int i = 0; i < 4; i++) elements *= (uint64_t)t->ne[i]; /* check_shape() has seen that it fits */
    if (__builtin_mul_overflow(elements / block, gguf_block_bytes(t->type), &bytes))
        return gguf_fail(part, "the shape of tensor %s is too large for any file", t->name);
    t->nbytes = bytes;
    return true;
}

/* Where the data of tensor i ends: the next one's begin, or the end of the file. Only for types of unknown size. */
static bool size_unknown(const gguf_part *part, uint64_t i, const uint64_t *offsets, uint64_t room) {
    uint64_t end = i + 1 < part->n_tensors ? offsets[i + 1] : room;
    if (end < offsets[i] || end > room)
        return gguf_fail(part, "the data of tensor %s lies beyond the end of the file: it is damaged or incomplete",
                         part->tensors[i].name);
    part->tensors[i].nbytes = end - offsets[i];
    return true;
}

static bool place_tensors(gguf_part *part, const uint64_t *offsets, uint64_t data_begin, uint64_t alignment) {
    uint64_t room = part->size - data_begin, expected = 0;
    for (uint64_t i = 0; i < part->n_tensors; i++) {
        gguf_tensor *t = &part->tensors[i];
        bool known = gguf_block_length(t->type) != 0;
        if (offsets[i] != expected)
            return gguf_fail(part, "the data of tensor %s does not follow that of the tensor before it: it overlaps "
                             "another, leaves a gap or does not keep the alignment", t->name);
        if (!known && !size_unknown(part, i, offsets, room)) return false;
        if (offsets[i] > room || t->nbytes > room - offsets[i])
            return gguf_fail(part, "the data of tensor %s lies beyond the end of the file: it is damaged or incomplete",
                             t->name);
        t->data = known ? part->map + data_begin + offsets[i] : NULL;
        if (__builtin_add_overflow(expected, t->nbytes, &expected) ||
            __builtin_add_overflow(expected, alignment - 1, &expected))
            return gguf_fail(part, "the tensors are too large for any file");
        expected &= ~(alignment - 1);
    }
    return true;
}

static bool check_names(const gguf_part *part, gguf_text *names) {
    char name[GGUF_NAME_SIZE];
    const gguf_text *twice = gguf_find_equal(names, part->n_tensors);
    if (twice == NULL) return true;
    gguf_copy_printable(*twice, name, sizeof name);
    return gguf_fail(part, "the file holds two tensors of the name %s: convert the model anew", name);
}

/* The data section starts after the tensor list, so offsets can be placed only once the whole list was read. */
bool gguf_read_tensors(gguf_part *part, gguf_cursor *c) {
    uint64_t alignment, data_begin;
    if (!read_alignment(part, &alignment)) return false;
    part->tensors = calloc((size_t)part->n_tensors + 1, sizeof *part->tensors);
    uint64_t *offsets = calloc((size_t)part->n_tensors + 1, sizeof *offsets);
    gguf_text *names = calloc((size_t)part->n_tensors + 1, sizeof *names);
    bool ok = part->tensors != NULL && offsets != NULL && names != NULL;
    if (!ok) gguf_set_error(part, "there is not enough memory for the tensor list");
    for (uint64_t i = 0; ok && i < part->n_tensors; i++)
        ok = read_tensor(c, &part->tensors[i], &names[i], &offsets[i]) && size_tensor(part, &part->tensors[i]);
    ok = ok && check_names(part, names);
    if (ok && part->n_tensors > 0) {
        data_begin = (c->pos + alignment - 1) & ~(alignment - 1); /* both are far below 2^63 */
        ok = data_begin <= part->size ? place_tensors(part, offsets, data_begin, alignment) : gguf_fail_short(part);
    }
    free(names);
    free(offsets);
    return ok;
}
