/*
 * world.h - weights that are packed once and then asked about and multiplied with by millions of inputs, and a host's
 * team of threads.
 */
#ifndef WORLD_H
#define WORLD_H

#include "fuzz.h"

enum { ROWS = 20, EXPERTS = 3 };

/* Where a weight is. */
enum { AT_DENSE, AT_SPARSE, AT_RAW, AT_HOST, AT_INCOMPLETE, AT_NOWHERE, PLACES };
/* Weights of one type: [K, 20, 3] and two of [K, 20]. */
enum { OF_EXPERTS, OF_UP, OF_GATE, WEIGHTS };

typedef struct world {
    sparamx_buffer *buffers[PLACES]; /* NULL where the place has none */
    sparamx_tensor weights[PLACES][MOST_WEIGHT_TYPES][WEIGHTS];
} world;

/* K of the weights of this type. */
int64_t world_k(const weight_type *type);

/* Made at the first call, at the level in use then. */
const world *the_world(void);

/* Memory of the host that products may touch: activations, ids, results, work area. Each ends where nothing may be
 * touched; raw weights are in between. */
enum { HOST_X, HOST_IDS, HOST_Y, HOST_WORK, HOST_WEIGHTS, HOST_REGIONS };
typedef struct region {
    uint8_t *base;
    size_t bytes;
} region;
region host_region(int which);

/* Whether the tensor, as its fields have it, lies in the region. */
bool tensor_inside(const sparamx_tensor *t, region r);

/* Runs run(0...count-1, context), each on a thread of its own that stays for the next call, and waits for them. */
enum { TEAM = 4 };
void team_run(int count, void (*run)(int index, void *context), void *context);
/* For the threads of such a run: what sparamx_params.barrier wants. */
void team_barrier(void *data);

#endif
