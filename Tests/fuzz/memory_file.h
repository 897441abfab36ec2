/*
 * memory_file.h - the file that the library writes and opens while it is fuzzed, whatever its path.
 */
#ifndef MEMORY_FILE_H
#define MEMORY_FILE_H

#include "fuzz.h"

enum { MOST_FILE = 1 << 20 };

/* Its bytes, which may be changed; nothing before it was written for the first time. */
uint8_t *memory_file(size_t *bytes);
void memory_file_resize(size_t bytes);

#endif
