/*
 * fuzz_file.c - packed files. A few small weights of any type and form are written under any names; the status of each
 * call is foretold. Then the file is damaged, with its checksums made right again or not, and opened: it is refused
 * with a status of files, or what it has is loaded, read back and multiplied with, at every level alike, also after
 * what is mapped has been written to: inside its memory. Memory and disk fail in the middle.
 */
#include "memory_file.h"
#include "world.h"

#include <stdlib.h>

enum { SHAPES = 3, FORMS = 4, MOST_TENSORS = 4, HURTS = 5 };
enum { PAGE = 4096, ENTRY = 256, AT_INDEX = 24, AT_INDEX_BYTES = 32 };

typedef struct subject {
    const weight_type *type;
    int64_t n, k;
    size_t row;
    sparamx_linear *linear;
} subject;

static const int32_t forms[FORMS] = {SPARAMX_FORM_DENSE, SPARAMX_FORM_SPARSE, SPARAMX_FORM_CODED,
                                     SPARAMX_FORM_CODED_SPARSE};

static subject *make(int type_index, int form, int shape) {
    static subject subjects[MOST_WEIGHT_TYPES][FORMS][SHAPES];
    subject *s = &subjects[type_index][form][shape];
    if (s->type) return s;
    static const int64_t rows[SHAPES] = {3, 17, 33}, wide[SHAPES] = {290, 41, 256}, blocks[SHAPES] = {5, 3, 9};
    const weight_type *type = weight_type_at(type_index);
    s->n = rows[shape];
    s->k = type->block == 1    ? wide[shape]
           : type->block < 256 ? whole_blocks(type, 32 * blocks[shape])
                               : type->block * (1 + shape % 2);
    s->row = (size_t)(s->k / type->block * type->bytes);
    uint8_t *data = malloc(s->row * (size_t)s->n);
    uint32_t state = (uint32_t)shape + 3;
    for (size_t i = 0; i < s->row * (size_t)s->n; i++) {
        state = state * 1664525 + 1013904223;
        data[i] = state >> 31 ? (uint8_t)(state >> 16) : 0;
    }
    weight_tame(type, data, s->row * (size_t)s->n);
    sparamx_linear_options o = {.size = sizeof o, .pack_threads = 1};
    o.form = form_made(type, forms[form]);
    fuzz_level(LEVEL_REFERENCE);
    CLAIM(sparamx_linear_create(type->number, s->n, s->k, data, 0, &o, &s->linear) == SPARAMX_OK, "%d", type->number);
    free(data);
    s->type = type;
    return s;
}

/* -- checksums, as FORMAT.md has them ------------------------------------------------------------------------------ */

#define P1 0x9E3779B185EBCA87u
#define P2 0xC2B2AE3D27D4EB4Fu
#define P3 0x165667B19E3779F9u
#define P4 0x85EBCA77C2B2AE63u
#define P5 0x27D4EB2F165667C5u

static uint64_t load(const uint8_t *at, size_t bytes) {
    uint64_t value = 0;
    memcpy(&value, at, bytes);
    return value;
}
static uint64_t turn(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }
static uint64_t lane(uint64_t sum, uint64_t word) { return turn(sum + word * P2, 31) * P1; }

static uint64_t xxh64(const uint8_t *at, size_t size) {
    const uint8_t *end = at + size;
    uint64_t hash = P5, v[4] = {P1 + P2, P2, 0, 0 - P1};
    if (size >= 32) {
        for (; end - at >= 32; at += 32)
            for (int i = 0; i < 4; i++) v[i] = lane(v[i], load(at + 8 * i, 8));
        hash = turn(v[0], 1) + turn(v[1], 7) + turn(v[2], 12) + turn(v[3], 18);
        for (int i = 0; i < 4; i++) hash = (hash ^ lane(0, v[i])) * P1 + P4;
    }
    hash += size;
    for (; end - at >= 8; at += 8) hash = turn(hash ^ lane(0, load(at, 8)), 27) * P1 + P4;
    for (; end - at >= 4; at += 4) hash = turn(hash ^ load(at, 4) * P1, 23) * P2 + P3;
    for (; at < end; at++) hash = turn(hash ^ *at * P5, 11) * P1;
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}

static void sign(uint8_t *bytes, size_t size) {
    uint64_t at = load(bytes + AT_INDEX, 8), length = load(bytes + AT_INDEX_BYTES, 8), sum;
    if (at <= size && length <= size - at) {
        sum = xxh64(bytes + at, length);
        memcpy(bytes + 48, &sum, 8);
    }
    sum = xxh64(bytes, PAGE - 8);
    memcpy(bytes + PAGE - 8, &sum, 8);
}

/* -- writing ------------------------------------------------------------------------------------------------------- */

typedef struct written {
    int count;
    char names[MOST_TENSORS][200];
    subject *of[MOST_TENSORS];
} written;

static bool file_trouble(sparamx_status status) {
    return fuzz_failed() && (status == SPARAMX_ERR_NO_MEMORY || status == SPARAMX_ERR_FILE);
}

static void write_tensors(input *in, sparamx_file_writer *writer, written *w) {
    int tries = below(in, MOST_TENSORS + 1);
    for (int i = 0; i < tries; i++) {
        int type = weight_type_of(take(in)), rest = take(in);
        subject *s = make(type, rest % 2 + rest / (2 * SHAPES) % 2 * 2, rest / 2 % SHAPES);
        char *name = w->names[w->count];
        size_t length = take(in) % 192;
        memset(name, 'n', length);
        name[length] = 0;
        if (length > 0) name[0] = (char)(1 + take(in) % 4);
        bool known = false;
        for (int j = 0; j < w->count; j++) known |= strcmp(w->names[j], name) == 0;
        bool good = length >= 1 && length <= SPARAMX_FILE_NAME_MAX && !known;
        fuzz_fail_at(take(in) % 8 == 0 ? 1 + take(in) % 16 : 0);
        sparamx_status status = sparamx_file_writer_add_linear(writer, name, s->linear);
        CLAIM(status == (good ? SPARAMX_OK : SPARAMX_ERR_FILE_NAME) || file_trouble(status), "add: %d", status);
        fuzz_fail_at(0);
        if (status != SPARAMX_OK) continue;
        w->of[w->count++] = s;
    }
}

/* False if there is no file. */
static bool write_file(input *in, written *w) {
    static const uint8_t key[SPARAMX_FILE_KEY_MAX] = {1, 2, 3};
    sparamx_file_writer *writer = NULL;
    size_t key_size = (size_t)take(in) + 1;
    fuzz_fail_at(take(in) % 16 == 0 ? 1 + take(in) % 8 : 0);
    sparamx_status status = sparamx_file_writer_create("file", key, key_size, &writer);
    CLAIM(status == SPARAMX_OK || file_trouble(status), "create: %d", status);
    fuzz_fail_at(0);
    if (status != SPARAMX_OK) return false;
    write_tensors(in, writer, w);
    fuzz_fail_at(take(in) % 16 == 0 ? 1 + take(in) % 8 : 0);
    status = sparamx_file_writer_finish(writer);
    CLAIM(status == SPARAMX_OK || file_trouble(status), "finish: %d", status);
    fuzz_fail_at(0);
    CLAIM(sparamx_file_writer_finish(writer) == SPARAMX_ERR_STATE, "finish again");
    sparamx_file_writer_destroy(writer);
    return status == SPARAMX_OK;
}

/* -- damage -------------------------------------------------------------------------------------------------------- */

static void hurt(input *in) {
    size_t bytes, index;
    uint8_t *file = memory_file(&bytes), what = take(in), value = take(in);
    if (bytes < PAGE) return;
    index = (size_t)load(file + AT_INDEX, 8);
    size_t at = (size_t)take_bytes(in, 3);
    if (what & 0x80 && index < bytes) at = index + at % (bytes - index);
    else if (what & 0x40) at = at % 72;
    else at %= bytes;
    uint64_t number = (uint64_t)take_number(in);
    size_t wide = bytes - at < 8 ? bytes - at : 8;
    switch (what & 7) {
    case 0: file[at] ^= (uint8_t)(1 << (value & 7)); break;
    case 1: file[at] = value; break;
    case 2: memcpy(file + at, &number, wide); break;
    case 3: memcpy(file + at, &number, wide < 4 ? wide : 4); break;
    case 4: number += load(file + at, wide), memcpy(file + at, &number, wide); break;
    case 5: memory_file_resize(at); break;
    case 6: memory_file_resize(bytes + at % 5000 < MOST_FILE ? bytes + at % 5000 : bytes); break;
    default: memmove(file + at, file + value, bytes - at < 64 ? bytes - at : 64);
    }
}

/* -- what is loaded ------------------------------------------------------------------------------------------------ */

static float *product(const sparamx_linear *linear, const sparamx_tensor_info *info, int level, int64_t m, int edge) {
    region area = host_region(HOST_WORK), x = host_region(HOST_X);
    size_t need = 0;
    float *y = fuzz_edge(edge, (size_t)(m * info->n) * 4);
    fuzz_level(level);
    CLAIM(sparamx_linear_work_size(linear, m, 1, &need) == SPARAMX_OK && need <= area.bytes, "%zu", need);
    sparamx_params p = {.size = sizeof p, .nth = 1, .work = area.base + (area.bytes - need), .work_size = need};
    const float *from = (const float *)(x.base + x.bytes) - m * info->k;
    sparamx_status status = sparamx_linear_compute(linear, &p, m, from, info->k, y, info->n);
    CLAIM(status == SPARAMX_OK, "level %d m %lld: %d", level, (long long)m, status);
    return y;
}

/* Each level with a linear of its own, which is mapped where `mapped` says. */
typedef struct loaded {
    sparamx_linear *linear;
    uint8_t *mapped;
    size_t space;
} loaded;

static void use(input *in, const loaded *at, int last, bool same) {
    sparamx_tensor_info info = {.size = sizeof info};
    CLAIM(sparamx_linear_info(at[0].linear, &info) == SPARAMX_OK && info.mapped == 1, "info");
    size_t row = (size_t)(info.source_bytes / (uint64_t)info.n), room = host_region(HOST_X).bytes;
    if (row * (size_t)info.n > 1 << 15 || info.n > 1024 || (size_t)info.k * 4 * 17 > room) return;
    int64_t m = take(in) % 4 == 0 ? 17 : 1 + take(in) % 4;
    uint8_t *rows[2];
    float *y[2];
    for (int level = 0; level <= last; level++) {
        int i = level > 0;
        rows[i] = fuzz_edge(i, row * (size_t)info.n);
        fuzz_level(level);
        CLAIM(sparamx_linear_read(at[level].linear, 0, info.n, rows[i]) == SPARAMX_OK, "level %d", level);
        CLAIM(!same || i == 0 || memcmp(rows[0], rows[1], row * (size_t)info.n) == 0, "level %d reads others", level);
        y[i] = product(at[level].linear, &info, level, m, 2 + i);
        if (!same || i == 0 || !planned(level, info.type, info.form, m)->exact) continue;
        CLAIM(first_difference(y[0], y[1], m * info.n) < 0, "type %d form %d: level %d", info.type, info.form, level);
    }
}

/* Somebody writes to the file while it is mapped: only to what is shared with it. */
static void write_in_place(input *in, loaded *at, int last, const sparamx_file_tensor *t, size_t offsets) {
    size_t end = t->form != SPARAMX_FORM_DENSE ? offsets / PAGE * PAGE : (size_t)t->packed_bytes;
    if (end == 0) return;
    int how = take(in) % 4;
    size_t begin = (size_t)take_bytes(in, 2) % end, count = how == 0 ? end - begin : 1 + take(in) % 64;
    if (count > end - begin) count = end - begin;
    uint8_t value = take(in);
    for (int level = 0; level <= last; level++) memset(at[level].mapped + begin, value, count);
    use(in, at, last, false);
}

static void load_one(input *in, sparamx_file *file, int32_t index, const sparamx_file_tensor *t) {
    loaded at[LEVEL_AMX + 1] = {{0}};
    int last = fuzz_highest() < LEVEL_AVX512 ? fuzz_highest() : LEVEL_AVX512;
    sparamx_status status = SPARAMX_OK;
    fuzz_fail_at(take(in) % 16 == 0 ? 1 + take(in) % 8 : 0);
    for (int level = 0; level <= last; level++) {
        fuzz_level(level);
        status = sparamx_linear_load(file, index, NULL, &at[level].linear);
        CLAIM(status == SPARAMX_OK || status == SPARAMX_ERR_FILE_DAMAGED || status == SPARAMX_ERR_SHAPE ||
                  status == SPARAMX_ERR_TYPE || status == SPARAMX_ERR_NO_MEMORY || file_trouble(status),
              "load: %d", status);
        if (status != SPARAMX_OK) break;
        at[level].mapped = fuzz_last_mapping(&at[level].space);
        CLAIM(at[level].space >= t->packed_bytes, "%zu bytes are mapped", at[level].space);
    }
    fuzz_fail_at(0);
    if (status == SPARAMX_OK) {
        size_t chunks = (size_t)(t->ne[0] + 255) / 256, panels = (size_t)(t->ne[1] + 15) / 16;
        use(in, at, last, true);
        write_in_place(in, at, last, t, (size_t)t->packed_bytes - 8 * (chunks * panels + 1));
    }
    for (int level = 0; level <= last; level++) sparamx_linear_destroy(at[level].linear);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t before[MOST_FILE];
    input in = {data, data + size};
    written w = {0};
    fuzz_level(LEVEL_REFERENCE);
    the_world(); /* and its memory */
    for (int i = 0; i < MOST_TENSORS; i++) w.of[i] = NULL;
    if (!write_file(&in, &w)) return 0;
    int64_t held = fuzz_held();
    size_t bytes, now_bytes;
    uint8_t *bytes_at = memory_file(&bytes);
    memcpy(before, bytes_at, bytes);
    uint8_t how = take(&in);
    int hurts = below(&in, HURTS);
    for (int i = 0; i < hurts; i++) hurt(&in);
    memory_file(&now_bytes);
    if (how % 4 != 0 && now_bytes >= PAGE) sign(bytes_at, now_bytes);
    bool changed = now_bytes != bytes || memcmp(before, bytes_at, bytes) != 0;
    sparamx_file *file = NULL;
    fuzz_fail_at(how % 32 == 1 ? 1 + take(&in) % 8 : 0);
    sparamx_status status = sparamx_file_open("file", &file);
    CLAIM(status == SPARAMX_OK || file_trouble(status) ||
              (changed && status >= SPARAMX_ERR_FILE_FOREIGN && status <= SPARAMX_ERR_FILE_DAMAGED),
          "open: %d", status);
    fuzz_fail_at(0);
    TRACE("%d tensors, %zu bytes, %d hurts, changed %d: open %d", w.count, now_bytes, hurts, changed, status);
    if (status != SPARAMX_OK) {
        CLAIM(fuzz_held() == held, "memory");
        return 0;
    }
    CLAIM(changed || sparamx_file_count(file) == w.count, "%d tensors", sparamx_file_count(file));
    for (int32_t i = 0; i < sparamx_file_count(file); i++) {
        sparamx_file_tensor t = {.size = sizeof t};
        int32_t found = -1;
        CLAIM(sparamx_file_info(file, i, &t) == SPARAMX_OK && strlen(t.name) == (size_t)t.name_size, "info");
        CLAIM(sparamx_file_find(file, t.name, &found) == SPARAMX_OK && found == i, "find");
        CLAIM(t.offset + t.packed_bytes <= now_bytes, "%llu is outside", (unsigned long long)t.offset);
        status = sparamx_file_verify(file, i);
        CLAIM(status == SPARAMX_OK || (changed && status == SPARAMX_ERR_FILE_DAMAGED), "verify: %d", status);
        load_one(&in, file, i, &t);
    }
    sparamx_file_close(file);
    CLAIM(fuzz_held() == held, "%lld bytes are held", (long long)(fuzz_held() - held));
    return 0;
}
