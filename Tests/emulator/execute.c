/*
 * execute.c - checks that an instruction may run, and performs it.
 */
#include "internal.h"

#include <string.h>

static int permission_demanded;
static int permission_granted;

void tile_emulator_demand_permission(void) { permission_demanded = 1; }
void tile_emulator_grant_permission(void) { __atomic_store_n(&permission_granted, 1, __ATOMIC_RELAXED); }
int tile_emulator_permitted(void) { return __atomic_load_n(&permission_granted, __ATOMIC_RELAXED); }

/* Checks that AMX may be used at all: permission, and a configuration unless the instruction works without one. */
static void check_use(int op, uint64_t rip, int needs_config) {
    if (permission_demanded && !__atomic_load_n(&permission_granted, __ATOMIC_RELAXED))
        emu_violation(op, rip, "no permission: arch_prctl(ARCH_REQ_XCOMP_PERM, 18) has not succeeded", 0, 0, 0);
    if (needs_config && !emu_state.configured) emu_violation(op, rip, "no configuration is loaded", 0, 0, 0);
    if (needs_config && emu_state.config[0] != 1) {
        emu_violation(op, rip, "the configuration is not of palette 1", 1, emu_state.config[0], 0);
    }
}

static void check_tile(int op, uint64_t rip, unsigned t) {
    if (t >= TILES) emu_violation(op, rip, "tile number above 7", 1, t, 0);
    if (tile_rows(t) == 0) emu_violation(op, rip, "tile is not configured", 1, t, 0);
}

static void multiply_tiles(int op, uint64_t rip, unsigned c, unsigned a, unsigned b) {
    check_use(op, rip, 1);
    check_tile(op, rip, c);
    check_tile(op, rip, a);
    check_tile(op, rip, b);
    if (c == a || c == b || a == b) emu_violation(op, rip, "the three tiles are not distinct", 2, a, b);
    if (tile_rows(a) != tile_rows(c))
        emu_violation(op, rip, "A.rows is not C.rows", 2, tile_rows(a), tile_rows(c));
    if (tile_colsb(b) != tile_colsb(c))
        emu_violation(op, rip, "B.colsb is not C.colsb", 2, tile_colsb(b), tile_colsb(c));
    if (tile_colsb(a) != 4 * tile_rows(b))
        emu_violation(op, rip, "A.colsb is not 4 * B.rows (A.colsb, B.rows)", 2, tile_colsb(a), tile_rows(b));
    emu_multiply(op, c, a, b);
}

int emu_execute(greg_t *gregs) {
    instruction in;
    if (!emu_decode(gregs, &in)) return 0;
    const unsigned t = in.reg;
    switch (in.op) {
    case TILE_LDTILECFG:
        check_use(in.op, in.rip, 0);
        emu_load_config(in.rip, in.base + in.index);
        break;
    case TILE_STTILECFG:
        memcpy((void *)(uintptr_t)(in.base + in.index), emu_state.config, sizeof emu_state.config);
        break;
    case TILE_TILERELEASE: emu_release(); break;
    case TILE_TILEZERO:
        check_use(in.op, in.rip, 1);
        check_tile(in.op, in.rip, t);
        memset(emu_state.tile[t], 0, sizeof emu_state.tile[t]);
        break;
    case TILE_TILELOADD:
    case TILE_TILELOADDT1:
        check_use(in.op, in.rip, 1);
        check_tile(in.op, in.rip, t);
        emu_load_tile(t, in.base, in.index);
        break;
    case TILE_TILESTORED:
        check_use(in.op, in.rip, 1);
        check_tile(in.op, in.rip, t);
        emu_store_tile(t, in.base, in.index);
        break;
    default: multiply_tiles(in.op, in.rip, in.reg, in.rm, in.vvvv); break;
    }
    emu_count(in.op);
    gregs[REG_RIP] = (greg_t)in.next;
    return 1;
}
