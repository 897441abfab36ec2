/* The results as JSON. Names were made printable ASCII when the file was read; sentences of the library are escaped. */
#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../common/text.h"

static void text(FILE *f, const char *s) {
    fputc('"', f);
    for (; *s != 0; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            fprintf(f, "\\%c", c);
        } else if (c < 0x20) {
            fprintf(f, "\\u%04x", c);
        } else {
            fputc(c, f);
        }
    }
    fputc('"', f);
}

static void text_field(FILE *f, const char *key, const char *value) {
    fprintf(f, "\"%s\": ", key);
    text(f, value);
}

/* JSON has no infinity: an error that large is null. */
static void number_field(FILE *f, const char *key, double value) {
    if (isfinite(value)) {
        fprintf(f, "\"%s\": %.9g", key, value);
    } else {
        fprintf(f, "\"%s\": null", key);
    }
}

static void separator(FILE *f) { fputs(", ", f); }

static void write_machine(FILE *f, const setting *s) {
    fprintf(f, "  \"machine\": {\"threads\": %d", s->options->threads);
    if (s->library != NULL) {
        const sparamx_capability *c = &s->capability;
        separator(f);
        text_field(f, "cpu", c->cpu);
        separator(f);
        text_field(f, "isa", isa_name(c->isa));
        separator(f);
        text_field(f, "avx512", c->avx512_reason);
        separator(f);
        text_field(f, "amx", c->amx_reason);
        separator(f);
        text_field(f, "library_version", s->version);
    }
    fputs("},\n", f);
}

static void write_timing(FILE *f, const timing *at, bool amx) {
    fprintf(f, "{\"M\": %lld, ", (long long)at->m);
    if (amx) {
        text_field(f, "kernel", at->kernel);
        separator(f);
        number_field(f, "dense_ms", at->dense_ms);
        separator(f);
        number_field(f, "packed_ms", at->packed_ms);
        separator(f);
        number_field(f, "error", at->error);
        fprintf(f, ", \"wrong\": %lld", (long long)at->wrong);
    } else {
        number_field(f, "plain_ms", at->plain_ms);
    }
    fputs("}", f);
}

static void write_row(FILE *f, const weight *w, const setting *s) {
    bool amx = s->library != NULL;
    fputs("    {", f);
    text_field(f, "tensor", w->source->name);
    separator(f);
    text_field(f, "type", gguf_type_name(w->source->type));
    fprintf(f, ", \"N\": %lld, \"K\": %lld, \"experts\": %lld, \"experts_used\": %lld, ", (long long)w->matrix.n,
            (long long)w->matrix.k, (long long)w->experts, (long long)w->used);
    number_field(f, "zeros", w->zeros);
    fprintf(f, ", \"negative_zeros\": %lld, ", (long long)w->negative_zeros);
    number_field(f, "bits_per_weight", w->bits_per_weight);
    fprintf(f, ", \"file_bytes\": %llu", (unsigned long long)w->source->nbytes);
    if (amx) {
        fprintf(f, ", \"dense_bytes\": %llu, \"packed_bytes\": %llu, ", (unsigned long long)w->dense_bytes,
                (unsigned long long)w->packed_bytes);
        text_field(f, "form", form_name(w->form));
        separator(f);
        text_field(f, "reason", w->reason);
        fprintf(f, ", \"readback_ok\": %s, \"ok\": %s", w->readback_ok ? "true" : "false", w->ok ? "true" : "false");
    }
    fputs(", \"products\": [", f);
    for (int j = 0; j < s->options->n_m; j++) {
        if (j > 0) separator(f);
        write_timing(f, &w->at[j], amx);
    }
    fputs("]}", f);
}

static void write_skipped(FILE *f, const model *m) {
    fputs("  \"skipped\": [\n", f);
    for (int i = 0; i < m->n_skipped; i++) {
        fputs("    {", f);
        text_field(f, "tensor", m->skipped[i].source->name);
        separator(f);
        text_field(f, "reason", m->skipped[i].reason);
        fputs(i + 1 < m->n_skipped ? "},\n" : "}\n", f);
    }
    fputs("  ],\n", f);
}

static void write_totals(FILE *f, const model *m, const setting *s) {
    totals t = add_totals(m, s->options);
    bool amx = s->library != NULL;
    fprintf(f, "  \"totals\": {\"matrices\": %d, \"weights\": %.0f, \"file_bytes\": %.0f", m->n_weights, t.parameters,
            t.file_bytes);
    if (amx) {
        fprintf(f, ", \"dense_bytes\": %.0f, \"packed_bytes\": %.0f, \"failures\": %d, ", t.dense_bytes, t.packed_bytes,
                t.failures);
        number_field(f, "packing_ms", s->upload_ms);
    }
    fprintf(f, ", \"nonfinite\": %d, \"disturbed\": %s, ", t.nonfinite, report_disturbed(&t, s) ? "true" : "false");
    number_field(f, "other_cpus", s->others);
    separator(f);
    number_field(f, "spread", t.spread);
    fputs(", \"products\": [", f);
    for (int j = 0; j < s->options->n_m; j++) {
        double m_tokens = (double)s->options->m[j] * 1e3;
        fprintf(f, "%s{\"M\": %lld, ", j > 0 ? ", " : "", (long long)s->options->m[j]);
        number_field(f, amx ? "dense_ms" : "plain_ms", amx ? t.dense_ms[j] : t.plain_ms[j]);
        separator(f);
        number_field(f, amx ? "dense_tokens_per_s" : "plain_tokens_per_s",
                     m_tokens / (amx ? t.dense_ms[j] : t.plain_ms[j]));
        if (amx) {
            separator(f);
            number_field(f, "packed_ms", t.packed_ms[j]);
            separator(f);
            number_field(f, "packed_tokens_per_s", m_tokens / t.packed_ms[j]);
        }
        fputs("}", f);
    }
    fputs("]}\n", f);
}

bool report_json(const model *m, const setting *s) {
    char shown[4096];
    const char *path = s->options->json;
    FILE *f = fopen(path, "w");
    if (f == NULL) {
        fprintf(stderr, "sparamx-run: %s cannot be written: %s\n", text_printable(path, shown, sizeof shown),
                strerror(errno));
        return false;
    }
    fputs("{\n  \"model\": {", f);
    text_field(f, "name", m->name);
    separator(f);
    text_field(f, "architecture", m->architecture);
    fputs("},\n", f);
    write_machine(f, s);
    fputs("  \"rows\": [\n", f);
    for (int i = 0; i < m->n_weights; i++) {
        write_row(f, &m->weights[i], s);
        fputs(i + 1 < m->n_weights ? ",\n" : "\n", f);
    }
    fputs("  ],\n", f);
    write_skipped(f, m);
    write_totals(f, m, s);
    fputs("}\n", f);
    bool failed = ferror(f) != 0;
    if (fclose(f) == 0 && !failed) return true;
    fprintf(stderr, "sparamx-run: %s could not be written completely\n", text_printable(path, shown, sizeof shown));
    return false;
}
