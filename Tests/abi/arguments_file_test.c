/*
 * arguments_file_test - bad arguments for the functions of packed files. After all of them the objects are as they
 * were.
 */
#define _GNU_SOURCE
#include "faults.h"
#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { N = 33, K = 64, SPACE = 1 << 18, EXPERTS = 2 };

static uint8_t weights[N * K * 2 * EXPERTS];
static sparamx_linear *linear;
static sparamx_buffer *buffer;
static sparamx_file_writer *writer;
static sparamx_file *file; /* of three tensors: "experts", "linear", "plain" */

static sparamx_tensor at(size_t offset, const char *name) {
    char *place = (char *)sparamx_buffer_base(buffer) + offset;
    sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, K, N, 1, 1, place, buffer);
    t.name = name;
    return t;
}

static sparamx_tensor experts(size_t offset) {
    char *place = (char *)sparamx_buffer_base(buffer) + offset;
    return make_tensor(SPARAMX_TYPE_BF16, K, N, EXPERTS, 1, place, buffer);
}

/* -- writing ------------------------------------------------------------------------------------------------------- */

static sparamx_status create(const char *path, const void *key, size_t size) {
    static char nothing[16];
    sparamx_file_writer *mark = (sparamx_file_writer *)(void *)nothing, *out = mark;
    sparamx_status status = sparamx_file_writer_create(path, key, size, &out);
    if (status != SPARAMX_OK) CHECK(out == mark, "a failed create wrote its result");
    else sparamx_file_writer_destroy(out);
    return status;
}

static void test_create(void) {
    static const uint8_t key[SPARAMX_FILE_KEY_MAX + 1] = {1};
    static const size_t wrong[] = {SPARAMX_FILE_KEY_MAX + 1, 4096, (size_t)INT64_MAX, (size_t)INT64_MAX + 1, SIZE_MAX};
    const char *path = path_to("created");
    EXPECT(SPARAMX_ERR_NULL, create(NULL, NULL, 0));
    EXPECT(SPARAMX_ERR_NULL, create(path, NULL, 1));
    for (size_t i = 0; i < COUNT(wrong); i++) EXPECT(SPARAMX_ERR_RANGE, create(path, key, wrong[i]));
    EXPECT(SPARAMX_OK, create(path, NULL, 0));
    EXPECT(SPARAMX_OK, create(path, key, 0));
    EXPECT(SPARAMX_OK, create(path, key, SPARAMX_FILE_KEY_MAX));
    OUT_FAULTS(sparamx_file_writer *, p, sparamx_file_writer_create(path, NULL, 0, p));
    CHECK(access(path, F_OK) != 0, "something is there");
}

static sparamx_status add(const char *name) { return sparamx_file_writer_add_linear(writer, name, linear); }

static void test_add(void) {
    sparamx_tensor t = at(0, "plain"), raw = make_tensor(SPARAMX_TYPE_F32, 4, 4, 1, 1, NULL, buffer);
    sparamx_tensor part = at(SPACE / 2, "part"), absent = at(SPACE - 32768, "absent"), unnamed = at(0, NULL);
    raw.data = (char *)sparamx_buffer_base(buffer) + SPACE / 2 + 32768;
    CHECK(sparamx_buffer_set_tensor(buffer, &raw, weights, 0, 64) == SPARAMX_OK, "a raw tensor");
    CHECK(sparamx_buffer_set_tensor(buffer, &part, weights, 0, 64) == SPARAMX_OK, "a part of a weight");
    char name[SPARAMX_FILE_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[SPARAMX_FILE_NAME_MAX + 1] = 0;
    EXPECT(SPARAMX_ERR_FILE_NAME, add(""));
    EXPECT(SPARAMX_ERR_FILE_NAME, add(name));
    EXPECT(SPARAMX_ERR_NULL, add(NULL));
    CHECK(add(name + 1) == SPARAMX_OK, "the longest name");
    EXPECT(SPARAMX_ERR_FILE_NAME, add(name + 1));
    CHECK(add("\x80\xff\n") == SPARAMX_OK, "any bytes are a name");
    EXPECT(SPARAMX_ERR_FILE_NAME, add("\x80\xff\n"));
    EXPECT(SPARAMX_ERR_NULL, sparamx_file_writer_add(writer, "x", buffer, NULL));
    EXPECT(SPARAMX_ERR_FILE_NAME, sparamx_file_writer_add(writer, NULL, buffer, &unnamed));
    EXPECT(SPARAMX_ERR_STATE, sparamx_file_writer_add(writer, "x", buffer, &raw));
    EXPECT(SPARAMX_ERR_INCOMPLETE, sparamx_file_writer_add(writer, "x", buffer, &part));
    EXPECT(SPARAMX_ERR_FOREIGN, sparamx_file_writer_add(writer, "x", buffer, &absent));
    HANDLE_FAULTS(sparamx_file_writer, p, sparamx_file_writer_add_linear(p, "x", linear));
    HANDLE_FAULTS(sparamx_linear, p, sparamx_file_writer_add_linear(writer, "x", p));
    HANDLE_FAULTS(sparamx_file_writer, p, sparamx_file_writer_add(p, "x", buffer, &t));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_file_writer_add(writer, "x", p, &t));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_file_writer_add(writer, "x", buffer, p));
    HANDLE_FAULTS(sparamx_file_writer, p, sparamx_file_writer_finish(p));
    HANDLE_FAULTS(sparamx_file_writer, p, (sparamx_file_writer_destroy(p), p == NULL        ? SPARAMX_ERR_NULL
                                                                          : (uintptr_t)p % 16 ? SPARAMX_ERR_ALIGNMENT
                                                                                              : SPARAMX_ERR_STATE));
    HANDLE_FAULTS(sparamx_file, p, sparamx_file_writer_finish((sparamx_file_writer *)(void *)p));
    EXPECT(SPARAMX_ERR_STATE, sparamx_file_writer_finish((sparamx_file_writer *)(void *)buffer));
    /* A name that was kept too short is none; two weights of one name cannot be one file. */
    EXPECT(SPARAMX_ERR_INCOMPLETE, sparamx_buffer_save(buffer, path_to("saved")));
    CHECK(sparamx_buffer_set_tensor(buffer, &part, weights, 0, N * K * 2) == SPARAMX_OK, "the rest");
    EXPECT(SPARAMX_OK, sparamx_buffer_save(buffer, path_to("saved")));
    part.name = name;
    static const char *const wrong[] = {NULL, "", "plain"};
    for (size_t i = 0; i <= COUNT(wrong); i++) {
        if (i > 0) part.name = wrong[i - 1];
        CHECK(sparamx_buffer_init_tensor(buffer, &part) == SPARAMX_OK, "another name");
        CHECK(sparamx_buffer_set_tensor(buffer, &part, weights, 0, N * K * 2) == SPARAMX_OK, "another name");
        EXPECT(SPARAMX_ERR_FILE_NAME, sparamx_buffer_save(buffer, path_to("saved")));
    }
    EXPECT(SPARAMX_ERR_NULL, sparamx_buffer_save(buffer, NULL));
    EXPECT(SPARAMX_ERR_NULL, sparamx_linear_save(linear, NULL));
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_save(p, path_to("saved")));
    HANDLE_FAULTS(sparamx_linear, p, sparamx_linear_save(p, path_to("saved")));
    sparamx_file *saved = NULL;
    CHECK(sparamx_file_open(path_to("saved"), &saved) == SPARAMX_OK && sparamx_file_count(saved) == 3,
          "the file that was saved before");
    sparamx_file_close(saved);
    CHECK(sparamx_file_writer_finish(writer) == SPARAMX_OK, "finish after bad arguments");
    EXPECT(SPARAMX_ERR_STATE, add("late"));
    EXPECT(SPARAMX_ERR_STATE, sparamx_file_writer_finish(writer));
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

static void test_read(void) {
    static const int32_t wrong[] = {-1, 3, 4, INT32_MAX, INT32_MIN};
    sparamx_file_tensor info = {.size = sizeof info};
    sparamx_linear *loaded = NULL;
    sparamx_tensor t = at(0, "plain");
    const void *key = NULL;
    size_t size = 77;
    int32_t index = 77;
    EXPECT(SPARAMX_ERR_NULL, sparamx_file_open(NULL, &file));
    OUT_FAULTS(sparamx_file *, p, sparamx_file_open(path_to("file"), p));
    for (size_t i = 0; i < COUNT(wrong); i++) {
        EXPECT(SPARAMX_ERR_RANGE, sparamx_file_info(file, wrong[i], &info));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_file_verify(file, wrong[i]));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_linear_load(file, wrong[i], NULL, &loaded));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_load_tensor(buffer, &t, file, wrong[i]));
    }
    HANDLE_FAULTS(sparamx_file, p, sparamx_file_info(p, 0, &info));
    HANDLE_FAULTS(sparamx_file, p, sparamx_file_verify(p, 0));
    HANDLE_FAULTS(sparamx_file, p, sparamx_file_find(p, "plain", &index));
    HANDLE_FAULTS(sparamx_file, p, sparamx_file_key(p, &key, &size));
    HANDLE_FAULTS(sparamx_file, p, sparamx_linear_load(p, 0, NULL, &loaded));
    HANDLE_FAULTS(sparamx_file, p, sparamx_buffer_load_tensor(buffer, &t, p, 0));
    HANDLE_FAULTS(sparamx_file, p, (sparamx_file_count(p) != 0      ? SPARAMX_OK
                                    : p == NULL                     ? SPARAMX_ERR_NULL
                                    : (uintptr_t)p % 16             ? SPARAMX_ERR_ALIGNMENT
                                                                    : SPARAMX_ERR_STATE));
    HANDLE_FAULTS(sparamx_file, p, (sparamx_file_close(p), p == NULL           ? SPARAMX_ERR_NULL
                                                           : (uintptr_t)p % 16 ? SPARAMX_ERR_ALIGNMENT
                                                                               : SPARAMX_ERR_STATE));
    STRUCT_FAULTS(sparamx_file_tensor, p, info, sparamx_file_info(file, 0, p));
    OUT_FAULTS(const void *, p, sparamx_file_key(file, p, &size));
    OUT_FAULTS(size_t, p, sparamx_file_key(file, &key, p));
    EXPECT(SPARAMX_ERR_NULL, sparamx_file_find(file, NULL, &index));
    EXPECT(SPARAMX_ERR_NULL, sparamx_file_find(file, "plain", NULL));
    EXPECT(SPARAMX_ERR_ALIGNMENT, sparamx_file_find(file, "plain", (int32_t *)(void *)((char *)&size + 1)));
    static const char *const names[] = {"", "plai", "plain ", "Plain", "zzz", "a", "\xff"};
    for (size_t i = 0; i < COUNT(names); i++)
        EXPECT(SPARAMX_ERR_FILE_NAME, sparamx_file_find(file, names[i], &index));
    CHECK(index == 77 && loaded == NULL && key == NULL && size == 77, "a failed call wrote its result");
    CHECK(sparamx_file_key(file, &key, &size) == SPARAMX_OK && size == 0, "no key");
    CHECK(sparamx_file_count(file) == 3 && sparamx_file_info(file, 2, &info) == SPARAMX_OK, "info");
}

static void test_load(void) {
    int32_t several = -1, plain = -1;
    CHECK(sparamx_file_find(file, "experts", &several) == SPARAMX_OK, "find");
    CHECK(sparamx_file_find(file, "plain", &plain) == SPARAMX_OK, "find");
    sparamx_linear *loaded = NULL;
    sparamx_linear_options good = {.size = sizeof good}, o = good;
    EXPECT(SPARAMX_ERR_SHAPE, sparamx_linear_load(file, several, NULL, &loaded));
    OUT_FAULTS(sparamx_linear *, p, sparamx_linear_load(file, plain, NULL, p));
#define LOAD(options)                                                     \
    (sparamx_linear_load(file, plain, options, &loaded) == SPARAMX_OK     \
         ? (sparamx_linear_destroy(loaded), loaded = NULL, SPARAMX_OK)    \
         : sparamx_linear_load(file, plain, options, &loaded))
    STRUCT_FAULTS_IF_THERE(sparamx_linear_options, p, good, LOAD(p));
    o.form = 3;
    EXPECT(SPARAMX_ERR_RANGE, LOAD(&o));
    o = good, o.pack_threads = 65;
    EXPECT(SPARAMX_ERR_RANGE, LOAD(&o));
    o = good, o.numa = 4;
    EXPECT(SPARAMX_ERR_RANGE, LOAD(&o));
    o = good, o.kernel = "no kernel";
    EXPECT(SPARAMX_ERR_RANGE, LOAD(&o));
    o = good, o.numa = SPARAMX_NUMA_INTERLEAVE, o.pack_threads = 64;
    EXPECT(SPARAMX_OK, LOAD(&o));
    CHECK(loaded == NULL, "a failed load wrote its result");

    sparamx_tensor t = at(0, "plain"), free_place = at(SPACE - 32768, "free");
    HANDLE_FAULTS(sparamx_buffer, p, sparamx_buffer_load_tensor(p, &t, file, plain));
    STRUCT_FAULTS(sparamx_tensor, p, t, sparamx_buffer_load_tensor(buffer, p, file, plain));
    struct {
        sparamx_status status;
        int32_t type;
        int64_t ne[4];
        size_t offset;
    } cases[] = {{SPARAMX_ERR_FILE_MISMATCH, SPARAMX_TYPE_F16, {K, N, 1, 1}, SPACE - 32768},
                 {SPARAMX_ERR_FILE_MISMATCH, SPARAMX_TYPE_BF16, {K, N - 1, 1, 1}, SPACE - 32768},
                 {SPARAMX_ERR_FILE_MISMATCH, SPARAMX_TYPE_BF16, {K - 1, N, 1, 1}, SPACE - 32768},
                 {SPARAMX_ERR_FILE_MISMATCH, SPARAMX_TYPE_BF16, {K, N, EXPERTS, 1}, SPACE - 32768},
                 {SPARAMX_ERR_FILE_MISMATCH, SPARAMX_TYPE_BF16, {N, K, 1, 1}, SPACE - 32768},
                 {SPARAMX_ERR_ALIGNMENT, SPARAMX_TYPE_BF16, {K, N, 1, 1}, SPACE - 32760},
                 {SPARAMX_ERR_RANGE, SPARAMX_TYPE_BF16, {K, N, 1, 1}, SPACE - 64},
                 {SPARAMX_ERR_OVERLAP, SPARAMX_TYPE_BF16, {K, N, 1, 1}, FILE_PAGE}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *place = (char *)sparamx_buffer_base(buffer) + cases[i].offset;
        const int64_t *ne = cases[i].ne;
        sparamx_tensor wrong = make_tensor(cases[i].type, ne[0], ne[1], ne[2], ne[3], place, buffer);
        EXPECT(cases[i].status, sparamx_buffer_load_tensor(buffer, &wrong, file, plain));
        EXPECT(SPARAMX_ERR_FOREIGN, sparamx_buffer_verify_tensor(buffer, &free_place));
    }
    sparamx_tensor apart = free_place;
    apart.nb[1] += 2;
    EXPECT(SPARAMX_ERR_STRIDE, sparamx_buffer_load_tensor(buffer, &apart, file, plain));
    /* Not in a buffer that keeps its tensors raw; but where the tensor was announced before. */
    CHECK(sparamx_buffer_set_usage(buffer, SPARAMX_USAGE_ANY) == SPARAMX_OK, "usage");
    EXPECT(SPARAMX_ERR_STATE, sparamx_buffer_load_tensor(buffer, &free_place, file, plain));
    EXPECT(SPARAMX_ERR_FOREIGN, sparamx_buffer_verify_tensor(buffer, &free_place));
    EXPECT(SPARAMX_OK, sparamx_buffer_load_tensor(buffer, &t, file, plain));
    CHECK(sparamx_buffer_init_tensor(buffer, &free_place) == SPARAMX_OK, "a raw one");
    EXPECT(SPARAMX_ERR_STATE, sparamx_buffer_load_tensor(buffer, &free_place, file, plain));
    static uint8_t out[N * K * 2];
    CHECK(sparamx_buffer_get_tensor(buffer, &t, out, 0, sizeof out) == SPARAMX_OK &&
              memcmp(out, weights, sizeof out) == 0,
          "what was loaded, after all of it");
}

int main(void) {
    isa_level();
    fill_weights(SPARAMX_TYPE_BF16, N * EXPERTS, K, 0.5, 1, weights);
    CHECK(sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, NULL, &linear) == SPARAMX_OK, "linear");
    CHECK(sparamx_buffer_create(SPACE, NULL, &buffer) == SPARAMX_OK, "buffer");
    sparamx_tensor t = at(0, "plain"), u = experts(65536);
    u.name = "experts";
    CHECK(sparamx_buffer_set_tensor(buffer, &t, weights, 0, N * K * 2) == SPARAMX_OK, "plain");
    CHECK(sparamx_buffer_set_tensor(buffer, &u, weights, 0, sizeof weights) == SPARAMX_OK, "experts");
    CHECK(sparamx_file_writer_create(path_to("file"), NULL, 0, &writer) == SPARAMX_OK, "writer");
    CHECK(sparamx_file_writer_add(writer, NULL, buffer, &t) == SPARAMX_OK, "plain");
    CHECK(sparamx_file_writer_add(writer, "experts", buffer, &u) == SPARAMX_OK, "experts");
    CHECK(add("linear") == SPARAMX_OK && sparamx_file_writer_finish(writer) == SPARAMX_OK, "finish");
    sparamx_file_writer_destroy(writer);
    CHECK(sparamx_file_open(path_to("file"), &file) == SPARAMX_OK, "open");
    CHECK(sparamx_file_writer_create(path_to("second"), NULL, 0, &writer) == SPARAMX_OK, "writer");
    test_create();
    test_add();
    test_read();
    test_load();
    sparamx_file_writer_destroy(writer);
    sparamx_file_close(file);
    sparamx_linear_destroy(linear);
    sparamx_buffer_destroy(buffer);
    return check_end();
}
