/*
 * check.h - counts checks. A check that fails prints one line; the last line is "N passed, N failed, N skipped".
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdio.h>

static struct {
    long passed, failed, skipped;
} checks;

/* Counts one check; the rest is a printf format that says what was wrong. Its value is the condition. */
#define CHECK(condition, ...) check_one((condition) ? true : false, __FILE__, __LINE__, __VA_ARGS__)

/* Says aloud what could not be checked here, and why. */
#define SKIP(count, ...) check_skip((count), __VA_ARGS__)

__attribute__((format(printf, 4, 5), unused)) static bool check_one(bool good, const char *file, int line,
                                                                    const char *format, ...) {
    if (good) {
        checks.passed++;
        return true;
    }
    checks.failed++;
    if (checks.failed <= 50) {
        __builtin_va_list arguments;
        __builtin_va_start(arguments, format);
        printf("not ok: %s:%d: ", file, line);
        vprintf(format, arguments);
        printf("\n");
        fflush(stdout);
        __builtin_va_end(arguments);
    } else if (checks.failed == 51) {
        printf("not ok: and more\n");
    }
    return false;
}

__attribute__((format(printf, 2, 3), unused)) static void check_skip(long count, const char *format, ...) {
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    printf("SKIPPED %ld: ", count);
    vprintf(format, arguments);
    printf("\n");
    __builtin_va_end(arguments);
    checks.skipped += count;
}

/* Prints the last line; what main returns. */
static int check_end(void) {
    printf("%ld passed, %ld failed, %ld skipped\n", checks.passed, checks.failed, checks.skipped);
    return checks.failed > 0 ? 1 : 0;
}

#endif
