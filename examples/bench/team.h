/*
 * team.h - a team of threads that stays alive for the whole benchmark, as an inference engine's threads do.
 *
 * Thread i is pinned to the i-th CPU of the process. The caller is not a member and keeps its own affinity: threads
 * that the library starts while it packs a matrix inherit the caller's CPUs, not one pinned CPU.
 */
#ifndef BENCH_TEAM_H
#define BENCH_TEAM_H

typedef struct team team;

/* What every member runs; ith is 0...nth-1. */
typedef void (*team_job)(void *arg, int ith, int nth);

/* Starts n threads (at least 1). NULL if they cannot be had. */
team *team_create(int n);

/* Ends the threads. NULL is fine. */
void team_destroy(team *t);

int team_size(const team *t);

/* The CPU that member ith is pinned to, or -1 if it could not be pinned. */
int team_cpu(const team *t, int ith);

/* Runs job once on every member and returns when all have returned. Between jobs the members sleep. */
void team_run(team *t, team_job job, void *arg);

/* Returns when every member has called it; fits sparamx_params.barrier, with the team as its data. Members only. */
void team_barrier(void *t);

#endif /* BENCH_TEAM_H */
