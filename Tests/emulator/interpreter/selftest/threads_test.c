/*
 * threads_test.c - several threads that reach the same new text at once each perform all of it.
 *
 *   threads_test
 *
 * A function of many INC RAX and a RET; each thread performs it as soon as the others may decode it, and has to count
 * all.
 */
#include "../machine.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

int (*emu_interpret)(greg_t *gregs);
int emu_execute(greg_t *gregs);
int emu_execute(greg_t *gregs) { return (void)gregs, 0; }

enum { THREADS = 2, FUNCTIONS = 400, INCREMENTS = 250, LENGTH = 3 * INCREMENTS + 1, ROOM = 1 << 20, BACK = 0x1234 };
_Static_assert(FUNCTIONS * LENGTH <= ROOM, "the functions fit");
extern uint8_t room[];
static unsigned arrived, wrong;

/* Spinning, so that the threads go on within a microsecond; the later ones meet text that is half decoded. */
static void meet(unsigned round, unsigned delay) {
    __atomic_fetch_add(&arrived, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) < THREADS * (round + 1)) _mm_pause();
    for (unsigned x = 0; x < delay; x++) _mm_pause();
}

static void *perform(void *number) {
    static _Thread_local machine m;
    for (unsigned f = 0; f < FUNCTIONS; f++) {
        uint64_t stack[4] = {BACK};
        memset(&m, 0, sizeof m);
        m.g[RSP] = (uint64_t)(uintptr_t)stack;
        meet(f, number == NULL ? 0 : f);
        for (insn *i = decode_enter((uint64_t)(uintptr_t)(room + f * LENGTH)); i != NULL; i = i->perform(i, &m)) {
        }
        if (m.g[RAX] != INCREMENTS || m.rip != BACK) __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
    }
    return number;
}

int main(void) {
    decode_init();
    if (mprotect(room, ROOM, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) return 2;
    for (unsigned f = 0; f < FUNCTIONS; f++) {
        for (unsigned x = 0; x < INCREMENTS; x++) memcpy(&room[f * LENGTH + 3 * x], "\x48\xff\xc0", 3);
        room[f * LENGTH + 3 * INCREMENTS] = 0xc3;
    }
    pthread_t threads[THREADS];
    for (unsigned t = 0; t < THREADS; t++)
        if (pthread_create(&threads[t], NULL, perform, t == 0 ? NULL : room) != 0) return 2;
    for (unsigned t = 0; t < THREADS; t++) pthread_join(threads[t], NULL);
    if (wrong != 0) printf("FAILED: %u of %u functions were left before their end\n", wrong, THREADS * FUNCTIONS);
    printf("%u passed, %u failed, 0 skipped\n", THREADS * FUNCTIONS - wrong, wrong);
    return wrong != 0;
}

__asm__(".text\n.p2align 12\n.globl room\nroom:\n.zero 1048576\n");
