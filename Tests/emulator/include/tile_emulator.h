/*
 * tile_emulator.h - executes Intel AMX instructions on CPUs without AMX, for tests only.
 *
 * tile_emulator_install() sets a SIGILL handler that decodes the AMX instruction at the interrupted address, performs
 * it on a tile state of the interrupted thread and steps over it. It is stricter than the hardware: everything that
 * the Intel manual calls #UD or #GP, and a few things that are legal but never meant, end the process with one line on
 * stderr and abort(). See README.md.
 *
 * Linux x86-64 with glibc only. Do not ship it.
 */
#ifndef TILE_EMULATOR_H
#define TILE_EMULATOR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TILE_LDTILECFG,
    TILE_STTILECFG,
    TILE_TILERELEASE,
    TILE_TILEZERO,
    TILE_TILELOADD,
    TILE_TILELOADDT1,
    TILE_TILESTORED,
    TILE_TDPBSSD,
    TILE_TDPBSUD,
    TILE_TDPBUSD,
    TILE_TDPBUUD,
    TILE_TDPBF16PS,
    TILE_TDPFP16PS,
    TILE_CPUID,  /* emulated CPUID in a patched copy of a library, see patch_cpuid.py */
    TILE_XGETBV, /* the same for XGETBV */
    TILE_OP_COUNT
};

/* What install() found. Repeated calls give the same answer and change nothing. */
enum {
    TILE_EMULATOR_ON = 0,          /* the handler is set: AMX instructions are emulated */
    TILE_EMULATOR_NOT_NEEDED = 1,  /* this CPU has AMX: its own instructions run, nothing is checked or counted */
    TILE_EMULATOR_NO_AVX512 = -1,  /* this CPU lacks AVX-512 F/BW, and nothing interprets it */
    TILE_EMULATOR_NO_HANDLER = -2  /* sigaction failed */
};

int tile_emulator_install(void);

/* 1 while AMX instructions are emulated in this process, else 0. */
int tile_emulator_active(void);

/* Instructions emulated so far in the whole process, by TILE_* or by name in lower case ("tdpbssd"). 0 if unknown. */
uint64_t tile_emulator_count(int op);
uint64_t tile_emulator_count_named(const char *name);
void tile_emulator_reset_counts(void);

/* Name of a TILE_* in lower case, NULL if out of range. */
const char *tile_emulator_name(int op);

/*
 * Configuration of the calling thread as STTILECFG would write it: all zero when none is loaded. Not counted. On a CPU
 * with AMX it executes STTILECFG. Returns 1 if a configuration is loaded, else 0.
 */
int tile_emulator_state(uint8_t config[64]);

/* Threads of the process that have a configuration loaded now; one that ended without TILERELEASE stays counted. */
int64_t tile_emulator_configured_threads(void);

/*
 * From now on CPUID and XGETBV are emulated where patch_cpuid.py replaced them (only in mapped files that have
 * ".emulated." in their name). Modes: "full", "no-amx", "no-avx512", "amx-hidden", "avx512-hidden". 0, or -1 if the
 * mode is unknown. The last call wins.
 */
int tile_emulator_emulate_cpuid(const char *mode);

/*
 * Permission for tile data. After demand() every use of AMX other than STTILECFG and TILERELEASE is a violation until
 * grant(); the preloaded form calls these for arch_prctl(ARCH_REQ_XCOMP_PERM). permitted() is 1 after grant().
 */
void tile_emulator_demand_permission(void);
void tile_emulator_grant_permission(void);
int tile_emulator_permitted(void);

#ifdef __cplusplus
}
#endif

#endif
