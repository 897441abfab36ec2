/*
 * buffer_test - what a buffer's tensors hold: uploads in any order and size, read-back of any range in every state,
 * copy, memset, clear, reset, views. Every step is compared with plain memory that is written alike.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096, SPACE = 1 << 20 };

/* A tensor and the bytes it should hold. */
typedef struct mirror {
    sparamx_tensor t;
    sparamx_buffer *buffer;
    size_t bytes;
    uint8_t *want, *got;
} mirror;

static sparamx_buffer *make_buffer(int32_t usage, int32_t form, int32_t threads) {
    sparamx_buffer_options o = {.size = sizeof o, .usage = usage, .form = form, .pack_threads = threads};
    sparamx_buffer *buffer = NULL;
    CHECK(sparamx_buffer_create(SPACE, &o, &buffer) == SPARAMX_OK, "a buffer");
    return buffer;
}

static mirror make_mirror(sparamx_buffer *buffer, size_t offset, int32_t type, int64_t k, int64_t n, int64_t n2,
                          int64_t n3) {
    mirror m = {.buffer = buffer};
    m.t = make_tensor(type, k, n, n2, n3, (uint8_t *)sparamx_buffer_base(buffer) + offset, buffer);
    m.bytes = tensor_bytes(&m.t);
    m.want = must_allocate(m.bytes);
    m.got = must_allocate(m.bytes);
    return m;
}

static void drop_mirror(mirror *m) {
    free(m->want);
    free(m->got);
}

static int32_t form_of(const mirror *m) {
    sparamx_tensor_info info = {.size = sizeof info};
    return sparamx_buffer_tensor_info(m->buffer, &m->t, &info) == SPARAMX_OK ? info.form : -1;
}

/* The whole tensor, then ranges of it. */
static bool same(mirror *m, uint64_t seed) {
    memset(m->got, 0x77, m->bytes);
    if (sparamx_buffer_get_tensor(m->buffer, &m->t, m->got, 0, m->bytes) != SPARAMX_OK) return false;
    if (memcmp(m->got, m->want, m->bytes) != 0) return false;
    for (int i = 0; i < 12; i++) {
        size_t offset = random_next(&seed) % m->bytes, size = random_next(&seed) % (m->bytes - offset + 1);
        if (i % 3 == 0 && size > 3) size = 1 + random_next(&seed) % 3;
        memset(m->got, 0x77, m->bytes);
        if (sparamx_buffer_get_tensor(m->buffer, &m->t, m->got + offset, offset, size) != SPARAMX_OK) return false;
        if (memcmp(m->got + offset, m->want + offset, size) != 0) return false;
        for (size_t j = 0; j < m->bytes; j++) {
            if ((j < offset || j >= offset + size) && m->got[j] != 0x77) return false;
        }
    }
    return true;
}

static bool put(mirror *m, const uint8_t *data, size_t offset, size_t size) {
    memcpy(m->want + offset, data + offset, size);
    return sparamx_buffer_set_tensor(m->buffer, &m->t, data + offset, offset, size) == SPARAMX_OK;
}

typedef struct shape {
    int32_t type;
    int64_t k, n, n2, n3;
} shape;

static const shape shapes[] = {
    {SPARAMX_TYPE_BF16, 1, 1, 1, 1},   {SPARAMX_TYPE_BF16, 31, 17, 1, 1}, {SPARAMX_TYPE_BF16, 257, 40, 2, 3},
    {SPARAMX_TYPE_F16, 33, 15, 1, 1},  {SPARAMX_TYPE_F16, 256, 16, 3, 1}, {SPARAMX_TYPE_Q8_0, 32, 1, 1, 1},
    {SPARAMX_TYPE_Q8_0, 96, 33, 1, 2}, {SPARAMX_TYPE_Q8_0, 288, 31, 1, 1}};

/* Random bytes, pieces in random order with overlaps, until all is there; then changes of the packed tensor. */
static void test_uploads(void) {
    for (size_t i = 0; i < COUNT(shapes) * 3; i++) {
        const shape *s = &shapes[i / 3];
        sparamx_buffer *buffer = make_buffer(SPARAMX_USAGE_WEIGHTS, (int32_t)(i % 3), i % 2 ? 3 : 1);
        mirror m = make_mirror(buffer, PAGE, s->type, s->k, s->n, s->n2, s->n3);
        uint8_t *data = must_allocate(m.bytes);
        uint64_t seed = i + 1;
        fill_bytes(m.bytes, seed, data);
        CHECK(sparamx_buffer_init_tensor(buffer, &m.t) == SPARAMX_OK, "announce");
        CHECK(form_of(&m) == SPARAMX_FORM_RAW && same(&m, seed), "case %zu: zero bytes at first", i);
        CHECK(sparamx_buffer_resident(buffer) == 0, "case %zu: memory before the first byte", i);
        bool good = true;
        size_t pieces[] = {m.bytes / 3, 0, m.bytes * 2 / 3}; /* the rest of each third comes later */
        for (size_t j = 0; j < COUNT(pieces); j++) {
            size_t size = m.bytes / 3;
            good = good && put(&m, data, pieces[j], size > 1 ? size - 1 : 0) && same(&m, seed + j);
        }
        CHECK(good, "case %zu: pieces out of order", i);
        if (m.bytes > 3) CHECK(form_of(&m) == SPARAMX_FORM_RAW, "case %zu: packed too early", i);
        for (int j = 0; j < 20 && m.bytes > 3; j++) {
            size_t offset = random_next(&seed) % m.bytes, size = 1 + random_next(&seed) % (m.bytes - offset);
            if (form_of(&m) == SPARAMX_FORM_RAW && size > m.bytes / 4) size = m.bytes / 8 + 1;
            if (offset + size > m.bytes) size = m.bytes - offset;
            good = good && put(&m, data, offset, size);
        }
        CHECK(good && same(&m, seed), "case %zu: pieces that overlap", i);
        CHECK(put(&m, data, 0, m.bytes / 2 + 1) && put(&m, data, m.bytes / 2, m.bytes - m.bytes / 2) && same(&m, seed),
              "case %zu: the rest", i);
        int32_t form = form_of(&m);
        CHECK(form == (i % 3 == 0 ? form : (int32_t)(i % 3)) && form != SPARAMX_FORM_RAW, "case %zu: form %d", i, form);
        fill_bytes(m.bytes, seed + 5, data);
        for (int j = 0; j < 6; j++) {
            size_t offset = random_next(&seed) % m.bytes, size = random_next(&seed) % (m.bytes - offset + 1);
            good =
                good && put(&m, data, offset, size) && same(&m, seed + (uint64_t)j) && form_of(&m) != SPARAMX_FORM_RAW;
        }
        CHECK(good, "case %zu: writes to the packed tensor", i);
        CHECK(put(&m, data, 0, m.bytes) && same(&m, seed), "case %zu: a second whole upload", i);
        free(data);
        drop_mirror(&m);
        sparamx_buffer_destroy(buffer);
    }
}

static void test_single_bytes(void) {
    for (size_t i = 0; i < COUNT(weight_types); i++) {
        sparamx_buffer *buffer = make_buffer(SPARAMX_USAGE_WEIGHTS, SPARAMX_FORM_AUTO, 1);
        mirror m = make_mirror(buffer, 0, weight_types[i], 64, 5, 1, 1);
        uint8_t *data = must_allocate(m.bytes);
        size_t *order = must_allocate(m.bytes * sizeof *order);
        uint64_t seed = i;
        fill_bytes(m.bytes, 9, data);
        for (size_t j = 0; j < m.bytes; j++) order[j] = j;
        for (size_t j = m.bytes - 1; j > 0; j--) {
            size_t other = random_next(&seed) % (j + 1), kept = order[j];
            order[j] = order[other], order[other] = kept;
        }
        bool good = true, early = false;
        for (size_t j = 0; j < m.bytes; j++) {
            good = good && put(&m, data, order[j], 1); /* announces it as well */
            if (j % 3 == 0) good = good && put(&m, data, order[j / 2], 1);
            if (j + 1 < m.bytes) early = early || form_of(&m) != SPARAMX_FORM_RAW;
        }
        CHECK(good && !early, "%s: byte by byte", type_name(weight_types[i]));
        CHECK(form_of(&m) != SPARAMX_FORM_RAW && same(&m, 3), "%s: packed after the last byte",
              type_name(weight_types[i]));
        free(order);
        free(data);
        drop_mirror(&m);
        sparamx_buffer_destroy(buffer);
    }
}

/* Pieces with gaps on both sides, in both directions, in both states. */
static void test_2d(void) {
    sparamx_buffer *buffer = make_buffer(SPARAMX_USAGE_WEIGHTS, SPARAMX_FORM_SPARSE, 1);
    mirror m = make_mirror(buffer, 0, SPARAMX_TYPE_BF16, 50, 40, 1, 1);
    uint8_t *data = must_allocate(8 * m.bytes), *back = must_allocate(8 * m.bytes);
    fill_bytes(8 * m.bytes, 4, data);
    static const struct { size_t offset, size, copies, tensor_stride, data_stride; } cases[] = {
        {0, 10, 40, 100, 10}, {10, 90, 40, 100, 200}, {0, 100, 40, 100, 100}, {7, 1, 100, 3, 5}, {0, 4000, 1, 0, 0},
        {100, 0, 5, 10, 10}, {50, 20, 10, 20, 40}, {0, 3, 4, 1000, 0} /* one piece of data for all */};
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t offset = cases[i].offset, size = cases[i].size, copies = cases[i].copies;
        size_t ts = cases[i].tensor_stride, ds = cases[i].data_stride;
        for (size_t c = 0; c < copies; c++) memcpy(m.want + offset + c * ts, data + c * ds, size);
        CHECK(sparamx_buffer_set_tensor_2d(buffer, &m.t, data, offset, size, copies, ts, ds) == SPARAMX_OK,
              "set_2d %zu", i);
        CHECK(same(&m, i), "set_2d %zu: other contents", i);
        if (i == 2) CHECK(form_of(&m) == SPARAMX_FORM_SPARSE, "packed after all of it");
        memset(back, 0x77, 8 * m.bytes);
        if (ds < size) ds = size;
        CHECK(sparamx_buffer_get_tensor_2d(buffer, &m.t, back, offset, size, copies, ts, ds) == SPARAMX_OK,
              "get_2d %zu", i);
        bool good = true;
        for (size_t c = 0; c < copies; c++) {
            good = good && memcmp(back + c * ds, m.want + offset + c * ts, size) == 0;
            for (size_t j = size; j < ds && c + 1 < copies; j++) good = good && back[c * ds + j] == 0x77;
        }
        CHECK(good, "get_2d %zu: other contents", i);
        /* Reading may repeat bytes of the tensor. */
        if (size > 1 && copies > 1) {
            CHECK(sparamx_buffer_get_tensor_2d(buffer, &m.t, back, offset, size, copies, 1, ds) == SPARAMX_OK &&
                      memcmp(back + (copies - 1) * ds, m.want + offset + copies - 1, size) == 0,
                  "get_2d %zu: overlapping pieces", i);
        }
    }
    free(data);
    free(back);
    drop_mirror(&m);
    sparamx_buffer_destroy(buffer);
}

static void test_memset_and_clear(void) {
    static const int32_t usages[] = {SPARAMX_USAGE_WEIGHTS, SPARAMX_USAGE_ANY};
    for (int u = 0; u < 2; u++) {
        sparamx_buffer *buffer = make_buffer(usages[u], SPARAMX_FORM_AUTO, 1);
        mirror m = make_mirror(buffer, PAGE, SPARAMX_TYPE_BF16, 100, 17, 1, 1),
               late = make_mirror(buffer, 8 * PAGE, SPARAMX_TYPE_Q8_0, 64, 3, 1, 1);
        uint8_t *data = must_allocate(m.bytes);
        fill_bytes(m.bytes, 5, data);
        CHECK(sparamx_buffer_memset_tensor(buffer, &m.t, 0xab, 3, 1000) == SPARAMX_OK, "memset of a piece");
        memset(m.want + 3, 0xab, 1000);
        CHECK(same(&m, 1), "memset of a piece, contents");
        CHECK(put(&m, data, 0, m.bytes) && same(&m, 2), "upload after it");
        CHECK(sparamx_buffer_memset_tensor(buffer, &m.t, 0, 99, 2001) == SPARAMX_OK, "memset of the whole");
        memset(m.want + 99, 0, 2001);
        CHECK(same(&m, 3), "memset of the whole, contents");
        CHECK((form_of(&m) == SPARAMX_FORM_RAW) == (u == 1), "form %d with usage %d", form_of(&m), usages[u]);
        CHECK(sparamx_buffer_clear(buffer, 0x3c) == SPARAMX_OK, "clear");
        memset(m.want, 0x3c, m.bytes);
        CHECK(same(&m, 4), "clear, contents");
        CHECK((form_of(&m) == SPARAMX_FORM_RAW) == (u == 1), "clear: form %d with usage %d", form_of(&m), usages[u]);
        CHECK(sparamx_buffer_init_tensor(buffer, &late.t) == SPARAMX_OK, "announced after clear");
        memset(late.want, 0x3c, late.bytes);
        CHECK(same(&late, 5), "announced after clear: cleared too");
        CHECK(sparamx_buffer_clear(buffer, 0) == SPARAMX_OK, "clear to zero");
        memset(m.want, 0, m.bytes);
        memset(late.want, 0, late.bytes);
        CHECK(same(&m, 6) && same(&late, 7), "clear to zero, contents");
        free(data);
        drop_mirror(&m);
        drop_mirror(&late);
        sparamx_buffer_destroy(buffer);
    }
}

/* Forgetting: reset, and announcing the same tensor again. */
static void test_reset(int32_t usage) {
    sparamx_buffer *buffer = make_buffer(usage, SPARAMX_FORM_AUTO, 2);
    mirror m = make_mirror(buffer, 2 * PAGE, SPARAMX_TYPE_BF16, 128, 32, 1, 1);
    uint8_t *data = must_allocate(m.bytes);
    void *base = sparamx_buffer_base(buffer);
    fill_bytes(m.bytes, 6, data);
    CHECK(put(&m, data, 0, m.bytes) && sparamx_buffer_resident(buffer) > 0, "upload");
    CHECK(sparamx_buffer_init_tensor(buffer, &m.t) == SPARAMX_OK, "announced again");
    memset(m.want, 0, m.bytes);
    CHECK(form_of(&m) == SPARAMX_FORM_RAW && same(&m, 1) && sparamx_buffer_resident(buffer) == 0,
          "it forgot what it held");
    CHECK(put(&m, data, 5, 100) && sparamx_buffer_init_tensor(buffer, &m.t) == SPARAMX_OK, "again, half uploaded");
    memset(m.want, 0, m.bytes);
    CHECK(same(&m, 2) && put(&m, data, 0, m.bytes) && same(&m, 3), "and uploaded");
    /* What a clear leaves for tensors that come later is forgotten too. */
    CHECK(sparamx_buffer_clear(buffer, 0x3c) == SPARAMX_OK && sparamx_buffer_reset(buffer) == SPARAMX_OK, "reset");
    CHECK(sparamx_buffer_resident(buffer) == 0 && sparamx_buffer_base(buffer) == base, "reset gives the memory back");
    CHECK(sparamx_buffer_get_tensor(buffer, &m.t, m.got, 0, 1) == SPARAMX_ERR_FOREIGN, "reset forgets tensors");
    mirror other = make_mirror(buffer, PAGE, SPARAMX_TYPE_Q8_0, 256, 64, 1, 1); /* where the old one was as well */
    fill_bytes(m.bytes, 7, data);
    CHECK(sparamx_buffer_init_tensor(buffer, &other.t) == SPARAMX_OK && same(&other, 4),
          "another tensor in its place, zero");
    free(data);
    drop_mirror(&m);
    drop_mirror(&other);
    sparamx_buffer_destroy(buffer);
}

static void test_copy(void) {
    for (int direction = 0; direction < 6; direction++) { /* from packed, incomplete, raw; to a fresh or a packed one */
        sparamx_buffer *from =
            make_buffer(direction % 3 == 2 ? SPARAMX_USAGE_ANY : SPARAMX_USAGE_WEIGHTS, SPARAMX_FORM_SPARSE, 1);
        sparamx_buffer *to = make_buffer(SPARAMX_USAGE_WEIGHTS, SPARAMX_FORM_DENSE, 1);
        mirror a = make_mirror(from, 0, SPARAMX_TYPE_Q8_0, 96, 21, 2, 1),
               b = make_mirror(to, PAGE, SPARAMX_TYPE_Q8_0, 96, 21, 2, 1);
        uint8_t *data = must_allocate(a.bytes);
        fill_bytes(a.bytes, 8, data);
        CHECK(put(&a, data, 0, direction % 3 == 1 ? a.bytes / 2 : a.bytes), "upload");
        if (direction >= 3)
            CHECK(sparamx_buffer_memset_tensor(to, &b.t, 9, 0, b.bytes) == SPARAMX_OK, "something else before");
        CHECK(sparamx_buffer_copy_tensor(to, &a.t, &b.t) == SPARAMX_OK, "copy %d", direction);
        memcpy(b.want, a.want, a.bytes);
        CHECK(same(&b, 1) && same(&a, 2), "copy %d: contents", direction);
        CHECK(form_of(&b) == SPARAMX_FORM_DENSE, "copy %d: form %d", direction, form_of(&b));
        sparamx_tensor host = make_tensor(SPARAMX_TYPE_Q8_0, 96, 21, 2, 1, data, NULL);
        fill_bytes(a.bytes, 11, data);
        memcpy(b.want, data, a.bytes);
        CHECK(sparamx_buffer_copy_tensor(to, &host, &b.t) == SPARAMX_OK && same(&b, 3), "copy %d from the host",
              direction);
        CHECK(sparamx_buffer_copy_tensor(to, &b.t, &b.t) == SPARAMX_OK && same(&b, 4), "copy %d onto itself",
              direction);
        mirror c = make_mirror(to, 16 * PAGE, SPARAMX_TYPE_Q8_0, 96, 21, 2, 1);
        CHECK(sparamx_buffer_copy_tensor(to, &c.t, &c.t) == SPARAMX_ERR_FOREIGN, "copy %d of nothing onto itself",
              direction);
        memcpy(c.want, b.want, b.bytes);
        CHECK(sparamx_buffer_copy_tensor(to, &b.t, &c.t) == SPARAMX_OK && same(&c, 5), "copy %d within a buffer",
              direction);
        free(data);
        drop_mirror(&a);
        drop_mirror(&b);
        drop_mirror(&c);
        sparamx_buffer_destroy(from);
        sparamx_buffer_destroy(to);
    }
}

/* Types without kernels, tensors with strides, views, buffers without room, many tensors. */
static void test_other_tensors(void) {
    sparamx_buffer *buffer = make_buffer(SPARAMX_USAGE_WEIGHTS, SPARAMX_FORM_AUTO, 1);
    mirror floats = make_mirror(buffer, 0, SPARAMX_TYPE_F32, 100, 7, 1, 1);
    uint8_t *data = must_allocate(floats.bytes);
    fill_bytes(floats.bytes, 12, data);
    CHECK(put(&floats, data, 0, floats.bytes) && same(&floats, 1) && form_of(&floats) == SPARAMX_FORM_RAW,
          "float32 stays raw");
    CHECK(sparamx_buffer_resident(buffer) == floats.bytes, "resident %zu", sparamx_buffer_resident(buffer));
    sparamx_tensor other = {
        .size = sizeof other, .type = 12, .ne = {256, 3, 1, 1}, .nb = {144, 144, 432, 432}}; /* Q4_K */
    size_t size = 0;
    CHECK(sparamx_buffer_type_alloc_size(&other, &size) == SPARAMX_OK && size >= 432, "another type: %zu bytes", size);
    other.data = (uint8_t *)sparamx_buffer_base(buffer) + 4 * PAGE;
    uint8_t back[432];
    CHECK(sparamx_buffer_set_tensor(buffer, &other, data, 0, 432) == SPARAMX_OK, "another type");
    CHECK(sparamx_buffer_get_tensor(buffer, &other, back, 0, 432) == SPARAMX_OK && memcmp(back, data, 432) == 0,
          "read back");
    sparamx_tensor view = make_tensor(SPARAMX_TYPE_F32, 100, 2, 1, 1, (uint8_t *)floats.t.data + 400, buffer);
    CHECK(sparamx_buffer_init_tensor(buffer, &view) == SPARAMX_OK && same(&floats, 2), "a view changes nothing");
    for (size_t i = 0; i < COUNT(weight_types); i++) {
        sparamx_tensor t = make_tensor(weight_types[i], 96, 33, 2, 1, NULL, NULL);
        CHECK(sparamx_buffer_type_alloc_size(&t, &size) == SPARAMX_OK && size >= tensor_bytes(&t) &&
              size % sparamx_buffer_type_alignment() == 0, "alloc size of %s: %zu", type_name(weight_types[i]), size);
    }
    int count = 0;
    for (size_t offset = 32 * PAGE; offset + PAGE <= SPACE; offset += PAGE) {
        sparamx_tensor t =
            make_tensor(SPARAMX_TYPE_BF16, 8, 4, 1, 1, (uint8_t *)sparamx_buffer_base(buffer) + offset, buffer);
        uint16_t values[32];
        for (int i = 0; i < 32; i++) values[i] = (uint16_t)(offset / PAGE + (size_t)i);
        count += sparamx_buffer_set_tensor(buffer, &t, values, 0, 64) == SPARAMX_OK;
    }
    bool good = true;
    for (size_t offset = 32 * PAGE; offset + PAGE <= SPACE; offset += PAGE) {
        sparamx_tensor t =
            make_tensor(SPARAMX_TYPE_BF16, 8, 4, 1, 1, (uint8_t *)sparamx_buffer_base(buffer) + offset, buffer);
        uint16_t values[32] = {0};
        good = good && sparamx_buffer_get_tensor(buffer, &t, values, 0, 64) == SPARAMX_OK &&
               values[31] == (uint16_t)(offset / PAGE + 31);
    }
    CHECK(good && count == 224, "%d tensors in one buffer", count);
    free(data);
    drop_mirror(&floats);
    sparamx_buffer_destroy(buffer);

    sparamx_buffer *empty = NULL;
    CHECK(sparamx_buffer_create(0, NULL, &empty) == SPARAMX_OK && sparamx_buffer_size(empty) == 0 &&
          sparamx_buffer_base(empty) != NULL, "a buffer of size 0");
    CHECK((uintptr_t)sparamx_buffer_base(empty) % sparamx_buffer_type_alignment() == 0, "its base is aligned");
    CHECK(sparamx_buffer_clear(empty, 1) == SPARAMX_OK && sparamx_buffer_reset(empty) == SPARAMX_OK, "clear and reset");
    sparamx_buffer_destroy(empty);
}

/* The usage counts from when a tensor is announced. */
static void test_usage(void) {
    sparamx_buffer *buffer = make_buffer(SPARAMX_USAGE_ANY, SPARAMX_FORM_SPARSE, 1);
    mirror raw = make_mirror(buffer, 0, SPARAMX_TYPE_BF16, 64, 8, 1, 1),
           packed = make_mirror(buffer, PAGE, SPARAMX_TYPE_BF16, 64, 8, 1, 1);
    uint8_t data[1024];
    fill_bytes(sizeof data, 13, data);
    CHECK(sparamx_buffer_init_tensor(buffer, &raw.t) == SPARAMX_OK, "announce");
    CHECK(sparamx_buffer_set_usage(buffer, SPARAMX_USAGE_WEIGHTS) == SPARAMX_OK, "set_usage");
    CHECK(put(&raw, data, 0, raw.bytes) && put(&packed, data, 0, packed.bytes), "upload");
    CHECK(form_of(&raw) == SPARAMX_FORM_RAW && form_of(&packed) == SPARAMX_FORM_SPARSE, "forms %d and %d",
          form_of(&raw), form_of(&packed));
    CHECK(same(&raw, 1) && same(&packed, 2), "contents");
    drop_mirror(&raw);
    drop_mirror(&packed);
    sparamx_buffer_destroy(buffer);
}

int main(void) {
    test_uploads();
    test_single_bytes();
    test_2d();
    test_memset_and_clear();
    test_reset(SPARAMX_USAGE_WEIGHTS);
    test_reset(SPARAMX_USAGE_ANY);
    test_copy();
    test_other_tensors();
    test_usage();
    return check_end();
}
