/* world.c - what world.h says. */
#include "world.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

int64_t world_k(const weight_type *type) {
    return type->block == 1 ? 41 : whole_blocks(type, 96);
}

static void *edge_memory(size_t bytes) {
    enum { PAGE = 4096 };
    uint8_t *p = mmap(NULL, bytes + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + bytes, PAGE, PROT_NONE) != 0) abort();
    return p;
}

region host_region(int which) {
    static const size_t sizes[HOST_REGIONS] = {1 << 17, 1 << 12, 1 << 16, 4 << 20, 1 << 20};
    static region regions[HOST_REGIONS];
    if (regions[0].base == NULL) {
        for (int i = 0; i < HOST_REGIONS; i++) regions[i] = (region){edge_memory(sizes[i]), sizes[i]};
        float *x = (float *)regions[HOST_X].base;
        uint32_t state = 1;
        for (size_t i = 0; i < sizes[HOST_X] / 4; i++) {
            state = state * 1664525 + 1013904223;
            x[i] = (float)(int32_t)state / 2147483648.0f;
        }
    }
    return regions[which];
}

bool tensor_inside(const sparamx_tensor *t, region r) {
    const weight_type *type = weight_type_find(t->type);
    unsigned __int128 bytes =
        type ? (unsigned __int128)(t->ne[0] / type->block) * (unsigned)type->bytes : (unsigned __int128)t->ne[0] * 4;
    for (int i = 1; i < 4; i++) bytes += (unsigned __int128)(t->ne[i] - 1) * t->nb[i];
    const uint8_t *at = t->data;
    return at >= r.base && at <= r.base + r.bytes && bytes <= (size_t)(r.base + r.bytes - at);
}

const world *the_world(void) {
    static world w;
    if (w.weights[0][0][0].size != 0) return &w;
    static const int forms[] = {SPARAMX_FORM_DENSE, SPARAMX_FORM_SPARSE, SPARAMX_FORM_AUTO, 0, SPARAMX_FORM_AUTO};
    for (int place = 0; place < PLACES; place++) {
        sparamx_buffer *buffer = NULL;
        sparamx_buffer_options o = {.size = sizeof o,
                                    .form = forms[place % COUNT(forms)],
                                    .pack_threads = 1,
                                    .usage = place == AT_RAW ? SPARAMX_USAGE_ANY : SPARAMX_USAGE_WEIGHTS};
        if (place != AT_HOST && place != AT_NOWHERE)
            CLAIM(sparamx_buffer_create(1 << 20, &o, &buffer) == SPARAMX_OK, "a buffer");
        w.buffers[place] = buffer;
        uint8_t *at = place == AT_HOST ? host_region(HOST_WEIGHTS).base : sparamx_buffer_base(buffer);
        uint32_t state = 7;
        for (int i = 0; i < weight_type_count(); i++) {
            const weight_type *type = weight_type_at(i);
            for (int j = 0; j < WEIGHTS; j++) {
                int64_t matrices = j == OF_EXPERTS ? EXPERTS : 1, k = world_k(type);
                size_t bytes = (size_t)(k / type->block * type->bytes * ROWS * matrices);
                uint8_t *data = malloc(bytes);
                for (size_t b = 0; b < bytes; b++) {
                    state = state * 1664525 + 1013904223;
                    data[b] = state >> 31 ? (uint8_t)(state >> 16) : 0;
                }
                weight_tame(type, data, bytes);
                sparamx_tensor *t = &w.weights[place][i][j];
                *t = fuzz_tensor(type, k, ROWS, matrices, place == AT_NOWHERE ? NULL : at, buffer);
                if (place == AT_HOST) memcpy(at, data, bytes);
                else if (buffer) {
                    size_t part = place == AT_INCOMPLETE ? bytes - 1 : bytes;
                    CLAIM(sparamx_buffer_set_tensor(buffer, t, data, 0, part) == SPARAMX_OK, "an upload");
                }
                free(data);
                if (at) at += (bytes + 4095) / 4096 * 4096;
            }
        }
    }
    return &w;
}

/* -- a team
 * ------------------------------------------------------------------------------------------------------------ */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t start, done;
    pthread_t threads[TEAM];
    bool running;
    int count, left, turn;
    void (*run)(int, void *);
    void *context;
    pthread_barrier_t barrier;
} team = {.mutex = PTHREAD_MUTEX_INITIALIZER, .start = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

static void *member(void *argument) {
    int index = (int)(intptr_t)argument, seen = 0;
    pthread_mutex_lock(&team.mutex);
    for (;;) {
        while (team.turn == seen) pthread_cond_wait(&team.start, &team.mutex);
        seen = team.turn;
        if (index >= team.count) continue;
        pthread_mutex_unlock(&team.mutex);
        team.run(index, team.context);
        pthread_mutex_lock(&team.mutex);
        if (--team.left == 0) pthread_cond_signal(&team.done);
    }
    return NULL;
}

void team_barrier(void *data) {
    (void)data;
    pthread_barrier_wait(&team.barrier);
}

void team_run(int count, void (*run)(int index, void *context), void *context) {
    if (count == 1) {
        run(0, context);
        return;
    }
    if (!team.running) {
        team.running = true;
        for (int i = 1; i < TEAM; i++) {
            if (pthread_create(&team.threads[i], NULL, member, (void *)(intptr_t)i) != 0) abort();
        }
    }
    pthread_barrier_init(&team.barrier, NULL, (unsigned)count);
    pthread_mutex_lock(&team.mutex);
    team.count = count;
    team.left = count - 1;
    team.run = run;
    team.context = context;
    team.turn++;
    pthread_cond_broadcast(&team.start);
    pthread_mutex_unlock(&team.mutex);
    run(0, context);
    pthread_mutex_lock(&team.mutex);
    while (team.left > 0) pthread_cond_wait(&team.done, &team.mutex);
    pthread_mutex_unlock(&team.mutex);
    pthread_barrier_destroy(&team.barrier);
}
