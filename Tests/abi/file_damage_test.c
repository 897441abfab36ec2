/*
 * file_damage_test - packed files that are not what a writer wrote: cut off at every length, with every bit of them
 * turned around, foreign, of other versions; with right checksums around wrong numbers; changed in place while they are
 * mapped. Each is refused with its status, or reads and multiplies inside its memory. This program's own mmap puts a
 * forbidden page on either side of what is loaded.
 */
#define _GNU_SOURCE
#include "check.h"
#include "files.h"
#include "in_library.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { N = 17, MOST_K = 2048 };

static void *raw_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
    return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
}

/* What lies between two forbidden pages. */
static uint8_t *fenced[16];

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
    if (protection != PROT_NONE || !in_library((uintptr_t)__builtin_return_address(0)))
        return raw_mmap(address, length, protection, flags, file, offset);
    uint8_t *p = raw_mmap(address, length + 2 * FILE_PAGE, protection, flags, file, offset);
    if (p == MAP_FAILED) return MAP_FAILED;
    size_t i = 0;
    while (i < COUNT(fenced) - 1 && fenced[i] != NULL) i++;
    return fenced[i] = p + FILE_PAGE;
}

int munmap(void *address, size_t length) {
    for (size_t i = 0; i < COUNT(fenced); i++) {
        if (address == NULL || fenced[i] != address) continue;
        fenced[i] = NULL;
        size_t whole = (length + FILE_PAGE - 1) / FILE_PAGE * FILE_PAGE + 2 * FILE_PAGE;
        return (int)syscall(SYS_munmap, (uint8_t *)address - FILE_PAGE, whole);
    }
    return (int)syscall(SYS_munmap, address, length);
}

/* Small weights of several kinds: codes of 2 bytes and of 1 to 8 bits, side records of blocks and of chunks, both
 * forms, short and long last chunks. */
static const struct {
    const char *name;
    int32_t type, form;
    int64_t k;
} kinds[] = {{"a", SPARAMX_TYPE_BF16, SPARAMX_FORM_SPARSE, 290}, {"b", SPARAMX_TYPE_F16, SPARAMX_FORM_DENSE, 41},
             {"c", SPARAMX_TYPE_Q8_0, SPARAMX_FORM_SPARSE, 352}, {"d", SPARAMX_TYPE_Q5_1, SPARAMX_FORM_SPARSE, 96},
             {"e", SPARAMX_TYPE_Q4_K, SPARAMX_FORM_SPARSE, 256}, {"f", SPARAMX_TYPE_Q3_K, SPARAMX_FORM_DENSE, 256},
             {"g", SPARAMX_TYPE_Q6_K, SPARAMX_FORM_SPARSE, 512}, {"h", SPARAMX_TYPE_Q2_K, SPARAMX_FORM_SPARSE, 256},
             {"i", SPARAMX_TYPE_MXFP4, SPARAMX_FORM_SPARSE, 64},
             {"j", SPARAMX_TYPE_BF16, SPARAMX_FORM_CODED_SPARSE, 290},
             {"k", SPARAMX_TYPE_BF16, SPARAMX_FORM_CODED, 41}};

static void write_file(const char *path, int first, int count, int64_t longer) {
    sparamx_file_writer *writer = NULL;
    CHECK(sparamx_file_writer_create(path, "key", 3, &writer) == SPARAMX_OK, "a writer");
    for (int i = first; i < first + count; i++) {
        const gguf_type *type = gguf_find(kinds[i].type);
        int64_t k = kinds[i].k * longer;
        uint8_t *w = must_allocate(gguf_row_bytes(type, k) * N);
        gguf_fill(type, N, k, 0.5, (uint64_t)i + 1, w);
        /* Exceptions: a number in eight has an exponent of its own. */
        for (int64_t j = 1; kinds[i].form >= SPARAMX_FORM_CODED && j < N * k; j += 8)
            w[2 * j + 1] = (uint8_t)(1 + j % 127), w[2 * j] |= 1;
        sparamx_linear_options o = {.size = sizeof o, .form = kinds[i].form, .pack_threads = 1};
        sparamx_linear *linear = NULL;
        CHECK(sparamx_linear_create(kinds[i].type, N, k, w, 0, &o, &linear) == SPARAMX_OK, "%s", kinds[i].name);
        CHECK(sparamx_file_writer_add_linear(writer, kinds[i].name, linear) == SPARAMX_OK, "%s", kinds[i].name);
        sparamx_linear_destroy(linear);
        free(w);
    }
    CHECK(sparamx_file_writer_finish(writer) == SPARAMX_OK, "finish");
    sparamx_file_writer_destroy(writer);
}

/* Reads all of a weight and multiplies with it: what comes out may be anything, but nothing else may happen. */
static void use(const sparamx_linear *linear) {
    static float x[3 * MOST_K], y[3 * 64];
    static uint8_t rows[64 * MOST_K * 2];
    sparamx_tensor_info info = {.size = sizeof info};
    CHECK(sparamx_linear_info(linear, &info) == SPARAMX_OK && info.n <= 64 && info.k <= MOST_K, "info");
    CHECK(sparamx_linear_read(linear, 0, info.n, rows) == SPARAMX_OK, "read");
    for (int64_t m = 1; m <= 3; m += 2)
        CHECK(multiply(linear, m, 1, x, info.k, y, info.n) == SPARAMX_OK, "%lld tokens", (long long)m);
}

static sparamx_status open_status(const char *path) {
    static char nothing[16];
    sparamx_file *mark = (sparamx_file *)(void *)nothing, *file = mark;
    sparamx_status status = sparamx_file_open(path, &file);
    if (status == SPARAMX_OK) sparamx_file_close(file);
    else CHECK(file == mark, "a failed open wrote its result");
    return status;
}

/* -- cut off and foreign ------------------------------------------------------------------------------------------- */

static void test_lengths(const char *path) {
    content whole = read_whole(path);
    int file = open(path, O_RDWR | O_CLOEXEC);
    long wrong = 0;
    for (size_t length = whole.size; length-- > 0;) {
        if (ftruncate(file, (off_t)length) != 0) break;
        sparamx_status want = length < 8 ? SPARAMX_ERR_FILE_FOREIGN : SPARAMX_ERR_FILE_DAMAGED;
        wrong += open_status(path) != want;
    }
    CHECK(wrong == 0, "%ld of %zu lengths are not refused as they should be", wrong, whole.size);
    static const size_t more[] = {1, 8, 4096, 1 << 20};
    for (size_t i = 0; i < COUNT(more); i++) {
        CHECK(write_whole(path, whole.bytes, whole.size), "grow");
        CHECK(ftruncate(file, (off_t)(whole.size + more[i])) == 0, "grow");
        CHECK(open_status(path) == SPARAMX_ERR_FILE_DAMAGED, "%zu bytes more", more[i]);
    }
    close(file);
    CHECK(write_whole(path, whole.bytes, whole.size) && open_status(path) == SPARAMX_OK, "mended");
    free(whole.bytes);
}

static void test_foreign(const char *path) {
    content whole = read_whole(path), c = copy_of(whole);
    struct {
        const char *what;
        size_t at, bytes;
        uint64_t value;
        sparamx_status status;
    } cases[] = {{"another magic", AT_MAGIC, 8, 0x46554747, SPARAMX_ERR_FILE_FOREIGN},
                 {"a magic of text", AT_MAGIC, 8, 0x0a1a0a5850530a89, SPARAMX_ERR_FILE_FOREIGN},
                 {"the other byte order", AT_ORDER, 4, 0x0d0c0b0a, SPARAMX_ERR_FILE_VERSION},
                 {"no byte order", AT_ORDER, 4, 0, SPARAMX_ERR_FILE_DAMAGED},
                 {"version 0", AT_VERSION, 4, 0, SPARAMX_ERR_FILE_VERSION},
                 {"the version of files without coded tensors", AT_VERSION, 4, 1, SPARAMX_ERR_FILE_DAMAGED},
                 {"version 3", AT_VERSION, 4, 3, SPARAMX_ERR_FILE_VERSION},
                 {"a large version", AT_VERSION, 4, UINT32_MAX, SPARAMX_ERR_FILE_VERSION}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int with_sums = 0; with_sums < 2; with_sums++) {
            memcpy(c.bytes, whole.bytes, c.size);
            for (size_t b = 0; b < cases[i].bytes; b++)
                c.bytes[cases[i].at + b] = (uint8_t)(cases[i].value >> (8 * b));
            if (with_sums) sign(c);
            sparamx_status status = write_whole(path, c.bytes, c.size) ? open_status(path) : -1;
            CHECK(status == cases[i].status, "%s: %d", cases[i].what, status);
        }
    }
    CHECK(write_whole(path, "GGUF, say", 9) && open_status(path) == SPARAMX_ERR_FILE_FOREIGN, "a short file");
    CHECK(write_whole(path, whole.bytes, whole.size) && open_status(path) == SPARAMX_OK, "mended");
    free(whole.bytes), free(c.bytes);
}

/* -- every bit ----------------------------------------------------------------------------------------------------- */

static void put_byte(int file, uint8_t byte, size_t at) {
    if (pwrite(file, &byte, 1, (off_t)at) != 1) exit(2);
}

/* Which tensor of an open file a byte belongs to, its padding included; -1 for none. */
static int32_t owner_of(const sparamx_file *file, size_t at) {
    for (int32_t i = 0; i < sparamx_file_count(file); i++) {
        sparamx_file_tensor t = {.size = sizeof t};
        if (sparamx_file_info(file, i, &t) != SPARAMX_OK) return -1;
        if (at >= t.offset && at < t.offset + (t.packed_bytes + FILE_PAGE - 1) / FILE_PAGE * FILE_PAGE) return i;
    }
    return -1;
}

/* Of two tensors every bit is tried, of the others one of each byte. */
static bool every_bit(const sparamx_file *file, size_t at) {
    sparamx_file_tensor t = {.size = sizeof t};
    return sparamx_file_info(file, owner_of(file, at), &t) == SPARAMX_OK && strchr("ad", t.name[0]) != NULL;
}

static void test_bits(const char *path) {
    content whole = read_whole(path);
    size_t index = get64(whole.bytes + AT_INDEX);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    sparamx_file *file = NULL;
    if (!CHECK(sparamx_file_open(path, &file) == SPARAMX_OK, "open")) return;
    long missed = 0, other = 0, refused = 0, used = 0;
    for (size_t at = 0; at < whole.size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            put_byte(fd, (uint8_t)(whole.bytes[at] ^ 1 << bit), at);
            if (at < FILE_PAGE || at >= index) {
                if (isa_level() == 0) missed += open_status(path) == SPARAMX_OK;
            } else if (bit == (int)(at % 8) || (isa_level() == 0 && every_bit(file, at))) {
                int32_t i = owner_of(file, at);
                missed += i < 0 || sparamx_file_verify(file, i) != SPARAMX_ERR_FILE_DAMAGED;
                sparamx_linear *linear = NULL;
                sparamx_status status = sparamx_linear_load(file, i, NULL, &linear);
                refused += status == SPARAMX_ERR_FILE_DAMAGED;
                other += status != SPARAMX_OK && status != SPARAMX_ERR_FILE_DAMAGED;
                if (status == SPARAMX_OK && bit == (int)(at % 8) && at % (isa_level() > 0 ? 128 : 16) == 0)
                    use(linear), used++;
                sparamx_linear_destroy(linear);
            }
            put_byte(fd, whole.bytes[at], at);
        }
    }
    CHECK(missed == 0, "%ld changes are not found", missed);
    CHECK(other == 0 && refused > 1000 && used > 10, "%ld others, %ld refused, %ld used", other, refused, used);
    for (int32_t i = 0; i < sparamx_file_count(file); i++)
        CHECK(sparamx_file_verify(file, i) == SPARAMX_OK, "mended: %d", i);
    sparamx_file_close(file);
    close(fd);
    free(whole.bytes);
}

/* -- wrong numbers under right checksums --------------------------------------------------------------------------- */

/* Opens the file and uses all that it lets be used. */
static sparamx_status use_all(const char *path) {
    sparamx_file *file = NULL;
    sparamx_status first = sparamx_file_open(path, &file);
    if (first != SPARAMX_OK) return first;
    for (int32_t i = 0; i < sparamx_file_count(file); i++) {
        sparamx_linear *linear = NULL;
        sparamx_status status = sparamx_linear_load(file, i, NULL, &linear);
        if (status == SPARAMX_OK) use(linear);
        else if (first == SPARAMX_OK) first = status;
        sparamx_linear_destroy(linear);
        sparamx_file_verify(file, i);
    }
    sparamx_file_close(file);
    return first;
}

static void test_numbers(const char *path) {
    static const uint64_t values[] = {0, 1, 2, 3, 7, 8, 16, 63, 64, 255, 256, 4095, 4096, 4097, 8192, 65536, 65537,
                                      INT32_MAX, (uint64_t)INT32_MAX + 1, UINT32_MAX, (uint64_t)1 << 43,
                                      (uint64_t)1 << 62, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX - 4095,
                                      UINT64_MAX - 255, UINT64_MAX};
    static const struct {
        size_t at, bytes;
        bool entry;
    } fields[] = {{AT_FILE_BYTES, 8, false}, {AT_INDEX, 8, false}, {AT_INDEX_BYTES, 8, false}, {AT_COUNT, 4, false},
                  {AT_KEY_BYTES, 4, false}, {AT_INDEX_SUM, 8, false}, {AT_ZERO, 8, false}, {AT_KEY + 3, 1, false},
                  {AT_SUM - 1, 1, false}, {ENTRY_TYPE, 4, true}, {ENTRY_FORM, 4, true}, {ENTRY_REASON, 4, true},
                  {ENTRY_NAME_BYTES, 4, true}, {ENTRY_NE, 8, true}, {ENTRY_NE + 8, 8, true}, {ENTRY_NE + 16, 8, true},
                  {ENTRY_NE + 24, 8, true}, {ENTRY_BACKGROUND, 8, true}, {ENTRY_VALUES, 8, true},
                  {ENTRY_PACKED, 8, true}, {ENTRY_OFFSET, 8, true}, {ENTRY_BLOCK, 8, true}, {ENTRY_ZERO, 8, true},
                  {ENTRY_NAME, 1, true}, {ENTRY_NAME + 158, 1, true}, {ENTRY_NAME + 159, 1, true}};
    content whole = read_whole(path), c = copy_of(whole);
    int count = (int)get32(whole.bytes + AT_COUNT);
    for (size_t f = 0; f < COUNT(fields) && isa_level() == 0; f++) {
        long accepted = 0, refused = 0;
        for (int e = 0; e < (fields[f].entry ? count : 1); e++) {
            for (size_t v = 0; v < 2 * COUNT(values); v++) {
                memcpy(c.bytes, whole.bytes, c.size);
                uint8_t *at = fields[f].entry ? entry_of(c, e) + fields[f].at : c.bytes + fields[f].at;
                uint64_t before = fields[f].bytes == 8 ? get64(at) : fields[f].bytes == 4 ? get32(at) : at[0];
                /* The value itself, and the right number and the value. */
                uint64_t value = values[v / 2] + (v % 2 ? before : 0);
                for (size_t b = 0; b < fields[f].bytes; b++) at[b] = (uint8_t)(value >> (8 * b));
                if (memcmp(c.bytes, whole.bytes, c.size) == 0) continue;
                bool sums_too = fields[f].entry || fields[f].at != AT_INDEX_SUM;
                if (sums_too) sign(c);
                else put64(c.bytes + AT_SUM, xxh64(c.bytes, AT_SUM));
                if (!CHECK(write_whole(path, c.bytes, c.size), "write")) return;
                sparamx_status status = use_all(path);
                accepted += status == SPARAMX_OK;
                refused += status == SPARAMX_ERR_FILE_DAMAGED || status == SPARAMX_ERR_TYPE ||
                           status == SPARAMX_ERR_SHAPE;
                CHECK(status == SPARAMX_OK || status == SPARAMX_ERR_FILE_DAMAGED || status == SPARAMX_ERR_TYPE ||
                          status == SPARAMX_ERR_SHAPE,
                      "field %zu of entry %d as %llx: %d", fields[f].at, e, (unsigned long long)value, status);
            }
        }
        /* Others that can be as well: zeros at the end of a key, F16 for BF16, dimensions in the same panel and chunk,
         * a reason, a first byte of a name, in the dense form a count. A block's number is a matter of verify. */
        size_t at = fields[f].at;
        bool may_be = !fields[f].entry ? at == AT_KEY_BYTES
                                       : at == ENTRY_TYPE || at == ENTRY_NE || at == ENTRY_NE + 8 ||
                                             at == ENTRY_REASON || at == ENTRY_BACKGROUND || at == ENTRY_NAME ||
                                             at == ENTRY_BLOCK;
        CHECK(refused > 0 && (may_be || accepted == 0), "field %zu%s: %ld accepted, %ld refused", fields[f].at,
              fields[f].entry ? " of an entry" : "", accepted, refused);
    }
    CHECK(write_whole(path, whole.bytes, whole.size) && use_all(path) == SPARAMX_OK, "mended");
    free(whole.bytes), free(c.bytes);
}

static void test_names(const char *path) {
    content whole = read_whole(path), c = copy_of(whole);
    uint8_t entry[ENTRY_BYTES];
    memcpy(entry, entry_of(c, 0), sizeof entry);
    memcpy(entry_of(c, 0), entry_of(c, 1), sizeof entry);
    sign(c);
    CHECK(write_whole(path, c.bytes, c.size) && open_status(path) == SPARAMX_ERR_FILE_DAMAGED, "a name twice");
    memcpy(entry_of(c, 1), entry, sizeof entry);
    sign(c);
    CHECK(write_whole(path, c.bytes, c.size) && open_status(path) == SPARAMX_ERR_FILE_DAMAGED, "names out of order");
    CHECK(write_whole(path, whole.bytes, whole.size) && open_status(path) == SPARAMX_OK, "mended");
    free(whole.bytes), free(c.bytes);
}

/* Offsets, bitmap, side and values of a tensor changed: the proof at loading is all there is. */
static void test_contents(const char *path) {
    content whole = read_whole(path), c = copy_of(whole);
    uint64_t state = 5;
    int fd = open(path, O_RDWR | O_CLOEXEC), count = (int)get32(whole.bytes + AT_COUNT);
    long refused = 0, used = 0;
    sparamx_file *file = NULL;
    if (!CHECK(sparamx_file_open(path, &file) == SPARAMX_OK, "open")) return;
    for (int round = 0; round < 2000; round++) {
        int e = (int)(random_next(&state) % (uint64_t)count);
        size_t begin = get64(entry_of(whole, e) + ENTRY_OFFSET), bytes = get64(entry_of(whole, e) + ENTRY_PACKED);
        size_t at = begin + random_next(&state) % bytes, size = 1 + random_next(&state) % 8;
        if (round % 2 == 0) at = begin + bytes - 1 - random_next(&state) % (bytes < 64 ? bytes : 64);
        if (size > begin + bytes - at) size = begin + bytes - at;
        for (size_t i = 0; i < size; i++) c.bytes[at + i] = (uint8_t)random_next(&state);
        if (pwrite(fd, c.bytes + at, size, (off_t)at) != (ssize_t)size) exit(2);
        sparamx_linear *linear = NULL;
        sparamx_status status = sparamx_linear_load(file, e, NULL, &linear);
        refused += status == SPARAMX_ERR_FILE_DAMAGED;
        used += status == SPARAMX_OK;
        if (status == SPARAMX_OK) use(linear);
        else CHECK(status == SPARAMX_ERR_FILE_DAMAGED, "tensor %d: %d", e, status);
        sparamx_linear_destroy(linear);
        if (pwrite(fd, whole.bytes + at, size, (off_t)at) != (ssize_t)size) exit(2);
        memcpy(c.bytes + at, whole.bytes + at, size);
        if (isa_level() > 0 && round > 200) break;
    }
    CHECK(refused > 0 && used > 0, "%ld refused, %ld used", refused, used);
    sparamx_file_close(file);
    close(fd);
    free(whole.bytes), free(c.bytes);
}

/* -- changed while it is mapped ------------------------------------------------------------------------------------ */

static void test_in_place(const char *path) {
    content whole = read_whole(path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    sparamx_file *file = NULL;
    if (!CHECK(sparamx_file_open(path, &file) == SPARAMX_OK, "open")) return;
    for (int32_t i = 0; i < sparamx_file_count(file); i++) {
        sparamx_file_tensor t = {.size = sizeof t};
        sparamx_linear *linear = NULL;
        CHECK(sparamx_file_info(file, i, &t) == SPARAMX_OK, "info");
        if (!CHECK(sparamx_linear_load(file, i, NULL, &linear) == SPARAMX_OK, "%s", t.name)) continue;
        static uint8_t before[64 * MOST_K * 2], rows[64 * MOST_K * 2];
        CHECK(sparamx_linear_read(linear, 0, t.ne[1], before) == SPARAMX_OK, "%s", t.name);
        uint8_t *fill = must_allocate(t.packed_bytes);
        static const uint8_t bytes[4] = {0xff, 0, 0x80, 0x7f};
        uint64_t state = (uint64_t)i + 1;
        for (int how = 0; how < 8; how++) {
            for (size_t b = 0; b < t.packed_bytes; b++)
                fill[b] = how < 4 ? bytes[how] : (uint8_t)random_next(&state);
            if (pwrite(fd, fill, t.packed_bytes, (off_t)t.offset) != (ssize_t)t.packed_bytes) exit(2);
            use(linear);
            CHECK(sparamx_linear_read(linear, 0, t.ne[1], rows) == SPARAMX_OK &&
                      (t.packed_bytes < 2 * FILE_PAGE || memcmp(rows, before, 64) != 0),
                  "%s: what is written to the file does not reach the mapping", t.name);
            sparamx_status status = sparamx_linear_verify(linear);
            CHECK(status == SPARAMX_OK || status == SPARAMX_ERR_DAMAGED, "%s: %d", t.name, status);
        }
        if (pwrite(fd, whole.bytes + t.offset, t.packed_bytes, (off_t)t.offset) != (ssize_t)t.packed_bytes) exit(2);
        size_t row = gguf_row_bytes(gguf_find(t.type), t.ne[0]);
        CHECK(sparamx_linear_read(linear, 0, t.ne[1], rows) == SPARAMX_OK &&
                  memcmp(rows, before, row * (size_t)t.ne[1]) == 0,
              "%s: mended", t.name);
        CHECK(sparamx_linear_verify(linear) == SPARAMX_OK, "%s: mended", t.name);
        sparamx_linear_destroy(linear);
        free(fill);
    }
    /* Cut off after it was opened: what is read says so, and nothing is mapped. */
    CHECK(ftruncate(fd, FILE_PAGE) == 0, "cut");
    sparamx_linear *linear = NULL;
    CHECK(sparamx_file_verify(file, 0) == SPARAMX_ERR_FILE_DAMAGED, "verify of what is gone");
    for (int32_t i = 0; i < sparamx_file_count(file); i++)
        CHECK(sparamx_linear_load(file, i, NULL, &linear) == SPARAMX_ERR_FILE_DAMAGED, "load of what is gone: %d", i);
    sparamx_file_close(file);
    close(fd);
    free(whole.bytes);
}

int main(void) {
    isa_level();
    find_library();
    CHECK(xxh64("", 0) == 0xef46db3751d8e999u && xxh64("abc", 3) == 0x44bc2cf5ad770999u &&
              xxh64("Nobody inspects the spammish repetition", 39) == 0xfbcea83c8a378bf1u,
          "the checksum of this test");
    const char *path = path_to("small");
    write_file(path, 0, (int)COUNT(kinds), 1);
    if (isa_level() == 0) { /* the same at every level */
        test_lengths(path);
        test_foreign(path);
        test_names(path);
    }
    test_bits(path);
    test_contents(path);
    write_file(path, 0, 3, 1);
    test_numbers(path);
    write_file(path, (int)COUNT(kinds) - 2, 2, 1);
    test_numbers(path);
    write_file(path, 0, (int)COUNT(kinds), 4);
    test_in_place(path);
    return check_end();
}
