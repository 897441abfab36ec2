/*
 * in_library.h - whether an address lies in libsparamx: tells the library's calls to libc from those of the rest of the
 * process. For one file of a program, which defines _GNU_SOURCE.
 */
#ifndef IN_LIBRARY_H
#define IN_LIBRARY_H

#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static uintptr_t library_begin, library_end;

static int look_at_library(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size, (void)data;
    if (strstr(info->dlpi_name, "libsparamx.so") == NULL) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
        uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr, end = begin + info->dlpi_phdr[i].p_memsz;
        if (library_begin == 0 || begin < library_begin) library_begin = begin;
        if (end > library_end) library_end = end;
    }
    return 1;
}

/* Before the first question. */
static void find_library(void) { dl_iterate_phdr(look_at_library, NULL); }

static bool in_library(uintptr_t address) { return address >= library_begin && address < library_end; }

#endif
