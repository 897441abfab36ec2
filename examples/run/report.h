/* report.h - the table on stdout and the same facts as JSON. */
#ifndef EXAMPLES_RUN_REPORT_H
#define EXAMPLES_RUN_REPORT_H

#include "model.h"
#include "options.h"
#include "sparamx.h"

/* What the run was made on and with. */
typedef struct setting {
    const options *options;
    const char *library;          /* path, NULL without --amx */
    const char *version;          /* of the library */
    sparamx_capability capability; /* with the library only */
    const char *m_note;           /* why these numbers of tokens, or NULL */
    size_t evicted;               /* bytes read between measurements */
    double upload_ms;             /* packing all weights */
    double others;                /* CPUs that other programs used while this was measured */
    size_t resident;              /* memory that the library holds for them */
} setting;

/* "reference", "avx512", "amx". */
const char *isa_name(int32_t isa);

/* "dense", "sparse", ... */
const char *form_name(int32_t form);

/* The sums over all weights. */
typedef struct totals {
    double parameters;
    double file_bytes, dense_bytes, packed_bytes;
    double dense_ms[MAX_M], packed_ms[MAX_M], plain_ms[MAX_M];
    int failures, nonfinite;
    double spread; /* the median over the matrices, of those that were repeated, one token at a time */
} totals;
totals add_totals(const model *m, const options *o);

/* Whether other programs or the spread say that the times are not to be relied on. */
bool report_disturbed(const totals *t, const setting *s);

/* Above the table: the model, the machine, the library. report_rows_begin prints the table's head. */
void report_title(const model *m, const setting *s);
void report_rows_begin(const model *m, const setting *s);

/* One line of the table, printed as soon as it is known. Numbers the weight's notes. */
void report_row(model *m, int index, const setting *s);

/* Below it: notes, what was skipped, totals. */
void report_end(const model *m, const setting *s);

/* False, after one sentence on stderr, if the file cannot be written. */
bool report_json(const model *m, const setting *s);

#endif
