#include "json.h"

#include <inttypes.h>
#include <math.h>

void json_string(FILE *f, const char *s) {
    fputc('"', f);
    for (; *s != 0; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') fprintf(f, "\\%c", c);
        else if (c < 0x20) fprintf(f, "\\u%04x", c);
        else fputc(c, f);
    }
    fputc('"', f);
}

static void begin(FILE *f, int first, const char *key) { fprintf(f, "%s\"%s\": ", first ? "" : ", ", key); }

void json_text(FILE *f, int first, const char *key, const char *value) {
    begin(f, first, key);
    json_string(f, value);
}

void json_number(FILE *f, int first, const char *key, double value) {
    begin(f, first, key);
    if (isfinite(value)) fprintf(f, "%.9g", value);
    else fputs("null", f);
}

void json_count(FILE *f, int first, const char *key, uint64_t value) {
    begin(f, first, key);
    fprintf(f, "%" PRIu64, value);
}

void json_flag(FILE *f, int first, const char *key, int value) {
    begin(f, first, key);
    fputs(value ? "true" : "false", f);
}
