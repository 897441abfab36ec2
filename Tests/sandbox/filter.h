/*
 * filter.h - real seccomp filters: what a container or a server's sandbox may do to a process, with nothing played.
 */
#ifndef FILTER_H
#define FILTER_H

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* When a rule applies: always, if the argument equals the value, has one of its bits, has none of its bits. */
enum filter_when { ALWAYS, EQUAL, ANY_BIT, NO_BIT };

enum { ARCH_REQ_XCOMP_PERM = 0x1023, FILTER_MOST = 40 };

typedef struct filter_rule {
    int number;            /* of the system call */
    uint32_t action;       /* SECCOMP_RET_* */
    enum filter_when when;
    int argument;
    uint32_t value;
} filter_rule;

#define REFUSE(error) (SECCOMP_RET_ERRNO | (uint32_t)(error))

/* The kernel's permission for AMX is answered with action. */
#define FILTER_AMX(action) {SYS_arch_prctl, action, EQUAL, 0, ARCH_REQ_XCOMP_PERM}

/* For this thread and those it makes, and across exec. 0, or an errno. */
static inline int filter_install(const filter_rule *rules, int count) {
    struct sock_filter code[8 + 6 * FILTER_MOST];
    unsigned short n = 0;
    if (count > FILTER_MOST) return E2BIG;
#define EMIT(...) code[n++] = (struct sock_filter)__VA_ARGS__
    EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
    EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    for (int i = 0; i < count; i++) {
        const filter_rule *r = &rules[i];
        unsigned char rest = r->when == ALWAYS ? 1 : 3;
        EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
        EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->number, 0, rest));
        if (r->when != ALWAYS) {
            uint32_t offset = (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (size_t)r->argument);
            EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
            unsigned short test = r->when == EQUAL ? BPF_JEQ : BPF_JSET;
            unsigned char skip = r->when == NO_BIT;
            EMIT(BPF_JUMP((unsigned short)(BPF_JMP | BPF_K | test), r->value, skip, (unsigned char)!skip));
        }
        EMIT(BPF_STMT(BPF_RET | BPF_K, r->action));
    }
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
#undef EMIT
    struct sock_fprog program = {.len = n, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0 ? errno : 0;
}

#endif
