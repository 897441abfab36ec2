/*
 * sparamx-kv - a host of packed key-value caches: fills one layer's cache token by token, as decoding does, packs what
 * is finished, attends, saves, loads, and prints what cells take and what attention costs, dense and pruned.
 *
 *     sparamx-kv [--cells N] [--heads N] [--group N] [--dim N] [--threads N] [--repeat N]
 */
#include "common/half.h"
#include "common/measure.h"
#include "common/threads.h"

#include <errno.h>
#include <math.h>
#include <sparamx-kv.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
    long cells, heads, group, dim, threads, repeat;
} settings;

static int failed(const char *what, sparamx_status status) {
    if (status != SPARAMX_OK) fprintf(stderr, "sparamx-kv: %s: %s\n", what, sparamx_status_string(status));
    return status != SPARAMX_OK;
}

static void *memory(size_t bytes) {
    void *p = calloc(1, bytes);
    if (p == NULL) {
        fprintf(stderr, "sparamx-kv: %zu bytes of memory could not be had: take fewer cells\n", bytes);
        exit(1);
    }
    return p;
}

/* ------------------------------------------------------------------------------------------------- command line -- */

static int usage(FILE *out) {
    fprintf(out, "usage: sparamx-kv [--cells N] [--heads N] [--group N] [--dim N] [--threads N] [--repeat N]\n"
                 "  --cells    tokens in the cache (4096)\n"
                 "  --heads    heads of keys and values (8)\n"
                 "  --group    query heads for each of them (4)\n"
                 "  --dim      numbers of a head, a multiple of 16 (128)\n"
                 "  --threads  threads that compute (as many as there are CPUs)\n"
                 "  --repeat   measurements, of which the middle one counts (5)\n");
    return out == stdout ? 0 : 2;
}

/* The value of an option, or 0 with a sentence if it is none from 1 to most. */
static long number(const char *option, const char *text, long most) {
    char *end = NULL;
    errno = 0;
    long value = text ? strtol(text, &end, 10) : 0;
    if (text && *text && *end == 0 && errno == 0 && value >= 1 && value <= most) return value;
    fprintf(stderr, "sparamx-kv: %s needs a number from 1 to %ld\n", option, most);
    return 0;
}

static int read_settings(int argc, char **argv, settings *s) {
    *s = (settings){4096, 8, 4, 128, team_cpus(), 5};
    struct {
        const char *name;
        long *value, most;
    } options[] = {{"--cells", &s->cells, 1 << 20}, {"--heads", &s->heads, 256}, {"--group", &s->group, 64},
                   {"--dim", &s->dim, SPARAMX_KV_DIM_MAX}, {"--threads", &s->threads, TEAM_MAX_THREADS},
                   {"--repeat", &s->repeat, 1000}};
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--help") == 0) return -1;
        size_t o = 0;
        while (o < sizeof options / sizeof *options && strcmp(argv[i], options[o].name) != 0) o++;
        if (o == sizeof options / sizeof *options) {
            fprintf(stderr, "sparamx-kv: there is no option %s\n", argv[i]);
            return 2;
        }
        *options[o].value = number(argv[i], argv[i + 1], options[o].most);
        if (*options[o].value == 0) return 2;
    }
    return 0;
}

/* ----------------------------------------------------------------------------------------- keys, values, queries -- */

/* About normal numbers; some channels of keys and queries are larger than others, as in models. */
static float next_number(uint64_t *state, long channel) {
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(*state >> 33) / 2147483648.0 - 0.5;
    }
    return (float)(sum * 1.73 * (channel % 16 == 3 ? 3 : channel % 5 == 0 ? 1.5 : 0.8));
}

typedef struct host {
    settings set;
    team *team;
    uint16_t *k, *v; /* [cell][head][dim], float16 */
    float *q, *dst, *first;
    uint8_t *work;
    size_t work_size;
    sparamx_kv *kv;
    const sparamx_kv *caches[1]; /* of the attention: kv */
    sparamx_attention attention;
    sparamx_tensor q_tensor, dst_tensor;
    int64_t newest;
    sparamx_status statuses[TEAM_MAX_THREADS];
} host;

static sparamx_tensor tensor(float *data, int64_t ne0, int64_t ne1, int64_t ne2) {
    uint64_t row = (uint64_t)ne0 * 4, plane = row * (uint64_t)ne1;
    return (sparamx_tensor){.size = sizeof(sparamx_tensor), .type = SPARAMX_TYPE_F32, .ne = {ne0, ne1, ne2, 1},
                            .nb = {4, row, plane, plane * (uint64_t)ne2}, .data = data};
}

static void make_numbers(host *h) {
    const settings *s = &h->set;
    size_t row = (size_t)(s->heads * s->dim), q_heads = (size_t)(s->heads * s->group);
    uint64_t state = 1;
    h->k = memory((size_t)s->cells * row * 2), h->v = memory((size_t)s->cells * row * 2);
    for (size_t i = 0; i < (size_t)s->cells * row; i++) {
        h->k[i] = float_to_f16(next_number(&state, (long)(i % (size_t)s->dim)));
        h->v[i] = float_to_f16(next_number(&state, 1));
    }
    h->q = memory(q_heads * (size_t)s->dim * 4), h->dst = memory(q_heads * (size_t)s->dim * 4);
    h->first = memory(q_heads * (size_t)s->dim * 4);
    for (size_t i = 0; i < q_heads * (size_t)s->dim; i++) h->q[i] = next_number(&state, (long)(i % (size_t)s->dim));
    h->q_tensor = tensor(h->q, s->dim, 1, (int64_t)q_heads);
    h->dst_tensor = tensor(h->dst, s->dim, (int64_t)q_heads, 1);
}

/* -------------------------------------------------------------------------------------------- what threads do -- */

static sparamx_params params_of(host *h, int ith, int nth) {
    return (sparamx_params){.size = sizeof(sparamx_params), .ith = ith, .nth = nth, .work = h->work,
                            .work_size = h->work_size, .barrier = team_barrier, .barrier_data = h->team};
}

static void pack_share(int ith, int nth, void *context) {
    host *h = context;
    sparamx_params p = params_of(h, ith, nth);
    h->statuses[ith] = sparamx_kv_pack(h->kv, &p, h->newest);
}

static void attend_share(int ith, int nth, void *context) {
    host *h = context;
    sparamx_params p = params_of(h, ith, nth);
    h->statuses[ith] = sparamx_attention_compute(&p, &h->attention);
}

static sparamx_status run(host *h, team_fn share) {
    team_run(h->team, share, h);
    return h->statuses[0];
}

/* ------------------------------------------------------------------------------------------------------ a cache -- */

/* Token after token: its row is written, queries are shown, and a block that is finished is packed. */
static sparamx_status decode(host *h) {
    const settings *s = &h->set;
    size_t row = (size_t)(s->heads * s->dim);
    for (int64_t cell = 0; cell < s->cells; cell++) {
        sparamx_status status = sparamx_kv_write(h->kv, &cell, 1, h->k + (size_t)cell * row, 0,
                                                 h->v + (size_t)cell * row, 0);
        if (status == SPARAMX_OK && cell % 64 == 0) status = sparamx_kv_observe(h->kv, &h->q_tensor);
        h->newest = cell;
        if (status == SPARAMX_OK && cell % 64 == 63) status = run(h, pack_share);
        if (status != SPARAMX_OK) return status;
    }
    return SPARAMX_OK;
}

static bool to_file(const void *data, size_t size, void *user) { return fwrite(data, 1, size, user) == size; }
static bool from_file(void *data, size_t size, void *user) { return fread(data, 1, size, user) == size; }

/* Saved, loaded, and attended once more: the same bits. */
static int round_trip(host *h) {
    size_t bytes = (size_t)(h->set.heads * h->set.group * h->set.dim) * 4;
    FILE *file = tmpfile();
    if (file == NULL) {
        perror("sparamx-kv: a temporary file");
        return 1;
    }
    sparamx_kv *loaded = NULL;
    int bad = failed("save", sparamx_kv_save(h->kv, to_file, file));
    rewind(file);
    bad = bad || failed("load", sparamx_kv_load(from_file, file, &loaded));
    fclose(file);
    if (bad) return 1;
    memcpy(h->first, h->dst, bytes);
    sparamx_kv_destroy(h->kv);
    h->kv = loaded, h->caches[0] = loaded;
    if (failed("attention", run(h, attend_share))) return 1;
    if (memcmp(h->first, h->dst, bytes) == 0) return 0;
    fprintf(stderr, "sparamx-kv: the cache that was loaded gives other results\n");
    return 1;
}

static double nanoseconds(host *h) {
    double times[1000];
    for (long i = 0; i < h->set.repeat; i++) {
        double begin = clock_ms();
        if (run(h, attend_share) != SPARAMX_OK) return NAN;
        times[i] = clock_ms() - begin;
    }
    return median(times, (int)h->set.repeat) * 1e6 / ((double)h->set.cells * (double)h->set.heads);
}

/* How far results are from those of rows that are not packed, in root mean squares. */
static double distance(const host *h, const float *exact) {
    double off = 0, all = 0;
    for (long i = 0; i < h->set.heads * h->set.group * h->set.dim; i++) {
        off += pow((double)h->dst[i] - (double)exact[i], 2);
        all += pow((double)exact[i], 2);
    }
    return sqrt(off / all);
}

typedef struct row {
    const char *name;
    bool packed;
    float k_zeros, v_zeros;
} row;

static int measure(host *h, const row *r, float *exact) {
    const settings *s = &h->set;
    sparamx_kv_options o = {.size = sizeof o, .type_k = SPARAMX_TYPE_F16, .type_v = SPARAMX_TYPE_F16,
                            .heads = (int32_t)s->heads, .k_dim = (int32_t)s->dim, .v_dim = (int32_t)s->dim,
                            .cells = s->cells, .k_zeros = r->k_zeros, .v_zeros = r->v_zeros,
                            .window = r->packed ? 0 : INT32_MAX};
    sparamx_kv_info info = {.size = sizeof info};
    if (failed("create", sparamx_kv_create(&o, &h->kv)) || failed("decode", decode(h))) return 1;
    h->caches[0] = h->kv;
    h->attention = (sparamx_attention){.size = sizeof h->attention, .streams = 1, .dst = &h->dst_tensor,
                                       .q = &h->q_tensor, .kv = h->caches, .cells = s->cells,
                                       .scale = 1 / sqrtf((float)s->dim)};
    if (failed("work_size", sparamx_attention_work_size(&h->attention, (int32_t)s->threads, &h->work_size))) return 1;
    h->work = memory(h->work_size);
    double time = 0;
    int bad = failed("attention", run(h, attend_share));
    if (!bad) time = nanoseconds(h);
    if (!bad && !r->packed) memcpy(exact, h->dst, (size_t)(s->heads * s->group * s->dim) * 4);
    bad = bad || failed("get_info", sparamx_kv_get_info(h->kv, &info)) || failed("verify", sparamx_kv_verify(h->kv));
    double off = distance(h, exact);
    if (!bad) {
        bad = round_trip(h);
    }
    double cell = (double)(info.packed_bytes + info.row_bytes) / (double)s->cells / (double)s->heads;
    if (!bad)
        printf("%-22s %10.1f %10.2f %8ld of %ld %12.1f %12.5f\n", r->name, cell,
               (double)(info.packed_bytes + info.row_bytes) / 1048576.0, (long)info.packed_blocks,
               (long)(info.packed_blocks + info.open_blocks), time, off);
    free(h->work);
    h->work = NULL;
    sparamx_kv_destroy(h->kv);
    h->kv = NULL;
    return bad;
}

int main(int argc, char **argv) {
    host h = {.newest = -1};
    int wrong = read_settings(argc, argv, &h.set);
    if (wrong) return usage(wrong < 0 ? stdout : stderr);
    h.team = team_create((int)h.set.threads);
    if (h.team == NULL) {
        fprintf(stderr, "sparamx-kv: %ld threads could not be started: ask for fewer\n", h.set.threads);
        return 1;
    }
    make_numbers(&h);
    float *exact = memory((size_t)(h.set.heads * h.set.group * h.set.dim) * 4);
    printf("%ld cells, %ld heads of %ld, %ld query heads, %ld threads\n", h.set.cells, h.set.heads, h.set.dim,
           h.set.heads * h.set.group, h.set.threads);
    printf("%-22s %10s %10s %13s %12s %12s\n", "cache", "bytes/cell", "MiB", "packed", "ns/cell,head", "off by");
    static const row rows[] = {{"float16 rows", false, 0, 0},       {"packed, all kept", true, 0, 0},
                               {"keys 30%, values 50%", true, 0.3f, 0.5f}, {"keys 50%, values 50%", true, 0.5f, 0.5f}};
    int bad = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !bad; i++) bad = measure(&h, &rows[i], exact);
    team_destroy(h.team);
    free(h.k), free(h.v), free(h.q), free(h.dst), free(h.first), free(exact);
    return bad;
}
