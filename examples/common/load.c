#define _POSIX_C_SOURCE 200809L

#include "load.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY_NAME "libsparamx.so"

/* build/examples/program -> build/libsparamx.so. False if there is no such file. */
static bool beside_program(char *path, size_t size) {
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return false;
    program[n] = 0;
    for (int level = 0; level < 2; level++) {
        char *slash = strrchr(program, '/');
        if (slash == NULL) return false;
        *slash = 0;
    }
    int length = snprintf(path, size, "%s/%s", program, LIBRARY_NAME);
    return length > 0 && (size_t)length < size && access(path, R_OK) == 0;
}

/* ISO C has no conversion from void * to a function pointer; POSIX guarantees that the bytes are the same. */
static const sparamx_api *(*entry_point(void *handle))(uint32_t) {
    const sparamx_api *(*get_api)(uint32_t) = NULL;
    void *symbol = dlsym(handle, "sparamx_get_api");
    memcpy(&get_api, &symbol, sizeof get_api);
    return get_api;
}

static bool open_library(library *lib, char *error, size_t error_size) {
    lib->handle = dlopen(lib->path, RTLD_NOW | RTLD_LOCAL);
    if (lib->handle != NULL) return true;
    const char *why = dlerror();
    snprintf(error, error_size, "the library cannot be loaded: %s", why != NULL ? why : "unknown reason");
    return false;
}

static bool get_table(library *lib, char *error, size_t error_size) {
    const sparamx_api *(*get_api)(uint32_t) = entry_point(lib->handle);
    if (get_api == NULL) {
        snprintf(error, error_size, "%s is no libsparamx: it has no symbol sparamx_get_api", lib->path);
        return false;
    }
    lib->api = get_api(SPARAMX_ABI);
    if (lib->api == NULL || lib->api->size < sizeof(sparamx_api)) {
        snprintf(error, error_size, "%s is of another version: this program needs interface %d as in sparamx %s",
                 lib->path, SPARAMX_ABI, SPARAMX_VERSION_STRING);
        return false;
    }
    return true;
}

bool library_load(library *lib, const char *path, char *error, size_t error_size) {
    memset(lib, 0, sizeof *lib);
    if (path != NULL && strlen(path) >= sizeof lib->path) {
        snprintf(error, error_size, "the name of the library is too long");
        return false;
    }
    if (path != NULL) {
        strcpy(lib->path, path);
    } else if (!beside_program(lib->path, sizeof lib->path)) {
        strcpy(lib->path, LIBRARY_NAME);
    }
    if (!open_library(lib, error, error_size)) return false;
    if (get_table(lib, error, error_size)) return true;
    library_unload(lib);
    return false;
}

void library_unload(library *lib) {
    if (lib->handle != NULL) dlclose(lib->handle);
    lib->handle = NULL;
    lib->api = NULL;
}
