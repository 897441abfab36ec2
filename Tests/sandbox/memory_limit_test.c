/*
 * memory_limit_test [CGROUP] - the kernel's memory limits in the middle of packing.
 *
 * RLIMIT_AS and RLIMIT_DATA are set to every step between what the process has and what the operation takes: it
 * succeeds or says SPARAMX_ERR_NO_MEMORY, what was there stays, and without the limit it works. Then the limit comes
 * down at any moment while threads pack. CGROUP is a folder of a memory cgroup: there the kernel kills, which cannot be
 * reported; the process beside it goes on.
 */
#define _GNU_SOURCE
#include "check.h"
#include "piece.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 1100, K = 1024, STEPS = 24 };

static const char *const limit_names[] = {"RLIMIT_AS", "RLIMIT_DATA"};
static const __rlimit_resource_t limits[] = {RLIMIT_AS, RLIMIT_DATA};
static const char *const limit_fields[] = {"VmSize:", "VmData:"};

static size_t status_bytes(const char *field) {
    char line[256];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0) kib = strtoul(line + strlen(field), NULL, 10);
    }
    if (file != NULL) fclose(file);
    return kib << 10;
}

static void set_limit(int which, size_t bytes) {
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
    if (setrlimit(limits[which], &limit) != 0) exit(2);
}

/* -- one operation after another, at every limit ------------------------------------------------------------------- */

typedef struct scene {
    const gguf_type *type;
    int32_t form;
    size_t bytes;
    uint8_t *before, *after, *back; /* contents that the tensor has, and will have */
    sparamx_buffer *buffer;
    sparamx_tensor t;
    sparamx_linear *linear;
} scene;

static sparamx_status pack(scene *s) {
    sparamx_linear_options o = {.size = sizeof o, .form = s->form, .pack_threads = 4};
    return sparamx_linear_create(s->type->number, N, K, s->after, 0, &o, &s->linear);
}
static sparamx_status upload(scene *s) { return sparamx_buffer_set_tensor(s->buffer, &s->t, s->after, 0, s->bytes); }
static sparamx_status change(scene *s) {
    return sparamx_buffer_set_tensor(s->buffer, &s->t, s->after, 0, s->bytes / 3);
}

static const struct {
    const char *name;
    sparamx_status (*run)(scene *);
} operations[] = {{"linear_create", pack}, {"set_tensor, whole", upload}, {"set_tensor, a third", change}};

static bool holds(scene *s, int operation, bool done) {
    if (operation == 0)
        return done ? sparamx_linear_read(s->linear, 0, N, s->back) == SPARAMX_OK &&
                          memcmp(s->back, s->after, s->bytes) == 0
                    : s->linear == NULL;
    size_t changed = !done ? 0 : operation == 1 ? s->bytes : s->bytes / 3;
    return sparamx_buffer_get_tensor(s->buffer, &s->t, s->back, 0, s->bytes) == SPARAMX_OK &&
           memcmp(s->back, s->after, changed) == 0 &&
           memcmp(s->back + changed, s->before + changed, s->bytes - changed) == 0;
}

static void test_operation(scene *s, int operation, int which) {
    int refused = 0, done = 0;
    for (int step = 0; step <= STEPS; step++) {
        sparamx_buffer_options o = {.size = sizeof o, .form = s->form, .pack_threads = 4};
        sparamx_status status = sparamx_buffer_create(8 << 20, &o, &s->buffer);
        s->t = gguf_tensor(s->type, K, N, sparamx_buffer_base(s->buffer), s->buffer);
        if (!CHECK(status == SPARAMX_OK &&
                       sparamx_buffer_set_tensor(s->buffer, &s->t, s->before, 0, s->bytes) == status,
                   "without a limit"))
            return;
        /* At most the packed form, the raw bytes, and some for the counts and for alignment to 2 MiB. */
        size_t extra = (2 * s->bytes + (5 << 20)) / STEPS * (size_t)step;
        set_limit(which, status_bytes(limit_fields[which]) + extra);
        status = operations[operation].run(s);
        set_limit(which, RLIM_INFINITY);
        CHECK(status == SPARAMX_OK || status == SPARAMX_ERR_NO_MEMORY, "%s, %s, %s %s, %zu KiB more: status %d",
              limit_names[which], operations[operation].name, s->type->name, form_name(s->form), extra >> 10, status);
        CHECK(holds(s, operation, status == SPARAMX_OK), "%s, %s, %s %s, %zu KiB more: wrong contents",
              limit_names[which], operations[operation].name, s->type->name, form_name(s->form), extra >> 10);
        status == SPARAMX_OK ? done++ : refused++;
        if (status != SPARAMX_OK)
            CHECK(operations[operation].run(s) == SPARAMX_OK && holds(s, operation, true), "without the limit again");
        sparamx_linear_destroy(s->linear);
        sparamx_buffer_destroy(s->buffer);
        s->linear = NULL;
    }
    CHECK(refused > 0 && done > 0, "%s, %s, %s %s: %d refused, %d done", limit_names[which],
          operations[operation].name, s->type->name, form_name(s->form), refused, done);
}

static void test_every_limit(void) {
    const gguf_type *types[GGUF_TYPES];
    int count = gguf_reported(types);
    for (int i = 0; i < PACKED_FORMS * count; i++) {
        scene s = {.type = types[i / PACKED_FORMS], .form = packed_forms[i % PACKED_FORMS]};
        if (!gguf_serves(s.type, s.form)) continue;
        s.bytes = gguf_row_bytes(s.type, K) * N;
        s.before = must_allocate(s.bytes), s.after = must_allocate(s.bytes), s.back = must_allocate(s.bytes);
        gguf_fill(s.type, N, K, 0.5, 1, s.before);
        gguf_fill(s.type, N, K, 0.5, 2, s.after);
        for (int which = 0; which < 2; which++) {
            for (int j = 0; j < (int)COUNT(operations); j++) test_operation(&s, j, which);
        }
        free(s.before), free(s.after), free(s.back);
    }
}

/* -- the limit comes at any moment --------------------------------------------------------------------------------- */

static piece shared_piece;
static sparamx_linear *shared;
static pthread_barrier_t ready;
static volatile bool stop;
static long packed, refused, wrong;

static void *pack_always(void *context) {
    uint64_t state = (uint64_t)(uintptr_t)context;
    uint8_t *back = must_allocate(shared_piece.bytes);
    size_t y_bytes = (size_t)(shared_piece.m * shared_piece.n) * sizeof(float), work_bytes = 0;
    float *y = must_allocate(y_bytes);
    if (sparamx_linear_work_size(shared, shared_piece.m, 1, &work_bytes) != SPARAMX_OK) exit(2);
    sparamx_params params = {.size = sizeof params, .nth = 1, .work = must_allocate(work_bytes),
                             .work_size = work_bytes};
    pthread_barrier_wait(&ready); /* what the test itself needs is there */
    while (!stop) {
        sparamx_linear *linear = NULL;
        sparamx_status status = piece_pack(&shared_piece, (int32_t)(1 + random_next(&state) % 4), &linear);
        bool good = status == SPARAMX_ERR_NO_MEMORY || status == SPARAMX_OK;
        if (status == SPARAMX_OK) {
            sparamx_status read = sparamx_linear_read(linear, 0, shared_piece.n, back);
            good = read == SPARAMX_ERR_NO_MEMORY ||
                   (read == SPARAMX_OK && memcmp(back, shared_piece.w, shared_piece.bytes) == 0);
            sparamx_linear_destroy(linear);
        }
        /* What was packed before computes under any limit: compute allocates nothing. */
        memset(y, 0x7f, y_bytes);
        good = good && sparamx_linear_compute(shared, &params, shared_piece.m, shared_piece.x, shared_piece.k, y,
                                              shared_piece.n) == SPARAMX_OK &&
               memcmp(y, shared_piece.want, y_bytes) == 0;
        __atomic_add_fetch(status == SPARAMX_OK ? &packed : &refused, 1, __ATOMIC_RELAXED);
        if (!good) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    }
    free(params.work), free(back), free(y);
    return NULL;
}

static void test_any_moment(void) {
    const gguf_type *types[GGUF_TYPES];
    pthread_t threads[4];
    uint64_t state = 5;
    gguf_reported(types);
    if (!CHECK(piece_make(&shared_piece, types[0], SPARAMX_FORM_SPARSE, N, K, 2, 3) &&
                   piece_pack(&shared_piece, 1, &shared) == SPARAMX_OK,
               "a piece"))
        return;
    pthread_barrier_init(&ready, NULL, 5);
    for (intptr_t i = 0; i < 4; i++) {
        if (pthread_create(&threads[i], NULL, pack_always, (void *)(i + 1)) != 0) exit(2);
    }
    pthread_barrier_wait(&ready);
    for (int i = 0; i < 1500; i++) {
        usleep((useconds_t)(random_next(&state) % 1000));
        set_limit(i % 2, random_next(&state) % 4 == 0 ? RLIM_INFINITY : status_bytes(limit_fields[i % 2]));
        usleep((useconds_t)(random_next(&state) % 1000));
        set_limit(i % 2, RLIM_INFINITY);
    }
    stop = true;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    CHECK(wrong == 0 && packed > 0 && refused > 0, "%ld packed, %ld refused, %ld wrong", packed, refused, wrong);
    printf("a limit at any moment: %ld packed, %ld refused\n", packed, refused);
    sparamx_linear_destroy(shared);
    piece_drop(&shared_piece);
}

/* -- limits that kill ---------------------------------------------------------------------------------------------- */

static bool write_file(const char *folder, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (file == NULL) return false;
    bool good = fputs(text, file) >= 0;
    return fclose(file) == 0 && good;
}

static void test_cgroup(const char *folder) {
    enum { ROWS = 24576, WIDTH = 4096 }; /* 192 MiB in 16 bits; the limit is 64 */
    const gguf_type *bf16 = gguf_find(SPARAMX_TYPE_BF16);
    piece p;
    sparamx_linear *linear = NULL;
    CHECK(piece_make(&p, bf16, SPARAMX_FORM_SPARSE, 64, 512, 3, 1) && piece_pack(&p, 1, &linear) == SPARAMX_OK,
          "piece");
    uint8_t *data = must_allocate((size_t)ROWS * WIDTH * 2); /* zeros, not touched: only packing takes memory */
    pid_t child = fork();
    if (child == 0) {
        char self[32];
        snprintf(self, sizeof self, "%d", (int)getpid());
        if (!write_file(folder, "cgroup.procs", self)) _exit(77);
        sparamx_linear *large = NULL;
        sparamx_linear_options o = {.size = sizeof o, .form = SPARAMX_FORM_DENSE, .pack_threads = 2};
        sparamx_status status = sparamx_linear_create(SPARAMX_TYPE_BF16, ROWS, WIDTH, data, 0, &o, &large);
        _exit(status == SPARAMX_OK ? 1 : 2);
    }
    int end = 0;
    waitpid(child, &end, 0);
    CHECK(WIFSIGNALED(end) && WTERMSIG(end) == SIGKILL, "packing 192 MiB in a group of 64 MiB ends with %x",
          (unsigned)end);
    CHECK(piece_product(&p, linear, 2) && piece_reads(&p, linear) && piece_round(&p, 2, 2) == SPARAMX_OK,
          "the process beside it");
    sparamx_linear_destroy(linear);
    piece_drop(&p);
    free(data);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        test_cgroup(argv[1]);
        return check_end();
    }
    isa_level();
    test_every_limit();
    test_any_moment();
    return check_end();
}
