/*
 * fuzz_packed.c - damage to packed memory. A small weight of any type and form, packed at every level; bytes of its
 * packed form are changed; then either sparamx_linear_verify refuses it, at every level alike, or every level reads it
 * back and multiplies with it: inside its memory, and with the same results. What has been mended is accepted again.
 */
#include "world.h"

#include <stdlib.h>

enum { SHAPES = 4, FORMS = 4, HURTS = 6, MOST_BYTES = 1 << 15 };

typedef struct copy {
    sparamx_linear *linear;
    uint8_t *packed; /* where its packed form is */
} copy;

typedef struct subject {
    const weight_type *type;
    int32_t form;
    int64_t n, k;
    size_t bytes, row;
    uint8_t *clean; /* the packed form as it was made */
    copy at[LEVEL_AMX + 1];
} subject;

static const int32_t forms[FORMS] = {SPARAMX_FORM_DENSE, SPARAMX_FORM_SPARSE, SPARAMX_FORM_CODED,
                                     SPARAMX_FORM_CODED_SPARSE};

static subject *make(int type_index, int form, int shape) {
    static subject subjects[MOST_WEIGHT_TYPES][FORMS][SHAPES];
    subject *s = &subjects[type_index][form][shape];
    if (s->type) return s;
    static const int64_t rows[SHAPES] = {3, 16, 17, 33}, wide[SHAPES] = {32, 290, 41, 256},
                         blocks[SHAPES] = {1, 5, 3, 9};
    const weight_type *type = weight_type_at(type_index);
    s->type = type;
    s->form = form_made(type, forms[form]);
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
    for (int level = 0; level <= fuzz_highest(); level++) {
        sparamx_linear_options o = {.size = sizeof o, .form = s->form, .pack_threads = 1};
        fuzz_level(level);
        CLAIM(sparamx_linear_create(type->number, s->n, s->k, data, 0, &o, &s->at[level].linear) == SPARAMX_OK,
              "type %d", type->number);
        s->at[level].packed = fuzz_packed(s->at[level].linear, &s->bytes);
        CLAIM(s->bytes <= MOST_BYTES, "%zu bytes", s->bytes);
        if (level == 0) s->clean = memcpy(malloc(s->bytes), s->at[0].packed, s->bytes);
        CLAIM(memcmp(s->clean, s->at[level].packed, s->bytes) == 0, "type %d form %d: level %d packs other bytes",
              type->number, s->form, level);
    }
    free(data);
    return s;
}

/* One change to the packed bytes: anywhere, or near the end, where the offsets are. */
static void hurt(input *in, uint8_t *p, size_t bytes) {
    uint8_t what = take(in);
    size_t at = (size_t)take_bytes(in, 2) % bytes;
    if (what & 0x80) at = bytes - 1 - at % (bytes < 256 ? bytes : 256);
    uint8_t value = take(in);
    size_t word = at / 8 * 8 + 8 <= bytes ? at / 8 * 8 : 0, other = (size_t)take_bytes(in, 2) % bytes;
    uint64_t w;
    memcpy(&w, p + word, 8);
    switch (what & 7) {
    case 0:
    case 1: p[at] ^= (uint8_t)(1 << (value & 7)); break;
    case 2: p[at] = value; break;
    case 3: w = w << (value & 63) | w >> ((64 - value) & 63); break; /* as many bits as before */
    case 4: w += (uint64_t)(int64_t)(int8_t)value; break;
    case 5: w ^= (uint64_t)value << (other % 57); break;
    case 6: w = (uint64_t)take_number(in); break;
    default: {
        uint8_t kept = p[at];
        p[at] = p[other];
        p[other] = kept;
    }
    }
    if ((what & 7) >= 3 && (what & 7) <= 6) memcpy(p + word, &w, 8);
}

/* Damage that must be found, from FORMAT.md alone: offsets, and how many codes a chunk has. */
static bool must_be_found(const subject *s, const uint8_t *now) {
    if (s->form == SPARAMX_FORM_DENSE) return false;
    size_t panels = (size_t)(s->n + 15) / 16, chunks = (size_t)(s->k + 255) / 256,
           end = s->bytes - 8 * (panels * chunks + 1);
    if (memcmp(now + end, s->clean + end, s->bytes - end) != 0) return true;
    if (s->type->block != 1 || s->form != SPARAMX_FORM_SPARSE) return false;
    /* BF16 and F16 have no side stream: the bitmap ends where the offsets begin. */
    size_t tiles = (size_t)(s->k + 31) / 32, tile = 0, begin = end - 64 * panels * tiles;
    for (size_t panel = 0; panel < panels; panel++)
        for (size_t first = 0; first < tiles; first += 8) {
            int before = 0, after = 0;
            for (size_t t = first; t < tiles && t < first + 8; t++, tile++)
                for (size_t i = 0; i < 64; i++) {
                    before += __builtin_popcount(s->clean[begin + tile * 64 + i]);
                    after += __builtin_popcount(now[begin + tile * 64 + i]);
                }
            if (before != after) return true;
        }
    return false;
}

static void multiply(const subject *s, int level, int64_t m, float *y) {
    region area = host_region(HOST_WORK), x = host_region(HOST_X);
    size_t need = 0;
    fuzz_level(level);
    CLAIM(sparamx_linear_work_size(s->at[level].linear, m, 1, &need) == SPARAMX_OK && need <= area.bytes, "%zu", need);
    sparamx_params p = {.size = sizeof p, .nth = 1, .work = area.base + (area.bytes - need), .work_size = need};
    sparamx_status status =
        sparamx_linear_compute(s->at[level].linear, &p, m, (const float *)(x.base + x.bytes) - m * s->k, s->k, y, s->n);
    CLAIM(status == SPARAMX_OK, "level %d m %lld: %d", level, (long long)m, status);
}

static void use(input *in, const subject *s, uint8_t how) {
    static const uint8_t counts[] = {1, 2, 3, 4, 5, 1, 7, 17, 1, 2, 33, 4, 1, 5, 8, 34};
    static uint8_t rows[2][1 << 15];
    int last = fuzz_highest();
    if (last == LEVEL_AMX && take(in) != 99) last = LEVEL_AVX512;
    for (int level = 0; level <= last; level++) {
        uint8_t *out = fuzz_edge(0, s->row * (size_t)s->n);
        fuzz_level(level);
        CLAIM(sparamx_linear_read(s->at[level].linear, 0, s->n, out) == SPARAMX_OK, "level %d", level);
        memcpy(rows[level > 0], out, s->row * (size_t)s->n);
        CLAIM(level == 0 || memcmp(rows[0], rows[1], s->row * (size_t)s->n) == 0,
              "type %d form %d: level %d reads other bytes back", s->type->number, s->form, level);
    }
    if (how % 8 != 0 && how % 8 != 1) return;
    int64_t m = counts[take(in) % COUNT(counts)];
    if (m > 8 && how % 8 != 0) m = 1;
    float *want = fuzz_edge(1, (size_t)(m * s->n) * 4), *got = fuzz_edge(2, (size_t)(m * s->n) * 4);
    multiply(s, 0, m, want);
    for (int level = 1; level <= last; level++) {
        multiply(s, level, m, got);
        if (!planned(level, s->type->number, s->form, m)->exact) continue;
        int64_t i = first_difference(want, got, m * s->n);
        CLAIM(i < 0, "type %d form %d m %lld: result %lld is %g by the reference and %g at level %d", s->type->number,
              s->form, (long long)m, (long long)i, (double)want[i], (double)got[i], level);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t now[MOST_BYTES];
    input in = {data, data + size};
    int type = weight_type_of(take(&in)), rest = take(&in);
    const subject *s = make(type, rest % 2 + rest / (2 * SHAPES) % 2 * 2, rest / 2 % SHAPES);
    uint8_t how = take(&in);
    int hurts = below(&in, HURTS);
    memcpy(now, s->clean, s->bytes);
    for (int i = 0; i < hurts; i++) hurt(&in, now, s->bytes);
    bool changed = memcmp(now, s->clean, s->bytes) != 0;
    int last = fuzz_highest() < LEVEL_AVX512 ? fuzz_highest() : LEVEL_AVX512;
    sparamx_status status = SPARAMX_OK;
    for (int level = 0; level <= fuzz_highest() && changed; level++) memcpy(s->at[level].packed, now, s->bytes);
    for (int level = 0; level <= last; level++) {
        fuzz_level(level);
        sparamx_status found = sparamx_linear_verify(s->at[level].linear);
        CLAIM(found == SPARAMX_OK || found == SPARAMX_ERR_DAMAGED, "verify: %d", found);
        CLAIM(level == 0 || found == status, "verify: %d, and %d at level %d", status, found, level);
        status = found;
    }
    TRACE("type %d form %d n %lld k %lld, %d hurts, changed %d: %d", s->type->number, s->form, (long long)s->n,
          (long long)s->k, hurts, changed, status);
    CLAIM(changed || status == SPARAMX_OK, "type %d form %d: refused as it was packed", s->type->number, s->form);
    if (changed && must_be_found(s, now))
        CLAIM(status == SPARAMX_ERR_DAMAGED, "type %d form %d: not found", s->type->number, s->form);
    if (status == SPARAMX_OK && how < 64) use(&in, s, how);
    for (int level = 0; level <= fuzz_highest() && changed; level++) {
        CLAIM(memcmp(s->at[level].packed, now, s->bytes) == 0, "the packed form was written to");
        memcpy(s->at[level].packed, s->clean, s->bytes);
    }
    return 0;
}
