/*
 * pages_test - on a machine with several memory nodes: the node of each page of a packed weight, as Linux tells it, in
 * each of the ways of SPARAMX_NUMA_*, and whose copy a thread reads. Runs on its own: it looks for fresh mappings.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { N = 2048, K = 2048, M = 2, NODES = 3, AREAS = 512, PAGE = 4096 };

typedef struct area {
    uintptr_t begin, end;
} area;

static uint8_t *weights;
static float *x, *want;

/* Anonymous memory of the process that can be written. */
static int areas(area *out) {
    char line[512];
    int count = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL && count < AREAS) {
        unsigned long begin, end, inode;
        char rights[8];
        if (sscanf(line, "%lx-%lx %7s %*x %*s %lu", &begin, &end, rights, &inode) != 4) continue;
        if (rights[1] == 'w' && inode == 0) out[count++] = (area){begin, end};
    }
    if (file != NULL) fclose(file);
    return count;
}

/* The node of a page, below 0 if it is not there. */
static int node_of(uintptr_t page) {
    void *pages[1] = {(void *)page};
    int status[1] = {-1};
    return syscall(SYS_move_pages, 0, 1, pages, NULL, status, 0) == 0 ? status[0] : -1;
}

static bool run_on(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

static bool is_right(const sparamx_linear *linear) {
    float *y = must_allocate(M * N * sizeof *y);
    size_t size = 0;
    bool same = sparamx_linear_work_size(linear, M, 1, &size) == SPARAMX_OK;
    void *work = must_allocate(size);
    sparamx_params params = {.size = sizeof params, .nth = 1, .work = work, .work_size = size};
    same = same && sparamx_linear_compute(linear, &params, M, x, K, y, N) == SPARAMX_OK &&
           memcmp(y, want, M * N * sizeof *y) == 0;
    free(work);
    free(y);
    return same;
}

typedef struct found {
    long pages[NODES];
    uintptr_t first[NODES]; /* the lowest page on each node */
    uintptr_t lowest, highest;
} found;

/* Pages that became resident in mappings which were not there before. */
static found look(const area *before, int count) {
    area now[AREAS];
    found f = {0};
    f.lowest = UINTPTR_MAX;
    int all = areas(now);
    for (int i = 0; i < all; i++) {
        for (uintptr_t page = now[i].begin; page < now[i].end; page += PAGE) {
            bool old = false;
            for (int j = 0; j < count && !old; j++) old = page >= before[j].begin && page < before[j].end;
            if (old) continue;
            int node = node_of(page);
            if (node < 0 || node >= NODES) continue;
            if (f.pages[node]++ == 0) f.first[node] = page;
            if (page < f.lowest) f.lowest = page;
            if (page > f.highest) f.highest = page;
        }
    }
    return f;
}

static void test(int32_t form, int32_t numa) {
    static const char *const names[] = {"default", "interleave", "mirror", "distribute"};
    area before[AREAS];
    int count = areas(before);
    sparamx_linear_options o = {.size = sizeof o, .form = form, .pack_threads = 1, .numa = numa};
    sparamx_linear *linear = NULL;
    sparamx_tensor_info info = {.size = sizeof info};
    run_on(0);
    if (!CHECK(sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, &o, &linear) == SPARAMX_OK &&
                   sparamx_linear_info(linear, &info) == SPARAMX_OK, "%s", names[numa])) return;
    found f = look(before, count);
    long pages = (long)((info.packed_bytes + PAGE - 1) / PAGE), slack = 40; /* heap of this program, huge pages cut */
    printf("  %s, %s: %ld pages packed; on nodes 0, 1, 2: %ld, %ld, %ld\n", form_name(form), names[numa], pages,
           f.pages[0], f.pages[1], f.pages[2]);
#define ABOUT(n, wanted) ((n) >= (wanted) - slack && (n) <= (wanted) + slack)
    if (numa == SPARAMX_NUMA_DEFAULT) {
        CHECK(ABOUT(f.pages[0], pages) && ABOUT(f.pages[1], 0) && f.pages[2] == 0, "first touch");
    } else if (numa == SPARAMX_NUMA_INTERLEAVE) {
        slack = 1536; /* huge pages are interleaved as such, and here are eight */
        for (int i = 0; i < NODES; i++) CHECK(ABOUT(f.pages[i], pages / 3), "node %d", i);
    } else if (numa == SPARAMX_NUMA_MIRROR) {
        CHECK(ABOUT(f.pages[0], pages) && ABOUT(f.pages[1], pages) && f.pages[2] == 0, "a copy on each node with CPUs");
    } else {
        CHECK(ABOUT(f.pages[0], pages / 2) && ABOUT(f.pages[1], pages / 2) && f.pages[2] == 0, "halves");
        CHECK(f.first[0] == f.lowest && f.first[1] > f.lowest, "the first rows are on the first node");
    }
    for (int cpu = 0; cpu < 2; cpu++) {
        CHECK(run_on(cpu) && is_right(linear), "%s: the result on CPU %d", names[numa], cpu);
    }
    if (numa == SPARAMX_NUMA_MIRROR) {
        /* Values begin a copy. The copy on node 1 gets another value, and only there the result changes. */
        uint8_t *copy = (uint8_t *)f.first[1];
        uintptr_t at = f.first[1];
        while (memcmp((void *)at, (void *)f.first[0], PAGE) != 0 && at < f.highest) at += PAGE;
        copy = (uint8_t *)at;
        copy[1] ^= 0x40;
        CHECK(run_on(0) && is_right(linear), "a thread on CPU 0 reads node 0");
        CHECK(run_on(1) && !is_right(linear), "a thread on CPU 1 reads node 1");
        copy[1] ^= 0x40;
        CHECK(is_right(linear) && sparamx_linear_verify(linear) == SPARAMX_OK, "the value is back");
    }
    sparamx_linear_destroy(linear);
    f = look(before, count);
    CHECK(f.pages[0] + f.pages[1] + f.pages[2] <= slack, "%s: %ld pages are left", names[numa],
          f.pages[0] + f.pages[1] + f.pages[2]);
}

int main(void) {
    sparamx_capability c = {.size = sizeof c};
    CHECK(sparamx_get_capability(&c) == SPARAMX_OK && c.numa_nodes == NODES && c.cpus == 2, "%d nodes, %d CPUs",
          c.numa_nodes, c.cpus);
    weights = must_allocate((size_t)N * K * 2);
    x = must_allocate(M * K * sizeof *x);
    want = must_allocate(M * N * sizeof *want);
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.5, 3, weights);
    fill_activations(M * K, 4, x);
    for (size_t f = 0; f < COUNT(packed_forms); f++) {
        sparamx_linear_options o = {.size = sizeof o, .form = packed_forms[f]};
        sparamx_linear *plain = NULL;
        CHECK(sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, weights, 0, &o, &plain) == SPARAMX_OK &&
                  multiply(plain, M, 1, x, K, want, N) == SPARAMX_OK, "a product");
        sparamx_linear_destroy(plain);
        for (int32_t numa = SPARAMX_NUMA_DEFAULT; numa <= SPARAMX_NUMA_DISTRIBUTE; numa++) test(packed_forms[f], numa);
    }
    return check_end();
}
