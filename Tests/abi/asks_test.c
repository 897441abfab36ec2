/*
 * asks_test - what the library asks of its surroundings: two environment variables, and one library, which may be
 * absent. secure_getenv, getenv and dlopen of this program stand before libc's; a call counts if it returns into
 * libsparamx.
 */
#define _GNU_SOURCE
#include "check.h"
#include "in_library.h"
#include "piece.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static char asked[1024], opened[1024];

static void note(char *list, size_t room, const void *caller, const char *name) {
    if (!in_library((uintptr_t)caller)) return;
    size_t used = strlen(list);
    if (strstr(list, name) == NULL) snprintf(list + used, room - used, "%s ", name);
}

static char *variable(const char *name) {
    extern char **environ;
    size_t length = strlen(name);
    for (char **e = environ; e != NULL && *e != NULL; e++) {
        if (strncmp(*e, name, length) == 0 && (*e)[length] == '=') return *e + length + 1;
    }
    return NULL;
}

/* Not in a program that has more rights than its user: the C library says NULL there. */
char *secure_getenv(const char *name) {
    note(asked, sizeof asked, __builtin_return_address(0), name);
    return variable(name);
}

char *getenv(const char *name) {
    note(asked, sizeof asked, __builtin_return_address(0), "getenv:");
    return variable(name);
}

void *dlopen(const char *name, int mode) {
    static void *(*next)(const char *, int);
    note(opened, sizeof opened, __builtin_return_address(0), name != NULL ? name : "(itself)");
    if (next == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "dlopen");
        memcpy(&next, &symbol, sizeof next);
    }
    /* As on a machine without it, to show that it may be absent. */
    return strcmp(name != NULL ? name : "", "libnuma.so.1") == 0 ? NULL : next(name, mode);
}

int main(void) {
    piece pieces[2 * GGUF_TYPES];
    find_library();
    sparamx_capability c = {.size = sizeof c};
    CHECK(sparamx_get_capability(&c) == SPARAMX_OK && c.numa_nodes >= 1, "%d memory nodes", c.numa_nodes);
    CHECK(opened[0] == 0, "libraries that were opened to find out what there is: %s", opened);
    int count = piece_all(pieces, 70, 512, 5);
    for (int i = 0; i < count; i++) {
        sparamx_linear_options o = {.size = sizeof o, .form = pieces[i].form, .numa = SPARAMX_NUMA_INTERLEAVE};
        sparamx_linear *linear = NULL;
        CHECK(sparamx_linear_create(pieces[i].type->number, pieces[i].n, pieces[i].k, pieces[i].w, 0, &o, &linear) ==
                      SPARAMX_OK &&
                  piece_product(&pieces[i], linear, 2),
              "%s without libnuma", pieces[i].type->name);
        sparamx_linear_destroy(linear);
        piece_drop(&pieces[i]);
    }
    CHECK(strcmp(asked, "SPARAMX_ISA SPARAMX_PROFILE ") == 0, "environment variables that were asked for: %s", asked);
    /* Where there is one memory node there is nothing to interleave; elsewhere each request tries again. */
    const char *rest = opened;
    while (c.numa_nodes > 1 && strncmp(rest, "libnuma.so.1 ", 13) == 0) rest += 13;
    CHECK(*rest == 0 && (opened[0] != 0) == (c.numa_nodes > 1), "libraries that were opened: %s", opened);
    return check_end();
}
