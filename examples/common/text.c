#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *text_printable(const char *s, char *out, size_t size) {
    size_t n = 0;
    for (; s[n] != 0 && n + 1 < size; n++) {
        unsigned char c = (unsigned char)s[n], before = n > 0 ? (unsigned char)s[n - 1] : 0;
        bool control = c < 0x20 || c == 0x7f || (before == 0xc2 && c >= 0x80 && c < 0xa0); /* the last: C1 in UTF-8 */
        out[n] = control ? '?' : s[n];
    }
    out[n] = 0;
    return out;
}

bool text_written(const char *program) {
    errno = 0;
    if (fflush(stdout) == 0 && ferror(stdout) == 0) return true;
    fprintf(stderr, "%s: stdout: it could not be written completely: %s\n", program,
            errno != 0 ? strerror(errno) : "an earlier line failed");
    return false;
}
