/* Preloaded into llama-perplexity and llama-completion. They return from main while their logger's thread still has
 * lines to write, and on a busy machine lose the last ones, with or without the plugin: among them the statistics. Here
 * that thread gets the time. */
#define _POSIX_C_SOURCE 199309L
#include <time.h>

__attribute__((destructor)) static void linger(void) {
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
}
