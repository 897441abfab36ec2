/*
 * fuzz_kv.c - key-value caches: any options, and cells that are written, touched, removed, copied, packed, saved and
 * loaded in any order, with memory that runs out, and damage to packed memory. The same at every level. Each status is
 * foretold; which cells are there is that of a plain model; levels read the same numbers back and attend to the same
 * bits, inside their memory.
 */
#include "world.h"

#include <stdlib.h>

enum { MOST_CELLS = 200, MOST_TAPE = 1 << 20, MOST_LEVELS = 2, T_MOST = 3 };

static const int32_t types[] = {SPARAMX_TYPE_F16, SPARAMX_TYPE_BF16, SPARAMX_TYPE_F32, SPARAMX_TYPE_Q8_0};

/* One level's cache. */
typedef struct copy {
    sparamx_kv *kv;
    uint8_t *packed;
    size_t packed_bytes;
} copy;

typedef struct scene {
    sparamx_kv_options o;
    copy at[MOST_LEVELS];
    int levels;
    bool there[MOST_CELLS];
    uint8_t *k, *v; /* rows, the host's or what is written from */
    size_t k_row, v_row;
} scene;

static size_t row_bytes(int32_t type, int64_t count) {
    return (size_t)(type == SPARAMX_TYPE_Q8_0 ? count / 32 * 34 : type == SPARAMX_TYPE_F32 ? count * 4 : count * 2);
}

/* Mostly numbers of a usual size, some of any bits. */
static void fill_rows(int32_t type, int64_t count, uint32_t state, bool strange, uint8_t *out) {
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525 + 1013904223;
        uint32_t r = state >> 8;
        bool any = strange && r % 61 == 0;
        if (type == SPARAMX_TYPE_F32) {
            float x = (float)(int)(r % 2001 - 1000) / 500;
            uint32_t bits = state;
            memcpy(out + 4 * i, any ? (void *)&bits : (void *)&x, 4);
        } else if (type == SPARAMX_TYPE_Q8_0) {
            uint8_t *block = out + i / 32 * 34;
            uint16_t scale = (uint16_t)(any ? r : 0x2000 | (r & 0x3ff));
            if (i % 32 == 0) memcpy(block, &scale, 2);
            block[2 + i % 32] = (uint8_t)r;
        } else {
            uint32_t usual = type == SPARAMX_TYPE_F16 ? 0x3800 | (r & 0x83ff) : 0x3f00 | (r & 0x80ff);
            uint16_t bits = (uint16_t)(any ? r : usual);
            memcpy(out + 2 * i, &bits, 2);
        }
    }
}

/* What create must say; SPARAMX_OK if it may be asked for memory. */
static sparamx_status foretell(const sparamx_kv_options *o) {
    int32_t all[] = {o->type_k, o->type_v}, dims[] = {o->k_dim, o->v_dim};
    float zeros[] = {o->k_zeros, o->v_zeros};
    for (int i = 0; i < 2; i++) {
        if (!(zeros[i] >= 0 && zeros[i] <= 0.95f)) return SPARAMX_ERR_RANGE;
        if (dims[i] < 16 || dims[i] > 512 || dims[i] % 16 != 0) return SPARAMX_ERR_SHAPE;
        bool known = false;
        for (int t = 0; t < COUNT(types); t++) known |= all[i] == types[t];
        if (all[i] == SPARAMX_TYPE_Q8_0 && dims[i] % 32 != 0) return SPARAMX_ERR_SHAPE;
        if (!known) return SPARAMX_ERR_TYPE;
    }
    if (o->reserved != 0 || o->values < 0 || o->values > 1) return SPARAMX_ERR_RANGE;
    if (o->values == 1)
        for (int i = 0; i < 2; i++)
            if (all[i] != SPARAMX_TYPE_F16 && all[i] != SPARAMX_TYPE_BF16) return SPARAMX_ERR_TYPE;
    if (o->heads < 1 || o->heads > 1024 || o->cells < 1 || o->cells > INT32_MAX || o->window < -1 || o->sinks < -1)
        return SPARAMX_ERR_RANGE;
    return SPARAMX_OK;
}

/* Options that no sane host passes. */
static void strange_options(input *in) {
    sparamx_kv_options o = {.size = sizeof o, .type_k = 1, .type_v = 1, .heads = 1, .k_dim = 64, .v_dim = 64,
                            .cells = 64};
    int32_t *fields[] = {&o.type_k, &o.type_v, &o.values, &o.heads,   &o.k_dim,
                         &o.v_dim,  &o.window, &o.sinks,  &o.reserved};
    for (int i = 1 + below(in, 3); i > 0; i--) {
        int field = below(in, COUNT(fields) + 3);
        int64_t number = take_number(in);
        uint32_t bits = (uint32_t)number;
        if (field < COUNT(fields)) *fields[field] = (int32_t)number;
        else if (field == COUNT(fields)) o.cells = number;
        else memcpy(field == COUNT(fields) + 1 ? &o.k_zeros : &o.v_zeros, &bits, 4);
    }
    sparamx_kv *made = NULL;
    fuzz_level(0);
    sparamx_status status = sparamx_kv_create(&o, &made), wanted = foretell(&o);
    bool full = wanted == SPARAMX_OK && status == SPARAMX_ERR_NO_MEMORY;
    CLAIM(status == wanted || full, "%d and not %d", status, wanted);
    CLAIM((status == SPARAMX_OK) == (made != NULL), "%d", status);
    sparamx_kv_destroy(made);
}

static bool create(input *in, scene *s) {
    static const int32_t dims[] = {16, 32, 64, 80, 96, 128};
    static const float shares[] = {0, 0, 0.3f, 0.5f, 0.9f};
    uint8_t kind = take(in), how = take(in), size = take(in), share = take(in);
    sparamx_kv_options *o = &s->o;
    *o = (sparamx_kv_options){.size = sizeof *o, .type_k = types[kind % 4], .type_v = types[kind / 4 % 4],
                              .heads = 1 + kind / 16 % 2, .k_dim = dims[size % 6], .v_dim = dims[size / 6 % 6],
                              .cells = how & 1 ? 128 : 1 + take(in) % MOST_CELLS, .k_zeros = shares[share % 5],
                              .v_zeros = shares[share / 5 % 5], .window = how & 2 ? -1 : how / 16,
                              .sinks = how & 4 ? -1 : 0};
    if (o->type_k == SPARAMX_TYPE_Q8_0) o->k_dim = (o->k_dim + 31) / 32 * 32;
    if (o->type_v == SPARAMX_TYPE_Q8_0) o->v_dim = (o->v_dim + 31) / 32 * 32;
    if (kind & 64 && kind % 4 < 2 && kind / 4 % 4 < 2) o->values = SPARAMX_KV_KEPT;
    s->k_row = row_bytes(o->type_k, o->heads * o->k_dim), s->v_row = row_bytes(o->type_v, o->heads * o->v_dim);
    s->k = malloc(s->k_row * (size_t)o->cells), s->v = malloc(s->v_row * (size_t)o->cells);
    fill_rows(o->type_k, o->cells * o->heads * o->k_dim, share, how & 128, s->k);
    fill_rows(o->type_v, o->cells * o->heads * o->v_dim, share + 1u, how & 128, s->v);
    if (how & 8) o->k_rows = s->k, o->v_rows = s->v;
    s->levels = fuzz_highest() > 0 ? 2 : 1;
    for (int level = 0; level < s->levels; level++) {
        fuzz_level(level);
        fuzz_fail_at(kind & 128 ? 1 + size % 6 : 0);
        sparamx_status status = sparamx_kv_create(o, &s->at[level].kv);
        bool failed = fuzz_failed();
        fuzz_fail_at(0);
        CLAIM(status == (failed ? SPARAMX_ERR_NO_MEMORY : SPARAMX_OK), "create: %d", status);
        if (failed) return false;
        s->at[level].packed = fuzz_last_mapping(&s->at[level].packed_bytes);
    }
    return true;
}

static void destroy(scene *s) {
    for (int level = 0; level < s->levels; level++) sparamx_kv_destroy(s->at[level].kv);
    free(s->k);
    free(s->v);
}

/* ------------------------------------------------------------------------------------------------- what is seen -- */

static void compare(input *in, scene *s) {
    const sparamx_kv_options *o = &s->o;
    int64_t first = take(in) % o->cells, n = take(in) % (o->cells - first + 1);
    bool whole = true;
    for (int64_t i = first; i < first + n; i++) whole &= s->there[i];
    size_t bytes = (size_t)n * (size_t)(o->heads * (o->k_dim > o->v_dim ? o->k_dim : o->v_dim)) * 4;
    if (bytes > 65536) return;
    size_t k_bytes = (size_t)(n * o->heads * o->k_dim) * 4, v_bytes = (size_t)(n * o->heads * o->v_dim) * 4;
    float *k[2] = {fuzz_edge(0, k_bytes), fuzz_edge(1, k_bytes)};
    float *v[2] = {fuzz_edge(2, v_bytes), fuzz_edge(3, v_bytes)};
    for (int level = 0; level < s->levels; level++) {
        fuzz_level(level);
        sparamx_status status = sparamx_kv_read(s->at[level].kv, first, n, k[level], v[level]);
        CLAIM(status == (whole ? SPARAMX_OK : SPARAMX_ERR_INCOMPLETE), "read: %d", status);
    }
    if (!whole || s->levels < 2) return;
    CLAIM(first_difference(k[0], k[1], n * o->heads * o->k_dim) < 0, "levels read other keys");
    CLAIM(first_difference(v[0], v[1], n * o->heads * o->v_dim) < 0, "levels read other values");
}

static void attend(input *in, scene *s) {
    const sparamx_kv_options *o = &s->o;
    static uint16_t mask[T_MOST * (MOST_CELLS + 1)];
    uint8_t shape = take(in), how = take(in), seed = take(in);
    int64_t tokens = 1 + shape % T_MOST, heads = o->heads * (1 + shape / 3 % 5), cells = 1 + take(in) % o->cells;
    int64_t wide = cells + (how & 1);
    float *q = fuzz_edge(0, (size_t)(o->k_dim * tokens * heads) * 4);
    float sinks[10], *dst[2];
    fill_rows(SPARAMX_TYPE_F32, o->k_dim * tokens * heads, seed, how & 2, (uint8_t *)q);
    fill_rows(SPARAMX_TYPE_F32, 10, seed + 5u, how & 4, (uint8_t *)sinks);
    for (int64_t i = 0; i < wide * tokens; i++) {
        uint8_t r = (uint8_t)((uint64_t)i * (2u * seed + 1) >> 3);
        mask[i] = r % 3 == 0 ? 0xfc00 : r % 5 == 0 ? (uint16_t)(0xb000 | r) : 0;
    }
    sparamx_tensor queries = fuzz_floats(o->k_dim, tokens, heads, 1, q), sink = fuzz_floats(heads, 1, 1, 1, sinks);
    sparamx_tensor seen = {.size = sizeof seen, .type = SPARAMX_TYPE_F16, .ne = {wide, tokens, 1, 1}, .data = mask};
    seen.nb[0] = 2, seen.nb[1] = (uint64_t)wide * 2, seen.nb[2] = seen.nb[3] = seen.nb[1] * (uint64_t)tokens;
    size_t count = (size_t)(o->v_dim * heads * tokens);
    for (int level = 0; level < s->levels; level++) {
        dst[level] = fuzz_edge(1 + level, count * 4);
        sparamx_tensor to = fuzz_floats(o->v_dim, heads, tokens, 1, dst[level]);
        const sparamx_kv *caches[] = {s->at[level].kv};
        sparamx_attention a = {.size = sizeof a, .streams = 1, .dst = &to, .q = &queries, .kv = caches, .cells = cells,
                               .scale = 0.125f, .max_bias = how & 8 ? 4 : 0, .softcap = how & 16 ? 10 : 0};
        if (how & 32) a.mask = &seen;
        if (how & 64) a.sinks = &sink;
        size_t need = 0;
        region area = host_region(HOST_WORK);
        fuzz_level(level);
        CLAIM(sparamx_attention_work_size(&a, 1, &need) == SPARAMX_OK, "work_size");
        if (need > area.bytes) return;
        sparamx_params p = {.size = sizeof p, .nth = 1, .work = area.base + (area.bytes - need), .work_size = need};
        sparamx_status status = sparamx_attention_compute(&p, &a);
        CLAIM(status == SPARAMX_OK, "attention: %d", status);
    }
    if (s->levels < 2) return;
    int64_t at = first_difference(dst[0], dst[1], (int64_t)count);
    CLAIM(at < 0, "result %lld is %g by the reference and %g", (long long)at, (double)dst[0][at], (double)dst[1][at]);
}

/* ----------------------------------------------------------------------------------------- saved and loaded -- */

static uint8_t tape[MOST_TAPE];
static size_t tape_size, tape_at;

static bool put(const void *data, size_t size, void *user) {
    (void)user;
    if (size > sizeof tape - tape_size) return false;
    memcpy(tape + tape_size, data, size);
    tape_size += size;
    return true;
}

static bool get(void *data, size_t size, void *user) {
    (void)user;
    if (size > tape_size - tape_at) return false;
    memcpy(data, tape + tape_at, size);
    tape_at += size;
    return true;
}

/* The same on every level; a damaged tape is refused, or one whose header is forged. */
static void save_and_load(input *in, scene *s) {
    uint8_t how = take(in);
    size_t where = (size_t)take_bytes(in, 2), fail = take(in) % 8;
    for (int level = 0; level < s->levels; level++) {
        fuzz_level(level);
        tape_size = tape_at = 0;
        sparamx_status status = sparamx_kv_save(s->at[level].kv, put, NULL);
        CLAIM(status == SPARAMX_OK || tape_size > MOST_TAPE - 65536, "save: %d", status);
        if (status != SPARAMX_OK) return;
        if (how & 1) tape[where % tape_size] ^= (uint8_t)(1 << (how >> 5));
        if (how & 2) tape_size = where % tape_size;
        sparamx_kv *loaded = NULL;
        fuzz_fail_at(how & 4 ? (int)fail : 0);
        status = sparamx_kv_load(get, NULL, &loaded);
        bool failed = fuzz_failed();
        fuzz_fail_at(0);
        CLAIM((status == SPARAMX_OK) == (loaded != NULL), "load: %d", status);
        if (how & 3) CLAIM(status != SPARAMX_OK, "a damaged tape was loaded");
        else CLAIM(status == (failed ? SPARAMX_ERR_NO_MEMORY : SPARAMX_OK), "load: %d", status);
        if (loaded) CLAIM(sparamx_kv_verify(loaded) == SPARAMX_OK, "what was loaded is damaged");
        /* Rows of the host's are not those of what was loaded. */
        if (loaded && !s->o.k_rows) {
            sparamx_kv_destroy(s->at[level].kv);
            s->at[level].kv = loaded;
            s->at[level].packed = NULL;
        } else {
            sparamx_kv_destroy(loaded);
        }
    }
}

/* Some bits of packed memory change. Whatever verify accepts is used; what it refuses is mended. */
static void damage(input *in, scene *s) {
    uint8_t count = take(in) % 4, value = take(in);
    size_t at = (size_t)take_bytes(in, 3), bytes = s->at[0].packed_bytes;
    static uint8_t clean[1 << 20];
    sparamx_status first = SPARAMX_OK;
    if (bytes > sizeof clean) return;
    for (int level = 0; level < s->levels; level++)
        if (!s->at[level].packed) return;
    memcpy(clean, s->at[0].packed, bytes);
    for (int level = 0; level < s->levels; level++) {
        for (int i = 0; i <= count; i++)
            s->at[level].packed[(at + (size_t)i * 977u) % bytes] ^= (uint8_t)(1 << value % 8);
        fuzz_level(level);
        sparamx_status status = sparamx_kv_verify(s->at[level].kv);
        CLAIM(status == SPARAMX_OK || status == SPARAMX_ERR_DAMAGED, "verify: %d", status);
        if (level == 0) first = status;
        CLAIM(status == first, "level %d says %d and the reference %d", level, status, first);
    }
    if (first == SPARAMX_OK) {
        compare(in, s);
        attend(in, s);
    }
    for (int level = 0; level < s->levels; level++) memcpy(s->at[level].packed, clean, bytes);
}

/* --------------------------------------------------------------------------------------- what changes cells -- */

static void change(input *in, scene *s) {
    const sparamx_kv_options *o = &s->o;
    uint8_t what = take(in) % 10;
    int64_t first = take(in) % o->cells, n = take(in) % (o->cells - first + 1);
    bool attached = o->k_rows != NULL;
    TRACE("op %d, cells %d+%d", what, (int)first, (int)n);
    if (what == 6) return attend(in, s);
    if (what == 7) return compare(in, s);
    if (what == 8) return save_and_load(in, s);
    if (what == 9) return damage(in, s);
    int64_t from = take(in) % (o->cells - n + 1), newest = (int64_t)(take(in) % (o->cells + 1)) - 1, list[MOST_CELLS];
    uint8_t *k = s->k + (size_t)first * s->k_row, *v = s->v + (size_t)first * s->v_row;
    if (what <= 1) fill_rows(o->type_k, o->heads * o->k_dim, (uint32_t)newest, false, k);
    for (int64_t i = 0; i < n; i++) list[i] = first + i;
    if (what == 1 && n > 2) list[0] = list[n - 1]; /* twice */
    for (int level = 0; level < s->levels; level++) {
        sparamx_kv *kv = s->at[level].kv;
        sparamx_status status, wanted = SPARAMX_OK;
        fuzz_level(level);
        if (what <= 1 && !attached) {
            status = sparamx_kv_write(kv, list, n, k, 0, v, 0);
        } else if (what <= 1) {
            status = sparamx_kv_touch(kv, first, n);
        } else if (what == 2) {
            status = sparamx_kv_remove(kv, first, n);
        } else if (what == 3) {
            status = sparamx_kv_copy(kv, first, kv, from, n);
            if (attached) wanted = SPARAMX_ERR_STATE;
        } else if (what == 4) {
            sparamx_tensor q = fuzz_floats(o->k_dim, 1, o->heads, 1, fuzz_edge(0, (size_t)(o->k_dim * o->heads) * 4));
            fill_rows(SPARAMX_TYPE_F32, o->k_dim * o->heads, (uint32_t)first, n & 1, q.data);
            status = sparamx_kv_observe(kv, &q);
        } else {
            sparamx_params p = {.size = sizeof p, .nth = 1};
            status = sparamx_kv_pack(kv, &p, newest);
        }
        CLAIM(status == wanted, "op %d: %d", what, status);
        CLAIM(sparamx_kv_verify(kv) == SPARAMX_OK, "op %d: verify", what);
    }
    bool before[MOST_CELLS];
    memcpy(before, s->there, sizeof before);
    for (int64_t i = 0; i < n; i++) {
        if (what == 0) s->there[first + i] = true;
        if (what == 1) s->there[attached ? first + i : list[i]] = true;
        if (what == 2) s->there[first + i] = false;
        if (what == 3 && !attached) s->there[first + i] = before[from + i];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, data + size};
    int64_t held = fuzz_held();
    if (take(&in) % 16 == 0) {
        strange_options(&in);
    } else {
        scene s = {0};
        if (create(&in, &s)) {
            /* Most inputs begin with cells that are there. */
            for (int i = 0; i < 40 && in.at < in.end; i++) change(&in, &s);
        }
        destroy(&s);
    }
    CLAIM(fuzz_held() == held, "%lld blocks are left", (long long)(fuzz_held() - held));
    return 0;
}
