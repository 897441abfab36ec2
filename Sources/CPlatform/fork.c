// A child made by fork has one thread: a lock that another thread held at that moment would be held for ever. So the
// thread that forks holds the process-wide locks itself meanwhile.
// Locks of single objects are the host's affair (sparamx.h).
#include "locks.h"
#include <pthread.h>

static void before(void) {
    sx_once_before_fork();
    sx_profile_before_fork();
    sx_log_before_fork();
}

static void after(bool child) {
    sx_log_after_fork(child);
    sx_profile_after_fork(child);
    sx_once_after_fork(child);
}

static void in_parent(void) { after(false); }
static void in_child(void) { after(true); }

// The C library forgets the handlers of a library that is unloaded.
__attribute__((constructor)) static void start(void) { pthread_atfork(before, in_parent, in_child); }
