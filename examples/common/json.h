/* json.h - the few pieces of JSON that a program writes. Strings are escaped; a number that is not finite is null. */
#ifndef EXAMPLES_JSON_H
#define EXAMPLES_JSON_H

#include <stdint.h>
#include <stdio.h>

void json_string(FILE *f, const char *s);

/* "key": value, and before it a comma unless it is the first of its object. */
void json_text(FILE *f, int first, const char *key, const char *value);
void json_number(FILE *f, int first, const char *key, double value);
void json_count(FILE *f, int first, const char *key, uint64_t value);
void json_flag(FILE *f, int first, const char *key, int value);

#endif
