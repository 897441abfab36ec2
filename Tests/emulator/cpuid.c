/*
 * cpuid.c - CPUID and XGETBV of a patched library.
 *
 * patch_cpuid.py turns CPUID (0F A2) into 27 A2 and XGETBV (0F 01 D0) into UD0 EAX, EAX (0F FF C0). 27 is no
 * instruction in 64-bit mode. UD2, the usual choice, would not do: compilers write it for traps, and a trap that is
 * taken for a CPUID would pass unseen.
 */
#include "internal.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PATCHED_CPUID_0 = 0x27, PATCHED_CPUID_1 = 0xa2 };
enum { CPUID_OFF, CPUID_FULL, CPUID_NO_AMX, CPUID_NO_AVX512, CPUID_AMX_HIDDEN, CPUID_AVX512_HIDDEN };
static int cpuid_mode = CPUID_OFF;

/* Whether the address lies in a mapping of a file with ".emulated." in its name (without the directories). */
static int in_emulated_file(uint64_t address) {
    const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    static const char wanted[] = ".emulated.";
    const unsigned wanted_length = sizeof wanted - 1;
    char buffer[1024];
    uint64_t start = 0, end = 0;
    unsigned field = 0, matched = 0; /* field: 0 start, 1 end, 2 the rest of the line */
    int found = 0, hit = 0;
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR)) {
        for (ssize_t i = 0; i < n; i++) {
            const char ch = buffer[i];
            if (ch == '\n') {
                if (hit && address >= start && address < end) found = 1;
                start = end = 0;
                field = matched = 0;
                hit = 0;
            } else if (field < 2) {
                const int digit = ch >= '0' && ch <= '9' ? ch - '0' : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
                if (digit < 0) {
                    field++;
                } else if (field == 0) {
                    start = start << 4 | (unsigned)digit;
                } else {
                    end = end << 4 | (unsigned)digit;
                }
            } else if (ch == '/') {
                matched = 0;
                hit = 0;
            } else {
                /* '.' occurs in the pattern only at both ends, so after a mismatch it restarts at 1 or 0. */
                matched = ch == wanted[matched] ? matched + 1 : ch == '.';
                if (matched == wanted_length) {
                    hit = 1;
                    matched = 1;
                }
            }
        }
    }
    close(fd);
    return found;
}

/* What interpreted AVX-512 adds to the CPU at hand: F, DQ, BW, VL; VBMI, VBMI2, VNNI; and, in subleaf 1, BF16. */
static const uint32_t interpreted_ebx = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
static const uint32_t interpreted_ecx = 1u << 1 | 1u << 6 | 1u << 11;
static const uint32_t interpreted_1_eax = 1u << 5;

static uint32_t without(uint32_t value, uint32_t bits, int clear) { return clear ? value & ~bits : value; }

/* AVX-512 in leaf 7. EBX: F, DQ, IFMA, PF, ER, CD, BW, VL. ECX: VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ. */
static const uint32_t avx512_ebx =
    1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31;
static const uint32_t avx512_ecx = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14;
/* EDX: 4VNNIW, 4FMAPS, VP2INTERSECT, FP16. */
static const uint32_t avx512_edx = 1u << 2 | 1u << 3 | 1u << 8 | 1u << 23;

int emu_execute_cpuid(greg_t *gregs) {
    if (cpuid_mode == CPUID_OFF) return 0;
    const uint8_t *p = (const uint8_t *)(uintptr_t)gregs[REG_RIP];
    const int is_cpuid = p[0] == PATCHED_CPUID_0 && p[1] == PATCHED_CPUID_1;
    const int is_xgetbv = !is_cpuid && p[0] == 0x0f && p[1] == 0xff && p[2] == 0xc0;
    if (!is_cpuid && !is_xgetbv) return 0;
    const int mode = cpuid_mode, saved_errno = errno;
    const int ours = in_emulated_file((uint64_t)gregs[REG_RIP]);
    errno = saved_errno;
    if (!ours) return 0;

    if (is_cpuid) {
        const uint32_t leaf = (uint32_t)gregs[REG_RAX], subleaf = (uint32_t)gregs[REG_RCX];
        uint32_t a, b, c, d;
        __cpuid_count(leaf, subleaf, a, b, c, d);
        const int no_avx512 = mode == CPUID_NO_AVX512;
        if (emu_interpret != NULL && leaf == 7 && subleaf == 0) {
            a = a == 0 ? 1 : a; /* there is a subleaf 1 */
            b |= interpreted_ebx;
            c |= interpreted_ecx;
        } else if (emu_interpret != NULL && leaf == 7 && subleaf == 1) {
            a |= interpreted_1_eax;
        }
        if (leaf == 7 && subleaf == 0) {
            const uint32_t amx = 1u << 22 | 1u << 24 | 1u << 25; /* BF16, TILE, INT8 */
            d = mode == CPUID_NO_AMX ? d & ~amx : d | amx;
            b = without(b, avx512_ebx, no_avx512);
            c = without(c, avx512_ecx, no_avx512);
            d = without(d, avx512_edx, no_avx512);
        } else if (leaf == 7 && subleaf == 1) {
            a = without(a, 1u << 5, no_avx512); /* AVX512_BF16 */
            a = without(a, 1u << 21, mode == CPUID_NO_AMX); /* AMX-FP16 */
        }
        gregs[REG_RAX] = (greg_t)a;
        gregs[REG_RBX] = (greg_t)b;
        gregs[REG_RCX] = (greg_t)c;
        gregs[REG_RDX] = (greg_t)d;
        gregs[REG_RIP] += 2;
        emu_count(TILE_CPUID);
        return 1;
    }

    const uint32_t which = (uint32_t)gregs[REG_RCX];
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(which));
    if (which == 0) {
        const uint32_t tiles = 1u << 17 | 1u << 18, avx512 = 1u << 5 | 1u << 6 | 1u << 7;
        if (emu_interpret != NULL) low |= avx512;
        low = mode == CPUID_NO_AMX || mode == CPUID_AMX_HIDDEN ? low & ~tiles : low | tiles;
        low = without(low, avx512, mode == CPUID_AVX512_HIDDEN);
    }
    gregs[REG_RAX] = (greg_t)low;
    gregs[REG_RDX] = (greg_t)high;
    gregs[REG_RIP] += 3;
    emu_count(TILE_XGETBV);
    return 1;
}

int tile_emulator_emulate_cpuid(const char *mode) {
    static const char *const modes[] = {"full", "no-amx", "no-avx512", "amx-hidden", "avx512-hidden"};
    for (int i = 0; i < (int)(sizeof modes / sizeof modes[0]); i++) {
        if (strcmp(mode, modes[i]) == 0) {
            tile_emulator_install();
            cpuid_mode = CPUID_FULL + i;
            return 0;
        }
    }
    return -1;
}
