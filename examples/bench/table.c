#include "table.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

void table_cell(table_line *l, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(l->cell[l->count++], TABLE_CELL, format, args);
    va_end(args);
}

void table_number(table_line *l, double value, int digits) {
    if (isfinite(value)) table_cell(l, "%.*f", digits, value);
    else table_cell(l, "-");
}

void table_percent(table_line *l, double fraction) {
    if (isfinite(fraction)) table_cell(l, "%.0f%%", fraction * 100);
    else table_cell(l, "-");
}

void table_line_end(const table_column *columns, const table_line *l, bool markdown) {
    for (int i = 0; i < l->count; i++) {
        bool last = i == l->count - 1;
        if (markdown) printf("| %s%s", l->cell[i], last ? " |" : " ");
        else if (last && columns[i].width < 0) printf("%s", l->cell[i]); /* no spaces at the end of a line */
        else printf("%*s%s", columns[i].width, l->cell[i], last ? "" : " ");
    }
    putchar('\n');
    fflush(stdout);
}

void table_head(const table_column *columns, int count, bool markdown) {
    table_line titles = {.count = 0};
    for (int i = 0; i < count; i++) table_cell(&titles, "%s", columns[i].title);
    putchar('\n');
    table_line_end(columns, &titles, markdown);
    for (int i = 0; markdown && i < count; i++) {
        printf("|%s%s", columns[i].width < 0 ? "---" : "--:", i == count - 1 ? "|\n" : "");
    }
}
