/*
 * signal.c - the SIGILL handler: what it takes, and what it passes on.
 */
#include "internal.h"

#include <cpuid.h>
#include <immintrin.h>
#include <signal.h>
#include <string.h>

static int installed; /* 0 no, 1 in progress, 2 done */
static int install_result;
static int emulate_tiles;
static struct sigaction previous;
int (*emu_interpret)(greg_t *gregs);

/* Not ours: as if this handler had never been there. */
static void chain(int signal_number, siginfo_t *info, void *context) {
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        if ((previous.sa_flags & SA_SIGINFO) != 0) {
            previous.sa_sigaction(signal_number, info, context);
        } else {
            previous.sa_handler(signal_number);
        }
    } else if (previous.sa_handler == SIG_IGN && info->si_code <= 0) {
        /* someone sent it, and it is ignored */
    } else {
        /* Back to the faulting instruction, which now kills the process. A SIGILL that was sent is sent again. */
        struct sigaction default_action;
        memset(&default_action, 0, sizeof default_action);
        default_action.sa_handler = SIG_DFL;
        sigaction(SIGILL, &default_action, NULL);
        if (info->si_code <= 0) raise(SIGILL);
    }
}

static void handle(int signal_number, siginfo_t *info, void *context) {
    greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (info->si_code > 0) { /* from the CPU, not from kill() */
        if (emu_interpret != NULL && emu_interpret(gregs)) return;
        if (emulate_tiles && emu_execute(gregs)) {
            /*
             * A signal costs more than the instruction. AMX instructions come in groups, so go on while the next one
             * is AMX too. Its first byte is read before anything else, as the CPU would.
             */
            while (*(const uint8_t *)(uintptr_t)gregs[REG_RIP] == 0xc4 && emu_execute(gregs)) {
            }
            return;
        }
        if (emu_execute_cpuid(gregs)) return;
    }
    chain(signal_number, info, context);
}

static uint64_t read_xcr0(void) {
    uint32_t a, b, c, d;
    __cpuid(1, a, b, c, d);
    if ((c & 1u << 27) == 0) return 0; /* OSXSAVE */
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int find_out_and_install(void) {
    uint32_t a, b = 0, c, d = 0;
    __cpuid(0, a, b, c, d);
    const uint32_t max_leaf = a;
    b = d = 0;
    if (max_leaf >= 7) __cpuid_count(7, 0, a, b, c, d);
    const uint64_t xcr0 = read_xcr0();
    const int has_amx = (d & 1u << 24) != 0 && (xcr0 >> 17 & 3) == 3;
    const int has_avx512 = (b & 1u << 16) != 0 && (b & 1u << 30) != 0 && (xcr0 & 0xe6) == 0xe6;
    const int has_vectors = has_avx512 || emu_interpret != NULL;
    emulate_tiles = !has_amx && has_vectors;

    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGILL, NULL, &previous); /* before ours is there: another thread may need it at once */
    if (sigaction(SIGILL, &action, NULL) != 0) {
        emulate_tiles = 0;
        return TILE_EMULATOR_NO_HANDLER;
    }
    return has_amx ? TILE_EMULATOR_NOT_NEEDED : has_vectors ? TILE_EMULATOR_ON : TILE_EMULATOR_NO_AVX512;
}

int tile_emulator_install(void) {
    int expected = 0;
    if (__atomic_compare_exchange_n(&installed, &expected, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        install_result = find_out_and_install();
        __atomic_store_n(&installed, 2, __ATOMIC_RELEASE);
    }
    while (__atomic_load_n(&installed, __ATOMIC_ACQUIRE) != 2) _mm_pause();
    return install_result;
}

int tile_emulator_active(void) { return __atomic_load_n(&installed, __ATOMIC_ACQUIRE) == 2 && emulate_tiles; }
