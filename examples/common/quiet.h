/* quiet.h - whether a measurement was disturbed: by other programs on the CPUs of this process, or seen in its
 * spread. */
#ifndef EXAMPLES_QUIET_H
#define EXAMPLES_QUIET_H

#include <stdbool.h>

/* A reading of the clocks: of this process and, for the CPUs that it may run on, of everything. */
typedef struct quiet_reading {
    double seconds, own_cpu, all_cpu;
    bool known; /* false where the kernel does not say */
} quiet_reading;

quiet_reading quiet_read(void);

/* CPUs that other programs used on average from one reading to the next; 0 if that is not known or took too short. */
double quiet_others(const quiet_reading *begin, const quiet_reading *end);

/* (upper quartile - lower quartile) / median of n values, which it sorts; 0 for fewer than 4. */
double quiet_spread(double *values, int n);

/* More CPU time of others than this, or a larger spread, and the figures say little. */
extern const double quiet_most_others, quiet_most_spread;

#endif
