/*
 * verify_test - packed weights whose memory something else has written to, in the shipped library: every byte of a
 * small weight of each type and form is changed once. Either sparamx_linear_verify says SPARAMX_ERR_DAMAGED, or the
 * weight still reads back and multiplies; and after the byte is as it was, all is well again. The same in a buffer.
 * This program's own mmap tells where the packed form is.
 */
#define _GNU_SOURCE
#include "check.h"
#include "types.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint8_t *packed;
static size_t packed_bytes;

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
    void *p = (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
    if (p != MAP_FAILED && file < 0 && (protection & PROT_WRITE) != 0) {
        packed = p;
        packed_bytes = length;
    }
    return p;
}

static void test_linear(const gguf_type *type, int32_t form) {
    enum { N = 17 };
    int64_t k = gguf_whole(type, type->block == 1 ? 70 : 96);
    uint8_t *w = must_allocate(gguf_row_bytes(type, k) * N), *rows = must_allocate(gguf_row_bytes(type, k) * N);
    float *x = must_allocate((size_t)k * sizeof *x), y[N];
    gguf_fill(type, N, k, 0.5, 3, w);
    fill_activations(k, 1, x);
    sparamx_linear_options o = {.size = sizeof o, .form = form, .pack_threads = 1};
    sparamx_linear *linear = NULL;
    if (!CHECK(sparamx_linear_create(type->number, N, k, w, 0, &o, &linear) == SPARAMX_OK, "%s", type->name)) return;
    uint8_t *base = packed;
    size_t bytes = packed_bytes;
    sparamx_tensor_info info = {.size = sizeof info};
    CHECK(sparamx_linear_info(linear, &info) == SPARAMX_OK && info.packed_bytes == bytes, "%s: mapped %zu", type->name,
          bytes);
    CHECK(sparamx_linear_verify(linear) == SPARAMX_OK, "%s %s: refused as it was packed", type->name, form_name(form));
    /* The offsets are the last of the packed form: every change of one is found. */
    size_t entries = form != SPARAMX_FORM_DENSE ? 2 * (size_t)((k + 255) / 256) + 1 : 0;
    long found = 0, trouble = 0, missed = 0;
    for (size_t i = 0; i < bytes; i++) {
        base[i] ^= (uint8_t)(1 << (i % 8));
        sparamx_status status = sparamx_linear_verify(linear);
        found += status == SPARAMX_ERR_DAMAGED;
        missed += status != SPARAMX_ERR_DAMAGED && i >= bytes - 8 * entries;
        if (status == SPARAMX_OK && i % 16 == 0)
            status = sparamx_linear_read(linear, 0, N, rows) == SPARAMX_OK ? multiply(linear, 1, 1, x, k, y, N) : -1;
        trouble += status != SPARAMX_OK && status != SPARAMX_ERR_DAMAGED;
        base[i] ^= (uint8_t)(1 << (i % 8));
    }
    CHECK(trouble == 0, "%s %s: %ld times neither refused nor usable", type->name, form_name(form), trouble);
    CHECK(missed == 0, "%s %s: %ld changes of offsets are not found", type->name, form_name(form), missed);
    /* The padding behind the values is 64 bytes at least; a bitmap and offsets are found from end to end. */
    size_t tiles = (size_t)(type->block == 1 ? (k + 31) / 32 * 64 : (k + 63) / 64 * 128) * 2;
    bool sparse = form == SPARAMX_FORM_SPARSE || form == SPARAMX_FORM_CODED_SPARSE;
    size_t least = 64 + (sparse ? tiles : 0) + 8 * entries;
    CHECK(found >= (long)least, "%s %s: %ld of %zu changes found", type->name, form_name(form), found, bytes);
    CHECK(sparamx_linear_verify(linear) == SPARAMX_OK, "%s %s: refused after it was mended", type->name,
          form_name(form));
    CHECK(sparamx_linear_read(linear, 0, N, rows) == SPARAMX_OK && memcmp(rows, w, gguf_row_bytes(type, k) * N) == 0,
          "%s", type->name);
    sparamx_linear_destroy(linear);
    free(w);
    free(rows);
    free(x);
}

static void test_buffer(void) {
    static uint8_t w[64 * 96];
    sparamx_buffer_options o = {.size = sizeof o, .form = SPARAMX_FORM_SPARSE, .pack_threads = 1};
    sparamx_buffer *buffer = NULL;
    CHECK(sparamx_buffer_create(1 << 16, &o, &buffer) == SPARAMX_OK, "a buffer");
    sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, 48, 64, 1, 1, sparamx_buffer_base(buffer), buffer);
    fill_weights(SPARAMX_TYPE_BF16, 64, 48, 0.5, 1, w);
    CHECK(sparamx_buffer_verify_tensor(buffer, &t) == SPARAMX_ERR_FOREIGN, "not announced");
    CHECK(sparamx_buffer_set_tensor(buffer, &t, w, 0, 100) == SPARAMX_OK, "a part");
    CHECK(sparamx_buffer_verify_tensor(buffer, &t) == SPARAMX_ERR_INCOMPLETE, "a part is there");
    CHECK(sparamx_buffer_set_tensor(buffer, &t, w, 0, sizeof w) == SPARAMX_OK, "all");
    CHECK(sparamx_buffer_verify_tensor(buffer, &t) == SPARAMX_OK, "all is there");
    packed[packed_bytes - 1] ^= 1;
    CHECK(sparamx_buffer_verify_tensor(buffer, &t) == SPARAMX_ERR_DAMAGED, "the last offset is another");
    packed[packed_bytes - 1] ^= 1;
    CHECK(sparamx_buffer_verify_tensor(buffer, &t) == SPARAMX_OK, "mended");
    /* What the sentence says to do works with the damage in place. */
    packed[packed_bytes - 1] ^= 1;
    CHECK(sparamx_buffer_set_tensor(buffer, &t, w, 0, sizeof w) == SPARAMX_OK, "uploaded again");
    CHECK(sparamx_buffer_verify_tensor(buffer, &t) == SPARAMX_OK, "uploaded again");
    sparamx_tensor raw =
        make_tensor(SPARAMX_TYPE_F32, 16, 4, 1, 1, (char *)sparamx_buffer_base(buffer) + 32768, buffer);
    CHECK(sparamx_buffer_set_tensor(buffer, &raw, w, 0, 256) == SPARAMX_OK, "a tensor that is no weight");
    CHECK(sparamx_buffer_verify_tensor(buffer, &raw) == SPARAMX_ERR_STATE, "a tensor that is no weight");
    sparamx_buffer_destroy(buffer);
}

int main(void) {
    const gguf_type *types[GGUF_TYPES];
    for (int i = 0, count = gguf_reported(types); i < count; i++) {
        for (size_t f = 0; f < COUNT(packed_forms); f++) {
            if (gguf_serves(types[i], packed_forms[f])) test_linear(types[i], packed_forms[f]);
        }
    }
    test_buffer();
    return check_end();
}
