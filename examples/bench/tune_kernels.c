#define _GNU_SOURCE
#include "tune_kernels.h"
#include "cases.h"
#include "pass.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Another kernel than the table's has to be faster by so much: below that it is noise, and results stay as they are. */
#define GAIN 0.05
#define ROUNDS 9
#define ZEROS 0.5 /* of sparse weights */

/* ------------------------------------------------------------------------------------------------------ choices -- */

static bool serves(const sparamx_kernel_info *k, int64_t m) { return k->m_min <= m && m <= k->m_max; }

static void add_point(kernel_list *list, int64_t m) {
    if (m < 1 || m > TUNE_LARGEST_M || list->points == TUNE_POINTS) return;
    int at = list->points;
    while (at > 0 && list->point[at - 1] > m) at--;
    if (at > 0 && list->point[at - 1] == m) return;
    memmove(&list->point[at + 1], &list->point[at], (size_t)(list->points - at) * sizeof *list->point);
    list->point[at] = m;
    list->points++;
}

static int rivals(const kernel_list *list, int64_t m) {
    int count = 0;
    for (int i = 0; i < list->kernels; i++) count += serves(&list->kernel[i], m);
    return count;
}

bool kernels_of(kernel_list *list, int32_t type, int32_t form) {
    static const int64_t between[] = {1, 6, 12, 24, 48, 64, TUNE_LARGEST_M};
    *list = (kernel_list){0};
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info k = {.size = sizeof k};
        if (sparamx_kernel_get(i, &k) != SPARAMX_OK || k.type != type || k.form != form) continue;
        /* What runs on every CPU is no rival of vectors. */
        if (k.usable != SPARAMX_OK || k.isa == SPARAMX_ISA_REFERENCE || list->kernels == TUNE_KERNELS) continue;
        list->kernel[list->kernels++] = k;
        add_point(list, k.m_min);
        add_point(list, k.m_plan);
        if (k.m_max < TUNE_LARGEST_M) add_point(list, k.m_max + 1);
    }
    for (size_t i = 0; i < sizeof between / sizeof *between; i++) add_point(list, between[i]);
    for (int p = 0; p < TUNE_POINTS; p++) {
        for (int i = 0; i < TUNE_KERNELS; i++) list->ms[p][i] = NAN;
    }
    for (int p = 0; p < list->points; p++) {
        if (rivals(list, list->point[p]) > 1) return true;
    }
    return false;
}

int kernels_planned(const kernel_list *list, int64_t m) {
    int planned = -1;
    for (int i = 0; i < list->kernels; i++) {
        if (list->kernel[i].m_plan <= m && serves(&list->kernel[i], m)) planned = i;
    }
    return planned;
}

/* ------------------------------------------------------------------------------------------------------ weights -- */

/* The copies of one packed matrix, each loaded once for each kernel: all kernels read the same bytes. */
typedef struct copies {
    sparamx_file *file;
    int count;
    sparamx_linear **of_kernel[TUNE_KERNELS];
    void *work;
    size_t work_bytes;
} copies;

static sparamx_status pack_one(const tuning *t, const weight_type *type, int32_t form, const weights *w, int copy,
                               sparamx_linear **out) {
    sparamx_linear_options o = {.size = sizeof o, .form = form,
                                .pack_threads = t->machine->threads < 64 ? t->machine->threads : 64};
    return sparamx_linear_create(type->id, t->n, t->k, weights_row(w, copy), 0, &o, out);
}

/* Packs copies, each from another row on, one after the other into the file. Only one is in memory at a time. */
static sparamx_status write_copies(const tuning *t, const weight_type *type, int32_t form, const weights *w,
                                   int *count) {
    sparamx_file_writer *writer = NULL;
    sparamx_status status = sparamx_file_writer_create(t->path, NULL, 0, &writer);
    size_t bytes = 0;
    for (*count = 0; status == SPARAMX_OK && *count < TUNE_COPIES; (*count)++) {
        if (*count >= LARGE_M_COPIES && bytes >= t->cycle_bytes) break;
        sparamx_linear *one = NULL;
        char name[16];
        snprintf(name, sizeof name, "%d", *count);
        status = pack_one(t, type, form, w, *count, &one);
        if (status == SPARAMX_OK) status = sparamx_file_writer_add_linear(writer, name, one);
        sparamx_tensor_info info = {.size = sizeof info};
        if (status == SPARAMX_OK) status = sparamx_linear_info(one, &info);
        bytes += info.packed_bytes;
        sparamx_linear_destroy(one);
    }
    if (status == SPARAMX_OK) status = sparamx_file_writer_finish(writer);
    sparamx_file_writer_destroy(writer);
    return status;
}

static sparamx_status load_copies(copies *c, const tuning *t, const kernel_list *list) {
    sparamx_status status = sparamx_file_open(t->path, &c->file);
    for (int i = 0; status == SPARAMX_OK && i < list->kernels; i++) {
        const sparamx_kernel_info *k = &list->kernel[i];
        c->of_kernel[i] = calloc((size_t)c->count, sizeof(sparamx_linear *));
        if (!c->of_kernel[i]) return SPARAMX_ERR_NO_MEMORY;
        sparamx_linear_options o = {.size = sizeof o, .form = k->form, .kernel = k->name};
        for (int j = 0; status == SPARAMX_OK && j < c->count; j++) {
            status = sparamx_linear_load(c->file, j, &o, &c->of_kernel[i][j]);
        }
        int64_t most = k->m_max < TUNE_LARGEST_M ? k->m_max : TUNE_LARGEST_M;
        size_t work = 0;
        if (status == SPARAMX_OK) {
            status = sparamx_linear_work_size(c->of_kernel[i][0], most, t->machine->threads, &work);
        }
        if (work > c->work_bytes) c->work_bytes = work;
    }
    if (status != SPARAMX_OK) return status;
    c->work = aligned_alloc(64, c->work_bytes / 64 * 64 + 64);
    return c->work ? SPARAMX_OK : SPARAMX_ERR_NO_MEMORY;
}

static void destroy_copies(copies *c, const tuning *t) {
    for (int i = 0; i < TUNE_KERNELS; i++) {
        for (int j = 0; c->of_kernel[i] && j < c->count; j++) sparamx_linear_destroy(c->of_kernel[i][j]);
        free(c->of_kernel[i]);
    }
    sparamx_file_close(c->file);
    unlink(t->path);
    free(c->work);
}

/* -------------------------------------------------------------------------------------------------- measurement -- */

static sparamx_status run_one(const tuning *t, const copies *c, int kernel, int64_t m, double *seconds) {
    int count = m <= LARGE_M ? c->count : LARGE_M_COPIES;
    pass p = {.team = t->machine->team, .copy = c->of_kernel[kernel], .count = count, .m = m, .n = t->n, .k = t->k,
              .x = t->x, .y = t->y, .work = c->work, .work_bytes = c->work_bytes};
    sparamx_status status = pass_run(&p, seconds);
    *seconds /= count;
    return status;
}

/* Rounds in which all kernels take turns at every number of tokens. */
static sparamx_status run_rounds(const tuning *t, const copies *c, kernel_list *list, double seconds) {
    double *samples = calloc((size_t)TUNE_POINTS * TUNE_KERNELS * ROUNDS, sizeof *samples);
    if (!samples) return SPARAMX_ERR_NO_MEMORY;
    double start = bench_now();
    int rounds = 0;
    sparamx_status status = SPARAMX_OK;
    while (status == SPARAMX_OK && rounds < ROUNDS && (rounds == 0 || bench_now() - start < seconds)) {
        for (int p = 0; p < list->points; p++) {
            if (rivals(list, list->point[p]) < 2) continue;
            for (int i = 0; i < list->kernels && status == SPARAMX_OK; i++) {
                int kernel = (i + rounds) % list->kernels;
                if (!serves(&list->kernel[kernel], list->point[p])) continue;
                double one = 0;
                status = run_one(t, c, kernel, list->point[p], &one);
                samples[(p * TUNE_KERNELS + kernel) * ROUNDS + rounds] = one * 1e3;
            }
        }
        rounds++;
    }
    for (int p = 0; p < list->points; p++) {
        for (int i = 0; i < list->kernels; i++) {
            if (rivals(list, list->point[p]) < 2 || !serves(&list->kernel[i], list->point[p])) continue;
            list->ms[p][i] = bench_median(samples + (p * TUNE_KERNELS + i) * ROUNDS, rounds);
        }
    }
    free(samples);
    return status;
}

bool kernels_measure(const tuning *t, kernel_list *list, const weight_type *type, int32_t form, double seconds) {
    weights w = {0};
    copies c = {0};
    bool sparse = form == SPARAMX_FORM_SPARSE || form == SPARAMX_FORM_CODED_SPARSE;
    sparamx_status status = SPARAMX_ERR_NO_MEMORY;
    report_progress("%s %s: packing", type->name, form_name(form));
    if (weights_create(&w, t->machine->team, type, t->n + TUNE_COPIES, t->k, sparse ? ZEROS : 0)) {
        status = write_copies(t, type, form, &w, &c.count);
        if (status == SPARAMX_OK) status = load_copies(&c, t, list);
    }
    weights_destroy(&w);
    report_progress("%s %s: %d kernels", type->name, form_name(form), list->kernels);
    if (status == SPARAMX_OK) status = run_rounds(t, &c, list, seconds);
    destroy_copies(&c, t);
    report_progress_clear();
    if (status == SPARAMX_OK) return true;
    fprintf(stderr, "sparamx-bench: %s, %s: %s\n", type->name, form_name(form), sparamx_status_string(status));
    return false;
}

/* ------------------------------------------------------------------------------------------------------- result -- */

static int best_at(const tuning *t, const kernel_list *list, int point) {
    int planned = kernels_planned(list, list->point[point]), best = planned;
    for (int i = 0; i < list->kernels; i++) {
        double ms = list->ms[point][i];
        if (isnan(ms)) continue;
        bool worse = best >= 0 && !t->any_accuracy && list->kernel[i].accuracy < list->kernel[planned].accuracy;
        double limit = best < 0 ? INFINITY : list->ms[point][best] * (best == planned ? 1 - GAIN : 1);
        if (!worse && ms < limit) best = i;
    }
    return best;
}

int kernels_write(const tuning *t, const kernel_list *list, FILE *out) {
    int changed = 0;
    for (int p = 0; p < list->points;) {
        int64_t first = list->point[p];
        int best = rivals(list, first) > 1 ? best_at(t, list, p) : -1, planned = kernels_planned(list, first);
        double gain = best >= 0 && planned >= 0 ? list->ms[p][planned] / list->ms[p][best] : NAN;
        int next = p + 1;
        /* Further points belong to the same range while kernel and table agree. */
        while (next < list->points && rivals(list, list->point[next]) > 1 && best_at(t, list, next) == best &&
               kernels_planned(list, list->point[next]) == planned) {
            double other = list->ms[next][planned] / list->ms[next][best];
            if (other < gain) gain = other;
            next++;
        }
        p = next;
        if (best < 0) continue;
        fprintf(out, "kernel %s %lld ", list->kernel[best].name, (long long)first);
        int64_t last = next < list->points ? list->point[next] - 1 : list->kernel[best].m_max;
        if (last == INT64_MAX) fputs("any", out);
        else fprintf(out, "%lld", (long long)last);
        if (best != planned) {
            changed++;
            fprintf(out, "  # %.2f times as fast as %s", gain, planned < 0 ? "-" : list->kernel[planned].name);
        }
        fputc('\n', out);
    }
    return changed;
}
