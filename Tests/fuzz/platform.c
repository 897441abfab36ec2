/*
 * platform.c - the machine under the library while it is fuzzed. The linker leads the library's questions to the CPU,
 * the environment and the memory here (--wrap, see build.py):
 *
 * - several levels in one process: the once-per-process storage and SPARAMX_ISA exist once per level. The third level
 * is a CPU with AMX, whose tile instructions Tests/emulator executes;
 * - every mapping is as long as it was asked for and ends where nothing may be touched: at a red zone of the address
 *   sanitizer, or at a forbidden page. They are reused, because a system call costs more than most runs;
 * - memory runs out when a target says so, and above 64 MiB always.
 */
#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tile_emulator.h"

void fuzz_broken(const char *file, int line, const char *claim, const char *format, ...) {
    const char *name = strrchr(file, '/');
    fprintf(stderr, "not ok: %s:%d: %s: ", name ? name + 1 : file, line, claim);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    abort();
}

bool fuzz_tracing(void) {
    static int tracing = -1;
    if (tracing < 0) tracing = getenv("FUZZ_TRACE") != NULL;
    return tracing;
}

void fuzz_trace(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
}

int64_t take_number(input *in) {
    static const int64_t edges[] = {0,
                                    1,
                                    -1,
                                    2,
                                    3,
                                    15,
                                    16,
                                    17,
                                    31,
                                    32,
                                    33,
                                    63,
                                    64,
                                    255,
                                    256,
                                    257,
                                    4095,
                                    4096,
                                    4097,
                                    65535,
                                    65536,
                                    1 << 20,
                                    INT32_MAX,
                                    (int64_t)INT32_MAX + 1,
                                    INT32_MIN,
                                    (int64_t)UINT32_MAX,
                                    (int64_t)UINT32_MAX + 1,
                                    (int64_t)1 << 46,
                                    ((int64_t)1 << 46) + 1,
                                    ((int64_t)1 << 48) - 1,
                                    (int64_t)1 << 61,
                                    (int64_t)1 << 62,
                                    ((int64_t)1 << 62) + 1,
                                    INT64_MAX - 63,
                                    INT64_MAX,
                                    INT64_MIN,
                                    INT64_MIN + 1,
                                    -4096,
                                    -256,
                                    (int64_t)0x5555555555555555};
    uint8_t kind = take(in);
    if (kind < 160) return kind % 96;
    if (kind < 240) return edges[(kind - 160) % COUNT(edges)];
    if (kind < 250) return (int64_t)take_bytes(in, 2);
    return (int64_t)take_bytes(in, 8);
}

/* -- levels
 * ------------------------------------------------------------------------------------------------------------ */

static struct {
    _Alignas(64) char storage[1024];
    bool filled;
    const char *isa;
} levels[LEVELS] = {
    [LEVEL_REFERENCE] = {.isa = "reference"}, [LEVEL_AVX512] = {.isa = "avx512"}, [LEVEL_AMX] = {.isa = "amx"}};
static int current;

void fuzz_level(int level) { current = level; }

void fuzz_ask_again(const char *isa) {
    levels[LEVEL_SCRATCH].isa = isa;
    levels[LEVEL_SCRATCH].filled = false;
    memset(levels[LEVEL_SCRATCH].storage, 0, sizeof levels[LEVEL_SCRATCH].storage);
    current = LEVEL_SCRATCH;
}

void *__wrap_sx_once(void (*fill)(void *, int32_t));
void *__wrap_sx_once(void (*fill)(void *, int32_t)) {
    if (!levels[current].filled) {
        fill(levels[current].storage, INT32_MAX);
        levels[current].filled = true;
    }
    return levels[current].storage;
}

const char *__wrap_sx_environment(const char *name);
const char *__wrap_sx_environment(const char *name) {
    return strcmp(name, "SPARAMX_ISA") == 0 ? levels[current].isa : getenv(name);
}

void __real_sx_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);
void __wrap_sx_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);
void __wrap_sx_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    /* A hypervisor takes 20 us for each answer. */
    static struct {
        uint32_t leaf, subleaf, registers[4];
    } known[16];
    static int count;
    int i = 0;
    while (i < count && (known[i].leaf != leaf || known[i].subleaf != subleaf)) i++;
    if (i == count) {
        if (count == COUNT(known)) abort();
        known[count].leaf = leaf;
        known[count].subleaf = subleaf;
        __real_sx_cpuid(leaf, subleaf, known[count++].registers);
    }
    memcpy(registers, known[i].registers, sizeof known[i].registers);
    if (leaf == 7 && subleaf == 0 && current == LEVEL_AMX && tile_emulator_active())
        registers[3] |= 1u << 22 | 1u << 24 | 1u << 25;
}

uint64_t __real_sx_xgetbv(void);
uint64_t __wrap_sx_xgetbv(void);
uint64_t __wrap_sx_xgetbv(void) {
    return __real_sx_xgetbv() | (current == LEVEL_AMX && tile_emulator_active() ? 0x60000 : 0);
}

int32_t __real_sx_request_amx(void);
int32_t __wrap_sx_request_amx(void);
int32_t __wrap_sx_request_amx(void) { return tile_emulator_active() ? 0 : __real_sx_request_amx(); }

int32_t __wrap_sx_cpu_count(void);
int32_t __wrap_sx_cpu_count(void) { return 4; }
int32_t __wrap_sx_numa_nodes(void);
int32_t __wrap_sx_numa_nodes(void) { return 1; }
void __wrap_sx_numa_prepare(void);
void __wrap_sx_numa_prepare(void) {}
bool __wrap_sx_numa_interleave(void *pointer, size_t bytes);
bool __wrap_sx_numa_interleave(void *pointer, size_t bytes) {
    (void)pointer;
    (void)bytes;
    return false;
}
/* One place: Tests/abi/numa_test.c and Tests/load have several. */
int32_t __wrap_sx_numa_places(void);
int32_t __wrap_sx_numa_places(void) { return 1; }
bool __wrap_sx_numa_place(void *pointer, size_t bytes, int32_t place);
bool __wrap_sx_numa_place(void *pointer, size_t bytes, int32_t place) {
    (void)pointer, (void)bytes, (void)place;
    return false;
}
int32_t __wrap_sx_numa_here(void);
int32_t __wrap_sx_numa_here(void) { return 0; }

int fuzz_highest(void) {
    static int highest = -1;
    if (highest >= 0) return highest;
    int before = current;
    if (tile_emulator_install() < 0) fprintf(stderr, "no AMX and no emulated tiles here: that level is left out\n");
    highest = LEVEL_REFERENCE;
    for (int level = LEVEL_AVX512; level <= LEVEL_AMX; level++) {
        sparamx_capability found = {.size = sizeof found};
        current = level;
        if (sparamx_get_capability(&found) == SPARAMX_OK && found.isa == level) highest = level;
    }
    current = before;
    return highest;
}

/* -- memory
 * ------------------------------------------------------------------------------------------------------------ */

enum { PAGE = 4096, SLOT = 1 << 16, SLOTS = 512, MOST = 64 << 20 };

static int fail_at, asked;
static bool failed;
static int64_t held;
static void *last_base;
static size_t last_bytes;

void fuzz_fail_at(int n) {
    fail_at = n;
    asked = 0;
    failed = false;
}

bool fuzz_failed(void) { return failed; }
int64_t fuzz_held(void) { return held; }

uint8_t *fuzz_last_mapping(size_t *bytes) {
    *bytes = last_bytes;
    return last_base;
}

uint8_t *fuzz_packed(const sparamx_linear *linear, size_t *bytes) {
    sparamx_tensor_info info = {.size = sizeof info};
    CLAIM(sparamx_linear_info(linear, &info) == SPARAMX_OK && info.packed_bytes == last_bytes,
          "the mapping made last has %zu bytes", last_bytes);
    *bytes = last_bytes;
    return last_base;
}

bool fuzz_refuse(void) {
    if (fail_at == 0 || ++asked < fail_at) return false;
    failed = true;
    return true;
}

void *__real_sx_allocate(size_t bytes);
void *__wrap_sx_allocate(size_t bytes);
void *__wrap_sx_allocate(size_t bytes) { return bytes > MOST || fuzz_refuse() ? NULL : __real_sx_allocate(bytes); }

#if FUZZ_ADDRESS

static void *map(size_t bytes) {
    /* So that a script can see that a red zone is one. */
    static int missing = -1;
    if (missing < 0) missing = getenv("FUZZ_BREAK") != NULL;
    void *p = NULL;
    bytes -= (size_t)missing;
    /* Buffers are a multiple of a page and need one; packed tensors start on 64 bytes. */
    if (posix_memalign(&p, bytes % PAGE == 0 ? PAGE : 64, bytes) != 0) return NULL;
    return memset(p, 0, bytes);
}

static void unmap(void *p, size_t bytes) {
    (void)bytes;
    free(p);
}

#else

#define NOTHING(name)                                                                                                  \
    void __wrap___sanitizer_cov_trace_##name(void);                                                                    \
    void __wrap___sanitizer_cov_trace_##name(void) {}
NOTHING(cmp1)
NOTHING(cmp2) NOTHING(cmp4) NOTHING(cmp8) NOTHING(const_cmp1) NOTHING(const_cmp2) NOTHING(const_cmp4)
    NOTHING(const_cmp8) NOTHING(switch)

    /* Slots between forbidden pages; what is asked for ends where its slot ends, less what alignment to 64 bytes takes.
     */
    static uint8_t *slots;
static int free_slots[SLOTS], free_count = -1;

static void *map(size_t bytes) {
    if (free_count < 0) {
        slots = mmap(NULL, (size_t)SLOTS * (SLOT + PAGE) + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                     -1, 0);
        if (slots == MAP_FAILED) abort();
        slots += PAGE;
        free_count = 0;
        for (int i = SLOTS - 1; i >= 0; i--) {
            if (mprotect(slots + (size_t)i * (SLOT + PAGE), SLOT, PROT_READ | PROT_WRITE) != 0) abort();
            free_slots[free_count++] = i;
        }
    }
    if (bytes > SLOT || free_count == 0) {
        size_t length = (bytes + PAGE - 1) / PAGE * PAGE;
        uint8_t *p =
            mmap(NULL, length + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) return NULL;
        if (mprotect(p + length, PAGE, PROT_NONE) != 0) abort();
        return p + (length - (bytes + 63) / 64 * 64);
    }
    uint8_t *p = slots + (size_t)free_slots[--free_count] * (SLOT + PAGE) + (SLOT - (bytes + 63) / 64 * 64);
    return memset(p, 0, bytes);
}

static void unmap(void *p, size_t bytes) {
    uint8_t *at = p;
    if (at >= slots && at < slots + (size_t)SLOTS * (SLOT + PAGE)) {
        free_slots[free_count++] = (int)((size_t)(at - slots) / (SLOT + PAGE));
        return;
    }
    size_t length = (bytes + PAGE - 1) / PAGE * PAGE;
    munmap(at - (length - (bytes + 63) / 64 * 64), length + PAGE);
}

#endif

void *__wrap_sx_map(size_t bytes);
void *__wrap_sx_map(size_t bytes) {
    if (bytes == 0 || bytes > MOST || fuzz_refuse()) return NULL;
    void *p = map(bytes);
    if (p == NULL) return NULL;
    held += (int64_t)bytes;
    last_base = p;
    last_bytes = bytes;
    return p;
}

void __wrap_sx_unmap(void *p, size_t bytes);
void __wrap_sx_unmap(void *p, size_t bytes) {
    held -= (int64_t)bytes;
    unmap(p, bytes);
}

void __wrap_sx_give_back(void *p, size_t bytes);
void __wrap_sx_give_back(void *p, size_t bytes) { memset(p, 0, bytes); }

void __wrap_sx_zero_pages(void *p, size_t bytes);
void __wrap_sx_zero_pages(void *p, size_t bytes) { memset(p, 0, bytes); }

/* Here what is reserved is there at once. */
void *__wrap_sx_reserve(size_t bytes);
void *__wrap_sx_reserve(size_t bytes) { return __wrap_sx_map(bytes); }

bool __wrap_sx_make_usable(void *p, size_t bytes);
bool __wrap_sx_make_usable(void *p, size_t bytes) {
    (void)p;
    (void)bytes;
    return !fuzz_refuse();
}

void __wrap_sx_huge_pages(void *p, size_t bytes);
void __wrap_sx_huge_pages(void *p, size_t bytes) {
    (void)p;
    (void)bytes;
}

void *fuzz_edge(int number, size_t bytes) {
    enum { EDGES = 4 };
    static uint8_t *edges;
    if (number < 0 || number >= EDGES || bytes > SLOT) abort();
    if (edges == NULL) {
        edges = mmap(NULL, EDGES * (SLOT + PAGE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (edges == MAP_FAILED) abort();
        for (int i = 0; i < EDGES; i++) {
            if (mprotect(edges + i * (SLOT + PAGE) + SLOT, PAGE, PROT_NONE) != 0) abort();
        }
    }
    return edges + number * (SLOT + PAGE) + (SLOT - bytes);
}
