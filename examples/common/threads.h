/*
 * threads.h - a small team of threads that stays alive between jobs, as an inference engine keeps one.
 *
 * The library makes no threads of its own in compute: the host's threads all call it and meet at a barrier that the
 * host brings. team_barrier() with the team as its data is that barrier.
 */
#ifndef EXAMPLES_THREADS_H
#define EXAMPLES_THREADS_H

enum { TEAM_MAX_THREADS = 1024 };

typedef struct team team;

/* Runs on every thread of the team: ith is 0...nth-1. */
typedef void (*team_fn)(int ith, int nth, void *ctx);

/* CPUs that this process may run on, at least 1. */
int team_cpus(void);

/* Starts n - 1 threads; the caller of team_run() is the n-th. NULL if n is not 1...TEAM_MAX_THREADS or none can be
 * had. */
team *team_create(int n);

/* Ends the threads. NULL is fine. */
void team_destroy(team *t);

int team_size(const team *t);

/* Runs fn on all threads and returns when every one of them is done. One caller at a time, never from inside fn. */
void team_run(team *t, team_fn fn, void *ctx);

/* Returns when all threads of the team have called it. Only from inside a running fn. The argument is the team. */
void team_barrier(void *t);

#endif
