#define _GNU_SOURCE
#include "cases.h"
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void pack_once(const machine *m, const group *g, const uint8_t *data, pack_row *row, double *ms) {
    sparamx_linear *linear = NULL;
    sparamx_tensor_info info = {.size = sizeof info};
    double start = bench_now();
    sparamx_status status = group_pack_one(m, g, row->requested, data, &linear);
    *ms = (bench_now() - start) * 1e3;
    if (status == SPARAMX_OK) status = sparamx_linear_info(linear, &info);
    if (status != SPARAMX_OK) snprintf(row->problem, sizeof row->problem, "%s", sparamx_status_string(status));
    row->form = info.form;
    row->packed_bytes = info.packed_bytes;
    sparamx_linear_destroy(linear);
}

int group_pack(machine *m, const group *g, pack_row *rows) {
    /* Several sources in turn, so that none is still in the last-level cache when it is packed again. */
    int sources = (int)(2 * m->llc_bytes / group_source_bytes(g)) + 2;
    if (sources > MOST_COPIES) sources = MOST_COPIES;
    weights source = {0};
    double *ms = calloc((size_t)(g->form_count * g->rounds), sizeof *ms);
    bool made = ms && weights_create(&source, m->team, g->type, g->n * sources, g->k, g->sparsity);
    if (!made) fprintf(stderr, "sparamx-bench: no memory for %s weights\n", g->type->name);
    int first = m->readings, rounds = 0, turn = 0;
    double start = bench_now();
    while (made && rounds < g->rounds && (rounds == 0 || bench_now() - start < g->seconds)) {
        machine_measure(m);
        for (int f = 0; f < g->form_count; f++, turn++) {
            pack_row *row = &rows[f];
            if (rounds == 0) *row = (pack_row){.type = g->type, .requested = g->forms[f], .n = g->n, .k = g->k};
            report_progress("%s: packing %s, round %d of %d", g->label, form_name(g->forms[f]), rounds + 1, g->rounds);
            const uint8_t *data = weights_row(&source, turn % sources * g->n);
            if (!row->problem[0]) pack_once(m, g, data, row, &ms[f * g->rounds + rounds]);
        }
        rounds++;
    }
    double read_gbps = machine_ceilings(m, first).value[CEILING_READ_GBPS];
    for (int f = 0; made && f < g->form_count; f++) {
        rows[f].sparsity = g->sparsity;
        rows[f].threads = m->threads < 64 ? m->threads : 64;
        rows[f].rounds = rounds;
        rows[f].source_bytes = group_source_bytes(g);
        rows[f].read_gbps = read_gbps;
        rows[f].ms = rows[f].problem[0] ? NAN : bench_median(ms + f * g->rounds, rounds);
    }
    weights_destroy(&source);
    free(ms);
    return made ? g->form_count : 0;
}
