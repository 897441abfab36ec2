/*
 * tile_state_test - a host thread that uses AMX itself finds its tile configuration as it was after every call of the
 * library, and a thread without one has none afterwards. On CPUs without AMX it needs the tile emulator.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { N = 49, K = 96, MAX_M = 100, THREADS = 3 };

typedef struct config {
    _Alignas(64) uint8_t bytes[64];
} config;

/* As a host might have it: three tiles of odd sizes. */
static config own_config(int variant) {
    config c = {{0}};
    c.bytes[0] = 1; /* palette */
    for (int tile = 0; tile < 3; tile++) {
        uint16_t columns = (uint16_t)(4 * (tile + variant + 1));
        memcpy(c.bytes + 16 + 2 * tile, &columns, 2);
        c.bytes[48 + tile] = (uint8_t)(2 * tile + variant + 1);
    }
    return c;
}

static void load(const config *c) { __asm__ volatile("ldtilecfg %0" ::"m"(*c)); }
static void release(void) { __asm__ volatile("tilerelease"); }

static config stored(void) {
    config c;
    memset(&c, 0xee, sizeof c);
    __asm__ volatile("sttilecfg %0" : "=m"(c));
    return c;
}

static bool same(const config *a, const config *b) { return memcmp(a, b, sizeof *a) == 0; }

static bool permitted(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static const config none = {{0}};

/* The first call of a process computes with tiles to see whether they work. */
static void test_detection(int32_t *isa) {
    config mine = own_config(0);
    load(&mine);
    *isa = isa_level();
    config after = stored();
    CHECK(same(&mine, &after), "the first call changed the configuration");
    release();
    after = stored();
    CHECK(same(&none, &after), "tilerelease");
}

static uint8_t *weights;
static float *x, *y;

static void test_linear(int32_t type, int32_t form, int64_t m, bool own) {
    sparamx_linear_options o = {.size = sizeof o, .form = form, .pack_threads = 1};
    sparamx_linear *linear = NULL;
    config mine = own_config((int)m % 3), after;
    if (own) load(&mine);
    const config *want = own ? &mine : &none;
    CHECK(sparamx_linear_create(type, N, K, weights, 0, &o, &linear) == SPARAMX_OK, "linear");
    after = stored();
    CHECK(same(want, &after), "%s %s: packing changed the configuration", type_name(type), form_name(form));
    CHECK(multiply(linear, m, 1, x, K, y, N) == SPARAMX_OK && count_wrong(type, N, K, weights, m, x, K, y, N) == 0,
          "product");
    after = stored();
    CHECK(same(want, &after), "%s %s m %lld: the product changed the configuration", type_name(type), form_name(form),
          (long long)m);
    CHECK(multiply(linear, m, 1, x, K - 1, y, N) == SPARAMX_ERR_STRIDE, "a refused product");
    after = stored();
    CHECK(same(want, &after), "%s %s m %lld: a refused product changed the configuration", type_name(type),
          form_name(form), (long long)m);
    sparamx_linear_destroy(linear);
    if (own) release();
}

/* Each thread of a team with a configuration of its own, or none. */
typedef struct team {
    const sparamx_op *op;
    pthread_barrier_t *barrier;
    void *work;
    size_t work_size;
    bool good[THREADS];
} team;

static void wait_for_team(void *data) { pthread_barrier_wait(data); }

static void team_member(int index, void *context) {
    team *t = context;
    config mine = own_config(index), after;
    if (index != 1) load(&mine);
    sparamx_params p = {.size = sizeof p, .ith = index, .nth = THREADS, .work = t->work, .work_size = t->work_size,
                        .barrier = wait_for_team, .barrier_data = t->barrier};
    t->good[index] = sparamx_compute(&p, t->op) == SPARAMX_OK;
    after = stored();
    t->good[index] = t->good[index] && same(index != 1 ? &mine : &none, &after);
    release();
}

static void test_team(int32_t type, int64_t m) {
    sparamx_tensor wt = make_tensor(type, K, N, 1, 1, weights, NULL),
                   xt = make_tensor(SPARAMX_TYPE_F32, K, m, 1, 1, x, NULL);
    sparamx_tensor yt = make_tensor(SPARAMX_TYPE_F32, N, m, 1, 1, y, NULL);
    sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &yt, .weight = &wt, .x = &xt};
    pthread_barrier_t barrier;
    team t = {.op = &op, .barrier = &barrier};
    CHECK(sparamx_work_size(&op, THREADS, &t.work_size) == SPARAMX_OK, "work size");
    t.work = must_allocate(t.work_size);
    pthread_barrier_init(&barrier, NULL, THREADS);
    run_threads(THREADS, team_member, &t);
    for (int i = 0; i < THREADS; i++)
        CHECK(t.good[i], "%s m %lld: thread %d of a team", type_name(type), (long long)m, i);
    CHECK(count_wrong(type, N, K, weights, m, x, K, y, N) == 0, "product of a team");
    pthread_barrier_destroy(&barrier);
    free(t.work);
}

int main(void) {
    static const int64_t tokens[] = {1, 2, 5, 16, 17, 32, 33, MAX_M};
    if (!permitted()) {
        SKIP(1, "tile state: no AMX here, and no emulator");
        return check_end();
    }
    int32_t isa = 0;
    test_detection(&isa);
    if (isa != SPARAMX_ISA_AMX) {
        SKIP(1, "tile state: the library does not use AMX here");
        return check_end();
    }
    weights = must_allocate(row_bytes(SPARAMX_TYPE_BF16, K) * N);
    x = must_allocate(MAX_M * K * sizeof *x);
    y = must_allocate(MAX_M * N * sizeof *y);
    fill_activations(MAX_M * K, 1, x);
    for (size_t i = 0; i < COUNT(weight_types); i++) {
        fill_weights(weight_types[i], N, K, 0.5, 2, weights);
        for (size_t j = 0; j < COUNT(tokens); j++) {
            for (int k = 0; k < 4; k++) test_linear(weight_types[i], packed_forms[k % 2], tokens[j], k < 2);
            test_team(weight_types[i], tokens[j]);
        }
    }
    free(weights);
    free(x);
    free(y);
    return check_end();
}
