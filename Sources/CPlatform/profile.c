// The profile of the process: it can be replaced until somebody needs to know it.
#include "platform.h"
#include "locks.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *profile;
static bool settled;

bool sx_profile_settled(void *_Nullable *out) {
    if (!__atomic_load_n(&settled, __ATOMIC_ACQUIRE)) return false;
    *out = profile;
    return true;
}

bool sx_profile_is_there(void) {
    pthread_mutex_lock(&mutex);
    bool there = profile != NULL;
    pthread_mutex_unlock(&mutex);
    return there;
}

void *sx_profile_load(void *new) {
    pthread_mutex_lock(&mutex);
    void *unused = settled ? new : profile;
    if (!settled) profile = new;
    pthread_mutex_unlock(&mutex);
    return unused;
}

bool sx_profile_settle(void *_Nullable *new) {
    pthread_mutex_lock(&mutex);
    bool first = !settled;
    if (first && !profile) {
        profile = *new;
        *new = NULL;
    }
    __atomic_store_n(&settled, true, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&mutex);
    return first;
}

void sx_profile_before_fork(void) { pthread_mutex_lock(&mutex); }
void sx_profile_after_fork(bool child) {
    if (child) pthread_mutex_init(&mutex, NULL);
    else pthread_mutex_unlock(&mutex);
}
