/*
 * quiet_test - compute asks nothing of the system: no memory, no thread, no message, not one system call. Each product
 * runs in a child in seccomp's strict mode, where the kernel kills at anything but read, write and exit; and once more
 * with libfail.so, which would make the first allocation or thread fail and counts them. Over every reported type, both
 * forms, all kernels of the plan, packed weights and the host's bytes.
 */
#define _GNU_SOURCE
#include "check.h"
#include "fail.h"
#include "piece.h"

#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 70, K = 512, MOST_M = 40 };

typedef struct product {
    const sparamx_linear *linear; /* or */
    const sparamx_op *op;
    sparamx_params params;
    int64_t m;
    const float *x;
    float *y;
} product;

static sparamx_status run(const product *p) {
    return p->op != NULL ? sparamx_compute(&p->params, p->op)
                         : sparamx_linear_compute(p->linear, &p->params, p->m, p->x, K, p->y, N);
}

/* How a child ends that computes and does nothing else. */
static int in_strict_mode(const product *p, bool misbehave) {
    int end = 0;
    pid_t child = fork();
    if (child == 0) {
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) syscall(SYS_exit, 77);
        if (misbehave) (void)getppid();
        syscall(SYS_exit, run(p));
    }
    waitpid(child, &end, 0);
    return end;
}

static int lines;
static void count_line(int32_t level, const char *message, void *user) {
    (void)level, (void)message, (void)user;
    lines++;
}

static void test(const product *p, const char *what) {
    int end = in_strict_mode(p, false);
    CHECK(WIFEXITED(end) && WEXITSTATUS(end) == SPARAMX_OK, "%s, m %lld: ends with %x in strict mode", what,
          (long long)p->m, (unsigned)end);
    lines = 0;
    fail_arm(1);
    sparamx_status status = run(p);
    long calls = fail_calls();
    fail_arm(0);
    CHECK(status == SPARAMX_OK && calls == 0 && lines == 0,
          "%s, m %lld: status %d, %ld allocations or threads, %d lines", what, (long long)p->m, status, calls, lines);
}

static void test_type(const gguf_type *type, int32_t form) {
    static const int64_t tokens[] = {1, 2, 3, 4, 5, 16, 17, 32, 33, MOST_M};
    static float x[MOST_M * K], y[MOST_M * N];
    char what[64];
    uint8_t *w = must_allocate(gguf_row_bytes(type, K) * N);
    gguf_fill(type, N, K, 0.5, 1, w);
    fill_activations(MOST_M * K, 2, x);
    sparamx_linear_options o = {.size = sizeof o, .form = form};
    sparamx_linear *linear = NULL;
    if (!CHECK(sparamx_linear_create(type->number, N, K, w, 0, &o, &linear) == SPARAMX_OK, "linear")) return;
    for (size_t i = 0; i < COUNT(tokens); i++) {
        sparamx_tensor wt = gguf_tensor(type, K, N, w, NULL);
        sparamx_tensor xt = make_tensor(SPARAMX_TYPE_F32, K, tokens[i], 1, 1, x, NULL);
        sparamx_tensor yt = make_tensor(SPARAMX_TYPE_F32, N, tokens[i], 1, 1, y, NULL);
        sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &yt, .weight = &wt, .x = &xt};
        for (int raw = 0; raw < 2; raw++) {
            product p = {.m = tokens[i], .x = x, .y = y};
            p.params = (sparamx_params){.size = sizeof p.params, .nth = 1};
            sparamx_status status = raw ? sparamx_work_size(&op, 1, &p.params.work_size)
                                        : sparamx_linear_work_size(linear, tokens[i], 1, &p.params.work_size);
            if (!CHECK(status == SPARAMX_OK, "work size")) continue;
            p.params.work = must_allocate(p.params.work_size);
            if (raw) p.op = &op;
            else p.linear = linear;
            snprintf(what, sizeof what, "%s %s", type->name, raw ? "from the host's bytes" : form_name(form));
            test(&p, what);
            free(p.params.work);
        }
    }
    sparamx_linear_destroy(linear);
    free(w);
}

int main(void) {
    const gguf_type *types[GGUF_TYPES];
    isa_level();
    sparamx_set_log(count_line, NULL);
    int end = in_strict_mode(&(product){0}, true);
    if (WIFEXITED(end) && WEXITSTATUS(end) == 77) {
        SKIP(1, "products without a system call: strict mode is not allowed here");
        return check_end();
    }
    CHECK(WIFSIGNALED(end) && WTERMSIG(end) == SIGKILL, "strict mode lets a system call pass: %x", (unsigned)end);
    /* libfail.so is there and sees the library. */
    sparamx_buffer *buffer = NULL;
    fail_arm(0);
    CHECK(sparamx_buffer_create(1 << 16, NULL, &buffer) == SPARAMX_OK && fail_calls() > 0,
          "libfail.so is not preloaded");
    sparamx_buffer_destroy(buffer);
    int count = gguf_reported(types);
    for (int i = 0; i < PACKED_FORMS * count; i++) {
        const gguf_type *type = types[i / PACKED_FORMS];
        if (gguf_serves(type, packed_forms[i % PACKED_FORMS])) test_type(type, packed_forms[i % PACKED_FORMS]);
    }
    return check_end();
}
