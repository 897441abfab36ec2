/* oracle.c - what oracle.h says. */
#include "oracle.h"

#include <math.h>

#include "half.h"
#include "quants.h"

/* One row as double, exactly: scales, codes and minimums are multiplied here. */
static void decode(int32_t type, const uint8_t *row, int64_t k, double *out) {
    const quant_type *q = quant_find((uint32_t)type);
    if (q == NULL) {
        for (int64_t i = 0; i < k; i++) {
            uint16_t code = load_u16(row + 2 * i);
            out[i] = (double)(type == 1 ? f16_to_float(code) : bf16_to_float(code));
        }
        return;
    }
    for (int64_t first = 0; first < k; first += q->block, row += q->bytes) {
        uint8_t codes[QUANT_MAX_BLOCK];
        float scales[QUANT_MAX_GROUPS], minimums[QUANT_MAX_GROUPS] = {0};
        q->get_codes(row, codes);
        q->get_scales(row, scales, minimums);
        for (int i = 0; i < q->block; i++)
            out[first + i] = (double)scales[i / q->group] * quant_value(q, codes[i]) - (double)minimums[i / q->group];
    }
}

bool oracle_make(oracle *o, int32_t type, const uint8_t *rows, size_t stride, int64_t n, int64_t k, const float *x,
                 int64_t ldx, int64_t m) {
    static double w[1024];
    *o = (oracle){.n = n, .k = k, .m = m};
    if (k > COUNT(w) || m * n > ORACLE_OUTPUTS) return false;
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = 0; l < k; l++) o->token_sums[i] += fabs((double)x[i * ldx + l]);
    const double most = 0x1p+125;
    bool finite = true;
    for (int64_t j = 0; j < n; j++) {
        decode(type, rows + (size_t)j * stride, k, w);
        for (int64_t l = 0; l < k; l++) o->weight_sums[j] += fabs(w[l]);
        for (int64_t i = 0; i < m; i++) {
            double sum = 0, size = 0;
            for (int64_t l = 0; l < k; l++) {
                double term = w[l] * (double)x[i * ldx + l];
                sum += term;
                size += fabs(term);
            }
            o->y[i * n + j] = sum;
            o->magnitude[i * n + j] = size;
            finite = finite && size < most;
        }
        finite = finite && o->weight_sums[j] < most;
    }
    for (int64_t i = 0; i < m; i++) finite = finite && o->token_sums[i] < most;
    return finite;
}

double oracle_value(const oracle *o, int64_t i) { return o->y[i]; }

/* As in Oracle.swift: activations of BF16, and of everything on AMX, are bf16; of F16 on AVX-512 single precision. */
double oracle_bound(const oracle *o, int isa, int32_t type, int64_t i) {
    double u = 0x1p-8, v = 0x1p-24, k = (double)o->k;
    bool narrow = type == 30 || isa == LEVEL_AMX;
    int roundings = !narrow ? 0 : type == 30 ? 1 : 2;
    double steps = narrow ? k + 2 : floor((k + 1) / 2) + 1;
    double g = steps * v / (1 - steps * v), relative = roundings == 0 ? g : (1 + u) * (1 + g) - 1;
    if (roundings == 2) relative = (1 + u) * (1 + u) * (1 + g) * (type == 1 ? 1 : 1 + v) - 1;
    double tiny =
        narrow ? 0x1p-126 * (o->weight_sums[i % o->n] + (1 + u) * o->token_sums[i / o->n] + steps) : 0x1p-150 * steps;
    return o->magnitude[i] * (relative + 0x1p-40) + tiny;
}

int64_t oracle_wrong(const oracle *o, int isa, int32_t type, const float *y, int64_t ldy) {
    for (int64_t i = 0; i < o->m * o->n; i++) {
        if (!(fabs((double)y[i / o->n * ldy + i % o->n] - o->y[i]) <= oracle_bound(o, isa, type, i))) return i;
    }
    return -1;
}
