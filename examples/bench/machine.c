#define _GNU_SOURCE
#include "machine.h"

#include <immintrin.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define TILE_AREA ((size_t)16384) /* bytes of A and of B per type: together well inside 48 KB of first-level cache */
#define AMX_STEPS 500000          /* 4 tile products each, 64 cycles */
#define VECTOR_STEPS 2000000      /* 13 vector products each, 7 to 13 cycles */
#define READ_PASSES 3

/* ------------------------------------------------------------------------------------------------- small tools -- */

double bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double team_start(team *t) {
    team_barrier(t); /* all are awake */
    double now = bench_now();
    team_barrier(t); /* and none has begun before the time was taken */
    return now;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int count) {
    for (int i = 0; i < count; i++) {
        if (isnan(values[i])) return NAN;
    }
    if (count == 0) return NAN;
    qsort(values, (size_t)count, sizeof *values, compare_doubles);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

void random_normals(float *values, size_t count, uint64_t seed) {
    uint64_t state = random_seed(seed);
    for (size_t i = 0; i < count; i += 2) { /* Box and Muller: two at a time */
        uint64_t bits = random_next(&state);
        float u = ((float)(bits >> 40) + 1.0f) * 0x1p-24f; /* 0 is not in the range of the logarithm */
        float angle = (float)((bits >> 8) & 0xFFFFFF) * (6.2831853f * 0x1p-24f);
        float radius = sqrtf(-2.0f * logf(u));
        values[i] = radius * cosf(angle);
        if (i + 1 < count) values[i + 1] = radius * sinf(angle);
    }
}

void *pages_get(size_t bytes) {
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return NULL;
    madvise(pages, bytes, MADV_HUGEPAGE); /* only a wish: without it the figures are those of 4 KB pages */
    return pages;
}

void pages_free(void *pages, size_t bytes) {
    if (pages) munmap(pages, bytes);
}

const char *machine_isa_name(int32_t isa) {
    static const char *const names[] = {"reference", "avx512", "amx"};
    return isa >= SPARAMX_ISA_REFERENCE && isa <= SPARAMX_ISA_AMX ? names[isa] : "unknown";
}

/* -------------------------------------------------------------------------------------------- facts of a machine -- */

/* A number from sysfs, which may end in K or M; -1 if there is none. */
static long cache_fact(int cpu, const char *fact) {
    char path[128], text[32] = "";
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cache/index3/%s", cpu, fact);
    FILE *file = fopen(path, "r");
    if (!file) return -1;
    bool found = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    char *end = text;
    long number = strtol(text, &end, 10);
    if (!found || end == text) return -1;
    return *end == 'K' ? number << 10 : *end == 'M' ? number << 20 : number;
}

/* How many third-level caches the team's CPUs have between them: on chiplets each group of cores has its own. */
static int cache_domains(const team *t) {
    long seen[64];
    int count = 0;
    for (int i = 0; i < team_size(t); i++) {
        long id = cache_fact(team_cpu(t, i), "id");
        int known = 0;
        while (known < count && seen[known] != id) known++;
        if (known == count && count < 64) seen[count++] = id;
    }
    return count;
}

/* The system's figure first: the C library's is that of the whole socket on some AMD CPUs (384 MB seen for 32). */
static size_t find_llc(const team *t) {
    long bytes = cache_fact(team_cpu(t, 0), "size");
    if (bytes <= 0) bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (bytes <= 0) bytes = sysconf(_SC_LEVEL2_CACHE_SIZE) * team_size(t); /* there may be no third level */
    if (bytes <= 0) bytes = 64l << 20; /* unknown: more than most have */
    return (size_t)bytes * (size_t)cache_domains(t);
}

size_t machine_cycle_bytes(const machine *m) {
    size_t bytes = 4 * m->llc_bytes;
    if (bytes > 1200000000) bytes = 1200000000;
    if (bytes < 2 * m->llc_bytes) bytes = 2 * m->llc_bytes;
    if (bytes < 384 * MIB) bytes = 384 * MIB; /* else a pass would be too short to time well */
    return bytes;
}

size_t machine_memory_budget(const machine *m) {
    size_t budget = (size_t)8000000000;
    budget -= m->buffer_bytes < budget / 2 ? m->buffer_bytes : budget / 2;
    FILE *file = fopen("/proc/meminfo", "r");
    char line[128];
    unsigned long long kilobytes;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "MemAvailable: %llu", &kilobytes) != 1) continue;
        size_t spare = (size_t)kilobytes * 1024 / 10 * 8;
        if (spare < budget) budget = spare;
    }
    if (file) fclose(file);
    return budget;
}

/* -------------------------------------------------------------------------------------------- reading of memory -- */

/*
 * Plain loads without software prefetch, four lines per turn, gap bytes apart. With gap 64 a thread reads one stream;
 * with a quarter of its share it reads four. Which of the two is faster depends on the CPU's prefetchers, and a
 * ceiling has to be the faster one.
 */
typedef uint64_t (*read_fn)(const char *from, size_t gap, size_t step, size_t turns);

__attribute__((target("avx512f"))) static uint64_t read_64(const char *from, size_t gap, size_t step, size_t turns) {
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (const char *p = from; turns > 0; turns--, p += step) {
        a = _mm512_xor_si512(a, _mm512_load_si512(p));
        b = _mm512_xor_si512(b, _mm512_load_si512(p + gap));
        c = _mm512_xor_si512(c, _mm512_load_si512(p + 2 * gap));
        d = _mm512_xor_si512(d, _mm512_load_si512(p + 3 * gap));
    }
    a = _mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d));
    return (uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(a)); /* enough for nothing to be left out */
}

static uint64_t read_16(const char *from, size_t gap, size_t step, size_t turns) {
    __m128i sum = _mm_setzero_si128();
    for (const char *p = from; turns > 0; turns--, p += step) {
        for (size_t line = 0; line < 4; line++) {
            const __m128i *q = (const __m128i *)(const void *)(p + line * gap);
            __m128i ab = _mm_xor_si128(_mm_load_si128(q), _mm_load_si128(q + 1));
            __m128i cd = _mm_xor_si128(_mm_load_si128(q + 2), _mm_load_si128(q + 3));
            sum = _mm_xor_si128(sum, _mm_xor_si128(ab, cd));
        }
    }
    return (uint64_t)_mm_cvtsi128_si64(_mm_xor_si128(sum, _mm_unpackhi_epi64(sum, sum)));
}

typedef struct timing {
    machine *machine;
    read_fn read;
    void (*work)(const void *tiles, long steps);
    const void *operands;
    long steps;
    double seconds;
} timing;

static size_t share_of(const machine *m) {
    return m->buffer_bytes / (size_t)m->threads / 4096 * 4096;
}

static volatile uint64_t sink; /* what is read must seem to be needed */

static void read_job(void *arg, int ith, int nth) {
    timing *t = arg;
    (void)nth;
    size_t share = share_of(t->machine);
    const char *from = (const char *)t->machine->buffer + (size_t)ith * share;
    bool one = t->machine->read_streams == 1;
    double start = team_start(t->machine->team);
    uint64_t sum = t->read(from, one ? 64 : share / 4, one ? 256 : 64, share / 256);
    team_barrier(t->machine->team);
    if (ith == 0) t->seconds = bench_now() - start;
    if (sum == 1) sink = sum;
}

static double read_once(machine *m) {
    timing t = {.machine = m, .read = __builtin_cpu_supports("avx512f") ? read_64 : read_16};
    team_run(m->team, read_job, &t);
    double gbps = (double)(share_of(m) * (size_t)m->threads) / t.seconds * 1e-9;
    if (gbps > m->read_best) m->read_best = gbps;
    return gbps;
}

static void choose_read(machine *m) {
    double best[2] = {0, 0};
    for (int round = 0; round < 2 * READ_PASSES; round++) {
        m->read_streams = round % 2 ? 4 : 1;
        double gbps = read_once(m);
        if (gbps > best[round % 2]) best[round % 2] = gbps;
    }
    m->read_streams = best[1] > best[0] ? 4 : 1;
}

/* --------------------------------------------------------------------------------------------------- arithmetic -- */

/*
 * Everything here is inline assembly, so that the file compiles for any x86-64 and the loop is the same whatever the
 * compiler and its options. A static const tile configuration, because GCC 11 and 12 drop the stores to a local one.
 */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

static const tile_config eight_full_tiles = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

#define TILE_LOAD(tile, from) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"((long)64) : "memory")

/* 2 x 2 tiles, each operand loaded once per step: the shape of a real inner loop. */
#define AMX_LOOP(product)                                                                                       \
    __asm__ volatile("ldtilecfg %0" : : "m"(eight_full_tiles));                                                 \
    __asm__ volatile("tilezero %tmm0\n\ttilezero %tmm1\n\ttilezero %tmm2\n\ttilezero %tmm3");                  \
    const char *a = tiles, *b = a + TILE_AREA;                                                                  \
    for (size_t at = 0; steps > 0; steps--, at = (at + 2048) % TILE_AREA) {                                     \
        TILE_LOAD(4, a + at);                                                                                   \
        TILE_LOAD(6, b + at);                                                                                   \
        __asm__ volatile(product " %tmm6, %tmm4, %tmm0");                                                       \
        TILE_LOAD(7, b + at + 1024);                                                                            \
        __asm__ volatile(product " %tmm7, %tmm4, %tmm1");                                                       \
        TILE_LOAD(5, a + at + 1024);                                                                            \
        __asm__ volatile(product " %tmm6, %tmm5, %tmm2\n\t" product " %tmm7, %tmm5, %tmm3");                    \
    }                                                                                                           \
    __asm__ volatile("tilerelease")

static void amx_bf16(const void *tiles, long steps) { AMX_LOOP("tdpbf16ps"); }

static void amx_int8(const void *tiles, long steps) { AMX_LOOP("tdpbssd"); }

/* 13 sums hide the latency of the product on every core known; 13 and the two operands fit zmm0 to zmm15. */
#define VECTOR_LOOP(product)                                                                                    \
    __asm__ volatile(                                                                                           \
        "vmovups (%[from]), %%zmm14\n\tvmovups 64(%[from]), %%zmm15\n\t"                                       \
        ".irp sum, 0,1,2,3,4,5,6,7,8,9,10,11,12\n\tvpxord %%zmm\\sum, %%zmm\\sum, %%zmm\\sum\n\t.endr\n"        \
        "1:\n\t"                                                                                                \
        ".irp sum, 0,1,2,3,4,5,6,7,8,9,10,11,12\n\t" product " %%zmm15, %%zmm14, %%zmm\\sum\n\t.endr\n\t"       \
        "subq $1, %[left]\n\tjnz 1b\n\tvzeroupper"                                                             \
        : [left] "+r"(steps)                                                                                    \
        : [from] "r"(tiles)                                                                                     \
        : "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",       \
          "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

static void avx512_bf16(const void *tiles, long steps) { VECTOR_LOOP("vdpbf16ps"); }

static void avx512_f32(const void *tiles, long steps) { VECTOR_LOOP("vfmadd231ps"); }

static void arithmetic_job(void *arg, int ith, int nth) {
    timing *t = arg;
    (void)nth;
    double start = team_start(t->machine->team);
    t->work(t->operands, t->steps);
    team_barrier(t->machine->team);
    if (ith == 0) t->seconds = bench_now() - start;
}

/* 10^12 operations per second of all threads together. */
static double arithmetic_once(machine *m, void (*work)(const void *, long), size_t operands, long steps, double ops) {
    timing t = {.machine = m, .work = work, .operands = (const char *)m->tiles + operands, .steps = steps};
    team_run(m->team, arithmetic_job, &t);
    return ops * (double)steps * m->threads / t.seconds * 1e-12;
}

/* Areas of the operands: bf16 A and B, int8 A and B, float32. Normally distributed: zeros run faster than real data. */
enum { BF16_AREA = 0, INT8_AREA = 2 * 16384, F32_AREA = 4 * 16384, ALL_AREAS = 5 * 16384 };

static bool fill_tiles(machine *m) {
    size_t count = ALL_AREAS / sizeof(float);
    float *values = malloc(count * sizeof *values);
    char *tiles = aligned_alloc(4096, ALL_AREAS);
    m->tiles = tiles;
    if (!values || !tiles) {
        free(values);
        return false;
    }
    random_normals(values, count, 1);
    for (size_t i = 0; i < TILE_AREA; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i % count], sizeof bits);
        uint16_t bf16 = (uint16_t)(bits >> 16);
        memcpy(tiles + BF16_AREA + 2 * i, &bf16, sizeof bf16);
    }
    for (size_t i = 0; i < 2 * TILE_AREA; i++) { /* a Q8_0 block reaches 127 at about 2.2 standard deviations */
        float code = values[(i + 7) % count] * 57.0f;
        tiles[INT8_AREA + i] = (char)(code > 127 ? 127 : code < -127 ? -127 : code);
    }
    memcpy(tiles + F32_AREA, values, TILE_AREA);
    free(values);
    return true;
}

/* ------------------------------------------------------------------------------------------------------ readings -- */

static ceilings take_reading(machine *m) {
    ceilings c = {{NAN, NAN, NAN, NAN, NAN}};
    if (m->capability.isa == SPARAMX_ISA_AMX) {
        c.value[CEILING_AMX_BF16_TFLOPS] = arithmetic_once(m, amx_bf16, BF16_AREA, AMX_STEPS, 4 * 16384.0);
        c.value[CEILING_AMX_INT8_TOPS] = arithmetic_once(m, amx_int8, INT8_AREA, AMX_STEPS, 4 * 32768.0);
    }
    if (__builtin_cpu_supports("avx512bf16")) {
        c.value[CEILING_AVX512_BF16_TFLOPS] = arithmetic_once(m, avx512_bf16, BF16_AREA, VECTOR_STEPS, 13 * 64.0);
    }
    if (__builtin_cpu_supports("avx512f")) {
        c.value[CEILING_AVX512_F32_TFLOPS] = arithmetic_once(m, avx512_f32, F32_AREA, VECTOR_STEPS, 13 * 32.0);
    }
    double gbps[READ_PASSES]; /* last: a decode case that follows finds the machine as this left it */
    for (int i = 0; i < READ_PASSES; i++) gbps[i] = read_once(m);
    c.value[CEILING_READ_GBPS] = bench_median(gbps, READ_PASSES);
    return c;
}

bool machine_measure(machine *m) {
    if (m->readings == m->log_space) {
        int space = m->log_space ? 2 * m->log_space : 64;
        ceilings *log = realloc(m->log, (size_t)space * sizeof *log);
        if (!log) return false;
        m->log = log;
        m->log_space = space;
    }
    m->log[m->readings++] = take_reading(m);
    return true;
}

ceilings machine_ceilings(const machine *m, int first) {
    ceilings result;
    int count = m->readings - first;
    double *values = malloc((size_t)(count > 0 ? count : 1) * sizeof *values);
    for (int c = 0; c < CEILING_COUNT; c++) {
        for (int i = 0; values && i < count; i++) values[i] = m->log[first + i].value[c];
        result.value[c] = values ? bench_median(values, count) : NAN;
    }
    free(values);
    return result;
}

static void fill_job(void *arg, int ith, int nth) {
    machine *m = arg;
    (void)nth;
    size_t share = share_of(m);
    uint64_t *words = (uint64_t *)(void *)((char *)m->buffer + (size_t)ith * share);
    uint64_t state = random_seed((uint64_t)ith + 1000);
    /* Each thread writes what it will read, so that the pages lie on its own memory node. */
    for (size_t i = 0; i < share / sizeof *words; i++) words[i] = random_next(&state);
}

bool machine_open(machine *m, int threads) {
    *m = (machine){.capability = {.size = sizeof m->capability}};
    sparamx_status status = sparamx_get_capability(&m->capability);
    if (status == SPARAMX_OK) status = m->capability.status;
    if (status != SPARAMX_OK) {
        fprintf(stderr, "sparamx-bench: %s\n", sparamx_status_string(status));
        return false;
    }
    __builtin_cpu_init();
    m->threads = threads > 0 ? threads : m->capability.cpus;
    m->team = team_create(m->threads);
    if (m->team) {
        m->llc_bytes = find_llc(m->team);
        m->buffer_bytes = machine_cycle_bytes(m);
        m->buffer = pages_get(m->buffer_bytes);
    }
    if (!m->buffer || !fill_tiles(m)) {
        fprintf(stderr, "sparamx-bench: no memory or no threads for measuring the machine\n");
        machine_close(m);
        return false;
    }
    team_run(m->team, fill_job, m);
    choose_read(m);
    return machine_measure(m);
}

void machine_close(machine *m) {
    team_destroy(m->team);
    pages_free(m->buffer, m->buffer_bytes);
    free(m->tiles);
    free(m->log);
    *m = (machine){0};
}
