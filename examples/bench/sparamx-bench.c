/*
 * sparamx-bench - how fast libsparamx multiplies on this machine, and how close that is to what the machine can do.
 * See README.md beside this file, or --help.
 */
#define _GNU_SOURCE
#include "cases.h"
#include "machine.h"
#include "report.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum mode { MODE_PRODUCTS, MODE_PACK, MODE_BREAK_EVEN, MODE_LIST } mode;

typedef struct shape {
    int64_t n, k;
} shape;

typedef struct options {
    const weight_type *types[MAX_CHOICES];
    int32_t forms[MAX_CHOICES];
    double sparsities[MAX_CHOICES];
    int64_t m[MAX_CHOICES];
    shape shapes[MAX_CHOICES];
    int type_count, form_count, sparsity_count, m_count, shape_count;
    int threads;
    const char *kernel;
    int repeat;
    double seconds;
    const char *json;
    mode mode;
    bool markdown, help;
} options;

static const char help_text[] =
    "usage: sparamx-bench [options]\n"
    "Measures the products of libsparamx, Y[M x N] = X[M x K] * W[N x K]^T, on random data.\n"
    "\n"
    "What to measure (lists are separated by commas):\n"
    "  --type LIST       bf16, f16, q8_0                            (default: all)\n"
    "  --form LIST       dense, sparse, auto                        (default: dense,sparse)\n"
    "  --sparsity LIST   percent of weights that are zero           (default: 0,50,70)\n"
    "  --m LIST          tokens                                     (default: 1,4,16,32,512)\n"
    "  --shape LIST      NxK                                        (default: 4096x4096,14336x4096,4096x14336)\n"
    "  --kernel NAME     only this kernel, see --list\n"
    "  --pack            the speed of packing instead; --m does not matter\n"
    "  --break-even      from how many zeros on sparse is faster: 0 to 50% in steps of 5, by default at 4096x4096\n"
    "                    and M=1; --form and --sparsity do not matter\n"
    "  --list            no measurement: the kernels of the library, and what this machine does not run\n"
    "How:\n"
    "  --threads N       threads, each on its own CPU               (default: the CPUs of this process)\n"
    "  --repeat R        rounds; figures are medians                (default: 7)\n"
    "  --seconds S       no new round of a group after this time    (default: 30)\n"
    "Output:\n"
    "  --json FILE       also write everything to FILE as JSON\n"
    "  --markdown        tables in Markdown\n"
    "  --help            this text\n"
    "\n"
    "A case is one type, shape, share of zeros, form and M. Several copies of the matrix are multiplied in turn,\n"
    "so that up to M=32 the weights come from memory and not from the last-level cache. Cases of one type, shape\n"
    "and share of zeros take turns, round by round. The time includes what a host pays: packing of the activations\n"
    "and barriers. Before a case is timed, some of its outputs are compared with double precision; a wrong result\n"
    "(square root of the normalised mean square error above 0.01) gets no speed.\n"
    "\n"
    "Columns: GB/s are the packed bytes of the matrix over the time. \"read\" is their share of the bandwidth that\n"
    "the same threads reach by only reading memory. \"AMX\" and \"AVX\" are TFLOPS as a share of the AMX bf16 and the\n"
    "AVX-512 bf16 ceiling, for every type; \"-\" where the machine has none. Shared machines drift: the ceilings are\n"
    "read again at least once in every round and about every second, between the cases, and a case is compared\n"
    "with the median of the readings before, between and after its samples. A * marks a form the library chose.\n"
    "\n"
    "Exit status: 0, or 1 if a case failed or was wrong, or 2 for a mistake in the options.\n";

/* ------------------------------------------------------------------------------------------------------ options -- */

static bool add_type(options *o, const char *word) {
    for (int i = 0; i < weight_type_count; i++) {
        if (strcmp(word, weight_types[i].name) != 0) continue;
        o->types[o->type_count++] = &weight_types[i];
        return true;
    }
    return false;
}

static bool add_form(options *o, const char *word) {
    for (int32_t form = SPARAMX_FORM_AUTO; form <= SPARAMX_FORM_SPARSE; form++) {
        if (strcmp(word, form_name(form)) != 0) continue;
        o->forms[o->form_count++] = form;
        return true;
    }
    return false;
}

static bool add_sparsity(options *o, const char *word) {
    char *end;
    double percent = strtod(word, &end);
    if (end == word || *end || !(percent >= 0 && percent <= 100)) return false;
    o->sparsities[o->sparsity_count++] = percent / 100;
    return true;
}

/* A whole number from 1 to most, which ends at the given character. */
static bool read_count(const char **word, char stop, long most, int64_t *out) {
    char *end;
    long value = strtol(*word, &end, 10);
    if (end == *word || *end != stop || value < 1 || value > most) return false;
    *word = end + 1;
    *out = value;
    return true;
}

static bool add_m(options *o, const char *word) { return read_count(&word, '\0', 65536, &o->m[o->m_count++]); }

static bool add_shape(options *o, const char *word) {
    shape *s = &o->shapes[o->shape_count++];
    return read_count(&word, 'x', 1l << 24, &s->n) && read_count(&word, '\0', 1l << 24, &s->k);
}

/* A list replaces the default, and a list given before. */
static bool read_list(options *o, const char *text, int *count, bool (*add)(options *, const char *)) {
    char copy[512];
    *count = 0;
    if (strlen(text) >= sizeof copy) return false;
    strcpy(copy, text);
    char *rest = NULL;
    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        if (*count == MAX_CHOICES || !add(o, word)) return false;
    }
    return *count > 0;
}

static bool read_int(const char *text, long most, int *out) {
    int64_t value;
    if (!read_count(&text, '\0', most, &value)) return false;
    *out = (int)value;
    return true;
}

static bool read_seconds(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && *out >= 0;
}

static void set_defaults(options *o) {
    bool sweep = o->mode == MODE_BREAK_EVEN;
    if (!o->type_count) read_list(o, "bf16,f16,q8_0", &o->type_count, add_type);
    if (sweep) read_list(o, "dense,sparse,auto", &o->form_count, add_form);
    if (!o->form_count) read_list(o, "dense,sparse", &o->form_count, add_form);
    if (sweep) read_list(o, "0,5,10,15,20,25,30,35,40,45,50", &o->sparsity_count, add_sparsity);
    if (!o->sparsity_count) read_list(o, "0,50,70", &o->sparsity_count, add_sparsity);
    if (!o->m_count) read_list(o, sweep ? "1" : "1,4,16,32,512", &o->m_count, add_m);
    const char *shapes = sweep ? "4096x4096" : "4096x4096,14336x4096,4096x14336";
    if (!o->shape_count) read_list(o, shapes, &o->shape_count, add_shape);
}

enum { OPT_TYPE = 1, OPT_FORM, OPT_SPARSITY, OPT_M, OPT_SHAPE, OPT_THREADS, OPT_KERNEL, OPT_REPEAT, OPT_SECONDS,
       OPT_JSON, OPT_LIST, OPT_PACK, OPT_BREAK_EVEN, OPT_MARKDOWN, OPT_HELP };

static const struct option long_options[] = {
    {"type", required_argument, NULL, OPT_TYPE},         {"form", required_argument, NULL, OPT_FORM},
    {"sparsity", required_argument, NULL, OPT_SPARSITY}, {"m", required_argument, NULL, OPT_M},
    {"shape", required_argument, NULL, OPT_SHAPE},       {"threads", required_argument, NULL, OPT_THREADS},
    {"kernel", required_argument, NULL, OPT_KERNEL},     {"repeat", required_argument, NULL, OPT_REPEAT},
    {"seconds", required_argument, NULL, OPT_SECONDS},   {"json", required_argument, NULL, OPT_JSON},
    {"list", no_argument, NULL, OPT_LIST},               {"pack", no_argument, NULL, OPT_PACK},
    {"break-even", no_argument, NULL, OPT_BREAK_EVEN},   {"markdown", no_argument, NULL, OPT_MARKDOWN},
    {"help", no_argument, NULL, OPT_HELP},               {NULL, 0, NULL, 0},
};

static bool read_option(options *o, int option) {
    switch (option) {
    case OPT_TYPE: return read_list(o, optarg, &o->type_count, add_type);
    case OPT_FORM: return read_list(o, optarg, &o->form_count, add_form);
    case OPT_SPARSITY: return read_list(o, optarg, &o->sparsity_count, add_sparsity);
    case OPT_M: return read_list(o, optarg, &o->m_count, add_m);
    case OPT_SHAPE: return read_list(o, optarg, &o->shape_count, add_shape);
    case OPT_THREADS: return read_int(optarg, 1024, &o->threads);
    case OPT_KERNEL: return o->kernel = optarg, true;
    case OPT_REPEAT: return read_int(optarg, 10000, &o->repeat);
    case OPT_SECONDS: return read_seconds(optarg, &o->seconds);
    case OPT_JSON: return o->json = optarg, true;
    case OPT_LIST: return o->mode = MODE_LIST, true;
    case OPT_PACK: return o->mode = MODE_PACK, true;
    case OPT_BREAK_EVEN: return o->mode = MODE_BREAK_EVEN, true;
    case OPT_MARKDOWN: return o->markdown = true;
    case OPT_HELP: return o->help = true;
    default: return false; /* getopt has said what is wrong */
    }
}

static bool read_options(int argc, char **argv, options *o) {
    *o = (options){.repeat = 7, .seconds = 30};
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (read_option(o, option)) continue;
        if (option != '?') {
            fprintf(stderr, "sparamx-bench: --%s does not take '%s'\n", long_options[option - 1].name, optarg);
        }
        return false;
    }
    if (optind < argc) {
        fprintf(stderr, "sparamx-bench: '%s' is no option\n", argv[optind]);
        return false;
    }
    if (o->json && o->mode == MODE_LIST) {
        fputs("sparamx-bench: --list measures nothing, so --json has nothing to write\n", stderr);
        return false;
    }
    set_defaults(o);
    for (int t = 0; t < o->type_count; t++) {
        for (int s = 0; s < o->shape_count; s++) {
            if (o->shapes[s].k % o->types[t]->block == 0) continue;
            fprintf(stderr, "sparamx-bench: K of %s must be a multiple of %d\n", o->types[t]->name,
                    (int)o->types[t]->block);
            return false;
        }
    }
    return true;
}

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
    memcpy(g->forms, o->forms, sizeof g->forms);
    memcpy(g->m, o->m, sizeof g->m);
    g->form_count = o->form_count;
    g->m_count = o->m_count;
    g->kernel = o->kernel;
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
    int count = group_run(&r->machine, g, rows);
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

/* The first share of zeros where sparse is faster, set so that as few points as possible lie on the wrong side of it:
 * one noisy point far above or below must not move it. */
static int find_first(const double *speed_up, int count) {
    int best = count, least = count + 1;
    for (int first = count; first >= 0; first--) {
        int wrong = 0;
        for (int i = 0; i < count; i++) wrong += (speed_up[i] >= 1) != (i >= first);
        if (wrong >= least) continue;
        least = wrong;
        best = first;
    }
    return best;
}

/* Between two measured shares of zeros in proportion; NAN if sparse is not faster anywhere. */
static double find_break_even(const double *sparsity, const double *speed_up, int count) {
    int first = find_first(speed_up, count);
    if (first == count) return NAN;
    if (first == 0 || !(speed_up[first - 1] < 1)) return sparsity[first];
    double part = (1 - speed_up[first - 1]) / (speed_up[first] - speed_up[first - 1]);
    return sparsity[first - 1] + part * (sparsity[first] - sparsity[first - 1]);
}

static void conclude(run *r, const weight_type *type, shape s, const double *speed_up) {
    const options *o = r->options;
    for (int i = 0; i < o->m_count; i++) {
        break_even *b = &r->results.breaks[r->results.break_count++];
        double from = find_break_even(o->sparsities, speed_up + i * MAX_CHOICES, o->sparsity_count);
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
    if (level <= SPARAMX_LOG_WARNING) fprintf(stderr, "libsparamx: %s\n", message);
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
            fprintf(stderr, "sparamx-bench: '%s' could not be written\n", o->json);
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

int main(int argc, char **argv) {
    options o;
    if (!read_options(argc, argv, &o)) {
        fputs("Try --help.\n", stderr);
        return 2;
    }
    if (o.help) return fputs(help_text, stdout) < 0;
    sparamx_set_log(print_log, NULL);
    if (o.mode == MODE_LIST) return report_kernels(o.markdown), 0;
    FILE *json = o.json ? fopen(o.json, "w") : NULL; /* now, not after minutes of measuring */
    if (o.json && !json) {
        fprintf(stderr, "sparamx-bench: '%s' cannot be opened for writing\n", o.json);
        return 2;
    }
    int status = measure(&o, json);
    if (json && fclose(json) != 0) status = 1;
    return status;
}
