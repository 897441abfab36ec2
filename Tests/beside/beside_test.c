/*
 * beside_test PART ... - the library in one process with others that could be taken for it, or could take its place.
 *
 *   swift NEIGHBOUR.so         a library in ordinary Swift, whose runtime is shared libraries
 *   twice COPY.so              a second copy of this library
 *   tiles                      code that programs the tiles itself, as oneDNN does: once per thread, then never again
 */
#define _GNU_SOURCE
#include "../abi/check.h"
#include "../abi/piece.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS = 6 };

static piece pieces[2 * GGUF_TYPES];
static int count;
static long wrong;
static int rounds = 40;

static void note(bool good) {
    if (!good) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
}

static void *open_library(const char *path, int mode, const char *name, void *function) {
    void *handle = dlopen(path, RTLD_NOW | mode), *symbol = handle != NULL ? dlsym(handle, name) : NULL;
    if (symbol == NULL) {
        printf("not ok: %s: %s\n0 passed, 1 failed, 0 skipped\n", path, dlerror());
        exit(1);
    }
    memcpy(function, &symbol, sizeof symbol);
    return handle;
}

/* A product through the table of another copy: the same bits as from the copy that the program is linked to. */
static bool round_through(const sparamx_api *api, const piece *p) {
    sparamx_linear_options o = {.size = sizeof o, .form = p->form, .pack_threads = 2};
    sparamx_params params = {.size = sizeof params, .nth = 1};
    sparamx_linear *linear = NULL;
    size_t bytes = (size_t)(p->m * p->n) * sizeof(float);
    float *y = must_allocate(bytes);
    uint8_t *back = must_allocate(p->bytes);
    bool good = api->linear_create(p->type->number, p->n, p->k, p->w, 0, &o, &linear) == SPARAMX_OK &&
                api->linear_work_size(linear, p->m, 1, &params.work_size) == SPARAMX_OK;
    params.work = must_allocate(params.work_size);
    good = good && api->linear_compute(linear, &params, p->m, p->x, p->k, y, p->n) == SPARAMX_OK &&
           memcmp(y, p->want, bytes) == 0 && api->linear_read(linear, 0, p->n, back) == SPARAMX_OK &&
           memcmp(back, p->w, p->bytes) == 0;
    api->linear_destroy(linear);
    free(params.work), free(y), free(back);
    return good;
}

/* -- ordinary Swift ------------------------------------------------------------------------------------------------ */

static long (*neighbour_work)(long seed);
static long alone[16];

static void swift_thread(int index, void *context) {
    (void)context;
    for (int i = 0; i < rounds; i++) {
        if (index % 2 == 0) note(piece_round(&pieces[(index + i) % count], 1 + i % 3, 1) == SPARAMX_OK);
        else for (int seed = 0; seed < 16; seed++) note(neighbour_work(seed) == alone[seed]);
    }
}

static void test_swift(const char *path, const char *library) {
    void *handle = open_library(path, RTLD_GLOBAL, "neighbour_work", &neighbour_work);
    CHECK(dlsym(RTLD_DEFAULT, "swift_retain") != NULL, "the neighbour brought no Swift runtime: nothing is tested");
    for (int seed = 0; seed < 16; seed++) alone[seed] = neighbour_work(seed);
    CHECK(alone[0] != alone[1], "the neighbour does nothing");
    count = piece_all(pieces, 70, 512, 5);
    run_threads(THREADS, swift_thread, NULL);
    CHECK(wrong == 0, "%ld wrong results beside each other", wrong);
    /* Libraries of both kinds come and go. */
    for (int i = 0; i < 20; i++) {
        const sparamx_api *(*get_api)(uint32_t) = NULL;
        void *copy = open_library(library, i % 2 ? RTLD_GLOBAL : RTLD_LOCAL, "sparamx_get_api", &get_api);
        note(round_through(get_api(SPARAMX_ABI), &pieces[i % count]));
        dlclose(copy);
        note(neighbour_work(i % 16) == alone[i % 16]);
    }
    CHECK(wrong == 0, "%ld wrong results after loading and unloading", wrong);
    dlclose(handle);
    CHECK(piece_round(&pieces[0], 2, 2) == SPARAMX_OK, "after the neighbour is gone");
}

/* -- two copies ---------------------------------------------------------------------------------------------------- */

static const sparamx_api *mine, *theirs;

static void twice_thread(int index, void *context) {
    (void)context;
    for (int i = 0; i < rounds; i++) note(round_through((index + i) % 2 ? mine : theirs, &pieces[(index + i) % count]));
}

static char logged_mine[256], logged_theirs[256];
static void keep(int32_t level, const char *message, void *user) {
    (void)level;
    snprintf(user, sizeof logged_mine, "%s", message);
}

static void test_twice(const char *path) {
    const sparamx_api *(*get_api)(uint32_t) = NULL;
    count = piece_all(pieces, 70, 512, 5);
    mine = sparamx_get_api(SPARAMX_ABI);
    for (int mode = 0; mode < 3; mode++) {
        static const int modes[] = {RTLD_LOCAL, RTLD_GLOBAL, RTLD_LOCAL | RTLD_DEEPBIND};
        if (mode == 2 && tiles_emulated()) break; /* such a copy does not see what is preloaded: no emulator */
        void *handle = open_library(path, modes[mode], "sparamx_get_api", &get_api);
        theirs = get_api(SPARAMX_ABI);
        if (!CHECK(theirs != NULL && theirs != mine && theirs->compute != mine->compute, "there is one copy, not two"))
            return;
        run_threads(THREADS, twice_thread, NULL);
        CHECK(wrong == 0, "%ld wrong results, mode %d", wrong, mode);
        /* Neither knows the other's buffers: what lies in one is outside of the other. */
        sparamx_buffer *a = NULL, *b = NULL;
        CHECK(mine->buffer_create(1 << 20, NULL, &a) == SPARAMX_OK &&
                  theirs->buffer_create(1 << 20, NULL, &b) == SPARAMX_OK,
              "buffers");
        sparamx_tensor t = gguf_tensor(pieces[0].type, pieces[0].k, pieces[0].n, mine->buffer_base(a), a);
        CHECK(theirs->buffer_set_tensor(b, &t, pieces[0].w, 0, pieces[0].bytes) == SPARAMX_ERR_RANGE &&
                  mine->buffer_set_tensor(a, &t, pieces[0].w, 0, pieces[0].bytes) == SPARAMX_OK,
              "a tensor of the other copy");
        /* Each has its own receiver of messages. */
        CHECK(mine->set_log(keep, logged_mine) == SPARAMX_OK && theirs->set_log(keep, logged_theirs) == SPARAMX_OK,
              "log");
        strcpy(logged_mine, "-"), strcpy(logged_theirs, "-");
        mine->buffer_set_tensor(a, &t, pieces[0].w, 0, pieces[0].bytes);
        CHECK(strcmp(logged_theirs, "-") == 0, "the other copy logged: %s", logged_theirs);
        mine->set_log(NULL, NULL), theirs->set_log(NULL, NULL);
        mine->buffer_destroy(a), theirs->buffer_destroy(b);
        CHECK(dlclose(handle) == 0, "dlclose");
        for (int i = 0; i < count; i++) note(piece_round(&pieces[i], 2, 2) == SPARAMX_OK);
        CHECK(wrong == 0, "after the other copy is gone");
    }
}

/* -- somebody else's tiles ----------------------------------------------------------------------------------------- */

enum { ROWS = 13, DEPTH = 12, COLUMNS = 11 }; /* C 13 x 11, A 13 x 48 bytes, B 12 x 44 bytes: no shape of the library */

static void set_shape(uint8_t *config, int tile, int rows, int bytes) {
    uint16_t width = (uint16_t)bytes;
    memcpy(config + 16 + 2 * tile, &width, 2);
    config[48 + tile] = (uint8_t)rows;
}

static bool own_product(uint64_t seed) {
    _Alignas(64) int8_t a[16 * 64] = {0}, b[16 * 64] = {0};
    _Alignas(64) int32_t c[16 * 16] = {0};
    uint64_t state = seed;
    for (int i = 0; i < ROWS; i++) for (int l = 0; l < 4 * DEPTH; l++) a[i * 64 + l] = (int8_t)random_next(&state);
    for (int l = 0; l < DEPTH; l++) for (int j = 0; j < 4 * COLUMNS; j++) b[l * 64 + j] = (int8_t)random_next(&state);
    long stride = 64;
    __asm__ volatile("tilezero %%tmm5\n"
                     "tileloadd (%0,%3,1), %%tmm6\n"
                     "tileloadd (%1,%3,1), %%tmm7\n"
                     "tdpbssd %%tmm7, %%tmm6, %%tmm5\n"
                     "tilestored %%tmm5, (%2,%3,1)\n"
                     :
                     : "r"(a), "r"(b), "r"(c), "r"(stride)
                     : "memory");
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < COLUMNS; j++) {
            int32_t sum = 0;
            for (int l = 0; l < 4 * DEPTH; l++) sum += a[i * 64 + l] * b[l / 4 * 64 + 4 * j + l % 4];
            if (c[i * 16 + j] != sum) return false;
        }
    }
    return true;
}

static void tiles_thread(int index, void *context) {
    (void)context;
    _Alignas(64) uint8_t config[64] = {1}; /* palette 1 */
    set_shape(config, 5, ROWS, 4 * COLUMNS);
    set_shape(config, 6, ROWS, 4 * DEPTH);
    set_shape(config, 7, DEPTH, 4 * COLUMNS);
    if (index != 0) __asm__ volatile("ldtilecfg %0" ::"m"(config)); /* thread 0 has no tiles of its own */
    for (int i = 0; i < rounds; i++) {
        if (index != 0) note(own_product((uint64_t)(index * 1000 + i)));
        note(piece_round(&pieces[(index + i) % count], 1, 1) == SPARAMX_OK);
    }
    if (index != 0) note(own_product(5));
    if (index != 0) __asm__ volatile("tilerelease");
    note(piece_round(&pieces[index % count], 1, 1) == SPARAMX_OK);
}

static void test_tiles(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0 || isa_level() != SPARAMX_ISA_AMX) {
        SKIP(1, "code that programs the tiles itself: no AMX here, and no emulator");
        return;
    }
    count = piece_all(pieces, 70, 512, 40);
    if (tiles_emulated()) rounds = 12;
    run_threads(THREADS, tiles_thread, NULL);
    CHECK(wrong == 0, "%ld wrong results, of the library or of the code beside it", wrong);
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    if (strcmp(part, "swift") == 0 && argc == 4) test_swift(argv[2], argv[3]);
    else if (strcmp(part, "twice") == 0 && argc == 3) test_twice(argv[2]);
    else if (strcmp(part, "tiles") == 0) test_tiles();
    else return 2;
    return check_end();
}
