/*
 * api_test - the table of functions is the exported functions; layouts, version, texts, the kernel table, the log.
 */
#define _GNU_SOURCE
#include "check.h"
#include "types.h"

#include <dlfcn.h>
#include <limits.h>
#include <string.h>

/* Layouts. A struct may grow at its end; any other change here is a change of SPARAMX_ABI. */
_Static_assert(sizeof(sparamx_capability) == 112, "");
_Static_assert(sizeof(sparamx_tensor) == 96, "");
_Static_assert(sizeof(sparamx_buffer_options) == 20, "");
_Static_assert(sizeof(sparamx_op) == 56, "");
_Static_assert(sizeof(sparamx_params) == 48, "");
_Static_assert(sizeof(sparamx_kernel_range) == 24, "");
_Static_assert(sizeof(sparamx_tensor_info) == 672, "");
_Static_assert(sizeof(sparamx_kernel_info) == 64, "");
_Static_assert(sizeof(sparamx_linear_options) == 24, "");
_Static_assert(sizeof(sparamx_file_tensor) == 80, "");
_Static_assert(sizeof(sparamx_kv_options) == 88 && offsetof(sparamx_kv_options, cells) == 48, "");
_Static_assert(sizeof(sparamx_kv_info) == 80 && offsetof(sparamx_kv_info, block_bytes) == 48, "");
_Static_assert(sizeof(sparamx_attention) == 72 && offsetof(sparamx_attention, cells) == 48, "");
_Static_assert(offsetof(sparamx_file_tensor, ne) == 16 && offsetof(sparamx_file_tensor, name) == 72, "");
_Static_assert(offsetof(sparamx_tensor, data) == 72 && offsetof(sparamx_tensor, name) == 88, "");
_Static_assert(offsetof(sparamx_params, work_size) == 16 && offsetof(sparamx_params, barrier_data) == 40, "");
_Static_assert(offsetof(sparamx_op, dst) == 8 && offsetof(sparamx_op, activation) == 48, "");
_Static_assert(offsetof(sparamx_tensor_info, reason) == 80 && offsetof(sparamx_tensor_info, kernels) == 88, "");
_Static_assert(offsetof(sparamx_tensor_info, n_ranges) == 280 && offsetof(sparamx_tensor_info, ranges) == 288, "");

#define FUNCTIONS(F) \
    F(version) F(status_string) F(set_log) F(get_capability) F(buffer_type_name) F(buffer_type_alignment) \
    F(buffer_type_max_size) F(buffer_type_is_host) F(buffer_type_alloc_size) F(buffer_create) F(buffer_destroy) \
    F(buffer_base) F(buffer_size) F(buffer_resident) F(buffer_set_usage) F(buffer_init_tensor) F(buffer_set_tensor) \
    F(buffer_get_tensor) F(buffer_memset_tensor) F(buffer_set_tensor_2d) F(buffer_get_tensor_2d) F(buffer_copy_tensor) \
    F(buffer_clear) F(buffer_reset) F(supports_weight) F(supports_op) F(work_size) F(compute) F(buffer_tensor_info) \
    F(kernel_count) F(kernel_get) F(linear_create) F(linear_destroy) F(linear_read) F(linear_work_size) \
    F(linear_compute) F(linear_info) F(buffer_verify_tensor) F(linear_verify) F(cap_isa) F(file_writer_create) \
    F(file_writer_add) F(file_writer_add_linear) F(file_writer_finish) F(file_writer_destroy) F(file_open) \
    F(file_close) F(file_key) F(file_count) F(file_info) F(file_find) F(file_verify) F(linear_load) \
    F(buffer_load_tensor) F(linear_save) F(buffer_save) F(linear_call_work_size) F(linear_apply) F(kv_create) \
    F(kv_destroy) F(kv_write) F(kv_touch) F(kv_remove) F(kv_copy) F(kv_read) F(kv_observe) F(kv_pack) F(kv_get_info) \
    F(kv_verify) F(attention_supports) F(attention_work_size) F(attention_compute) \
    F(kv_save) F(kv_load) F(profile_load)

static void test_table(void) {
    void *handle = dlopen("libsparamx.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!CHECK(handle != NULL, "dlopen: %s", dlerror())) return;
    const sparamx_api *api = sparamx_get_api(SPARAMX_ABI);
    if (!CHECK(api != NULL, "no table")) return;
    CHECK(api->size == sizeof(sparamx_api) && api->abi == SPARAMX_ABI, "size %u abi %u", api->size, api->abi);
    size_t functions = 0, at = offsetof(sparamx_api, version);
#define SAME(name)                                                                                                     \
    {                                                                                                                  \
        void *exported = dlsym(handle, "sparamx_" #name), *linked, *listed;                                            \
        __typeof__(api->name) function = sparamx_##name;                                                               \
        memcpy(&listed, &api->name, sizeof listed);                                                                    \
        memcpy(&linked, &function, sizeof linked);                                                                     \
        CHECK(exported != NULL && listed == exported && linked == exported, #name ": %p %p %p", exported, listed,      \
              linked);                                                                                                 \
        CHECK(offsetof(sparamx_api, name) == at, #name " is at another place of the table");                           \
        at += sizeof(void *);                                                                                          \
        functions++;                                                                                                   \
    }
    FUNCTIONS(SAME)
    CHECK(sizeof(sparamx_api) == at, "%zu functions checked, the table has more", functions);
    CHECK(dlsym(handle, "sparamx_get_api") != NULL, "sparamx_get_api is not exported");
    static const uint32_t others[] = {0, 2, 3, 100, UINT32_MAX, 1u << 31 | 1};
    for (size_t i = 0; i < COUNT(others); i++) CHECK(sparamx_get_api(others[i]) == NULL, "a table for %u", others[i]);
    CHECK(sparamx_get_api(SPARAMX_ABI) == api, "another table at the second call");
    dlclose(handle);
}

static void test_version(void) {
    CHECK(strcmp(sparamx_version(), SPARAMX_VERSION_STRING) == 0, "version %s", sparamx_version());
    char parts[64];
    snprintf(parts, sizeof parts, "%d.%d.%d", SPARAMX_VERSION_MAJOR, SPARAMX_VERSION_MINOR, SPARAMX_VERSION_PATCH);
    CHECK(strcmp(parts, SPARAMX_VERSION_STRING) == 0, "%s is not %s", parts, SPARAMX_VERSION_STRING);
    CHECK(strcmp(sparamx_buffer_type_name(), "SPARAMX") == 0, "name %s", sparamx_buffer_type_name());
    size_t alignment = sparamx_buffer_type_alignment();
    CHECK(alignment > 0 && (alignment & (alignment - 1)) == 0, "alignment %zu", alignment);
    CHECK(sparamx_buffer_type_max_size() >= (size_t)1 << 40, "max size %zu", sparamx_buffer_type_max_size());
    CHECK(!sparamx_buffer_type_is_host(), "the buffer type is not host memory");
}

static void test_status_strings(void) {
    static const sparamx_status known[] = {0,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                                           21, 22, 23, 24, 25, 26, 27, 28, 30, 31, 40, 41, 42,
                                           43, 50, 51, 52, 53, 54, 55, 56};
    const char *unknown = sparamx_status_string(999);
    for (size_t i = 0; i < COUNT(known); i++) {
        const char *text = sparamx_status_string(known[i]);
        CHECK(text != NULL && text[0] != 0 && strcmp(text, unknown) != 0, "status %d has no sentence", known[i]);
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(text, sparamx_status_string(known[j])) != 0, "%d as %d", known[i], known[j]);
    }
    for (int status = -100; status < 200; status++) {
        const char *text = sparamx_status_string(status);
        CHECK(text != NULL && text[0] != 0, "status %d", status);
    }
    CHECK(sparamx_status_string(INT_MIN)[0] != 0 && sparamx_status_string(INT_MAX)[0] != 0, "the outermost values");
}

static void test_capability(void) {
    sparamx_capability c = {.size = sizeof c}, again = {.size = sizeof again};
    memset(c.cpu, 'x', sizeof c.cpu);
    CHECK(sparamx_get_capability(&c) == SPARAMX_OK && sparamx_get_capability(&again) == SPARAMX_OK, "no capability");
    CHECK(c.isa >= SPARAMX_ISA_REFERENCE && c.isa <= SPARAMX_ISA_AMX && c.isa == again.isa, "isa %d", c.isa);
    CHECK((c.isa >= SPARAMX_ISA_AVX512) == (c.avx512 == SPARAMX_OK), "isa %d, avx512 %d", c.isa, c.avx512);
    CHECK((c.isa >= SPARAMX_ISA_AMX) == (c.amx == SPARAMX_OK), "isa %d, amx %d", c.isa, c.amx);
    CHECK(strcmp(c.avx512_reason, sparamx_status_string(c.avx512)) == 0, "avx512: %s", c.avx512_reason);
    CHECK(strcmp(c.amx_reason, sparamx_status_string(c.amx)) == 0, "amx: %s", c.amx_reason);
    CHECK(c.cpus >= 1 && c.numa_nodes >= 1, "%d CPUs, %d nodes", c.cpus, c.numa_nodes);
    CHECK(memchr(c.cpu, 0, sizeof c.cpu) != NULL && strlen(c.cpu) > 0, "the CPU has no name");
}

static void test_kernels(void) {
    static const char *const levels[] = {"reference", "avx512", "amx"};
    sparamx_capability c = {.size = sizeof c};
    sparamx_get_capability(&c);
    int32_t count = sparamx_kernel_count();
    CHECK(count > 0, "%d kernels", count);
    const char *names[1024];
    for (int32_t i = 0; i < count && i < 1024; i++) {
        sparamx_kernel_info k = {.size = sizeof k};
        if (!CHECK(sparamx_kernel_get(i, &k) == SPARAMX_OK, "row %d", i)) continue;
        names[i] = k.name;
        char start[64];
        snprintf(start, sizeof start, "%s-%s-%s", levels[k.isa],
                 gguf_find(k.type) == NULL ? "?" : gguf_find(k.type)->name, form_name(k.form));
        CHECK(strncmp(k.name, start, strlen(start)) == 0, "%s should start with %s", k.name, start);
        CHECK(k.m_min >= 1 && k.m_min <= k.m_max && k.m_plan >= 1, "%s serves %lld...%lld from %lld", k.name,
              (long long)k.m_min, (long long)k.m_max, (long long)k.m_plan);
        CHECK(k.exact == 0 || k.exact == 1, "%s: exact %d", k.name, k.exact);
        sparamx_status usable = k.isa == SPARAMX_ISA_AMX ? c.amx : k.isa == SPARAMX_ISA_AVX512 ? c.avx512 : SPARAMX_OK;
        CHECK(k.usable == usable, "%s: usable is %d, not %d", k.name, k.usable, usable);
        for (int32_t j = 0; j < i; j++) CHECK(strcmp(names[i], names[j]) != 0, "two kernels %s", names[i]);
    }
    sparamx_kernel_info k = {.size = sizeof k};
    CHECK(sparamx_kernel_get(-1, &k) == SPARAMX_ERR_RANGE && sparamx_kernel_get(count, &k) == SPARAMX_ERR_RANGE &&
              sparamx_kernel_get(INT_MIN, &k) == SPARAMX_ERR_RANGE &&
              sparamx_kernel_get(INT_MAX, &k) == SPARAMX_ERR_RANGE,
          "rows beyond");
    CHECK(k.name == NULL, "a row beyond wrote something");
}

static int messages;

static void receive(int32_t level, const char *message, void *user) {
    if (level == SPARAMX_LOG_ERROR && user == &messages && message[0] != 0 && strchr(message, '\n') == NULL) messages++;
}

static void test_log(void) {
    sparamx_buffer *buffer = NULL;
    if (!CHECK(sparamx_buffer_create(1 << 16, NULL, &buffer) == SPARAMX_OK, "buffer")) return;
    sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, 32, 32, 1, 1, sparamx_buffer_base(buffer), buffer);
    CHECK(sparamx_set_log(receive, &messages) == SPARAMX_OK, "set_log");
    CHECK(sparamx_buffer_set_tensor(buffer, &t, &t, 1 << 20, 1) == SPARAMX_ERR_RANGE, "an upload out of range");
    CHECK(messages == 1, "%d messages for a failed upload", messages);
    CHECK(sparamx_set_log(NULL, NULL) == SPARAMX_OK, "set_log");
    CHECK(sparamx_buffer_set_tensor(buffer, &t, &t, 1 << 20, 1) == SPARAMX_ERR_RANGE, "an upload out of range");
    CHECK(messages == 1, "a message after the receiver was taken away");
    sparamx_buffer_destroy(buffer);
}

int main(void) {
    test_table();
    test_version();
    test_status_strings();
    test_capability();
    test_kernels();
    test_log();
    return check_end();
}
