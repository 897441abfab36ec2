/*
 * signal_test.c - a SIGILL that is not the emulator's goes where it would have gone without it.
 */
#include "machine.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void other_handler(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number;
    (void)context;
    _exit(info->si_addr != NULL ? 42 : 43);
}
static void plain_handler(int signal_number) { _exit(signal_number == SIGILL ? 44 : 45); }

static void not_ours(int which) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    if (which == 1) {
        action.sa_sigaction = other_handler;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGILL, &action, NULL);
    } else if (which == 2) {
        action.sa_handler = plain_handler;
        sigaction(SIGILL, &action, NULL);
    } else if (which == 3 || which == 9) {
        action.sa_handler = SIG_IGN;
        sigaction(SIGILL, &action, NULL);
    }
    tile_emulator_install();
    switch (which) {
    case 4: raise(SIGILL); break;
    case 5: BYTES("0x27, 0xa2"); break;
    case 6: BYTES("0x0f, 0xff, 0xc0"); break;
    case 7: /* the same, in a file that is not ".emulated." */
        tile_emulator_emulate_cpuid("full");
        BYTES("0x27, 0xa2");
        break;
    case 8: BYTES("0xc4, 0xe2, 0x78, 0x5c, 0xc1"); break; /* opcode 5C without prefix: nothing we know */
    case 9: raise(SIGILL); _exit(46);
    default: __asm__ volatile("ud2");
    }
}

/* Before the emulator is installed in this process: the children install it. */
void test_chain(void) {
    static const struct {
        int which, exit_status; /* -1: killed by SIGILL */
    } cases[] = {{0, -1}, {1, 42}, {2, 44}, {3, -1}, {4, -1}, {5, -1}, {6, -1}, {7, -1}, {8, -1}, {9, 46}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[256];
        const int status = in_child(not_ours, cases[i].which, message, sizeof message);
        const int killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGILL;
        const int exited = WIFEXITED(status) && WEXITSTATUS(status) == cases[i].exit_status;
        CHECK(message[0] == 0 && (cases[i].exit_status < 0 ? killed : exited),
              "SIGILL case %d: status %d \"%s\"", cases[i].which, status, message);
    }
}
