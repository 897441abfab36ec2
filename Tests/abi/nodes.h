/*
 * nodes.h - what libnodes.so offers a test that it is preloaded into: a machine with memory nodes that is not there.
 * Nodes 0 and 1 have CPUs and memory, node 2 has memory alone, node 3 has CPUs alone and is near node 1. What the
 * library finds out once per process is fixed before its first call: see nodes.c.
 */
#ifndef NODES_H
#define NODES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct nodes_request {
    char *begin;
    size_t bytes;
    int mode;           /* MPOL_*: 1 preferred, 3 interleave */
    unsigned long mask; /* the nodes, a bit for each */
} nodes_request;

void nodes_stand_on(int node);                 /* the calling thread, from now on; 0 without it */
int nodes_requests(const nodes_request **out); /* calls of mbind so far, the oldest first */
void nodes_forget(void);
/* The last request for a page: 0 if there was none, else its mode; *mask is set then. */
int nodes_of(const void *page, unsigned long *mask);

#endif
