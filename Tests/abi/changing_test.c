/*
 * changing_test.c - weights that somebody changes while they are packed: another thread, or another process that writes
 * to the mapped file. Packing reads them twice. The change comes exactly between the two passes (this program's own
 * mmap, which the library calls there, makes it), and then at any moment, from a thread. Every mapping lies between
 * forbidden pages. Either the call says SPARAMX_ERR_CHANGED and leaves nothing, or what it made is whole.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"
#include "types.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, N = 40 };

static uint8_t *weights;          /* what the library reads */
static uint8_t *before, *after;   /* what it finds first, and then */
static size_t bytes;
static int change_at, mappings;   /* with which mapping the change comes; 0: not at all */
static size_t held;               /* mapped by the library and this program, and not unmapped */

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
    size_t pages = (length + PAGE - 1) / PAGE * PAGE;
    if (address == NULL) held += pages;
    bool ours = address == NULL && file < 0 && (flags & MAP_ANONYMOUS) != 0 && (protection & PROT_WRITE) != 0;
    if (ours && change_at > 0 && ++mappings == change_at) memcpy(weights, after, bytes);
    if (!ours) return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
    uint8_t *p = (uint8_t *)syscall(SYS_mmap, NULL, pages + 2 * PAGE, PROT_NONE, flags, -1, 0);
    if (p == MAP_FAILED) return MAP_FAILED;
    if (mprotect(p + PAGE, pages, protection) != 0) return MAP_FAILED;
    return p + PAGE;
}

int munmap(void *address, size_t length) {
    held -= (length + PAGE - 1) / PAGE * PAGE;
    return (int)syscall(SYS_munmap, address, length);
}

/* A linear that was made has to be whole. */
static void check_whole(sparamx_linear *linear, const gguf_type *type, int64_t k) {
    CHECK(sparamx_linear_verify(linear) == SPARAMX_OK, "%s: what was made is damaged", type->name);
    float *x = must_allocate((size_t)k * sizeof *x), y[N];
    fill_activations(k, 1, x);
    CHECK(multiply(linear, 1, 1, x, k, y, N) == SPARAMX_OK, "%s: cannot be multiplied", type->name);
    uint8_t *rows = must_allocate(bytes);
    CHECK(sparamx_linear_read(linear, 0, N, rows) == SPARAMX_OK, "%s: cannot be read back", type->name);
    free(rows);
    free(x);
    sparamx_linear_destroy(linear);
}

static void fill(const gguf_type *type, int64_t k, double zeros_before, double zeros_after) {
    bytes = gguf_row_bytes(type, k) * N;
    weights = must_allocate(bytes);
    before = must_allocate(bytes);
    after = must_allocate(bytes);
    gguf_fill(type, N, k, zeros_before, 3, before);
    gguf_fill(type, N, k, zeros_after, 4, after);
}

static void drop(void) {
    free(weights);
    free(before);
    free(after);
}

/* Between the passes. k has a last chunk that is not full. */
static void test_between(const gguf_type *type, int32_t form, double zeros_before, double zeros_after) {
    int64_t k = gguf_whole(type, type->block == 1 ? 300 : 288);
    fill(type, k, zeros_before, zeros_after);
    sparamx_linear_options o = {.size = sizeof o, .form = form, .pack_threads = 1};
    sparamx_linear *linear = NULL;
    size_t held_before = held;
    memcpy(weights, before, bytes);
    mappings = 0, change_at = 2; /* the first is for counting */
    sparamx_status status = sparamx_linear_create(type->number, N, k, weights, 0, &o, &linear);
    change_at = 0;
    CHECK(mappings >= 2, "%s: %d mappings, so the change came at another time", type->name, mappings);
    CHECK(status == SPARAMX_ERR_CHANGED && linear == NULL, "%s, from %.1f zeros to %.1f: %d", type->name, zeros_before,
          zeros_after, status);
    if (linear != NULL) sparamx_linear_destroy(linear);
    CHECK(held == held_before, "%s: %zd bytes stay mapped after a refusal", type->name, (ssize_t)(held - held_before));

    /* The same with a buffer: nothing has arrived, and the next upload is good. */
    sparamx_buffer_options options = {.size = sizeof options, .form = form, .pack_threads = 1};
    sparamx_buffer *buffer = NULL;
    CHECK(sparamx_buffer_create(bytes, &options, &buffer) == SPARAMX_OK, "a buffer");
    sparamx_tensor t = gguf_tensor(type, k, N, sparamx_buffer_base(buffer), buffer);
    CHECK(sparamx_buffer_init_tensor(buffer, &t) == SPARAMX_OK, "announced");
    memcpy(weights, before, bytes);
    mappings = 0, change_at = 2;
    status = sparamx_buffer_set_tensor(buffer, &t, weights, 0, bytes);
    change_at = 0;
    sparamx_tensor_info info = {.size = sizeof info};
    CHECK(status == SPARAMX_ERR_CHANGED && sparamx_buffer_resident(buffer) == 0, "%s, uploaded: %d, %zu bytes resident",
          type->name, status, sparamx_buffer_resident(buffer));
    CHECK(sparamx_buffer_tensor_info(buffer, &t, &info) == SPARAMX_OK && info.form == SPARAMX_FORM_RAW, "%s: form %d",
          type->name, info.form);
    CHECK(sparamx_buffer_set_tensor(buffer, &t, weights, 0, bytes) == SPARAMX_OK, "%s: uploaded again", type->name);
    uint8_t *rows = must_allocate(bytes);
    CHECK(sparamx_buffer_get_tensor(buffer, &t, rows, 0, bytes) == SPARAMX_OK && memcmp(rows, weights, bytes) == 0,
          "%s: reads back", type->name);
    /* A write into what is packed goes through the same passes. */
    CHECK(sparamx_buffer_verify_tensor(buffer, &t) == SPARAMX_OK, "%s: whole", type->name);
    free(rows);
    sparamx_buffer_destroy(buffer);
    CHECK(held == held_before, "%s: a buffer left %zd bytes mapped", type->name, (ssize_t)(held - held_before));
    drop();
}

static volatile bool stop;

static void *flip(void *unused) {
    (void)unused;
    while (!stop) {
        memcpy(weights, after, bytes);
        memcpy(weights, before, bytes);
    }
    return NULL;
}

/* At any moment, in every form, with several threads. */
static void test_any_moment(const gguf_type *type) {
    static const int32_t forms[] = {SPARAMX_FORM_AUTO,  SPARAMX_FORM_DENSE,        SPARAMX_FORM_SPARSE,
                                    SPARAMX_FORM_CODED, SPARAMX_FORM_CODED_SPARSE, SPARAMX_FORM_AUTO_CODED};
    int64_t k = type->block == 1 ? 520 : 512;
    fill(type, k, 0.9, 0.2);
    memcpy(weights, before, bytes);
    size_t held_before = held;
    pthread_t thread;
    stop = false;
    if (!CHECK(pthread_create(&thread, NULL, flip, NULL) == 0, "a thread")) return;
    for (size_t i = 0; i < 60; i++) {
        sparamx_linear_options o = {.size = sizeof o, .form = forms[i % COUNT(forms)], .pack_threads = 1 + i / 6 % 2};
        sparamx_linear *linear = NULL;
        sparamx_status status = sparamx_linear_create(type->number, N, k, weights, 0, &o, &linear);
        bool dense = o.form == SPARAMX_FORM_DENSE;
        CHECK(status == SPARAMX_OK || (status == SPARAMX_ERR_CHANGED && !dense), "%s, form %d: %d", type->name, o.form,
              status);
        if (status == SPARAMX_OK) check_whole(linear, type, k);
    }
    stop = true;
    pthread_join(thread, NULL);
    CHECK(held == held_before, "%s: %zd bytes stay mapped", type->name, (ssize_t)(held - held_before));
    drop();
}

int main(void) {
    const gguf_type *types[GGUF_TYPES];
    int count = gguf_reported(types);
    CHECK(count > 10, "%d types", count);
    for (int i = 0; i < count; i++) {
        /* The dense form has a place for every code, whatever it is. */
        for (size_t f = 1; f < COUNT(packed_forms); f++) {
            if (!gguf_serves(types[i], packed_forms[f])) continue;
            test_between(types[i], packed_forms[f], 0.9, 0.1);
            test_between(types[i], packed_forms[f], 0.1, 0.9);
            test_between(types[i], packed_forms[f], 0.5, 0.47);
        }
        test_any_moment(types[i]);
    }
    return check_end();
}
