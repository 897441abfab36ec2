/*
 * crowd_test - what only many threads at the same moment can break in the shipped library: announcing tensors of one
 * buffer, the count of resident memory, what packing threads count, and a log receiver that is replaced all the time.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 8, PAGE = 4096, EACH = 2000 };

static pthread_barrier_t together;
static long wrong;

static void note(bool good) {
    if (!good) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* -- announcing ---------------------------------------------------------------------------------------------------- */

static sparamx_buffer *buffer;

/* Tensor i of a thread: all threads' tensors lie between each other. */
static sparamx_tensor tensor_of(int thread, int i) {
    char *data = (char *)sparamx_buffer_base(buffer) + ((size_t)i * THREADS + (size_t)thread) * PAGE;
    return make_tensor(SPARAMX_TYPE_BF16, 16, 4, 1, 1, data, buffer);
}

static void announce(int thread, void *context) {
    (void)context;
    pthread_barrier_wait(&together);
    for (int i = 0; i < EACH; i++) {
        sparamx_tensor t = tensor_of(thread, thread % 2 ? EACH - 1 - i : i);
        /* The first upload announces too, even one of nothing. */
        note((thread / 2 % 2 ? sparamx_buffer_memset_tensor(buffer, &t, 0, 0, 0)
                             : sparamx_buffer_init_tensor(buffer, &t)) == SPARAMX_OK);
    }
}

static void test_announcing(void) {
    for (int round = 0; round < 3; round++) {
        wrong = 0;
        CHECK(sparamx_buffer_create((size_t)THREADS * EACH * PAGE, NULL, &buffer) == SPARAMX_OK, "a buffer");
        run_threads(THREADS, announce, NULL);
        long lost = 0;
        for (int thread = 0; thread < THREADS; thread++) {
            for (int i = 0; i < EACH; i++) {
                sparamx_tensor t = tensor_of(thread, i), other = t;
                uint8_t byte;
                /* One that reaches into it is refused only if it is in the list of places. */
                other.ne[1] = 100;
                other.nb[2] = other.nb[3] = 3200;
                other.data = (char *)t.data - PAGE / 2;
                lost += sparamx_buffer_get_tensor(buffer, &t, &byte, 0, 1) != SPARAMX_OK;
                if (i > 0) lost += sparamx_buffer_init_tensor(buffer, &other) != SPARAMX_ERR_OVERLAP;
            }
        }
        CHECK(wrong == 0 && lost == 0, "%d threads announce tensors: %ld refused, %ld lost", THREADS, wrong, lost);
        sparamx_buffer_destroy(buffer);
        if (wrong != 0 || lost != 0) break;
    }
}

/* -- resident memory ----------------------------------------------------------------------------------------------- */

static void upload(int thread, void *context) {
    uint8_t *data = context;
    pthread_barrier_wait(&together);
    /* Half of the threads change the count, the others add nothing to it as often as they can. */
    for (int i = 0; i < 20000; i++) {
        sparamx_tensor t = tensor_of(thread, i % 4);
        for (int j = 0; thread % 2 && j < 16; j++)
            note(sparamx_buffer_memset_tensor(buffer, &t, 1, 0, 1) == SPARAMX_OK);
        if (thread % 2) continue;
        note(sparamx_buffer_set_tensor(buffer, &t, data, 0, 128) == SPARAMX_OK);
        note(sparamx_buffer_init_tensor(buffer, &t) == SPARAMX_OK);
    }
}

static void test_resident(void) {
    uint8_t data[128];
    wrong = 0;
    /* Of usage ANY: nothing is packed, so the count is most of the work. */
    sparamx_buffer_options o = {.size = sizeof o, .usage = SPARAMX_USAGE_ANY};
    fill_bytes(sizeof data, 3, data);
    CHECK(sparamx_buffer_create((size_t)THREADS * 4 * PAGE, &o, &buffer) == SPARAMX_OK, "a buffer");
    run_threads(THREADS, upload, data);
    for (int i = 0; i < 4 * THREADS; i++) {
        sparamx_tensor t = tensor_of(i % THREADS, i / THREADS);
        note(sparamx_buffer_set_tensor(buffer, &t, data, 0, 128) == SPARAMX_OK);
    }
    size_t resident = sparamx_buffer_resident(buffer);
    CHECK(wrong == 0, "%ld uploads refused", wrong);
    CHECK(resident == 4 * THREADS * 128, "%zu bytes said to be resident, there are %d", resident, 4 * THREADS * 128);
    sparamx_buffer_destroy(buffer);
}

/* -- what packing threads count ------------------------------------------------------------------------------------ */

static void test_counts(void) {
    enum { N = 1 << 17, K = 16 }; /* short panels: the counts are most of the work */
    uint8_t *w = must_allocate((size_t)N * K * 2);
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.5, 5, w);
    uint64_t zeros = 0;
    for (size_t i = 0; i < (size_t)N * K; i++) zeros += w[2 * i] == 0 && w[2 * i + 1] == 0;
    for (int round = 0; round < 10; round++) {
        sparamx_linear_options o = {.size = sizeof o, .form = SPARAMX_FORM_SPARSE, .pack_threads = round % 8 + 1};
        sparamx_linear *linear = NULL;
        sparamx_tensor_info info = {.size = sizeof info};
        sparamx_status status = sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, w, 0, &o, &linear);
        CHECK(status == SPARAMX_OK && sparamx_linear_info(linear, &info) == SPARAMX_OK && info.background == zeros &&
                  sparamx_linear_verify(linear) == SPARAMX_OK,
              "%d packing threads: status %d, %llu zeros of %llu", round % 8 + 1, status,
              (unsigned long long)info.background, (unsigned long long)zeros);
        sparamx_linear_destroy(linear);
    }
    free(w);
}

/* -- the log ------------------------------------------------------------------------------------------------------- */

static int marks[2];
static long lines;
static volatile bool stop;

static void first(int32_t level, const char *message, void *user) {
    (void)level, (void)message;
    __atomic_add_fetch(&lines, 1, __ATOMIC_RELAXED);
    note(user == &marks[0]);
}

static void second(int32_t level, const char *message, void *user) {
    (void)level, (void)message;
    note(user == &marks[1]);
}

/* Threads 0 and 1 replace the receiver, the others make the library log. */
static void replace_or_log(int thread, void *context) {
    (void)context;
    sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, 16, 4, 1, 1, NULL, NULL);
    double end = seconds() + 2;
    pthread_barrier_wait(&together);
    while (!stop) {
        if (thread < 2) {
            for (int i = 0; i < 100; i++) sparamx_set_log(i % 2 ? first : second, &marks[i % 2 ? 0 : 1]);
        } else {
            for (int i = 0; i < 100; i++) note(sparamx_buffer_set_tensor(NULL, &t, marks, 0, 1) == SPARAMX_ERR_NULL);
        }
        if (seconds() > end) stop = true;
    }
}

static void test_log(void) {
    wrong = 0;
    run_threads(THREADS, replace_or_log, NULL);
    sparamx_set_log(NULL, NULL);
    CHECK(lines > 0 && wrong == 0, "%ld of %ld lines reached a receiver with what belongs to another", wrong, lines);
}

int main(void) {
    pthread_barrier_init(&together, NULL, THREADS);
    isa_level();
    test_announcing();
    test_resident();
    test_counts();
    test_log();
    return check_end();
}
