/*
 * guard_test - every buffer that a kernel may touch ends at a page that nobody may touch, and in a second pass begins
 * right behind one: weights to pack, activations, results, work area, rows to read back. All types, forms and kernels
 * over small and odd shapes. With libfail.so preloaded and FAIL_GUARD=1 the library's own memory ends at such a page
 * too.
 */
#define _GNU_SOURCE
#include "check.h"
#include "types.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, ARENA = 1 << 22 };

static const int64_t tokens[] = {1, 2, 3, 4, 5, 8, 16, 17, 32, 33, 100};
static const int64_t rows[] = {1, 15, 16, 17, 33};
static const int64_t widths[] = {1, 31, 32, 33, 255, 257, 513}, widths_of_32[] = {32, 64, 96, 288, 1056},
                     widths_of_256[] = {256, 512, 1024};

static char current[256];

static void report(int signal_number) {
    char text[400];
    int length = snprintf(text, sizeof text, "not ok: guard_test: signal %d in %s\n%ld passed, %ld failed, 0 skipped\n",
                          signal_number, current, checks.passed, checks.failed + 1);
    if (write(1, text, (size_t)length) != length) _exit(2);
    _exit(1);
}

/* Memory with a forbidden page on either side. */
typedef struct arena {
    uint8_t *begin;
} arena;

static arena make_arena(void) {
    uint8_t *all = mmap(NULL, ARENA + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED || mprotect(all + PAGE, ARENA, PROT_READ | PROT_WRITE) != 0) exit(2);
    return (arena){all + PAGE};
}

static void *place(arena a, size_t bytes, bool front) {
    if (bytes > ARENA) exit(2);
    return front ? a.begin : a.begin + ARENA - bytes;
}

static arena source, activations, results, work, target;
/* 1056 k in whole blocks of 128. */
static float x_values[100 * 1152], expected[100 * 33];

static void product(const sparamx_linear *linear, int64_t m, int64_t n, int64_t k, int threads, bool front,
                    const char *kernel) {
    size_t work_bytes = 0, y_bytes = (size_t)(m * n) * 4, x_bytes = (size_t)(m * k) * 4;
    if (sparamx_linear_work_size(linear, m, threads, &work_bytes) != SPARAMX_OK) {
        CHECK(false, "%s: work size", current);
        return;
    }
    char shape[200];
    memcpy(shape, current, sizeof shape);
    snprintf(current, sizeof current, "%.100s m %lld threads %d %s %s", shape, (long long)m, threads,
             front ? "front" : "end", kernel);
    float *x = place(activations, x_bytes, front), *y = place(results, y_bytes, front);
    memcpy(x, x_values, x_bytes);
    memset(y, 0x7f, y_bytes);
    sparamx_status status =
        multiply_in(linear, NULL, m, threads, x, k, y, n, place(work, work_bytes, front), work_bytes);
    CHECK(status == SPARAMX_OK, "%s: status %d", current, status);
    if (!front && threads == 1) memcpy(expected, y, y_bytes);
    CHECK(memcmp(y, expected, y_bytes) == 0, "%s: other results", current);
    CHECK(memcmp(x, x_values, x_bytes) == 0, "%s: activations were written to", current);
    memcpy(current, shape, sizeof shape);
}

/* Every row and some cut ranges, each read to the very end or begin of its memory. */
static void read_back(const sparamx_linear *linear, int64_t n, size_t row, const uint8_t *w, bool front) {
    static const int64_t counts[] = {1, 2, 15, 16, 17, 33};
    for (size_t i = 0; i < COUNT(counts); i++) {
        for (int64_t first = 0; first + counts[i] <= n; first += counts[i] == 1 ? 1 : 5) {
            size_t bytes = (size_t)counts[i] * row;
            uint8_t *out = place(target, bytes, front);
            bool good = sparamx_linear_read(linear, first, counts[i], out) == SPARAMX_OK;
            CHECK(good && memcmp(out, w + (size_t)first * row, bytes) == 0, "%s: rows %lld+%lld", current,
                  (long long)first, (long long)counts[i]);
        }
    }
}

static void test_matrix(const gguf_type *type, int32_t form, int64_t n, int64_t k, bool front) {
    size_t row = gguf_row_bytes(type, k), bytes = row * (size_t)n;
    uint8_t *w = place(source, bytes, front);
    snprintf(current, sizeof current, "%s %s n %lld k %lld", type->name, form_name(form), (long long)n, (long long)k);
    gguf_fill(type, n, k, 0.5, (uint64_t)(n * k), w);
    sparamx_linear_options o = {.size = sizeof o, .form = form, .pack_threads = 1 + (n > 16)};
    sparamx_linear *linear = NULL;
    if (!CHECK(sparamx_linear_create(type->number, n, k, w, 0, &o, &linear) == SPARAMX_OK, "%s", current)) return;
    read_back(linear, n, row, w, front);
    CHECK(sparamx_linear_verify(linear) == SPARAMX_OK, "%s: refused as it was packed", current);
    for (size_t i = 0; i < COUNT(tokens); i++) {
        int64_t m = tokens[i];
        /* Results of the first pass are the measure for the second. */
        if (front) multiply(linear, m, 1, x_values, k, expected, n);
        product(linear, m, n, k, 1, front, "");
        product(linear, m, n, k, 3, front, "");
        if (!front)
            CHECK(gguf_product_right(type, form, n, k, w, m, x_values, expected), "%s m %lld: wrong results", current,
                  (long long)m);
    }
    sparamx_linear_destroy(linear);
}

/* Kernels that the plan does not choose at some counts of tokens: each at the first and last it serves, up to 33. */
static void test_kernels(bool front) {
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info info = {.size = sizeof info};
        if (sparamx_kernel_get(i, &info) != SPARAMX_OK || info.usable != SPARAMX_OK) continue;
        const gguf_type *type = gguf_find(info.type);
        if (!CHECK(type != NULL, "%s: a type the tests do not know", info.name)) continue;
        int64_t n = 33, k = gguf_whole(type, type->block == 1 ? 257 : 288);
        int64_t last = info.m_max < 33 ? info.m_max : 33;
        uint8_t *w = place(source, gguf_row_bytes(type, k) * (size_t)n, front);
        gguf_fill(type, n, k, 0.5, 7, w);
        snprintf(current, sizeof current, "forced");
        sparamx_linear_options o = {.size = sizeof o, .form = info.form, .kernel = info.name};
        sparamx_linear *linear = NULL;
        if (!CHECK(sparamx_linear_create(info.type, n, k, w, 0, &o, &linear) == SPARAMX_OK, "%s", info.name)) continue;
        const int64_t counts[] = {info.m_min, (info.m_min + last) / 2, last};
        for (size_t j = 0; j < COUNT(counts); j++) {
            int64_t m = counts[j];
            if (front) multiply(linear, m, 1, x_values, k, expected, n);
            product(linear, m, n, k, 1, front, info.name);
            product(linear, m, n, k, 3, front, info.name);
            CHECK(gguf_product_right(type, info.form, n, k, w, m, x_values, expected), "%s m %lld: wrong results",
                  info.name, (long long)m);
        }
        sparamx_linear_destroy(linear);
    }
}

/* The same for ops on weights in the host's memory, which are packed into the work area as the product goes. */
static void test_raw(bool front) {
    const gguf_type *types[GGUF_TYPES];
    for (int i = 0, count = gguf_reported(types); i < count; i++) {
        const gguf_type *type = types[i];
        for (size_t r = 0; r < COUNT(rows); r++) {
            int64_t n = rows[r], k = gguf_whole(type, type->block == 1 ? 65 : 96), m = 3;
            size_t bytes = gguf_row_bytes(type, k) * (size_t)n, work_bytes = 0;
            uint8_t *w = place(source, bytes, front);
            gguf_fill(type, n, k, 0.5, 9, w);
            float *x = place(activations, (size_t)(m * k) * 4, front), *y = place(results, (size_t)(m * n) * 4, front);
            memcpy(x, x_values, (size_t)(m * k) * 4);
            sparamx_tensor wt = gguf_tensor(type, k, n, w, NULL),
                           xt = make_tensor(SPARAMX_TYPE_F32, k, m, 1, 1, x, NULL);
            sparamx_tensor yt = make_tensor(SPARAMX_TYPE_F32, n, m, 1, 1, y, NULL);
            sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &yt, .weight = &wt, .x = &xt};
            snprintf(current, sizeof current, "raw %s n %lld", type->name, (long long)n);
            CHECK(sparamx_work_size(&op, 2, &work_bytes) == SPARAMX_OK, "%s", current);
            sparamx_status status =
                multiply_in(NULL, &op, 0, 2, NULL, 0, NULL, 0, place(work, work_bytes, front), work_bytes);
            CHECK(status == SPARAMX_OK && gguf_product_right(type, SPARAMX_FORM_DENSE, n, k, w, m, x, y),
                  "%s: status %d or wrong", current, status);
        }
    }
}

/* A buffer's uploads and read-backs of cut ranges. */
static void test_buffer(bool front) {
    const gguf_type *types[GGUF_TYPES];
    for (int i = 0, count = gguf_reported(types); i < count; i++) {
        sparamx_buffer_options o = {.size = sizeof o, .form = packed_forms[i % PACKED_FORMS]};
        sparamx_buffer *buffer = NULL;
        if (!CHECK(sparamx_buffer_create(1 << 20, &o, &buffer) == SPARAMX_OK, "a buffer")) return;
        int64_t k = gguf_whole(types[i], 96);
        sparamx_tensor t = gguf_tensor(types[i], k, 37, sparamx_buffer_base(buffer), buffer);
        size_t bytes = gguf_row_bytes(types[i], k) * 37;
        uint8_t *w = must_allocate(bytes);
        gguf_fill(types[i], 37, k, 0.5, 5, w);
        snprintf(current, sizeof current, "buffer %s", types[i]->name);
        for (size_t done = 0; done < bytes; done += 1001) {
            size_t size = bytes - done < 1001 ? bytes - done : 1001;
            uint8_t *part = place(source, size, front);
            memcpy(part, w + done, size);
            CHECK(sparamx_buffer_set_tensor(buffer, &t, part, done, size) == SPARAMX_OK, "%s", current);
        }
        for (size_t offset = 0; offset < bytes; offset += 533) {
            for (size_t size = 1; offset + size <= bytes; size = size * 3 + 1) {
                uint8_t *part = place(target, size, front);
                CHECK(sparamx_buffer_get_tensor(buffer, &t, part, offset, size) == SPARAMX_OK &&
                          memcmp(part, w + offset, size) == 0,
                      "%s: %zu bytes from %zu", current, size, offset);
            }
        }
        free(w);
        sparamx_buffer_destroy(buffer);
    }
}

/* The forbidden pages are there: touching one ends a process. */
static void test_guards(void) {
    for (int front = 0; front < 2; front++) {
        int end = 0;
        pid_t child = fork();
        if (child == 0) {
            signal(SIGSEGV, SIG_DFL);
            volatile uint8_t *p = place(results, 100, front);
            p[front ? -1 : 100] = 1;
            _exit(0);
        }
        waitpid(child, &end, 0);
        CHECK(WIFSIGNALED(end) && WTERMSIG(end) == SIGSEGV, "a forbidden page can be written to");
    }
}

int main(void) {
    source = make_arena(), activations = make_arena(), results = make_arena(), work = make_arena(),
    target = make_arena();
    signal(SIGSEGV, report);
    signal(SIGBUS, report);
    fill_activations(COUNT(x_values), 1, x_values);
    test_guards();
    for (int front = 0; front < 2; front++) {
        const gguf_type *types[GGUF_TYPES];
        for (int i = 0, count = gguf_reported(types); i < count; i++) {
            int32_t block = types[i]->block;
            const int64_t *k = block == 1 ? widths : block < 256 ? widths_of_32 : widths_of_256;
            size_t shapes = block == 1 ? COUNT(widths) : block < 256 ? COUNT(widths_of_32) : COUNT(widths_of_256);
            for (size_t j = 0; j < COUNT(packed_forms) * COUNT(rows); j++) {
                if (!gguf_serves(types[i], packed_forms[j % PACKED_FORMS])) continue;
                for (size_t l = 0; l < shapes; l++) {
                    if (l > 0 && gguf_whole(types[i], k[l]) == gguf_whole(types[i], k[l - 1])) continue;
                    test_matrix(types[i], packed_forms[j % PACKED_FORMS], rows[j / PACKED_FORMS],
                                gguf_whole(types[i], k[l]), front);
                }
            }
        }
        test_kernels(front);
        test_raw(front);
        test_buffer(front);
    }
    if (getenv("FAIL_GUARD") != NULL) { /* libfail.so is asked for, so it has to be there */
        long (*guards)(void) = NULL;
        void *symbol = dlsym(RTLD_DEFAULT, "fail_guards");
        memcpy(&guards, &symbol, sizeof guards);
        CHECK(guards != NULL && guards() > 1000, "the library's own memory has no guards");
    }
    return check_end();
}
