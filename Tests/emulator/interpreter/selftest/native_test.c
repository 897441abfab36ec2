/*
 * native_test.c - every instruction of a library that this CPU has, by the CPU and by the interpreter.
 *
 *   native_test LIBRARY.so
 *
 * Each distinct encoding in the library's text runs on the same random registers, flags and memory both ways; general
 * registers, defined flags, vector registers and memory must agree. Jumps, calls and the stack are left out.
 *
 * Beside that, every vector, mask and tile instruction of the library is one that the interpreter knows, whether this
 * CPU has it or not: a kernel that a compiler builds from others would end the tests that are interpreted.
 */
#include "../machine.h"

#include <Zydis/Zydis.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

int (*emu_interpret)(long long *gregs);
int emu_execute(long long *gregs);
int emu_execute(long long *gregs) { return (void)gregs, 0; }

static uint64_t random_state = 88172645463325252ull;
static uint64_t random_u64(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

enum { ROOM = 16 << 20 };
extern uint8_t room[];
static uint8_t *code; /* runs: saves, loads the machine, the instruction, stores the machine */
static uint8_t memory[4096] __attribute__((aligned(64))), memory_before[4096], memory_after[4096];

#define Y(n) #n
#define LOAD(n) "vmovdqu 64*" Y(n) "(%%rax), %%ymm" Y(n) "\n\t"
#define STORE(n) "vmovdqu %%ymm" Y(n) ", 64*" Y(n) "(%%rax)\n\t"
#define ALL(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define G(n) "2112+8*" #n

machine *native_machine;
uint64_t native_stack;
void (*native_code)(void);

/* RSP stays the CPU's own: instructions that name it are left out. */
static void run_native(machine *m) {
    native_machine = m;
    __asm__ volatile(
        "pushq %%rbx\n\tpushq %%rbp\n\tpushq %%r12\n\tpushq %%r13\n\tpushq %%r14\n\tpushq %%r15\n\t"
        "movq %[m], %%rax\n\t" ALL(LOAD)
        "pushq 2256(%%rax)\n\t"
        "movq " G(1) "(%%rax), %%rcx\n\tmovq " G(2) "(%%rax), %%rdx\n\tmovq " G(3) "(%%rax), %%rbx\n\t"
        "movq " G(5) "(%%rax), %%rbp\n\tmovq " G(6) "(%%rax), %%rsi\n\tmovq " G(7) "(%%rax), %%rdi\n\t"
        "movq " G(8) "(%%rax), %%r8\n\tmovq " G(9) "(%%rax), %%r9\n\tmovq " G(10) "(%%rax), %%r10\n\t"
        "movq " G(11) "(%%rax), %%r11\n\tmovq " G(12) "(%%rax), %%r12\n\tmovq " G(13) "(%%rax), %%r13\n\t"
        "movq " G(14) "(%%rax), %%r14\n\tmovq " G(15) "(%%rax), %%r15\n\tmovq " G(0) "(%%rax), %%rax\n\t"
        "popfq\n\t"
        "call *native_code(%%rip)\n\t"
        "pushfq\n\tpushq %%rax\n\t"
        "movq native_machine(%%rip), %%rax\n\t"
        "movq %%rcx, " G(1) "(%%rax)\n\tmovq %%rdx, " G(2) "(%%rax)\n\tmovq %%rbx, " G(3) "(%%rax)\n\t"
        "movq %%rbp, " G(5) "(%%rax)\n\tmovq %%rsi, " G(6) "(%%rax)\n\tmovq %%rdi, " G(7) "(%%rax)\n\t"
        "movq %%r8, " G(8) "(%%rax)\n\tmovq %%r9, " G(9) "(%%rax)\n\tmovq %%r10, " G(10) "(%%rax)\n\t"
        "movq %%r11, " G(11) "(%%rax)\n\tmovq %%r12, " G(12) "(%%rax)\n\tmovq %%r13, " G(13) "(%%rax)\n\t"
        "movq %%r14, " G(14) "(%%rax)\n\tmovq %%r15, " G(15) "(%%rax)\n\t"
        "popq %%rcx\n\tmovq %%rcx, " G(0) "(%%rax)\n\tpopq 2256(%%rax)\n\t" ALL(STORE)
        "vzeroupper\n\tpopq %%r15\n\tpopq %%r14\n\tpopq %%r13\n\tpopq %%r12\n\tpopq %%rbp\n\tpopq %%rbx\n\tcld\n\t"
        :
        : [m] "r"(m)
        : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2",
          "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

static int usable(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o) {
    if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && z->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX) return 0;
    if (z->meta.isa_ext == ZYDIS_ISA_EXT_AVX_VNNI || z->meta.isa_ext == ZYDIS_ISA_EXT_AVX512VEX ||
        z->meta.category == ZYDIS_CATEGORY_AMX_TILE) return 0;
    if (z->meta.isa_ext == ZYDIS_ISA_EXT_AMX_INT8 || z->meta.isa_ext == ZYDIS_ISA_EXT_AMX_BF16) return 0;
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_CPUID: case ZYDIS_MNEMONIC_XGETBV: case ZYDIS_MNEMONIC_SYSCALL: case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_XCHG: case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_DIV: case ZYDIS_MNEMONIC_IDIV:
    case ZYDIS_MNEMONIC_POPFQ: case ZYDIS_MNEMONIC_UD2: case ZYDIS_MNEMONIC_INT3: case ZYDIS_MNEMONIC_LEAVE: return 0;
    default: break;
    }
    if (z->attributes & (ZYDIS_ATTRIB_HAS_LOCK | ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPNE)) return 0;
    /* Forms that the interpreter refuses aloud. */
    if ((z->mnemonic == ZYDIS_MNEMONIC_IMUL || z->mnemonic == ZYDIS_MNEMONIC_MUL ||
         z->mnemonic == ZYDIS_MNEMONIC_POPCNT || z->mnemonic == ZYDIS_MNEMONIC_BSF ||
         z->mnemonic == ZYDIS_MNEMONIC_BSR || z->mnemonic == ZYDIS_MNEMONIC_TZCNT ||
         z->mnemonic == ZYDIS_MNEMONIC_LZCNT) && z->operand_width < 32) return 0;
    if ((z->mnemonic == ZYDIS_MNEMONIC_SHLD || z->mnemonic == ZYDIS_MNEMONIC_SHRD) &&
        (z->operand_width != 64 || o[0].type == ZYDIS_OPERAND_TYPE_MEMORY)) return 0;
    if (z->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE || z->meta.category == ZYDIS_CATEGORY_INTERRUPT ||
        z->meta.category == ZYDIS_CATEGORY_PUSH || z->meta.category == ZYDIS_CATEGORY_POP ||
        z->meta.category == ZYDIS_CATEGORY_RET) return 0;
    for (unsigned x = 0; x < z->operand_count; x++) {
        if (o[x].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, o[x].reg.value) == ZYDIS_REGISTER_RSP)
            return 0;
        if (o[x].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (o[x].mem.base == ZYDIS_REGISTER_RSP || o[x].mem.base == ZYDIS_REGISTER_RIP ||
             (o[x].mem.type == ZYDIS_MEMOP_TYPE_MEM && o[x].mem.base == ZYDIS_REGISTER_NONE) ||
             o[x].mem.segment == ZYDIS_REGISTER_FS || o[x].mem.segment == ZYDIS_REGISTER_GS ||
             o[x].mem.base == o[x].mem.index)) return 0;
    }
    return 1;
}

static unsigned passed, failed, unknown, known;

/* Where the next instruction goes. */
static void next_room(void) {
    code += 32;
    if (code + 32 <= room + ROOM) return;
    printf("FAILED: the library has more instructions than there is room for: raise ROOM\n");
    exit(2);
}

/* A VEX or EVEX encoding, AMX included. What no CPU would ever run natively after an AVX-512 instruction must be
 * known. */
static void expect_known(const uint8_t *bytes, const ZydisDecodedInstruction *z) {
    static uint8_t told[ZYDIS_MNEMONIC_MAX_VALUE + 1];
    if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX && z->encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX) return;
    next_room();
    memcpy(code, bytes, z->length);
    code[z->length] = 0xc3;
    if (decode_knows(decode_enter((uint64_t)(uintptr_t)code))) {
        known++;
    } else if (!told[z->mnemonic]) {
        ZydisDisassembledInstruction text;
        ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, 0, bytes, 15, &text);
        printf("FAILED: the interpreter does not know %s\n", text.text);
        told[z->mnemonic] = 1;
        failed++;
    }
}

static void randomize(machine *m, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o) {
    for (unsigned x = 0; x < sizeof *m / 8; x++) ((uint64_t *)m)[x] = random_u64();
    for (unsigned x = 0; x < 16 * 16; x++) { /* floats that are not all NaN or huge */
        const unsigned what = random_u64() % 8;
        uint32_t *d = &m->z[x / 16].d[x % 16];
        if (what < 4) *d = (*d & 0x83ffffff) | 0x3c000000;
        static const uint32_t corners[8] = {0, 0x80000000, 0x7f800000, 0x00000001,
                                            0x7fc00000, 0xff800000, 0x3f800000, 0x80400000};
        if (what == 4) *d = corners[random_u64() % 8];
    }
    for (unsigned r = 0; r < 16; r++) {
        m->z[r].h[1] = _mm256_setzero_si256();
        const unsigned what = random_u64() % 8;
        if (what == 0) m->g[r] = random_u64() % 70;
        if (what == 1) m->g[r] = (uint64_t)-(int64_t)(random_u64() % 70);
        if (what == 2) m->g[r] = 1ull << random_u64() % 64;
    }
    m->g[ZERO] = 0;
    for (unsigned x = 0; x < sizeof memory / 8; x++) ((uint64_t *)(void *)memory)[x] = random_u64();
    for (unsigned x = 0; x < z->operand_count; x++) {
        if (o[x].type != ZYDIS_OPERAND_TYPE_MEMORY || o[x].mem.type != ZYDIS_MEMOP_TYPE_MEM) continue;
        uint64_t at = (uint64_t)(uintptr_t)memory + 2048;
        if (o[x].mem.index != ZYDIS_REGISTER_NONE) {
            const uint64_t index = random_u64() % 8 * 64;
            m->g[o[x].mem.index - ZYDIS_REGISTER_RAX] = index >> __builtin_ctz(o[x].mem.scale);
            at -= index >> __builtin_ctz(o[x].mem.scale) << __builtin_ctz(o[x].mem.scale);
        }
        m->g[o[x].mem.base - ZYDIS_REGISTER_RAX] =
            at - (uint64_t)(o[x].mem.disp.has_displacement ? o[x].mem.disp.value : 0);
    }
    m->rflags = (random_u64() & 0x8d5) | 0x202;
}

static void compare(const uint8_t *bytes, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o) {
    static machine start, native, ours;
    next_room();
    memcpy(code, bytes, z->length);
    code[z->length] = 0xc3;
    insn *i = decode_enter((uint64_t)(uintptr_t)code);
    if (!decode_knows(i)) {
        unknown++;
        return;
    }
    if (getenv("NATIVE_TEST_VERBOSE")) {
        ZydisDisassembledInstruction text;
        ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, 0, bytes, 15, &text);
        printf("%s\n", text.text);
    }
    for (int trial = 0; trial < 40; trial++) {
        randomize(&start, z, o);
        memcpy(memory_before, memory, sizeof memory);
        native = ours = start;
        native_code = (void (*)(void))code;
        run_native(&native);
        memcpy(memory_after, memory, sizeof memory);
        memcpy(memory, memory_before, sizeof memory);
        ours.flags = (uint32_t)(ours.rflags & 0xd5) << 8 | (ours.rflags >> 11 & 1);
        i->perform(i, &ours);
        ours.rflags = (ours.rflags & ~0x8d5ull) | (ours.flags >> 8 & 0xd5) | (uint64_t)(ours.flags & 1) << 11;
        const char *what = NULL;
        const uint64_t undefined = z->cpu_flags != NULL ? z->cpu_flags->undefined : 0;
        for (int r = 0; r < 16; r++) {
            if (r != RSP && native.g[r] != ours.g[r]) what = "general registers";
            if (memcmp(&native.z[r], &ours.z[r], 32) != 0) what = "vector registers";
        }
        if (((native.rflags ^ ours.rflags) & 0x8d5 & ~undefined) != 0) what = "flags";
        if (memcmp(memory, memory_after, sizeof memory) != 0) what = "memory";
        if (what == NULL) {
            passed++;
            continue;
        }
        failed++;
        ZydisDisassembledInstruction text;
        ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, 0, bytes, 15, &text);
        printf("FAILED: %s: %s differ\n", text.text, what);
        return;
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    const int fd = open(argv[1], O_RDONLY);
    struct stat s;
    if (fd < 0 || fstat(fd, &s) != 0) return 2;
    const uint8_t *image = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    decode_init();
    /* The code under test lies in this program's own text, which is what the interpreter accepts. */
    code = room;
    if (mprotect((void *)((uintptr_t)room & ~4095ull), ROOM, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    static uint8_t seen[1 << 22];
    const Elf64_Ehdr *elf = (const void *)image;
    const Elf64_Shdr *section = (const void *)(image + elf->e_shoff);
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    /* Sections and not segments: a linker may put tables, names and the build's identity into the segment of the code,
     * and random bytes among them read as instructions that nobody wrote. */
    for (int n = 0; n < elf->e_shnum; n++) {
        if (section[n].sh_type != SHT_PROGBITS || (section[n].sh_flags & SHF_EXECINSTR) == 0) continue;
        const uint8_t *at = image + section[n].sh_offset, *end = at + section[n].sh_size;
        while (at < end) {
            ZydisDecodedInstruction z;
            ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
            if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, at, (size_t)(end - at), &z, o))) {
                at++;
                continue;
            }
            uint32_t hash = 2166136261u;
            for (unsigned b = 0; b < z.length; b++) hash = (hash ^ at[b]) * 16777619u;
            if (!seen[hash >> 10]) {
                seen[hash >> 10] = 1;
                if (usable(&z, o)) compare(at, &z, o);
                expect_known(at, &z);
            }
            at += z.length;
        }
    }
    if (passed == 0) {
        printf("FAILED: the library has no sections of code\n");
        failed++;
    }
    printf("%u passed, %u failed, %u skipped\n", passed + known, failed, unknown);
    return failed != 0;
}

__asm__(".text\n.p2align 12\n.globl room\nroom:\n.zero 16777216\n");
