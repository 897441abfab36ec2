/*
 * trace.h - what the interpreter tells the file that writes a trace (trace.c).
 */
#ifndef TRACE_H
#define TRACE_H

#include "machine.h"

#include <ucontext.h>

#pragma GCC visibility push(hidden)

enum { TRACE_OFF, TRACE_WAITS, TRACE_ON, TRACE_OUTSIDE, TRACE_DONE };
extern int trace_state;

int trace_take(uint64_t rip);                          /* SIGILL at rip was asked for here: interpret from there on */
void trace_step(const insn *i, const machine *m);      /* i is about to be performed */
insn *trace_left(machine *m);                          /* the text was left: where interpretation goes on, or NULL */
extern void (*trace_of_tile)(const greg_t *gregs);     /* in control.c: a tile instruction is next; or NULL */

#pragma GCC visibility pop

#endif
