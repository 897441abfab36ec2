#include "sizes.h"
#include "common/gguf.h"
#include "common/json.h"
#include "common/quants.h"
#include "table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The sparse forms that the design asked for, at 50% and 70% zeros. */
static const struct design {
    uint32_t type;
    double at_50, at_70;
} designs[] = {
    {GGUF_BF16, 9, 5.8},   {GGUF_Q8_0, 5.5, 3.9},   {GGUF_Q6_K, 4.75, 3.5},
    {GGUF_Q4_0, 3.5, 2.7}, {GGUF_Q4_K, 3.63, 2.83},
};

typedef struct size_row {
    const weight_type *type;
    double asked, background; /* share of zeros, and of codes that the library leaves out */
    double file, dense, sparse; /* bits per weight */
    /* bitmap, codes that are left, the file's scales, and in types with a minimum the background codes */
    double floor;
    double design; /* NAN where the design names none */
    const char *chosen;
} size_row;

static double design_of(uint32_t type, double share) {
    for (size_t i = 0; i < sizeof designs / sizeof *designs; i++) {
        if (designs[i].type != type) continue;
        if (fabs(share - 0.5) < 1e-9) return designs[i].at_50;
        if (fabs(share - 0.7) < 1e-9) return designs[i].at_70;
    }
    return NAN;
}

static double floor_of(const weight_type *type, double background) {
    const quant_type *q = quant_find((uint32_t)type->id);
    double file = 8.0 * (double)type->block_bytes / (double)type->block, code = q ? q->bits : 16;
    double own = q && q->background == QUANT_OWN ? code / q->group : 0;
    return file - code + 1 + own + (1 - background) * code;
}

static sparamx_status describe(const weights *w, int64_t n, int32_t form, sparamx_tensor_info *info) {
    sparamx_linear_options wanted = {.size = sizeof wanted, .form = form};
    sparamx_linear *linear = NULL;
    *info = (sparamx_tensor_info){.size = sizeof *info};
    sparamx_status status = sparamx_linear_create(w->type->id, n, w->k, w->data, 0, &wanted, &linear);
    if (status == SPARAMX_OK) status = sparamx_linear_info(linear, info);
    sparamx_linear_destroy(linear);
    return status;
}

static sparamx_status measure(team *t, const weight_type *type, shape s, double share, size_row *row) {
    sparamx_tensor_info dense, sparse, chosen;
    weights w;
    if (!weights_create(&w, t, type, s.n, s.k, share)) return SPARAMX_ERR_NO_MEMORY;
    sparamx_status status = describe(&w, s.n, SPARAMX_FORM_DENSE, &dense);
    if (status == SPARAMX_OK) status = describe(&w, s.n, SPARAMX_FORM_SPARSE, &sparse);
    if (status == SPARAMX_OK) status = describe(&w, s.n, SPARAMX_FORM_AUTO, &chosen);
    weights_destroy(&w);
    if (status != SPARAMX_OK) return status;
    *row = (size_row){.type = type, .asked = share, .background = sparse.sparsity};
    row->file = 8.0 * (double)type->block_bytes / (double)type->block;
    row->dense = dense.bits_per_weight;
    bool has_sparse = sparse.form == SPARAMX_FORM_SPARSE;
    row->sparse = has_sparse ? sparse.bits_per_weight : NAN;
    row->floor = has_sparse ? floor_of(type, sparse.sparsity) : NAN;
    row->design = design_of((uint32_t)type->id, share);
    row->chosen = form_name(chosen.form);
    return SPARAMX_OK;
}

/* The first whole percentage of zeros at which the library chooses the sparse form; NAN if it never does. */
static double first_sparse(team *t, const weight_type *type) {
    const shape small = {64, 4096};
    int low = 0, high = 101; /* not sparse below low, sparse from high on */
    while (low < high) {
        int middle = (low + high) / 2;
        sparamx_tensor_info info;
        weights w;
        if (middle > 100) break;
        if (!weights_create(&w, t, type, small.n, small.k, middle / 100.0)) return NAN;
        sparamx_status status = describe(&w, small.n, SPARAMX_FORM_AUTO, &info);
        weights_destroy(&w);
        if (status != SPARAMX_OK) return NAN;
        if (info.form == SPARAMX_FORM_SPARSE) high = middle;
        else low = middle + 1;
    }
    return high > 100 ? NAN : high / 100.0;
}

static const table_column columns[] = {
    {"type", -6},  {"zeros", 5},  {"background", 10}, {"file", 6},   {"dense", 6},
    {"sparse", 6}, {"floor", 6}, {"design", 6},      {"auto is", -7},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static void print_row(const size_row *r, bool markdown) {
    table_line l = {.count = 0};
    table_cell(&l, "%s", r->type->name);
    table_percent(&l, r->asked);
    table_cell(&l, "%.1f%%", r->background * 100);
    table_number(&l, r->file, 2);
    table_number(&l, r->dense, 2);
    table_number(&l, r->sparse, 2);
    table_number(&l, r->floor, 2);
    table_number(&l, r->design, 2);
    table_cell(&l, "%s", r->chosen);
    table_line_end(columns, &l, markdown);
}

static void write_row(FILE *f, const size_row *r, bool first) {
    fputs(first ? "\n  {" : ",\n  {", f);
    json_text(f, 1, "type", r->type->name);
    json_number(f, 0, "sparsity", r->asked);
    json_number(f, 0, "background", r->background);
    json_number(f, 0, "file_bits", r->file);
    json_number(f, 0, "dense_bits", r->dense);
    json_number(f, 0, "sparse_bits", r->sparse);
    json_number(f, 0, "floor_bits", r->floor);
    json_number(f, 0, "design_bits", r->design);
    json_text(f, 0, "auto", r->chosen);
    fputc('}', f);
}

static int fail(const weight_type *type, sparamx_status status) {
    fprintf(stderr, "sparamx-bench: %s: %s\n", type->name, sparamx_status_string(status));
    return 1;
}

int sizes_run(const options *o, FILE *json) {
    int failures = 0, rows = 0;
    double first[MAX_CHOICES];
    team *t = team_create(o->threads > 0 ? o->threads : 1);
    if (!t) return 1;
    if (json) {
        fputs("{\"machine\": {", json);
        json_text(json, 1, "version", sparamx_version());
        fputs("},\n \"sizes\": [", json);
    }
    table_head(columns, COLUMNS, o->markdown);
    for (int i = 0; i < o->type_count; i++) {
        for (int j = 0; j < o->shape_count * o->sparsity_count; j++) {
            size_row row;
            shape s = o->shapes[j / o->sparsity_count];
            sparamx_status status = measure(t, o->types[i], s, o->sparsities[j % o->sparsity_count], &row);
            if (status != SPARAMX_OK) failures += fail(o->types[i], status);
            if (status != SPARAMX_OK) continue;
            print_row(&row, o->markdown);
            if (json) write_row(json, &row, rows == 0);
            rows++;
        }
        first[i] = first_sparse(t, o->types[i]);
    }
    printf("\nBits per weight. background: codes that the sparse form leaves out. floor: a bitmap, the other codes, "
           "the\n"
           "file's scales, and in types with a minimum one code per group; nothing for offsets and padding.\n\n");
    if (json) fputs("],\n \"auto_sparse_from\": [", json);
    for (int i = 0; i < o->type_count; i++) {
        if (isnan(first[i])) printf("%s: the library never chooses sparse\n", o->types[i]->name);
        else printf("%s: the library chooses sparse from %.0f%% zeros on\n", o->types[i]->name, first[i] * 100);
        if (!json) continue;
        fputs(i ? ",\n  {" : "\n  {", json);
        json_text(json, 1, "type", o->types[i]->name);
        json_number(json, 0, "sparsity", first[i]);
        fputc('}', json);
    }
    if (json) fputs("]}\n", json);
    team_destroy(t);
    return failures > 0 || rows == 0 || (json && ferror(json)) ? 1 : 0;
}
