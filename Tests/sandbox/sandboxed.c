/*
 * sandboxed RULE PROGRAM ARGUMENTS... - runs a program under a seccomp filter.
 *
 *   amx=EPERM|EINVAL|ENOSYS|ENOSPC|0   asking the kernel for AMX is answered with this errno; 0: granted, unasked
 *   amx=kill                           asking the kernel for AMX ends the process
 *   traceless                          so does making anything that could outlive the process: files, links, folders,
 *                                      shared memory, semaphores, queues, sockets, processes
 */
#define _GNU_SOURCE
#include "filter.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KILL(name) {SYS_##name, SECCOMP_RET_KILL_PROCESS, ALWAYS, 0, 0}
#define KILL_BITS(name, when, argument, bits) {SYS_##name, SECCOMP_RET_KILL_PROCESS, when, argument, bits}

static const filter_rule traceless[] = {
    KILL_BITS(open, ANY_BIT, 1, O_CREAT), KILL_BITS(openat, ANY_BIT, 2, O_CREAT), KILL(openat2), KILL(creat),
    KILL(mkdir), KILL(mkdirat), KILL(mknod), KILL(mknodat), KILL(symlink), KILL(symlinkat), KILL(link), KILL(linkat),
    KILL(rename), KILL(renameat), KILL(renameat2), KILL(memfd_create), KILL(shmget), KILL(semget), KILL(msgget),
    KILL(mq_open), KILL(socket), KILL(socketpair), KILL(fork), KILL(vfork),
    KILL_BITS(clone, NO_BIT, 0, CLONE_THREAD),
    {SYS_clone3, REFUSE(ENOSYS), ALWAYS, 0, 0}, /* its flags are out of a filter's reach; libc then takes clone */
};

static int install(const char *rule) {
    static const struct {
        const char *name;
        uint32_t action;
    } amx[] = {{"amx=EPERM", REFUSE(EPERM)},   {"amx=EINVAL", REFUSE(EINVAL)}, {"amx=ENOSYS", REFUSE(ENOSYS)},
               {"amx=ENOSPC", REFUSE(ENOSPC)}, {"amx=0", REFUSE(0)},           {"amx=kill", SECCOMP_RET_KILL_PROCESS}};
    if (strcmp(rule, "traceless") == 0)
        return filter_install(traceless, (int)(sizeof traceless / sizeof traceless[0]));
    for (size_t i = 0; i < sizeof amx / sizeof amx[0]; i++) {
        filter_rule one = FILTER_AMX(amx[i].action);
        if (strcmp(rule, amx[i].name) == 0) return filter_install(&one, 1);
    }
    return EDOM;
}

int main(int argc, char **argv) {
    int error = argc < 3 ? EDOM : install(argv[1]);
    if (error != 0) {
        fprintf(stderr, "sandboxed: %s: %s\n", argc > 1 ? argv[1] : "", strerror(error));
        return 98;
    }
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    return 98;
}
