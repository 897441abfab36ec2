/* hello - the smallest host: packs a half-zero BF16 matrix and multiplies one row of activations by it. */
#include <math.h>
#include <sparamx.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 1024, K = 1024 };
static uint16_t w[N * K]; /* N rows of K weights, BF16: the upper half of a float */
static float x[K], y[N];

static int failed(sparamx_status status) {
    if (status != SPARAMX_OK) fprintf(stderr, "hello: %s\n", sparamx_status_string(status));
    return status != SPARAMX_OK;
}

static void make_data(void) {
    for (int i = 0; i < N * K; i++) /* random signs and exponents; every second weight stays zero */
        if (i % 2 != 0) w[i] = (uint16_t)((rand() & 0x80ff) | 0x3e00);
    for (int i = 0; i < K; i++) x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
}

static double bf16(uint16_t code) { /* sign, exponent, mantissa; no special values occur here */
    return (code >> 15 != 0 ? -1 : 1) * ldexp(128 + (code & 127), ((code >> 7) & 255) - 134);
}

static double max_error(void) {
    double max = 0;
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int k = 0; k < K; k++) sum += bf16(w[n * K + k]) * (double)x[k];
        max = fmax(max, fabs(sum - (double)y[n]));
    }
    return max;
}

int main(void) {
    make_data();

    sparamx_linear *linear;
    sparamx_params params = {.size = sizeof params, .nth = 1};
    sparamx_tensor_info info = {.size = sizeof info};
    if (failed(sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, w, 0, NULL, &linear))) return 1;
    if (failed(sparamx_linear_work_size(linear, 1, 1, &params.work_size))) return 1;
    params.work = malloc(params.work_size);
    if (failed(sparamx_linear_compute(linear, &params, 1, x, K, y, N))) return 1;
    if (failed(sparamx_linear_info(linear, &info))) return 1;

    double error = max_error();
    printf("%s, %.2f bits per weight, kernel %s, largest error %.1e\n",
           info.form == SPARAMX_FORM_SPARSE ? "sparse" : "dense", info.bits_per_weight, info.ranges[0].name, error);
    sparamx_linear_destroy(linear);
    free(params.work);
    return error < 0.1 ? 0 : 1; /* the results are around 2; activations rounded to BF16 put them off by about 0.01 */
}
