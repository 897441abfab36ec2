#define _GNU_SOURCE
#include "kv.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

float kv_half(uint16_t h) {
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double value = exponent == 0 ? ldexp(mantissa, -24) : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                                                        : ldexp(1024 + mantissa, exponent - 25);
    return (float)(h >> 15 ? -value : value);
}

/* To nearest, ties to even. */
uint16_t kv_to_half(float value) {
    double magnitude = fabs((double)value);
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    if (isnan(value)) return 0x7e00;
    if (isinf(value)) return (uint16_t)(sign | 0x7c00);
    if (magnitude == 0) return sign;
    int exponent = ilogb(magnitude) < -14 ? -14 : ilogb(magnitude);
    double units = nearbyint(ldexp(magnitude, 10 - exponent));
    int bits = (int)units + ((exponent + 14) << 10);
    return (uint16_t)(sign | (bits < 0x7c00 ? bits : 0x7c00));
}

size_t kv_head_bytes(int32_t type, int64_t dim) { return row_bytes(type, dim); }

sparamx_kv_options kv_options(int32_t type, int32_t heads, int32_t k_dim, int32_t v_dim, int64_t cells) {
    return (sparamx_kv_options){.size = sizeof(sparamx_kv_options), .type_k = type, .type_v = type, .heads = heads,
                                .k_dim = k_dim, .v_dim = v_dim, .cells = cells, .window = -1, .sinks = -1};
}

/* About normal numbers. */
void kv_fill_rows(int32_t type, int64_t count, uint64_t seed, uint8_t *out) {
    uint64_t state = seed * 31 + 7;
    if (type == SPARAMX_TYPE_Q8_0) {
        for (int64_t b = 0; b < count / 32; b++, out += 34) {
            uint16_t scale = kv_to_half(0.01f + (float)(random_next(&state) >> 50) / 500000);
            memcpy(out, &scale, 2);
            for (int i = 0; i < 32; i++) out[2 + i] = (uint8_t)(int8_t)((int)(random_next(&state) % 255) - 127);
        }
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int j = 0; j < 6; j++) sum += (double)(random_next(&state) >> 11) / 9007199254740992.0 - 0.5;
        float value = (float)(sum * 1.41);
        uint32_t bits;
        memcpy(&bits, &value, 4);
        if (type == SPARAMX_TYPE_F32) memcpy(out + 4 * i, &value, 4);
        else {
            uint16_t half = type == SPARAMX_TYPE_F16 ? kv_to_half(value) : (uint16_t)(bits >> 16);
            memcpy(out + 2 * i, &half, 2);
        }
    }
}

void kv_numbers(int32_t type, int64_t count, const uint8_t *row, float *out) {
    if (type == SPARAMX_TYPE_F32) memcpy(out, row, (size_t)count * 4);
    else decode_row(type, count, row, out);
}

kv_case kv_make(sparamx_kv_options options, bool attach, uint64_t seed) {
    kv_case c = {.options = options};
    c.k_row = kv_head_bytes(options.type_k, options.k_dim) * (size_t)options.heads;
    c.v_row = kv_head_bytes(options.type_v, options.v_dim) * (size_t)options.heads;
    c.k = must_allocate(c.k_row * (size_t)options.cells);
    c.v = must_allocate(c.v_row * (size_t)options.cells);
    kv_fill_rows(options.type_k, options.cells * options.heads * options.k_dim, seed, c.k);
    kv_fill_rows(options.type_v, options.cells * options.heads * options.v_dim, seed + 1, c.v);
    if (attach) c.options.k_rows = c.k, c.options.v_rows = c.v;
    sparamx_status status = sparamx_kv_create(&c.options, &c.kv);
    if (status != SPARAMX_OK) {
        fprintf(stderr, "kv_create: %d %s\n", status, sparamx_status_string(status));
        exit(2);
    }
    return c;
}

void kv_drop(kv_case *c) {
    sparamx_kv_destroy(c->kv);
    free(c->k);
    free(c->v);
}

sparamx_status kv_write_cells(kv_case *c, int64_t first, int64_t n) {
    if (c->options.k_rows) return sparamx_kv_touch(c->kv, first, n);
    int64_t *cells = must_allocate((size_t)n * 8);
    for (int64_t i = 0; i < n; i++) cells[i] = first + i;
    sparamx_status status =
        sparamx_kv_write(c->kv, cells, n, c->k + (size_t)first * c->k_row, 0, c->v + (size_t)first * c->v_row, 0);
    free(cells);
    return status;
}

const sparamx_attention *kv_point(kv_ask *ask) {
    ask->a.q = &ask->q;
    ask->a.dst = &ask->dst;
    ask->a.mask = ask->mask.data ? &ask->mask : NULL;
    ask->a.sinks = ask->sinks.data ? &ask->sinks : NULL;
    return &ask->a;
}

/* -- teams of threads ---------------------------------------------------------------------------------------------- */

enum { MOST_THREADS = 16 };

typedef struct team {
    pthread_barrier_t barrier;
    sparamx_kv *kv;
    int64_t newest;
    const sparamx_attention *a;
    int nth;
    uint8_t *work;
    size_t work_size;
    sparamx_status statuses[MOST_THREADS];
} team;

static void team_wait(void *data) { pthread_barrier_wait(data); }

static void team_run(int index, void *context) {
    team *t = context;
    sparamx_params p = {.size = sizeof p, .ith = index, .nth = t->nth, .work = t->work, .work_size = t->work_size,
                        .barrier = team_wait, .barrier_data = &t->barrier};
    t->statuses[index] = t->a ? sparamx_attention_compute(&p, t->a) : sparamx_kv_pack(t->kv, &p, t->newest);
}

static sparamx_status team_go(team *t) {
    pthread_barrier_init(&t->barrier, NULL, (unsigned)t->nth);
    run_threads(t->nth, team_run, t);
    pthread_barrier_destroy(&t->barrier);
    for (int i = 1; i < t->nth; i++) {
        if (t->statuses[i] != t->statuses[0]) return -1;
    }
    return t->statuses[0];
}

sparamx_status kv_pack_all(sparamx_kv *kv, int nth, int64_t newest) {
    team t = {.kv = kv, .nth = nth, .newest = newest};
    return team_go(&t);
}

sparamx_status kv_attend(kv_ask *ask, int nth) {
    team t = {.a = kv_point(ask), .nth = nth};
    sparamx_status status = sparamx_attention_work_size(&ask->a, nth, &t.work_size);
    if (status != SPARAMX_OK) return status;
    uint8_t *memory = must_allocate(t.work_size + 1);
    memset(memory, 0xa5, t.work_size + 1);
    t.work = memory + 1; /* any address */
    status = team_go(&t);
    free(memory);
    return status;
}

/* -- questions ----------------------------------------------------------------------------------------------------- */

kv_ask kv_question(const sparamx_kv *const *kv, int streams, const sparamx_kv_options *o, int64_t heads, int64_t tokens,
                   int64_t cells, bool masked, uint64_t seed) {
    kv_ask ask = {.tokens = tokens, .heads = heads};
    float *q = must_allocate((size_t)(o->k_dim * tokens * heads * streams) * 4);
    float *dst = must_allocate((size_t)(o->v_dim * tokens * heads * streams) * 4);
    kv_fill_rows(SPARAMX_TYPE_F32, o->k_dim * tokens * heads * streams, seed + 99, (uint8_t *)q);
    ask.q = make_tensor(SPARAMX_TYPE_F32, o->k_dim, tokens, heads, streams, q, NULL);
    ask.dst = make_tensor(SPARAMX_TYPE_F32, o->v_dim, heads, tokens, streams, dst, NULL);
    if (masked) {
        int64_t wide = (cells + 31) / 32 * 32;
        uint16_t *mask = must_allocate((size_t)(wide * tokens * streams) * 2);
        uint64_t state = seed + 5;
        for (int64_t s = 0; s < streams; s++)
            for (int64_t t = 0; t < tokens; t++)
                for (int64_t c = 0; c < wide; c++) {
                    uint64_t r = random_next(&state);
                    uint16_t *at = &mask[(s * tokens + t) * wide + c];
                    bool hidden = c > cells - tokens + t || r % 7 == 0 || (c >= 128 && c < 192);
                    *at = hidden ? 0xfc00 : r % 3 == 0 ? kv_to_half(-(float)(r >> 60) / 4) : 0;
                }
        ask.mask = make_tensor(SPARAMX_TYPE_F16, wide, tokens, 1, streams, mask, NULL);
    }
    ask.a = (sparamx_attention){.size = sizeof ask.a, .streams = streams, .kv = kv, .cells = cells,
                                .scale = 1.0f / sqrtf((float)o->k_dim)};
    return ask;
}

void kv_end_question(kv_ask *ask) {
    free(ask->q.data);
    free(ask->dst.data);
    free(ask->mask.data);
}

void kv_exact(kv_ask *ask, const sparamx_kv_options *o, int64_t stream, const float *k, const float *v,
              const bool *there, double *out) {
    const sparamx_attention *a = kv_point(ask);
    int64_t group = ask->heads / o->heads, power = 1;
    while (power * 2 <= ask->heads) power *= 2;
    double *p = must_allocate((size_t)a->cells * 8);
    for (int64_t t = 0; t < ask->tokens; t++)
        for (int64_t h = 0; h < ask->heads; h++) {
            const float *q = (const float *)(const void *)((const char *)ask->q.data + (size_t)t * ask->q.nb[1] +
                                                           (size_t)h * ask->q.nb[2] + (size_t)stream * ask->q.nb[3]);
            double slope = 1, most = -INFINITY, sum = 0;
            if (a->max_bias > 0)
                slope = h < power ? pow(2, -(double)a->max_bias / (double)power * (double)(h + 1))
                                  : pow(2, -(double)a->max_bias / 2 / (double)power * (double)(2 * (h - power) + 1));
            for (int64_t c = 0; c < a->cells; c++) {
                double mask = 0, s = 0;
                if (ask->mask.data) {
                    uint16_t bits;
                    memcpy(&bits, (const char *)ask->mask.data + (size_t)c * 2 + (size_t)t * ask->mask.nb[1] +
                                      (size_t)(h % ask->mask.ne[2]) * ask->mask.nb[2] +
                                      (size_t)(stream % ask->mask.ne[3]) * ask->mask.nb[3], 2);
                    mask = kv_half(bits);
                }
                p[c] = -INFINITY;
                if (!there[c] || mask == -INFINITY) continue;
                for (int64_t d = 0; d < o->k_dim; d++)
                    s += (double)q[d] * (double)k[(c * o->heads + h / group) * o->k_dim + d];
                s *= (double)a->scale;
                if (a->softcap > 0) s = (double)a->softcap * tanh(s / (double)a->softcap);
                p[c] = s + slope * mask;
                if (p[c] > most) most = p[c];
            }
            if (ask->sinks.data) {
                double sink = (double)((const float *)ask->sinks.data)[h];
                if (sink > most) most = sink;
                sum = exp(sink - most);
            }
            double *to = out + (t * ask->heads + h) * o->v_dim;
            for (int64_t d = 0; d < o->v_dim; d++) to[d] = 0;
            for (int64_t c = 0; c < a->cells; c++) {
                if (p[c] == -INFINITY) continue;
                double weight = exp(p[c] - most);
                sum += weight;
                for (int64_t d = 0; d < o->v_dim; d++)
                    to[d] += weight * (double)v[(c * o->heads + h / group) * o->v_dim + d];
            }
            for (int64_t d = 0; d < o->v_dim; d++) to[d] = sum > 0 ? to[d] / sum : 0;
        }
    free(p);
}
