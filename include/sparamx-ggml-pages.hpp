/*
 * sparamx-ggml-pages.hpp - the part of the adapter for ggml hosts that gives back the pages of a mapped model file.
 *
 * A host that maps its model file hands every weight over from the mapping. Once a weight is packed nobody reads these
 * pages again, but they stay in the process's resident memory.
 */
#ifndef SPARAMX_GGML_PAGES_HPP
#define SPARAMX_GGML_PAGES_HPP

#include "sparamx-ggml-maps.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace sparamx_ggml {

namespace pages {

/* No page of the range is a copy of its own, which a private mapping has of every page that was ever written: only
 * pages that are as in the file can be read from it again. */
inline bool all_as_in_file(uintptr_t begin, uintptr_t end, uintptr_t page) {
    const int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (map < 0) return false;
    bool clean = true;
    for (uintptr_t at = begin; clean && at < end;) {
        uint64_t      entries[512];
        const size_t  wanted = (end - at) / page < 512 ? (end - at) / page : 512;
        const ssize_t got = pread(map, entries, wanted * sizeof(uint64_t), off_t(at / page * sizeof(uint64_t)));
        if (got < ssize_t(sizeof(uint64_t))) clean = false;
        const size_t n = clean ? size_t(got) / sizeof(uint64_t) : 0;
        for (size_t i = 0; i < n; ++i) {
            const bool present = entries[i] >> 63 & 1, swapped = entries[i] >> 62 & 1, of_file = entries[i] >> 61 & 1;
            if (swapped || (present && !of_file)) clean = false;
        }
        at += n * page;
    }
    close(map);
    return clean;
}

/* Takes whole pages of [data, data + size) out of this process's resident memory if they belong to a file that is
 * mapped for reading alone and are as in the file: the kernel then reads the same bytes again if anybody asks. The
 * file's pages stay in the page cache, for other processes and the next start. Anything else (the heap, shared memory
 * that is written, pages that were locked) is left alone. */
inline void give_back(const void * data, size_t size) {
    const int       kept = errno;
    const uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + size) / page * page;
    maps::mapping   m;
    if (begin < end && end - begin >= 16 * page && maps::find(begin, end, m) && m.is_readable && !m.is_writable &&
        (!m.is_private || all_as_in_file(begin, end, page))) {
        madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED); /* EINVAL: locked; they stay */
    }
    errno = kept;
}

} // namespace pages

} // namespace sparamx_ggml

#endif /* SPARAMX_GGML_PAGES_HPP */
