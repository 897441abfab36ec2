#define _GNU_SOURCE
#include "tune.h"
#include "../common/text.h"
#include "break_even.h"
#include "pass.h"
#include "report.h"
#include "tune_kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 5

/* ------------------------------------------------------------------------------------------------- zeros: where -- */

/* Copies of one form in memory, for one token at a time. */
typedef struct stack {
    sparamx_linear *copy[TUNE_COPIES];
    int count;
} stack;

static void stack_destroy(stack *s) {
    for (int i = 0; i < s->count; i++) sparamx_linear_destroy(s->copy[i]);
    s->count = 0;
}

static sparamx_status stack_create(stack *s, const tuning *t, const weights *w, int32_t form, size_t *work) {
    sparamx_linear_options o = {.size = sizeof o, .form = form,
                                .pack_threads = t->machine->threads < 64 ? t->machine->threads : 64};
    size_t bytes = 0;
    for (s->count = 0; s->count < TUNE_COPIES && (s->count < 2 || bytes < t->cycle_bytes); s->count++) {
        sparamx_tensor_info info = {.size = sizeof info};
        sparamx_status status = sparamx_linear_create(w->type->id, t->n, t->k, weights_row(w, s->count), 0, &o,
                                                      &s->copy[s->count]);
        if (status != SPARAMX_OK) return status;
        status = sparamx_linear_info(s->copy[s->count], &info);
        if (status != SPARAMX_OK) return s->count++, status;
        bytes += info.packed_bytes;
    }
    size_t need = 0;
    sparamx_status status = sparamx_linear_work_size(s->copy[0], 1, t->machine->threads, &need);
    if (need > *work) *work = need;
    return status;
}

static sparamx_status time_stack(const tuning *t, const stack *s, void *work, size_t bytes, double *seconds) {
    pass p = {.team = t->machine->team, .copy = s->copy, .count = s->count, .m = 1, .n = t->n, .k = t->k,
              .x = t->x, .y = t->y, .work = work, .work_bytes = bytes};
    sparamx_status status = pass_run(&p, seconds);
    *seconds /= s->count;
    return status;
}

/* Dense time over sparse time at one share of zeros: the median of rounds in which both take turns. */
static sparamx_status compare_at(const tuning *t, const weight_type *type, const stack *dense, double share,
                                 size_t work, double *speed_up) {
    weights w = {0};
    stack sparse = {.count = 0};
    sparamx_status status = SPARAMX_ERR_NO_MEMORY;
    if (weights_create(&w, t->machine->team, type, t->n + TUNE_COPIES, t->k, share)) {
        status = stack_create(&sparse, t, &w, SPARAMX_FORM_SPARSE, &work);
    }
    weights_destroy(&w);
    void *area = aligned_alloc(64, work / 64 * 64 + 64);
    if (!area && status == SPARAMX_OK) status = SPARAMX_ERR_NO_MEMORY;
    double ratio[ROUNDS];
    for (int i = 0; i < ROUNDS && status == SPARAMX_OK; i++) {
        double one = 1, other = 1;
        status = time_stack(t, dense, area, work, &one);
        if (status == SPARAMX_OK) status = time_stack(t, &sparse, area, work, &other);
        ratio[i] = one / other;
    }
    if (status == SPARAMX_OK) *speed_up = bench_median(ratio, ROUNDS);
    free(area);
    stack_destroy(&sparse);
    return status;
}

/* The share of zeros from which sparse is faster, by the plan's kernels for one token; NAN for none. */
static bool find_share(const tuning *t, const options *o, const weight_type *type, double *share) {
    weights w = {0};
    stack dense = {.count = 0};
    size_t work = 0;
    double speed_up[MAX_CHOICES];
    sparamx_status status = SPARAMX_ERR_NO_MEMORY;
    report_progress("%s: dense", type->name);
    if (weights_create(&w, t->machine->team, type, t->n + TUNE_COPIES, t->k, 0)) {
        status = stack_create(&dense, t, &w, SPARAMX_FORM_DENSE, &work);
    }
    weights_destroy(&w);
    for (int i = 0; i < o->sparsity_count && status == SPARAMX_OK; i++) {
        report_progress("%s: %g%% zeros", type->name, o->sparsities[i] * 100);
        status = compare_at(t, type, &dense, o->sparsities[i], work, &speed_up[i]);
    }
    stack_destroy(&dense);
    report_progress_clear();
    if (status == SPARAMX_OK) *share = break_even_of(o->sparsities, speed_up, o->sparsity_count);
    else fprintf(stderr, "sparamx-bench: %s: %s\n", type->name, sparamx_status_string(status));
    return status == SPARAMX_OK;
}

/* ------------------------------------------------------------------------------------------------------ profile -- */

typedef struct writing {
    FILE *file;
    int changed, shares, failures;
} writing;

static void tune_forms(const tuning *t, const options *o, const weight_type *type, double seconds, writing *w) {
    kernel_list *list = malloc(sizeof *list);
    int32_t forms[MAX_CHOICES];
    int count = options_forms(o, type, forms);
    for (int i = 0; i < count; i++) {
        if (!list || !kernels_of(list, type->id, forms[i])) continue;
        if (!kernels_measure(t, list, type, forms[i], seconds / count)) w->failures++;
        else w->changed += kernels_write(t, list, w->file);
    }
    if (!list) w->failures++;
    free(list);
}

static void tune_share(const tuning *t, const options *o, const weight_type *type, writing *w) {
    double share = NAN;
    if (!find_share(t, o, type, &share)) {
        w->failures++;
        return;
    }
    if (isnan(share)) fprintf(w->file, "sparse %s never  # dense was faster up to %g%%\n", type->name,
                              o->sparsities[o->sparsity_count - 1] * 100);
    else fprintf(w->file, "sparse %s %.0f\n", type->name, ceil(share * 100));
    w->shares++;
}

static void tune_all(const tuning *t, const options *o, writing *w) {
    const machine *m = t->machine;
    fprintf(w->file, "sparamx-profile 1\nlibrary %s\ncpu %s\n", sparamx_version(),
            m->capability.cpu[0] ? m->capability.cpu : "any");
    if (o->any_accuracy) fputs("accuracy any\n", w->file);
    fprintf(w->file, "# Measured by %d threads, matrices of %lldx%lld. The lines: sparamx_profile_load in sparamx.h.\n",
            m->threads, (long long)t->n, (long long)t->k);
    double start = bench_now();
    for (int i = 0; i < o->type_count; i++) {
        const weight_type *type = o->types[i];
        double left = o->seconds - (bench_now() - start);
        fprintf(w->file, "\n# %s\n", type->name);
        /* Half of a type's time at most: shares of zeros take theirs, whatever it is. */
        tune_forms(t, o, type, left > 0 ? left / (o->type_count - i) / 2 : 0, w);
        if (type->sparse) tune_share(t, o, type, w);
        report_progress("%d of %d types", i + 1, o->type_count);
    }
    report_progress_clear();
}

/* ---------------------------------------------------------------------------------------------------------- run -- */

static bool open_files(const options *o, char **part, char **weights, writing *w) {
    char shown[4096];
    if (asprintf(part, "%s.part", o->tune) < 0) *part = NULL;
    if (asprintf(weights, "%s.weights", o->tune) < 0) *weights = NULL;
    w->file = *part && *weights ? fopen(*part, "w") : NULL; /* now, not after minutes of measuring */
    if (w->file) return true;
    fprintf(stderr, "sparamx-bench: '%s' cannot be opened for writing\n",
            text_printable(*part ? *part : o->tune, shown, sizeof shown));
    return false;
}

static int finish(const options *o, const char *part, writing *w) {
    char shown[4096];
    bool written = fflush(w->file) == 0 && !ferror(w->file);
    if (fclose(w->file) != 0) written = false;
    if (w->failures == 0 && written && rename(part, o->tune) == 0) {
        printf("%d range%s of tokens got another kernel than the library's table has; shares of zeros of %d types.\n"
               "To use it: SPARAMX_PROFILE=%s\n", w->changed, w->changed == 1 ? "" : "s", w->shares,
               text_printable(o->tune, shown, sizeof shown));
        return 0;
    }
    if (w->failures == 0) {
        fprintf(stderr, "sparamx-bench: '%s' could not be written\n", text_printable(o->tune, shown, sizeof shown));
    }
    unlink(part);
    return 1;
}

static bool get_rows(tuning *t) {
    t->x = malloc((size_t)(TUNE_LARGEST_M * t->k) * sizeof *t->x);
    t->y = malloc((size_t)(TUNE_LARGEST_M * t->n) * sizeof *t->y);
    if (t->x) random_normals(t->x, (size_t)(TUNE_LARGEST_M * t->k), 3);
    if (t->x && t->y) return true;
    fputs("sparamx-bench: no memory for activations\n", stderr);
    return false;
}

int tune_run(const options *o) {
    machine m;
    char *part = NULL, *packed = NULL;
    writing w = {0};
    int status = 1;
    if (!open_files(o, &part, &packed, &w)) {
        free(part);
        free(packed);
        return 2;
    }
    if (machine_open(&m, o->threads)) {
        tuning t = {.machine = &m, .n = o->shapes[0].n, .k = o->shapes[0].k, .path = packed,
                    .any_accuracy = o->any_accuracy};
        size_t least = (size_t)64 << 20, most = (size_t)256 << 20;
        t.cycle_bytes = m.llc_bytes * 3 / 2;
        t.cycle_bytes = t.cycle_bytes < least ? least : t.cycle_bytes > most ? most : t.cycle_bytes;
        report_machine(&m);
        if (m.capability.isa == SPARAMX_ISA_REFERENCE) {
            puts("Kernels of level reference have no rivals, and are for tests.");
        }
        if (get_rows(&t)) {
            tune_all(&t, o, &w);
            status = finish(o, part, &w);
        } else {
            fclose(w.file);
            unlink(part);
        }
        free(t.x);
        free(t.y);
        machine_close(&m);
    } else {
        fclose(w.file);
        unlink(part);
    }
    free(part);
    free(packed);
    return status;
}
