/*
 * old_host [link|table] - a program of the first release: compiled against the header that is kept beside this file,
 * and run with today's library. Everything the header offers is called, by name or through the table, with structs of
 * their size of then; the bytes behind each struct stay as they are.
 */
#define _GNU_SOURCE
#include "sparamx-0.1.0.h"

#include "../abi/check.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 37, K = 128, M = 9, PAGE = 4096, TRAIL = 64 };

static sparamx_api by_name = {
    sizeof(sparamx_api), SPARAMX_ABI, sparamx_version, sparamx_status_string, sparamx_set_log, sparamx_get_capability,
    sparamx_buffer_type_name, sparamx_buffer_type_alignment, sparamx_buffer_type_max_size, sparamx_buffer_type_is_host,
    sparamx_buffer_type_alloc_size, sparamx_buffer_create, sparamx_buffer_destroy, sparamx_buffer_base,
    sparamx_buffer_size, sparamx_buffer_resident, sparamx_buffer_set_usage, sparamx_buffer_init_tensor,
    sparamx_buffer_set_tensor, sparamx_buffer_get_tensor, sparamx_buffer_memset_tensor, sparamx_buffer_set_tensor_2d,
    sparamx_buffer_get_tensor_2d, sparamx_buffer_copy_tensor, sparamx_buffer_clear, sparamx_buffer_reset,
    sparamx_supports_weight, sparamx_supports_op, sparamx_work_size, sparamx_compute, sparamx_buffer_tensor_info,
    sparamx_kernel_count, sparamx_kernel_get, sparamx_linear_create, sparamx_linear_destroy, sparamx_linear_read,
    sparamx_linear_work_size, sparamx_linear_compute, sparamx_linear_info,
};
static const sparamx_api *api;

/* A struct with room behind it that nobody may write to. */
#define OLD(TYPE, name)                                                                                                \
    struct {                                                                                                           \
        TYPE it;                                                                                                       \
        unsigned char trail[TRAIL];                                                                                    \
    } name;                                                                                                            \
    memset(&name, 0, sizeof name);                                                                                     \
    memset(name.trail, 0xa5, TRAIL);                                                                                   \
    name.it.size = sizeof name.it

static bool untouched(const unsigned char *trail) {
    for (int i = 0; i < TRAIL; i++) {
        if (trail[i] != 0xa5) return false;
    }
    return true;
}

static uint16_t weights[N * K];
static float x[M * K], y[M * N];
static char work[1 << 20];
static int lines;

static void count_line(int32_t level, const char *message, void *user) {
    (void)level, (void)message, (void)user;
    lines++;
}

/* In whole numbers of bf16, so that every kernel has the exact sum. */
static void fill(void) {
    for (int i = 0; i < N * K; i++) {
        float value = i % 2 ? 0 : (float)(i * 7 % 9 - 4);
        uint32_t bits;
        memcpy(&bits, &value, 4);
        weights[i] = (uint16_t)(bits >> 16);
    }
    for (int i = 0; i < M * K; i++) x[i] = (float)(i * 5 % 11 - 5);
}

static bool right(void) {
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int l = 0; l < K; l++)
                sum += (j * K + l) % 2 ? 0 : (double)((j * K + l) * 7 % 9 - 4) * (double)x[i * K + l];
            if ((double)y[i * N + j] != sum) return false;
        }
    }
    return true;
}

static void test_library(void) {
    OLD(sparamx_capability, c);
    CHECK(api->get_capability(&c.it) == SPARAMX_OK && c.it.status == SPARAMX_OK && untouched(c.trail), "capability");
    CHECK(c.it.isa >= SPARAMX_ISA_REFERENCE && c.it.isa <= SPARAMX_ISA_AMX && c.it.cpus > 0 && c.it.numa_nodes > 0 &&
              strlen(c.it.avx512_reason) > 0 && strlen(c.it.amx_reason) > 0 && memchr(c.it.cpu, 0, sizeof c.it.cpu),
          "what the capability says");
    CHECK(strlen(api->version()) > 0 && strlen(api->status_string(SPARAMX_ERR_STATE)) > 0, "texts");
    CHECK(api->set_log(count_line, NULL) == SPARAMX_OK, "log");
    CHECK(strcmp(api->buffer_type_name(), "SPARAMX") == 0 && api->buffer_type_alignment() <= PAGE &&
              api->buffer_type_max_size() > 0 && !api->buffer_type_is_host(),
          "buffer type");
    int rows = 0;
    for (int32_t i = 0; i < api->kernel_count(); i++) {
        OLD(sparamx_kernel_info, row);
        CHECK(api->kernel_get(i, &row.it) == SPARAMX_OK && untouched(row.trail), "row %d", i);
        rows += row.it.type == SPARAMX_TYPE_BF16 && row.it.usable == SPARAMX_OK;
    }
    CHECK(rows > 0, "no row for bf16");
}

static void test_linear(int32_t form) {
    OLD(sparamx_linear_options, o);
    OLD(sparamx_params, p);
    OLD(sparamx_tensor_info, info);
    sparamx_linear *linear = NULL;
    uint16_t back[N * K];
    o.it.form = form;
    p.it.nth = 1, p.it.work = work, p.it.work_size = sizeof work;
    size_t size = 0;
    memset(y, 0, sizeof y);
    CHECK(api->linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, &o.it, &linear) == SPARAMX_OK, "linear");
    CHECK(api->linear_work_size(linear, M, 1, &size) == SPARAMX_OK && size <= sizeof work, "work size");
    CHECK(api->linear_compute(linear, &p.it, M, x, K, y, N) == SPARAMX_OK && right(), "product of a linear");
    CHECK(api->linear_read(linear, 0, N, back) == SPARAMX_OK && memcmp(back, weights, sizeof back) == 0, "read");
    CHECK(api->linear_info(linear, &info.it) == SPARAMX_OK && untouched(info.trail) && info.it.n == N &&
              info.it.k == K && info.it.source_bytes == sizeof weights && info.it.n_kernels >= 1 &&
              info.it.n_kernels <= 8 && info.it.form == form,
          "info of a linear");
    CHECK(untouched(o.trail) && untouched(p.trail), "options or params were written to");
    api->linear_destroy(linear);
}

static sparamx_tensor tensor(int32_t type, size_t element, int64_t ne0, int64_t ne1, void *data, sparamx_buffer *b) {
    uint64_t row = (uint64_t)ne0 * element;
    return (sparamx_tensor){sizeof(sparamx_tensor), type, {ne0, ne1, 1, 1},
                            {element, row, row * (uint64_t)ne1, row * (uint64_t)ne1}, data, b, "old"};
}

static void test_buffer(void) {
    OLD(sparamx_buffer_options, o);
    OLD(sparamx_op, op);
    OLD(sparamx_params, p);
    OLD(sparamx_tensor_info, info);
    sparamx_buffer *buffer = NULL;
    uint16_t back[N * K], half[2 * K];
    size_t size = 0;
    CHECK(api->buffer_create(1 << 20, &o.it, &buffer) == SPARAMX_OK, "buffer");
    uint8_t *base = api->buffer_base(buffer);
    CHECK(base != NULL && api->buffer_size(buffer) == 1 << 20, "base and size");
    sparamx_tensor t = tensor(SPARAMX_TYPE_BF16, 2, K, N, base, buffer),
                   u = tensor(SPARAMX_TYPE_BF16, 2, K, N, base + 16 * PAGE, buffer);
    CHECK(api->buffer_type_alloc_size(&t, &size) == SPARAMX_OK && size >= sizeof weights, "alloc size");
    CHECK(api->buffer_set_usage(buffer, SPARAMX_USAGE_WEIGHTS) == SPARAMX_OK &&
              api->buffer_init_tensor(buffer, &t) == SPARAMX_OK &&
              api->buffer_set_tensor(buffer, &t, weights, 0, sizeof weights) == SPARAMX_OK &&
              api->buffer_get_tensor(buffer, &t, back, 0, sizeof back) == SPARAMX_OK &&
              memcmp(back, weights, sizeof back) == 0 && api->buffer_resident(buffer) > 0,
          "set and get");
    CHECK(api->buffer_tensor_info(buffer, &t, &info.it) == SPARAMX_OK && untouched(info.trail) && info.it.n == N,
          "info");
    CHECK(api->supports_weight(&t, SPARAMX_OP_MUL_MAT) == SPARAMX_OK, "supports weight");
    sparamx_tensor xt = tensor(SPARAMX_TYPE_F32, 4, K, M, x, NULL), yt = tensor(SPARAMX_TYPE_F32, 4, N, M, y, NULL);
    op.it.kind = SPARAMX_OP_MUL_MAT, op.it.dst = &yt, op.it.weight = &t, op.it.x = &xt;
    p.it.nth = 1, p.it.work = work, p.it.work_size = sizeof work;
    memset(y, 0, sizeof y);
    CHECK(api->supports_op(&op.it) == SPARAMX_OK && api->work_size(&op.it, 1, &size) == SPARAMX_OK &&
              size <= sizeof work && api->compute(&p.it, &op.it) == SPARAMX_OK && right(),
          "product of an op");
    CHECK(api->buffer_copy_tensor(buffer, &t, &u) == SPARAMX_OK &&
              api->buffer_get_tensor_2d(buffer, &u, half, 0, K, 2, 2 * K, 2 * K) == SPARAMX_OK &&
              memcmp(half, weights, K) == 0 &&
              api->buffer_set_tensor_2d(buffer, &u, weights, 0, K, 2, 2 * K, 2 * K) == SPARAMX_OK &&
              api->buffer_memset_tensor(buffer, &u, 0, 0, 2 * K) == SPARAMX_OK &&
              api->buffer_clear(buffer, 0) == SPARAMX_OK && api->buffer_reset(buffer) == SPARAMX_OK,
          "copy, pieces, memset, clear, reset");
    CHECK(untouched(o.trail) && untouched(op.trail) && untouched(p.trail), "a struct was written to");
    api->buffer_destroy(buffer);
}

int main(int argc, char **argv) {
    fill();
    if (argc > 1 && strcmp(argv[1], "table") == 0) {
        api = sparamx_get_api(SPARAMX_ABI);
        if (!CHECK(api != NULL && api->size >= sizeof(sparamx_api) && api->abi == SPARAMX_ABI,
                   "the library does not speak ABI %d any more", SPARAMX_ABI))
            return check_end();
    } else {
        api = &by_name;
    }
    test_library();
    test_linear(SPARAMX_FORM_DENSE);
    test_linear(SPARAMX_FORM_SPARSE);
    test_buffer();
    return check_end();
}
