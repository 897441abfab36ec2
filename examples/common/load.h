/* load.h - finds libsparamx at run time, as a host does that offers it behind a flag. */
#ifndef EXAMPLES_LOAD_H
#define EXAMPLES_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "sparamx.h"

typedef struct library {
    void *handle;
    const sparamx_api *api;
    char path[4096]; /* what was loaded */
} library;

/*
 * Loads the library and asks for its table of functions. path NULL: the one in the folder above the program's, where
 * the build puts it, else wherever the dynamic loader finds libsparamx.so. On failure false and one sentence in error.
 */
bool library_load(library *lib, const char *path, char *error, size_t error_size);

/* Every object made with it must have been destroyed; strings it returned are gone afterwards. */
void library_unload(library *lib);

#endif
