/*
 * probe.c - a stand-in for the library under test and its host, for preload_selftest.py.
 *
 *   cc -shared -fPIC -DPROBE_LIBRARY probe.c -o libprobe.so      asks CPUID, XGETBV and the kernel, and uses AMX
 *   cc probe.c libprobe.so -o probe                              prints what it was told, "name value" per line
 *
 * probe ask | perm | amx | forbidden | trap
 */
#define _GNU_SOURCE
#include <stdint.h>

void probe_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
uint64_t probe_xcr0(void);
long probe_arch_prctl(int code, void *argument);
void probe_amx(int32_t out[16 * 16]);
void probe_trap(void);
extern uint32_t probe_at_load[4];

#ifdef PROBE_LIBRARY

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

uint32_t probe_at_load[4];

void probe_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) {
    /* RDX gets rubbish in its upper half, which CPUID clears. */
    uint64_t a = leaf, b = ~0ull, c = subleaf, d = ~0ull;
    __asm__ volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
    out[0] = (uint32_t)a;
    out[1] = (uint32_t)b;
    out[2] = (uint32_t)c;
    out[3] = (uint32_t)d;
    if ((a | b | c | d) >> 32 != 0) memset(out, 0xee, 16);
}

uint64_t probe_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

long probe_arch_prctl(int code, void *argument) { return syscall(SYS_arch_prctl, code, argument); }

/* Every element of A is 3 and of B is -2, both 16 x 64 bytes: the product is 64 * -6. */
void probe_amx(int32_t out[16 * 16]) {
    uint8_t config[64], a[1024], b[1024];
    memset(config, 0, sizeof config);
    config[0] = 1;
    for (int t = 0; t < 3; t++) {
        config[16 + 2 * t] = 64;
        config[48 + t] = 16;
    }
    memset(a, 3, sizeof a);
    memset(b, -2, sizeof b);
    __asm__ volatile(
        "ldtilecfg (%0)\n"
        "tilezero %%tmm0\n"
        "tileloadd (%1,%4,1), %%tmm1\n"
        "tileloadd (%2,%4,1), %%tmm2\n"
        "tdpbssd %%tmm2, %%tmm1, %%tmm0\n"
        "tilestored %%tmm0, (%3,%4,1)\n"
        "tilerelease\n"
        :
        : "r"(config), "r"(a), "r"(b), "r"(out), "r"(64ul)
        : "memory");
}

void probe_trap(void) { __builtin_trap(); }

__attribute__((constructor)) static void at_load(void) { probe_cpuid(7, 0, probe_at_load); }

#else

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static long emulator(const char *function, int argument) {
    long (*f)(int);
    *(void **)&f = dlsym(RTLD_DEFAULT, function);
    return f == NULL ? -1 : f(argument);
}

static void print_cpuid(const char *name, uint32_t leaf, uint32_t subleaf) {
    uint32_t r[4];
    errno = 77;
    probe_cpuid(leaf, subleaf, r);
    for (int i = 0; i < 4; i++) printf("%s.%c %#x\n", name, "abcd"[i], r[i]);
    if (errno != 77) printf("errno was changed\n");
}

static void print_arch_prctl(const char *name, int code, int by_value) {
    uint64_t mask = 0;
    errno = 0;
    const long result = probe_arch_prctl(code, by_value ? (void *)18 : (void *)&mask);
    printf("%s.result %ld\n%s.errno %d\n%s.mask %#lx\n", name, result, name, errno, name, (unsigned long)mask);
}

static void *thread_main(void *out) {
    probe_amx(out);
    return NULL;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "ask") == 0) {
        print_cpuid("leaf0", 0, 0);
        print_cpuid("leaf1", 1, 0);
        print_cpuid("leaf7", 7, 0);
        print_cpuid("leaf7.1", 7, 1);
        print_cpuid("leafd", 0xd, 1);
        printf("at_load.b %#x\nat_load.d %#x\n", probe_at_load[1], probe_at_load[3]);
        printf("xcr0 %#lx\n", (unsigned long)probe_xcr0());
    } else if (strcmp(what, "perm") == 0 || strcmp(what, "amx") == 0) {
        print_arch_prctl("supp", 0x1021, 0);
        print_arch_prctl("before", 0x1022, 0);
        print_arch_prctl("request", 0x1023, 1);
        print_arch_prctl("after", 0x1022, 0);
        printf("pid %d\n", syscall(39) == getpid()); /* other system calls pass, with errno: */
        errno = 0;
        const long bad = syscall(3, -1, 2, 3, 4, 5, 6);
        printf("close.result %ld\nclose.errno %d\n", bad, errno);
        static int32_t out[2][16 * 16];
        if (strcmp(what, "amx") == 0) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, thread_main, out[1]) != 0) return 1;
            probe_amx(out[0]);
            pthread_join(thread, NULL);
            int good = 0;
            for (int i = 0; i < 16 * 16; i++) good += (out[0][i] == 64 * -6) + (out[1][i] == 64 * -6);
            printf("good %d\n", good);
        }
        printf("active %ld\ntdpbssd %ld\nrequests %ld\n", emulator("tile_emulator_active", 0) & 0xff,
               emulator("tile_emulator_count", 7), emulator("tile_emulator_permission_requests", 0));
    } else if (strcmp(what, "forbidden") == 0) {
        static int32_t out[16 * 16];
        probe_amx(out);
    } else if (strcmp(what, "trap") == 0) {
        probe_trap();
    }
    return 0;
}

#endif
