/*
 * profile_test - profiles: what a file says is done, with the bits of the kernel that it names; a file that is wrong is
 * refused with the line that is wrong, and the library goes by its table then. A process has one profile, so each case
 * is a child process.
 */
#define _GNU_SOURCE
#include "check.h"
#include "files.h"
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 37, K = 512, MOST_TOKENS = 40 };

#define HEAD "sparamx-profile 1\nlibrary " SPARAMX_VERSION_STRING "\ncpu any\n"

static char line[1024];
static int lines;

static void keep(int32_t level, const char *message, void *user) {
    (void)level;
    (void)user;
    snprintf(line, sizeof line, "%s", message);
    lines++;
}

static const char *written(const char *text, size_t size) {
    const char *path = path_to("profile");
    FILE *file = fopen(path, "w");
    if (!file || fwrite(text, 1, size, file) != size || fclose(file) != 0) abort();
    return path;
}

static sparamx_status load(const char *text) { return sparamx_profile_load(written(text, strlen(text))); }

/* Runs body in a child that has no profile yet; what its checks said is this process's. */
static void in_child(const char *name, void (*body)(const void *), const void *argument) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(300);
        checks.failed = 0;
        sparamx_set_log(keep, NULL);
        body(argument);
        fflush(stdout);
        _exit(checks.failed == 0 ? 0 : 1);
    }
    int end = 0;
    CHECK(child > 0 && waitpid(child, &end, 0) == child && WIFEXITED(end) && WEXITSTATUS(end) == 0, "%s: %s", name,
          WIFEXITED(end) ? "see above" : "the process was ended by a signal");
}

/* -- weights ------------------------------------------------------------------------------------------------------- */

static sparamx_linear *pack(int32_t type, int32_t form, double zeros, const char *kernel) {
    const gguf_type *t = gguf_find(type);
    uint8_t *w = must_allocate(gguf_row_bytes(t, K) * N);
    gguf_fill(t, N, K, zeros, 7, w);
    sparamx_linear_options o = {.size = sizeof o, .form = form, .pack_threads = 1, .kernel = kernel};
    sparamx_linear *linear = NULL;
    CHECK(sparamx_linear_create(type, N, K, w, 0, &o, &linear) == SPARAMX_OK, "%s %s", t->name, kernel ? kernel : "");
    free(w);
    return linear;
}

static sparamx_tensor_info info_of(const sparamx_linear *linear) {
    sparamx_tensor_info info = {.size = sizeof info};
    CHECK(sparamx_linear_info(linear, &info) == SPARAMX_OK, "info");
    return info;
}

static const char *named(const sparamx_tensor_info *info, int64_t m) {
    for (int i = 0; i < info->n_ranges; i++)
        if (info->ranges[i].m_min <= m && m <= info->ranges[i].m_max) return info->ranges[i].name;
    return "";
}

/* The row of the table for m tokens, by the rule of the header. */
static sparamx_kernel_info planned(int32_t type, int32_t form, int64_t m) {
    sparamx_kernel_info best = {.name = ""};
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info k = {.size = sizeof k};
        if (sparamx_kernel_get(i, &k) != SPARAMX_OK || k.usable != SPARAMX_OK || k.type != type || k.form != form)
            continue;
        if (k.m_plan <= m && k.m_min <= m && m <= k.m_max) best = k;
    }
    return best;
}

static bool goes_by_table(int32_t type, int32_t form) {
    sparamx_linear *linear = pack(type, form, 0.5, NULL);
    sparamx_tensor_info info = info_of(linear);
    bool same = true;
    for (int64_t m = 1; m <= MOST_TOKENS; m++) same = same && strcmp(named(&info, m), planned(type, form, m).name) == 0;
    sparamx_linear_destroy(linear);
    return same;
}

/* -- what is done -------------------------------------------------------------------------------------------------- */

/* The kernel serves every number of tokens that it can, and nothing else does. */
static void test_kernel(const void *argument) {
    const sparamx_kernel_info *k = argument;
    char text[512], to[24] = "any";
    if (k->m_max != INT64_MAX) snprintf(to, sizeof to, "%lld", (long long)k->m_max);
    snprintf(text, sizeof text, HEAD "accuracy any # of this test\n\n\tkernel  %s %lld %s\r\n", k->name,
             (long long)k->m_min, to);
    CHECK(load(text) == SPARAMX_OK, "%s", line);
    double zeros = 0.5;
    sparamx_linear *linear = pack(k->type, k->form, zeros, NULL), *forced = pack(k->type, k->form, zeros, k->name);
    sparamx_tensor_info info = info_of(linear);
    static float x[MOST_TOKENS * K], y[MOST_TOKENS * N], z[MOST_TOKENS * N];
    fill_activations(MOST_TOKENS * K, 3, x);
    int64_t next = 1;
    for (int i = 0; i < info.n_ranges; i++) {
        CHECK(info.ranges[i].m_min == next, "%s begins at %lld", info.ranges[i].name, (long long)next);
        next = info.ranges[i].m_max + (info.ranges[i].m_max != INT64_MAX);
    }
    CHECK(next == INT64_MAX, "the ranges end at %lld", (long long)next);
    for (int64_t m = 1; m <= MOST_TOKENS; m++) {
        bool its = k->m_min <= m && m <= k->m_max;
        const char *want = its ? k->name : planned(k->type, k->form, m).name;
        CHECK(strcmp(named(&info, m), want) == 0, "%s at %lld, not %s", named(&info, m), (long long)m, want);
        if (!its || (m > 3 && m % 13 != 0)) continue;
        memset(y, 1, sizeof y);
        CHECK(multiply(linear, m, 2, x, K, y, N) == SPARAMX_OK && multiply(forced, m, 1, x, K, z, N) == SPARAMX_OK &&
                  memcmp(y, z, sizeof *y * N * (size_t)m) == 0, "%s: other results at %lld", k->name, (long long)m);
    }
    sparamx_linear_destroy(linear);
    sparamx_linear_destroy(forced);
}

static void test_kernels(void) {
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info k = {.size = sizeof k};
        CHECK(sparamx_kernel_get(i, &k) == SPARAMX_OK, "row %d", i);
        if (k.usable == SPARAMX_OK) in_child(k.name, test_kernel, &k);
    }
}

static int32_t form_of(int32_t type, double zeros) {
    sparamx_linear *linear = pack(type, SPARAMX_FORM_AUTO, zeros, NULL);
    sparamx_tensor_info info = info_of(linear);
    CHECK(strstr(info.reason, type == SPARAMX_TYPE_Q4_1 ? "1/16" : "profile") != NULL, "%s", info.reason);
    sparamx_linear_destroy(linear);
    return info.form;
}

static void test_shares(const void *argument) {
    (void)argument;
    CHECK(load(HEAD "sparse q8_0 60.5\nsparse bf16 never\nsparse f16 0\nsparse q4_k 100") == SPARAMX_OK, "%s", line);
    CHECK(form_of(SPARAMX_TYPE_Q8_0, 0.55) == SPARAMX_FORM_DENSE, "Q8_0 at 55%%");
    CHECK(form_of(SPARAMX_TYPE_Q8_0, 0.65) == SPARAMX_FORM_SPARSE, "Q8_0 at 65%%");
    CHECK(form_of(SPARAMX_TYPE_BF16, 0.95) == SPARAMX_FORM_DENSE, "BF16");
    CHECK(form_of(SPARAMX_TYPE_F16, 0.01) == SPARAMX_FORM_SPARSE, "F16");
    CHECK(form_of(SPARAMX_TYPE_Q4_K, 0.9) == SPARAMX_FORM_DENSE, "Q4_K");
    CHECK(form_of(SPARAMX_TYPE_Q4_1, 0.7) == SPARAMX_FORM_SPARSE, "Q4_1, of which nothing is said");
}

/* -- what is refused ----------------------------------------------------------------------------------------------- */

typedef struct refusal {
    const char *text;
    sparamx_status status;
    int line; /* 0: all of it */
} refusal;

static const refusal refusals[] = {
    {"", SPARAMX_ERR_PROFILE_FOREIGN, 0},
    {"\n# nothing\n", SPARAMX_ERR_PROFILE_FOREIGN, 0},
    {"GGUF\n", SPARAMX_ERR_PROFILE_FOREIGN, 0},
    {"sparamx-profile 2\n", SPARAMX_ERR_PROFILE_VERSION, 1},
    {"sparamx-profile\n", SPARAMX_ERR_PROFILE_VERSION, 1},
    {"sparamx-profile 1 2\n", SPARAMX_ERR_PROFILE_VERSION, 1},
    {"sparamx-profile 1\nlibrary 0.0.1\ncpu any\n", SPARAMX_ERR_PROFILE_VERSION, 2},
    {"sparamx-profile 1\nlibrary " SPARAMX_VERSION_STRING "0\ncpu any\n", SPARAMX_ERR_PROFILE_VERSION, 2},
    {"sparamx-profile 1\ncpu any\n", SPARAMX_ERR_PROFILE_CPU, 0},
    {"sparamx-profile 1\nlibrary " SPARAMX_VERSION_STRING "\n", SPARAMX_ERR_PROFILE_CPU, 0},
    {"sparamx-profile 1\nlibrary " SPARAMX_VERSION_STRING "\ncpu A CPU of somebody else's\n", SPARAMX_ERR_PROFILE_CPU,
     3},
    {"sparamx-profile 1\nlibrary " SPARAMX_VERSION_STRING "\ncpu any one\n", SPARAMX_ERR_PROFILE_CPU, 3},
    {HEAD "cpu any\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "library " SPARAMX_VERSION_STRING "\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "\nkernels avx512-q4_0-dense-gemm 5 8\n", SPARAMX_ERR_PROFILE_DAMAGED, 5},
    {HEAD "kernel avx512-q4_0-dense-gemm 5\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "kernel avx512-q4_0-dense-gemm 5 8 9\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "kernel avx512-q4_0-dense-gem 5 8\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "kernel avx512-q4_0-dense-gemm2 5 8\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "kernel avx512-q4_0-dense-gemm 0 8\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "kernel avx512-q4_0-dense-gemm 9 8\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "kernel avx512-q4_0-dense-gemm -1 8\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "kernel avx512-q4_0-dense-gemm 1 99999999999999999999\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "kernel avx512-q4_0-dense-gemm any 8\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "kernel avx512-q4_0-dense-m4 1 4\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "kernel avx512-q4_0-dense-m4 3 5\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "kernel avx512-q4_0-dense-gemm 1 8\nkernel avx512-q4_0-dense-m1 1 any\n", SPARAMX_ERR_PROFILE_DAMAGED, 5},
    {HEAD "kernel avx512-q4_0-dense-gemm 8 any\n#\nkernel avx512-q4_0-dense-gemm 1 8\n", SPARAMX_ERR_PROFILE_DAMAGED,
     6},
    {HEAD "kernel avx512-q4_0-dense-gemm 1 8\0" "kernel", SPARAMX_OK, 0}, /* a string of C ends there */
    {HEAD "sparse q4_0\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "sparse q4_0 30 40\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "sparse q4_0 100.1\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "sparse q4_0 -1\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "sparse q4_0 1e1\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "sparse q4_0 .5\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "sparse q4_0 nan\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "sparse q4_0 99999999999999999999999\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "sparse q4_0 30\nsparse q4_0 30\n", SPARAMX_ERR_PROFILE_DAMAGED, 5},
    {HEAD "sparse q4 30\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "sparse q1_0 30\n", SPARAMX_ERR_PROFILE_DAMAGED, 4}, /* it has no sparse form */
    {HEAD "accuracy some\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "accuracy\n", SPARAMX_ERR_PROFILE_DAMAGED, 4},
    {HEAD "kernel amx-f16-dense-ring 20 32\nkernel amx-f16-dense-ring 1 2\n", SPARAMX_ERR_PROFILE_ACCURACY, 5},
    {HEAD "kernel amx-q4_0-dense-gemm 30 40\n", SPARAMX_ERR_PROFILE_ACCURACY, 4}, /* fewer than 33 */
    {HEAD "kernel amx-q4_0-dense-gemm 1 any\naccuracy any\n", SPARAMX_OK, 0},
    {HEAD "kernel amx-q4_0-dense-gemm 33 any\n", SPARAMX_OK, 0},
    {HEAD "kernel avx512-q4_0-dense-gemm 1 any\nsparse q8_0 27.25", SPARAMX_OK, 0},
};

static void expect(const refusal *r, sparamx_status status) {
    char place[32] = "profile: ";
    if (r->line > 0) snprintf(place, sizeof place, "profile:%d: ", r->line);
    CHECK(status == r->status, "%d, not %d, for: %s", status, r->status, r->text);
    if (r->status == SPARAMX_OK) CHECK(lines == 0, "%s", line);
    else CHECK(lines == 1 && strstr(line, place) != NULL, "'%s' for line %d of: %s", line, r->line, r->text);
}

static void test_refusals(const void *argument) {
    (void)argument;
    for (size_t i = 0; i < COUNT(refusals); i++) {
        lines = 0;
        expect(&refusals[i], load(refusals[i].text));
    }
    /* The last that was good counts, and nothing after it was. */
    sparamx_linear *linear = pack(SPARAMX_TYPE_Q8_0, SPARAMX_FORM_AUTO, 0.05, NULL);
    CHECK(info_of(linear).form == SPARAMX_FORM_DENSE && strstr(info_of(linear).reason, "profile") != NULL,
          "the last good profile is not in use");
    CHECK(load(HEAD) == SPARAMX_ERR_STATE && strstr(line, "too late") != NULL, "a profile comes late: %s", line);
    sparamx_linear_destroy(linear);
}

static void test_files(const void *argument) {
    (void)argument;
    CHECK(sparamx_profile_load(NULL) == SPARAMX_ERR_NULL, "NULL");
    errno = 0;
    CHECK(sparamx_profile_load(path_to("none")) == SPARAMX_ERR_FILE && errno == ENOENT, "no file, errno %d", errno);
    CHECK(sparamx_profile_load(directory()) == SPARAMX_ERR_FILE_KIND, "a directory");
    CHECK(sparamx_profile_load("/dev/null") == SPARAMX_ERR_FILE_KIND, "a device");
    static char large[(1 << 16) + 1];
    memset(large, '\n', sizeof large);
    memcpy(large, HEAD, strlen(HEAD));
    CHECK(sparamx_profile_load(written(large, sizeof large)) == SPARAMX_ERR_PROFILE_FOREIGN, "too large");
    CHECK(sparamx_profile_load(written(large, sizeof large - 1)) == SPARAMX_OK, "as large as can be");
    /* Cut off anywhere, and with any byte in any place. */
    static const char whole[] = HEAD "kernel avx512-q4_0-dense-gemm 1 any # x\nsparse q4_0 27.25\naccuracy any\n";
    for (size_t i = 0; i < sizeof whole - 1; i++) {
        char text[sizeof whole];
        sparamx_status status = sparamx_profile_load(written(whole, i));
        CHECK(status == SPARAMX_OK || status >= SPARAMX_ERR_PROFILE_FOREIGN, "%d for %zu bytes", status, i);
        for (int byte = 0; byte < 256; byte += 5) {
            memcpy(text, whole, sizeof text);
            text[i] = (char)byte;
            status = sparamx_profile_load(written(text, sizeof text - 1));
            CHECK(status == SPARAMX_OK || status >= SPARAMX_ERR_PROFILE_FOREIGN, "%d for %d at %zu", status, byte, i);
        }
    }
}

/* -- the environment ----------------------------------------------------------------------------------------------- */

static void test_environment(const void *argument) {
    const char *text = argument;
    setenv("SPARAMX_PROFILE", written(text, strlen(text)), 1);
    bool good = strstr(text, "never") != NULL;
    sparamx_linear *linear = pack(SPARAMX_TYPE_Q8_0, SPARAMX_FORM_AUTO, 0.9, NULL);
    CHECK(info_of(linear).form == (good ? SPARAMX_FORM_DENSE : SPARAMX_FORM_SPARSE), "%s", line);
    CHECK(lines == (good ? 0 : 1), "%d lines: %s", lines, line);
    CHECK(goes_by_table(SPARAMX_TYPE_Q8_0, SPARAMX_FORM_SPARSE), "another kernel than the table's");
    sparamx_linear_destroy(linear);
}

static void test_host_before_environment(const void *argument) {
    setenv("SPARAMX_PROFILE", argument, 1);
    CHECK(load(HEAD "sparse q8_0 0\n") == SPARAMX_OK, "%s", line);
    sparamx_linear *linear = pack(SPARAMX_TYPE_Q8_0, SPARAMX_FORM_AUTO, 0.01, NULL);
    CHECK(info_of(linear).form == SPARAMX_FORM_SPARSE && lines == 0, "the environment's file was read: %s", line);
    sparamx_linear_destroy(linear);
}

int main(void) {
    directory();
    unsetenv("SPARAMX_PROFILE");
    test_kernels();
    in_child("shares of zeros", test_shares, NULL);
    in_child("refusals", test_refusals, NULL);
    in_child("files", test_files, NULL);
    in_child("environment, good", test_environment, HEAD "sparse q8_0 never\n");
    in_child("environment, wrong", test_environment, HEAD "sparse q8_0\n");
    in_child("environment, another CPU", test_environment, "sparamx-profile 1\nlibrary 0.1.0\ncpu none\n");
    in_child("the host's file", test_host_before_environment, path_to("none"));
    return check_end();
}
