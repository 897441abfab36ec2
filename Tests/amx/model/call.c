/*
 * call.c - one product by one kernel, and a file of what that kernel executed.
 *
 *   call TYPE FORM KERNEL OFFSET M N K SPARSITY FILE [RECORDS]
 *
 * TYPE is the number of a GGUF type, FORM 1 or 2, OFFSET that of the kernel's function in the library (hexadecimal).
 * It runs under libtile-emulator.so with SPARAMX_INTERPRET=1. The file holds records of avx512_interpreter.h.
 */
#define _GNU_SOURCE
#include "avx512_interpreter.h"
#include "common/gguf.h"
#include "common/pruned.h"

#include <dlfcn.h>
#include <math.h>
#include <sparamx.h>
#include <stdio.h>
#include <stdlib.h>

typedef int start_function(const void *, const void *, avx512_interpreter_record *, uint64_t);
typedef uint64_t end_function(int *);

static void check(int bad, const char *what) {
    if (!bad) return;
    fprintf(stderr, "call: %s\n", what);
    exit(1);
}

static void *allocate(size_t bytes) {
    void *p = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
    check(p == NULL, "out of memory");
    return p;
}

int main(int argc, char **argv) {
    check(argc < 10, "TYPE FORM KERNEL OFFSET M N K SPARSITY FILE [RECORDS]");
    const uint32_t type = (uint32_t)atoi(argv[1]);
    const long m = atol(argv[5]), n = atol(argv[6]), k = atol(argv[7]);
    const double sparsity = atof(argv[8]);
    const uint64_t capacity = argc > 10 ? strtoull(argv[10], NULL, 10) : 20000000;
    check(m < 1 || n < 1 || k < 256 || k % 256 != 0 || !pruned_has_type(type), "a type or a shape that it cannot make");

    start_function *start = (start_function *)dlsym(RTLD_DEFAULT, "avx512_interpreter_trace");
    end_function *end = (end_function *)dlsym(RTLD_DEFAULT, "avx512_interpreter_traced");
    check(start == NULL || end == NULL, "libtile-emulator.so with the interpreter is not preloaded");

    const size_t row_bytes = (size_t)gguf_row_bytes(type, k);
    uint8_t *weights = allocate(row_bytes * (size_t)n), *scratch = allocate((size_t)k);
    uint64_t state = 2;
    pruned_random(type, weights, n * k, &state);
    for (long r = 0; r < n && sparsity > 0; r++) {
        const int64_t zeros = llround((double)(r + 1) * k * sparsity) - llround((double)r * k * sparsity);
        pruned_set(type, weights + (size_t)r * row_bytes, k, zeros, &state, scratch);
    }
    sparamx_linear_options options = {.size = sizeof options, .form = atoi(argv[2]), .pack_threads = 1,
                                      .kernel = argv[3]};
    sparamx_linear *linear = NULL;
    int status = sparamx_linear_create(type, n, k, weights, 0, &options, &linear);
    check(status != 0, sparamx_status_string(status));
    sparamx_params params = {.size = sizeof params, .nth = 1};
    status = sparamx_linear_work_size(linear, m, 1, &params.work_size);
    check(status != 0, sparamx_status_string(status));
    params.work = allocate(params.work_size + 1);
    float *x = allocate((size_t)(m * k) * sizeof *x), *y = allocate((size_t)(m * n) * sizeof *y);
    for (long i = 0; i < m * k; i++) x[i] = (float)(random() % 2000 - 1000) / 500.0f;

    Dl_info library;
    check(dladdr((void *)sparamx_linear_compute, &library) == 0, "where the library is loaded cannot be found out");
    const char *base = library.dli_fbase;
    avx512_interpreter_record *records = malloc(capacity * sizeof *records);
    check(records == NULL, "out of memory");
    check(!start(base, base + strtoul(argv[4], NULL, 16), records, capacity), "the trace could not be prepared");
    status = sparamx_linear_compute(linear, &params, m, x, k, y, n);
    int complete = 0;
    const uint64_t count = end(&complete);
    check(status != 0, sparamx_status_string(status));
    check(count == 0, "the kernel was not called");
    check(!complete, "the kernel did not come to its end, or executes more instructions than there is room for");

    FILE *file = fopen(argv[9], "wb");
    check(file == NULL, "the file cannot be written");
    check(fwrite(records, sizeof *records, count, file) != count || fclose(file) != 0, "the file cannot be written");
    return 0;
}
