// The host's log receiver. It is called without a lock, so it may call the library, and even replace itself.
#include "platform.h"
#include "locks.h"
#include <stdio.h>
#include <string.h>

// A call of the receiver that is running, on the stack of the thread that makes it.
typedef struct running {
    struct running *next;
    pthread_t thread;
    uint64_t generation; // of the receiver that is being called
} running;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static sx_log_fn receiver;
static void *receiver_user;
static uint64_t generation;
static running *calls;

static bool older_call(void) {
    for (running *c = calls; c; c = c->next) {
        if (c->generation < generation) return true;
    }
    return false;
}

static bool inside_call(void) {
    for (running *c = calls; c; c = c->next) {
        if (pthread_equal(c->thread, pthread_self())) return true;
    }
    return false;
}

void sx_log_set(sx_log_fn log, void *user) {
    int cancel = sx_cancel_off(); // waiting is a cancellation point
    pthread_mutex_lock(&mutex);
    receiver = log;
    receiver_user = user;
    ++generation;
    // From inside a receiver there is nothing to wait for: its own call is still running.
    bool wait = !inside_call();
    while (wait && older_call()) pthread_cond_wait(&ended, &mutex);
    pthread_mutex_unlock(&mutex);
    sx_cancel_restore(cancel);
}

bool sx_log_enabled(void) {
    pthread_mutex_lock(&mutex);
    bool enabled = receiver != NULL;
    pthread_mutex_unlock(&mutex);
    return enabled;
}

// Bytes of the UTF-8 character at s that is safe to show on a terminal, 0 if there is none: control characters (also
// those above 127) and what is no UTF-8 are not. Nothing is read from s[most] on.
static size_t shown(const unsigned char *s, size_t most) {
    if (s[0] < 0x80) return s[0] >= 0x20 && s[0] != 0x7f;
    size_t length = s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
    if (s[0] > 0xf4 || length > most) return 0;
    for (size_t i = 1; i < length; ++i) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    bool control = s[0] == 0xc2 && s[1] < 0xa0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] >= 0xa0, beyond = s[0] == 0xf4 && s[1] >= 0x90;
    return control || overlong || surrogate || beyond ? 0 : length;
}

void sx_log_clean(char *out, size_t room, const char *text) {
    // A byte becomes a byte, so no more than room - 1 bytes of text are read.
    const unsigned char *s = (const unsigned char *)text;
    size_t used = 0;
    while (used + 1 < room && s[used]) {
        size_t length = shown(s + used, room - 1 - used);
        if (length) memcpy(out + used, s + used, length);
        else out[used] = '?';
        used += length ? length : 1;
    }
    out[used] = 0;
}

void sx_log(int32_t level, const char *message, const char *name) {
    char line[512], clean[101];
    running call = {NULL, pthread_self(), 0}, **place;
    pthread_mutex_lock(&mutex);
    sx_log_fn log = receiver;
    void *user = receiver_user;
    if (log) {
        call.generation = generation;
        call.next = calls;
        calls = &call;
    }
    pthread_mutex_unlock(&mutex);
    if (!log) return;
    if (name && *name) {
        // A name comes from a file: nothing in it may look like another line or move a terminal's cursor.
        sx_log_clean(clean, sizeof clean, name);
        snprintf(line, sizeof line, "sparamx: %s: %s", clean, message);
    } else {
        snprintf(line, sizeof line, "sparamx: %s", message);
    }
    log(level, line, user);
    pthread_mutex_lock(&mutex);
    // A child that the receiver forked has forgotten all calls.
    for (place = &calls; *place && *place != &call; place = &(*place)->next) {}
    if (*place) *place = call.next;
    pthread_cond_broadcast(&ended);
    pthread_mutex_unlock(&mutex);
}

void sx_log_before_fork(void) { pthread_mutex_lock(&mutex); }
void sx_log_after_fork(bool child) {
    if (!child) {
        pthread_mutex_unlock(&mutex);
        return;
    }
    calls = NULL; // of threads that the child does not have
    pthread_mutex_init(&mutex, NULL);
    pthread_cond_init(&ended, NULL);
}
