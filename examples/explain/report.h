/* report.h - a judgement as a table that ends with one sentence, and as JSON. Both go to stdout. */
#ifndef EXAMPLES_EXPLAIN_REPORT_H
#define EXAMPLES_EXPLAIN_REPORT_H

#include "judge.h"

typedef struct machine_facts {
    sparamx_capability capability;
    const char *library, *version;
} machine_facts;

void report_text(const judgement *j, const machine_facts *m);

/* False if stdout could not be written. */
bool report_json(const judgement *j, const machine_facts *m);

enum { SENTENCE_SIZE = 1024 };

/* The sentence for a human, shared by both. */
void report_sentence(const judgement *j, const machine_facts *m, char *out, size_t size);

const char *report_form(const judged *d);
double report_bits(const judged *d); /* per weight; NAN if the size is unknown */
const char *report_isa(int32_t isa);

#endif
