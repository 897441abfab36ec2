/*
 * sparamx-run - multiplies every weight matrix of a GGUF model, with or without libsparamx.
 *
 * The way of a host in small: open the model (common/gguf), load the library if asked to (common/load), choose the
 * tensors it takes (run/model), place them in its buffers and compute with the program's own threads (run/packed), and
 * say what came of it (run/report). Without --amx nothing of the library is touched.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/load.h"
#include "common/quiet.h"
#include "common/text.h"
#include "run/experts.h"
#include "run/model.h"
#include "run/options.h"
#include "run/packed.h"
#include "run/report.h"
#include "run/session.h"

static int complain(int status, const char *about, const char *sentence) {
    session_progress(NULL, 0, 0, NULL);
    char who[4096], what[4700];
    fflush(stdout);
    fprintf(stderr, "sparamx-run: %s: %s\n", text_printable(about, who, sizeof who),
            text_printable(sentence, what, sizeof what));
    return status;
}

static void print_log(int32_t level, const char *message, void *user) {
    (void)user;
    char line[1024];
    if (level <= SPARAMX_LOG_WARNING) fprintf(stderr, "libsparamx: %s\n", text_printable(message, line, sizeof line));
}

/* The sentence for a file of which nothing is multiplied. */
static const char *nothing_to_multiply(const model *m, const options *o, char *out, size_t size) {
    if (gguf_n_tensors(m->file) == 0) return "the file holds no tensors: there is nothing to multiply";
    if (m->n_skipped > 0) return "the file has no weight matrix that can be multiplied here";
    snprintf(out, size, "no tensor of the file has '%s' in its name", o->filter);
    return out;
}

/* Tokens that this many bytes of activations and results allow: a matrix may have few bytes and very many outputs. */
static int64_t affordable_m(const model *m, int64_t wanted) {
    const int64_t budget = 256 << 20;
    int64_t each = (int64_t)sizeof(float) * (model_max_k(m) + model_max_outputs(m)),
            most = budget / (each > 0 ? each : 1);
    return most < 2 ? 2 : most < wanted ? most : wanted;
}

/* Tokens per product, where the user named none: what stays short enough to wait for. */
static void choose_m(options *o, setting *set, const model *m) {
    if (o->n_m > 0) return;
    o->m[o->n_m++] = 1;
    if (set->library == NULL) {
        set->m_note = "one token only, since plain C is slow: --m 1,512 measures prompts as well";
    } else if (set->capability.isa == SPARAMX_ISA_REFERENCE) {
        o->m[o->n_m++] = affordable_m(m, 32);
        set->m_note = "32 prompt tokens only, since the reference kernels are slow: --m 1,512 measures more";
    } else {
        o->m[o->n_m++] = affordable_m(m, 512);
    }
}

/* -- without the library ------------------------------------------------------------------------------------------- */

typedef struct plain_job {
    const session *s;
    weight *w;
    int64_t m;
    float *rows;    /* one row for each thread */
    int64_t *zeros; /* two counts for each thread: zeros, and weights that are -0 */
} plain_job;

static void plain_share(int ith, int nth, void *ctx) {
    const plain_job *j = ctx;
    const plain_matrix *w = &j->w->matrix;
    int64_t begin = w->n * ith / nth, end = w->n * (ith + 1) / nth;
    float *row = j->rows + (int64_t)ith * w->k;
    if (j->w->experts > 1) experts_plain_product(j->s, j->w, begin, end, j->m, row);
    else plain_product(w, begin, end, j->s->x, j->m, j->s->y, row);
}

static void count_share(int ith, int nth, void *ctx) {
    const plain_job *j = ctx;
    const plain_matrix *w = &j->w->matrix;
    int64_t rows = w->n * j->w->experts; /* one after the other */
    int64_t begin = rows * ith / nth, end = rows * (ith + 1) / nth;
    j->zeros[2 * ith] = plain_zeros(w, begin, end);
    j->zeros[2 * ith + 1] = plain_negative_zeros(w, begin, end);
}

static void count_zeros(session *s, plain_job *j) {
    double zeros = 0, count = (double)j->w->matrix.n * (double)j->w->matrix.k * (double)j->w->experts;
    team_run(s->team, count_share, j); /* also brings the file into memory before anything is timed */
    j->w->negative_zeros = 0;
    for (int i = 0; i < team_size(s->team); i++) {
        zeros += (double)j->zeros[2 * i];
        j->w->negative_zeros += j->zeros[2 * i + 1];
    }
    j->w->zeros = zeros / count;
    j->w->bits_per_weight = 8 * (double)j->w->source->nbytes / count;
}

static double time_plain(session *s, plain_job *j, timing *at) {
    double ms[MAX_REPEAT], first = session_time(s, plain_share, j, j->m * j->w->matrix.k);
    int n = session_repeats(s, first, j->m);
    for (int i = 0; i < n; i++) ms[i] = session_time(s, plain_share, j, j->m * j->w->matrix.k);
    at->repeats = n;
    at->spread = quiet_spread(ms, n);
    return n > 0 ? median(ms, n) : first;
}

static int run_plain(model *m, session *s, setting *set) {
    plain_job j = {.s = s};
    j.rows = calloc((size_t)team_size(s->team) * (size_t)model_max_k(m), sizeof *j.rows);
    j.zeros = calloc(2 * (size_t)team_size(s->team), sizeof *j.zeros);
    bool ok = j.rows != NULL && j.zeros != NULL;
    if (ok) report_rows_begin(m, set);
    for (int i = 0; ok && i < m->n_weights; i++) {
        j.w = &m->weights[i];
        session_progress("measuring", i, m->n_weights, j.w->source->name);
        count_zeros(s, &j);
        for (int k = 0; k < s->options->n_m; k++) {
            j.m = j.w->at[k].m = s->options->m[k];
            if (j.w->experts > 1) experts_choose(s, j.w, j.m);
            j.w->at[k].plain_ms = time_plain(s, &j, &j.w->at[k]);
        }
        session_progress(NULL, 0, 0, NULL);
        report_row(m, i, set);
    }
    free(j.rows);
    free(j.zeros);
    return ok ? 0 : complain(EXIT_BAD_INPUT, s->options->model, "there is not enough memory");
}

/* -- with it ------------------------------------------------------------------------------------------------------- */

static int run_packed(model *m, session *s, setting *set, const library *lib) {
    packed_model p;
    bool ok = packed_open(&p, lib->api, s, m);
    if (ok) {
        set->upload_ms = p.upload_ms;
        session_progress(NULL, 0, 0, NULL);
        report_rows_begin(m, set);
    }
    for (int i = 0; ok && i < m->n_weights; i++) {
        ok = packed_measure(&p, m, i);
        session_progress(NULL, 0, 0, NULL);
        if (ok) report_row(m, i, set);
    }
    if (ok) set->resident = packed_resident(&p);
    packed_close(&p);
    return ok ? 0 : complain(EXIT_NO_LIBRARY, s->options->model, p.error);
}

/* The library must answer, and say that it can be used, before anything is given to it. */
static int start_library(library *lib, const options *o, setting *set) {
    char error[4600];
    if (!library_load(lib, o->library, error, sizeof error)) return complain(EXIT_NO_LIBRARY, "--amx", error);
    set->library = lib->path;
    set->version = lib->api->version();
    lib->api->set_log(print_log, NULL);
    set->capability.size = sizeof set->capability;
    sparamx_status status = lib->api->get_capability(&set->capability);
    if (status == SPARAMX_OK) status = set->capability.status;
    return status == SPARAMX_OK ? 0 : complain(EXIT_NO_LIBRARY, "--amx", lib->api->status_string(status));
}

/* -- both ---------------------------------------------------------------------------------------------------------- */

static int finish(const model *m, const setting *set) {
    report_end(m, set);
    if (set->options->json != NULL && !report_json(m, set)) return EXIT_BAD_INPUT;
    if (!text_written("sparamx-run")) return EXIT_BAD_INPUT;
    totals t = add_totals(m, set->options);
    return t.failures + t.nonfinite > 0 ? EXIT_WRONG_RESULT : 0;
}

static int run_model(options *o, const gguf_file *file, library *lib, setting *set) {
    char error[512];
    model m;
    session s = {0};
    if (!model_select(&m, file, o, lib->api)) return complain(EXIT_BAD_INPUT, o->model, "there is not enough memory");
    choose_m(o, set, &m);
    report_title(&m, set);
    int status = 0;
    if (m.n_weights == 0) {
        status = complain(EXIT_BAD_INPUT, o->model, nothing_to_multiply(&m, o, error, sizeof error));
    } else if (!session_open(&s, o, &m, error, sizeof error)) {
        status = complain(EXIT_BAD_INPUT, o->model, error);
    } else {
        quiet_reading begin = quiet_read();
        set->evicted = cold_cache_bytes(s.cache);
        status = o->amx ? run_packed(&m, &s, set, lib) : run_plain(&m, &s, set);
        quiet_reading end = quiet_read();
        set->others = quiet_others(&begin, &end);
        if (status == 0) status = finish(&m, set);
    }
    session_close(&s);
    model_free(&m);
    return status;
}

int main(int argc, char **argv) {
    options o;
    char error[512];
    int status = 0;
    if (options_parse(argc, argv, &o, &status) != 0)
        return status == 0 && !text_written("sparamx-run") ? EXIT_BAD_INPUT : status;
    gguf_file *file = gguf_open(o.model, error, sizeof error);
    if (file == NULL) return complain(EXIT_BAD_INPUT, o.model, error);
    library lib = {.handle = NULL};
    setting set = {.options = &o};
    if (o.amx) status = start_library(&lib, &o, &set);
    if (status == 0) status = run_model(&o, file, &lib, &set);
    library_unload(&lib);
    gguf_close(file);
    return status;
}
