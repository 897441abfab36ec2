/* fail.h - what libfail.so offers a test that it is preloaded into; see fail.c. */
#ifndef FAIL_H
#define FAIL_H

void fail_arm(long n);           /* counts from here on; the n-th call of the library fails, none if n is 0 */
_Bool fail_count(const char *function); /* counts a call that somebody else answers; true: it has to fail */
long fail_calls(void);           /* calls of the library since then */
long fail_failures(void);        /* of which failed */
const char *fail_function(void); /* the function that failed last */
long fail_stuck(void);           /* mappings since then that the kernel "would not" take back */
long fail_guards(void);          /* blocks that got a forbidden page so far */
long fail_outstanding(void);     /* blocks and mappings that the library has not given back */

#endif
