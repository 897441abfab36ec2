/*
 * isa_test [ISA AVX512 AMX [ERRNO]] - that the level which SPARAMX_ISA, the CPU and the kernel leave is the level that
 * is used, and that each refusal has its own reason.
 *
 * Without arguments it holds SPARAMX_ISA against what is reported. With arguments (numbers as in sparamx.h) exactly
 * this is expected. The last word "wrong-name" stands for an unknown SPARAMX_ISA.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { N = 37, MAX_K = 96 };

static const char *const levels[] = {"reference", "avx512", "amx"};
static sparamx_capability found = {.size = sizeof found};

static void test_expected(int argc, char **argv) {
    CHECK(found.status == SPARAMX_OK, "status %d", found.status);
    CHECK(found.isa == atoi(argv[1]), "isa is %d", found.isa);
    CHECK(found.avx512 == atoi(argv[2]), "avx512 is %d: %s", found.avx512, found.avx512_reason);
    CHECK(found.amx == atoi(argv[3]), "amx is %d: %s", found.amx, found.amx_reason);
    CHECK(found.amx_errno == (argc > 4 ? atoi(argv[4]) : 0), "errno is %d", found.amx_errno);
}

static void test_environment(void) {
    const char *cap = getenv("SPARAMX_ISA");
    int limit = cap == NULL || cap[0] == 0 || strcmp(cap, "amx") == 0 ? 2 : strcmp(cap, "avx512") == 0 ? 1 : 0;
    CHECK(found.status == SPARAMX_OK && found.isa <= limit, "isa is %d, SPARAMX_ISA is %s", found.isa,
          cap != NULL ? cap : "not set");
    if (limit < 2)
        CHECK(found.amx == SPARAMX_ERR_CAPPED || found.amx == SPARAMX_ERR_NO_AMX || found.amx == SPARAMX_ERR_HIDDEN,
              "amx is %d", found.amx);
    if (limit < 1)
        CHECK(found.avx512 == SPARAMX_ERR_CAPPED || found.avx512 == SPARAMX_ERR_NO_AVX512 ||
                  found.avx512 == SPARAMX_ERR_HIDDEN,
              "avx512 is %d", found.avx512);
    if (found.amx == SPARAMX_OK) CHECK(limit == 2 && found.isa == 2, "AMX is usable and not used");
}

/* The row that the documented rule chooses: the last usable one with m_plan <= m and m_min <= m <= m_max. */
static const char *planned(int32_t type, int32_t form, int64_t m) {
    const char *name = "";
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info k = {.size = sizeof k};
        if (sparamx_kernel_get(i, &k) != SPARAMX_OK || k.type != type || k.form != form || k.usable != SPARAMX_OK)
            continue;
        if (k.m_plan <= m && k.m_min <= m && m <= k.m_max) name = k.name;
    }
    return name;
}

static void test_ranges(const sparamx_tensor_info *info) {
    bool uses_level = false;
    int64_t next = 1;
    for (int32_t i = 0; i < info->n_ranges; i++) {
        const sparamx_kernel_range *r = &info->ranges[i];
        CHECK(r->m_min == next && r->m_max >= r->m_min, "%s starts at %lld, not at %lld", r->name, (long long)r->m_min,
              (long long)next);
        CHECK(strcmp(r->name, planned(info->type, info->form, r->m_min)) == 0, "%s for m %lld, the table says %s",
              r->name, (long long)r->m_min, planned(info->type, info->form, r->m_min));
        if (r->m_max != INT64_MAX)
            CHECK(strcmp(r->name, planned(info->type, info->form, r->m_max)) == 0, "%s up to m %lld", r->name,
                  (long long)r->m_max);
        uses_level = uses_level || strncmp(r->name, levels[found.isa], strlen(levels[found.isa])) == 0;
        for (int level = found.isa + 1; level <= 2; level++)
            CHECK(strncmp(r->name, levels[level], strlen(levels[level])) != 0, "%s at a lower level", r->name);
        next = r->m_max + 1;
        if (r->m_max == INT64_MAX) break;
    }
    CHECK(info->n_ranges >= 1 && info->n_ranges <= 16 && info->ranges[info->n_ranges - 1].m_max == INT64_MAX,
          "%d ranges", info->n_ranges);
    CHECK(uses_level, "no kernel of level %s", levels[found.isa]);
}

static uint64_t tiles_run(void) {
    uint64_t (*count)(const char *) = NULL;
    void *symbol = dlsym(RTLD_DEFAULT, "tile_emulator_count_named");
    memcpy(&count, &symbol, sizeof count);
    return count == NULL
               ? 0
               : count("tdpbf16ps") + count("tdpbssd") + count("tdpbusd") + count("tdpbsud") + count("tdpbuud");
}

/* Products at every count of tokens where a plan may change, and that tiles run exactly where the plan says AMX. */
static void test_products(int32_t type, int32_t form) {
    static const int64_t tokens[] = {1, 2, 3, 4, 5, 6, 15, 16, 17, 31, 32, 33, 47, 64, 100};
    int64_t k = MAX_K;
    size_t row = row_bytes(type, k);
    uint8_t *w = must_allocate(row * N);
    float *x = must_allocate(100 * MAX_K * sizeof *x), *y = must_allocate(100 * N * sizeof *y);
    fill_weights(type, N, k, 0.5, 3, w);
    fill_activations(100 * MAX_K, 4, x);
    sparamx_linear_options o = {.size = sizeof o, .form = form};
    sparamx_linear *linear = NULL;
    sparamx_tensor_info info = {.size = sizeof info};
    CHECK(sparamx_linear_create(type, N, k, w, 0, &o, &linear) == SPARAMX_OK, "linear");
    if (CHECK(sparamx_linear_info(linear, &info) == SPARAMX_OK, "info")) test_ranges(&info);
    CHECK(info.form == form && info.type == type && info.n == N && info.k == k && info.matrices == 1 &&
          info.source_bytes == row * N, "info of %s %s", type_name(type), form_name(form));
    CHECK(info.sparsity > 0.4 && info.sparsity < 0.6 &&
              info.bits_per_weight == 8.0 * (double)info.packed_bytes / (double)(N * k),
          "sparsity %g", info.sparsity);
    for (size_t i = 0; i < COUNT(tokens); i++) {
        uint64_t before = tiles_run();
        sparamx_status status = multiply(linear, tokens[i], 2, x, k, y, N);
        CHECK(status == SPARAMX_OK && count_wrong(type, N, k, w, tokens[i], x, k, y, N) == 0,
              "%s %s m %lld: status %d or wrong", type_name(type), form_name(form), (long long)tokens[i], status);
        bool amx = strncmp(planned(type, form, tokens[i]), "amx", 3) == 0;
        if (tiles_emulated())
            CHECK((tiles_run() > before) == amx, "%s m %lld: %llu tile products", planned(type, form, tokens[i]),
                  (long long)tokens[i], (unsigned long long)(tiles_run() - before));
    }
    sparamx_linear_destroy(linear);
    free(w);
    free(x);
    free(y);
}

/* A wrong SPARAMX_ISA is an error at every door that would compute. */
static void test_wrong_name(void) {
    static uint16_t w[32 * 32];
    static float x[32], y[32];
    sparamx_tensor wt = make_tensor(SPARAMX_TYPE_BF16, 32, 32, 1, 1, w, NULL),
                   xt = make_tensor(SPARAMX_TYPE_F32, 32, 1, 1, 1, x, NULL);
    sparamx_tensor yt = make_tensor(SPARAMX_TYPE_F32, 32, 1, 1, 1, y, NULL);
    sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &yt, .weight = &wt, .x = &xt};
    char work[1 << 16];
    sparamx_params p = {.size = sizeof p, .nth = 1, .work = work, .work_size = sizeof work};
    sparamx_linear *linear = NULL;
    sparamx_buffer *buffer = NULL;
    size_t size = 0;
    CHECK(found.status == SPARAMX_ERR_ISA_NAME && found.isa == SPARAMX_ISA_REFERENCE, "status %d, isa %d", found.status,
          found.isa);
    CHECK(found.avx512 != SPARAMX_OK && found.amx != SPARAMX_OK, "avx512 %d, amx %d", found.avx512, found.amx);
    CHECK(sparamx_linear_create(SPARAMX_TYPE_BF16, 32, 32, w, 0, NULL, &linear) == SPARAMX_ERR_ISA_NAME &&
              linear == NULL,
          "linear_create");
    CHECK(sparamx_buffer_create(1 << 16, NULL, &buffer) == SPARAMX_ERR_ISA_NAME && buffer == NULL, "buffer_create");
    CHECK(sparamx_supports_weight(&wt, SPARAMX_OP_MUL_MAT) == SPARAMX_ERR_ISA_NAME, "supports_weight");
    CHECK(sparamx_supports_op(&op) == SPARAMX_ERR_ISA_NAME, "supports_op");
    CHECK(sparamx_work_size(&op, 1, &size) == SPARAMX_ERR_ISA_NAME, "work_size");
    CHECK(sparamx_compute(&p, &op) == SPARAMX_ERR_ISA_NAME, "compute");
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info k = {.size = sizeof k};
        CHECK(sparamx_kernel_get(i, &k) == SPARAMX_OK && k.usable == SPARAMX_ERR_ISA_NAME, "row %d is usable", i);
    }
    CHECK(sparamx_get_api(SPARAMX_ABI) != NULL && sparamx_buffer_type_alignment() > 0, "what needs no level");
}

int main(int argc, char **argv) {
    CHECK(sparamx_get_capability(&found) == SPARAMX_OK, "capability");
    if (argc == 2 && strcmp(argv[1], "wrong-name") == 0) {
        test_wrong_name();
        return check_end();
    }
    if (argc >= 4) test_expected(argc, argv);
    else test_environment();
    for (size_t i = 0; i < COUNT(weight_types); i++) {
        for (size_t j = 0; j < COUNT(packed_forms); j++) {
            const bool coded = packed_forms[j] > SPARAMX_FORM_RAW;
            if (!coded || weight_types[i] == SPARAMX_TYPE_BF16) test_products(weight_types[i], packed_forms[j]);
        }
    }
    return check_end();
}
