/*
 * sparamx-ggml-maps.hpp - the part of the adapter for ggml hosts that asks the kernel which file an address belongs to.
 */
#ifndef SPARAMX_GGML_MAPS_HPP
#define SPARAMX_GGML_MAPS_HPP

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace sparamx_ggml {

namespace maps {

/* A file that is mapped, without the right to execute it. */
struct mapping {
    uintptr_t   begin = 0, end = 0;
    uint64_t    offset = 0; /* of begin in the file */
    uint64_t    inode = 0;
    bool        is_readable = false, is_writable = false, is_private = false;
    std::string path;
};

enum class answer { found, nothing, no_answer };

/* Linux 6.11 and later answer for one address, whatever else is mapped. The names are those of linux/fs.h, which may be
 * older than the kernel. */
inline answer query(uintptr_t begin, uintptr_t end, mapping & found) {
    struct procmap_query {
        uint64_t size, query_flags, query_addr, vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
        uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
        uint64_t vma_name_addr, build_id_addr;
    };
    enum : uint64_t { readable = 1, writable = 2, executable = 4, shared = 8, file_backed = 0x20 };
    const int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (file < 0) return answer::no_answer;
    char          path[PATH_MAX] = {};
    procmap_query q = {};
    q.size = sizeof(q);
    q.query_flags = file_backed;
    q.query_addr = begin;
    q.vma_name_size = sizeof(path);
    q.vma_name_addr = uint64_t(reinterpret_cast<uintptr_t>(path));
    const int failed = ioctl(file, _IOWR('f', 17, procmap_query), &q) == 0 ? 0 : errno;
    close(file);
    if (failed) return failed == ENOENT ? answer::nothing : answer::no_answer;
    if (q.vma_start > begin || q.vma_end < end || q.inode == 0 || (q.vma_flags & executable)) return answer::nothing;
    found = {uintptr_t(q.vma_start), uintptr_t(q.vma_end), q.vma_offset, q.inode, (q.vma_flags & readable) != 0,
             (q.vma_flags & writable) != 0, (q.vma_flags & shared) == 0, q.vma_name_size > 0 ? path : ""};
    return answer::found;
}

/* The same from the list of all mappings, which every kernel gives. */
inline bool read_list(uintptr_t begin, uintptr_t end, mapping & found) {
    std::FILE * list = std::fopen("/proc/self/maps", "re");
    if (!list) return false;
    char * line = nullptr;
    size_t room = 0;
    bool   is_found = false;
    while (getline(&line, &room, list) > 0) {
        unsigned long      from, to, inode;
        unsigned long long offset;
        char               rights[5];
        int                name = 0;
        if (std::sscanf(line, "%lx-%lx %4s %llx %*x:%*x %lu %n", &from, &to, rights, &offset, &inode, &name) != 5 ||
            begin < from || end > to) {
            continue;
        }
        is_found = inode != 0 && rights[2] != 'x';
        if (!is_found) break;
        std::string path = name ? line + name : "";
        if (!path.empty() && path.back() == '\n') path.pop_back();
        found = {from, to, offset, inode, rights[0] == 'r', rights[1] == 'w', rights[3] == 'p', std::move(path)};
        break;
    }
    std::free(line);
    std::fclose(list);
    return is_found;
}

/* The mapping of a file that all of [begin, end) lies in. False: there is none, or the kernel does not say. */
inline bool find(uintptr_t begin, uintptr_t end, mapping & found) {
    const answer a = query(begin, end, found);
    return a == answer::no_answer ? read_list(begin, end, found) : a == answer::found;
}

} // namespace maps

} // namespace sparamx_ggml

#endif /* SPARAMX_GGML_MAPS_HPP */
