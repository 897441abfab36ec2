/*
 * violation.c - what a program hears that uses tiles wrongly: one line on stderr, written without stdio, and abort().
 */
#include "internal.h"

#include <stdlib.h>
#include <unistd.h>

typedef struct {
    char text[512];
    size_t length;
} line;

static void put_string(line *l, const char *s) {
    while (*s != 0 && l->length < sizeof l->text - 1) l->text[l->length++] = *s++;
}

static void put_number(line *l, uint64_t value, unsigned base) {
    char digits[24];
    unsigned n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (n > 0 && l->length < sizeof l->text - 1) l->text[l->length++] = digits[--n];
}

void emu_violation(int op, uint64_t rip, const char *what, int numbers, uint64_t a, uint64_t b) {
    line l = {.length = 0};
    put_string(&l, "tile emulator: ");
    put_string(&l, tile_emulator_name(op));
    put_string(&l, " at 0x");
    put_number(&l, rip, 16);
    put_string(&l, ": ");
    put_string(&l, what);
    if (numbers > 0) {
        put_string(&l, " (");
        put_number(&l, a, 10);
        if (numbers > 1) {
            put_string(&l, ", ");
            put_number(&l, b, 10);
        }
        put_string(&l, ")");
    }
    put_string(&l, "\n");
    ssize_t written = write(STDERR_FILENO, l.text, l.length);
    (void)written;
    abort();
}
