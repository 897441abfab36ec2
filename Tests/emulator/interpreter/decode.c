/*
 * decode.c - from bytes to instructions, and where decoded ones are kept.
 *
 * Each piece of text that is interpreted has a table with one entry per byte. Entries are only ever set, so that
 * threads need no lock: two that decode the same run of instructions at once waste memory and no more.
 */
#include "machine.h"

#include "avx512_interpreter.h"
#include <Zydis/Zydis.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEXTS = 64, ARENA = 512 << 10, RUN = 200 };

typedef struct {
    uint64_t start, end;
    uint32_t *table; /* number of the instruction in the arena, 0 if it is not decoded */
    int gone;        /* another object lies there now */
} text;

static text texts[TEXTS];
static unsigned text_count; /* grows only; a text that was unmapped is found to differ and replaced */
static insn *arena;
static unsigned arena_used = 1;
static handler handlers[ZYDIS_MNEMONIC_MAX_VALUE + 1];
static ZydisDecoder decoder;

static const char *faulty; /* the name of an instruction that is passed over */

void avx512_interpreter_fault(const char *name) { faulty = name; }

void *arena_map(size_t bytes) {
    /* mmap, not through libc: tests make its functions fail, and count them. */
    register long r10 __asm__("r10") = 0x4022; /* MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE */
    register long r8 __asm__("r8") = -1;
    register long r9 __asm__("r9") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(9l), "D"(0l), "S"(bytes), "d"(3l), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result < 0 && result > -4096 ? NULL : (void *)(uintptr_t)result;
}

void add_rows(const row *rows, size_t count) {
    for (size_t x = 0; x < count; x++) handlers[rows[x].mnemonic] = rows[x].perform;
}

void decode_init(void) {
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    arena = arena_map(ARENA * sizeof(insn));
    add_scalar();
    add_control();
    add_moves();
    add_integer();
    add_integer_shifts();
    add_permute();
    add_narrow();
    add_float();
    add_convert();
    add_mask();
}

/* ---------------------------------------------------------------------------------------------------- complaints -- */

void decode_unknown(uint64_t rip, const char *why) {
    char line[512], instruction[128] = "bytes that are no instruction";
    ZydisDisassembledInstruction dis;
    if (ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, rip, (const void *)(uintptr_t)rip, 15, &dis)))
        snprintf(instruction, sizeof instruction, "%s", dis.text);
    const int length = snprintf(line, sizeof line, "AVX-512 interpreter: %s at 0x%llx: %s\n", instruction,
                                (unsigned long long)rip, why);
    const ssize_t written = write(STDERR_FILENO, line, (size_t)length);
    (void)written;
    abort();
}

/*
 * Code for any x86-64 (SSE) may go on natively, if no vector register holds more than the CPU can: functions that use
 * tiles and nothing else of ours are like that.
 */
static insn *perform_unknown(insn *i, machine *m) {
    __m256i dirty = _mm256_setzero_si256();
    for (unsigned r = 0; r < 16; r++) dirty = _mm256_or_si256(dirty, m->z[r].h[1]);
    if (i->native && _mm256_testz_si256(dirty, dirty)) {
        m->rip = i->rip;
        return NULL;
    }
    decode_unknown(i->rip, "the interpreter does not know this instruction");
}

/* Of a faulty CPU. */
static insn *perform_nothing(insn *i, machine *m) {
    (void)m;
    return i->next;
}

int decode_knows(const insn *i) { return i->perform != perform_unknown; }

static insn *perform_link(insn *i, machine *m) {
    if (i->target == NULL) i->target = go_to(m, i->rip);
    return i->target;
}

/* ------------------------------------------------------------------------------------------------------ operands -- */

static int register_offset(ZydisRegister r) {
    if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15) return (int)OFFSET_G((unsigned)(r - ZYDIS_REGISTER_RAX));
    if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D) return (int)OFFSET_G((unsigned)(r - ZYDIS_REGISTER_EAX));
    if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W) return (int)OFFSET_G((unsigned)(r - ZYDIS_REGISTER_AX));
    if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_BL) return (int)OFFSET_G((unsigned)(r - ZYDIS_REGISTER_AL));
    if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH) return (int)OFFSET_G((unsigned)(r - ZYDIS_REGISTER_AH)) + 1;
    if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_R15B)
        return (int)OFFSET_G((unsigned)(r - ZYDIS_REGISTER_SPL) + 4);
    if (r >= ZYDIS_REGISTER_XMM0 && r <= ZYDIS_REGISTER_XMM31)
        return (int)OFFSET_Z((unsigned)(r - ZYDIS_REGISTER_XMM0));
    if (r >= ZYDIS_REGISTER_YMM0 && r <= ZYDIS_REGISTER_YMM31)
        return (int)OFFSET_Z((unsigned)(r - ZYDIS_REGISTER_YMM0));
    if (r >= ZYDIS_REGISTER_ZMM0 && r <= ZYDIS_REGISTER_ZMM31)
        return (int)OFFSET_Z((unsigned)(r - ZYDIS_REGISTER_ZMM0));
    if (r >= ZYDIS_REGISTER_K0 && r <= ZYDIS_REGISTER_K7) return (int)OFFSET_K((unsigned)(r - ZYDIS_REGISTER_K0));
    return -1;
}

static int set_memory(insn *i, const ZydisDecodedOperand *o) {
    if (o->mem.segment == ZYDIS_REGISTER_FS || o->mem.segment == ZYDIS_REGISTER_GS) return 0;
    i->displacement = o->mem.disp.has_displacement ? o->mem.disp.value : 0;
    i->base = i->index = OFFSET_G(ZERO);
    if (o->mem.base == ZYDIS_REGISTER_RIP) {
        i->displacement += (int64_t)i->end;
    } else if (o->mem.base != ZYDIS_REGISTER_NONE) {
        const int offset = register_offset(o->mem.base);
        if (offset < 0 || o->mem.base < ZYDIS_REGISTER_RAX || o->mem.base > ZYDIS_REGISTER_R15) return 0;
        i->base = (uint16_t)offset;
    }
    if (o->mem.index != ZYDIS_REGISTER_NONE) {
        if (o->mem.index < ZYDIS_REGISTER_RAX || o->mem.index > ZYDIS_REGISTER_R15) return 0;
        i->index = (uint16_t)register_offset(o->mem.index);
        i->scale = (uint8_t)__builtin_ctz(o->mem.scale);
    }
    i->memory_size = (uint8_t)(o->size / 8);
    return 1;
}

/* Destination, first and last source; immediates apart. 0 if an operand is of a kind that no handler takes. */
static int set_operands(insn *i, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands) {
    const ZydisDecodedOperand *real[5];
    unsigned count = 0;
    for (unsigned x = 0; x < z->operand_count_visible; x++) {
        const ZydisDecodedOperand *o = &operands[x];
        if (o->encoding == ZYDIS_OPERAND_ENCODING_MASK) continue;
        if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
            i->has_immediate = 1;
            i->immediate = o->imm.value.s;
            if (o->imm.is_relative) i->goal = i->end + (uint64_t)o->imm.value.s;
        } else if (count < 4) {
            real[count++] = o;
        }
    }
    for (unsigned x = 0; x < count; x++) {
        const unsigned role = x == 0 ? MEMORY_D : x + 1 == count ? MEMORY_B : MEMORY_A;
        uint16_t offset = 0;
        if (real[x]->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            i->memory = (uint8_t)role;
            if (!set_memory(i, real[x])) return 0;
        } else if (real[x]->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            const int found = register_offset(real[x]->reg.value);
            if (found < 0) return 0;
            offset = (uint16_t)found;
        } else {
            return 0;
        }
        if (x == 0) i->d = offset, i->size = (uint8_t)(real[x]->size / 8);
        if (x == 1) i->a = offset;
        if (x + 1 == count) i->b = offset, i->b_size = (uint8_t)(real[x]->size / 8);
    }
    return count <= 3;
}

static void set_vector(insn *i, const ZydisDecodedInstruction *z) {
    i->vl = (uint8_t)(z->avx.vector_length / 8);
    if (i->vl == 0) i->vl = 16;
    if (z->avx.mask.reg > ZYDIS_REGISTER_K0 && z->avx.mask.reg <= ZYDIS_REGISTER_K7)
        i->mask = (uint8_t)(z->avx.mask.reg - ZYDIS_REGISTER_K0);
    i->zeroing = z->avx.mask.mode == ZYDIS_MASK_MODE_ZEROING || z->avx.mask.mode == ZYDIS_MASK_MODE_CONTROL_ZEROING;
    i->plain = i->vl == 64 && i->mask == 0;
    if (z->avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID && !z->avx.broadcast.is_static &&
        i->memory != IN_REGISTERS) {
        i->broadcast = 1;
        i->memory_size = (uint8_t)(z->raw.evex.W ? 8 : 4);
    }
    switch (z->avx.rounding.mode) {
    case ZYDIS_ROUNDING_MODE_RN: i->rounding = 1; break;
    case ZYDIS_ROUNDING_MODE_RD: i->rounding = 2; break;
    case ZYDIS_ROUNDING_MODE_RU: i->rounding = 3; break;
    case ZYDIS_ROUNDING_MODE_RZ: i->rounding = 4; break;
    default: break;
    }
}

static insn *perform_rounded(insn *i, machine *m) {
    const unsigned before = _mm_getcsr();
    _mm_setcsr((before & ~0x6000u) | (unsigned)(i->rounding - 1) << 13);
    insn *next = i->inner(i, m);
    _mm_setcsr(before);
    return next;
}

/* ------------------------------------------------------------------------------------------------------ decoding -- */

/* True if nothing follows it. */
static int decode_one(insn *i, uint64_t rip) {
    ZydisDecodedInstruction z;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    i->rip = rip;
    i->perform = perform_unknown;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, (const void *)(uintptr_t)rip, 15, &z, operands))) return 1;
    i->end = rip + z.length;
    i->length = z.length;
    i->mnemonic = (uint16_t)z.mnemonic;
    i->native = z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    memcpy(i->bytes, (const void *)(uintptr_t)rip, z.length);
    if (z.meta.isa_ext == ZYDIS_ISA_EXT_AMX_TILE || z.meta.isa_ext == ZYDIS_ISA_EXT_AMX_INT8 ||
        z.meta.isa_ext == ZYDIS_ISA_EXT_AMX_BF16) {
        i->perform = perform_tile;
    } else if (!set_operands(i, &z, operands)) {
        i->perform = perform_unknown;
    } else if (z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX || z.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX) {
        set_vector(i, &z);
        i->perform = handlers[z.mnemonic] != NULL ? handlers[z.mnemonic] : scalar_handler(i);
        if (i->rounding != 0 && i->perform != NULL) {
            i->inner = i->perform;
            i->perform = perform_rounded;
        }
    } else if (z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
               (z.attributes & (ZYDIS_ATTRIB_HAS_LOCK | ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPNE)) == 0) {
        i->perform = handlers[z.mnemonic] != NULL ? handlers[z.mnemonic] : scalar_handler(i);
    } else {
        i->perform = z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && (z.attributes & ZYDIS_ATTRIB_HAS_REP)
                         ? string_handler(i)
                         : NULL;
    }
    if (i->perform == NULL) i->perform = perform_unknown;
    if (faulty != NULL && strcmp(ZydisMnemonicGetString(z.mnemonic), faulty) == 0) i->perform = perform_nothing;
    return z.mnemonic == ZYDIS_MNEMONIC_JMP || z.mnemonic == ZYDIS_MNEMONIC_RET || z.mnemonic == ZYDIS_MNEMONIC_UD2 ||
           z.mnemonic == ZYDIS_MNEMONIC_INT3;
}

static insn *fresh(void) {
    const unsigned n = __atomic_fetch_add(&arena_used, 1, __ATOMIC_RELAXED);
    if (n >= ARENA || arena == NULL) {
        static const char line[] = "AVX-512 interpreter: its memory for decoded instructions is full\n";
        const ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
        (void)written;
        abort();
    }
    return &arena[n];
}

/* Entries of the table are set when all of the run is linked: another thread that finds one follows it at once. */
static insn *decode_run(const text *t, uint64_t rip) {
    insn *first = NULL, *previous = NULL, *end = NULL;
    for (unsigned count = 0; end == NULL; count++) {
        const int inside = rip >= t->start && rip < t->end;
        const uint32_t known = inside ? __atomic_load_n(&t->table[rip - t->start], __ATOMIC_ACQUIRE) : 0;
        insn *i = known != 0 ? &arena[known] : fresh();
        if (first == NULL) first = i;
        if (previous != NULL) previous->next = i;
        if (known != 0) {
            end = i;
        } else if (count == RUN || !inside) { /* another run, when it is reached */
            i->rip = rip;
            i->perform = perform_link;
            end = i;
        } else if (decode_one(i, rip)) {
            previous = i;
            break;
        }
        previous = i;
        rip = i->end;
    }
    for (insn *i = first; i != end; i = i->next) {
        __atomic_store_n(&t->table[i->rip - t->start], (uint32_t)(i - arena), __ATOMIC_RELEASE);
        if (i == previous) break;
    }
    return first;
}

static text *text_of(uint64_t rip) {
    const unsigned count = __atomic_load_n(&text_count, __ATOMIC_ACQUIRE);
    for (unsigned x = 0; x < count; x++)
        if (rip >= texts[x].start && rip < texts[x].end && !texts[x].gone) return &texts[x];
    return NULL;
}

insn *decode_find(uint64_t rip) {
    const text *t = text_of(rip);
    if (t == NULL) return NULL;
    const uint32_t known = __atomic_load_n(&t->table[rip - t->start], __ATOMIC_ACQUIRE);
    return known != 0 ? &arena[known] : decode_run(t, rip);
}

/* --------------------------------------------------------------------------------------------------------- texts -- */

typedef struct {
    uint64_t rip, start, end;
} search;

static int find_segment(struct dl_phdr_info *info, size_t size, void *argument) {
    (void)size;
    search *s = argument;
    for (int x = 0; x < info->dlpi_phnum; x++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[x];
        const uint64_t start = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X) != 0 && s->rip >= start && s->rip < start + p->p_memsz) {
            s->start = start;
            s->end = start + p->p_memsz;
            return 1;
        }
    }
    return 0;
}

static unsigned adding;

insn *decode_enter(uint64_t rip) {
    text *t = text_of(rip);
    if (t != NULL) {
        insn *i = decode_find(rip);
        if (memcmp(i->bytes, (const void *)(uintptr_t)rip, i->length) == 0) return i;
    }
    /* Unknown text, or another object now lies where one was unloaded. */
    search s = {rip, 0, 0};
    if (dl_iterate_phdr(find_segment, &s) == 0) decode_unknown(rip, "this address is in no object that is loaded");
    while (__atomic_exchange_n(&adding, 1, __ATOMIC_ACQUIRE) != 0) _mm_pause();
    if (text_of(rip) == t) { /* else another thread was faster */
        uint32_t *table = arena_map((s.end - s.start) * sizeof *table);
        if (table == NULL) decode_unknown(rip, "there is no memory for a table of its object");
        for (unsigned x = 0; x < text_count; x++) /* what overlaps is gone */
            if (texts[x].start < s.end && s.start < texts[x].end) texts[x].gone = 1;
        const unsigned n = text_count;
        if (n == TEXTS) decode_unknown(rip, "too many objects have been interpreted");
        texts[n] = (text){s.start, s.end, table, 0};
        __atomic_store_n(&text_count, n + 1, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&adding, 0, __ATOMIC_RELEASE);
    return decode_find(rip);
}

int decode_is_ours(uint64_t rip) {
    const uint8_t *p = (const uint8_t *)(uintptr_t)rip;
    if (*p != 0x62 && *p != 0xc4 && *p != 0xc5 && *p != 0x2e && *p != 0x36 && *p != 0x3e && *p != 0x26) return 0;
    ZydisDecodedInstruction z;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, p, 15, &z))) return 0;
    if (z.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX) return 1;
    return z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX &&
           (z.meta.isa_ext == ZYDIS_ISA_EXT_AVX512VEX || z.meta.isa_ext == ZYDIS_ISA_EXT_AMX_TILE ||
            z.meta.isa_ext == ZYDIS_ISA_EXT_AMX_INT8 || z.meta.isa_ext == ZYDIS_ISA_EXT_AMX_BF16 ||
            z.meta.category == ZYDIS_CATEGORY_KMASK);
}
