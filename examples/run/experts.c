#include "experts.h"

#include <stdlib.h>
#include <string.h>

static plain_matrix matrix_of(const weight *w, int64_t expert) {
    plain_matrix matrix = w->matrix;
    matrix.data += (uint64_t)expert * (uint64_t)w->matrix.n * w->matrix.row_bytes;
    return matrix;
}

static bool contains(const int32_t *ids, int64_t n, int32_t id) {
    for (int64_t i = 0; i < n; i++)
        if (ids[i] == id) return true;
    return false;
}

/* Neighbours from a random one on: different ones however many are wanted. */
void experts_choose(session *s, const weight *w, int64_t m) {
    uint64_t state = 0xe8;
    for (int64_t i = 0; i < m; i++) {
        uint64_t first = random_u64(&state) % (uint64_t)w->experts;
        for (int64_t u = 0; u < w->used; u++)
            s->ids[i * w->used + u] = (int32_t)((first + (uint64_t)u) % (uint64_t)w->experts);
    }
}

void experts_plain_product(const session *s, const weight *w, int64_t row_begin, int64_t row_end, int64_t m,
                           float *scratch) {
    int64_t n = w->matrix.n, k = w->matrix.k;
    for (int64_t e = 0; e < w->experts; e++) {
        if (!contains(s->ids, m * w->used, (int32_t)e)) continue;
        plain_matrix matrix = matrix_of(w, e);
        for (int64_t j = row_begin; j < row_end; j++) {
            plain_to_float(matrix.type, matrix.data + (uint64_t)j * matrix.row_bytes, k, scratch);
            for (int64_t slot = 0; slot < m * w->used; slot++)
                if (s->ids[slot] == e) s->y[slot * n + j] = plain_dot_float(scratch, s->x + slot / w->used * k, k);
        }
    }
}

bool experts_check(session *s, const weight *w, int64_t m, check_result *out) {
    int64_t n = w->matrix.n, k = w->matrix.k;
    float *x = calloc((size_t)m * (size_t)k, sizeof *x); /* sizes as session_open() has checked them */
    float *y = calloc((size_t)m * (size_t)n, sizeof *y);
    bool ok = x != NULL && y != NULL;
    *out = (check_result){.error = 0};
    for (int64_t e = 0; ok && e < w->experts; e++) {
        plain_matrix matrix = matrix_of(w, e);
        check_result found;
        int64_t tokens = 0;
        for (int64_t slot = 0; slot < m * w->used; slot++) {
            if (s->ids[slot] != e) continue;
            memcpy(x + tokens * k, s->x + slot / w->used * k, (size_t)k * sizeof *x);
            memcpy(y + tokens * n, s->y + slot * n, (size_t)n * sizeof *y);
            tokens++;
        }
        if (tokens == 0) continue;
        ok = check_product(s->team, &matrix, x, tokens, y, w->tolerance, &found);
        if (!ok) break;
        out->error = found.error > out->error ? found.error : out->error;
        out->checked += found.checked;
        out->wrong += found.wrong;
    }
    free(x);
    free(y);
    return ok;
}
