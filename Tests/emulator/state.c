/*
 * state.c - the tiles of each thread and their configuration.
 */
#include "internal.h"

#include <string.h>

__thread tile_state emu_state;

static int64_t configured_threads;

void emu_release(void) {
    if (!emu_state.configured) return; /* all zero already */
    __atomic_fetch_sub(&configured_threads, 1, __ATOMIC_RELAXED);
    memset(&emu_state, 0, sizeof emu_state);
}

static void set_config(const uint8_t c[64]) {
    memcpy(emu_state.config, c, 64);
    emu_state.configured = 1;
    __atomic_fetch_add(&configured_threads, 1, __ATOMIC_RELAXED);
}

void emu_load_config(uint64_t rip, uint64_t address) {
    uint8_t c[64];
    memcpy(c, (const void *)(uintptr_t)address, sizeof c);
    static const uint8_t zero[64];
    const int op = TILE_LDTILECFG;

    if (c[0] == 0) {
        /* Palette 0 is the initial state: this is how a saved "nothing loaded" is restored. Like TILERELEASE. */
        if (memcmp(c, zero, 64) != 0) emu_violation(op, rip, "palette 0 with other bytes not zero", 0, 0, 0);
        emu_release();
        return;
    }
    if (c[0] == 2) {
        /* ACE. A host may have it, and its thread must have it again after a product. What the other bytes mean is
           that extension's matter: they are kept, and no instruction of AMX works on them here. */
        emu_release();
        set_config(c);
        return;
    }
    if (c[0] != 1) emu_violation(op, rip, "palette is none of 0, 1, 2", 1, c[0], 0);
    if (c[1] != 0) emu_violation(op, rip, "start_row is not 0", 1, c[1], 0);
    if (memcmp(c + 2, zero, 14) != 0) emu_violation(op, rip, "reserved bytes 2-15 are not zero", 0, 0, 0);
    if (memcmp(c + 32, zero, 16) != 0) emu_violation(op, rip, "reserved bytes 32-47 are not zero", 0, 0, 0);
    if (memcmp(c + 56, zero, 8) != 0) emu_violation(op, rip, "reserved bytes 56-63 are not zero", 0, 0, 0);
    int any = 0;
    for (unsigned t = 0; t < TILES; t++) {
        const unsigned colsb = c[16 + 2 * t] | (unsigned)c[17 + 2 * t] << 8, rows = c[48 + t];
        if (rows == 0 && colsb == 0) continue; /* not used */
        any = 1;
        if (rows == 0) emu_violation(op, rip, "a tile has columns but no rows (tile, colsb)", 2, t, colsb);
        if (colsb == 0) emu_violation(op, rip, "a tile has rows but no columns (tile, rows)", 2, t, rows);
        if (rows > ROWS) emu_violation(op, rip, "more than 16 rows (tile, rows)", 2, t, rows);
        if (colsb > ROW_BYTES) emu_violation(op, rip, "more than 64 bytes per row (tile, colsb)", 2, t, colsb);
        if (colsb % 4 != 0) emu_violation(op, rip, "colsb is not a multiple of 4 (tile, colsb)", 2, t, colsb);
    }
    if (!any) emu_violation(op, rip, "palette 1 without any tile", 0, 0, 0);
    emu_release();
    set_config(c);
}

int tile_emulator_state(uint8_t config[64]) {
    if (tile_emulator_install() == TILE_EMULATOR_NOT_NEEDED) {
        /* STTILECFG (RDI), in bytes for assemblers that do not know it */
        __asm__ volatile(".byte 0xc4, 0xe2, 0x79, 0x49, 0x07" : : "D"(config) : "memory");
    } else {
        memcpy(config, emu_state.config, 64);
    }
    return config[0] != 0;
}

int64_t tile_emulator_configured_threads(void) { return __atomic_load_n(&configured_threads, __ATOMIC_RELAXED); }
