/*
 * once_test - what is found out once per process is found out once, however many threads make the first call at the
 * same moment, and all of them get the same answer; the level can be capped before that moment and not after it. Each
 * process has one first call, so each round is a child process. secure_getenv of this program stands before libc's: it
 * counts how often the library looks, and takes its time there.
 */
#define _GNU_SOURCE
#include "check.h"
#include "in_library.h"
#include "support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, ROUNDS = 20 };

static int looks;

char *secure_getenv(const char *name) {
    extern char **environ;
    if (in_library((uintptr_t)__builtin_return_address(0))) {
        __atomic_add_fetch(&looks, 1, __ATOMIC_RELAXED);
        usleep(5000);
    }
    size_t length = strlen(name);
    for (char **e = environ; e != NULL && *e != NULL; e++) {
        if (strncmp(*e, name, length) == 0 && (*e)[length] == '=') return *e + length + 1;
    }
    return NULL;
}

/* Runs body in a child that has not called the library yet; what it returns, -1 if it ends otherwise. */
static int in_child(int (*body)(int), int argument) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        _exit(body(argument));
    }
    int end = 0;
    if (child < 0 || waitpid(child, &end, 0) != child || !WIFEXITED(end)) return -1;
    return WEXITSTATUS(end);
}

static pthread_barrier_t together;
static sparamx_capability found[THREADS];

static void first_call(int index, void *context) {
    (void)context;
    found[index] = (sparamx_capability){.size = sizeof found[index]};
    pthread_barrier_wait(&together);
    if (sparamx_get_capability(&found[index]) != SPARAMX_OK) found[index].size = 0;
}

static int first_calls(int round) {
    (void)round;
    pthread_barrier_init(&together, NULL, THREADS);
    run_threads(THREADS, first_call, NULL);
    for (int i = 0; i < THREADS; i++) {
        if (found[i].size == 0 || found[i].status != SPARAMX_OK) return 1;
        if (memcmp(&found[i], &found[0], sizeof found[0]) != 0) return 2;
    }
    return looks == 1 ? 0 : 3;
}

/* 0 if the level is at most the cap, and the cap came in time. */
static int cap_first(int level) {
    sparamx_capability c = {.size = sizeof c};
    if (sparamx_cap_isa(SPARAMX_ISA_REFERENCE) != SPARAMX_OK || sparamx_cap_isa(level) != SPARAMX_OK) return 1;
    if (sparamx_cap_isa(-1) != SPARAMX_ERR_RANGE || sparamx_cap_isa(3) != SPARAMX_ERR_RANGE) return 2;
    if (sparamx_get_capability(&c) != SPARAMX_OK || c.isa > level) return 3;
    /* Where the CPU has more than the cap allows, the cap is the reason. */
    if (level < SPARAMX_ISA_AVX512 && c.avx512 != SPARAMX_ERR_CAPPED && c.avx512 != SPARAMX_ERR_NO_AVX512 &&
        c.avx512 != SPARAMX_ERR_HIDDEN)
        return 4;
    return sparamx_cap_isa(SPARAMX_ISA_AMX) == SPARAMX_ERR_STATE ? 0 : 5;
}

/* Too late: nothing changes. */
static int cap_after(int level) {
    sparamx_capability before = {.size = sizeof before}, after = {.size = sizeof after};
    if (sparamx_get_capability(&before) != SPARAMX_OK || sparamx_cap_isa(level) != SPARAMX_ERR_STATE) return 1;
    if (sparamx_get_capability(&after) != SPARAMX_OK) return 2;
    return memcmp(&before, &after, sizeof after) == 0 ? 0 : 3;
}

int main(void) {
    find_library();
    for (int i = 0; i < ROUNDS; i++) {
        int end = in_child(first_calls, i);
        if (!CHECK(end == 0, "%d threads make the first call: %s", THREADS,
                   end == 1 ? "one is refused" : end == 2 ? "they get different answers"
                   : end == 3 ? "the library looks more than once" : "a thread does not come back"))
            break;
    }
    for (int level = SPARAMX_ISA_REFERENCE; level <= SPARAMX_ISA_AMX; level++) {
        int end = in_child(cap_first, level);
        CHECK(end == 0, "a cap of %d before the first call: case %d", level, end);
        end = in_child(cap_after, level);
        CHECK(end == 0, "a cap of %d after the first call: case %d", level, end);
    }
    return check_end();
}
