#define _GNU_SOURCE 1 /* syscall */

#include "barrier.h"

#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { YIELDS_BEFORE_SLEEP = 32, ALL_OF_THEM = 0x7fffffff };

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void release(barrier *b, unsigned turn) {
    atomic_store_explicit(&b->arrived, 0, memory_order_relaxed);
    atomic_store(&b->turn, turn + 1); /* in one order with 'sleepers': who does not see the one shows in the other */
    if (atomic_load(&b->sleepers) > 0) syscall(SYS_futex, &b->turn, FUTEX_WAKE_PRIVATE, ALL_OF_THEM, NULL, NULL, 0);
}

/* The kernel compares the turn again before the thread sleeps, so no wake-up is missed. */
static void sleep_until(barrier *b, unsigned turn) {
    atomic_fetch_add(&b->sleepers, 1);
    while (atomic_load(&b->turn) == turn) syscall(SYS_futex, &b->turn, FUTEX_WAIT_PRIVATE, turn, NULL, NULL, 0);
    atomic_fetch_sub(&b->sleepers, 1);
}

void barrier_wait(barrier *b, int n, int spins) {
    unsigned turn = atomic_load_explicit(&b->turn, memory_order_acquire);
    if (atomic_fetch_add_explicit(&b->arrived, 1, memory_order_acq_rel) == n - 1) {
        release(b, turn);
        return;
    }
    for (int i = 0; i < spins + YIELDS_BEFORE_SLEEP; i++) {
        if (atomic_load_explicit(&b->turn, memory_order_acquire) != turn) return;
        if (i < spins) pause_cpu();
        else sched_yield();
    }
    sleep_until(b, turn);
}
