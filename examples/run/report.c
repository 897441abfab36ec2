#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/measure.h"
#include "../common/quiet.h"
#include "../common/text.h"

static const double MEGA = 1e6;
static const double SHORTEST_MS = 0.05; /* below, waking the threads decides */

const char *isa_name(int32_t isa) {
    switch (isa) {
    case SPARAMX_ISA_REFERENCE:
        return "reference";
    case SPARAMX_ISA_AVX512:
        return "avx512";
    case SPARAMX_ISA_AMX:
        return "amx";
    default:
        return "unknown";
    }
}

const char *form_name(int32_t form) {
    switch (form) {
    case SPARAMX_FORM_AUTO:
        return "auto";
    case SPARAMX_FORM_DENSE:
        return "dense";
    case SPARAMX_FORM_SPARSE:
        return "sparse";
    case SPARAMX_FORM_RAW:
        return "raw";
    case SPARAMX_FORM_CODED:
        return "coded";
    case SPARAMX_FORM_CODED_SPARSE:
        return "coded-sparse";
    case SPARAMX_FORM_AUTO_CODED:
        return "auto-coded";
    default:
        return "unknown";
    }
}

static double typical_spread(const model *m) {
    double *spreads = malloc(((size_t)m->n_weights + 1) * sizeof *spreads), middle = 0;
    int n = 0;
    for (int i = 0; spreads != NULL && i < m->n_weights; i++)
        if (m->weights[i].at[0].repeats >= 4) spreads[n++] = m->weights[i].at[0].spread;
    if (n > 0) middle = median(spreads, n);
    free(spreads);
    return middle;
}

totals add_totals(const model *m, const options *o) {
    totals t = {.parameters = 0};
    for (int i = 0; i < m->n_weights; i++) {
        const weight *w = &m->weights[i];
        t.parameters += (double)w->matrix.n * (double)w->matrix.k * (double)w->experts;
        t.file_bytes += (double)w->source->nbytes;
        t.dense_bytes += (double)w->dense_bytes;
        t.packed_bytes += (double)w->packed_bytes;
        t.failures += w->ok ? 0 : 1;
        t.nonfinite += w->nonfinite ? 1 : 0;
        for (int j = 0; j < o->n_m; j++) {
            t.dense_ms[j] += w->at[j].dense_ms;
            t.packed_ms[j] += w->at[j].packed_ms;
            t.plain_ms[j] += w->at[j].plain_ms;
        }
    }
    t.spread = typical_spread(m);
    return t;
}

bool report_disturbed(const totals *t, const setting *s) {
    return s->others > quiet_most_others || t->spread > quiet_most_spread;
}

/* -- above the table ----------------------------------------------------------------------------------------------- */

static void print_capability(const sparamx_capability *c) {
    printf("Machine:  %s, %d CPU%s, instruction set level in use: %s", c->cpu, c->cpus, c->cpus == 1 ? "" : "s",
           isa_name(c->isa));
    if (c->avx512 != SPARAMX_OK) printf("; no AVX-512: %s", c->avx512_reason);
    if (c->amx != SPARAMX_OK) printf("; no AMX: %s", c->amx_reason);
    printf("\n");
}

void report_title(const model *m, const setting *s) {
    printf("Model:    %s (%s), %llu tensors, %.1f MB\n", m->name, m->architecture,
           (unsigned long long)gguf_n_tensors(m->file), (double)gguf_file_size(m->file) / MEGA);
    char library[4096];
    if (m->parts > 1) printf("          in %llu files\n", (unsigned long long)m->parts);
    if (s->library != NULL) {
        printf("Library:  libsparamx %s, %s\n", s->version, text_printable(s->library, library, sizeof library));
        print_capability(&s->capability);
    } else {
        printf("Library:  none, plain C only (--amx uses libsparamx)\n");
    }
    fflush(stdout);
}

static int name_width(const model *m) {
    size_t width = strlen("tensor");
    for (int i = 0; i < m->n_weights; i++) {
        size_t n = strlen(m->weights[i].source->name);
        width = n > width ? n : width;
    }
    return (int)width;
}

/* Two lines: the numbers of tokens above their columns. */
static void print_head(const model *m, const options *o, bool amx) {
    printf("%-*s  %-6s %13s %6s", name_width(m), "", "", "", "");
    if (amx) printf("  %-6s %-5s %7s %8s", "", "", "bits/", "");
    else printf(" %7s", "bits/");
    for (int j = 0; j < o->n_m; j++) {
        char head[32];
        snprintf(head, sizeof head, "M=%lld", (long long)o->m[j]);
        if (amx) printf(" | %-26s", head);
        else printf(" %10s", head);
    }
    printf("\n%-*s  %-6s %13s %6s", name_width(m), "tensor", "type", "N x K", "zeros");
    if (amx) printf("  %-6s %-5s %7s %8s", "form", "note", "weight", "error");
    else printf(" %7s", "weight");
    for (int j = 0; j < o->n_m; j++) {
        if (amx) printf(" | %8s %8s %8s", "dense", "packed", "speed-up");
        else printf(" %10s", "ms");
    }
    printf("\n");
}

void report_rows_begin(const model *m, const setting *s) {
    const options *o = s->options;
    bool amx = s->library != NULL;
    if (amx) printf("Packing:  %d matrices in %.2f s, form %s\n", m->n_weights, s->upload_ms / 1e3, form_name(o->form));
    printf("Measured: %d thread%s, milliseconds per product, caches emptied before each (%.0f MB read)\n", o->threads,
           o->threads == 1 ? "" : "s", (double)s->evicted / MEGA);
    if (s->m_note != NULL) printf("          %s\n", s->m_note);
    printf("\n");

    print_head(m, o, amx);
    fflush(stdout);
}

/* -- notes: each distinct explanation once ------------------------------------------------------------------------- */

/* All kernels of a weight in one line. */
static void kernel_line(const weight *w, const options *o, char *out, size_t size) {
    size_t used = 0;
    out[0] = 0;
    for (int j = 0; j < o->n_m && used < size; j++) {
        int n = snprintf(out + used, size - used, "%sM=%lld %s", j > 0 ? ", " : "", (long long)w->at[j].m,
                         w->at[j].kernel);
        used += n > 0 ? (size_t)n : 0;
    }
}

static bool same_kernels(const weight *a, const weight *b, const options *o) {
    for (int j = 0; j < o->n_m; j++)
        if (strcmp(a->at[j].kernel, b->at[j].kernel) != 0) return false;
    return true;
}

/* Numbers the explanations in order of first appearance: from 1 for reasons, from 0 for lists of kernels. */
static void number_notes(model *m, int index, const options *o) {
    weight *w = &m->weights[index];
    int reasons = 0, kernels = -1;
    w->reason_note = w->kernels_note = -1;
    for (int i = 0; i < index; i++) {
        const weight *before = &m->weights[i];
        reasons = before->reason_note > reasons ? before->reason_note : reasons;
        kernels = before->kernels_note > kernels ? before->kernels_note : kernels;
        if (w->reason_note < 0 && strcmp(before->reason, w->reason) == 0) w->reason_note = before->reason_note;
        if (w->kernels_note < 0 && same_kernels(before, w, o)) w->kernels_note = before->kernels_note;
    }
    if (w->reason_note < 0) w->reason_note = reasons + 1;
    if (w->kernels_note < 0) w->kernels_note = kernels + 1;
}

static char letter(int number) { return (char)(number < 26 ? 'a' + number : '+'); }

static void print_notes(const model *m, const options *o) {
    int shown = 0;
    printf("\nWhy this form (number in 'note'):\n");
    for (int i = 0; i < m->n_weights; i++) {
        if (m->weights[i].reason_note <= shown) continue;
        shown = m->weights[i].reason_note;
        printf("  %d  %s\n", shown, m->weights[i].reason);
    }
    printf("Kernels (letter in 'note'):\n");
    shown = -1;
    for (int i = 0; i < m->n_weights; i++) {
        char line[512];
        if (m->weights[i].kernels_note <= shown) continue;
        shown = m->weights[i].kernels_note;
        kernel_line(&m->weights[i], o, line, sizeof line);
        printf("  %c  %s\n", letter(shown), line);
    }
}

/* -- rows ---------------------------------------------------------------------------------------------------------- */

static int decimals(double ms) { return ms < 10 ? 3 : ms < 100 ? 2 : 1; }

/* A quotient of two times is shown only if it would come out about the same again. */
static bool is_repeatable(const timing *at) {
    double shorter = at->dense_ms < at->packed_ms ? at->dense_ms : at->packed_ms;
    return shorter >= SHORTEST_MS && at->spread <= quiet_most_spread;
}

static void print_packed_columns(const weight *w, const options *o) {
    char note[16];
    double error = 0;
    for (int j = 0; j < o->n_m; j++) error = w->at[j].error > error ? w->at[j].error : error;
    snprintf(note, sizeof note, "%d%c", w->reason_note, letter(w->kernels_note));
    printf("  %-6s %-5s %7.2f %8.1e", form_name(w->form), note, w->bits_per_weight, error);
    for (int j = 0; j < o->n_m; j++) {
        const timing *at = &w->at[j];
        printf(" | %8.*f %8.*f ", decimals(at->dense_ms), at->dense_ms, decimals(at->packed_ms), at->packed_ms);
        if (is_repeatable(at)) printf("%7.2fx", at->dense_ms / at->packed_ms);
        else printf("%8s", "-");
    }
    if (w->nonfinite) printf("  NOT CHECKED: NaN or infinite weights");
    if (!w->readback_ok) printf("  WRONG: reads back other bytes");
    for (int j = 0; j < o->n_m; j++)
        if (w->at[j].wrong > 0)
            printf("  WRONG: %lld outputs at M=%lld", (long long)w->at[j].wrong, (long long)o->m[j]);
    if (error > w->tolerance) printf("  WRONG: error above %g", w->tolerance);
}

void report_row(model *m, int index, const setting *s) {
    const weight *w = &m->weights[index];
    char shape[48];
    if (s->library != NULL) number_notes(m, index, s->options);
    int used = w->experts > 1 ? snprintf(shape, sizeof shape, "%lldx", (long long)w->experts) : 0;
    snprintf(shape + used, sizeof shape - (size_t)used, "%lldx%lld", (long long)w->matrix.n, (long long)w->matrix.k);
    printf("%-*s  %-6s %13s %5.1f%%", name_width(m), w->source->name, gguf_type_name(w->source->type), shape,
           100 * w->zeros);
    if (s->library != NULL) {
        print_packed_columns(w, s->options);
    } else {
        printf(" %7.2f", w->bits_per_weight);
        for (int j = 0; j < s->options->n_m; j++) printf(" %10.3f", w->at[j].plain_ms);
    }
    printf("\n");
    fflush(stdout);
}

/* -- below the table ----------------------------------------------------------------------------------------------- */

static void print_skipped(const model *m) {
    if (m->n_skipped == 0) return;
    printf("\nSkipped:\n");
    for (int i = 0; i < m->n_skipped; i++) {
        bool seen = false;
        int count = 0;
        for (int j = 0; j < i && !seen; j++) seen = strcmp(m->skipped[j].reason, m->skipped[i].reason) == 0;
        if (seen) continue;
        for (int j = i; j < m->n_skipped; j++) count += strcmp(m->skipped[j].reason, m->skipped[i].reason) == 0;
        printf("  %d tensor%s (%s%s): %s\n", count, count == 1 ? "" : "s", m->skipped[i].source->name,
               count > 1 ? ", ..." : "", m->skipped[i].reason);
    }
}

static void print_rate(const char *what, double ms, int64_t m) {
    printf("    %-7s %10.3f ms = %10.1f tokens/s\n", what, ms, (double)m * 1e3 / ms);
}

static void print_speed(const totals *t, const setting *s, bool experts, int j) {
    int64_t m = s->options->m[j];
    if (m == 1) {
        printf("  M=1, reading all these weights%s once for each generated token:\n",
               experts ? " (of experts those chosen)" : "");
    } else {
        printf("  M=%lld, that many prompt tokens at a time:\n", (long long)m);
    }
    if (s->library == NULL) {
        print_rate("plain C", t->plain_ms[j], m);
        return;
    }
    print_rate("dense", t->dense_ms[j], m);
    print_rate("packed", t->packed_ms[j], m);
    printf("    speed-up %9.2fx\n", t->dense_ms[j] / t->packed_ms[j]);
}

static void print_disturbance(const totals *t, const setting *s) {
    if (!report_disturbed(t, s)) return;
    printf("  DISTURBED: while this was measured other programs used %.2f CPUs, and repeated products differed by "
           "%.0f%%: measure again on a quiet machine.\n", s->others, 100 * t->spread);
}

static void print_negative_zeros(const model *m) {
    int64_t negative = 0;
    for (int i = 0; i < m->n_weights; i++) negative += m->weights[i].negative_zeros;
    if (negative == 0) return;
    printf("  %lld weights are -0, which the library keeps as values: examples/prune/prune.py MODEL.gguf CLEAN.gguf "
           "--share 0 --include . turns them into zeros and changes nothing else.\n", (long long)negative);
}

void report_end(const model *m, const setting *s) {
    totals t = add_totals(m, s->options);
    if (s->library != NULL) print_notes(m, s->options);
    print_skipped(m);
    printf("\nTimes are medians of repeated products, with the weights read from memory each time. Below they are "
           "added up over the matrices: what one pass through the model takes in products.%s\n",
           s->library != NULL ? " '-': too short, or too uneven, for a speed-up of its own." : "");
    printf("\nTotal of %d matrices, %.1f million weights (products only: attention and sampling come on top)\n",
           m->n_weights, t.parameters / MEGA);
    printf("  in the file %.1f MB", t.file_bytes / MEGA);
    if (s->library != NULL)
        printf(", as dense tiles %.1f MB, as packed %.1f MB = %.3f of the dense tiles; resident %.1f MB",
               t.dense_bytes / MEGA, t.packed_bytes / MEGA, t.packed_bytes / t.dense_bytes, (double)s->resident / MEGA);
    printf("\n");
    for (int j = 0; j < s->options->n_m; j++) print_speed(&t, s, model_max_used(m) > 1, j);
    print_disturbance(&t, s);
    print_negative_zeros(m);
    if (s->library == NULL) return;
    if (t.nonfinite > 0)
        printf("  NOT CHECKED: %d of %d matrices hold NaN or infinite weights, so their results are NaN or infinite "
               "too: this model is damaged.\n", t.nonfinite, m->n_weights);
    if (t.failures == 0 && t.nonfinite > 0) {
        printf("  The results of the others are within the tolerance, and every tensor reads back as in the file.\n");
    } else if (t.failures == 0) {
        printf("  All results are within the tolerance and every tensor reads back as in the file.\n");
    } else {
        printf("  WRONG: %d of %d matrices failed, see the table.\n", t.failures, m->n_weights);
    }
}
