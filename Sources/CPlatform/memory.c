#define _GNU_SOURCE
#include "platform.h"
#include <stdlib.h>
#include <sys/mman.h>

static const uintptr_t huge = 2u << 20;

void *sx_allocate(size_t bytes) { return calloc(1, bytes ? bytes : 1); }

void sx_free(void *pointer) { free(pointer); }

static void *map_anywhere(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void *sx_map(size_t bytes) {
    if (bytes < 2 * huge || bytes > SIZE_MAX - huge) return map_anywhere(bytes);
    // Start on a 2 MB frame: a mapping that starts anywhere loses up to two frames to small pages.
    char *p = map_anywhere(bytes + huge);
    if (!p) return map_anywhere(bytes);
    size_t page = 4096, length = (bytes + page - 1) & ~(page - 1);
    size_t before = (huge - ((uintptr_t)p & (huge - 1))) & (huge - 1);
    size_t after = ((bytes + huge + page - 1) & ~(page - 1)) - before - length;
    if (before) munmap(p, before);
    if (after) munmap(p + before + length, after);
    return p + before;
}

void sx_unmap(void *pointer, size_t bytes) { munmap(pointer, bytes); }

void sx_give_back(void *pointer, size_t bytes) { madvise(pointer, bytes, MADV_DONTNEED); }

void sx_huge_pages(void *pointer, size_t bytes) {
    // Only frames that lie inside: a frame that reaches past the end would be filled up with memory nobody asked for.
    uintptr_t begin = ((uintptr_t)pointer + huge - 1) & ~(huge - 1), end = ((uintptr_t)pointer + bytes) & ~(huge - 1);
    if (begin < end) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}
