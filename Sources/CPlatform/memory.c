#define _GNU_SOURCE
#include "platform.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const uintptr_t huge = 2u << 20;

void *sx_allocate(size_t bytes) { return calloc(1, bytes ? bytes : 1); }

void sx_free(void *pointer) { free(pointer); }

void *sx_reserve(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

bool sx_make_usable(void *pointer, size_t bytes) { return mprotect(pointer, bytes, PROT_READ | PROT_WRITE) == 0; }

static void *map_anywhere(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void *sx_map(size_t bytes) {
    if (bytes < 2 * huge || bytes > SIZE_MAX - huge) return map_anywhere(bytes);
    // Start on a 2 MB frame: a mapping that starts anywhere loses up to two frames to small pages. What is cut off is
    // never usable: with mlockall it would become resident first.
    char *p = sx_reserve(bytes + huge);
    if (!p) return map_anywhere(bytes);
    size_t page = 4096, length = (bytes + page - 1) & ~(page - 1);
    size_t before = (huge - ((uintptr_t)p & (huge - 1))) & (huge - 1);
    size_t after = ((bytes + huge + page - 1) & ~(page - 1)) - before - length;
    // Cutting can take one mapping more than the process may have; without cuts it does not. What is once given back
    // may be another thread's by now, so only the rest goes.
    if (before && munmap(p, before) != 0) {
        sx_unmap(p, before + length + after);
        return map_anywhere(bytes);
    }
    p += before;
    if (after && munmap(p + length, after) != 0) {
        sx_unmap(p, length + after);
        return map_anywhere(bytes);
    }
    if (sx_make_usable(p, length)) return p;
    sx_unmap(p, length);
    return map_anywhere(bytes);
}

void sx_unmap(void *pointer, size_t bytes) {
    // The kernel joins neighbours to one mapping, so this too can be a cut.
    // Then the addresses are lost, the memory is not.
    int before = errno;
    if (munmap(pointer, bytes) != 0) madvise(pointer, bytes, MADV_DONTNEED);
    errno = before;
}

void sx_give_back(void *pointer, size_t bytes) {
    // A fresh mapping in the place of the old one: that also frees memory which is locked (mlockall).
    void *p = mmap(pointer, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (p != MAP_FAILED) return;
    // No mapping to be had. What is given back has to read as zero when it is used again.
    if (madvise(pointer, bytes, MADV_DONTNEED) == 0) return;
    if (mprotect(pointer, bytes, PROT_READ | PROT_WRITE) == 0) memset(pointer, 0, bytes);
}

void sx_zero_pages(void *pointer, size_t bytes) {
    // Refused for locked memory.
    if (madvise(pointer, bytes, MADV_DONTNEED) != 0) memset(pointer, 0, bytes);
}

void sx_huge_pages(void *pointer, size_t bytes) {
    // Only frames that lie inside: a frame that reaches past the end would be filled up with memory nobody asked for.
    uintptr_t begin = ((uintptr_t)pointer + huge - 1) & ~(huge - 1), end = ((uintptr_t)pointer + bytes) & ~(huge - 1);
    if (begin < end) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}
