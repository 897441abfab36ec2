/*
 * sandbox_test PART - a process with less than usual: see the functions named test_*. Every reported type and both
 * forms are packed, multiplied and read back in each, and every result is held bit for bit against one from before.
 */
#define _GNU_SOURCE
#include "check.h"
#include "filter.h"
#include "piece.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static piece pieces[2 * GGUF_TYPES];
static int count;

/* From 256 KiB on packing is shared by threads. */
static void make_pieces(void) { count = piece_all(pieces, 300, 1024, 5); }

/* Everything there is, on the calling thread and with nth threads of the host. The number of pieces that went wrong. */
static int all_wrong(int32_t pack_threads, int nth) {
    int wrong = 0;
    for (int i = 0; i < count; i++) wrong += piece_round(&pieces[i], pack_threads, nth) != SPARAMX_OK;
    return wrong;
}

static bool amx_in_cpu(void) {
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[8192];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        found = strncmp(line, "flags", 5) == 0 && strstr(line, " amx_tile") != NULL;
    if (file != NULL) fclose(file);
    return found;
}

/* -- signal stacks and thread stacks ------------------------------------------------------------------------------- */

static pthread_barrier_t meet;
static int wrong_on_thread;
static char *signal_stack;
enum { SMALL_SIGNAL_STACK = 2048, SMALL_STACK = 64 << 10 };

static void *with_signal_stack(void *context) {
    stack_t small = {.ss_sp = signal_stack, .ss_size = SMALL_SIGNAL_STACK};
    *(int *)context = sigaltstack(&small, NULL);
    pthread_barrier_wait(&meet); /* the first call of the library is made meanwhile */
    pthread_barrier_wait(&meet);
    wrong_on_thread = all_wrong(1, 1);
    small.ss_flags = SS_DISABLE;
    sigaltstack(&small, NULL);
    return NULL;
}

/* A thread has a signal stack too small for tiles when the library asks for them: AMX is refused, the rest goes on. */
static void test_signal_stack(void) {
    pthread_t thread;
    int set = -1;
    signal_stack = must_allocate(SMALL_SIGNAL_STACK);
    pthread_barrier_init(&meet, NULL, 2);
    if (pthread_create(&thread, NULL, with_signal_stack, &set) != 0) exit(2);
    pthread_barrier_wait(&meet);
    CHECK(set == 0, "a signal stack of %d bytes cannot be set", SMALL_SIGNAL_STACK);
    sparamx_capability c = {.size = sizeof c};
    CHECK(sparamx_get_capability(&c) == SPARAMX_OK && c.status == SPARAMX_OK, "capability");
    if (amx_in_cpu() && c.avx512 == SPARAMX_OK) {
        CHECK(c.amx == SPARAMX_ERR_AMX_SIGALTSTACK && c.amx_errno == ENOSPC && c.isa == SPARAMX_ISA_AVX512,
              "amx is %d, errno %d, isa %d", c.amx, c.amx_errno, c.isa);
    } else {
        SKIP(1, "a refusal by the kernel itself because of a small signal stack: this CPU has no AMX");
        CHECK(c.amx != SPARAMX_OK || tiles_emulated(), "AMX on a CPU without it");
    }
    make_pieces();
    pthread_barrier_wait(&meet);
    pthread_join(thread, NULL);
    CHECK(wrong_on_thread == 0, "%d of %d pieces on a thread with a small signal stack", wrong_on_thread, count);
    CHECK(all_wrong(2, 3) == 0, "pieces on other threads");
}

static void *on_small_stack(void *context) {
    (void)context;
    wrong_on_thread = all_wrong(2, 1);
    return NULL;
}

/* Some hosts give their threads little: musl's threads have 128 KiB. */
static void test_small_stack(void) {
    make_pieces();
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstacksize(&attributes, SMALL_STACK) != 0 ||
        pthread_create(&thread, &attributes, on_small_stack, NULL) != 0)
        exit(2);
    pthread_join(thread, NULL);
    CHECK(wrong_on_thread == 0, "%d of %d pieces on a stack of %d KiB", wrong_on_thread, count, SMALL_STACK >> 10);
}

/* -- threads and processes ----------------------------------------------------------------------------------------- */

enum { EARLY = 8 };
static int early_wrong[EARLY];
static int32_t early_isa[EARLY];

static void *early(void *context) {
    int index = (int)(intptr_t)context;
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet); /* in between the main thread makes the first call of the process */
    early_isa[index] = isa_level();
    early_wrong[index] = all_wrong(1 + index % 2, 1);
    return NULL;
}

/* Threads made before the first call have what that call found: permission for tiles counts for the whole process. */
static void test_early_threads(void) {
    pthread_t threads[EARLY];
    pthread_barrier_init(&meet, NULL, EARLY + 1);
    for (intptr_t i = 0; i < EARLY; i++) {
        if (pthread_create(&threads[i], NULL, early, (void *)i) != 0) exit(2);
    }
    pthread_barrier_wait(&meet);
    make_pieces();
    int32_t isa = isa_level();
    pthread_barrier_wait(&meet);
    for (int i = 0; i < EARLY; i++) {
        pthread_join(threads[i], NULL);
        CHECK(early_wrong[i] == 0 && early_isa[i] == isa, "early thread %d: level %d of %d, %d of %d pieces wrong", i,
              early_isa[i], isa, early_wrong[i], count);
    }
}

static bool child_ends_well(pid_t child, const char *what) {
    int end = 0;
    waitpid(child, &end, 0);
    return CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "%s: a child ends with %x", what, (unsigned)end);
}

static sparamx_linear *shared[2 * GGUF_TYPES];
static sparamx_buffer *buffer;
static sparamx_tensor tensors[2 * GGUF_TYPES];
static volatile bool stop;

static bool in_child(void) {
    bool good = true;
    alarm(60); /* a lock that the parent held would stay locked for ever */
    for (int i = 0; i < count && good; i++) {
        uint8_t *back = must_allocate(pieces[i].bytes);
        /* The parent's objects: computed with, read, written over, given back. */
        good = piece_product(&pieces[i], shared[i], 1 + i % 2) && piece_reads(&pieces[i], shared[i]);
        good = good && sparamx_buffer_get_tensor(buffer, &tensors[i], back, 0, pieces[i].bytes) == SPARAMX_OK &&
               memcmp(back, pieces[i].w, pieces[i].bytes) == 0;
        good = good && sparamx_buffer_memset_tensor(buffer, &tensors[i], 0, 0, pieces[i].bytes) == SPARAMX_OK;
        sparamx_linear_destroy(shared[i]);
        free(back);
        good = good && piece_round(&pieces[i], 2, 2) == SPARAMX_OK; /* and its own */
    }
    sparamx_buffer_destroy(buffer);
    return good;
}

static void *busy(void *context) {
    intptr_t wrong = 0;
    for (int i = (int)(intptr_t)context; !stop; i++) {
        const piece *p = &pieces[i % count];
        wrong += !piece_product(p, shared[i % count], 1) || piece_round(p, 2, 1) != SPARAMX_OK;
    }
    return (void *)wrong;
}

static void discard(int32_t level, const char *message, void *user) { (void)level, (void)message, (void)user; }

/* Children before the first call, and children of a process whose other threads pack, multiply and log. */
static void test_fork(void) {
    pid_t child = fork();
    if (child == 0) {
        make_pieces();
        _exit(all_wrong(2, 2) == 0 ? 0 : 1);
    }
    child_ends_well(child, "fork before the first call");
    make_pieces();
    sparamx_set_log(discard, NULL);
    size_t slot = 0;
    for (int i = 0; i < count; i++) slot = pieces[i].bytes > slot ? pieces[i].bytes : slot;
    slot = (slot + 4095) / 4096 * 4096;
    CHECK(sparamx_buffer_create(slot * (size_t)count, NULL, &buffer) == SPARAMX_OK, "a buffer");
    for (int i = 0; i < count; i++) {
        uint8_t *place = (uint8_t *)sparamx_buffer_base(buffer) + (size_t)i * slot;
        tensors[i] = gguf_tensor(pieces[i].type, pieces[i].k, pieces[i].n, place, buffer);
        CHECK(sparamx_buffer_set_tensor(buffer, &tensors[i], pieces[i].w, 0, pieces[i].bytes) == SPARAMX_OK &&
                  piece_pack(&pieces[i], 2, &shared[i]) == SPARAMX_OK,
              "objects before a fork");
    }
    pthread_t threads[3];
    for (intptr_t i = 0; i < 3; i++) {
        if (pthread_create(&threads[i], NULL, busy, (void *)i) != 0) exit(2);
    }
    const int children = tiles_emulated() ? 10 : 40;
    for (int i = 0; i < children; i++) {
        child = fork();
        if (child == 0) _exit(in_child() ? 0 : 1);
        if (!child_ends_well(child, "fork beside busy threads")) break;
    }
    stop = true;
    for (int i = 0; i < 3; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        CHECK(wrong == NULL, "a thread of the parent got %d wrong results", (int)(intptr_t)wrong);
    }
    /* What the children wrote and gave back was theirs. */
    for (int i = 0; i < count; i++) {
        uint8_t *back = must_allocate(pieces[i].bytes);
        CHECK(piece_product(&pieces[i], shared[i], 2), "the parent's weight after its children");
        CHECK(sparamx_buffer_get_tensor(buffer, &tensors[i], back, 0, pieces[i].bytes) == SPARAMX_OK &&
                  memcmp(back, pieces[i].w, pieces[i].bytes) == 0,
              "the parent's tensor after its children");
        sparamx_linear_destroy(shared[i]);
        free(back);
    }
    sparamx_buffer_destroy(buffer);
}

/* -- a filter that refuses whatever the library can do without ------------------------------------------------------
 */

static const filter_rule strict[] = {
    {SYS_clone, REFUSE(EPERM), ALWAYS, 0, 0},         {SYS_clone3, REFUSE(EPERM), ALWAYS, 0, 0},
    {SYS_madvise, REFUSE(EPERM), ALWAYS, 0, 0},       {SYS_mbind, REFUSE(ENOSYS), ALWAYS, 0, 0},
    {SYS_set_mempolicy, REFUSE(ENOSYS), ALWAYS, 0, 0}, {SYS_get_mempolicy, REFUSE(ENOSYS), ALWAYS, 0, 0},
    {SYS_openat, REFUSE(EACCES), ALWAYS, 0, 0},       {SYS_open, REFUSE(EACCES), ALWAYS, 0, 0},
    {SYS_sched_getaffinity, REFUSE(ENOSYS), ALWAYS, 0, 0},
};

static void test_strict(void) {
    /* Before the first call, in a child; there even its detection is under the filter. */
    pid_t child = fork();
    if (child == 0) {
        if (filter_install(strict, COUNT(strict)) != 0) _exit(3);
        sparamx_capability c = {.size = sizeof c};
        bool good = sparamx_get_capability(&c) == SPARAMX_OK && c.status == SPARAMX_OK && c.cpus >= 1;
        make_pieces();
        _exit(good && all_wrong(4, 1) == 0 ? 0 : 1);
    }
    child_ends_well(child, "a strict filter before the first call");
    make_pieces();
    CHECK(all_wrong(4, 2) == 0, "before the filter");
    CHECK(filter_install(strict, COUNT(strict)) == 0, "the filter cannot be set");
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, busy, NULL) != 0, "the filter does not work: a thread can be made");
    CHECK(all_wrong(4, 1) == 0, "without threads, advice about pages, policies and files");
    piece large;
    CHECK(piece_make(&large, pieces[0].type, SPARAMX_FORM_SPARSE, 3000, 1024, 1, 9) &&
              piece_round(&large, 8, 1) == SPARAMX_OK,
          "a weight that would be packed by several threads");
    piece_drop(&large);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } parts[] = {{"signal-stack", test_signal_stack}, {"small-stack", test_small_stack},
                 {"early-threads", test_early_threads}, {"fork", test_fork}, {"strict", test_strict}};
    for (size_t i = 0; i < COUNT(parts); i++) {
        if (argc != 2 || strcmp(argv[1], parts[i].name) != 0) continue;
        parts[i].run();
        return check_end();
    }
    fprintf(stderr, "sandbox_test signal-stack|small-stack|early-threads|fork|strict\n");
    return 2;
}
