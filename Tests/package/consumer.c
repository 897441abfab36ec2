/* A host that is built against an installed libsparamx: packs a matrix, multiplies, checks the result and the
 * version. */
#include <math.h>
#include <sparamx.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 40, K = 96, M = 3 };

static uint16_t weights[N * K];
static float x[M * K], y[M * N];

static float value(uint16_t bf16) {
    uint32_t bits = (uint32_t)bf16 << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

int main(void) {
    sparamx_linear *linear = NULL;
    sparamx_params params = {.size = sizeof params, .nth = 1};
    for (int i = 0; i < N * K; i++) weights[i] = i % 2 ? 0 : (uint16_t)(0x3e00 + i % 250);
    for (int i = 0; i < M * K; i++) x[i] = (float)(i % 7 - 3) / 4;
    if (strcmp(sparamx_version(), SPARAMX_VERSION_STRING) != 0 || sparamx_get_api(SPARAMX_ABI) == NULL) return 1;
    if (sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, NULL, &linear) != SPARAMX_OK) return 2;
    if (sparamx_linear_work_size(linear, M, 1, &params.work_size) != SPARAMX_OK) return 3;
    params.work = malloc(params.work_size);
    if (sparamx_linear_compute(linear, &params, M, x, K, y, N) != SPARAMX_OK) return 4;
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++) {
            double sum = 0, terms = 0;
            for (int l = 0; l < K; l++) {
                double term = (double)value(weights[j * K + l]) * (double)x[i * K + l];
                sum += term;
                terms += fabs(term);
            }
            if (!(fabs(sum - (double)y[i * N + j]) <= terms / 128 + 1e-6)) return 5;
        }
    }
    sparamx_linear_destroy(linear);
    free(params.work);
    printf("libsparamx %s multiplies\n", sparamx_version());
    return 0;
}
