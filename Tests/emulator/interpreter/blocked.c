/*
 * blocked.c - pthread_sigmask() of the program, which may not block SIGILL: a trap that is blocked kills the process.
 * libsparamx's own threads block all signals, so that the host's handlers do not run on them.
 */
#include "../internal.h"
#include "avx512_interpreter.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>

int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) {
    sigset_t without;
    if (set != NULL && how != SIG_UNBLOCK && avx512_interpreter_active()) {
        without = *set;
        sigdelset(&without, SIGILL);
        set = &without;
    }
    long result;
    register long size __asm__("r10") = 8;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"((long)SYS_rt_sigprocmask), "D"((long)how), "S"(set), "d"(old), "r"(size)
                     : "rcx", "r11", "memory");
    return (int)-result;
}
