/*
 * coded_test - the coded forms of BF16: every pattern of bits comes back; results are those of the forms without codes,
 * bit for bit, at every number of tokens and threads; they are chosen where they save a sixteenth; and a file with one
 * is not read as one of the version before.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Exponents of 2 bits' spread, all exponents, any bits, numbers that are no ordinary ones, and one number. */
enum { TRAINED, WIDE, ANY, SPECIAL, CONSTANT, KINDS };
static const char *const kinds[] = {"trained", "wide", "any bits", "special", "constant"};

static uint16_t code(int kind, uint64_t *state) {
    static const uint16_t special[] = {0x8000, 0x0001, 0x807f, 0x0080, 0x7f80, 0xff80, 0x7fc1, 0xff81, 0x7f7f, 0x3f80};
    const uint64_t r = random_next(state);
    const uint16_t rest = (uint16_t)(r & 0x807f);
    switch (kind) {
    case TRAINED: { /* one exponent in four is one less than the other three; one in 2,048 is far away */
        int low = 0;
        while (low < 11 && (r >> (16 + 2 * low) & 3) == 0) low++;
        return (uint16_t)(rest | (((r >> 40 & 2047) == 0 ? 100 + (int)(r >> 52 & 7) : 122 - low) << 7));
    }
    case WIDE: return (uint16_t)(rest | ((60 + (r >> 16) % 100) << 7));
    case ANY: return (uint16_t)(r >> 16);
    case SPECIAL: return special[(r >> 16) % COUNT(special)];
    default: return 0xbf9d;
    }
}

static void fill(int kind, double zeros, int64_t count, uint64_t seed, uint16_t *out) {
    for (int64_t i = 0; i < count; i++) {
        const bool zero = (double)(random_next(&seed) >> 11) * 0x1p-53 < zeros;
        out[i] = zero ? 0 : code(kind, &seed);
    }
}

static sparamx_linear *make(int32_t form, int64_t n, int64_t k, const uint16_t *w) {
    sparamx_linear_options o = {.size = sizeof o, .form = form, .pack_threads = 2};
    sparamx_linear *linear = NULL;
    CHECK(sparamx_linear_create(SPARAMX_TYPE_BF16, n, k, w, 0, &o, &linear) == SPARAMX_OK, "form %d", form);
    return linear;
}

static sparamx_tensor_info info_of(const sparamx_linear *linear) {
    sparamx_tensor_info info = {.size = sizeof info};
    CHECK(sparamx_linear_info(linear, &info) == SPARAMX_OK, "info");
    return info;
}

static long different(int64_t count, const float *a, const float *b) {
    long found = 0;
    for (int64_t i = 0; i < count; i++) {
        const bool nan = a[i] != a[i] && b[i] != b[i]; /* of any sign and payload */
        found += !nan && memcmp(&a[i], &b[i], sizeof *a) != 0;
    }
    return found;
}

static void test_form(int32_t form, int64_t n, int64_t k, const uint16_t *w, const char *what) {
    static const int64_t tokens[] = {1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 70};
    const int32_t plain = form == SPARAMX_FORM_CODED ? SPARAMX_FORM_DENSE : SPARAMX_FORM_SPARSE;
    sparamx_linear *coded = make(form, n, k, w), *other = make(plain, n, k, w);
    if (coded == NULL || other == NULL) return;
    const sparamx_tensor_info info = info_of(coded), wanted = info_of(other);
    CHECK(info.form == form && info.background == wanted.background, "%s: form %d, background %llu", what, info.form,
          (unsigned long long)info.background);
    CHECK(sparamx_linear_verify(coded) == SPARAMX_OK, "%s: refused as it was packed", what);
    uint16_t *back = must_allocate((size_t)(n * k) * 2);
    CHECK(sparamx_linear_read(coded, 0, n, back) == SPARAMX_OK && memcmp(back, w, (size_t)(n * k) * 2) == 0,
          "%s: reads back otherwise", what);
    const int64_t most = tokens[COUNT(tokens) - 1];
    float *x = must_allocate((size_t)(most * k) * 4), *y = must_allocate((size_t)(most * n) * 4);
    float *z = must_allocate((size_t)(most * n) * 4);
    fill_activations(most * k, 5, x);
    for (size_t i = 0; i < COUNT(tokens); i++) {
        const int64_t m = tokens[i];
        /* The reference has one kernel; tiles that are emulated take their time. */
        if ((isa_level() == 0 && i % 6 != 2) || (tiles_emulated() && m > 33)) continue;
        for (int threads = 1; threads <= 3; threads += 2) {
            memset(y, 0x55, (size_t)(m * n) * 4);
            CHECK(multiply(other, m, threads, x, k, z, n) == SPARAMX_OK &&
                      multiply(coded, m, threads, x, k, y, n) == SPARAMX_OK && different(m * n, y, z) == 0,
                  "%s, m %lld, %d threads: %ld results differ", what, (long long)m, threads, different(m * n, y, z));
        }
    }
    sparamx_linear_destroy(coded);
    sparamx_linear_destroy(other);
    free(back), free(x), free(y), free(z);
}

static void test_all_forms(void) {
    static const struct {
        int64_t n, k;
    } shapes[] = {{1, 1}, {3, 2}, {16, 256}, {17, 33}, {33, 290}, {5, 600}, {50, 1054}};
    static const double zeros[] = {0, 0.05, 0.5, 1};
    for (size_t s = 0; s < COUNT(shapes); s++) {
        const int64_t n = shapes[s].n, k = shapes[s].k;
        uint16_t *w = must_allocate((size_t)(n * k) * 2);
        for (int kind = 0; kind < KINDS; kind++) {
            for (size_t z = (s + (size_t)kind) % 2; z < COUNT(zeros); z += 2) {
                fill(kind, zeros[z], n * k, s * 100 + z, w);
                for (int32_t form = SPARAMX_FORM_CODED; form <= SPARAMX_FORM_CODED_SPARSE; form++) {
                    char what[96];
                    snprintf(what, sizeof what, "%s, form %d, %lld x %lld, %.0f%% zeros", kinds[kind], form,
                             (long long)n, (long long)k, zeros[z] * 100);
                    test_form(form, n, k, w, what);
                }
            }
        }
        free(w);
    }
}

/* All 65,536 patterns, in every order of neighbours that a prime makes. */
static void test_every_pattern(void) {
    enum { N = 64, K = 1024 };
    uint16_t *w = must_allocate(N * K * 2), *back = must_allocate(N * K * 2);
    for (int i = 0; i < N * K; i++) w[i] = (uint16_t)(i * 40503u);
    for (int32_t form = SPARAMX_FORM_CODED; form <= SPARAMX_FORM_CODED_SPARSE; form++) {
        sparamx_linear *linear = make(form, N, K, w);
        CHECK(sparamx_linear_verify(linear) == SPARAMX_OK && sparamx_linear_read(linear, 0, N, back) == SPARAMX_OK &&
                  memcmp(back, w, N * K * 2) == 0,
              "form %d: patterns are lost", form);
        sparamx_linear_destroy(linear);
    }
    free(w), free(back);
}

static void test_choice(void) {
    enum { N = 128, K = 2048 };
    static const struct {
        int kind;
        double zeros;
        int32_t form;
        double least, most; /* bits for each weight */
    } cases[] = {
        {TRAINED, 0, SPARAMX_FORM_CODED, 12, 12.1},       {TRAINED, 0.05, SPARAMX_FORM_CODED, 12, 12.1},
        {TRAINED, 0.5, SPARAMX_FORM_CODED_SPARSE, 7, 7.3}, {TRAINED, 0.7, SPARAMX_FORM_CODED_SPARSE, 4.6, 5},
        {ANY, 0, SPARAMX_FORM_DENSE, 16, 16.1},           {ANY, 0.5, SPARAMX_FORM_SPARSE, 9, 9.1},
    };
    uint16_t *w = must_allocate(N * K * 2);
    for (size_t i = 0; i < COUNT(cases); i++) {
        fill(cases[i].kind, cases[i].zeros, N * K, i, w);
        sparamx_linear *linear = make(SPARAMX_FORM_AUTO_CODED, N, K, w);
        const sparamx_tensor_info info = info_of(linear);
        const double bits = (double)info.packed_bytes * 8 / (N * K);
        CHECK(info.form == cases[i].form && bits >= cases[i].least && bits <= cases[i].most,
              "%s, %.0f%% zeros: form %d, %.3f bits", kinds[cases[i].kind], cases[i].zeros * 100, info.form, bits);
        sparamx_linear_destroy(linear);
        linear = make(SPARAMX_FORM_AUTO, N, K, w);
        CHECK(info_of(linear).form <= SPARAMX_FORM_SPARSE, "AUTO takes no coded form");
        sparamx_linear_destroy(linear);
    }
    free(w);
}

/* Other types get the form without codes, for whatever is asked. */
static void test_other_types(void) {
    static const int32_t forms[][2] = {{SPARAMX_FORM_CODED, SPARAMX_FORM_DENSE},
                                       {SPARAMX_FORM_CODED_SPARSE, SPARAMX_FORM_SPARSE},
                                       {SPARAMX_FORM_AUTO_CODED, SPARAMX_FORM_DENSE}};
    uint16_t w[16 * 32];
    fill_weights(SPARAMX_TYPE_F16, 16, 32, 0, 1, w);
    for (size_t i = 0; i < COUNT(forms); i++) {
        sparamx_linear_options o = {.size = sizeof o, .form = forms[i][0]};
        sparamx_linear *linear = NULL;
        CHECK(sparamx_linear_create(SPARAMX_TYPE_F16, 16, 32, w, 0, &o, &linear) == SPARAMX_OK &&
                  info_of(linear).form == forms[i][1],
              "F16, asked for %d", forms[i][0]);
        sparamx_linear_destroy(linear);
    }
}

static uint32_t version_of(const char *path) {
    uint8_t page[16] = {0};
    FILE *file = fopen(path, "rb");
    if (file == NULL || fread(page, 1, sizeof page, file) != sizeof page) page[12] = 0;
    if (file != NULL) fclose(file);
    return page[12];
}

static void test_file(void) {
    enum { N = 33, K = 600 };
    uint16_t *w = must_allocate(N * K * 2), *back = must_allocate(N * K * 2);
    char path[] = "/tmp/coded_test_XXXXXX";
    const int made = mkstemp(path);
    if (made >= 0) close(made);
    fill(WIDE, 0.4, N * K, 9, w);
    for (int32_t form = SPARAMX_FORM_DENSE; form <= SPARAMX_FORM_CODED_SPARSE; form++) {
        if (form == SPARAMX_FORM_RAW) continue;
        sparamx_linear *linear = make(form, N, K, w), *loaded = NULL;
        sparamx_file *file = NULL;
        CHECK(sparamx_linear_save(linear, path) == SPARAMX_OK && sparamx_file_open(path, &file) == SPARAMX_OK,
              "form %d is saved", form);
        CHECK(version_of(path) == (form > SPARAMX_FORM_RAW ? 2u : 1u), "form %d: version %u", form, version_of(path));
        for (int32_t asked = SPARAMX_FORM_AUTO; asked <= SPARAMX_FORM_AUTO_CODED; asked++) {
            if (asked == SPARAMX_FORM_RAW) continue;
            sparamx_linear_options o = {.size = sizeof o, .form = asked};
            const bool fits = asked == SPARAMX_FORM_AUTO || asked == SPARAMX_FORM_AUTO_CODED || asked == form;
            const sparamx_status status = sparamx_linear_load(file, 0, &o, &loaded);
            CHECK(status == (fits ? SPARAMX_OK : SPARAMX_ERR_FILE_MISMATCH), "form %d, asked for %d: %d", form, asked,
                  status);
            if (status != SPARAMX_OK) continue;
            CHECK(info_of(loaded).form == form && sparamx_linear_read(loaded, 0, N, back) == SPARAMX_OK &&
                      memcmp(back, w, N * K * 2) == 0,
                  "form %d from a file", form);
            sparamx_linear_destroy(loaded);
        }
        sparamx_file_close(file);
        sparamx_linear_destroy(linear);
    }
    unlink(path);
    free(w), free(back);
}

int main(void) {
    isa_level();
    test_every_pattern();
    test_choice();
    test_other_types();
    test_file();
    test_all_forms();
    return check_end();
}
