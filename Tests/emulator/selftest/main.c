/*
 * main.c - checks the tile emulator against plain scalar loops.
 *
 *   selftest           all checks; last line "N passed, N failed, N skipped"; status 1 if any failed
 *   selftest --bench   what one emulated instruction costs
 */
#include "selftest.h"

#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int passed, failed, skipped, inexact;
int on_hardware, cpu_has_fp16;

static uint64_t random_state = 88172645463325252ull;
uint32_t random_u32(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}
unsigned random_below(unsigned n) { return random_u32() % n; }
void random_bytes(void *p, size_t n) {
    for (size_t i = 0; i < n; i++) ((uint8_t *)p)[i] = (uint8_t)random_u32();
}

uint64_t total_count(void) {
    uint64_t total = 0;
    for (int op = 0; op < TILE_OP_COUNT; op++) total += tile_emulator_count(op);
    return total;
}

static int ask_for_hardware(void) {
    uint32_t a, b, c, d;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) cpu_has_fp16 = a >> 21 & 1;
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0; /* ARCH_REQ_XCOMP_PERM, XTILEDATA */
}

int main(int argc, char **argv) {
    test_chain();
    const int installed = tile_emulator_install();
    CHECK(tile_emulator_install() == installed, "a second install gives the same answer");
    CHECK(tile_emulator_active() == (installed == TILE_EMULATOR_ON), "active");
    if (installed == TILE_EMULATOR_NOT_NEEDED && ask_for_hardware()) {
        on_hardware = 1;
        printf("this CPU has AMX: its own instructions are tested, not the emulator\n");
    } else if (installed != TILE_EMULATOR_ON) {
        printf("cannot emulate here (%d): %s\n", installed,
               installed == TILE_EMULATOR_NOT_NEEDED ? "the CPU has AMX, but the kernel refuses permission"
               : installed == TILE_EMULATOR_NO_AVX512 ? "the CPU lacks AVX-512"
                                                      : "sigaction failed");
        printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped + 1);
        return failed != 0;
    }
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench();
        return 0;
    }

    CHECK(total_count() == 0, "nothing counted yet");
    test_config();
    test_zeroing();
    test_memory();
    test_addressing();
    for (int op = TILE_TDPBSSD; op <= TILE_TDPFP16PS; op++) {
        const uint64_t before = tile_emulator_count(op);
        test_products(op);
        CHECK(on_hardware || tile_emulator_count(op) - before == 800, "count of %s", tile_emulator_name(op));
        CHECK(tile_emulator_count_named(tile_emulator_name(op)) == tile_emulator_count(op), "count by name");
    }
    test_float_corners();
    test_group();
    test_registers();
    test_threads();
    test_violations();
    if (!on_hardware) {
        CHECK(tile_emulator_count(TILE_TDPBSSD) > 0, "counts");
        tile_emulator_reset_counts();
        CHECK(total_count() == 0, "counts are reset");
        CHECK(tile_emulator_count(-1) == 0 && tile_emulator_count(TILE_OP_COUNT) == 0, "counts out of range");
        CHECK(tile_emulator_count_named("nop") == 0 && tile_emulator_name(TILE_OP_COUNT) == NULL, "unknown names");
    } else if (inexact != 0) {
        printf("note: %d floating-point elements differ from the manual's order of summation\n", inexact);
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed != 0;
}
