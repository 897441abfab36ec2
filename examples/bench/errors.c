#include "errors.h"
#include "common/json.h"
#include "common/plain.h"
#include "rounding.h"
#include "table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FULL_TOKENS = 4, SAMPLED_ROWS = 32 };

typedef struct error_row {
    const weight_type *type;
    int32_t form;
    int64_t m;
    double share;
    double nmse, ggml; /* sum of squared differences / sum of squares, of the library and of ggml's rounding alone */
    double worst;      /* largest single difference, in units of |row| * rms(token) */
    char kernel[64];
} error_row;

typedef struct errors {
    const options *o;
    weights w;
    int64_t n, k, m;
    float *x, *rounded, *row, *y; /* m tokens, the same as ggml rounds them, one row of weights, results */
    FILE *json;
    int rows, failures;
} errors;

static sparamx_status multiply(errors *e, int32_t form, error_row *r) {
    sparamx_linear_options wanted = {.size = sizeof wanted, .form = form, .kernel = e->o->kernel};
    sparamx_tensor_info info = {.size = sizeof info};
    sparamx_params params = {.size = sizeof params, .nth = 1};
    sparamx_linear *linear = NULL;
    sparamx_status status = sparamx_linear_create(e->w.type->id, e->n, e->k, e->w.data, 0, &wanted, &linear);
    if (status == SPARAMX_OK) status = sparamx_linear_info(linear, &info);
    if (status == SPARAMX_OK) status = sparamx_linear_work_size(linear, e->m, 1, &params.work_size);
    if (status == SPARAMX_OK && params.work_size > 0 && !(params.work = malloc(params.work_size)))
        status = SPARAMX_ERR_NO_MEMORY;
    memset(e->y, 0xff, (size_t)(e->m * e->n) * sizeof *e->y); /* NAN wherever nothing is written */
    if (status == SPARAMX_OK) status = sparamx_linear_compute(linear, &params, e->m, e->x, e->k, e->y, e->n);
    r->form = info.form;
    snprintf(r->kernel, sizeof r->kernel, "%s", kernel_for(&info, e->m));
    free(params.work);
    sparamx_linear_destroy(linear);
    return status;
}

static void compare(errors *e, error_row *r) {
    double square = 0, off = 0, off_ggml = 0;
    int64_t step = e->m <= FULL_TOKENS || e->n <= SAMPLED_ROWS ? 1 : e->n / SAMPLED_ROWS;
    for (int64_t j = 0; j < e->n; j += step) {
        weights_decode(e->w.type, weights_row(&e->w, j), e->k, e->row);
        double norm = sqrt(plain_dot_double(e->row, e->row, e->k));
        for (int64_t i = 0; i < e->m; i++) {
            const float *x = e->x + i * e->k;
            double truth = plain_dot_double(e->row, x, e->k);
            double ggml = plain_dot_double(e->row, e->rounded + i * e->k, e->k) - truth;
            double ours = (double)e->y[i * e->n + j] - truth;
            double unit = norm * sqrt(plain_dot_double(x, x, e->k) / (double)e->k);
            square += truth * truth;
            off += ours * ours;
            off_ggml += ggml * ggml;
            if (!(fabs(ours) <= r->worst * unit)) r->worst = fabs(ours) / unit; /* NAN counts as the worst */
        }
    }
    r->nmse = off / square;
    r->ggml = off_ggml / square;
}

static const table_column columns[] = {
    {"type", -6}, {"form", -6}, {"M", 4}, {"kernel", -30}, {"NMSE", 9}, {"ggml's", 9}, {"ratio", 6}, {"worst", 9},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static void report(errors *e, const error_row *r) {
    table_line l = {.count = 0};
    table_cell(&l, "%s", r->type->name);
    table_cell(&l, "%s", form_name(r->form));
    table_cell(&l, "%lld", (long long)r->m);
    table_cell(&l, "%s", r->kernel);
    table_cell(&l, "%.2e", r->nmse);
    table_cell(&l, "%.2e", r->ggml);
    table_number(&l, r->nmse / r->ggml, 2);
    table_cell(&l, "%.2e", r->worst);
    table_line_end(columns, &l, e->o->markdown);
    if (!e->json) return;
    fputs(e->rows ? ",\n  {" : "\n  {", e->json);
    json_text(e->json, 1, "type", r->type->name);
    json_text(e->json, 0, "form", form_name(r->form));
    json_count(e->json, 0, "M", (uint64_t)r->m);
    json_count(e->json, 0, "N", (uint64_t)e->n);
    json_count(e->json, 0, "K", (uint64_t)e->k);
    json_number(e->json, 0, "sparsity", r->share);
    json_text(e->json, 0, "kernel", r->kernel);
    json_number(e->json, 0, "nmse", r->nmse);
    json_number(e->json, 0, "ggml_nmse", r->ggml);
    json_number(e->json, 0, "worst", r->worst);
    fputc('}', e->json);
}

static void run_product(errors *e, int32_t form, double share) {
    error_row r = {.type = e->w.type, .m = e->m, .share = share};
    sparamx_status status = multiply(e, form, &r);
    if (status == SPARAMX_OK) {
        compare(e, &r);
        report(e, &r);
        e->rows++;
        if (isfinite(r.nmse)) return;
    } else if (status == SPARAMX_ERR_RANGE && e->o->kernel) {
        return; /* the one kernel asked for does not serve this case */
    } else {
        fprintf(stderr, "sparamx-bench: %s %s: %s\n", r.type->name, form_name(form), sparamx_status_string(status));
    }
    e->failures++;
}

static void run_type(errors *e, team *t, const weight_type *type, shape s, double share) {
    const options *o = e->o;
    if (!weights_create(&e->w, t, type, s.n, s.k, share)) {
        e->failures++;
        return;
    }
    for (int i = 0; i < o->m_count; i++) {
        e->n = s.n;
        e->k = s.k;
        e->m = o->m[i];
        size_t tokens = (size_t)e->m, bytes = tokens * (size_t)e->k * sizeof(float);
        e->x = malloc(bytes);
        e->rounded = malloc(bytes);
        e->row = malloc((size_t)e->k * sizeof(float));
        e->y = malloc(tokens * (size_t)e->n * sizeof(float));
        if (e->x && e->rounded && e->row && e->y) {
            random_normals(e->x, tokens * (size_t)e->k, 7);
            round_as_ggml((uint32_t)type->id, e->x, e->m * e->k, e->rounded);
            int32_t forms[MAX_CHOICES];
            for (int f = 0, count = options_forms(o, type, forms); f < count; f++) run_product(e, forms[f], share);
        } else {
            e->failures++;
        }
        free(e->x);
        free(e->rounded);
        free(e->row);
        free(e->y);
    }
    weights_destroy(&e->w);
}

int errors_run(const options *o, FILE *json) {
    errors e = {.o = o, .json = json};
    sparamx_capability c = {.size = sizeof c};
    team *t = team_create(o->threads > 0 ? o->threads : 1);
    if (!t || sparamx_get_capability(&c) != SPARAMX_OK) return 1;
    printf("%s, instructions: %s\n", c.cpu, machine_isa_name(c.isa));
    if (json) {
        fputs("{\"machine\": {", json);
        json_text(json, 1, "cpu", c.cpu);
        json_text(json, 0, "isa", machine_isa_name(c.isa));
        json_text(json, 0, "version", sparamx_version());
        fputs("},\n \"errors\": [", json);
    }
    table_head(columns, COLUMNS, o->markdown);
    for (int i = 0; i < o->type_count; i++)
        for (int j = 0; j < o->shape_count; j++)
            for (int k = 0; k < o->sparsity_count; k++) run_type(&e, t, o->types[i], o->shapes[j], o->sparsities[k]);
    printf("\nNMSE: sum of squared differences from double precision / sum of squares. ggml's: the same of exact\n"
           "products with activations as ggml's CPU backend rounds them. worst: largest difference / (|row| * rms of\n"
           "the token).\n");
    if (json) fputs("]}\n", json);
    team_destroy(t);
    return e.failures > 0 || e.rows == 0 || (json && ferror(json)) ? 1 : 0;
}
