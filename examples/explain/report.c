#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/text.h"

static const double MEGA = 1e6;
static const double NEGATIVE_ZEROS = 0.01; /* fewer are chance, not a mask that was multiplied */

const char *report_form(const judged *d) {
    if (!d->placed) return "host";
    switch (d->info.form) {
    case SPARAMX_FORM_DENSE: return "dense";
    case SPARAMX_FORM_SPARSE: return "sparse";
    case SPARAMX_FORM_CODED: return "coded";
    case SPARAMX_FORM_CODED_SPARSE: return "coded-sparse";
    default: return "raw";
    }
}

double report_bits(const judged *d) {
    const gguf_tensor *t = d->source;
    if (d->placed) return d->info.bits_per_weight;
    if (t->nbytes == 0) return NAN; /* no elements */
    return 8 * (double)t->nbytes / ((double)t->ne[0] * (double)t->ne[1] * (double)t->ne[2] * (double)t->ne[3]);
}

const char *report_isa(int32_t isa) {
    static const char *const names[] = {"reference", "avx512", "amx"};
    return isa >= SPARAMX_ISA_REFERENCE && isa <= SPARAMX_ISA_AMX ? names[isa] : "unknown";
}

/* -- notes: each distinct text once, in order of appearance -------------------------------------------------------- */

typedef struct notes {
    char (*texts)[512];
    int n, room;
} notes;

/* The note's number from 1 on; 0 if there is no memory for another. */
static int note(notes *all, const char *text) {
    for (int i = 0; i < all->n; i++)
        if (strcmp(all->texts[i], text) == 0) return i + 1;
    if (all->n == all->room) {
        void *more = realloc(all->texts, (size_t)(2 * all->room + 8) * sizeof *all->texts);
        if (more == NULL) return 0;
        all->texts = more;
        all->room = 2 * all->room + 8;
    }
    snprintf(all->texts[all->n], sizeof *all->texts, "%.511s", text);
    return ++all->n;
}

/* "1-4 avx512-q8_0-sparse-m1, 5 and more avx512-q8_0-sparse-gemm" */
static void kernel_line(const sparamx_tensor_info *info, char *out, size_t size) {
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; i < info->n_ranges && used < size; i++) {
        const sparamx_kernel_range *k = &info->ranges[i];
        char range[48];
        if (k->m_max >= INT32_MAX) snprintf(range, sizeof range, "%lld and more", (long long)k->m_min);
        else if (k->m_max == k->m_min) snprintf(range, sizeof range, "%lld", (long long)k->m_min);
        else snprintf(range, sizeof range, "%lld-%lld", (long long)k->m_min, (long long)k->m_max);
        int n = snprintf(out + used, size - used, "%s%s %s", i > 0 ? ", " : "", range, k->name);
        used += n > 0 ? (size_t)n : 0;
    }
}

/* -- the table ----------------------------------------------------------------------------------------------------- */

static int name_width(const judgement *j) {
    size_t width = strlen("tensor");
    for (int i = 0; i < j->n_tensors; i++) {
        size_t n = strlen(j->tensors[i].source->name);
        width = n > width ? n : width;
    }
    return (int)width;
}

static void shape_text(const gguf_tensor *t, char *out, size_t size) {
    size_t used = 0;
    out[0] = 0;
    for (uint32_t i = t->n_dims; i > 0 && used < size; i--) {
        int n = snprintf(out + used, size - used, "%lld%s", (long long)t->ne[i - 1], i > 1 ? "x" : "");
        used += n > 0 ? (size_t)n : 0;
    }
}

static void print_row(const judged *d, int width, notes *reasons, notes *kernels) {
    char shape[96], zeros[16] = "-", bits[16] = "-", marks[24], line[512];
    shape_text(d->source, shape, sizeof shape);
    if (isfinite(d->sparsity)) snprintf(zeros, sizeof zeros, "%.1f%%", 100 * d->sparsity);
    if (d->source->nbytes > 0) snprintf(bits, sizeof bits, "%.2f", report_bits(d));
    snprintf(marks, sizeof marks, "%d", note(reasons, d->reason));
    if (d->placed) {
        kernel_line(&d->info, line, sizeof line);
        int number = note(kernels, line);
        snprintf(marks, sizeof marks, "%d%c", note(reasons, d->reason), number < 27 ? 'a' + number - 1 : '+');
    }
    printf("%-*s  %-7s %14s %8s  %-6s %6s  %s\n", width, d->source->name, gguf_type_name(d->source->type), shape,
           zeros, report_form(d), bits, marks);
}

static void print_table(const judgement *j) {
    notes reasons = {0}, kernels = {0};
    int width = name_width(j);
    printf("\n%-*s  %-7s %14s %8s  %-6s %6s\n", width, "", "", "", "at back-", "", "bits/");
    printf("%-*s  %-7s %14s %8s  %-6s %6s  note\n", width, "tensor", "type", "N x K", "ground", "form", "weight");
    for (int i = 0; i < j->n_tensors; i++) print_row(&j->tensors[i], width, &reasons, &kernels);
    if (reasons.n > 0) printf("\nWhy this form (number in 'note'):\n");
    for (int i = 0; i < reasons.n; i++) printf("  %d  %s\n", i + 1, reasons.texts[i]);
    if (kernels.n > 0) printf("Kernels by number of tokens (letter in 'note'):\n");
    for (int i = 0; i < kernels.n; i++) printf("  %c  %s\n", i < 26 ? 'a' + i : '+', kernels.texts[i]);
    free(reasons.texts);
    free(kernels.texts);
}

static void print_size(const char *what, double before, double after) {
    printf("  %-26s %10.1f MB in the file, %10.1f MB with the library = %.3f\n", what, before / MEGA,
           after / MEGA, before > 0 ? after / before : 1);
}

/* -- the sentence -------------------------------------------------------------------------------------------------- */

/* "12% less", "70% more", "the same" */
static const char *change(double before, double after, const char *less, const char *more, char *out, size_t size) {
    double share = before > 0 ? after / before : 1;
    if (fabs(share - 1) < 0.005) snprintf(out, size, "%s", "as much as before");
    else snprintf(out, size, "%.0f%% %s", 100 * fabs(1 - share), share < 1 ? less : more);
    return out;
}

/* What the comparison is of: the same sentence, however large the gain. */
static void speed_part(double gain, char *out, size_t size) {
    if (gain > 1.005)
        snprintf(out, size, "so it should generate up to %.2f times as fast as from dense weights of the same types",
                 gain);
    else if (gain < 0.995)
        snprintf(out, size, "so it would generate more slowly than from dense weights of the same types (%.2f times as "
                 "fast): leave this model to the host", gain);
    else
        snprintf(out, size, "so it should generate as fast as from dense weights of the same types");
}

static void result_sentence(const judgement *j, const machine_facts *m, char *out, size_t size) {
    double before = (double)j->file_bytes / MEGA, after = (double)j->memory_bytes / MEGA;
    char memory[48], reads[48], speed[200];
    const char *caution = m->capability.isa == SPARAMX_ISA_REFERENCE
                              ? "; this machine has only the slow reference kernels"
                              : "";
    change(before, after, "less", "more", memory, sizeof memory);
    change(j->read_before, j->read_after, "fewer bytes", "more bytes", reads, sizeof reads);
    speed_part(judge_gain(j), speed, sizeof speed);
    snprintf(out, size,
             "With the library this model takes %.1f MB instead of %.1f MB (%s) and reads %s for each token, %s. Only "
             "bytes of weights are compared, as in the file and as packed; nothing was measured%s.",
             after, before, memory, reads, speed, caution);
}

void report_sentence(const judgement *j, const machine_facts *m, char *out, size_t size) {
    double negative = j->placed_weights > 0 ? j->negative_zeros / j->placed_weights : 0;
    if (j->n_tensors == 0) {
        snprintf(out, size, "The file holds no tensors: there is nothing here that the library could take.");
    } else if (j->placed == 0) {
        snprintf(out, size,
                 "The library takes none of the %d tensors of this file: the host keeps them all, and nothing changes.",
                 j->n_tensors);
    } else if (negative >= NEGATIVE_ZEROS) {
        result_sentence(j, m, out, size);
        size_t used = strlen(out);
        snprintf(out + used, size - used,
                 " %.0f%% of its weights are negative zeros, which the library keeps as values: "
                 "examples/prune/prune.py MODEL.gguf CLEAN.gguf --share 0 --include . turns them into zeros and "
                 "changes nothing else.", 100 * negative);
    } else if (j->sparse == 0 && fabs(judge_gain(j) - 1) < 0.005) {
        snprintf(out, size,
                 "The library takes %d of %d tensors, but none has enough zeros for the sparse form: memory and bytes "
                 "per token stay as they are (%.1f MB); prune the model to gain from it.",
                 j->placed, j->n_tensors, (double)j->memory_bytes / MEGA);
    } else {
        result_sentence(j, m, out, size);
    }
}

static void print_tied(const judgement *j) {
    for (int i = 0; i < j->n_tensors; i++)
        if (judge_host_copy(&j->tensors[i]) > 0)
            printf("  %s is the output matrix too: the copy that is multiplied is taken, %.1f MB stay with the host "
                   "for looking tokens up\n",
                   j->tensors[i].source->name, (double)judge_host_copy(&j->tensors[i]) / MEGA);
}

void report_text(const judgement *j, const machine_facts *m) {
    const sparamx_capability *c = &m->capability;
    char sentence[SENTENCE_SIZE], library[4096];
    printf("Model:    %s (%s), %d tensors, %.1f MB\n", j->name, j->architecture, j->n_tensors,
           (double)gguf_file_size(j->file) / MEGA);
    if (j->parts > 1) printf("          in %llu files\n", (unsigned long long)j->parts);
    printf("Library:  libsparamx %s, %s\n", m->version, text_printable(m->library, library, sizeof library));
    printf("Machine:  %s, instruction set level in use: %s", c->cpu, report_isa(c->isa));
    if (c->avx512 != SPARAMX_OK) printf("; no AVX-512: %s", c->avx512_reason);
    if (c->amx != SPARAMX_OK) printf("; no AMX: %s", c->amx_reason);
    printf("\n");
    print_table(j);
    printf("\nIn all: %d of %d tensors taken by the library, %d of them sparse\n", j->placed, j->n_tensors, j->sparse);
    print_size("all tensors", (double)j->file_bytes, (double)j->memory_bytes);
    print_size("read per generated token", j->read_before, j->read_after);
    print_tied(j);
    printf("  tokens per second if bytes of weights are all that counts: %.2f times as many\n", judge_gain(j));
    report_sentence(j, m, sentence, sizeof sentence);
    printf("\n%s\n", sentence);
}
