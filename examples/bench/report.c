#define _GNU_SOURCE
#include "report.h"
#include "table.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

/* ----------------------------------------------------------------------------------------------------- progress -- */

static bool progress_shown;

void report_progress(const char *format, ...) {
    if (!isatty(STDERR_FILENO)) return;
    va_list args;
    va_start(args, format);
    fputs("\r\033[K", stderr);
    vfprintf(stderr, format, args);
    fflush(stderr);
    va_end(args);
    progress_shown = true;
}

void report_progress_clear(void) {
    if (!progress_shown) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress_shown = false;
}

/* ------------------------------------------------------------------------------------------------------- tables -- */

#define COUNT(columns) ((int)(sizeof(columns) / sizeof *(columns)))

static void print_problem(const char *problem, bool markdown) {
    if (problem[0]) printf(markdown ? "| problem: %s |\n" : "      problem: %s\n", problem);
}

/* -------------------------------------------------------------------------------------------------------- cases -- */

static const table_column row_columns[] = {
    {"type", -6}, {"form", -7}, {"zeros", 5}, {"M", 4},    {"N", 6},      {"K", 6},   {"kernel", -26},
    {"ms", 8},    {"GB/s", 6},  {"read", 5},  {"TFLOPS", 7}, {"AMX", 5}, {"AVX", 5},
};

void report_rows_head(bool markdown) { table_head(row_columns, COUNT(row_columns), markdown); }

void report_rows(const bench_row *rows, int count, bool markdown) {
    report_progress_clear();
    for (const bench_row *r = rows; r < rows + count; r++) {
        table_line l = {.count = 0};
        table_cell(&l, "%s", r->type->name);
        table_cell(&l, "%s%s", form_name(r->form), r->requested == SPARAMX_FORM_AUTO ? "*" : "");
        table_cell(&l, "%g%%", r->sparsity * 100);
        table_cell(&l, "%" PRId64, r->m);
        table_cell(&l, "%" PRId64, r->n);
        table_cell(&l, "%" PRId64, r->k);
        table_cell(&l, "%s", r->kernel);
        table_number(&l, r->ms, r->ms < 100 ? 3 : 1);
        table_number(&l, row_gbps(r), 1);
        table_percent(&l, row_read_fraction(r));
        table_number(&l, row_tflops(r), 3);
        table_percent(&l, row_fraction_of(r, CEILING_AMX_BF16_TFLOPS));
        table_percent(&l, row_fraction_of(r, CEILING_AVX512_BF16_TFLOPS));
        table_line_end(row_columns, &l, markdown);
        print_problem(r->problem, markdown);
    }
}

/* ------------------------------------------------------------------------------------------------------ packing -- */

static const table_column pack_columns[] = {
    {"type", -6}, {"form", -7},        {"zeros", 5}, {"N", 6},    {"K", 6},
    {"ms", 9},    {"source GB/s", 11}, {"read", 5},  {"size", 5},
};

void report_packs_head(bool markdown) { table_head(pack_columns, COUNT(pack_columns), markdown); }

void report_packs(const pack_row *rows, int count, bool markdown) {
    report_progress_clear();
    for (const pack_row *r = rows; r < rows + count; r++) {
        table_line l = {.count = 0};
        table_cell(&l, "%s", r->type->name);
        table_cell(&l, "%s%s", form_name(r->form), r->requested == SPARAMX_FORM_AUTO ? "*" : "");
        table_cell(&l, "%g%%", r->sparsity * 100);
        table_cell(&l, "%" PRId64, r->n);
        table_cell(&l, "%" PRId64, r->k);
        table_number(&l, r->ms, 2);
        table_number(&l, pack_gbps(r), 2);
        table_percent(&l, pack_gbps(r) / r->read_gbps);
        table_percent(&l, (double)r->packed_bytes / (double)r->source_bytes);
        table_line_end(pack_columns, &l, markdown);
        print_problem(r->problem, markdown);
    }
}

/* --------------------------------------------------------------------------------------------------- break-even -- */

static const table_column sweep_columns[] = {
    {"type", -6},     {"zeros", 5},      {"M", 4},           {"N", 6},       {"K", 6},
    {"dense ms", 9},  {"sparse ms", 9},  {"speed-up", 8},    {"auto is", -7}, {"auto ms", 8},
};

void report_sweep_head(bool markdown) { table_head(sweep_columns, COUNT(sweep_columns), markdown); }

void report_sweep(const bench_row *dense, const bench_row *sparse, const bench_row *chosen, bool markdown) {
    report_progress_clear();
    table_line l = {.count = 0};
    table_cell(&l, "%s", dense->type->name);
    table_cell(&l, "%g%%", dense->sparsity * 100);
    table_cell(&l, "%" PRId64, dense->m);
    table_cell(&l, "%" PRId64, dense->n);
    table_cell(&l, "%" PRId64, dense->k);
    table_number(&l, dense->ms, 3);
    table_number(&l, sparse->ms, 3);
    table_number(&l, dense->ms / sparse->ms, 2);
    table_cell(&l, "%s", form_name(chosen->form));
    table_number(&l, chosen->ms, 3);
    table_line_end(sweep_columns, &l, markdown);
    print_problem(dense->problem, markdown);
    print_problem(sparse->problem, markdown);
    print_problem(chosen->problem, markdown);
}

void report_break_even(const break_even *b, bool markdown) {
    char text[96];
    if (isnan(b->sparsity)) snprintf(text, sizeof text, "not faster anywhere in this range");
    else snprintf(text, sizeof text, "faster from %.0f%% zeros on", b->sparsity * 100);
    printf(markdown ? "\n%s, %" PRId64 "x%" PRId64 ", M=%" PRId64 ": sparse is %s.\n"
                    : "%s %" PRId64 "x%" PRId64 " M=%" PRId64 ": sparse is %s\n",
           b->type->name, b->n, b->k, b->m, text);
    fflush(stdout);
}

/* ------------------------------------------------------------------------------------------------------ kernels -- */

static const table_column kernel_columns[] = {
    {"kernel", -30}, {"type", -6}, {"form", -6}, {"instructions", -12}, {"M from", 6},
    {"M to", 6},     {"result", -11}, {"usable here", -11},
};

static void print_kernel(const sparamx_kernel_info *k, bool markdown) {
    table_line l = {.count = 0};
    table_cell(&l, "%s", k->name);
    table_cell(&l, "%s", weight_type_name(k->type));
    table_cell(&l, "%s", form_name(k->form));
    table_cell(&l, "%s", machine_isa_name(k->isa));
    table_cell(&l, "%" PRId64, k->m_min);
    if (k->m_max >= INT32_MAX) table_cell(&l, "any");
    else table_cell(&l, "%" PRId64, k->m_max);
    table_cell(&l, "%s", k->exact ? "exact" : "in bounds");
    if (k->usable == SPARAMX_OK) table_cell(&l, "yes");
    else table_cell(&l, "no (%d)", (int)k->usable);
    table_line_end(kernel_columns, &l, markdown);
}

void report_kernels(bool markdown) {
    sparamx_status reasons[16];
    int reason_count = 0;
    table_head(kernel_columns, COUNT(kernel_columns), markdown);
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info k = {.size = sizeof k};
        if (sparamx_kernel_get(i, &k) != SPARAMX_OK) continue;
        print_kernel(&k, markdown);
        int known = 0;
        while (known < reason_count && reasons[known] != k.usable) known++;
        if (known == reason_count && k.usable != SPARAMX_OK && known < COUNT(reasons)) {
            reasons[reason_count++] = k.usable;
        }
    }
    if (reason_count > 0) putchar('\n');
    for (int i = 0; i < reason_count; i++) {
        printf("%s(%d) %s\n", markdown ? "- " : "", (int)reasons[i], sparamx_status_string(reasons[i]));
    }
}

/* ------------------------------------------------------------------------------------------------------ machine -- */

void report_machine(const machine *m) {
    const sparamx_capability *c = &m->capability;
    printf("%s, %d thread%s, instructions: %s, last-level cache: %.0f MB\n", c->cpu, m->threads,
           m->threads == 1 ? "" : "s", machine_isa_name(c->isa), (double)m->llc_bytes / 1048576);
    if (c->avx512 != SPARAMX_OK) printf("No AVX-512: %s\n", c->avx512_reason);
    if (c->amx != SPARAMX_OK) printf("No AMX: %s\n", c->amx_reason);
}

void report_ceilings(const machine *m) {
    static const char *const names[] = {NULL, "AMX bf16", "AMX int8", "AVX-512 bf16", "AVX-512 f32"};
    ceilings c = machine_ceilings(m, 0);
    printf("Ceilings (median of %d): read %.1f GB/s (best %.1f)", m->readings, c.value[CEILING_READ_GBPS],
           m->read_best);
    for (int i = CEILING_AMX_BF16_TFLOPS; i < CEILING_COUNT; i++) {
        if (isnan(c.value[i])) printf(", %s -", names[i]);
        else printf(", %s %.2f", names[i], c.value[i]);
    }
    puts(" Tops/s");
    fflush(stdout);
}

/* --------------------------------------------------------------------------------------------------------- JSON -- */

static void json_string(FILE *f, const char *text) {
    putc('"', f);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20) fprintf(f, "\\u%04x", *p);
        else fprintf(f, "%s%c", *p == '"' || *p == '\\' ? "\\" : "", *p);
    }
    putc('"', f);
}

static void json_text(FILE *f, const char *key, const char *text) {
    fprintf(f, "\"%s\": ", key);
    json_string(f, text);
    fputs(", ", f);
}

/* No comma after it: the caller knows whether more follows. */
static void json_number(FILE *f, const char *key, double value) {
    if (isfinite(value)) fprintf(f, "\"%s\": %.12g", key, value);
    else fprintf(f, "\"%s\": null", key);
}

static void json_numbers(FILE *f, const char *const *keys, const double *values, int count) {
    for (int i = 0; i < count; i++) {
        json_number(f, keys[i], values[i]);
        if (i < count - 1) fputs(", ", f);
    }
}

static void json_machine(FILE *f, const machine *m) {
    ceilings c = machine_ceilings(m, 0);
    const double *v = c.value;
    fputs("{\"machine\": {", f);
    json_text(f, "cpu", m->capability.cpu);
    json_text(f, "isa", machine_isa_name(m->capability.isa));
    fprintf(f, "\"threads\": %d, \"llc_bytes\": %zu, ", m->threads, m->llc_bytes);
    static const char *const keys[] = {"read_gbps",         "amx_bf16_tflops", "amx_int8_tops", "avx512_bf16_tflops",
                                       "avx512_f32_tflops", "read_gbps_best",  "readings"};
    json_numbers(f, keys, (const double[]){v[0], v[1], v[2], v[3], v[4], m->read_best, m->readings}, COUNT(keys));
    fprintf(f, ", \"cpus\": %d, \"numa_nodes\": %d, ", (int)m->capability.cpus, (int)m->capability.numa_nodes);
    json_text(f, "amx_reason", m->capability.amx_reason);
    json_text(f, "version", sparamx_version());
    fputs("\"cycle_bytes\": ", f);
    fprintf(f, "%zu},\n", machine_cycle_bytes(m));
}

static void json_row(FILE *f, const bench_row *r) {
    const double *near = r->near.value;
    bool good = !r->problem[0];
    fputs("  {", f);
    json_text(f, "kernel", r->kernel);
    json_text(f, "type", r->type->name);
    json_text(f, "form", form_name(r->form));
    json_number(f, "sparsity", r->sparsity);
    fprintf(f, ", \"M\": %" PRId64 ", \"N\": %" PRId64 ", \"K\": %" PRId64 ", \"threads\": %d, ", r->m, r->n, r->k,
            r->threads);
    if (r->experts) {
        fprintf(f, "\"experts\": %d, \"top_k\": %d, \"experts_read\": %d, ", r->experts, r->top_k, r->experts_read);
    }
    static const char *const keys[] = {
        "ms",          "gbps",         "read_fraction",   "tflops",    "amx_fraction", "avx512_fraction",
        "ms_best",     "sqrt_nmse",    "zeros",           "bits_per_weight", "packed_bytes", "read_gbps",
        "amx_bf16_tflops", "avx512_bf16_tflops", "copies", "rounds",
    };
    const double values[] = {
        r->ms, row_gbps(r), row_read_fraction(r), row_tflops(r), row_fraction_of(r, CEILING_AMX_BF16_TFLOPS),
        row_fraction_of(r, CEILING_AVX512_BF16_TFLOPS), r->ms_best, r->error, r->zeros, r->bits_per_weight,
        (double)r->packed_bytes, near[CEILING_READ_GBPS], near[CEILING_AMX_BF16_TFLOPS],
        near[CEILING_AVX512_BF16_TFLOPS], r->copies, r->rounds,
    };
    json_numbers(f, keys, values, COUNT(keys));
    fputs(", ", f);
    json_text(f, "requested", form_name(r->requested));
    fputs("\"problem\": ", f);
    if (good) fputs("null", f);
    else json_string(f, r->problem);
    putc('}', f);
}

static void json_pack(FILE *f, const pack_row *r) {
    fputs("  {", f);
    json_text(f, "type", r->type->name);
    json_text(f, "form", form_name(r->form));
    json_text(f, "requested", form_name(r->requested));
    static const char *const keys[] = {"sparsity",    "N", "K", "threads", "ms", "source_gbps", "read_fraction",
                                       "read_gbps", "source_bytes", "packed_bytes", "rounds"};
    const double values[] = {r->sparsity, (double)r->n, (double)r->k, r->threads, r->ms, pack_gbps(r),
                             pack_gbps(r) / r->read_gbps, r->read_gbps, (double)r->source_bytes,
                             (double)r->packed_bytes, r->rounds};
    json_numbers(f, keys, values, COUNT(keys));
    putc('}', f);
}

static void json_break(FILE *f, const break_even *b) {
    fputs("  {", f);
    json_text(f, "type", b->type->name);
    static const char *const keys[] = {"M", "N", "K", "sparsity"};
    json_numbers(f, keys, (const double[]){(double)b->m, (double)b->n, (double)b->k, b->sparsity}, COUNT(keys));
    putc('}', f);
}

bool report_json(FILE *f, const machine *m, const results *r) {
    json_machine(f, m);
    fputs(" \"rows\": [", f);
    for (int i = 0; i < r->row_count; i++) {
        fputs(i ? ",\n" : "\n", f);
        json_row(f, &r->rows[i]);
    }
    fputs("],\n \"pack\": [", f);
    for (int i = 0; i < r->pack_count; i++) {
        fputs(i ? ",\n" : "\n", f);
        json_pack(f, &r->packs[i]);
    }
    fputs("],\n \"break_even\": [", f);
    for (int i = 0; i < r->break_count; i++) {
        fputs(i ? ",\n" : "\n", f);
        json_break(f, &r->breaks[i]);
    }
    fputs("]}\n", f);
    return fflush(f) == 0 && !ferror(f);
}
