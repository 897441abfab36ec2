#define _GNU_SOURCE
#include "support.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *type_name(int32_t type) {
    return type == SPARAMX_TYPE_BF16   ? "bf16"
           : type == SPARAMX_TYPE_F16  ? "f16"
           : type == SPARAMX_TYPE_Q8_0 ? "q8_0"
                                       : "?";
}

const char *form_name(int32_t form) {
    static const char *const names[] = {"auto", "dense", "sparse", "raw", "coded", "coded_sparse", "auto_coded"};
    return form >= 0 && form < (int32_t)COUNT(names) ? names[form] : "?";
}

size_t row_bytes(int32_t type, int64_t k) {
    return type == SPARAMX_TYPE_Q8_0 ? (size_t)k / 32 * 34 : type == SPARAMX_TYPE_F32 ? (size_t)k * 4 : (size_t)k * 2;
}

uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void *must_allocate(size_t bytes) {
    void *p = calloc(1, bytes != 0 ? bytes : 1);
    if (p == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return p;
}

/* -- weights ------------------------------------------------------------------------------------------------------- */

static void put16(uint8_t *to, uint16_t value) { memcpy(to, &value, 2); }

static uint16_t get16(const uint8_t *from) {
    uint16_t value;
    memcpy(&value, from, 2);
    return value;
}

static float bits_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

/* Sign, an exponent of about 2^-3, random mantissa. */
static uint16_t random_code(int32_t type, uint64_t r) {
    uint16_t sign = (uint16_t)(r & 0x8000), three = (uint16_t)(r >> 16 & 3);
    if (type == SPARAMX_TYPE_BF16) return (uint16_t)(sign | (uint16_t)((122 + three) << 7) | (r & 0x7f));
    return (uint16_t)(sign | (uint16_t)((10 + three) << 10) | (r & 0x3ff));
}

static void fill_q8_row(int64_t k, uint64_t threshold, uint64_t *state, uint8_t *row) {
    for (int64_t b = 0; b < k / 32; b++, row += 34) {
        put16(row, (uint16_t)(0x1000 | (random_next(state) & 0x3ff))); /* about 2^-11 */
        for (int i = 0; i < 32; i++) {
            uint64_t r = random_next(state);
            int code = (int)(r & 255) - 128;
            row[2 + i] = (r >> 32) < threshold ? 0 : (uint8_t)(code != 0 ? code : 1);
        }
    }
}

void fill_weights(int32_t type, int64_t n, int64_t k, double sparsity, uint64_t seed, void *out) {
    uint64_t state = seed * 77 + 1, threshold = (uint64_t)(sparsity * 4294967296.0);
    size_t row = row_bytes(type, k);
    for (int64_t j = 0; j < n; j++) {
        uint8_t *to = (uint8_t *)out + (size_t)j * row;
        if (type == SPARAMX_TYPE_Q8_0) {
            fill_q8_row(k, threshold, &state, to);
            continue;
        }
        for (int64_t l = 0; l < k; l++) {
            uint64_t r = random_next(&state);
            put16(to + 2 * l, (r >> 32) < threshold ? 0 : random_code(type, r));
        }
    }
}

void fill_bytes(size_t bytes, uint64_t seed, void *out) {
    uint8_t *to = out;
    uint64_t state = seed;
    for (size_t i = 0; i < bytes; i += 2) {
        uint64_t r = random_next(&state);
        uint16_t code = r >> 63 ? 0 : (uint16_t)r;
        to[i] = (uint8_t)code;
        if (i + 1 < bytes) to[i + 1] = (uint8_t)(code >> 8);
    }
}

void fill_activations(int64_t count, uint64_t seed, float *out) {
    uint64_t state = seed ^ 0x5555;
    for (int64_t i = 0; i < count; i++) out[i] = (float)((double)(random_next(&state) >> 40) / (1 << 23) - 1.0);
}

static float half_float(uint16_t h) {
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double value = exponent == 0 ? ldexp(mantissa, -24) : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                                                        : ldexp(1024 + mantissa, exponent - 25);
    return (float)(h >> 15 ? -value : value);
}

void decode_row(int32_t type, int64_t k, const void *row, float *out) {
    const uint8_t *from = row;
    if (type == SPARAMX_TYPE_Q8_0) {
        for (int64_t b = 0; b < k / 32; b++, from += 34) {
            float scale = half_float(get16(from));
            for (int i = 0; i < 32; i++) out[32 * b + i] = scale * (float)(int8_t)from[2 + i];
        }
        return;
    }
    for (int64_t l = 0; l < k; l++) {
        uint16_t code = get16(from + 2 * l);
        out[l] = type == SPARAMX_TYPE_BF16 ? bits_float((uint32_t)code << 16) : half_float(code);
    }
}

/* -- products ------------------------------------------------------------------------------------------------------ */

/*
 * The largest error a kernel may make: activations and weights rounded to bf16 (2^-9 each, relative to every term), and
 * for Q8_0 activations rounded to 1/127 of the largest in their block of 32. With a margin of two for the sums.
 */
static double error_bound(int32_t type, int64_t k, const float *w, const float *x) {
    double terms = 0, steps = 0;
    for (int64_t l = 0; l < k; l++) terms += fabs((double)w[l] * (double)x[l]);
    if (type == SPARAMX_TYPE_Q8_0) {
        for (int64_t b = 0; b < k; b += 32) {
            double largest = 0, weights = 0;
            for (int64_t l = b; l < b + 32; l++) {
                largest = fmax(largest, fabs((double)x[l]));
                weights += fabs((double)w[l]);
            }
            steps += largest / 254 * weights;
        }
    }
    return terms / 128 + steps * 1.05 + 1e-6;
}

int64_t count_wrong(int32_t type, int64_t n, int64_t k, const void *w, int64_t m, const float *x, int64_t ldx,
                    const float *y, int64_t ldy) {
    float *row = must_allocate((size_t)k * sizeof *row);
    int64_t wrong = 0;
    for (int64_t j = 0; j < n; j++) {
        decode_row(type, k, (const uint8_t *)w + (size_t)j * row_bytes(type, k), row);
        for (int64_t i = 0; i < m; i++) {
            double sum = 0, got = (double)y[i * ldy + j];
            for (int64_t l = 0; l < k; l++) sum += (double)row[l] * (double)x[i * ldx + l];
            if (!(fabs(got - sum) <= error_bound(type, k, row, x + i * ldx))) wrong++;
        }
    }
    free(row);
    return wrong;
}

typedef struct thread_job {
    void (*run)(int, void *);
    void *context;
    int index;
} thread_job;

static void *start_thread(void *argument) {
    thread_job *job = argument;
    job->run(job->index, job->context);
    return NULL;
}

void run_threads(int count, void (*run)(int index, void *context), void *context) {
    pthread_t threads[64];
    thread_job jobs[64];
    if (count > 64) exit(2);
    for (int i = 0; i < count; i++) {
        jobs[i] = (thread_job){run, context, i};
        if (i > 0 && pthread_create(&threads[i], NULL, start_thread, &jobs[i]) != 0) {
            fprintf(stderr, "a thread cannot be made\n");
            exit(2);
        }
    }
    run(0, context);
    for (int i = 1; i < count; i++) pthread_join(threads[i], NULL);
}

typedef struct product_job {
    const sparamx_linear *linear;
    const sparamx_op *op;
    int64_t m, ldx, ldy;
    const float *x;
    float *y;
    sparamx_params params;
    pthread_barrier_t barrier;
    int meetings; /* that all threads together went to */
    sparamx_status status[64];
} product_job;

static void wait_for_team(void *data) {
    product_job *job = data;
    __atomic_fetch_add(&job->meetings, 1, __ATOMIC_RELAXED);
    pthread_barrier_wait(&job->barrier);
}

static void product_share(int index, void *context) {
    product_job *job = context;
    sparamx_params params = job->params;
    params.ith = index;
    job->status[index] = job->op != NULL
                             ? sparamx_compute(&params, job->op)
                             : sparamx_linear_compute(job->linear, &params, job->m, job->x, job->ldx, job->y, job->ldy);
}

sparamx_status multiply_in(const sparamx_linear *linear, const sparamx_op *op, int64_t m, int nth, const float *x,
                           int64_t ldx, float *y, int64_t ldy, void *work, size_t work_size) {
    product_job job = {.linear = linear, .op = op, .m = m, .ldx = ldx, .ldy = ldy, .x = x, .y = y};
    job.params = (sparamx_params){.size = sizeof job.params, .nth = nth, .work_size = work_size, .work = work,
                                  .barrier = wait_for_team, .barrier_data = &job};
    pthread_barrier_init(&job.barrier, NULL, (unsigned)nth);
    run_threads(nth, product_share, &job);
    pthread_barrier_destroy(&job.barrier);
    for (int i = 1; i < nth; i++) {
        if (job.status[i] != job.status[0]) return -1;
    }
    /* Once for each thread, or not at all, whatever the op: sparamx.h. */
    if (job.meetings != 0 && job.meetings != nth) return -1;
    return job.status[0];
}

sparamx_status multiply(const sparamx_linear *linear, int64_t m, int nth, const float *x, int64_t ldx, float *y,
                        int64_t ldy) {
    size_t size = 0;
    sparamx_status status = sparamx_linear_work_size(linear, m, nth, &size);
    if (status != SPARAMX_OK) return status;
    void *work = must_allocate(size);
    status = multiply_in(linear, NULL, m, nth, x, ldx, y, ldy, work, size);
    free(work);
    return status;
}

sparamx_status multiply_op(const sparamx_op *op, int nth) {
    size_t size = 0;
    sparamx_status status = sparamx_work_size(op, nth, &size);
    if (status != SPARAMX_OK) return status;
    void *work = must_allocate(size);
    status = multiply_in(NULL, op, 0, nth, NULL, 0, NULL, 0, work, size);
    free(work);
    return status;
}

/* -- tensors and the library --------------------------------------------------------------------------------------- */

sparamx_tensor make_tensor(int32_t type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3, void *data,
                           sparamx_buffer *buffer) {
    size_t row = row_bytes(type, ne0), block = type == SPARAMX_TYPE_Q8_0 ? 34 : type == SPARAMX_TYPE_F32 ? 4 : 2;
    return (sparamx_tensor){.size = sizeof(sparamx_tensor), .type = type, .ne = {ne0, ne1, ne2, ne3},
                            .nb = {block, row, row * (size_t)ne1, row * (size_t)(ne1 * ne2)}, .data = data,
                            .buffer = buffer, .name = "test"};
}

size_t tensor_bytes(const sparamx_tensor *t) {
    return row_bytes(t->type, t->ne[0]) * (size_t)(t->ne[1] * t->ne[2] * t->ne[3]);
}

int32_t isa_level(void) {
    sparamx_capability c = {.size = sizeof c};
    return sparamx_get_capability(&c) == SPARAMX_OK ? c.isa : -1;
}

bool tiles_emulated(void) {
    int (*active)(void) = NULL;
    void *symbol = dlsym(RTLD_DEFAULT, "tile_emulator_active");
    memcpy(&active, &symbol, sizeof active);
    return active != NULL && active() == 1;
}
