// Embedded Swift's runtime names arc4random_buf for hashing. Nothing here hashes, and the linker drops that code, but
// the name alone would stay and ask for glibc 2.36, which has it. So it is here, is dropped with its caller, and the
// library runs with glibc 2.34; cmake/check_library.py looks.
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("hidden"))) void arc4random_buf(void *to, size_t bytes) {
    unsigned char *at = to;
    while (bytes > 0) {
        const long got = syscall(SYS_getrandom, at, bytes, 0);
        if (got <= 0) continue; // interrupted: with these arguments nothing else can be
        at += got;
        bytes -= (size_t)got;
    }
}
