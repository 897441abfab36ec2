/*
 * refusal_test - what nth_failure_test cannot make: several refusals of the kernel in one call, and what they leave
 * behind in pages. mmap, munmap, madvise and mprotect of this program stand before libc's; a refusal is of the
 * library's calls alone. Whether memory is usable is asked of the kernel: write() from a forbidden page says EFAULT.
 */
#define _GNU_SOURCE
#include "check.h"
#include "in_library.h"
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, HUGE = 2 << 20 };

/* Which calls are refused: bit i for the i-th of its kind from now on. */
static uint64_t no_mmap, no_munmap, no_mprotect, no_madvise;
static int mmaps, munmaps, mprotects, madvises, refusals;

static void expect_refusals(uint64_t of_mmap, uint64_t of_munmap, uint64_t of_mprotect, uint64_t of_madvise) {
    no_mmap = of_mmap, no_munmap = of_munmap, no_mprotect = of_mprotect, no_madvise = of_madvise;
    mmaps = munmaps = mprotects = madvises = refusals = 0;
}

static bool refused(uint64_t which, int *count, const void *caller) {
    if (!in_library((uintptr_t)caller)) return false;
    bool now = *count < 64 && (which >> *count & 1);
    ++*count;
    if (now) refusals++, errno = ENOMEM;
    return now;
}

/* What was made usable last, and where huge pages were asked for. */
static uintptr_t usable, usable_end, huge, huge_end;

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
    if (refused(no_mmap, &mmaps, __builtin_return_address(0))) return MAP_FAILED;
    void *p = (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
    if (in_library((uintptr_t)__builtin_return_address(0)) && protection != PROT_NONE && p != MAP_FAILED)
        usable = (uintptr_t)p, usable_end = usable + length;
    return p;
}

int munmap(void *address, size_t length) {
    if (refused(no_munmap, &munmaps, __builtin_return_address(0))) return -1;
    return (int)syscall(SYS_munmap, address, length);
}

int mprotect(void *address, size_t length, int protection) {
    if (refused(no_mprotect, &mprotects, __builtin_return_address(0))) return -1;
    if (in_library((uintptr_t)__builtin_return_address(0)))
        usable = (uintptr_t)address, usable_end = usable + length;
    return (int)syscall(SYS_mprotect, address, length, protection);
}

int madvise(void *address, size_t length, int advice) {
    if (refused(no_madvise, &madvises, __builtin_return_address(0))) return -1;
    if (advice == MADV_HUGEPAGE) huge = (uintptr_t)address, huge_end = huge + length;
    return (int)syscall(SYS_madvise, address, length, advice);
}

static bool readable(const void *address) {
    int ends[2];
    if (pipe(ends) != 0) exit(2);
    bool good = write(ends[1], address, 1) == 1;
    close(ends[0]), close(ends[1]);
    return good;
}

static size_t statm(const char *format) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, format, &pages) != 1) exit(2);
    fclose(file);
    return pages * PAGE;
}
static size_t address_space(void) { return statm("%lu"); }
static size_t resident(void) { return statm("%*u %lu"); }

/* -- one tensor of a buffer ---------------------------------------------------------------------------------------- */

enum { N = 40, K = 96, BYTES = N * K * 2 };
static uint8_t before[BYTES], after[BYTES], got[BYTES], want[BYTES];
static sparamx_buffer *buffer;
static sparamx_tensor tensor;

static void open_buffer(void) {
    sparamx_buffer_options o = {.size = sizeof o, .form = SPARAMX_FORM_SPARSE, .pack_threads = 1};
    if (sparamx_buffer_create(1 << 20, &o, &buffer) != SPARAMX_OK) exit(2);
    tensor = make_tensor(SPARAMX_TYPE_BF16, K, N, 1, 1, (char *)sparamx_buffer_base(buffer) + PAGE, buffer);
}

static bool holds(const uint8_t *bytes) {
    return sparamx_buffer_get_tensor(buffer, &tensor, got, 0, BYTES) == SPARAMX_OK && memcmp(got, bytes, BYTES) == 0;
}

static bool place_is_usable(void) {
    for (size_t i = 0; i < BYTES; i += PAGE) {
        if (readable((char *)tensor.data + i)) return true;
    }
    return false;
}

/* Address space is not usable before bytes arrive, and no more once they are packed. */
static void test_place(void) {
    open_buffer();
    CHECK(sparamx_buffer_init_tensor(buffer, &tensor) == SPARAMX_OK && !place_is_usable(), "usable before a byte");
    CHECK(sparamx_buffer_set_tensor(buffer, &tensor, before, 0, BYTES / 2) == SPARAMX_OK && place_is_usable(), "half");
    CHECK(sparamx_buffer_set_tensor(buffer, &tensor, before + BYTES / 2, BYTES / 2, BYTES / 2) == SPARAMX_OK &&
              !place_is_usable() && holds(before),
          "the raw place stays usable after packing");
    CHECK(sparamx_buffer_set_tensor(buffer, &tensor, after, 0, BYTES) == SPARAMX_OK && !place_is_usable() &&
              holds(after),
          "a whole upload makes the raw place usable");
    sparamx_buffer_destroy(buffer);
}

/* A change of a packed weight that fails gives the raw pages back, whichever mapping was refused. */
static void test_failed_change(void) {
    for (int n = 0; n < 8; n++) {
        open_buffer();
        if (sparamx_buffer_set_tensor(buffer, &tensor, before, 0, BYTES) != SPARAMX_OK) exit(2);
        size_t counted = sparamx_buffer_resident(buffer);
        expect_refusals(1ull << n, 0, 0, 0);
        sparamx_status status = sparamx_buffer_set_tensor(buffer, &tensor, after + 10, 10, BYTES / 3);
        int count = mmaps, happened = refusals;
        expect_refusals(0, 0, 0, 0);
        if (status != SPARAMX_OK) {
            CHECK(status == SPARAMX_ERR_NO_MEMORY && happened == 1, "status %d after %d refusals", status, happened);
            CHECK(holds(before) && sparamx_buffer_resident(buffer) == counted, "mapping %d is refused: a change", n);
            CHECK(!place_is_usable(), "mapping %d is refused: the raw pages of a packed weight stay", n);
        }
        CHECK(n > 0 || status != SPARAMX_OK, "no mapping is needed for a change");
        sparamx_buffer_destroy(buffer);
        if (count < n) break;
    }
}

/* The last bytes of a weight, of which some write over others: refused, the others are as they were. */
static void test_failed_completion(void) {
    for (int n = 0; n < 8; n++) {
        open_buffer();
        memset(want, 0, BYTES);
        memcpy(want, before, BYTES / 2);
        if (sparamx_buffer_set_tensor(buffer, &tensor, before, 0, BYTES / 2) != SPARAMX_OK) exit(2);
        expect_refusals(1ull << n, 0, 0, 0);
        sparamx_status status =
            sparamx_buffer_set_tensor(buffer, &tensor, after + BYTES / 4, BYTES / 4, BYTES - BYTES / 4);
        expect_refusals(0, 0, 0, 0);
        CHECK(n > 0 || status == SPARAMX_ERR_NO_MEMORY, "no mapping is needed for the last bytes");
        if (status == SPARAMX_OK) memcpy(want + BYTES / 4, after + BYTES / 4, BYTES - BYTES / 4);
        CHECK(holds(want), "mapping %d is refused, status %d: other contents than before", n, status);
        sparamx_buffer_destroy(buffer);
    }
}

/* What is given back reads as zero when it is used again, whatever way of giving back the kernel refuses. */
static void test_given_back_is_zero(void) {
    for (int what = 0; what < 3; what++) {
        open_buffer();
        memset(want, 0, BYTES);
        if (sparamx_buffer_set_tensor(buffer, &tensor, before, 0, BYTES / 2) != SPARAMX_OK) exit(2);
        expect_refusals(what > 0 ? ~0ull : 0, 0, 0, what > 1 ? ~0ull : 0);
        sparamx_status status = sparamx_buffer_reset(buffer);
        int happened = refusals;
        expect_refusals(0, 0, 0, 0);
        CHECK(status == SPARAMX_OK && happened == what, "reset: %d, %d refusals", status, happened);
        CHECK(sparamx_buffer_set_tensor(buffer, &tensor, after, 0, 1) == SPARAMX_OK, "a byte");
        want[0] = after[0];
        CHECK(holds(want), "what a buffer held before its reset is there again, %d refusals", happened);
        sparamx_buffer_destroy(buffer);
    }
}

/* A tensor that stays raw is cleared to zero where it is; the kernel may refuse that (for locked memory it does). */
static void test_cleared_is_zero(void) {
    sparamx_buffer_options o = {.size = sizeof o, .usage = SPARAMX_USAGE_ANY};
    CHECK(sparamx_buffer_create(1 << 20, &o, &buffer) == SPARAMX_OK, "a buffer");
    tensor = make_tensor(SPARAMX_TYPE_BF16, K, N, 1, 1, sparamx_buffer_base(buffer), buffer);
    memset(want, 0, BYTES);
    for (int what = 0; what < 2; what++) {
        CHECK(sparamx_buffer_set_tensor(buffer, &tensor, before, 0, BYTES) == SPARAMX_OK && holds(before), "raw");
        expect_refusals(0, 0, 0, what ? ~0ull : 0);
        sparamx_status status = sparamx_buffer_clear(buffer, 0);
        int happened = refusals;
        expect_refusals(0, 0, 0, 0);
        CHECK(status == SPARAMX_OK && happened == what && holds(want), "clear to zero: %d, %d refusals",
              status, happened);
    }
    sparamx_buffer_destroy(buffer);
}

/* Address space that cannot be made usable is a refusal, and the next call works. */
static void test_not_usable(void) {
    open_buffer();
    expect_refusals(0, 0, 1, 0);
    CHECK(sparamx_buffer_set_tensor(buffer, &tensor, before, 0, BYTES / 2) == SPARAMX_ERR_NO_MEMORY && refusals == 1,
          "pages cannot be had");
    expect_refusals(0, 0, 0, 0);
    memset(want, 0, BYTES);
    CHECK(holds(want), "nothing has arrived");
    memcpy(want, before, BYTES / 2);
    CHECK(sparamx_buffer_set_tensor(buffer, &tensor, before, 0, BYTES / 2) == SPARAMX_OK && holds(want),
          "then it works");
    sparamx_buffer_destroy(buffer);
}

/* A buffer is as large as the host asked, not as large as its pages. */
static void test_size_of_buffer(void) {
    for (size_t size = 100; size <= PAGE; size += PAGE - 100) {
        sparamx_buffer *small = NULL;
        CHECK(sparamx_buffer_create(size, NULL, &small) == SPARAMX_OK, "a buffer of %zu bytes", size);
        for (int64_t n = 1; n <= 64; n *= 2) {
            sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, 50, n, 1, 1, sparamx_buffer_base(small), small);
            sparamx_status expected = (size_t)n * 100 <= size ? SPARAMX_OK : SPARAMX_ERR_RANGE;
            sparamx_status status = sparamx_buffer_init_tensor(small, &t);
            CHECK(status == expected, "a tensor of %lld bytes in a buffer of %zu: %d", (long long)n * 100, size,
                  status);
            sparamx_buffer_reset(small);
        }
        sparamx_buffer_destroy(small);
    }
}

/* -- large mappings, which start on a frame of 2 MiB --------------------------------------------------------------- */

static uint8_t *large;
enum { ROWS = 2100, WIDTH = 1500 };

static sparamx_status make_large(sparamx_linear **out) {
    sparamx_linear_options o = {.size = sizeof o, .form = SPARAMX_FORM_DENSE, .pack_threads = 1};
    return sparamx_linear_create(SPARAMX_TYPE_BF16, ROWS, WIDTH, large, 0, &o, out);
}

static void test_large(void) {
    large = must_allocate((size_t)ROWS * WIDTH * 2);
    fill_weights(SPARAMX_TYPE_BF16, ROWS, WIDTH, 0.1, 3, large);
    sparamx_linear *linear = NULL;
    CHECK(make_large(&linear) == SPARAMX_OK, "a linear");
    sparamx_tensor_info info = {.size = sizeof info};
    CHECK(sparamx_linear_info(linear, &info) == SPARAMX_OK && info.packed_bytes > 2 * HUGE, "its size");
    CHECK(usable % HUGE == 0 && usable_end - usable >= info.packed_bytes, "it does not start on a frame");
    CHECK(huge_end > huge && huge >= usable && huge_end <= usable + info.packed_bytes && huge % HUGE == 0,
          "huge pages for %zu bytes from %zu on, of %zu", (size_t)(huge_end - huge), (size_t)(huge - usable),
          (size_t)info.packed_bytes);
    sparamx_linear_destroy(linear);

    /* The kernel may refuse to cut: nothing stays behind, and a mapping that starts anywhere serves. */
    for (int n = 0; n < 3; n++) {
        linear = NULL;
        size_t space = address_space();
        expect_refusals(0, 1ull << n, 0, 0);
        sparamx_status status = make_large(&linear);
        int happened = refusals;
        expect_refusals(0, 0, 0, 0);
        CHECK(status == SPARAMX_OK && sparamx_linear_read(linear, 0, 1, got) == SPARAMX_OK &&
                  memcmp(got, large, WIDTH * 2) == 0,
              "release %d is refused: status %d", n, status);
        sparamx_linear_destroy(linear);
        size_t kept = address_space() - space;
        /* The third is not a cut: the counts of packing, which the kernel then keeps as addresses. */
        CHECK(happened == 0 || kept == 0 || (n == 2 && kept < HUGE), "release %d is refused: %zu bytes stay", n, kept);
    }
    /* What cannot be unmapped is address space alone. */
    if (make_large(&linear) != SPARAMX_OK) exit(2);
    size_t memory = resident();
    expect_refusals(0, ~0ull, 0, 0);
    sparamx_linear_destroy(linear);
    CHECK(refusals > 0, "nothing is unmapped");
    expect_refusals(0, 0, 0, 0);
    CHECK(resident() + info.packed_bytes < memory + HUGE, "what cannot be unmapped stays in memory");
    free(large);
}

int main(void) {
    find_library();
    isa_level();
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.5, 1, before);
    fill_weights(SPARAMX_TYPE_BF16, N, K, 0.6, 2, after);
    test_place();
    test_failed_change();
    test_failed_completion();
    test_given_back_is_zero();
    test_cleared_is_zero();
    test_not_usable();
    test_size_of_buffer();
    test_large();
    return check_end();
}
