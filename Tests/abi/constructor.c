/* constructor.c - a shared object whose constructor makes a call of the library, under the loader's lock. */
#include <sparamx.h>

__attribute__((constructor)) static void start(void) {
    sparamx_capability c = {.size = sizeof c};
    sparamx_get_capability(&c);
    sparamx_set_log((sparamx_log_fn)0, (void *)0);
}
