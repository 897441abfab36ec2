/*
 * file_test - packed files as a host uses them: every type and form is written, loaded, read back and multiplied with
 * the bits of the weight that was packed in memory; files of all levels are one file; what a loaded weight of a buffer
 * can do; several processes; a file that is replaced while it is mapped.
 */
#define _GNU_SOURCE
#include "check.h"
#include "files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 37, SPACE = 1 << 20, MATRICES = 3 };

static const int64_t tokens[] = {1, 3, 17};

static int64_t width(const gguf_type *type) { return gguf_whole(type, type->block == 1 ? 301 : 544); }

/* The weights of a type: the same in every process. */
static uint8_t *weights(const gguf_type *type, int64_t rows) {
    uint8_t *w = must_allocate(gguf_row_bytes(type, width(type)) * (size_t)rows);
    gguf_fill(type, rows, width(type), 0.6, 7, w);
    return w;
}

static sparamx_linear *pack(const gguf_type *type, int32_t form, const uint8_t *w) {
    sparamx_linear_options o = {.size = sizeof o, .form = form, .pack_threads = 1};
    sparamx_linear *linear = NULL;
    CHECK(sparamx_linear_create(type->number, N, width(type), w, 0, &o, &linear) == SPARAMX_OK, "%s", type->name);
    return linear;
}

static const char *label(const gguf_type *type, int32_t form) {
    static char text[64];
    snprintf(text, sizeof text, "%s %s", type->name, form_name(form));
    return text;
}

/* Calls body for every type and form the library has. */
static void each_form(void (*body)(const gguf_type *type, int32_t form, void *context), void *context) {
    const gguf_type *types[GGUF_TYPES];
    for (int i = 0, count = gguf_reported(types); i < count; i++) {
        for (size_t f = 0; f < COUNT(packed_forms); f++)
            if (gguf_serves(types[i], packed_forms[f])) body(types[i], packed_forms[f], context);
    }
}

static bool same_products(const sparamx_linear *a, const sparamx_linear *b, int64_t k) {
    static float x[17 * 1024], want[17 * N], got[17 * N];
    fill_activations(17 * k, 3, x);
    for (size_t i = 0; i < COUNT(tokens); i++) {
        memset(got, 0x55, sizeof got);
        if (multiply(a, tokens[i], 1, x, k, want, N) != SPARAMX_OK) return false;
        if (multiply(b, tokens[i], 2, x, k, got, N) != SPARAMX_OK) return false;
        if (memcmp(want, got, (size_t)tokens[i] * N * sizeof *got) != 0) return false;
    }
    return true;
}

/* -- one file with everything, written at two levels --------------------------------------------------------------- */

static void add_form(const gguf_type *type, int32_t form, void *writer) {
    uint8_t *w = weights(type, N);
    sparamx_linear *linear = pack(type, form, w);
    CHECK(sparamx_file_writer_add_linear(writer, label(type, form), linear) == SPARAMX_OK, "%s", label(type, form));
    sparamx_linear_destroy(linear);
    free(w);
}

static void write_all(const char *path) {
    sparamx_file_writer *writer = NULL;
    CHECK(sparamx_file_writer_create(path, "a key\0of any bytes", 18, &writer) == SPARAMX_OK, "a writer");
    each_form(add_form, writer);
    CHECK(access(path, F_OK) != 0, "the file has its name before it is finished");
    CHECK(sparamx_file_writer_finish(writer) == SPARAMX_OK, "finish");
    CHECK(sparamx_file_writer_finish(writer) == SPARAMX_ERR_STATE, "a second finish");
    sparamx_file_writer_destroy(writer);
}

/*
 * Version 1 of the format: the checksum of what each type and form of weights() is in a file. A library that writes
 * other bytes for one of these has another version, or its files would be taken for those of this one. A new type gets
 * a row here, whose number the test prints.
 */
static const struct {
    const char *name;
    uint64_t checksum;
} version_1[] = {
    {"bf16 dense", 0xe47a8d5c0ca3229a}, {"bf16 sparse", 0x938acf2c7c6012b9}, {"bf16 coded", 0x32b387351de99bcc},
    {"bf16 coded_sparse", 0xd968fc793db61d9e}, {"f16 dense", 0x8183d167483089ef},
    {"f16 sparse", 0x25551b51eff4d73a}, {"iq4_nl dense", 0x69440f4a3e2be003}, {"iq4_nl sparse", 0x1115b8bb25c00ba6},
    {"iq4_xs dense", 0x731fadb6ee2a730c}, {"iq4_xs sparse", 0x21dff1974e3d726e}, {"mxfp4 dense", 0xd12c1c7ce54fea34},
    {"mxfp4 sparse", 0x69968a2c911499d7}, {"nvfp4 dense", 0xfec96be7319fa918}, {"nvfp4 sparse", 0xc578fc2e9c3e3533},
    {"q1_0 dense", 0xa38cb1d9c129fad6}, {"q2_0 dense", 0x9b0cecb28fd32bda}, {"q2_0 sparse", 0x587f623fbd65dd11},
    {"q2_k dense", 0x39a909e23b9b15a4}, {"q2_k sparse", 0x7cfe1111e63fe5fc}, {"q3_k dense", 0xc62c141f2bc528ee},
    {"q3_k sparse", 0x7984f7d8e05b9b1c}, {"q4_0 dense", 0xfbd961051cce24cb}, {"q4_0 sparse", 0xb11d9fee793a476b},
    {"q4_1 dense", 0xc13d9ad91445c008}, {"q4_1 sparse", 0x7449b794e6a5960c}, {"q4_k dense", 0x343b947a72b07b4f},
    {"q4_k sparse", 0x05ad738abbddfafb}, {"q5_0 dense", 0x6170ece5a1f6b97f}, {"q5_0 sparse", 0xf26ffaa6b08b12f8},
    {"q5_1 dense", 0xa2fcf8a8ccf829db}, {"q5_1 sparse", 0x7d14c005c072afe0}, {"q5_k dense", 0x42882bd24aba202c},
    {"q5_k sparse", 0xbd65c452ad8bfe28}, {"q6_k dense", 0x46d3fbe389db496b}, {"q6_k sparse", 0xd4d90d50bea3c800},
    {"q8_0 dense", 0x6205262066d5aa94}, {"q8_0 sparse", 0x64435199f068cab1}
};

static void check_version(const char *name, const uint8_t *bytes, size_t size) {
    uint64_t sum = xxh64(bytes, size), known = 0;
    for (size_t i = 0; i < COUNT(version_1); i++)
        if (strcmp(version_1[i].name, name) == 0) known = version_1[i].checksum;
    CHECK(sum == known, "another format, or a new type: {\"%s\", 0x%016llx},", name, (unsigned long long)sum);
}

static void load_form(const gguf_type *type, int32_t form, void *file) {
    uint8_t *w = weights(type, N), *rows = must_allocate(gguf_row_bytes(type, width(type)) * N);
    const char *name = label(type, form);
    sparamx_linear *linear = pack(type, form, w), *loaded = NULL;
    sparamx_file_tensor entry = {.size = sizeof entry};
    sparamx_tensor_info info = {.size = sizeof info}, other = info;
    int32_t index = -1;
    if (!CHECK(sparamx_file_find(file, name, &index) == SPARAMX_OK, "%s is not there", name)) return;
    CHECK(sparamx_file_info(file, index, &entry) == SPARAMX_OK && strcmp(entry.name, name) == 0, "%s", name);
    CHECK(sparamx_file_verify(file, index) == SPARAMX_OK, "%s: its checksums", name);
    if (!CHECK(sparamx_linear_load(file, index, NULL, &loaded) == SPARAMX_OK, "%s is not loaded", name)) return;
    CHECK(sparamx_linear_info(linear, &info) == SPARAMX_OK && sparamx_linear_info(loaded, &other) == SPARAMX_OK &&
              info.mapped == 0 && other.mapped == 1,
          "%s: mapped", name);
    CHECK(entry.type == info.type && entry.form == info.form && entry.ne[0] == info.k && entry.ne[1] == info.n &&
              entry.ne[2] == 1 && entry.ne[3] == 1 && entry.packed_bytes == info.packed_bytes &&
              entry.background == info.background && entry.offset % FILE_PAGE == 0 &&
              entry.name_size == (int32_t)strlen(name),
          "%s: the entry", name);
    other.mapped = 0;
    CHECK(memcmp(&info, &other, sizeof info) == 0, "%s: the loaded weight has other facts", name);
    CHECK(sparamx_linear_verify(loaded) == SPARAMX_OK, "%s: verify", name);
    CHECK(sparamx_linear_read(loaded, 0, N, rows) == SPARAMX_OK &&
              memcmp(rows, w, gguf_row_bytes(type, width(type)) * N) == 0,
          "%s: other bytes come back", name);
    CHECK(same_products(linear, loaded, width(type)), "%s: other products", name);
    /* The form asked for is the file's, or none in particular. */
    sparamx_linear_options o = {.size = sizeof o};
    sparamx_linear *again = NULL;
    for (o.form = SPARAMX_FORM_AUTO; o.form <= SPARAMX_FORM_SPARSE; o.form++) { /* coded_test has the coded ones */
        bool fits = o.form == SPARAMX_FORM_AUTO || o.form == form ||
                    (o.form == SPARAMX_FORM_SPARSE && !gguf_serves(type, SPARAMX_FORM_SPARSE));
        sparamx_status status = sparamx_linear_load(file, index, &o, &again);
        CHECK(status == (fits ? SPARAMX_OK : SPARAMX_ERR_FILE_MISMATCH), "%s, asked for %d: %d", name, o.form, status);
        if (status == SPARAMX_OK) sparamx_linear_destroy(again);
    }
    o.form = SPARAMX_FORM_AUTO;
    o.kernel = gguf_reference(type->number, form);
    CHECK(sparamx_linear_load(file, index, &o, &again) == SPARAMX_OK, "%s by %s", name, o.kernel);
    sparamx_linear_destroy(again);
    /* A file of its own. */
    CHECK(sparamx_linear_save(linear, path_to("one")) == SPARAMX_OK, "%s: save", name);
    CHECK(sparamx_linear_save(loaded, path_to("two")) == SPARAMX_OK, "%s: save what was loaded", name);
    content one = read_whole(path_to("one")), two = read_whole(path_to("two"));
    if (one.size > entry.packed_bytes) check_version(name, one.bytes + FILE_PAGE, entry.packed_bytes);
    CHECK(one.size > 0 && one.size == two.size && memcmp(one.bytes, two.bytes, one.size) == 0, "%s: two files", name);
    sparamx_linear_destroy(linear);
    sparamx_linear_destroy(loaded);
    free(w), free(rows), free(one.bytes), free(two.bytes);
}

static void test_all(const char *reference) {
    write_all(path_to("all"));
    content here = read_whole(path_to("all")), there = read_whole(reference);
    CHECK(here.size > 0 && here.size == there.size && memcmp(here.bytes, there.bytes, here.size) == 0,
          "the file that level reference wrote has %zu bytes, this one %zu, and they differ", there.size, here.size);
    sparamx_file *file = NULL;
    if (!CHECK(sparamx_file_open(reference, &file) == SPARAMX_OK, "open")) return;
    const void *key = NULL;
    size_t size = 0;
    CHECK(sparamx_file_key(file, &key, &size) == SPARAMX_OK && size == 18 &&
              memcmp(key, "a key\0of any bytes", 18) == 0,
          "the key");
    each_form(load_form, file);
    sparamx_file_tensor entry = {.size = sizeof entry};
    char before[SPARAMX_FILE_NAME_MAX + 1] = "";
    int32_t count = sparamx_file_count(file), found = -1;
    CHECK(count > 20, "%d tensors", count);
    for (int32_t i = 0; i < count; i++) {
        CHECK(sparamx_file_info(file, i, &entry) == SPARAMX_OK && strcmp(before, entry.name) < 0, "the order of %d", i);
        CHECK(sparamx_file_find(file, entry.name, &found) == SPARAMX_OK && found == i, "%s", entry.name);
        strcpy(before, entry.name);
    }
    sparamx_file_close(file);
    free(here.bytes), free(there.bytes);
}

/* -- buffers ------------------------------------------------------------------------------------------------------- */

typedef struct place {
    sparamx_buffer *buffer;
    sparamx_tensor t, other; /* other: after it, of another name */
} place;

static place make_place(const gguf_type *type, int32_t form) {
    place p = {0};
    sparamx_buffer_options o = {.size = sizeof o, .form = form, .pack_threads = 1};
    CHECK(sparamx_buffer_create(SPACE, &o, &p.buffer) == SPARAMX_OK, "a buffer");
    char *base = sparamx_buffer_base(p.buffer);
    int64_t row = (int64_t)gguf_row_bytes(type, width(type));
    p.t = gguf_tensor(type, width(type), N, base, p.buffer);
    p.t.ne[2] = MATRICES;
    p.t.nb[3] = (uint64_t)(row * N * MATRICES);
    p.t.name = "experts";
    p.other = p.t;
    p.other.data = base + SPACE / 2;
    p.other.name = "other";
    return p;
}

static bool holds(place *p, const sparamx_tensor *t, const uint8_t *want, size_t bytes) {
    uint8_t *out = must_allocate(bytes);
    bool same = sparamx_buffer_get_tensor(p->buffer, t, out, 0, bytes) == SPARAMX_OK && memcmp(out, want, bytes) == 0;
    free(out);
    return same;
}

static void test_buffer(const gguf_type *type, int32_t form, void *context) {
    (void)context;
    const char *name = label(type, form);
    size_t bytes = gguf_row_bytes(type, width(type)) * N * MATRICES;
    uint8_t *w = weights(type, N * MATRICES), *changed = must_allocate(bytes);
    memcpy(changed, w, bytes);
    place a = make_place(type, form), b = make_place(type, SPARAMX_FORM_AUTO);
    CHECK(sparamx_buffer_init_tensor(a.buffer, &a.t) == SPARAMX_OK, "%s", name);
    CHECK(sparamx_buffer_save(a.buffer, path_to("buffer")) == SPARAMX_ERR_INCOMPLETE, "%s: nothing has arrived", name);
    CHECK(access(path_to("buffer"), F_OK) != 0, "%s: a refused save left a file", name);
    CHECK(sparamx_buffer_set_tensor(a.buffer, &a.t, w, 0, bytes) == SPARAMX_OK, "%s", name);
    CHECK(sparamx_buffer_set_tensor(a.buffer, &a.other, w, 0, bytes) == SPARAMX_OK, "%s", name);
    if (!CHECK(sparamx_buffer_save(a.buffer, path_to("buffer")) == SPARAMX_OK, "%s: save", name)) return;
    sparamx_file *file = NULL;
    int32_t index = -1;
    CHECK(sparamx_file_open(path_to("buffer"), &file) == SPARAMX_OK && sparamx_file_count(file) == 2, "%s", name);
    CHECK(sparamx_file_find(file, "experts", &index) == SPARAMX_OK, "%s", name);
    sparamx_linear *linear = NULL;
    CHECK(sparamx_linear_load(file, index, NULL, &linear) == SPARAMX_ERR_SHAPE, "%s: a linear of matrices", name);
    CHECK(sparamx_buffer_load_tensor(b.buffer, &b.t, file, index) == SPARAMX_OK, "%s: load", name);
    CHECK(sparamx_buffer_load_tensor(b.buffer, &b.other, file, index) == SPARAMX_OK, "%s: load", name);
    sparamx_file_close(file);
    unlink(path_to("buffer"));
    sparamx_tensor_info info = {.size = sizeof info};
    CHECK(sparamx_buffer_tensor_info(b.buffer, &b.t, &info) == SPARAMX_OK && info.mapped == 1 && info.form == form &&
              info.matrices == MATRICES,
          "%s: info", name);
    size_t own = sparamx_buffer_resident(b.buffer);
    CHECK(form == SPARAMX_FORM_DENSE ? own == 0 : own > 0 && own <= 2 * 2 * FILE_PAGE, "%s: %zu bytes", name, own);
    CHECK(sparamx_buffer_verify_tensor(b.buffer, &b.t) == SPARAMX_OK, "%s: verify", name);
    CHECK(holds(&b, &b.t, w, bytes) && holds(&b, &b.other, w, bytes), "%s: other bytes", name);
    /* Every matrix multiplies as the packed one does. */
    int64_t k = width(type);
    float *x = must_allocate((size_t)(MATRICES * k) * sizeof *x), y[2][MATRICES * N];
    fill_activations(MATRICES * k, 5, x);
    for (int i = 0; i < 2; i++) {
        sparamx_tensor xt = make_tensor(SPARAMX_TYPE_F32, k, 1, MATRICES, 1, x, NULL);
        sparamx_tensor yt = make_tensor(SPARAMX_TYPE_F32, N, 1, MATRICES, 1, y[i], NULL);
        sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &yt, .x = &xt};
        op.weight = i == 0 ? &a.t : &b.t;
        CHECK(multiply_op(&op, 2) == SPARAMX_OK, "%s: multiply", name);
    }
    CHECK(memcmp(y[0], y[1], sizeof y[0]) == 0, "%s: other products", name);
    /* A child has it too, and ends it without harm to the parent. */
    pid_t child = fork();
    if (child == 0) {
        bool good = holds(&b, &b.t, w, bytes);
        sparamx_buffer_destroy(b.buffer);
        _exit(good ? 0 : 1);
    }
    int end = 0;
    waitpid(child, &end, 0);
    CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "%s: in a child: %x", name, (unsigned)end);
    /* A write makes it private; the other one stays. */
    memset(changed + 3, 0, 40);
    CHECK(sparamx_buffer_set_tensor(b.buffer, &b.t, changed + 3, 3, 40) == SPARAMX_OK, "%s: a write", name);
    CHECK(holds(&b, &b.t, changed, bytes) && holds(&b, &b.other, w, bytes), "%s: after a write", name);
    CHECK(sparamx_buffer_tensor_info(b.buffer, &b.t, &info) == SPARAMX_OK && info.mapped == 0, "%s: private", name);
    CHECK(sparamx_buffer_resident(b.buffer) == info.packed_bytes + own / 2, "%s: resident after a write", name);
    CHECK(sparamx_buffer_copy_tensor(a.buffer, &b.other, &a.t) == SPARAMX_OK && holds(&a, &a.t, w, bytes),
          "%s: a copy of what was loaded", name);
    CHECK(sparamx_buffer_clear(b.buffer, 0) == SPARAMX_OK, "%s: clear", name);
    memset(changed, 0, bytes);
    CHECK(holds(&b, &b.other, changed, bytes), "%s: after clear", name);
    CHECK(sparamx_buffer_reset(b.buffer) == SPARAMX_OK && sparamx_buffer_resident(b.buffer) == 0, "%s: reset", name);
    sparamx_buffer_destroy(a.buffer);
    sparamx_buffer_destroy(b.buffer);
    free(w), free(changed), free(x);
}

/* -- processes ----------------------------------------------------------------------------------------------------- */

static long shared_kilobytes(void) {
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    long sum = 0, value;
    bool ours = false;
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        if (strchr(line, '-') != NULL && strstr(line, " r--s ") != NULL) ours = strstr(line, directory()) != NULL;
        else if (strchr(line, '-') != NULL && strstr(line, "p ") != NULL) ours = false;
        if (ours && sscanf(line, "Rss: %ld kB", &value) == 1) sum += value;
    }
    if (maps != NULL) fclose(maps);
    return sum;
}

/* Each block has its checksum, and a change in any of them is found. */
static void test_blocks(const char *path) {
    enum { BLOCK = 1 << 20 };
    content c = read_whole(path);
    size_t bytes = get64(entry_of(c, 0) + ENTRY_PACKED), count = (bytes + BLOCK - 1) / BLOCK;
    CHECK(count == 3 && get64(c.bytes + AT_INDEX_BYTES) == ENTRY_BYTES + 8 * count, "%zu blocks", count);
    for (size_t i = 0; i < count; i++) {
        size_t size = bytes - i * BLOCK < BLOCK ? bytes - i * BLOCK : BLOCK;
        uint64_t sum = get64(entry_of(c, 0) + ENTRY_BYTES + 8 * i);
        CHECK(sum == xxh64(c.bytes + FILE_PAGE + i * BLOCK, size), "the checksum of block %zu", i);
        uint8_t *last = c.bytes + FILE_PAGE + i * BLOCK + size - 1;
        *last ^= 1;
        sparamx_file *file = NULL;
        CHECK(write_whole(path_to("damaged"), c.bytes, c.size), "write");
        CHECK(sparamx_file_open(path_to("damaged"), &file) == SPARAMX_OK, "open");
        CHECK(sparamx_file_verify(file, 0) == SPARAMX_ERR_FILE_DAMAGED, "the last byte of block %zu", i);
        sparamx_file_close(file);
        *last ^= 1;
    }
    free(c.bytes);
}

/* Two processes that load one file at the same time, while a third one writes another to the same path. */
static void test_processes(void) {
    enum { K = 4096, ROWS = 512 };
    const gguf_type *type = gguf_find(SPARAMX_TYPE_BF16);
    uint8_t *w = must_allocate(gguf_row_bytes(type, K) * ROWS), *rows = must_allocate(gguf_row_bytes(type, K) * ROWS);
    const char *path = path_to("shared");
    sparamx_linear *linear = NULL, *other = NULL;
    for (int round = 0; round < 2; round++) {
        gguf_fill(type, ROWS, K, 0.5, (uint64_t)(9 + round), w);
        sparamx_linear **out = round == 0 ? &linear : &other;
        CHECK(sparamx_linear_create(type->number, ROWS, K, w, 0, NULL, out) == SPARAMX_OK, "pack");
    }
    CHECK(sparamx_linear_save(linear, path) == SPARAMX_OK, "save");
    test_blocks(path);
    int to_child[2], to_parent[2];
    if (!CHECK(pipe(to_child) == 0 && pipe(to_parent) == 0, "pipes")) return;
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i] != 0) continue;
        sparamx_file *file = NULL;
        sparamx_linear *loaded = NULL;
        char c = 0;
        bool good = sparamx_file_open(path, &file) == SPARAMX_OK &&
                    sparamx_linear_load(file, 0, NULL, &loaded) == SPARAMX_OK;
        sparamx_file_close(file);
        good = write(to_parent[1], "l", 1) == 1 && read(to_child[0], &c, 1) == 1 && good;
        /* By now the path has another file. */
        gguf_fill(type, ROWS, K, 0.5, 9, w);
        good = good && sparamx_linear_read(loaded, 0, ROWS, rows) == SPARAMX_OK &&
               memcmp(w, rows, gguf_row_bytes(type, K) * ROWS) == 0;
        /* What it has of the weight are pages of the file. */
        sparamx_tensor_info info = {.size = sizeof info};
        good = good && sparamx_linear_info(loaded, &info) == SPARAMX_OK &&
               shared_kilobytes() * 1024 >= (long)info.packed_bytes * 9 / 10;
        _exit(good ? 0 : 1);
    }
    char c[2];
    for (int i = 0; i < 2; i++) CHECK(read(to_parent[0], c, 1) == 1, "a child");
    CHECK(sparamx_linear_save(other, path) == SPARAMX_OK, "replaced while it is mapped");
    CHECK(write(to_child[1], "gg", 2) == 2, "go on");
    for (int i = 0; i < 2; i++) {
        int end = 0;
        waitpid(children[i], &end, 0);
        CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "process %d: %x", i, (unsigned)end);
    }
    sparamx_file *file = NULL;
    sparamx_linear *loaded = NULL;
    CHECK(sparamx_file_open(path, &file) == SPARAMX_OK && sparamx_linear_load(file, 0, NULL, &loaded) == SPARAMX_OK,
          "the new one");
    gguf_fill(type, ROWS, K, 0.5, 10, w);
    CHECK(sparamx_linear_read(loaded, 0, ROWS, rows) == SPARAMX_OK &&
              memcmp(w, rows, gguf_row_bytes(type, K) * ROWS) == 0,
          "the new one");
    sparamx_file_close(file);
    sparamx_linear_destroy(linear), sparamx_linear_destroy(other), sparamx_linear_destroy(loaded);
    free(w), free(rows);
}

int main(void) {
    directory();
    /* A process of the lowest level, before this one has asked for its own. */
    pid_t child = fork();
    if (child == 0) {
        bool capped = sparamx_cap_isa(SPARAMX_ISA_REFERENCE) == SPARAMX_OK && isa_level() == SPARAMX_ISA_REFERENCE;
        write_all(path_to("reference"));
        _exit(capped && checks.failed == 0 ? 0 : 1);
    }
    int end = 0;
    waitpid(child, &end, 0);
    CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "the process of level reference: %x", (unsigned)end);
    isa_level();
    test_all(path_to("reference"));
    each_form(test_buffer, NULL);
    test_processes();
    return check_end();
}
