/* barrier.h - where the threads of a team wait for each other: spinning for a short time, then yielding, then
 * asleep. */
#ifndef EXAMPLES_BARRIER_H
#define EXAMPLES_BARRIER_H

#include <stdatomic.h>

/* Zero is ready for use. Each on a cache line of its own: arrivals must not disturb those who spin on the turn. */
typedef struct barrier {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint turn; /* raised when the last one arrives */
    atomic_int sleepers;
} barrier;

/*
 * Returns when n threads have called it. A thread that waits has its core to itself for 'spins' turns of a loop only:
 * where another program runs on the core of one that is late, waiting must not keep that one from getting a core.
 */
void barrier_wait(barrier *b, int n, int spins);

#endif
