/* table.h - tables for people, in aligned columns or in Markdown, printed line by line as the figures come. */
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include <stdbool.h>

enum { TABLE_CELL = 48, TABLE_MOST_COLUMNS = 13 };

/* A width below zero aligns to the left, as printf does. */
typedef struct table_column {
    const char *title;
    int width;
} table_column;

typedef struct table_line {
    char cell[TABLE_MOST_COLUMNS][TABLE_CELL];
    int count;
} table_line;

__attribute__((format(printf, 2, 3))) void table_cell(table_line *l, const char *format, ...);

/* A number, or "-" where there is none; the same as a percentage. */
void table_number(table_line *l, double value, int digits);
void table_percent(table_line *l, double fraction);

void table_head(const table_column *columns, int count, bool markdown);
void table_line_end(const table_column *columns, const table_line *l, bool markdown);

#endif /* BENCH_TABLE_H */
