// What is found out once per process. Nothing that is done under this mutex may wait for another lock, the loader's
// above all: a constructor that makes the first call would hold that one.
#include "platform.h"
#include "locks.h"

static _Alignas(64) char storage[1024];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool filled;
static int32_t cap = INT32_MAX;

void *sx_once(void (*fill)(void *, int32_t)) {
    if (!__atomic_load_n(&filled, __ATOMIC_ACQUIRE)) {
        pthread_mutex_lock(&mutex);
        if (!filled) {
            fill(storage, cap);
            __atomic_store_n(&filled, true, __ATOMIC_RELEASE);
        }
        pthread_mutex_unlock(&mutex);
    }
    return storage;
}

bool sx_once_cap(int32_t level) {
    pthread_mutex_lock(&mutex);
    bool in_time = !filled;
    if (in_time) cap = level;
    pthread_mutex_unlock(&mutex);
    return in_time;
}

void *sx_self_test_memory(void) {
    static _Alignas(64) char memory[SX_SELF_TEST_BYTES];
    return memory;
}

void sx_once_before_fork(void) { pthread_mutex_lock(&mutex); }
void sx_once_after_fork(bool child) {
    if (child) pthread_mutex_init(&mutex, NULL);
    else pthread_mutex_unlock(&mutex);
}
