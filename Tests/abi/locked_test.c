/*
 * locked_test.c - a process that locks its memory (mlockall, as servers do that must not be paged out): address space
 * that a buffer only reserves stays address space, and what is given back is given back.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static size_t resident(void) {
    unsigned long pages = 0, total = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu %lu", &total, &pages) != 2) exit(2);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void check_growth(size_t before, size_t most, const char *what) {
    size_t now = resident();
    CHECK(now < before + most, "%s: %zu MiB more are resident, not %zu at most", what, (now - before) / MIB,
          most / MIB);
}

int main(void) {
    enum { K = 2048, N = 4096 };
    const size_t bytes = (size_t)K * N * 2; /* 16 MiB */
    uint8_t *w = must_allocate(bytes), *back = must_allocate(bytes);
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.9, 1, w);
    sparamx_capability c = {.size = sizeof c};
    sparamx_get_capability(&c);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        SKIP(1, "locked memory: mlockall says %s", strerror(errno));
        return check_end();
    }
    size_t before = resident();
    sparamx_buffer *buffer = NULL;
    CHECK(sparamx_buffer_create((size_t)2 << 30, NULL, &buffer) == SPARAMX_OK, "2 GiB of address space");
    check_growth(before, 2 * MIB, "a buffer of 2 GiB");

    sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, K, N, 1, 1, sparamx_buffer_base(buffer), buffer);
    sparamx_tensor other = t;
    other.data = (char *)t.data + (512 << 20);
    CHECK(sparamx_buffer_init_tensor(buffer, &t) == SPARAMX_OK &&
              sparamx_buffer_init_tensor(buffer, &other) == SPARAMX_OK,
          "announced");
    check_growth(before, 2 * MIB, "two weights that are announced");
    CHECK(sparamx_buffer_get_tensor(buffer, &other, back, 0, bytes) == SPARAMX_OK && back[0] == 0 &&
              memcmp(back, back + 1, bytes - 1) == 0, "what has not arrived reads as zero");
    check_growth(before, 2 * MIB, "reading what has not arrived");

    /* In pieces: the raw bytes are there until the last one, then only the packed form (a fifth or so). */
    CHECK(sparamx_buffer_set_tensor(buffer, &t, w, 0, bytes / 2) == SPARAMX_OK, "one half");
    check_growth(before, bytes + 2 * MIB, "a weight that has arrived by half");
    CHECK(sparamx_buffer_set_tensor(buffer, &t, w + bytes / 2, bytes / 2, bytes / 2) == SPARAMX_OK, "the other half");
    check_growth(before, bytes / 2, "a weight that is packed");
    CHECK(sparamx_buffer_get_tensor(buffer, &t, back, 0, bytes) == SPARAMX_OK && memcmp(back, w, bytes) == 0,
          "read back");

    CHECK(sparamx_buffer_clear(buffer, 0) == SPARAMX_OK, "clear");
    check_growth(before, bytes / 2, "cleared to zero");
    CHECK(sparamx_buffer_reset(buffer) == SPARAMX_OK, "reset");
    check_growth(before, 2 * MIB, "after a reset");
    sparamx_buffer_destroy(buffer);
    check_growth(before, 2 * MIB, "after the buffer is gone");
    free(w);
    free(back);
    return check_end();
}
