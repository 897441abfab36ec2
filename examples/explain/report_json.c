/* README.md beside this file says what each field means. */
#include <math.h>
#include <stdio.h>

#include "../common/json.h"
#include "report.h"

static void write_kernels(const sparamx_tensor_info *info) {
    fputs(", \"kernels\": [", stdout);
    for (int i = 0; i < info->n_ranges; i++) {
        const sparamx_kernel_range *k = &info->ranges[i];
        fputs(i > 0 ? ", {" : "{", stdout);
        json_count(stdout, 1, "m_min", (uint64_t)k->m_min);
        json_number(stdout, 0, "m_max", k->m_max >= INT32_MAX ? NAN : (double)k->m_max);
        json_text(stdout, 0, "name", k->name);
        fputs("}", stdout);
    }
    fputs("]", stdout);
}

static void write_tensor(const judged *d) {
    const gguf_tensor *t = d->source;
    fputs("{", stdout);
    json_text(stdout, 1, "tensor", t->name);
    json_text(stdout, 0, "type", gguf_type_name(t->type));
    json_count(stdout, 0, "type_number", t->type);
    fprintf(stdout, ", \"shape\": [%lld, %lld, %lld, %lld]", (long long)t->ne[0], (long long)t->ne[1],
            (long long)t->ne[2], (long long)t->ne[3]);
    json_flag(stdout, 0, "taken", d->placed);
    json_text(stdout, 0, "form", report_form(d));
    json_text(stdout, 0, "reason", d->reason);
    json_number(stdout, 0, "sparsity", d->sparsity);
    json_count(stdout, 0, "file_bytes", t->nbytes);
    json_count(stdout, 0, "bytes", d->placed ? d->info.packed_bytes : t->nbytes);
    json_count(stdout, 0, "host_copy_bytes", judge_host_copy(d));
    json_number(stdout, 0, "negative_zeros", d->negative);
    json_number(stdout, 0, "bits_per_weight", report_bits(d));
    json_number(stdout, 0, "read_share", d->share);
    if (d->placed) write_kernels(&d->info);
    else fputs(", \"kernels\": []", stdout);
    fputs("}", stdout);
}

static void write_machine(const machine_facts *m) {
    const sparamx_capability *c = &m->capability;
    fputs("  \"machine\": {", stdout);
    json_text(stdout, 1, "cpu", c->cpu);
    json_text(stdout, 0, "isa", report_isa(c->isa));
    json_text(stdout, 0, "avx512", c->avx512_reason);
    json_text(stdout, 0, "amx", c->amx_reason);
    json_text(stdout, 0, "library_version", m->version);
    fputs("},\n", stdout);
}

static void write_totals(const judgement *j) {
    fputs("  \"totals\": {", stdout);
    json_count(stdout, 1, "tensors", (uint64_t)j->n_tensors);
    json_count(stdout, 0, "taken", (uint64_t)j->placed);
    json_count(stdout, 0, "sparse", (uint64_t)j->sparse);
    json_number(stdout, 0, "weights_taken", j->placed_weights);
    json_number(stdout, 0, "weights_sparse", j->sparse_weights);
    json_count(stdout, 0, "file_bytes", j->file_bytes);
    json_count(stdout, 0, "bytes", j->memory_bytes);
    json_number(stdout, 0, "read_per_token_file", j->read_before);
    json_number(stdout, 0, "read_per_token", j->read_after);
    json_number(stdout, 0, "tokens_per_s_ratio", judge_gain(j));
    fputs("},\n", stdout);
}

bool report_json(const judgement *j, const machine_facts *m) {
    char sentence[SENTENCE_SIZE];
    fputs("{\n  \"model\": {", stdout);
    json_text(stdout, 1, "name", j->name);
    json_text(stdout, 0, "architecture", j->architecture);
    json_count(stdout, 0, "files", j->parts);
    fputs("},\n", stdout);
    write_machine(m);
    fputs("  \"tensors\": [", stdout);
    for (int i = 0; i < j->n_tensors; i++) {
        fputs(i > 0 ? ",\n    " : "\n    ", stdout);
        write_tensor(&j->tensors[i]);
    }
    fputs("\n  ],\n", stdout);
    write_totals(j);
    report_sentence(j, m, sentence, sizeof sentence);
    fputs("  ", stdout);
    json_text(stdout, 1, "sentence", sentence);
    fputs("\n}\n", stdout);
    return fflush(stdout) == 0 && ferror(stdout) == 0;
}
