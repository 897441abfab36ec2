/*
 * fuzz_buffer.c - a buffer against a plain model of one: tensors of any type and shape announced, written, filled,
 * copied, cleared and forgotten in any order and any ranges, memory that runs out in the middle. After every call the
 * status is the one that the model foretells, and every byte reads back as the model has it.
 */
#include "fuzz.h"

enum { SIZE = 8 * 4096, SLOTS = 8, NAMES = 4 };

typedef struct slot {
    sparamx_tensor t;
    size_t offset, bytes;
    bool weight; /* will be packed */
    bool packed, touched;
} slot;

static struct {
    sparamx_buffer *buffer;
    uint8_t *base;
    slot slots[SLOTS];
    int count;
    bool weights; /* the buffer's usage */
    uint8_t fill;
    uint8_t content[SIZE], arrived[SIZE];
} model;

static sparamx_buffer *buffers[2][SPARAMX_FORM_AUTO_CODED + 1]; /* level, form */
static uint8_t host[SIZE + 64];

static size_t tensor_bytes(const sparamx_tensor *t) {
    const weight_type *type = weight_type_find(t->type);
    size_t row = type ? (size_t)(t->ne[0] / type->block * type->bytes) : t->type == 0 ? (size_t)t->ne[0] * 4 : t->nb[1];
    return row + (size_t)(t->ne[1] - 1) * t->nb[1] + (size_t)(t->ne[2] - 1) * t->nb[2] +
           (size_t)(t->ne[3] - 1) * t->nb[3];
}

static bool same_shape(const sparamx_tensor *a, const sparamx_tensor *b) {
    return a->type == b->type && memcmp(a->ne, b->ne, sizeof a->ne) == 0 && memcmp(a->nb, b->nb, sizeof a->nb) == 0;
}

/* A tensor somewhere in the buffer, now and then not quite. */
static sparamx_tensor name(input *in) {
    enum { STRANGE = 255, FLOATS = 240 };
    uint8_t kind = take(in);
    int page = take(in), n = 1 + below(in, 24), wide = below(in, 3), matrices = 1 + (take(in) % 8 == 0);
    static const weight_type floats = {0, 1, 4, NULL}, strange = {999, 1, 3, NULL};
    const weight_type *type = kind == STRANGE  ? &strange
                              : kind >= FLOATS ? &floats
                                               : weight_type_at(weight_type_of(kind));
    int64_t k = type->block == 1 ? 1 + wide * 40 + n % 3 : whole_blocks(type, 32 * (1 + wide * 2));
    if (type->block == 256) n = 1 + n % 18; /* within its place */
    sparamx_tensor t = fuzz_tensor(type, k, n, matrices, model.base + page % 8 * 4096, model.buffer);
    if (page >= 240) t.data = (uint8_t *)t.data + 64 * (page & 7);
    if (page == 239) t.nb[2] += 64; /* not contiguous: no weight */
    return t;
}

static slot *slot_at(size_t offset) {
    for (int i = 0; i < model.count; i++) {
        if (model.slots[i].offset == offset) return &model.slots[i];
    }
    return NULL;
}

static sparamx_status place(const sparamx_tensor *t, size_t *offset) {
    *offset = (size_t)((uint8_t *)t->data - model.base);
    return *offset + tensor_bytes(t) <= SIZE ? SPARAMX_OK : SPARAMX_ERR_RANGE;
}

static bool is_weight(const sparamx_tensor *t) {
    const weight_type *type = weight_type_find(t->type);
    if (type == NULL) return false;
    sparamx_tensor plain = fuzz_tensor(type, t->ne[0], t->ne[1], t->ne[2], NULL, NULL);
    return t->nb[0] == plain.nb[0] && t->nb[1] == plain.nb[1] && (t->ne[2] == 1 || t->nb[2] == plain.nb[2]);
}

static void set_arrived(slot *s, size_t offset, size_t size, const uint8_t *data, int value) {
    if (size == 0) return;
    uint8_t *to = model.content + s->offset + offset;
    if (data) memcpy(to, data, size);
    else memset(to, value, size);
    memset(model.arrived + s->offset + offset, 1, size);
    s->touched = true;
    if (s->weight && !s->packed) s->packed = memchr(model.arrived + s->offset, 0, s->bytes) == NULL;
}

static void forget(slot *s, const sparamx_tensor *t) {
    s->t = *t;
    s->weight = model.weights && is_weight(t);
    s->packed = s->touched = false;
    memset(model.content + s->offset, 0, s->bytes);
    memset(model.arrived + s->offset, 0, s->bytes);
    if (model.fill) set_arrived(s, 0, s->bytes, NULL, model.fill);
}

/* What announcing says; commit: and does. */
static sparamx_status announce(const sparamx_tensor *t, slot **out, bool commit) {
    size_t offset, bytes = tensor_bytes(t);
    *out = NULL;
    if (place(t, &offset)) return SPARAMX_ERR_RANGE;
    for (int i = 0; i < model.count; i++) {
        slot *s = &model.slots[i];
        if (offset + bytes <= s->offset || offset >= s->offset + s->bytes) continue;
        if (offset == s->offset && bytes == s->bytes && same_shape(t, &s->t)) {
            *out = s;
            if (commit) forget(s, t);
            return SPARAMX_OK;
        }
        return offset >= s->offset && offset + bytes <= s->offset + s->bytes ? SPARAMX_OK : SPARAMX_ERR_OVERLAP;
    }
    if (offset % 4096 != 0) return SPARAMX_ERR_ALIGNMENT;
    if (commit) {
        *out = &model.slots[model.count++];
        **out = (slot){.offset = offset, .bytes = bytes};
        forget(*out, t);
    }
    return SPARAMX_OK;
}

static sparamx_status find(const sparamx_tensor *t, slot **out) {
    size_t offset;
    *out = NULL;
    if (place(t, &offset)) return SPARAMX_ERR_RANGE;
    slot *s = offset % 4096 == 0 ? slot_at(offset) : NULL;
    if (s == NULL) return SPARAMX_ERR_FOREIGN;
    if (!same_shape(&s->t, t)) return SPARAMX_ERR_SHAPE;
    *out = s;
    return SPARAMX_OK;
}

/* The slot that is written to, announced now if need be. */
static sparamx_status target(const sparamx_tensor *t, slot **out) {
    sparamx_status status = find(t, out);
    if (status != SPARAMX_ERR_FOREIGN) return status;
    status = announce(t, out, true);
    return status == SPARAMX_OK && *out == NULL ? SPARAMX_ERR_FOREIGN : status;
}

/* After a call that ran out of memory the model has not moved, but a tensor may have been announced on the way. */
static bool starved(sparamx_status status, const sparamx_tensor *t) {
    bool failed = fuzz_failed();
    fuzz_fail_at(0);
    TRACE("  status %d%s", status, failed ? ", memory was refused" : "");
    if (status != SPARAMX_ERR_NO_MEMORY) return false;
    CLAIM(failed, "no memory, and none was refused");
    slot *s;
    sparamx_tensor_info info = {.size = sizeof info};
    if (t != NULL && find(t, &s) == SPARAMX_ERR_FOREIGN &&
        sparamx_buffer_tensor_info(model.buffer, t, &info) == SPARAMX_OK)
        announce(t, &s, true);
    return true;
}

#define EXPECT(status, wanted, what)                                                                                   \
    CLAIM((status) == (wanted), "%s says %d and should say %d", what, (int)(status), (int)(wanted))

static void write_part(input *in, const sparamx_tensor *t, bool memset_it) {
    size_t bytes = tensor_bytes(t);
    uint8_t how = take(in);
    size_t offset = how < 100 ? 0 : how < 250 ? take_bytes(in, 2) % (bytes + 1) : (size_t)take_number(in);
    size_t size = how < 60    ? bytes
                  : how < 230 ? take_bytes(in, 2) % (bytes + 1)
                  : how < 245 ? bytes - offset
                              : (size_t)take_number(in);
    uint8_t seed = take(in);
    if (size <= SIZE)
        for (size_t i = 0; i < size; i++)
            host[i] = i < 48 && seed & 1 ? take(in) : seed & 2 && i % 3 ? 0 : (uint8_t)(i * seed >> 3);
    sparamx_status status = memset_it ? sparamx_buffer_memset_tensor(model.buffer, t, seed, offset, size)
                                      : sparamx_buffer_set_tensor(model.buffer, t, host, offset, size);
    TRACE("  write %zu bytes from %zu, value %d: %d", size, offset, seed, status);
    if (starved(status, t)) return;
    slot *s;
    if (size > SIZE || offset > bytes || offset + size > bytes) {
        /* A region that would wrap or reach the buffer is refused as such. */
        CLAIM(status == SPARAMX_ERR_RANGE || (!memset_it && status == SPARAMX_ERR_OVERLAP),
              "%zu bytes from %zu of %zu: %d", size, offset, bytes, status);
        return;
    }
    sparamx_status wanted = target(t, &s);
    EXPECT(status, wanted, memset_it ? "memset_tensor" : "set_tensor");
    if (wanted == SPARAMX_OK) set_arrived(s, offset, size, memset_it ? NULL : host, seed);
}

static void read_part(input *in, const sparamx_tensor *t) {
    size_t bytes = tensor_bytes(t), offset = take_bytes(in, 2), size = take_bytes(in, 2);
    uint8_t how = take(in);
    if (how < 250) {
        offset %= bytes + 1;
        size = how < 100 ? bytes - offset : size % (bytes + 1);
    }
    uint8_t *out = fuzz_edge(0, size <= SIZE ? size : 0);
    bool inside = offset <= bytes && size <= bytes - offset;
    if (!inside && size > SIZE) return;
    sparamx_status status = sparamx_buffer_get_tensor(model.buffer, t, out, offset, size);
    if (starved(status, NULL)) return;
    slot *s;
    sparamx_status wanted = inside ? find(t, &s) : SPARAMX_ERR_RANGE;
    EXPECT(status, wanted, "get_tensor");
    if (wanted == SPARAMX_OK)
        CLAIM(memcmp(out, model.content + s->offset + offset, size) == 0, "type %d: %zu bytes from %zu", t->type, size,
              offset);
}

static void two_dimensions(input *in, const sparamx_tensor *t) {
    size_t bytes = tensor_bytes(t);
    size_t offset = take_bytes(in, 2) % (bytes + 2), size = take(in), copies = take(in) % 12, stride = take(in),
           host_stride = take(in);
    bool get = take(in) & 1;
    if (take(in) % 32 == 0) {
        size_t *fields[] = {&offset, &size, &copies, &stride, &host_stride};
        *fields[below(in, 5)] = (size_t)take_number(in);
    }
    unsigned __int128 span = copies == 0 ? 0 : (unsigned __int128)(copies - 1) * host_stride + size;
    unsigned __int128 reach = copies == 0 ? 0 : (unsigned __int128)(copies - 1) * stride + size + offset;
    uint64_t most = (uint64_t)1 << 62;
    bool small = size <= most && copies <= most && offset <= most && stride <= INT64_MAX && host_stride <= INT64_MAX;
    bool fits = small && span <= SIZE && reach <= bytes;
    bool apart = copies <= 1 || (get ? host_stride >= size : stride >= size);
    if (copies == 0 || size == 0) return;         /* nothing to see */
    if (!fits && small && span <= SIZE) span = 0; /* must be refused */
    else if (!fits && span > SIZE && small && reach <= bytes)
        return; /* would be accepted, with more memory than there is */
    for (size_t i = 0; i < SIZE && !get && fits; i += 7) host[i] = take(in);
    memset(host + SIZE, 0, 64);
    static uint8_t before[SIZE];
    if (get) memcpy(before, host, SIZE);
    sparamx_status status =
        get ? sparamx_buffer_get_tensor_2d(model.buffer, t, host, offset, size, copies, stride, host_stride)
            : sparamx_buffer_set_tensor_2d(model.buffer, t, host, offset, size, copies, stride, host_stride);
    if (starved(status, t)) return;
    if (!fits) {
        CLAIM(status != SPARAMX_OK, "2d: %zu x %zu", copies, size);
        return;
    }
    slot *s;
    sparamx_status wanted = !apart ? SPARAMX_ERR_STRIDE : get ? (size == 0 ? SPARAMX_OK : find(t, &s)) : target(t, &s);
    EXPECT(status, wanted, get ? "get_tensor_2d" : "set_tensor_2d");
    if (wanted != SPARAMX_OK || size == 0) return;
    for (size_t i = 0; i < copies; i++) {
        if (get) memcpy(before + i * host_stride, model.content + s->offset + offset + i * stride, size);
        else set_arrived(s, offset + i * stride, size, host + i * host_stride, 0);
    }
    if (get) CLAIM(memcmp(before, host, SIZE) == 0, "get_tensor_2d: %zu x %zu bytes from %zu", copies, size, offset);
}

static void copy(input *in, const sparamx_tensor *from, const sparamx_tensor *to) {
    sparamx_tensor source = *from;
    uint8_t how = take(in);
    if (how < 60 && tensor_bytes(to) <= SIZE) {
        source = *to;
        source.data = host;
        source.buffer = NULL;
        for (size_t i = 0; i < tensor_bytes(to); i++) host[i] = (uint8_t)(i * how);
    } else if (how < 200) {
        source = *to;
        source.data = from->data;
    }
    slot *s, *d;
    bool alike = source.type == to->type && memcmp(source.ne, to->ne, sizeof to->ne) == 0 &&
                 tensor_bytes(&source) == tensor_bytes(to);
    sparamx_status wanted = SPARAMX_OK, status = sparamx_buffer_copy_tensor(model.buffer, &source, to);
    if (starved(status, to)) return;
    if (!alike) wanted = SPARAMX_ERR_SHAPE;
    else if (source.data == to->data) {
        EXPECT(status, find(to, &d), "copy_tensor onto itself");
        return;
    } else if (source.buffer) wanted = find(&source, &s);
    else s = NULL;
    static uint8_t bytes[SIZE];
    if (wanted == SPARAMX_OK) {
        size_t count = tensor_bytes(to);
        if (source.buffer == NULL && count > SIZE) return;
        memcpy(bytes, s ? model.content + s->offset : host, count);
        /* Pieces are checked before the slot is looked for. */
        wanted = target(to, &d);
        if (wanted == SPARAMX_OK) set_arrived(d, 0, count, bytes, 0);
    }
    EXPECT(status, wanted, "copy_tensor");
}

static void whole_buffer(input *in) {
    uint8_t what = take(in) % 8, value = take(in);
    TRACE("  whole buffer %d value %d", what, value);
    if (what < 3) {
        sparamx_status status = sparamx_buffer_clear(model.buffer, value);
        if (starved(status, NULL)) return;
        EXPECT(status, SPARAMX_OK, "clear");
        model.fill = value;
        for (int i = 0; i < model.count; i++) {
            set_arrived(&model.slots[i], 0, model.slots[i].bytes, NULL, value);
            if (value == 0) model.slots[i].touched = false; /* fresh pages hold zero without memory */
        }
    } else if (what < 5) {
        fuzz_fail_at(0);
        EXPECT(sparamx_buffer_reset(model.buffer), SPARAMX_OK, "reset");
        model.count = 0;
        model.fill = 0;
    } else {
        fuzz_fail_at(0);
        int64_t usage = what == 5 ? take_number(in) : value & 1;
        bool known = (int32_t)usage == SPARAMX_USAGE_WEIGHTS || (int32_t)usage == SPARAMX_USAGE_ANY;
        EXPECT(sparamx_buffer_set_usage(model.buffer, (int32_t)usage), known ? SPARAMX_OK : SPARAMX_ERR_RANGE,
               "set_usage");
        if (known) model.weights = (int32_t)usage == SPARAMX_USAGE_WEIGHTS;
    }
}

/* Every tensor reads as the model has it, has the form it should have, and takes the memory it says. */
static void check_all(int level) {
    static uint8_t out[SIZE];
    size_t resident = 0;
    for (int i = 0; i < model.count; i++) {
        const slot *s = &model.slots[i];
        EXPECT(sparamx_buffer_get_tensor(model.buffer, &s->t, out, 0, s->bytes), SPARAMX_OK, "get_tensor of all");
        CLAIM(memcmp(out, model.content + s->offset, s->bytes) == 0, "type %d at %zu, level %d", s->t.type, s->offset,
              level);
        if (s->packed) EXPECT(sparamx_buffer_verify_tensor(model.buffer, &s->t), SPARAMX_OK, "verify_tensor");
        else
            EXPECT(sparamx_buffer_verify_tensor(model.buffer, &s->t),
                   s->weight ? SPARAMX_ERR_INCOMPLETE : SPARAMX_ERR_STATE, "verify_tensor");
        resident += s->packed ? 0 : s->touched ? s->bytes : 0;
    }
    if (model.count == 0) CLAIM(sparamx_buffer_resident(model.buffer) == 0, "resident of nothing");
    CLAIM(sparamx_buffer_resident(model.buffer) >= resident, "resident: less than what is raw");
}

static void step(input *in, sparamx_tensor names[NAMES]) {
    uint8_t what = take(in), which = take(in);
    sparamx_tensor *t = &names[which % NAMES];
    if (which >= 128) *t = name(in);
    int fail = take(in) % 16 == 0 ? 1 + below(in, 12) : 0;
    fuzz_fail_at(fail);
    TRACE("step %d fail %d: type %d ne %lld %lld %lld at %ld", what % 10, fail, t->type, (long long)t->ne[0],
          (long long)t->ne[1], (long long)t->ne[2], (long)((uint8_t *)t->data - model.base));
    switch (what % 10) {
    case 0: {
        slot *s;
        sparamx_status status = sparamx_buffer_init_tensor(model.buffer, t);
        if (!starved(status, t)) EXPECT(status, announce(t, &s, true), "init_tensor");
        break;
    }
    case 1:
    case 2:
    case 3: write_part(in, t, false); break;
    case 4: write_part(in, t, true); break;
    case 5:
    case 6: read_part(in, t); break;
    case 7: two_dimensions(in, t); break;
    case 8: copy(in, &names[which / NAMES % NAMES], t); break;
    default: whole_buffer(in);
    }
    fuzz_fail_at(0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, data + size};
    uint8_t first = take(&in);
    int level = fuzz_highest() >= LEVEL_AVX512 && first != 7 ? LEVEL_AVX512 : LEVEL_REFERENCE;
    int form = first % 3 + (first % 8 > 4 ? SPARAMX_FORM_CODED : 0);
    fuzz_level(level);
    sparamx_buffer **place = &buffers[level][form];
    if (*place == NULL) {
        sparamx_buffer_options o = {.size = sizeof o, .form = form, .pack_threads = 1};
        CLAIM(sparamx_buffer_create(SIZE, &o, place) == SPARAMX_OK, "a buffer");
    }
    model.buffer = *place;
    model.base = sparamx_buffer_base(*place);
    model.count = 0;
    model.fill = 0;
    model.weights = true;
    sparamx_buffer_set_usage(*place, SPARAMX_USAGE_WEIGHTS);
    int64_t held = fuzz_held();
    sparamx_tensor names[NAMES];
    for (int i = 0; i < NAMES; i++) names[i] = name(&in);
    for (int i = 0; i < 16 && in.at < in.end; i++) step(&in, names);
    check_all(level);
    CLAIM(sparamx_buffer_reset(*place) == SPARAMX_OK && sparamx_buffer_resident(*place) == 0, "reset");
    CLAIM(fuzz_held() == held, "%lld bytes are left mapped", (long long)(fuzz_held() - held));
    return 0;
}
