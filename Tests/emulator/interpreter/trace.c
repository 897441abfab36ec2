/*
 * trace.c - writes down what one call of a function executes, for models of a CPU.
 *
 * The function's first bytes become UD2 until it is called. From there to its return it is interpreted, with all that
 * it calls in the same file, and every instruction leaves a record. What it calls in other files runs natively and
 * leaves none: the place that it returns to becomes UD2 in the same way.
 */
#include "../internal.h"
#include "avx512_interpreter.h"
#include "machine.h"
#include "trace.h"

#include <Zydis/Zydis.h>
#include <sys/mman.h>

static avx512_interpreter_record *records;
static uint64_t capacity, used, wanted, image, stop_stack;
static uint64_t armed;
static uint16_t original;
static void note_tile(const greg_t *gregs);
int trace_state; /* TRACE_OFF ... */

static int put_bytes(uint64_t rip, uint16_t bytes) {
    const uint64_t page = rip & ~4095ull;
    if (mprotect((void *)(uintptr_t)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) return 0;
    memcpy((void *)(uintptr_t)rip, &bytes, sizeof bytes);
    return mprotect((void *)(uintptr_t)page, 8192, PROT_READ | PROT_EXEC) == 0;
}

static int arm(uint64_t rip) {
    memcpy(&original, (const void *)(uintptr_t)rip, sizeof original);
    armed = rip;
    return put_bytes(rip, 0x0b0f);
}

int avx512_interpreter_trace(const void *base, const void *function, avx512_interpreter_record *to, uint64_t count) {
    if (!avx512_interpreter_active() || trace_state != TRACE_OFF) return 0;
    image = (uint64_t)(uintptr_t)base;
    wanted = (uint64_t)(uintptr_t)function;
    records = to;
    capacity = count;
    used = 0;
    stop_stack = 0;
    trace_of_tile = note_tile;
    trace_state = TRACE_WAITS;
    return arm(wanted);
}

uint64_t avx512_interpreter_traced(int *complete) {
    *complete = trace_state == TRACE_DONE && used <= capacity;
    if (trace_state == TRACE_WAITS || trace_state == TRACE_OUTSIDE) put_bytes(armed, original);
    trace_state = TRACE_OFF;
    return used < capacity ? used : capacity;
}

int trace_take(uint64_t rip) {
    if (trace_state == TRACE_OFF || rip != armed) return 0;
    put_bytes(armed, original);
    armed = 0;
    trace_state = TRACE_ON;
    return 1;
}

static void note_tile(const greg_t *gregs) {
    instruction tile;
    if (trace_state != TRACE_ON || used == 0 || used > capacity || !emu_decode(gregs, &tile)) return;
    if (tile.op != TILE_TILELOADD && tile.op != TILE_TILELOADDT1 && tile.op != TILE_TILESTORED) return;
    records[used - 1].address = tile.base;
    records[used - 1].stride = (uint32_t)tile.index & 0xffffff;
    records[used - 1].rows = (uint8_t)tile_rows(tile.reg);
}

void trace_step(const insn *i, const machine *m) {
    if (trace_state != TRACE_ON) return;
    if (stop_stack == 0) stop_stack = m->g[RSP];
    if (used < capacity) {
        uint64_t address = 0;
        switch (i->mnemonic) {
        case ZYDIS_MNEMONIC_POP:
        case ZYDIS_MNEMONIC_RET: address = m->g[RSP]; break;
        case ZYDIS_MNEMONIC_PUSH:
        case ZYDIS_MNEMONIC_CALL: address = m->g[RSP] - 8; break;
        default:
            if (i->memory != IN_REGISTERS) {
                const char *const r = (const char *)m;
                uint64_t base, index;
                memcpy(&base, r + i->base, sizeof base);
                memcpy(&index, r + i->index, sizeof index);
                address = base + (index << i->scale) + (uint64_t)i->displacement;
            }
        }
        records[used] = (avx512_interpreter_record){.offset = (uint32_t)(i->rip - image), .address = address};
    }
    used++;
    if (i->mnemonic == ZYDIS_MNEMONIC_RET && m->g[RSP] == stop_stack) trace_state = TRACE_DONE;
}

insn *trace_left(machine *m) {
    if (trace_state != TRACE_ON) return NULL;
    insn *i = decode_find(m->rip);
    if (i != NULL) return i;
    trace_state = TRACE_OUTSIDE;
    arm(AT(uint64_t, m->g[RSP]));
    return NULL;
}
