/*
 * thread_state_test.c - what belongs to the host's threads stays the host's: its signals and their mask, its fault
 * handlers, cancellation, and the floating-point mode, which results do not depend on.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"
#include "types.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xmmintrin.h>

enum { ROWS = 2048, K = 1024 };

static sparamx_status pack(const void *weights, int threads, sparamx_linear **out) {
    sparamx_linear_options o = {.size = sizeof o, .pack_threads = threads};
    return sparamx_linear_create(SPARAMX_TYPE_BF16, ROWS, K, weights, 0, &o, out);
}

/* -- a model file that is truncated while it is read: the host's handler has to run -------------------------------- */

static void leave(int signal) { _exit(signal == SIGBUS ? 7 : 6); }

static int pack_truncated(int threads) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct sigaction action = {.sa_handler = leave};
        sigaction(SIGBUS, &action, NULL);
        sigaction(SIGSEGV, &action, NULL);
        size_t bytes = (size_t)ROWS * K * 2;
        int file = memfd_create("model", 0);
        if (ftruncate(file, (off_t)bytes) != 0) _exit(2);
        uint8_t *w = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        memset(w, 0x3c, bytes);
        if (ftruncate(file, (off_t)(bytes * 3 / 4)) != 0) _exit(2); /* what the last threads read */
        sparamx_linear *linear = NULL;
        pack(w, threads, &linear);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void test_faults(void) {
    for (int threads = 1; threads <= 4; threads++) {
        int result = pack_truncated(threads);
        CHECK(result == 7, "%d threads: %d instead of the host's handler (7)", threads, result);
    }
}

/* -- signals to the process, and the caller's mask ----------------------------------------------------------------- */

static pthread_t host[2];
static int host_count;
static volatile int elsewhere, handled;

static void where(int signal) {
    (void)signal;
    bool known = false;
    for (int i = 0; i < host_count; i++) known |= pthread_equal(host[i], pthread_self()) != 0;
    __atomic_add_fetch(known ? &handled : &elsewhere, 1, __ATOMIC_SEQ_CST);
}

static volatile bool stop;

static void *send_signals(void *unused) {
    (void)unused;
    /* Not to this thread, so that one of the library's is the next best. */
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    while (!stop) {
        kill(getpid(), SIGUSR1);
        usleep(50);
    }
    return NULL;
}

static void test_signals(const uint8_t *w) {
    struct sigaction action = {.sa_handler = where};
    sigset_t mine, before, after;
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&mine);
    sigaddset(&mine, SIGUSR2);
    sigaddset(&mine, SIGHUP);
    pthread_sigmask(SIG_SETMASK, &mine, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    host[0] = pthread_self();
    host_count = 1; /* before the first signal, which may come to this thread before the next line has ended */
    stop = false;
    CHECK(pthread_create(&host[1], NULL, send_signals, NULL) == 0, "a thread");
    host_count = 2;
    for (int i = 0; i < 30; i++) {
        sparamx_linear *linear = NULL;
        CHECK(pack(w, 4, &linear) == SPARAMX_OK, "packing under signals");
        sparamx_linear_destroy(linear);
    }
    stop = true;
    pthread_join(host[1], NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    int differ = 0;
    for (int s = 1; s < 65; s++) differ += sigismember(&before, s) != sigismember(&after, s);
    CHECK(differ == 0, "%d signals are blocked otherwise after packing", differ);
    CHECK(elsewhere == 0, "%d signals were handled on threads of the library", elsewhere);
    CHECK(handled > 0, "no signal arrived");
    sigemptyset(&mine);
    pthread_sigmask(SIG_SETMASK, &mine, NULL);
}

/* -- cancellation -------------------------------------------------------------------------------------------------- */

static const uint8_t *cancel_weights;
static volatile int made;

static void *pack_for_ever(void *unused) {
    (void)unused;
    for (;;) {
        sparamx_linear *linear = NULL;
        if (pack(cancel_weights, 3, &linear) != SPARAMX_OK) return NULL;
        sparamx_linear_destroy(linear);
        made++;
        int state = -1;
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
        if (state != PTHREAD_CANCEL_ENABLE) return NULL;
        pthread_testcancel();
    }
}

static void test_cancellation(const uint8_t *w) {
    cancel_weights = w;
    for (int i = 0; i < 10; i++) {
        pthread_t thread;
        void *result = NULL;
        int before = made;
        if (!CHECK(pthread_create(&thread, NULL, pack_for_ever, NULL) == 0, "a thread")) return;
        usleep(3000 + 1700 * (unsigned)i);
        pthread_cancel(thread);
        pthread_join(thread, &result);
        CHECK(result == PTHREAD_CANCELED, "the thread ended otherwise");
        CHECK(made > before, "the call that was running when the thread was cancelled did not end");
    }
}

/* -- the floating-point mode --------------------------------------------------------------------------------------- */

typedef struct job {
    const sparamx_linear *linear;
    const float *x;
    float *y;
    int64_t m, n, k;
    void *work;
    size_t work_size;
    unsigned mode[2], after[2], inside[2];
    pthread_barrier_t barrier;
    sparamx_status status[2];
} job;

static __thread unsigned *inside;
static job *current;

static void barrier(void *data) {
    (void)data;
    *inside = _mm_getcsr() & ~0x3fu;
    pthread_barrier_wait(&current->barrier);
}

static void work(int i, void *context) {
    job *j = context;
    sparamx_params params = {
        .size = sizeof params, .ith = i, .nth = 2, .work = j->work, .work_size = j->work_size, .barrier = barrier};
    inside = &j->inside[i];
    *inside = j->mode[i];
    _mm_setcsr(j->mode[i]);
    j->status[i] = sparamx_linear_compute(j->linear, &params, j->m, j->x, j->k, j->y, j->n);
    j->after[i] = _mm_getcsr();
}

/* Flush to zero and denormals are zero; the other roundings; exceptions that trap. */
static const unsigned modes[] = {0x9fc0, 0x3f80, 0x5f80, 0x7f80, 0x1f80 & ~0x0a80u};

static void test_mode(const gguf_type *type, int64_t m) {
    enum { N = 64 };
    int64_t k = 512;
    uint8_t *w = must_allocate(gguf_row_bytes(type, k) * N);
    float *x = must_allocate((size_t)(m * k) * 4), *want = must_allocate((size_t)(m * N) * 4),
          *y = must_allocate((size_t)(m * N) * 4);
    gguf_fill(type, N, k, 0.5, 5, w);
    fill_activations(m * k, 6, x);
    x[3] = 1e-41f; /* subnormal */
    sparamx_linear *linear = NULL;
    CHECK(sparamx_linear_create(type->number, N, k, w, 0, NULL, &linear) == SPARAMX_OK, "%s", type->name);
    CHECK(multiply(linear, m, 1, x, k, want, N) == SPARAMX_OK, "%s", type->name);
    job j = {.linear = linear, .x = x, .y = y, .m = m, .n = N, .k = k};
    CHECK(sparamx_linear_work_size(linear, m, 2, &j.work_size) == SPARAMX_OK, "%s", type->name);
    j.work = must_allocate(j.work_size);
    current = &j;
    for (size_t i = 0; i < COUNT(modes); i++) {
        j.mode[0] = modes[i], j.mode[1] = i % 2 == 0 ? 0x1f80 : modes[i];
        memset(y, 0, (size_t)(m * N) * 4);
        pthread_barrier_init(&j.barrier, NULL, 2);
        run_threads(2, work, &j);
        pthread_barrier_destroy(&j.barrier);
        CHECK(memcmp(y, want, (size_t)(m * N) * 4) == 0, "%s, %d tokens: results depend on the mode %04x", type->name,
              (int)m, modes[i]);
        for (int t = 0; t < 2; t++) {
            CHECK(j.status[t] == SPARAMX_OK && j.after[t] == j.mode[t], "%s: mode %04x is %04x after compute",
                  type->name, j.mode[t], j.after[t]);
            CHECK(j.inside[t] == j.mode[t], "%s: mode %04x is %04x in the barrier", type->name, j.mode[t], j.inside[t]);
        }
    }
    free(j.work);
    sparamx_linear_destroy(linear);
    free(w), free(x), free(want), free(y);
}

int main(void) {
    test_faults();
    uint8_t *w = must_allocate((size_t)ROWS * K * 2);
    fill_weights(SPARAMX_TYPE_BF16, ROWS, K, 0.5, 1, w);
    test_signals(w);
    test_cancellation(w);
    free(w);
    const gguf_type *types[GGUF_TYPES];
    int count = gguf_reported(types);
    for (int i = 0; i < count; i++) {
        test_mode(types[i], 1);
        test_mode(types[i], 3);
        test_mode(types[i], 40);
    }
    return check_end();
}
