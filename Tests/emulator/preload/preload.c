/*
 * preload.c - libtile-emulator.so, for LD_PRELOAD: the tile emulator for programs that do not know of it.
 *
 *   LD_PRELOAD=.../libtile-emulator.so program
 *
 * It sets the handler before main(), answers arch_prctl's questions about AMX permission in place of the kernel when
 * they are asked through libc's syscall(), and emulates CPUID and XGETBV in libraries that patch_cpuid.py treated.
 * AMX without that permission is a violation. On a CPU with AMX only the knobs below have an effect.
 *
 *   SPARAMX_EMU_CPUID=full|no-amx|no-avx512|amx-hidden|avx512-hidden   what the patched library sees; default full
 *   SPARAMX_EMU_PERM_ERRNO=EPERM|ENOSYS|ENOSPC|EINVAL                  the request for permission fails with this
 *   SPARAMX_EMU_PERM_ASK=kernel                                        the real kernel, or a filter before it, decides
 *   SPARAMX_INTERPRET=1                                                AVX-512 is interpreted if the CPU lacks it
 *   SPARAMX_EMU_REPORT=FILE|-                                          at exit, append the counts to FILE or stderr
 *
 * A value that is not in this list ends the process with status 99: a misspelt knob must not pass as a good test.
 *
 * Link with -Wl,-z,initfirst: the handler must be there before any other library's constructors run.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tile_emulator.h"
#ifdef WITH_INTERPRETER
#include "../interpreter/include/avx512_interpreter.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { GET_XCOMP_SUPP = 0x1021, GET_XCOMP_PERM = 0x1022, REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
static const uint64_t tile_features = 3u << 17;

static int permission_errno; /* of the refusal that SPARAMX_EMU_PERM_ERRNO asks for */
static int ask_kernel;       /* SPARAMX_EMU_PERM_ASK=kernel */
static uint64_t permission_requests;
static const char *report_path;

/* How often permission for tile data was asked for through syscall(), refused or not. */
uint64_t tile_emulator_permission_requests(void) { return __atomic_load_n(&permission_requests, __ATOMIC_RELAXED); }

/* --------------------------------------------------------------------------------------------------- syscall() -- */

/*
 * In assembler, with libc's own register shuffle, because syscall() may be asked for things that do not return the way
 * a C function returns (clone with a new stack, vfork). The real system call is made here rather than through
 * dlsym(RTLD_NEXT): there is nothing to find out and nothing to initialise.
 */
__asm__(
    ".text\n"
    ".p2align 4\n"
    ".globl syscall\n"
    ".type syscall, @function\n"
    "syscall:\n"
    "    endbr64\n"
    "    cmpq $158, %rdi\n" /* SYS_arch_prctl */
    "    je tile_emulator_arch_prctl\n"
    "tile_emulator_real_syscall:\n"
    "    movq %rdi, %rax\n"
    "    movq %rsi, %rdi\n"
    "    movq %rdx, %rsi\n"
    "    movq %rcx, %rdx\n"
    "    movq %r8, %r10\n"
    "    movq %r9, %r8\n"
    "    movq 8(%rsp), %r9\n"
    "    syscall\n"
    "    cmpq $-4095, %rax\n"
    "    jae tile_emulator_syscall_failed\n"
    "    ret\n"
    ".size syscall, . - syscall\n");

_Static_assert(SYS_arch_prctl == 158, "system call number");

#define FROM_ASSEMBLER __attribute__((used, visibility("hidden")))

long tile_emulator_real_syscall(long number, ...) __attribute__((visibility("hidden")));
FROM_ASSEMBLER long tile_emulator_syscall_failed_with(long result);
FROM_ASSEMBLER long tile_emulator_arch_prctl(long number, long code, unsigned long argument);

__asm__(
    ".text\n"
    "tile_emulator_syscall_failed:\n"
    "    movq %rax, %rdi\n"
    "    jmp tile_emulator_syscall_failed_with\n");

long tile_emulator_syscall_failed_with(long result) {
    errno = (int)-result;
    return -1;
}

long tile_emulator_arch_prctl(long number, long code, unsigned long argument) {
    const int request = code == REQ_XCOMP_PERM && argument == XFEATURE_XTILEDATA;
    if (request) {
        __atomic_fetch_add(&permission_requests, 1, __ATOMIC_RELAXED);
        if (permission_errno != 0) {
            errno = permission_errno;
            return -1;
        }
        if (ask_kernel && tile_emulator_real_syscall(number, code, argument) != 0) return -1;
    }
    if (!tile_emulator_active() || (!request && code != GET_XCOMP_SUPP && code != GET_XCOMP_PERM))
        return tile_emulator_real_syscall(number, code, argument);
    if (request) {
        tile_emulator_grant_permission();
        return 0;
    }

    /* The kernel's own answer, as far as it has one, and the tiles. */
    uint64_t mask = 0;
    const int saved_errno = errno;
    const long result = tile_emulator_real_syscall(number, code, &mask);
    if (result != 0 && errno != EINVAL) return -1;
    errno = saved_errno;
    if (code == GET_XCOMP_SUPP) {
        mask |= tile_features;
    } else if (tile_emulator_permitted()) {
        mask |= tile_features;
    } else {
        mask |= tile_features & ~(1ull << XFEATURE_XTILEDATA);
    }
    memcpy((void *)argument, &mask, sizeof mask);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ start and end -- */

static void say(int fd, const char *s) {
    ssize_t written = write(fd, s, strlen(s));
    (void)written;
}

__attribute__((noreturn)) static void bad_knob(const char *name, const char *value) {
    say(STDERR_FILENO, "tile emulator: unknown value: ");
    say(STDERR_FILENO, name);
    say(STDERR_FILENO, value);
    say(STDERR_FILENO, "\n");
    _exit(99);
}

/* With -z initfirst libc is not initialised yet and getenv() finds nothing, but glibc passes the environment. */
__attribute__((constructor)) static void start(int argc, char **argv, char **environment) {
    (void)argc;
    (void)argv;
    static const char cpuid_knob[] = "SPARAMX_EMU_CPUID=";
    static const char errno_knob[] = "SPARAMX_EMU_PERM_ERRNO=";
    static const char ask_knob[] = "SPARAMX_EMU_PERM_ASK=";
    static const char report_knob[] = "SPARAMX_EMU_REPORT=";
    static const struct {
        const char *name;
        int value;
    } errnos[] = {{"EPERM", EPERM}, {"ENOSYS", ENOSYS}, {"ENOSPC", ENOSPC}, {"EINVAL", EINVAL}};
    const char *mode = "full";
#ifdef WITH_INTERPRETER
    static const char fault_knob[] = "SPARAMX_INTERPRET_FAULT=";
    int interpret = 0;
#endif

    for (char **e = environment; *e != NULL; e++) {
#ifdef WITH_INTERPRETER
        if (strcmp(*e, "SPARAMX_INTERPRET=1") == 0) interpret = 1;
        if (strncmp(*e, fault_knob, sizeof fault_knob - 1) == 0) avx512_interpreter_fault(*e + sizeof fault_knob - 1);
#endif
        if (strncmp(*e, cpuid_knob, sizeof cpuid_knob - 1) == 0) {
            mode = *e + sizeof cpuid_knob - 1;
        } else if (strncmp(*e, errno_knob, sizeof errno_knob - 1) == 0) {
            const char *value = *e + sizeof errno_knob - 1;
            for (size_t i = 0; i < sizeof errnos / sizeof errnos[0]; i++)
                if (strcmp(value, errnos[i].name) == 0) permission_errno = errnos[i].value;
            if (permission_errno == 0) bad_knob(errno_knob, value);
        } else if (strncmp(*e, ask_knob, sizeof ask_knob - 1) == 0) {
            if (strcmp(*e + sizeof ask_knob - 1, "kernel") != 0) bad_knob(ask_knob, *e + sizeof ask_knob - 1);
            ask_kernel = 1;
        } else if (strncmp(*e, report_knob, sizeof report_knob - 1) == 0) {
            report_path = *e + sizeof report_knob - 1;
        }
    }
    tile_emulator_demand_permission();
#ifdef WITH_INTERPRETER
    if (interpret) avx512_interpreter_install();
#endif
    tile_emulator_install();
    if (tile_emulator_emulate_cpuid(mode) != 0) bad_knob(cpuid_knob, mode);
}

static size_t append(char *text, size_t length, const char *name, uint64_t value) {
    char digits[24];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    const size_t name_length = strlen(name);
    memcpy(text + length, name, name_length);
    length += name_length;
    text[length++] = ' ';
    while (n > 0) text[length++] = digits[--n];
    text[length++] = '\n';
    return length;
}

/* One line per instruction, "tdpbssd 128", and then some; in one write, so that processes do not mix theirs. */
__attribute__((destructor)) static void report(void) {
    if (report_path == NULL || report_path[0] == 0) return;
    char text[1024];
    size_t length = 0;
    for (int op = 0; op < TILE_OP_COUNT; op++)
        length = append(text, length, tile_emulator_name(op), tile_emulator_count(op));
    length = append(text, length, "permission-requests", tile_emulator_permission_requests());
    length = append(text, length, "configured-threads", (uint64_t)tile_emulator_configured_threads());
#ifdef WITH_INTERPRETER
    length = append(text, length, "interpreter-entries", avx512_interpreter_entries());
    length = append(text, length, "interpreted-instructions", avx512_interpreter_instructions());
#endif
    const int to_stderr = strcmp(report_path, "-") == 0;
    const int fd = to_stderr ? STDERR_FILENO : open(report_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) return;
    ssize_t written = write(fd, text, length);
    (void)written;
    if (!to_stderr) close(fd);
}
