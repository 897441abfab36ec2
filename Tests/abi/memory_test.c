/*
 * memory_test - what a large tensor costs: resident memory grows by the packed size and no more, during an upload by no
 * more than one tensor on top, and so does clearing; address space is reserved without being taken.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 6144, K = 6144 };
static const size_t bytes = (size_t)N * K * 2; /* 72 MiB */

static size_t resident(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*u %lu", &pages) != 1) exit(2);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Makes the kernel's high-water mark of resident memory start again. */
static bool restart_peak(void) {
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file == NULL) return false;
    bool done = fputs("5", file) >= 0;
    return fclose(file) == 0 && done;
}

static size_t status_bytes(const char *name) {
    char line[256];
    size_t kib = 0, length = strlen(name);
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, length) == 0 && line[length] == ':') kib = strtoul(line + length + 1, NULL, 10);
    }
    if (file != NULL) fclose(file);
    return kib * 1024;
}

static double mib(size_t n) { return (double)n / (1 << 20); }

/* piece 0: the whole in one call. */
static void test_upload(const uint8_t *data, size_t piece, bool backwards) {
    size_t before = resident();
    sparamx_buffer_options o = {.size = sizeof o, .pack_threads = 2};
    sparamx_buffer *buffer = NULL;
    if (!CHECK(sparamx_buffer_create(bytes, &o, &buffer) == SPARAMX_OK, "a buffer")) return;
    sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, K, N, 1, 1, sparamx_buffer_base(buffer), buffer);
    CHECK(sparamx_buffer_init_tensor(buffer, &t) == SPARAMX_OK, "announce");
    CHECK(resident() - before < bytes / 50, "an empty buffer takes %.1f MiB", mib(resident() - before));
    bool peak_known = restart_peak(), good = true;
    if (piece == 0) {
        good = sparamx_buffer_set_tensor(buffer, &t, data, 0, bytes) == SPARAMX_OK;
    }
    for (size_t done = 0; piece != 0 && done < bytes && good; done += piece) {
        size_t size = bytes - done < piece ? bytes - done : piece, offset = backwards ? bytes - done - size : done;
        good = sparamx_buffer_set_tensor(buffer, &t, data + offset, offset, size) == SPARAMX_OK;
    }
    size_t grown = resident() - before, peak = status_bytes("VmHWM") - before;
    const char *how = piece == 0 ? "whole" : backwards ? "pieces backwards" : "pieces";
    sparamx_tensor_info info = {.size = sizeof info};
    CHECK(good && sparamx_buffer_tensor_info(buffer, &t, &info) == SPARAMX_OK && info.form == SPARAMX_FORM_SPARSE,
          "%s: upload", how);
    size_t packed = (size_t)info.packed_bytes, slack = packed / 20;
    CHECK(packed < bytes * 58 / 100, "%s: packed %.1f of %.1f MiB", how, mib(packed), mib(bytes));
    CHECK(sparamx_buffer_resident(buffer) == packed, "%s: %zu bytes said to be resident", how,
          sparamx_buffer_resident(buffer));
    CHECK(grown <= packed + slack && grown + slack >= packed, "%s: grew by %.1f MiB, packed are %.1f", how, mib(grown),
          mib(packed));
    if (peak_known) {
        size_t most = packed + slack + (piece == 0 ? 0 : bytes);
        CHECK(peak <= most, "%s: at most %.1f MiB, allowed are %.1f", how, mib(peak), mib(most));
    } else {
        SKIP(1, "the peak of resident memory: /proc/self/clear_refs cannot be written here");
    }
    uint8_t *row = must_allocate(2 * K);
    for (size_t i = 0; i < N; i += 611) {
        good = good && sparamx_buffer_get_tensor(buffer, &t, row, i * 2 * K, 2 * K) == SPARAMX_OK &&
               memcmp(row, data + i * 2 * K, 2 * K) == 0;
    }
    CHECK(good, "%s: read-back", how);
    free(row);
    /* One byte of a packed tensor: unpacked, changed, packed again. */
    restart_peak();
    CHECK(sparamx_buffer_set_tensor(buffer, &t, data + 7, 7, 1) == SPARAMX_OK, "%s: a change", how);
    peak = status_bytes("VmHWM") - before;
    if (peak_known) CHECK(peak <= 2 * packed + slack + bytes, "%s: a change took %.1f MiB", how, mib(peak));
    grown = resident() - before;
    CHECK(grown <= packed + slack, "%s: after a change %.1f MiB", how, mib(grown));
    CHECK(sparamx_buffer_reset(buffer) == SPARAMX_OK && resident() - before < bytes / 50, "%s: after reset %.1f MiB",
          how, mib(resident() - before));
    sparamx_buffer_destroy(buffer);
    CHECK(resident() < before + bytes / 50, "%s: after destroy %.1f MiB", how, mib(resident() - before));
}

static void test_linear(const uint8_t *data) {
    size_t before = resident();
    bool peak_known = restart_peak();
    sparamx_linear *linear = NULL;
    sparamx_tensor_info info = {.size = sizeof info};
    CHECK(sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, data, 0, NULL, &linear) == SPARAMX_OK, "linear");
    CHECK(sparamx_linear_info(linear, &info) == SPARAMX_OK, "info");
    size_t packed = (size_t)info.packed_bytes, most = packed + packed / 20;
    CHECK(resident() - before <= most, "a linear takes %.1f MiB, packed are %.1f", mib(resident() - before),
          mib(packed));
    if (peak_known)
        CHECK(status_bytes("VmHWM") - before <= most, "a linear took %.1f MiB", mib(status_bytes("VmHWM") - before));
    sparamx_linear_destroy(linear);
    CHECK(resident() < before + bytes / 50, "after destroy %.1f MiB", mib(resident() - before));
}

/* Weights are packed anew one after the other: at no time are there two packed forms of more than one of them. */
static void test_clear(const uint8_t *data) {
    enum { WEIGHTS = 6, ROWS = N / WEIGHTS };
    size_t before = resident(), one = bytes / WEIGHTS, packed = 0;
    sparamx_buffer *buffer = NULL;
    if (!CHECK(sparamx_buffer_create(bytes, NULL, &buffer) == SPARAMX_OK, "a buffer")) return;
    sparamx_tensor t[WEIGHTS];
    bool good = true;
    for (size_t i = 0; i < WEIGHTS; i++) {
        t[i] = make_tensor(SPARAMX_TYPE_BF16, K, ROWS, 1, 1, (uint8_t *)sparamx_buffer_base(buffer) + i * one, buffer);
        good = good && sparamx_buffer_set_tensor(buffer, &t[i], data + i * one, 0, one) == SPARAMX_OK;
    }
    packed = sparamx_buffer_resident(buffer);
    CHECK(good && packed < bytes * 58 / 100, "six weights: packed %.1f of %.1f MiB", mib(packed), mib(bytes));
    const uint8_t values[] = {0x3c, 0x3d, 0};
    for (size_t v = 0; v < sizeof values; v++) {
        bool peak_known = restart_peak();
        CHECK(sparamx_buffer_clear(buffer, values[v]) == SPARAMX_OK, "clear to %d", values[v]);
        size_t now = sparamx_buffer_resident(buffer), peak = status_bytes("VmHWM") - before;
        size_t most = (now > packed ? now : packed) + one + one / 4;
        if (peak_known) CHECK(peak <= most, "clear took %.1f MiB, allowed are %.1f", mib(peak), mib(most));
        if (!peak_known) SKIP(1, "the peak of resident memory: /proc/self/clear_refs cannot be written here");
        CHECK(resident() - before <= now + one / 4, "after clear %.1f MiB, packed are %.1f", mib(resident() - before),
              mib(now));
        packed = now;
    }
    sparamx_buffer_destroy(buffer);
}

static void test_address_space(void) {
    size_t before = resident(), space = status_bytes("VmSize"), size = (size_t)1 << 40;
    sparamx_buffer *buffer = NULL;
    sparamx_status status = sparamx_buffer_create(size, NULL, &buffer);
    if (status == SPARAMX_ERR_NO_MEMORY) {
        SKIP(1, "a buffer of 1 TiB: the address space is limited here");
        return;
    }
    CHECK(status == SPARAMX_OK && sparamx_buffer_size(buffer) == size, "a buffer of 1 TiB: %d", status);
    CHECK(status_bytes("VmSize") - space >= size && resident() - before < 1 << 20, "1 TiB takes %.1f MiB",
          mib(resident() - before));
    sparamx_tensor t =
        make_tensor(SPARAMX_TYPE_BF16, 64, 4, 1, 1, (uint8_t *)sparamx_buffer_base(buffer) + size - 4096, buffer);
    uint8_t data[512], back[512];
    fill_bytes(512, 3, data);
    CHECK(sparamx_buffer_set_tensor(buffer, &t, data, 0, 512) == SPARAMX_OK &&
              sparamx_buffer_get_tensor(buffer, &t, back, 0, 512) == SPARAMX_OK && memcmp(data, back, 512) == 0,
          "its last page");
    CHECK(resident() - before < 1 << 20, "1 TiB with a tensor takes %.1f MiB", mib(resident() - before));
    sparamx_buffer_destroy(buffer);
    CHECK(status_bytes("VmSize") < space + (1 << 20), "address space is given back");
}

int main(void) {
    uint8_t *data = must_allocate(bytes);
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.5, 1, data);
    isa_level(); /* its memory is not the tensor's */
    test_upload(data, 0, false);
    test_upload(data, bytes / 7, false);
    test_upload(data, (size_t)3 << 20, true);
    test_upload(data, 1000000, false);
    test_linear(data);
    test_clear(data);
    test_address_space();
    free(data);
    return check_end();
}
