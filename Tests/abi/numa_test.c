/*
 * numa_test - weights on a machine with several memory nodes, which libnodes.so plays: where their pages are asked for,
 * whose copy a thread reads, and that contents, results and accounts are those of one copy. Argument: what NODES says.
 */
#define _GNU_SOURCE
#include "check.h"
#include "nodes.h"
#include "support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { N = 512, K = 1024, M = 3, PREFERRED = 1, INTERLEAVE = 3 };
static const size_t bytes = (size_t)N * K * 2;
static uint8_t *weights;
static float *x, *want;
static int warnings;
static char warning[256];

static void receive(int32_t level, const char *message, void *user) {
    (void)user;
    if (level != SPARAMX_LOG_WARNING) return;
    warnings++;
    snprintf(warning, sizeof warning, "%s", message);
}

static sparamx_linear *make(int32_t form, int32_t numa) {
    sparamx_linear_options o = {.size = sizeof o, .form = form, .pack_threads = 3, .numa = numa};
    sparamx_linear *made = NULL;
    nodes_forget();
    CHECK(sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, &o, &made) == SPARAMX_OK, "a linear");
    return made;
}

static size_t packed_bytes(const sparamx_linear *linear) {
    sparamx_tensor_info info = {.size = sizeof info};
    return sparamx_linear_info(linear, &info) == SPARAMX_OK ? info.packed_bytes : 0;
}

/* The last of the requests for memory preferably from this node; NULL: there is none. */
static char *placed_on(int node, size_t least) {
    const nodes_request *all;
    int count = nodes_requests(&all);
    for (int i = count - 1; i >= 0; i--) {
        if (all[i].mode == PREFERRED && all[i].mask == 1ul << node && all[i].bytes >= least) return all[i].begin;
    }
    return NULL;
}

static bool is_right(const sparamx_linear *linear, int threads) {
    float *y = must_allocate(M * N * sizeof *y);
    bool same = multiply(linear, M, threads, x, K, y, N) == SPARAMX_OK && memcmp(y, want, M * N * sizeof *y) == 0;
    free(y);
    return same;
}

/* multiply() makes threads of its own; here it is this one that computes. */
static bool is_right_on(const sparamx_linear *linear, int node) {
    float *y = must_allocate(M * N * sizeof *y);
    size_t size = 0;
    bool same = sparamx_linear_work_size(linear, M, 1, &size) == SPARAMX_OK;
    void *work = must_allocate(size);
    sparamx_params params = {.size = sizeof params, .nth = 1, .work = work, .work_size = size};
    nodes_stand_on(node);
    same = same && sparamx_linear_compute(linear, &params, M, x, K, y, N) == SPARAMX_OK;
    nodes_stand_on(0);
    same = same && memcmp(y, want, M * N * sizeof *y) == 0;
    free(work);
    free(y);
    return same;
}

/* A host's loop that runs on another node than the call. */
static void loop_on_node(void (*task)(int32_t index, void *data), void *data, int32_t count, void *user) {
    nodes_stand_on(*(const int *)user);
    for (int32_t i = 0; i < count; i++) task(i, data);
    nodes_stand_on(0);
}

static bool is_right_in_a_layer(const sparamx_linear *linear, int node) {
    float *y = must_allocate(M * N * sizeof *y);
    sparamx_linear_call c = {.size = sizeof c, .m = M, .ldx = K, .ldy = N, .x = x, .y = y, .tasks = 3,
                             .parallel = loop_on_node, .user = &node};
    bool same = sparamx_linear_call_work_size(linear, &c, &c.work_size) == SPARAMX_OK;
    c.work = must_allocate(c.work_size);
    same = same && sparamx_linear_apply(linear, &c) == SPARAMX_OK && memcmp(y, want, M * N * sizeof *y) == 0;
    free(c.work);
    free(y);
    return same;
}

/* Back to what they were, if it is done twice. */
static void change_values(char *values) {
    for (int i = 0; i < 64; i++) values[i] ^= 0x41;
}

static void test_mirror(int32_t form) {
    sparamx_linear *linear = make(form, SPARAMX_NUMA_MIRROR);
    size_t packed = packed_bytes(linear);
    char *first = placed_on(0, packed), *second = placed_on(1, packed);
    if (!CHECK(first != NULL && second != NULL && placed_on(2, 1) == NULL && placed_on(3, 1) == NULL,
               "%s: a copy on each node with CPUs and memory", form_name(form))) return;
    CHECK(memcmp(first, second, packed) == 0, "%s: the copies are the same", form_name(form));
    CHECK(sparamx_linear_verify(linear) == SPARAMX_OK && is_right(linear, 2), "%s: whole", form_name(form));
    /* The values lie in front: the first of the second copy are other numbers. Whoever reads them is found out. */
    change_values(second);
    CHECK(is_right_on(linear, 0) && !is_right_on(linear, 1), "%s: a thread reads its node's copy", form_name(form));
    CHECK(is_right_in_a_layer(linear, 0) && !is_right_in_a_layer(linear, 1), "%s: and so does a task of a layer",
          form_name(form));
    CHECK(is_right_on(linear, 2), "%s: node 2 is nearer to node 0", form_name(form));
    CHECK(!is_right_on(linear, 3), "%s: node 3 is nearer to node 1", form_name(form));
    CHECK(is_right_on(linear, 77) && is_right_on(linear, 5000), "%s: nodes that nobody knows", form_name(form));
    change_values(second);
    CHECK(is_right_on(linear, 1), "%s: the values are back", form_name(form));
    /* The padding behind the values is at the same place in both. Any copy that is damaged is found. */
    uint8_t *read = must_allocate(bytes);
    for (int copy = 0; copy < 2 && form != SPARAMX_FORM_DENSE; copy++) {
        char *last = (copy ? second : first) + packed - 1;
        *last ^= 0x20;
        CHECK(sparamx_linear_verify(linear) == SPARAMX_ERR_DAMAGED, "damage to copy %d is found", copy);
        *last ^= 0x20;
    }
    CHECK(sparamx_linear_read(linear, 0, N, read) == SPARAMX_OK && memcmp(read, weights, bytes) == 0, "read back");
    free(read);
    sparamx_linear_destroy(linear);
}

/* All that writes, in a buffer: both copies follow, and the account counts both. */
static void test_buffer(void) {
    sparamx_buffer_options o = {.size = sizeof o, .form = SPARAMX_FORM_SPARSE, .numa = SPARAMX_NUMA_MIRROR};
    sparamx_buffer *buffer = NULL, *other = NULL;
    uint8_t *back = must_allocate(bytes), *held = must_allocate(bytes);
    CHECK(sparamx_buffer_create(2 * bytes, &o, &buffer) == SPARAMX_OK &&
              sparamx_buffer_create(bytes, NULL, &other) == SPARAMX_OK, "buffers");
    sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, K, N, 1, 1, sparamx_buffer_base(buffer), buffer),
                   u = make_tensor(SPARAMX_TYPE_BF16, K, N, 1, 1, sparamx_buffer_base(other), other);
    sparamx_tensor_info info = {.size = sizeof info};
    static const char *const steps[] = {"uploaded in pieces", "written over", "filled", "cleared", "copied"};
    memcpy(held, weights, bytes);
    for (size_t step = 0; step < COUNT(steps); step++) {
        nodes_forget();
        sparamx_status status = SPARAMX_ERR_STATE;
        switch (step) {
        case 0:
            status = sparamx_buffer_set_tensor(buffer, &t, weights, 0, 1000);
            if (status != SPARAMX_OK) break;
            status = sparamx_buffer_set_tensor(buffer, &t, weights + 1000, 1000, bytes - 1000);
            break;
        case 1:
            for (size_t i = 77; i < 777; i++) held[i] = (uint8_t)(i % 60);
            status = sparamx_buffer_set_tensor(buffer, &t, held + 77, 77, 700);
            break;
        case 2:
            memset(held + 4096, 0x11, 8192);
            status = sparamx_buffer_memset_tensor(buffer, &t, 0x11, 4096, 8192);
            break;
        case 3:
            memset(held, 0x2d, bytes);
            status = sparamx_buffer_clear(buffer, 0x2d);
            break;
        case 4:
            memcpy(held, weights, bytes);
            status = sparamx_buffer_set_tensor(other, &u, weights, 0, bytes);
            nodes_forget();
            if (status == SPARAMX_OK) status = sparamx_buffer_copy_tensor(buffer, &u, &t);
            break;
        }
        CHECK(status == SPARAMX_OK && sparamx_buffer_tensor_info(buffer, &t, &info) == SPARAMX_OK, "%s", steps[step]);
        char *first = placed_on(0, info.packed_bytes), *second = placed_on(1, info.packed_bytes);
        CHECK(first != NULL && second != NULL && memcmp(first, second, info.packed_bytes) == 0, "%s: both copies",
              steps[step]);
        CHECK(sparamx_buffer_resident(buffer) == 2 * info.packed_bytes, "%s: %zu bytes resident, two copies of %llu",
              steps[step], sparamx_buffer_resident(buffer), (unsigned long long)info.packed_bytes);
        CHECK(sparamx_buffer_get_tensor(buffer, &t, back, 0, bytes) == SPARAMX_OK && memcmp(back, held, bytes) == 0 &&
                  sparamx_buffer_verify_tensor(buffer, &t) == SPARAMX_OK, "%s: contents", steps[step]);
    }
    sparamx_tensor xt = make_tensor(SPARAMX_TYPE_F32, K, M, 1, 1, x, NULL);
    float *y = must_allocate(M * N * sizeof *y);
    sparamx_tensor yt = make_tensor(SPARAMX_TYPE_F32, N, M, 1, 1, y, NULL);
    sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &yt, .weight = &t, .x = &xt};
    char *second = placed_on(1, info.packed_bytes);
    for (int changed = 0; changed < 2 && second != NULL; changed++) {
        second[1] ^= changed ? 0x40 : 0;
        size_t size = 0;
        CHECK(sparamx_work_size(&op, 1, &size) == SPARAMX_OK, "size");
        void *work = must_allocate(size);
        sparamx_params params = {.size = sizeof params, .nth = 1, .work = work, .work_size = size};
        nodes_stand_on(1);
        CHECK(sparamx_compute(&params, &op) == SPARAMX_OK, "op");
        nodes_stand_on(0);
        CHECK((memcmp(y, want, M * N * sizeof *y) == 0) == !changed, "an op reads its node's copy");
        free(work);
    }
    CHECK(sparamx_buffer_reset(buffer) == SPARAMX_OK && sparamx_buffer_resident(buffer) == 0, "reset");
    sparamx_buffer_destroy(buffer);
    sparamx_buffer_destroy(other);
    free(back);
    free(held);
    free(y);
}

/* Each page of the one copy is on one of the two nodes: of each stream the front on the first. */
static void test_distribute(int32_t form) {
    sparamx_linear *linear = make(form, SPARAMX_NUMA_DISTRIBUTE);
    size_t packed = packed_bytes(linear), on[2] = {0, 0};
    char *base = placed_on(0, 1);
    const nodes_request *all;
    int count = nodes_requests(&all);
    for (int i = 0; i < count; i++) base = all[i].begin < base ? all[i].begin : base;
    for (size_t at = 0; at + 4096 <= packed; at += 4096) {
        unsigned long mask = 0;
        if (nodes_of(base + at, &mask) == PREFERRED && (mask == 1 || mask == 2)) on[mask - 1] += 4096;
    }
    CHECK(on[0] + on[1] + 3 * 4096 >= packed, "%s: %zu of %zu bytes placed", form_name(form), on[0] + on[1], packed);
    CHECK(on[0] + 5 * 4096 > on[1] && on[1] + 5 * 4096 > on[0], "%s: %zu and %zu bytes", form_name(form), on[0], on[1]);
    unsigned long mask = 0;
    CHECK(nodes_of(base, &mask) == PREFERRED && mask == 1, "%s: the first panels are on the first node",
          form_name(form));
    CHECK(is_right(linear, 1) && is_right(linear, 2) && is_right(linear, 7), "%s: results", form_name(form));
    sparamx_linear_destroy(linear);
}

/* Two threads, each with results of its own: so it shows which columns it computed. */
typedef struct pair {
    const sparamx_linear *linear;
    pthread_barrier_t barrier;
    int node[2];
    float *y[2];
    void *work;
    size_t size;
} pair;

static void meet(void *data) { pthread_barrier_wait(data); }

static void pair_member(int index, void *context) {
    pair *p = context;
    sparamx_params params = {.size = sizeof params, .ith = index, .nth = 2, .work = p->work, .work_size = p->size,
                             .barrier = meet, .barrier_data = &p->barrier};
    nodes_stand_on(p->node[index]);
    sparamx_linear_compute(p->linear, &params, M, x, K, p->y[index], N);
}

static void test_who_reads_what(int32_t form, int first, int second, int32_t numa) {
    pair p = {.linear = make(form, numa), .node = {first, second}};
    CHECK(sparamx_linear_work_size(p.linear, M, 2, &p.size) == SPARAMX_OK, "size");
    p.work = must_allocate(p.size);
    pthread_barrier_init(&p.barrier, NULL, 2);
    for (int i = 0; i < 2; i++) {
        p.y[i] = must_allocate(M * N * sizeof *x);
        memset(p.y[i], 0xff, M * N * sizeof *x);
    }
    run_threads(2, pair_member, &p);
    /* At level reference BF16 takes no barrier, and threads do not learn where the others are. */
    bool swapped = numa == SPARAMX_NUMA_DISTRIBUTE && first == 1 && second == 0 && isa_level() > 0;
    float *front = p.y[swapped ? 1 : 0], *back = p.y[swapped ? 0 : 1];
    uint32_t never = 0xffffffff;
    CHECK(memcmp(front, want, sizeof *x) == 0 && memcmp(back, &never, 4) == 0, "%s, nodes %d and %d: the front",
          form_name(form), first, second);
    CHECK(memcmp(back + N - 1, want + N - 1, 4) == 0 && memcmp(front + N - 1, &never, 4) == 0,
          "%s, nodes %d and %d: the back", form_name(form), first, second);
    pthread_barrier_destroy(&p.barrier);
    for (int i = 0; i < 2; i++) free(p.y[i]);
    free(p.work);
    sparamx_linear_destroy((sparamx_linear *)(uintptr_t)p.linear);
}

/* A stack of experts is interleaved, and mirrored as anything else. */
static void test_experts(void) {
    enum { E = 4, ROWS = N / E };
    for (int32_t numa = SPARAMX_NUMA_INTERLEAVE; numa <= SPARAMX_NUMA_DISTRIBUTE; numa++) {
        sparamx_buffer_options o = {.size = sizeof o, .form = SPARAMX_FORM_DENSE, .numa = numa};
        sparamx_buffer *buffer = NULL;
        CHECK(sparamx_buffer_create(bytes, &o, &buffer) == SPARAMX_OK, "a buffer");
        sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, K, ROWS, E, 1, sparamx_buffer_base(buffer), buffer);
        nodes_forget();
        CHECK(sparamx_buffer_set_tensor(buffer, &t, weights, 0, bytes) == SPARAMX_OK, "upload");
        const nodes_request *all;
        int count = nodes_requests(&all);
        bool interleaved = count > 0 && all[count - 1].mode == INTERLEAVE && all[count - 1].mask == 7;
        CHECK(numa == SPARAMX_NUMA_MIRROR ? placed_on(1, bytes) != NULL : interleaved, "experts, numa %d", numa);
        int32_t ids[2] = {2, 0};
        float y[2 * ROWS];
        sparamx_tensor xt = make_tensor(SPARAMX_TYPE_F32, K, 1, 1, 1, x, NULL),
                       it = make_tensor(SPARAMX_TYPE_F32, 2, 1, 1, 1, ids, NULL),
                       yt = make_tensor(SPARAMX_TYPE_F32, ROWS, 2, 1, 1, y, NULL);
        it.type = SPARAMX_TYPE_I32;
        sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT_ID, .dst = &yt, .weight = &t, .x = &xt,
                         .ids = &it};
        const uint8_t *expert = weights + 2 * bytes / E;
        CHECK(multiply_op(&op, 3) == SPARAMX_OK &&
                  count_wrong(SPARAMX_TYPE_BF16, ROWS, K, expert, 1, x, K, y, ROWS) == 0,
              "experts, numa %d: result", numa);
        sparamx_buffer_destroy(buffer);
    }
}

/* Address space for one copy and not for two: one is kept, and a line says so. */
static void test_no_room(void) {
    enum { ROWS = 8192, COLUMNS = 4096 }; /* 64 MiB */
    size_t large = (size_t)ROWS * COLUMNS * 2;
    uint8_t *w = must_allocate(large);
    memset(w, 0x3c, large);
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu", &pages) != 1) exit(2);
    fclose(file);
    struct rlimit before, limit;
    getrlimit(RLIMIT_AS, &before);
    limit = before;
    limit.rlim_cur = pages * 4096 + large + large / 2;
    sparamx_linear_options o = {.size = sizeof o, .form = SPARAMX_FORM_DENSE, .numa = SPARAMX_NUMA_MIRROR};
    sparamx_linear *linear = NULL;
    warnings = 0;
    nodes_forget();
    setrlimit(RLIMIT_AS, &limit);
    sparamx_status status = sparamx_linear_create(SPARAMX_TYPE_BF16, ROWS, COLUMNS, w, 0, &o, &linear);
    setrlimit(RLIMIT_AS, &before);
    CHECK(status == SPARAMX_OK && placed_on(1, large) == NULL, "one copy: status %d", status);
    CHECK(warnings == 1 && strstr(warning, "one copy is kept") != NULL, "%d warnings: %s", warnings, warning);
    sparamx_linear_destroy(linear);
    free(w);
}

int main(int argc, char **argv) {
    const char *nodes = argc > 1 ? argv[1] : "";
    weights = must_allocate(bytes);
    x = must_allocate(M * K * sizeof *x);
    want = must_allocate(M * N * sizeof *want);
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.5, 3, weights);
    fill_activations(M * K, 4, x);
    sparamx_set_log(receive, NULL);
    for (size_t f = 0; f < COUNT(packed_forms); f++) {
        int32_t form = packed_forms[f];
        sparamx_linear *plain = make(form, SPARAMX_NUMA_DEFAULT);
        const nodes_request *all;
        CHECK(nodes_requests(&all) == 0, "nothing is placed that nobody asked for");
        CHECK(multiply(plain, M, 1, x, K, want, N) == SPARAMX_OK, "a product");
        sparamx_linear_destroy(plain);
        if (nodes[0] == 0 || strcmp(nodes, "no-lists") == 0) {
            /* Without the lists node 2 counts as one with CPUs: three copies. */
            if (nodes[0] == 0) test_mirror(form);
            if (nodes[0] == 0) test_distribute(form);
            for (int32_t numa = SPARAMX_NUMA_MIRROR; numa <= SPARAMX_NUMA_DISTRIBUTE; numa++) {
                test_who_reads_what(form, 0, 1, numa);
                test_who_reads_what(form, 1, 0, numa);
                test_who_reads_what(form, 1, 1, numa);
            }
            continue;
        }
        for (int32_t numa = SPARAMX_NUMA_INTERLEAVE; numa <= SPARAMX_NUMA_DISTRIBUTE; numa++) {
            warnings = 0;
            sparamx_linear *linear = make(form, numa);
            CHECK(nodes_requests(&all) == 0 && is_right_on(linear, 1) && is_right(linear, 3), "NODES=%s, numa %d",
                  nodes, numa);
            CHECK(warnings == (strcmp(nodes, "no-libnuma") == 0 && numa == SPARAMX_NUMA_MIRROR),
                  "NODES=%s: %d lines: %s", nodes, warnings, warning);
            sparamx_linear_destroy(linear);
        }
    }
    if (nodes[0] == 0) {
        test_buffer();
        test_experts();
        test_no_room();
    }
    free(weights);
    free(x);
    free(want);
    return check_end();
}
