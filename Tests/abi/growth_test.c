/*
 * growth_test - structs of hosts that were built with an older header, and with a newer one. Every struct lies right
 * before a page that nobody may touch: what is beyond its size is neither read nor written.
 */
#define _GNU_SOURCE
#include "check.h"
#include "first_sizes.h"
#include "files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, ROOM = 2 * PAGE, PLACES = 5, N = 20, K = 64, M = 3, FILL = 0xa5 };

static const uint16_t weights[N * K] = {0x3f80, 0, 0x4000, 0, 0x4040};
static float x[M * K], y[M * N], expected[M * N];
static char work[1 << 18];
static sparamx_linear *linear;
static sparamx_buffer *buffer;
static sparamx_file *file;

/* -------------------------------------------------------------------------------------------------------- memory -- */

/* The last `size` bytes before a forbidden page, as far as the alignment of structs allows. */
static void *edge(int place, size_t size) {
    static uint8_t *ends[PLACES];
    if (ends[place] == NULL) {
        uint8_t *all = mmap(NULL, ROOM + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (all == MAP_FAILED || mprotect(all + ROOM, PAGE, PROT_NONE) != 0) exit(2);
        ends[place] = all + ROOM;
    }
    return ends[place] - (size + 7) / 8 * 8;
}

/* Bytes of the last field of a struct that a release had which counts for a host with one of this size. */
static uint32_t counting(uint32_t size, uint32_t first, uint32_t today) { return size >= today ? today : first; }

/* --------------------------------------------------------------------------------------- structs that are filled -- */

typedef sparamx_status (*fill_call)(void *it);

static sparamx_status fill_capability(void *it) { return sparamx_get_capability(it); }
static sparamx_status fill_kernel(void *it) { return sparamx_kernel_get(1, it); }
static sparamx_status fill_file_tensor(void *it) { return sparamx_file_info(file, 0, it); }
static sparamx_status fill_linear_info(void *it) { return sparamx_linear_info(linear, it); }

static sparamx_tensor in_buffer(void) {
    return make_tensor(SPARAMX_TYPE_BF16, K, N, 1, 1, sparamx_buffer_base(buffer), buffer);
}

static sparamx_status fill_packed_info(void *it) {
    sparamx_tensor t = in_buffer();
    return sparamx_buffer_tensor_info(buffer, &t, it);
}

static sparamx_status fill_raw_info(void *it) {
    sparamx_tensor t = make_tensor(SPARAMX_TYPE_F32, 4, 4, 1, 1, (char *)sparamx_buffer_base(buffer) + PAGE, buffer);
    return sparamx_buffer_tensor_info(buffer, &t, it);
}

/* A host with a struct of this size; whole: what one with all of it gets. */
static void fill_one(const char *name, fill_call call, uint32_t size, uint32_t first, uint32_t today,
                     const uint8_t *whole) {
    size_t there = size < 4 ? 4 : size > struct_limit ? struct_limit : size, room = (there + 7) / 8 * 8;
    uint8_t *it = edge(0, there), before[ROOM];
    memset(it, FILL, room);
    memcpy(it, &size, 4);
    memcpy(before, it, room);
    sparamx_status status = call(it);
    if (size < first || size > struct_limit) {
        CHECK(status == SPARAMX_ERR_STRUCT_SIZE && memcmp(before, it, room) == 0, "%s of %u: %d", name, size, status);
        return;
    }
    uint32_t counts = counting(size, first, today);
    CHECK(status == SPARAMX_OK && memcmp(before, it, 4) == 0, "%s of %u bytes: %d", name, size, status);
    CHECK(memcmp(it + 4, whole + 4, counts - 4) == 0, "%s of %u bytes: not what a whole one gets", name, size);
    CHECK(memcmp(it + counts, before + counts, room - counts) == 0, "%s of %u bytes: written behind", name, size);
}

static void fill_all(const char *name, fill_call call, uint32_t first, uint32_t today) {
    _Alignas(8) uint8_t whole[ROOM];
    memset(whole, FILL, sizeof whole);
    memcpy(whole, &today, 4);
    if (!CHECK(call(whole) == SPARAMX_OK, "%s", name)) return;
    for (uint32_t size = 0; size <= today + 64; size++) fill_one(name, call, size, first, today, whole);
    static const uint32_t others[] = {struct_limit - 1, struct_limit, struct_limit + 1, 1u << 16, INT32_MAX,
                                      UINT32_MAX};
    for (size_t i = 0; i < COUNT(others); i++) fill_one(name, call, others[i], first, today, whole);
}

#define FILL_ALL(TYPE, call) fill_all(#call, call, FIRST_SIZE(TYPE), sizeof(TYPE))

/* ----------------------------------------------------------------------------------------- structs that are read -- */

typedef sparamx_status (*read_call)(const void *it);

static sparamx_status read_tensor(const void *it) {
    size_t bytes = 0;
    return sparamx_buffer_type_alloc_size(it, &bytes);
}

static sparamx_status read_buffer_options(const void *it) {
    sparamx_buffer *made = NULL;
    sparamx_status status = sparamx_buffer_create(PAGE, it, &made);
    sparamx_buffer_destroy(made);
    return status;
}

static sparamx_status read_linear_options(const void *it) {
    sparamx_linear *made = NULL;
    sparamx_status status = sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, it, &made);
    sparamx_linear_destroy(made);
    return status;
}

static sparamx_status read_params(const void *it) {
    memset(y, 0, sizeof y);
    sparamx_status status = sparamx_linear_compute(linear, it, M, x, K, y, N);
    bool done = memcmp(y, expected, sizeof y) == 0;
    CHECK(done == (status == SPARAMX_OK), "status %d, and the product is %s", status, done ? "there" : "not there");
    return status;
}

static sparamx_status read_call_of_layer(const void *it) {
    size_t bytes = 0;
    memset(y, 0, sizeof y);
    sparamx_status status = sparamx_linear_apply(linear, it), asked = sparamx_linear_call_work_size(linear, it, &bytes);
    bool done = memcmp(y, expected, sizeof y) == 0;
    CHECK(done == (status == SPARAMX_OK) && asked == status, "status %d, asked %d", status, asked);
    return status;
}

static sparamx_kv *kv;
static sparamx_status fill_kv_info(void *it) { return sparamx_kv_get_info(kv, it); }
static sparamx_status read_kv_options(const void *it) {
    sparamx_kv *made = NULL;
    sparamx_status status = sparamx_kv_create(it, &made);
    sparamx_kv_destroy(made);
    return status;
}
static sparamx_status read_attention(const void *it) {
    sparamx_params p = {.size = sizeof p, .nth = 1, .work = work, .work_size = sizeof work};
    size_t bytes = 0;
    sparamx_status status = sparamx_attention_compute(&p, it);
    CHECK(sparamx_attention_supports(it) == status, "supports says something else than %d", status);
    CHECK(sparamx_attention_work_size(it, 1, &bytes) == status, "work_size says something else than %d", status);
    return status;
}

static sparamx_status read_op(const void *it) {
    size_t bytes = 0;
    sparamx_status status = sparamx_work_size(it, 1, &bytes), again = sparamx_supports_op(it);
    CHECK(status == again, "work_size says %d, supports_op %d", status, again);
    return status;
}

/* A copy of a good struct, with the rest of `size` bytes zero but for one byte if that lies behind the struct. */
static void *sized(int place, const void *good, uint32_t today, uint32_t size, uint32_t set) {
    size_t there = size > struct_limit ? struct_limit : size;
    uint8_t *it = edge(place, there);
    memset(it, FILL, (there + 7) / 8 * 8);
    memset(it, 0, there);
    memcpy(it, good, today < there ? today : there);
    memcpy(it, &size, 4);
    if (set >= today && set < there) it[set] = 1;
    return it;
}

/* No struct that is read has grown yet, so first is today: ../abi-guard/grown.py makes a library where each has. */
static void read_all(const char *name, read_call call, const void *good, uint32_t first, uint32_t today) {
    CHECK(first == today, "%s has grown: what a host without the new fields gets belongs here", name);
    static const uint32_t more[] = {0, 1, 2, 4, 7, 8, 16, 63, 64, 1000};
    for (size_t i = 0; i < COUNT(more); i++) {
        uint32_t size = today + more[i];
        CHECK(call(sized(0, good, today, size, 0)) == SPARAMX_OK, "%s of %u bytes", name, size);
        for (uint32_t set = today; set < size; set++)
            CHECK(call(sized(0, good, today, size, set)) == SPARAMX_ERR_STRUCT_SIZE, "%s: byte %u set", name, set);
    }
    CHECK(call(sized(0, good, today, struct_limit, 0)) == SPARAMX_OK, "%s: the largest", name);
    static const uint32_t wrong[] = {struct_limit + 1, 1u << 20, INT32_MAX, UINT32_MAX};
    for (size_t i = 0; i < COUNT(wrong); i++)
        CHECK(call(sized(0, good, today, wrong[i], 0)) == SPARAMX_ERR_STRUCT_SIZE, "%s of %u bytes", name, wrong[i]);
    for (uint32_t size = 4; size < first; size++)
        CHECK(call(sized(0, good, today, size, 0)) == SPARAMX_ERR_STRUCT_SIZE, "%s of %u bytes", name, size);
}

#define READ_ALL(TYPE, call, good) read_all(#call, call, good, FIRST_SIZE(TYPE), sizeof(TYPE))

/* All structs of one product, each at an edge of its own and `more` bytes larger than this library knows. */
static void test_product(uint32_t more, uint32_t set, int which) {
    sparamx_tensor w = in_buffer(), from = make_tensor(SPARAMX_TYPE_F32, K, M, 1, 1, x, NULL),
                   to = make_tensor(SPARAMX_TYPE_F32, N, M, 1, 1, y, NULL);
    sparamx_params params = {.nth = 1, .work = work, .work_size = sizeof work};
    sparamx_op op = {.kind = SPARAMX_OP_MUL_MAT};
#define SIZED(place, it) sized(place, &(it), sizeof(it), sizeof(it) + more, which == (place) ? sizeof(it) + set : 0)
    op.weight = SIZED(0, w), op.x = SIZED(1, from), op.dst = SIZED(2, to);
    memset(y, 0, sizeof y);
    sparamx_status status = sparamx_compute(SIZED(3, params), SIZED(4, op)), wanted = SPARAMX_OK;
    if (set < more) wanted = SPARAMX_ERR_STRUCT_SIZE;
    CHECK(status == wanted && (memcmp(y, expected, sizeof y) == 0) == (wanted == SPARAMX_OK),
          "%u more bytes, byte %u of struct %d set: %d", more, set, which, status);
}

/* -------------------------------------------------------------------------------------------------------- ranges -- */

/* The rule in sparamx_kernel_info, by the table itself. */
static const char *by_table(int32_t type, int32_t form, int64_t m) {
    const char *name = "none";
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info k = {.size = sizeof k};
        if (sparamx_kernel_get(i, &k) != SPARAMX_OK || k.type != type || k.form != form) continue;
        if (k.usable == SPARAMX_OK && k.m_plan <= m && k.m_min <= m && m <= k.m_max) name = k.name;
    }
    return name;
}

/* The ranges of a weight are the whole plan, and the old list is their beginning. */
static void test_ranges(const gguf_type *type, int32_t form) {
    static uint8_t zeros[16 * 256 * 4];
    sparamx_linear *it = NULL;
    sparamx_linear_options options = {.size = sizeof options, .form = form};
    sparamx_tensor_info info = {.size = sizeof info};
    sparamx_status status = sparamx_linear_create(type->number, 16, 256, zeros, 0, &options, &it);
    if (!CHECK(status == SPARAMX_OK && sparamx_linear_info(it, &info) == SPARAMX_OK, "%s", type->name)) return;
    sparamx_linear_destroy(it);
    int32_t n = info.n_ranges, old = n < 8 ? n : 8;
    CHECK(n >= 1 && n <= (int32_t)COUNT(info.ranges) && info.n_kernels == old && info.mapped == 0,
          "%s: %d ranges, %d", type->name, n, info.n_kernels);
    CHECK(memcmp(info.kernels, info.ranges, (size_t)old * sizeof info.ranges[0]) == 0, "%s: the first", type->name);
    int64_t next = 1;
    for (int32_t i = 0; i < (int32_t)COUNT(info.ranges); i++) {
        const sparamx_kernel_range *r = &info.ranges[i];
        if (i >= n) {
            CHECK(r->m_min == 0 && r->m_max == 0 && r->name == NULL, "%s: range %d is not used", type->name, i);
            continue;
        }
        CHECK(r->m_min == next && r->m_max >= next, "%s: range %d begins at %lld", type->name, i, (long long)r->m_min);
        CHECK(strcmp(r->name, by_table(type->number, form, r->m_min)) == 0 &&
                  strcmp(r->name, by_table(type->number, form, r->m_max < INT32_MAX ? r->m_max : INT32_MAX)) == 0,
              "%s: range %d is of %s", type->name, i, r->name);
        CHECK(i == 0 || strcmp(r->name, info.ranges[i - 1].name) != 0, "%s: range %d goes on", type->name, i);
        next = r->m_max == INT64_MAX ? 0 : r->m_max + 1;
    }
    CHECK(next == 0, "%s: the last range ends before %lld", type->name, (long long)next);
}

/* The structs of key-value caches. */
static void test_kv(void) {
    sparamx_kv_options good = {.size = sizeof good, .type_k = SPARAMX_TYPE_F16, .type_v = SPARAMX_TYPE_F16, .heads = 1,
                               .k_dim = K, .v_dim = K, .cells = 1};
    int64_t cell = 0;
    if (!CHECK(sparamx_kv_create(&good, &kv) == SPARAMX_OK, "kv_create") ||
        !CHECK(sparamx_kv_write(kv, &cell, 1, weights, 0, weights, 0) == SPARAMX_OK, "kv_write")) return;
    static float result[K];
    const sparamx_kv *const caches[] = {kv};
    sparamx_tensor q = make_tensor(SPARAMX_TYPE_F32, K, 1, 1, 1, x, NULL),
                   dst = make_tensor(SPARAMX_TYPE_F32, K, 1, 1, 1, result, NULL);
    sparamx_attention ask = {.size = sizeof ask, .streams = 1, .q = &q, .dst = &dst, .kv = caches, .cells = 1,
                             .scale = 1};
    FILL_ALL(sparamx_kv_info, fill_kv_info);
    READ_ALL(sparamx_kv_options, read_kv_options, &good);
    READ_ALL(sparamx_attention, read_attention, &ask);
    sparamx_kv_destroy(kv);
}

int main(void) {
    for (int i = 0; i < M * K; i++) x[i] = (float)(i % 7 - 3);
    sparamx_buffer_options good_buffer = {.size = sizeof good_buffer};
    sparamx_linear_options good_linear = {.size = sizeof good_linear};
    sparamx_params good_params = {.size = sizeof good_params, .nth = 1, .work = work, .work_size = sizeof work};
    sparamx_linear_call good_call = {.size = sizeof good_call, .m = M, .ldx = K, .ldy = N, .x = x, .y = y, .tasks = 1,
                                     .work = work, .work_size = sizeof work};
    sparamx_status status = sparamx_buffer_create(1 << 16, NULL, &buffer);
    sparamx_tensor w = in_buffer(), from = make_tensor(SPARAMX_TYPE_F32, K, M, 1, 1, x, NULL),
                   to = make_tensor(SPARAMX_TYPE_F32, N, M, 1, 1, y, NULL);
    sparamx_tensor raw = make_tensor(SPARAMX_TYPE_F32, 4, 4, 1, 1, (char *)sparamx_buffer_base(buffer) + PAGE, buffer);
    sparamx_op good_op = {.size = sizeof good_op, .kind = SPARAMX_OP_MUL_MAT, .weight = &w, .x = &from, .dst = &to};
    if (status != SPARAMX_OK || sparamx_buffer_set_tensor(buffer, &w, weights, 0, sizeof weights) != SPARAMX_OK ||
        sparamx_buffer_init_tensor(buffer, &raw) != SPARAMX_OK ||
        sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, NULL, &linear) != SPARAMX_OK ||
        sparamx_linear_compute(linear, &good_params, M, x, K, expected, N) != SPARAMX_OK)
        return 2;

    FILL_ALL(sparamx_capability, fill_capability);
    FILL_ALL(sparamx_kernel_info, fill_kernel);
    if (!CHECK(sparamx_linear_save(linear, path_to("file")) == SPARAMX_OK, "save") ||
        !CHECK(sparamx_file_open(path_to("file"), &file) == SPARAMX_OK, "open"))
        return check_end();
    FILL_ALL(sparamx_file_tensor, fill_file_tensor);
    sparamx_file_close(file);
    FILL_ALL(sparamx_tensor_info, fill_linear_info);
    FILL_ALL(sparamx_tensor_info, fill_packed_info);
    FILL_ALL(sparamx_tensor_info, fill_raw_info);
    READ_ALL(sparamx_tensor, read_tensor, &w);
    READ_ALL(sparamx_buffer_options, read_buffer_options, &good_buffer);
    READ_ALL(sparamx_linear_options, read_linear_options, &good_linear);
    READ_ALL(sparamx_params, read_params, &good_params);
    READ_ALL(sparamx_linear_call, read_call_of_layer, &good_call);
    READ_ALL(sparamx_op, read_op, &good_op);
    test_kv();
    for (uint32_t more = 0; more < 40; more++) {
        test_product(more, more, 0);
        for (int which = 0; which < 5 && more > 0; which++) test_product(more, more - 1, which);
    }
    const gguf_type *types[GGUF_TYPES];
    int n_types = gguf_reported(types);
    for (int i = 0; i < n_types; i++) {
        for (size_t f = 0; f < COUNT(packed_forms); f++) {
            if (gguf_serves(types[i], packed_forms[f])) test_ranges(types[i], packed_forms[f]);
        }
    }
    sparamx_linear_destroy(linear);
    sparamx_buffer_destroy(buffer);
    return check_end();
}
