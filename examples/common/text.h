/* text.h - what the programs print must not drive the terminal that shows it, and must arrive. */
#ifndef EXAMPLES_TEXT_H
#define EXAMPLES_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Copies s, cut to size, with '?' for control characters: for names of files and what other programs wrote. Returns
 * out. */
const char *text_printable(const char *s, char *out, size_t size);

/* Flushes stdout. False after one sentence on stderr if not all of it could be written, as on a full disk. */
bool text_written(const char *program);

#endif
