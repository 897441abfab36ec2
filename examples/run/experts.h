/* experts.h - tensors with a matrix per expert: which experts a token gets, their product in plain C, and the check. */
#ifndef EXAMPLES_RUN_EXPERTS_H
#define EXAMPLES_RUN_EXPERTS_H

#include "../common/check.h"
#include "session.h"

/* Chooses w->used different experts for each of m tokens, into s->ids: the same ones for the same weight and m. */
void experts_choose(session *s, const weight *w, int64_t m);

/* s->y[(i * used + u) * n + j] = row j of the expert s->ids[i * used + u] times token i, for rows
 * row_begin...row_end-1 of all experts. scratch: k floats of the calling thread. */
void experts_plain_product(const session *s, const weight *w, int64_t row_begin, int64_t row_end, int64_t m,
                           float *scratch);

/* check_product() for each expert with the tokens that it got. out: the largest error, and all outputs counted. False
 * if there is not enough memory. */
bool experts_check(session *s, const weight *w, int64_t m, check_result *out);

#endif
