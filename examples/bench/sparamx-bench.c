/*
 * sparamx-bench - how fast libsparamx multiplies on this machine, and how close that is to what the machine can do.
 * See README.md beside this file, or --help.
 */
#define _GNU_SOURCE
#include "../common/text.h"
#include "break_even.h"
#include "errors.h"
#include "options.h"
#include "report.h"
#include "growth.h"
#include "sizes.h"
#include "tune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------------------------------- runs -- */

typedef struct run {
    const options *options;
    machine machine;
    results results;
    int group, group_count;
    int failures;
} run;

static void fill_group(const run *r, group *g, const weight_type *type, shape s, double sparsity, char label[80]) {
    const options *o = r->options;
    *g = (group){.type = type, .n = s.n, .k = s.k, .sparsity = sparsity};
    memcpy(g->m, o->m, sizeof g->m);
    g->form_count = options_forms(o, type, g->forms);
    g->m_count = o->m_count;
    g->kernel = o->kernel;
    g->experts = o->experts;
    g->top_k = o->top_k;
    g->rounds = o->repeat;
    g->seconds = o->seconds;
    g->label = label;
    snprintf(label, 80, "[%d/%d] %s %lldx%lld %g%%", r->group, r->group_count, type->name, (long long)s.n,
             (long long)s.k, sparsity * 100);
}

/* Rows of one share of zeros, in the order in which the forms were asked for: dense, sparse, auto. */
static void compare_forms(run *r, const bench_row *rows, int count, int share, double *speed_up) {
    int m_count = r->options->m_count;
    if (count != 3 * m_count) return; /* something is missing, and has been counted as a failure */
    for (int i = 0; i < m_count; i++) {
        const bench_row *dense = &rows[i], *sparse = &rows[m_count + i], *chosen = &rows[2 * m_count + i];
        speed_up[i * MAX_CHOICES + share] = dense->ms / sparse->ms;
        report_sweep(dense, sparse, chosen, r->options->markdown);
    }
}

static void run_products(run *r, const group *g, int share, double *speed_up) {
    bench_row *rows = r->results.rows + r->results.row_count;
    int count = (g->experts ? group_run_experts : group_run)(&r->machine, g, rows);
    if (count == 0 && !g->kernel) r->failures++;
    for (int i = 0; i < count; i++) r->failures += rows[i].problem[0] != '\0';
    if (speed_up) compare_forms(r, rows, count, share, speed_up);
    else report_rows(rows, count, r->options->markdown);
    r->results.row_count += count;
}

static void run_packing(run *r, const group *g) {
    pack_row *rows = r->results.packs + r->results.pack_count;
    int count = group_pack(&r->machine, g, rows);
    if (count == 0) r->failures++;
    for (int i = 0; i < count; i++) r->failures += rows[i].problem[0] != '\0';
    report_packs(rows, count, r->options->markdown);
    r->results.pack_count += count;
}

static void conclude(run *r, const weight_type *type, shape s, const double *speed_up) {
    const options *o = r->options;
    for (int i = 0; i < o->m_count; i++) {
        break_even *b = &r->results.breaks[r->results.break_count++];
        double from = break_even_of(o->sparsities, speed_up + i * MAX_CHOICES, o->sparsity_count);
        *b = (break_even){.type = type, .n = s.n, .k = s.k, .m = o->m[i], .sparsity = from};
        report_break_even(b, o->markdown);
    }
}

static void run_shape(run *r, const weight_type *type, shape s) {
    const options *o = r->options;
    double speed_up[MAX_CHOICES * MAX_CHOICES];
    bool sweep = o->mode == MODE_BREAK_EVEN;
    for (int i = 0; i < MAX_CHOICES * MAX_CHOICES; i++) speed_up[i] = NAN;
    if (sweep) report_sweep_head(o->markdown);
    for (int i = 0; i < o->sparsity_count; i++) {
        group g;
        char label[80];
        r->group++;
        fill_group(r, &g, type, s, o->sparsities[i], label);
        if (o->mode == MODE_PACK) run_packing(r, &g);
        else run_products(r, &g, i, sweep ? speed_up : NULL);
    }
    if (sweep) conclude(r, type, s, speed_up);
}

static bool get_results(run *r) {
    const options *o = r->options;
    size_t shapes = (size_t)o->type_count * (size_t)o->shape_count;
    r->group_count = (int)shapes * o->sparsity_count;
    size_t forms = (size_t)r->group_count * (size_t)o->form_count;
    r->results.rows = calloc(forms * (size_t)o->m_count, sizeof(bench_row));
    r->results.packs = calloc(forms, sizeof(pack_row));
    r->results.breaks = calloc(shapes * (size_t)o->m_count, sizeof(break_even));
    return r->results.rows && r->results.packs && r->results.breaks;
}

static void run_all(run *r) {
    const options *o = r->options;
    report_machine(&r->machine);
    report_ceilings(&r->machine);
    if (o->mode == MODE_PRODUCTS) report_rows_head(o->markdown);
    if (o->mode == MODE_PACK) report_packs_head(o->markdown);
    for (int t = 0; t < o->type_count; t++) {
        for (int s = 0; s < o->shape_count; s++) run_shape(r, o->types[t], o->shapes[s]);
    }
    report_progress_clear();
    putchar('\n');
    report_ceilings(&r->machine);
}

static void print_log(int32_t level, const char *message, void *user) {
    (void)user;
    report_progress_clear();
    char line[1024];
    if (level <= SPARAMX_LOG_WARNING) fprintf(stderr, "libsparamx: %s\n", text_printable(message, line, sizeof line));
}

static void complain_file(const char *path, const char *what) {
    char shown[4096];
    fprintf(stderr, "sparamx-bench: '%s' %s\n", text_printable(path, shown, sizeof shown), what);
}

static int measure(const options *o, FILE *json) {
    run r = {.options = o};
    if (!machine_open(&r.machine, o->threads)) return 1;
    if (get_results(&r)) {
        run_all(&r);
        if (o->mode != MODE_PACK && r.results.row_count == 0) {
            fprintf(stderr, "sparamx-bench: nothing was measured%s\n",
                    o->kernel ? ": --kernel serves none of these types, forms and M" : "");
            r.failures++;
        }
        if (r.failures) fprintf(stderr, "sparamx-bench: %d case(s) failed\n", r.failures);
        if (json && !report_json(json, &r.machine, &r.results)) {
            complain_file(o->json, "could not be written");
            r.failures++;
        }
    } else {
        fprintf(stderr, "sparamx-bench: no memory for the results\n");
        r.failures++;
    }
    free(r.results.rows);
    free(r.results.packs);
    free(r.results.breaks);
    machine_close(&r.machine);
    return r.failures ? 1 : 0;
}

static int run_mode(int argc, char **argv) {
    options o;
    if (!options_read(argc, argv, &o)) {
        fputs("Try --help.\n", stderr);
        return 2;
    }
    if (o.help) return fputs(options_help, stdout), 0;
    sparamx_set_log(print_log, NULL);
    if (o.mode == MODE_GROWTH) return growth_run(&o);
    if (o.mode == MODE_TUNE) return tune_run(&o);
    if (o.mode == MODE_LIST) return report_kernels(o.markdown), 0;
    FILE *json = o.json ? fopen(o.json, "w") : NULL; /* now, not after minutes of measuring */
    if (o.json && !json) {
        complain_file(o.json, "cannot be opened for writing");
        return 2;
    }
    int status = o.mode == MODE_SIZES    ? sizes_run(&o, json)
                 : o.mode == MODE_ERRORS ? errors_run(&o, json)
                                         : measure(&o, json);
    if (json && fclose(json) != 0) status = 1;
    return status;
}

int main(int argc, char **argv) {
    int status = run_mode(argc, argv);
    return text_written("sparamx-bench") ? status : 1;
}
