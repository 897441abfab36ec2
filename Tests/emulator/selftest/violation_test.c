/*
 * violation_test.c - wrong uses of tiles, and what each of them says before it aborts.
 */
#include "machine.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static void with_config(void (*change)(config *)) {
    config c = full_config();
    change(&c);
    ldtilecfg(&c);
}
#define CONFIG_CASE(name, statement)                         \
    static void name##_change(config *c) { statement; }     \
    static void name(int unused) {                           \
        (void)unused;                                        \
        with_config(name##_change);                          \
    }
CONFIG_CASE(bad_palette, c->bytes[0] = 3)
CONFIG_CASE(bad_start_row, c->bytes[1] = 3)
CONFIG_CASE(bad_reserved_2, c->bytes[2] = 1)
CONFIG_CASE(bad_reserved_15, c->bytes[15] = 1)
CONFIG_CASE(bad_reserved_32, c->bytes[32] = 1)
CONFIG_CASE(bad_reserved_47, c->bytes[47] = 1)
CONFIG_CASE(bad_reserved_56, c->bytes[56] = 1)
CONFIG_CASE(bad_reserved_63, c->bytes[63] = 1)
CONFIG_CASE(bad_rows, set_tile(c, 7, 17, 64))
CONFIG_CASE(bad_colsb, set_tile(c, 6, 16, 68))
CONFIG_CASE(bad_colsb_high, set_tile(c, 6, 16, 256))
CONFIG_CASE(bad_colsb_odd, set_tile(c, 0, 16, 62))
CONFIG_CASE(bad_no_rows, set_tile(c, 0, 0, 64))
CONFIG_CASE(bad_no_columns, set_tile(c, 0, 16, 0))
CONFIG_CASE(bad_palette_0, c->bytes[0] = 0)
CONFIG_CASE(bad_empty, *c = empty_config(); c->bytes[0] = 1)

/* A body with a configuration: C is tile 0 (8 x 32 bytes), A is 1 (8 x 16), B is 2 (4 x 32), 7 is not configured. */
static config small_config(void) {
    config c = empty_config();
    set_tile(&c, 0, 8, 32);
    set_tile(&c, 1, 8, 16);
    set_tile(&c, 2, 4, 32);
    set_tile(&c, 3, 7, 16);
    set_tile(&c, 4, 4, 28);
    set_tile(&c, 5, 5, 32);
    return c;
}
#define CASE(name, configured, statement)  \
    static void name(int unused) {         \
        (void)unused;                      \
        const config c = small_config();   \
        if (configured) ldtilecfg(&c);     \
        statement;                         \
    }

CASE(zero_unconfigured, 0, tile(selftest_tilezero, 0, NULL, 0))
CASE(load_unconfigured, 0, load(0, scratch, 64))
CASE(loadt1_unconfigured, 0, tile(selftest_tileloaddt1, 0, scratch, 64))
CASE(store_unconfigured, 0, store(0, scratch, 64))
CASE(tdp_unconfigured, 0, tdp(TILE_TDPBSSD, 0, 1, 2))
CASE(after_release, 1, tilerelease(); tile(selftest_tilezero, 0, NULL, 0))
CASE(zero_no_tile, 1, tile(selftest_tilezero, 7, NULL, 0))
CASE(load_no_tile, 1, load(7, scratch, 64))
CASE(store_no_tile, 1, store(7, scratch, 64))
CASE(tdp_no_dest, 1, tdp(TILE_TDPBUSD, 7, 1, 2))
CASE(tdp_no_a, 1, tdp(TILE_TDPBUSD, 0, 7, 2))
CASE(tdp_no_b, 1, tdp(TILE_TDPBUSD, 0, 1, 7))
CASE(tdp_a_rows, 1, tdp(TILE_TDPBUUD, 0, 3, 2))
CASE(tdp_b_columns, 1, tdp(TILE_TDPBSUD, 0, 1, 4))
CASE(tdp_depth, 1, tdp(TILE_TDPBF16PS, 0, 1, 5))
CASE(tdp_depth_fp16, 1, tdp(TILE_TDPFP16PS, 0, 1, 5))
CASE(same_dest_a, 1, BYTES("0xc4, 0xe2, 0x6b, 0x5e, 0xc0")) /* tdpbssd tmm0, tmm0, tmm2 */
CASE(same_dest_b, 1, BYTES("0xc4, 0xe2, 0x7b, 0x5e, 0xc1")) /* tdpbssd tmm0, tmm1, tmm0 */
CASE(same_a_b, 1, BYTES("0xc4, 0xe2, 0x72, 0x5c, 0xc1"))    /* tdpbf16ps tmm0, tmm1, tmm1 */
CASE(vex_w, 1, BYTES("0xc4, 0xe2, 0xeb, 0x5e, 0xc1"))
CASE(vex_l, 1, BYTES("0xc4, 0xe2, 0x6f, 0x5e, 0xc1"))
CASE(vex_vvvv, 1, BYTES("0xc4, 0xe2, 0x73, 0x4b, 0x04, 0x37"))
CASE(tile_8_dest, 1, BYTES("0xc4, 0x62, 0x6b, 0x5e, 0xc1"))
CASE(tile_9_a, 1, BYTES("0xc4, 0xc2, 0x6b, 0x5e, 0xc1"))
CASE(tile_10_b, 1, BYTES("0xc4, 0xe2, 0x2b, 0x5e, 0xc1"))
CASE(no_sib, 1, BYTES("0xc4, 0xe2, 0x7b, 0x4b, 0x07"))
CASE(fs_prefix, 1, BYTES("0x64, 0xc4, 0xe2, 0x7b, 0x4b, 0x04, 0x37"))
CASE(no_permission, 1, tile_emulator_demand_permission(); load(0, scratch, 64))
static void palette_2(int unused) {
    (void)unused;
    config c = empty_config();
    c.bytes[0] = 2;
    ldtilecfg(&c);
    tile(selftest_tilezero, 0, NULL, 0);
}
CASE(no_permission_config, 0, tile_emulator_demand_permission(); ldtilecfg(&c))

void test_violations(void) {
    /* hardware: whether a CPU with AMX faults as well */
    static const struct {
        void (*body)(int);
        const char *message;
        int hardware;
    } cases[] = {
        {bad_palette, "ldtilecfg at 0x", 1},
        {bad_palette, "palette is none of 0, 1, 2 (3)", 1},
        {palette_2, "the configuration is not of palette 1 (2)", 0},
        {bad_start_row, "start_row is not 0 (3)", 0},
        {bad_reserved_2, "reserved bytes 2-15", 1},
        {bad_reserved_15, "reserved bytes 2-15", 1},
        {bad_reserved_32, "reserved bytes 32-47", 1},
        {bad_reserved_47, "reserved bytes 32-47", 1},
        {bad_reserved_56, "reserved bytes 56-63", 1},
        {bad_reserved_63, "reserved bytes 56-63", 1},
        {bad_rows, "more than 16 rows (tile, rows) (7, 17)", 1},
        {bad_colsb, "more than 64 bytes per row (tile, colsb) (6, 68)", 1},
        {bad_colsb_high, "more than 64 bytes per row (tile, colsb) (6, 256)", 1},
        {bad_colsb_odd, "colsb is not a multiple of 4 (tile, colsb) (0, 62)", 0},
        {bad_no_rows, "columns but no rows", 1},
        {bad_no_columns, "rows but no columns", 1},
        {bad_palette_0, "palette 0 with other bytes not zero", 0},
        {bad_empty, "palette 1 without any tile", 0},
        {zero_unconfigured, "tilezero", 1},
        {zero_unconfigured, "no configuration is loaded", 1},
        {load_unconfigured, "tileloadd", 1},
        {loadt1_unconfigured, "tileloaddt1", 1},
        {store_unconfigured, "tilestored", 1},
        {tdp_unconfigured, "tdpbssd", 1},
        {after_release, "no configuration is loaded", 1},
        {zero_no_tile, "tilezero at", 1},
        {load_no_tile, "tile is not configured (7)", 1},
        {store_no_tile, "tile is not configured (7)", 1},
        {tdp_no_dest, "tile is not configured (7)", 1},
        {tdp_no_a, "tile is not configured (7)", 1},
        {tdp_no_b, "tile is not configured (7)", 1},
        {tdp_a_rows, "tdpbuud", 1},
        {tdp_a_rows, "A.rows is not C.rows (7, 8)", 1},
        {tdp_b_columns, "tdpbsud", 1},
        {tdp_b_columns, "B.colsb is not C.colsb (28, 32)", 1},
        {tdp_depth, "A.colsb is not 4 * B.rows (A.colsb, B.rows) (16, 5)", 1},
        {tdp_depth_fp16, "tdpfp16ps", 1},
        {same_dest_a, "not distinct", 1},
        {same_dest_b, "not distinct", 1},
        {same_a_b, "not distinct", 1},
        {vex_w, "VEX.W", 1},
        {vex_l, "VEX.L", 1},
        {vex_vvvv, "VEX.vvvv", 1},
        {tile_8_dest, "tile number above 7 (8)", 1},
        {tile_9_a, "tile number above 7 (9)", 1},
        {tile_10_b, "tile number above 7 (10)", 1},
        {no_sib, "no SIB byte", 1},
        {fs_prefix, "FS or GS prefix", 0},
        {no_permission, "no permission", 0},
        {no_permission_config, "no permission", 0},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (on_hardware && !cases[i].hardware) {
            skipped++;
            continue;
        }
        char message[1024];
        const int status = in_child(cases[i].body, 0, message, sizeof message);
        if (on_hardware) {
            CHECK(WIFSIGNALED(status) && (WTERMSIG(status) == SIGILL || WTERMSIG(status) == SIGSEGV),
                  "violation %u does not fault here: status %d", i, status);
        } else {
            const char *newline = strchr(message, '\n');
            CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(message, cases[i].message) != NULL &&
                      newline != NULL && newline[1] == 0,
                  "violation %u: status %d, message \"%s\"", i, status, message);
        }
    }
}
