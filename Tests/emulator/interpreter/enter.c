/*
 * enter.c - from native code to the interpreter and back.
 *
 * The signal handler does not interpret: the code would write over its frame, for both use the program's stack. It
 * copies the registers, and returns to interpreter_entry on a stack of the interpreter's own. That runs until the code
 * is done and then jumps back with all registers as they are by then. Signals meanwhile find an ordinary thread; a
 * handler that needs the interpreter itself gets another stack.
 */
#include "../internal.h"
#include "avx512_interpreter.h"
#include "machine.h"
#include "trace.h"

#include <cpuid.h>
#include <sys/syscall.h>

enum { STACK = 64 << 10, PLACES = 512, NESTED = 4 };

/* One for each thread, and for each signal handler inside of it. */
typedef struct {
    machine m; /* first: the assembler takes one for the other */
    char stack[STACK] __attribute__((aligned(64)));
} place;

static place *places;
static int owners[PLACES]; /* thread numbers; 0: free */
static __thread place *mine[NESTED] __attribute__((tls_model("initial-exec")));

static uint64_t entries, instructions;
static int active;

static long system_call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

static place *take_place(void) {
    const int pid = (int)system_call(SYS_getpid, 0, 0, 0), tid = (int)system_call(SYS_gettid, 0, 0, 0);
    for (int again = 0; again < 2; again++) {
        for (int x = 0; x < PLACES; x++) {
            int owner = __atomic_load_n(&owners[x], __ATOMIC_RELAXED);
            if (owner != 0 && again && system_call(SYS_tgkill, pid, owner, 0) != 0 && owner != tid) {
                /* its thread has ended */
            } else if (owner != 0) {
                continue;
            }
            if (__atomic_compare_exchange_n(&owners[x], &owner, tid, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
                return &places[x];
        }
    }
    return NULL;
}

static int on_stack_of(const place *p, uint64_t rsp) {
    return p != NULL && rsp > (uint64_t)(uintptr_t)p->stack && rsp <= (uint64_t)(uintptr_t)p->stack + STACK;
}

/* Registers that compilers take for rubbish at a call get some, so that code that relies on them is found out. */
static void fill_registers(machine *m) {
    for (unsigned r = 16; r < 32; r++) m->z[r].h[0] = m->z[r].h[1] = _mm256_set1_epi32(0x7fa5a5a5);
    for (unsigned r = 0; r < 8; r++) m->k[r] = 0xa5a5a5a5a5a5a5a5ull;
}

__attribute__((visibility("hidden"), used)) void avx512_interpreter_run(machine *m);

void avx512_interpreter_run(machine *m) {
    for (unsigned r = 0; r < 16; r++) m->z[r].h[1] = _mm256_setzero_si256(); /* the CPU cannot hold anything there */
    fill_registers(m);
    m->flags = (uint32_t)(m->rflags & 0xd5) << 8 | (m->rflags >> 11 & 1);
    m->depth = 0;
    uint64_t count = 0;
    if (trace_state == TRACE_OFF) {
        for (insn *i = decode_enter(m->rip); i != NULL; i = i->perform(i, m)) count++;
    } else {
        for (insn *i = decode_enter(m->rip); i != NULL; count++) {
            trace_step(i, m);
            insn *next = i->perform(i, m);
            i = next != NULL ? next : trace_left(m);
        }
    }
    m->rflags = (m->rflags & ~0x8d5ull) | (m->flags >> 8 & 0xd5) | (uint64_t)(m->flags & 1) << 11;
    __atomic_fetch_add(&instructions, count, __ATOMIC_RELAXED);
}

/*
 * RDI is the machine. The xmm and ymm registers are still those of the program.
 */
_Static_assert(offsetof(machine, z) == 0 && offsetof(machine, g) == 2112 && offsetof(machine, rip) == 2248 &&
                   offsetof(machine, rflags) == 2256, "the assembler knows these");
#define Y(n) #n
#define SAVE(n) "    vmovdqu %ymm" Y(n) ", 64*" Y(n) "(%rdi)\n"
#define LOAD(n) "    vmovdqu 64*" Y(n) "(%rbx), %ymm" Y(n) "\n"
#define ALL(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
__asm__(
    ".text\n"
    ".p2align 4\n"
    ".hidden avx512_interpreter_entry\n"
    ".globl avx512_interpreter_entry\n"
    ".type avx512_interpreter_entry, @function\n"
    "avx512_interpreter_entry:\n"
    ALL(SAVE)
    "    vzeroupper\n"
    "    movq %rdi, %rbx\n"
    "    call avx512_interpreter_run\n"
    ALL(LOAD)
    "    movq 2112+8*4(%rbx), %rsp\n"
    "    leaq -128(%rsp), %rsp\n" /* the red zone stays as it is */
    "    pushq 2248(%rbx)\n" /* rip */
    "    pushq 2256(%rbx)\n" /* flags */
    "    movq 2112+8*0(%rbx), %rax\n"
    "    movq 2112+8*1(%rbx), %rcx\n"
    "    movq 2112+8*2(%rbx), %rdx\n"
    "    movq 2112+8*5(%rbx), %rbp\n"
    "    movq 2112+8*6(%rbx), %rsi\n"
    "    movq 2112+8*7(%rbx), %rdi\n"
    "    movq 2112+8*8(%rbx), %r8\n"
    "    movq 2112+8*9(%rbx), %r9\n"
    "    movq 2112+8*10(%rbx), %r10\n"
    "    movq 2112+8*11(%rbx), %r11\n"
    "    movq 2112+8*12(%rbx), %r12\n"
    "    movq 2112+8*13(%rbx), %r13\n"
    "    movq 2112+8*14(%rbx), %r14\n"
    "    movq 2112+8*15(%rbx), %r15\n"
    "    movq 2112+8*3(%rbx), %rbx\n"
    "    popfq\n"
    "    ret $128\n"
    ".size avx512_interpreter_entry, . - avx512_interpreter_entry\n");
__attribute__((visibility("hidden"))) void avx512_interpreter_entry(void);

/* Called by the handler of SIGILL. */
static int interpret(greg_t *gregs) {
    static const uint8_t at[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    const uint64_t rip = (uint64_t)gregs[REG_RIP], rsp = (uint64_t)gregs[REG_RSP];
    if (!trace_take(rip) && !decode_is_ours(rip)) return 0;
    unsigned level = 0;
    while (level < NESTED && mine[level] != NULL && on_stack_of(mine[level], rsp)) level++;
    if (level > 0 && level == NESTED)
        decode_unknown(rip, "too many signal handlers inside each other need the interpreter");
    /* A handler on another stack (sigaltstack) inside an interpreted function would need more than this. */
    if (mine[level] == NULL) mine[level] = take_place();
    place *p = mine[level];
    if (p == NULL) decode_unknown(rip, "more threads at once than the interpreter has places for");
    machine *m = &p->m;
    for (unsigned r = 0; r < 16; r++) m->g[r] = (uint64_t)gregs[at[r]];
    m->g[ZERO] = 0;
    m->rip = rip;
    m->rflags = (uint64_t)gregs[REG_EFL];
    gregs[REG_RIP] = (greg_t)(uintptr_t)avx512_interpreter_entry;
    gregs[REG_RSP] = (greg_t)(uintptr_t)(p->stack + STACK);
    gregs[REG_RDI] = (greg_t)(uintptr_t)m;
    __atomic_fetch_add(&entries, 1, __ATOMIC_RELAXED);
    return 1;
}

/* ------------------------------------------------------------------------------------------------------- install -- */

static int find_out(void) {
    uint32_t a, b = 0, c, d, one;
    __cpuid(1, a, b, one, d);
    __cpuid(0, a, b, c, d);
    if (a < 7) return AVX512_INTERPRETER_NO_AVX2;
    __cpuid_count(7, 0, a, b, c, d);
    const uint32_t state = 1u << 27, fma = 1u << 12, f16c = 1u << 29, popcnt = 1u << 23,
                   wanted = state | fma | f16c | popcnt;
    const uint32_t bmi1 = 1u << 3, avx2 = 1u << 5, bmi2 = 1u << 8;
    if ((one & wanted) != wanted) return AVX512_INTERPRETER_NO_AVX2;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6 || (b & (bmi1 | avx2 | bmi2)) != (bmi1 | avx2 | bmi2)) return AVX512_INTERPRETER_NO_AVX2;
    if ((b & 1u << 16) != 0 && (low & 0xe6) == 0xe6) return AVX512_INTERPRETER_NOT_NEEDED;
    return AVX512_INTERPRETER_ON;
}

int avx512_interpreter_install(void) {
    static int state, result; /* 0 no, 1 in progress, 2 done */
    int expected = 0;
    if (__atomic_compare_exchange_n(&state, &expected, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        result = find_out();
        if (result == AVX512_INTERPRETER_ON) {
            decode_init();
            places = arena_map(PLACES * sizeof *places);
            if (places == NULL) {
                result = AVX512_INTERPRETER_NO_HANDLER;
            } else {
                emu_interpret = interpret;
                if (tile_emulator_install() != TILE_EMULATOR_ON) result = AVX512_INTERPRETER_NO_HANDLER;
            }
        }
        __atomic_store_n(&active, result == AVX512_INTERPRETER_ON, __ATOMIC_RELEASE);
        __atomic_store_n(&state, 2, __ATOMIC_RELEASE);
    }
    while (__atomic_load_n(&state, __ATOMIC_ACQUIRE) != 2) _mm_pause();
    return result;
}

int avx512_interpreter_active(void) { return __atomic_load_n(&active, __ATOMIC_ACQUIRE); }
uint64_t avx512_interpreter_entries(void) { return __atomic_load_n(&entries, __ATOMIC_RELAXED); }
uint64_t avx512_interpreter_instructions(void) { return __atomic_load_n(&instructions, __ATOMIC_RELAXED); }
