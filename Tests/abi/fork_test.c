/*
 * fork_test.c - locks that are held by somebody who is not there: a child that was forked while another thread was
 * inside the library, and a first call that is made by a constructor, under the loader's lock. Nobody may wait for
 * ever.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Runs body in a child that is ended after three seconds. Its exit status, or -1 if it hung. */
static int in_child(void (*body)(int round), int round) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(3);
        body(round);
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return -2;
    return WIFSIGNALED(status) ? -1 : WEXITSTATUS(status);
}

static void ignore(int32_t level, const char *message, void *user) {
    (void)level;
    (void)message;
    (void)user;
}

static volatile bool stop;

static void *refused_uploads(void *unused) {
    (void)unused;
    sparamx_buffer *buffer = NULL;
    if (sparamx_buffer_create(4096, NULL, &buffer) != SPARAMX_OK) return NULL;
    sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, 64, 16, 1, 1, (void *)4096, buffer);
    char data[8] = {0};
    while (!stop) sparamx_buffer_set_tensor(buffer, &t, data, 0, sizeof data);
    sparamx_buffer_destroy(buffer);
    return NULL;
}

/* Everything that a child may do: log, ask, make, pack with threads, multiply. */
static void use_all(int round) {
    (void)round;
    enum { ROWS = 32, K = 64 };
    uint16_t w[ROWS * K];
    float x[K], y[ROWS];
    sparamx_capability c = {.size = sizeof c};
    sparamx_linear_options o = {.size = sizeof o, .pack_threads = 2};
    sparamx_linear *linear = NULL;
    for (int i = 0; i < ROWS * K; i++) w[i] = i % 2 == 0 ? 0 : 0x3f80;
    for (int i = 0; i < K; i++) x[i] = 1;
    if (sparamx_set_log(ignore, NULL) != SPARAMX_OK || sparamx_set_log(NULL, NULL) != SPARAMX_OK) _exit(1);
    if (sparamx_get_capability(&c) != SPARAMX_OK) _exit(2);
    if (sparamx_linear_create(SPARAMX_TYPE_BF16, ROWS, K, w, 0, &o, &linear) != SPARAMX_OK) _exit(3);
    if (multiply(linear, 1, 2, x, K, y, ROWS) != SPARAMX_OK || y[0] != K / 2) _exit(4);
    sparamx_linear_destroy(linear);
    _exit(sparamx_cap_isa(SPARAMX_ISA_REFERENCE) == SPARAMX_ERR_STATE ? 0 : 5);
}

/* Another thread logs all the time. */
static void test_beside_a_log(void) {
    pthread_t threads[2];
    int hung = 0, wrong = 0;
    stop = false;
    sparamx_set_log(ignore, NULL);
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, refused_uploads, NULL) == 0, "a thread");
    for (int i = 0; i < 300; i++) {
        int result = in_child(use_all, i);
        hung += result == -1;
        wrong += result > 0;
    }
    stop = true;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    sparamx_set_log(NULL, NULL);
    CHECK(hung == 0, "%d children hung, forked while another thread logged", hung);
    CHECK(wrong == 0, "%d children could not use the library", wrong);
}

/* A fork from inside the receiver: parent and child both go on. */
static void fork_inside(int32_t level, const char *message, void *user) {
    (void)level;
    (void)message;
    int *result = user;
    *result = in_child(use_all, 0);
}

static void test_inside_a_receiver(void) {
    int result = -3;
    sparamx_set_log(fork_inside, &result);
    sparamx_buffer *buffer = NULL;
    CHECK(sparamx_buffer_create(4096, NULL, &buffer) == SPARAMX_OK, "a buffer");
    sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, 64, 16, 1, 1, (void *)4096, buffer);
    sparamx_buffer_set_tensor(buffer, &t, &result, 0, 1);
    sparamx_set_log(NULL, NULL);
    sparamx_buffer_destroy(buffer);
    CHECK(result == 0, "a child that the receiver forked ended with %d", result);
}

/* -- the first call ------------------------------------------------------------------------------------------------ */

static void *first_call(void *unused) {
    (void)unused;
    sparamx_capability c = {.size = sizeof c};
    sparamx_get_capability(&c);
    return NULL;
}

/* In a process that has not called the library yet: one thread makes the first call, another forks at that time. */
static void fork_beside_first_call(int round) {
    pthread_t thread;
    struct timespec wait = {0, round % 60 * 10000};
    if (pthread_create(&thread, NULL, first_call, NULL) != 0) _exit(9);
    nanosleep(&wait, NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(2);
        first_call(NULL);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    pthread_join(thread, NULL);
    if (WIFSIGNALED(status)) raise(SIGALRM);
}

static pthread_barrier_t both;
static int delay;

static void *first_call_later(void *unused) {
    pthread_barrier_wait(&both);
    for (volatile int i = 0; i < delay; i++) {}
    return first_call(unused);
}

/* One thread makes the first call, the other loads something whose constructor makes it. */
static void first_call_under_loader(int round) {
    pthread_t thread;
    delay = round % 100 * 4000;
    pthread_barrier_init(&both, NULL, 2);
    if (pthread_create(&thread, NULL, first_call_later, NULL) != 0) _exit(9);
    pthread_barrier_wait(&both);
    if (dlopen("libconstructor.so", RTLD_NOW) == NULL) _exit(8);
    pthread_join(thread, NULL);
}

static void test_first_call(const char *what, void (*body)(int round)) {
    int hung = 0, failed = 0;
    for (int i = 0; i < 400; i++) {
        int result = in_child(body, i);
        hung += result == -1;
        failed += result > 0;
    }
    CHECK(hung == 0, "%d of 400 hung: %s", hung, what);
    CHECK(failed == 0, "%d of 400 could not be tried: %s", failed, what);
}

int main(void) {
    /* Before anything here calls the library. */
    test_first_call("a child forked during the first call", fork_beside_first_call);
    test_first_call("the first call in a constructor and elsewhere", first_call_under_loader);
    test_beside_a_log();
    test_inside_a_receiver();
    return check_end();
}
