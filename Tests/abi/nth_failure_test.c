/*
 * nth_failure_test - makes the n-th call of the library to libc fail (those that can: see fail.c), for n = 1, 2, 3 ...
 * until the operation needs no more. Each time: a status or success, the contents as they were or as they should be,
 * the next call works, nothing is lost. Needs libfail.so in LD_PRELOAD.
 */
#define _GNU_SOURCE
#include "check.h"
#include "fail.h"
#include "files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, SPACE = 8 << 20, PIECE = 1000 };

/* What one operation works on: two tensors in a buffer, or a linear. */
typedef struct scene {
    int32_t type, form, threads;
    int64_t n, k;
    size_t bytes;
    uint8_t *data, *other; /* contents before and after */
    sparamx_buffer *buffer, *second;
    sparamx_tensor t, u;
    sparamx_linear *linear, *loaded;
    sparamx_file *file;
    uint8_t *out;
    int32_t numa; /* where packed bytes go: libnodes.so plays a machine with several memory nodes */
} scene;

typedef struct operation {
    const char *name;
    void (*prepare)(scene *);
    sparamx_status (*run)(scene *);
    bool (*holds)(scene *, bool done); /* that the contents are those before, or after */
} operation;

/* -- scenes -------------------------------------------------------------------------------------------------------- */

static scene make_scene(int32_t type, int32_t form, int32_t threads, int64_t n, int64_t k) {
    scene s = {.type = type, .form = form, .threads = threads, .n = n, .k = k, .bytes = row_bytes(type, k) * (size_t)n};
    static int32_t scenes;
    s.numa = SPARAMX_NUMA_INTERLEAVE + (scenes++ + 1) % 3;
    s.data = must_allocate(s.bytes);
    s.other = must_allocate(s.bytes);
    s.out = must_allocate(s.bytes);
    fill_weights(type, n, k, 0.5, 1, s.data);
    fill_weights(type, n, k, 0.6, 2, s.other);
    return s;
}

static void drop_scene(scene *s) {
    free(s->data);
    free(s->other);
    free(s->out);
}

static void open_buffers(scene *s) {
    sparamx_buffer_options o = {
        .size = sizeof o, .form = s->form, .pack_threads = s->threads, .numa = s->numa};
    sparamx_buffer_create(SPACE, &o, &s->buffer);
    sparamx_buffer_create(SPACE, &o, &s->second);
    s->t = make_tensor(s->type, s->k, s->n, 1, 1, (char *)sparamx_buffer_base(s->buffer) + PAGE, s->buffer);
    s->u = make_tensor(s->type, s->k, s->n, 1, 1, (char *)sparamx_buffer_base(s->second) + PAGE, s->second);
}

static void close_all(scene *s) {
    sparamx_buffer_destroy(s->buffer);
    sparamx_buffer_destroy(s->second);
    sparamx_linear_destroy(s->linear);
    sparamx_linear_destroy(s->loaded);
    sparamx_file_close(s->file);
    s->buffer = s->second = NULL;
    s->linear = s->loaded = NULL;
    s->file = NULL;
    empty_directory();
}

static bool holds_bytes(scene *s, const uint8_t *want) {
    memset(s->out, 0x77, s->bytes);
    return sparamx_buffer_get_tensor(s->buffer, &s->t, s->out, 0, s->bytes) == SPARAMX_OK &&
           memcmp(s->out, want, s->bytes) == 0;
}

/* -- operations ---------------------------------------------------------------------------------------------------- */

static void nothing(scene *s) { (void)s; }

static sparamx_status run_linear(scene *s) {
    sparamx_linear_options o = {
        .size = sizeof o, .form = s->form, .pack_threads = s->threads, .numa = s->numa};
    return sparamx_linear_create(s->type, s->n, s->k, s->data, 0, &o, &s->linear);
}
static bool holds_linear(scene *s, bool done) {
    if (!done) return s->linear == NULL;
    return sparamx_linear_read(s->linear, 0, s->n, s->out) == SPARAMX_OK && memcmp(s->out, s->data, s->bytes) == 0;
}

static void make_linear(scene *s) { run_linear(s); }
static sparamx_status run_linear_read(scene *s) {
    return sparamx_linear_read(s->linear, 3, s->n - 5, s->out);
} /* cut panels */
static bool holds_linear_read(scene *s, bool done) {
    size_t row = s->bytes / (size_t)s->n;
    return !done || memcmp(s->out, s->data + 3 * row, (size_t)(s->n - 5) * row) == 0;
}

static sparamx_status run_create(scene *s) { return sparamx_buffer_create(SPACE, NULL, &s->buffer); }
static bool holds_create(scene *s, bool done) { return done == (s->buffer != NULL); }

static sparamx_status run_init(scene *s) { return sparamx_buffer_init_tensor(s->buffer, &s->t); }
static bool holds_init(scene *s, bool done) {
    return (sparamx_buffer_get_tensor(s->buffer, &s->t, s->out, 0, 1) == SPARAMX_OK) == done;
}

static sparamx_status run_set(scene *s) { return sparamx_buffer_set_tensor(s->buffer, &s->t, s->other, 0, s->bytes); }
static void half_full(scene *s) {
    open_buffers(s);
    sparamx_buffer_set_tensor(s->buffer, &s->t, s->data, 0, s->bytes / 2);
}
static void full(scene *s) {
    open_buffers(s);
    sparamx_buffer_set_tensor(s->buffer, &s->t, s->data, 0, s->bytes);
}
static bool holds_fresh(scene *s, bool done) {
    if (done) return holds_bytes(s, s->other);
    sparamx_status status = sparamx_buffer_get_tensor(s->buffer, &s->t, s->out, 0, 1);
    return status == SPARAMX_ERR_FOREIGN ||
           (status == SPARAMX_OK && s->out[0] == 0); /* announced or not, nothing is there */
}
static bool holds_full(scene *s, bool done) { return holds_bytes(s, done ? s->other : s->data); }
static bool holds_half(scene *s, bool done) {
    if (done) return holds_bytes(s, s->other);
    uint8_t *want = must_allocate(s->bytes);
    memcpy(want, s->data, s->bytes / 2);
    bool same = holds_bytes(s, want);
    free(want);
    return same;
}

/* Pieces with holes between them: the list of what has arrived has to grow. */
static sparamx_status run_pieces(scene *s) {
    return sparamx_buffer_set_tensor_2d(s->buffer, &s->t, s->other, 0, PIECE / 2, s->bytes / PIECE, PIECE, PIECE);
}
static bool holds_pieces(scene *s, bool done) {
    uint8_t *want = must_allocate(s->bytes);
    for (size_t i = 0; done && i < s->bytes / PIECE; i++) memcpy(want + i * PIECE, s->other + i * PIECE, PIECE / 2);
    bool same = done ? holds_bytes(s, want)
                     : holds_fresh(s, false) && (holds_init(s, false) || holds_bytes(s, want)); /* all or none */
    free(want);
    return same;
}

static sparamx_status run_last(scene *s) {
    return sparamx_buffer_set_tensor(s->buffer, &s->t, s->data + s->bytes / 2, s->bytes / 2, s->bytes - s->bytes / 2);
}
static bool holds_last(scene *s, bool done) { return done ? holds_bytes(s, s->data) : holds_half(s, false); }

static sparamx_status run_change(scene *s) {
    return sparamx_buffer_set_tensor(s->buffer, &s->t, s->other + 77, 77, s->bytes / 3);
}
static bool holds_change(scene *s, bool done) {
    uint8_t *want = must_allocate(s->bytes);
    memcpy(want, s->data, s->bytes);
    if (done) memcpy(want + 77, s->other + 77, s->bytes / 3);
    bool same = holds_bytes(s, want);
    free(want);
    return same;
}

static sparamx_status run_get(scene *s) { return sparamx_buffer_get_tensor(s->buffer, &s->t, s->out, 5, s->bytes - 9); }
static bool holds_get(scene *s, bool done) { return !done || memcmp(s->out, s->data + 5, s->bytes - 9) == 0; }

static bool holds_value(scene *s, bool done, uint8_t value) {
    uint8_t *want = must_allocate(s->bytes);
    memset(want, value, s->bytes);
    bool same = holds_bytes(s, done ? want : s->data);
    free(want);
    return same;
}
static sparamx_status run_memset(scene *s) { return sparamx_buffer_memset_tensor(s->buffer, &s->t, 0x3c, 0, s->bytes); }
static bool holds_memset(scene *s, bool done) { return holds_value(s, done, 0x3c); }
static sparamx_status run_clear(scene *s) { return sparamx_buffer_clear(s->buffer, 0x2d); }
static bool holds_clear(scene *s, bool done) { return holds_value(s, done, 0x2d); }

/* Several tensors: a failure in the middle must not leave some cleared and others not. */
static void several(scene *s) {
    full(s);
    s->u = make_tensor(s->type, s->k, s->n, 1, 1, (char *)s->t.data + (s->bytes + PAGE - 1) / PAGE * PAGE, s->buffer);
    sparamx_buffer_set_tensor(s->buffer, &s->u, s->data, 0, s->bytes);
}
static bool holds_several(scene *s, bool done) {
    sparamx_tensor first = s->t;
    bool same = holds_value(s, done, 0x2d);
    s->t = s->u;
    same = same && holds_value(s, done, 0x2d);
    s->t = first;
    return same;
}

static void cleared(scene *s) {
    open_buffers(s);
    sparamx_buffer_clear(s->buffer, 0x2d);
}
static bool holds_cleared(scene *s, bool done) { return done ? holds_value(s, true, 0x2d) : holds_init(s, false); }

static void source_full(scene *s) {
    full(s);
    sparamx_buffer_set_tensor(s->second, &s->u, s->other, 0, s->bytes);
}
/* What a host sees in the buffer's next life: nothing of the one before. */
static sparamx_status run_reset(scene *s) {
    sparamx_status status = sparamx_buffer_reset(s->buffer);
    return status == SPARAMX_OK ? sparamx_buffer_init_tensor(s->buffer, &s->t) : status;
}
static bool holds_zero(scene *s, bool done) { return done ? holds_value(s, true, 0) : true; }

/* Taking everything back: nothing to refuse, nothing lost. */
static sparamx_status run_close(scene *s) {
    close_all(s);
    return SPARAMX_OK;
}
static bool holds_nothing(scene *s, bool done) { return done && s->buffer == NULL; }

static sparamx_status run_copy(scene *s) { return sparamx_buffer_copy_tensor(s->buffer, &s->u, &s->t); }

/* Files. Until a save succeeds nothing is at the path; afterwards a whole file. */
static void open_file(scene *s) { sparamx_file_open(path_to("file"), &s->file); }

static sparamx_status run_save(scene *s) { return sparamx_linear_save(s->linear, path_to("file")); }
static bool holds_loaded(scene *s, bool done) {
    if (!done) return s->loaded == NULL;
    return sparamx_linear_read(s->loaded, 0, s->n, s->out) == SPARAMX_OK && memcmp(s->out, s->data, s->bytes) == 0;
}
static bool holds_save(scene *s, bool done) {
    if (!done) return access(path_to("file"), F_OK) != 0;
    open_file(s);
    return s->file != NULL && sparamx_file_verify(s->file, 0) == SPARAMX_OK &&
           sparamx_linear_load(s->file, 0, NULL, &s->loaded) == SPARAMX_OK && holds_loaded(s, true);
}
/* The path is taken: that stays. */
static void taken(scene *s) {
    make_linear(s);
    write_whole(path_to("file"), "text", 4);
}
static bool holds_taken(scene *s, bool done) {
    if (done) return holds_save(s, true);
    content c = read_whole(path_to("file"));
    bool same = c.size == 4;
    free(c.bytes);
    return same;
}

static void saved(scene *s) {
    make_linear(s);
    run_save(s);
}
static sparamx_status run_open(scene *s) { return sparamx_file_open(path_to("file"), &s->file); }
static bool holds_open(scene *s, bool done) { return done == (s->file != NULL); }
static void opened(scene *s) {
    saved(s);
    open_file(s);
}
static sparamx_status run_load(scene *s) { return sparamx_linear_load(s->file, 0, NULL, &s->loaded); }
static sparamx_status run_verify(scene *s) { return sparamx_file_verify(s->file, 0); }
static bool holds_always(scene *s, bool done) { return s->file != NULL || !done; }

static void named(scene *s) {
    full(s);
    s->t.name = s->u.name = "weight";
    sparamx_buffer_init_tensor(s->buffer, &s->t);
    sparamx_buffer_set_tensor(s->buffer, &s->t, s->data, 0, s->bytes);
}
static sparamx_status run_buffer_save(scene *s) { return sparamx_buffer_save(s->buffer, path_to("file")); }
/* Into the first buffer, which holds other contents or none. */
static void to_load(scene *s) {
    named(s);
    run_buffer_save(s);
    open_file(s);
    sparamx_buffer_reset(s->buffer);
}
static void to_load_over(scene *s) {
    to_load(s);
    sparamx_buffer_set_tensor(s->buffer, &s->t, s->other, 0, s->bytes);
}
static sparamx_status run_buffer_load(scene *s) { return sparamx_buffer_load_tensor(s->buffer, &s->t, s->file, 0); }
static bool holds_buffer_load(scene *s, bool done) { return done ? holds_bytes(s, s->data) : !holds_init(s, true); }
static bool holds_load_over(scene *s, bool done) { return holds_bytes(s, done ? s->data : s->other); }
/* A write into what was loaded. */
static void loaded(scene *s) {
    to_load(s);
    run_buffer_load(s);
}

static const operation operations[] = {
    {"linear_save", make_linear, run_save, holds_save},
    {"linear_save over a file", taken, run_save, holds_taken},
    {"buffer_save", named, run_buffer_save, holds_save},
    {"file_open", saved, run_open, holds_open},
    {"file_verify", opened, run_verify, holds_always},
    {"linear_load", opened, run_load, holds_loaded},
    {"buffer_load_tensor", to_load, run_buffer_load, holds_buffer_load},
    {"buffer_load_tensor over contents", to_load_over, run_buffer_load, holds_load_over},
    {"set_tensor, a part of what was loaded", loaded, run_change, holds_change},
    {"clear of what was loaded", loaded, run_clear, holds_clear},
    {"linear_create", nothing, run_linear, holds_linear},
    {"linear_read", make_linear, run_linear_read, holds_linear_read},
    {"buffer_create", nothing, run_create, holds_create},
    {"init_tensor", open_buffers, run_init, holds_init},
    {"init_tensor in a cleared buffer", cleared, run_init, holds_cleared},
    {"set_tensor, whole", open_buffers, run_set, holds_fresh},
    {"set_tensor, whole, over a half", half_full, run_set, holds_half},
    {"set_tensor, whole, over a whole", full, run_set, holds_full},
    {"set_tensor_2d, pieces", open_buffers, run_pieces, holds_pieces},
    {"set_tensor, the last part", half_full, run_last, holds_last},
    {"set_tensor, a part of a whole", full, run_change, holds_change},
    {"get_tensor, cut rows", full, run_get, holds_get},
    {"memset_tensor", full, run_memset, holds_memset},
    {"clear", full, run_clear, holds_clear},
    {"clear of two tensors", several, run_clear, holds_several},
    {"copy_tensor", source_full, run_copy, holds_full},
    {"reset and init_tensor", full, run_reset, holds_zero},
    {"reset and init_tensor after a half", half_full, run_reset, holds_zero},
    {"destroy", several, run_close, holds_nothing},
};

static bool uses_files(const operation *o) {
    return strstr(o->name, "save") != NULL || strstr(o->name, "file_") != NULL || strstr(o->name, "_load") != NULL;
}

static long most_calls, all_lost;

static void exhaust(const operation *o, scene *s) {
    char what[128];
    snprintf(what, sizeof what, "%s, %s %s, %d threads, numa %d", o->name, type_name(s->type), form_name(s->form),
             s->threads, s->numa);
    long n = 1, refused = 0, survived = 0;
    for (;; n++) {
        long before = fail_outstanding();
        o->prepare(s);
        fail_arm(n);
        sparamx_status status = o->run(s);
        long failures = fail_failures(), calls = fail_calls(), stuck = fail_stuck();
        const char *function = fail_function();
        fail_arm(0);
        if (calls > most_calls) most_calls = calls;
        bool refusal = status == SPARAMX_ERR_NO_MEMORY || (uses_files(o) && status == SPARAMX_ERR_FILE);
        CHECK(status == SPARAMX_OK || (failures > 0 && refusal),
              "%s: call %ld (%s) fails: status %d", what, n, function, status);
        CHECK(o->holds(s, status == SPARAMX_OK), "%s: call %ld (%s) fails, status %d: wrong contents", what, n,
              function, status);
        if (status != SPARAMX_OK) {
            refused++;
            CHECK(o->run(s) == SPARAMX_OK, "%s: after a failure of call %ld (%s) it fails again", what, n, function);
            CHECK(o->holds(s, true), "%s: call %ld (%s) fails, then succeeds: wrong contents", what, n, function);
        } else if (failures > 0) {
            survived++;
        }
        close_all(s);
        /* What the kernel refuses to unmap stays: in one piece, not in several. */
        long lost = fail_outstanding() - before;
        CHECK(lost >= 0 && lost <= stuck, "%s: call %ld (%s) fails: %ld blocks lost", what, n, function, lost);
        all_lost += lost;
        if (failures == 0) break;
        if (!CHECK(n < 200, "%s: needs more than 200 calls", what)) break;
    }
    if (o->run == run_linear)
        CHECK(refused > 0 && (s->threads == 1 || survived > 0), "%s: %ld calls failed, %ld without harm", what, refused,
              survived);
}

/* The first call of a process: memory for the self-test may be missing, then slower kernels may serve, nothing worse.
 */
static void test_detection(void) {
    for (long n = 1; n < 10; n++) {
        int end = 0;
        pid_t child = fork();
        if (child == 0) {
            uint16_t w[64] = {0};
            sparamx_linear *linear = NULL;
            sparamx_capability c = {.size = sizeof c};
            fail_arm(n);
            bool good = sparamx_get_capability(&c) == SPARAMX_OK && c.status == SPARAMX_OK;
            fail_arm(0);
            good = good && sparamx_linear_create(SPARAMX_TYPE_BF16, 2, 32, w, 0, NULL, &linear) == SPARAMX_OK;
            _exit(good ? 0 : 1);
        }
        waitpid(child, &end, 0);
        CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "detection with call %ld failing", n);
    }
}

/* The first weight of a process that wants memory on several nodes: libnuma may be missing in any of its parts. */
static void test_loading(void) {
    scene s = make_scene(SPARAMX_TYPE_BF16, SPARAMX_FORM_SPARSE, 1, 37, 288);
    s.numa = SPARAMX_NUMA_MIRROR;
    for (long n = 11; n >= 0; n--) {
        int end = 0;
        pid_t child = n > 0 ? fork() : 0; /* the last one in no child: it is loaded from then on */
        if (child == 0) {
            fail_arm(n);
            sparamx_status status = run_linear(&s);
            fail_arm(0);
            bool done = status == SPARAMX_OK;
            bool good = (done || status == SPARAMX_ERR_NO_MEMORY) && holds_linear(&s, done);
            close_all(&s);
            if (n > 0) _exit(good ? 0 : 1);
            CHECK(good, "with libnuma");
        }
        if (n > 0) waitpid(child, &end, 0);
        CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "libnuma with call %ld failing", n);
    }
    drop_scene(&s);
}

int main(void) {
    test_detection();
    isa_level();
    test_loading();
    for (size_t i = 0; i < COUNT(weight_types); i++) {
        for (int32_t form = SPARAMX_FORM_AUTO; form <= SPARAMX_FORM_AUTO_CODED; form++) {
            /* Coded forms are those of one type. */
            if (form == SPARAMX_FORM_RAW || (form > SPARAMX_FORM_RAW && weight_types[i] != SPARAMX_TYPE_BF16)) continue;
            for (int threads = 1; threads <= 4; threads += 3) {
                /* Threads are made for packing from 256 KiB each on; every third type will do to see them fail. */
                if (threads > 1 && i % 3 != 0) continue;
                int64_t n = threads == 1 ? 37 : 1045, k = threads == 1 ? 288 : 1024;
                scene s = make_scene(weight_types[i], form, threads, n, k);
                for (size_t j = 0; j < COUNT(operations); j++) {
                    /* Files do not depend on types and threads, and a disk takes its time. */
                    if (uses_files(&operations[j]) && (i > 0 || threads > 1)) continue;
                    exhaust(&operations[j], &s);
                }
                drop_scene(&s);
            }
        }
    }
    CHECK(most_calls > 3, "libfail.so has seen %ld calls at most", most_calls);
    CHECK(fail_outstanding() == all_lost, "%ld blocks are not given back at the end, of which the kernel kept %ld",
          fail_outstanding(), all_lost);
    return check_end();
}
