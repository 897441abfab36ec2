/*
 * unload_test - loads the library, computes a product with it and unloads it, a thousand times: neither resident memory
 * nor the number of mappings grows, and it really goes.
 */
#define _GNU_SOURCE
#include "check.h"

#include <dlfcn.h>
#include <sparamx.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 33, K = 70, M = 3, WARM_UP = 50, TIMES = 1000, WORK = 1 << 20 };

static uint16_t weights[N * K];
static float x[M * K], y[M * N], first[M * N];
static char work[WORK];

static size_t resident(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*u %lu", &pages) != 1) exit(2);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int mappings(int *of_library) {
    char line[1024];
    int lines = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    *of_library = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        lines++, *of_library += strstr(line, "libsparamx") != NULL;
    if (file != NULL) fclose(file);
    return lines;
}

static bool product(const sparamx_api *api, int32_t form) {
    sparamx_linear_options o = {.size = sizeof o, .form = form, .pack_threads = 2};
    sparamx_linear *linear = NULL;
    sparamx_params p = {.size = sizeof p, .nth = 1, .work = work, .work_size = WORK};
    size_t needed = 0;
    memset(y, 0, sizeof y);
    bool good = api->linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, &o, &linear) == SPARAMX_OK &&
                api->linear_work_size(linear, M, 1, &needed) == SPARAMX_OK && needed <= WORK &&
                api->linear_compute(linear, &p, M, x, K, y, N) == SPARAMX_OK;
    api->linear_destroy(linear);
    sparamx_buffer *buffer = NULL;
    good = good && api->buffer_create(1 << 20, NULL, &buffer) == SPARAMX_OK;
    api->buffer_destroy(buffer);
    return good;
}

/* Once from begin to end; what went wrong, or NULL. */
static const char *once(int round) {
    void *handle = dlopen("libsparamx.so.0", RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) return dlerror();
    const sparamx_api *(*get_api)(uint32_t) = NULL;
    void *symbol = dlsym(handle, "sparamx_get_api");
    memcpy(&get_api, &symbol, sizeof get_api);
    const sparamx_api *api = get_api != NULL ? get_api(SPARAMX_ABI) : NULL;
    if (api == NULL) return "there is no table";
    if (!product(api, round % 2 ? SPARAMX_FORM_SPARSE : SPARAMX_FORM_DENSE)) return "the product failed";
    if (round == 0) memcpy(first, y, sizeof y);
    for (int i = 0; i < M * N; i++) {
        /* Dense and sparse kernels may add in another order. */
        float difference = y[i] - first[i];
        if (!(difference < 1e-3f && difference > -1e-3f)) return "another result than the first time";
    }
    return dlclose(handle) == 0 ? NULL : "dlclose failed";
}

int main(void) {
    for (int i = 0; i < N * K; i++) weights[i] = i % 3 == 0 ? 0 : (uint16_t)(0x3e80 + i % 90 + (i % 2 ? 0x8000 : 0));
    for (int i = 0; i < M * K; i++) x[i] = (float)(i % 11 - 5) / 8;
    size_t before = 0;
    int lines = 0, library = 0, wrong = 0;
    for (int i = 0; i < TIMES; i++) {
        if (i == WARM_UP) before = resident(), lines = mappings(&library);
        const char *problem = once(i);
        if (problem != NULL && wrong++ < 3) printf("not ok: round %d: %s\n", i, problem);
    }
    CHECK(wrong == 0, "%d of %d rounds went wrong", wrong, TIMES);
    CHECK(library == 0, "the library stays mapped after dlclose: %d mappings", library);
    int later = mappings(&library);
    CHECK(later <= lines + 1 && library == 0, "%d mappings, %d after the warm-up", later, lines);
    CHECK(resident() <= before + (1 << 20), "grew by %ld KiB", (long)(resident() - before) / 1024);
    return check_end();
}
