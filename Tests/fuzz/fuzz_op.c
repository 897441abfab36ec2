/*
 * fuzz_op.c - op descriptors. An op that is right is made from the first bytes of the input: kind, types, where the
 * weights are, shapes; then fields of it are overwritten with numbers and pointers that hurt. What supports_op,
 * work_size and compute say must agree, at every level alike; what they accept is computed if it lies in memory that
 * this program has, and every level must give the same result.
 */
#include "world.h"

enum { DST, WEIGHT, WEIGHT2, X, IDS, ROLES, LARGEST_STRUCT = 4096 };

typedef struct scene {
    sparamx_op op;
    sparamx_tensor tensors[ROLES];
    int32_t types[2];
    bool right_weights; /* not overwritten */
    uint8_t behind[LARGEST_STRUCT]; /* what a size that is too large leads to */
} scene;

static uint8_t no_handle[512] __attribute__((aligned(64)));

static void make(input *in, scene *s) {
    const world *w = the_world();
    int kind = 1 + below(in, 4), places = take(in), i = weight_type_of(take(in)), j = weight_type_of(take(in)),
        shape = take(in);
    int m = 1 + shape % 5, x2 = 1 + shape / 5 % 3, slots = 1 + shape / 15 % 2, more = shape / 32 % 2;
    bool experts = kind == SPARAMX_OP_MUL_MAT_ID || kind == SPARAMX_OP_MOE_UP_GATE;
    const weight_type *type = weight_type_at(i);
    /* Both weights of a fused kind have the same K. */
    while (world_k(weight_type_at(j)) != world_k(type)) j = (j + 1) % weight_type_count();
    int64_t k = world_k(type), gap = shape & 128 ? 3 : 0;
    bool matrices = experts || (kind == SPARAMX_OP_MUL_MAT && x2 == 3);
    s->tensors[WEIGHT] = w->weights[places % PLACES][i][matrices ? OF_EXPERTS : OF_UP];
    s->tensors[WEIGHT2] = w->weights[places / PLACES % PLACES][j][matrices ? OF_EXPERTS : OF_GATE];
    s->types[0] = type->number;
    s->types[1] = weight_type_at(j)->number;
    int64_t x1 = experts ? (slots == 2 && more ? 2 : 1) : m, y1 = experts ? slots : m, planes = experts ? m : x2;
    sparamx_tensor x = fuzz_floats(k + gap, x1, planes, 1, NULL), y = fuzz_floats(ROWS + gap, y1, planes, 1, NULL);
    x.ne[0] = k;
    y.ne[0] = ROWS;
    sparamx_tensor ids = fuzz_floats(slots, m, 1, 1, NULL);
    ids.type = SPARAMX_TYPE_I32;
    int shift = take(in) % 4 * 4;
    x.data = host_region(HOST_X).base + shift;
    y.data = host_region(HOST_Y).base + shift;
    ids.data = host_region(HOST_IDS).base + shift;
    for (int t = 0; t < slots * m; t++) ((int32_t *)ids.data)[t] = t * 7 / 3 % EXPERTS;
    s->tensors[X] = x;
    s->tensors[DST] = y;
    s->tensors[IDS] = ids;
    s->op = (sparamx_op){.size = sizeof(sparamx_op),
                         .kind = kind,
                         .dst = &s->tensors[DST],
                         .weight = &s->tensors[WEIGHT],
                         .weight2 = &s->tensors[WEIGHT2],
                         .x = &s->tensors[X],
                         .ids = &s->tensors[IDS],
                         .activation = shape / 64 % 2,
                         .limit = shape & 32 ? 0.25f : 0};
    s->right_weights = true;
}

static void hurt_tensor(input *in, scene *s, int role) {
    static sparamx_tensor *const none = NULL;
    sparamx_tensor *t = &s->tensors[role];
    uint8_t field = take(in) % 16;
    switch (field) {
    case 0: t->size = (uint32_t)take_number(in); break;
    case 1: t->type = (int32_t)take_number(in); break;
    case 2:
    case 3:
    case 4:
    case 5: t->ne[field - 2] = take_number(in); break;
    case 6:
    case 7:
    case 8:
    case 9: t->nb[field - 6] = (uint64_t)take_number(in); break;
    case 10: t->nb[1 + below(in, 3)] *= 4; break;
    case 11: t->data = take(in) & 1 ? NULL : (void *)((uintptr_t)t->data + (uintptr_t)take_number(in)); break;
    case 12: t->data = host_region(below(in, HOST_REGIONS)).base + take(in) * 4; break;
    case 13: {
        uint8_t which = take(in) % 8;
        t->buffer = which < PLACES ? the_world()->buffers[which] : (sparamx_buffer *)(no_handle + (which == 7 ? 4 : 0));
        break;
    }
    case 14: {
        const sparamx_tensor **at[] = {&s->op.dst, &s->op.weight, &s->op.weight2, &s->op.x, &s->op.ids};
        *at[role] = take(in) & 1 ? none : (const sparamx_tensor *)((uint8_t *)t + 1);
        break;
    }
    default: {
        const sparamx_tensor **at[] = {&s->op.dst, &s->op.weight, &s->op.weight2, &s->op.x, &s->op.ids};
        *at[role] = &s->tensors[below(in, ROLES)];
    }
    }
}

static void hurt(input *in, scene *s) {
    uint8_t what = take(in) % 12;
    if (what < 9) {
        int role = what % ROLES;
        if (role == WEIGHT || role == WEIGHT2) s->right_weights = false;
        hurt_tensor(in, s, role);
    } else if (what == 9) {
        uint8_t field = take(in) % 4;
        if (field == 0) s->op.size = (uint32_t)take_number(in);
        else if (field == 1) s->op.kind = (int32_t)take_number(in);
        else if (field == 2) s->op.activation = (int32_t)take_number(in);
        else {
            uint32_t bits = (uint32_t)take_bytes(in, 4);
            memcpy(&s->op.limit, &bits, 4);
        }
    } else if (what == 10) {
        ((int32_t *)(host_region(HOST_IDS).base))[below(in, 16)] = (int32_t)take_number(in);
    } else {
        s->tensors[take(in) % ROLES].nb[1 + below(in, 3)] += 4 * (uint64_t)take(in);
    }
}

/* Whether all that an accepted op touches is memory this program has. */
static bool in_memory(const sparamx_op *op) {
    bool experts = op->kind == SPARAMX_OP_MUL_MAT_ID || op->kind == SPARAMX_OP_MOE_UP_GATE;
    bool fused = op->kind == SPARAMX_OP_UP_GATE || op->kind == SPARAMX_OP_MOE_UP_GATE;
    const sparamx_tensor *weights[] = {op->weight, fused ? op->weight2 : NULL};
    for (int i = 0; i < 2; i++) {
        if (weights[i] == NULL || weights[i]->data == NULL || weights[i]->buffer != NULL) continue;
        bool inside = false;
        for (int r = 0; r < HOST_REGIONS; r++) inside = inside || tensor_inside(weights[i], host_region(r));
        if (!inside) return false;
    }
    if (op->dst->data != NULL && !tensor_inside(op->dst, host_region(HOST_Y))) return false;
    if (experts && op->ids->data != NULL && !tensor_inside(op->ids, host_region(HOST_IDS))) return false;
    bool inside = op->x->data == NULL;
    for (int r = 0; r < HOST_REGIONS; r++) inside = inside || tensor_inside(op->x, host_region(r));
    /* And not for minutes. */
    __int128 rows = (__int128)op->dst->ne[1] * op->dst->ne[2] * op->dst->ne[3],
             area = (__int128)op->weight->ne[0] * op->dst->ne[0];
    return inside && area < 1 << 16 && rows <= 64;
}

typedef struct work {
    const sparamx_op *op;
    sparamx_params params;
    sparamx_status statuses[TEAM];
} work;

static void thread(int index, void *context) {
    work *w = context;
    sparamx_params p = w->params;
    p.ith = index;
    w->statuses[index] = sparamx_compute(&p, w->op);
}

static sparamx_status compute(const sparamx_op *op, int level, int nth, float *out) {
    region y = host_region(HOST_Y), area = host_region(HOST_WORK);
    size_t need = 0;
    fuzz_level(level);
    CLAIM(sparamx_work_size(op, nth, &need) == SPARAMX_OK, "level %d", level);
    if (need > area.bytes) return -1;
    memset(y.base, 0x5a, y.bytes);
    work w = {.op = op,
              .params = {.size = sizeof w.params,
                         .nth = nth,
                         .work = area.base + (area.bytes - need),
                         .work_size = need,
                         .barrier = team_barrier}};
    team_run(nth, thread, &w);
    for (int i = 1; i < nth; i++)
        CLAIM(w.statuses[i] == w.statuses[0], "thread %d: %d, the first: %d", i, w.statuses[i], w.statuses[0]);
    memcpy(out, y.base, y.bytes);
    return w.statuses[0];
}

/* Nothing but the rows of dst was written; the rows are taken out on the way. */
static void check_rows(const sparamx_tensor *t, float *out) {
    region y = host_region(HOST_Y);
    uint8_t *first = (uint8_t *)out + ((uint8_t *)t->data - y.base);
    for (int64_t i3 = 0; i3 < t->ne[3]; i3++)
        for (int64_t i2 = 0; i2 < t->ne[2]; i2++)
            for (int64_t i1 = 0; i1 < t->ne[1]; i1++)
                memset(first + (uint64_t)i3 * t->nb[3] + (uint64_t)i2 * t->nb[2] + (uint64_t)i1 * t->nb[1], 0x5a,
                       (size_t)t->ne[0] * 4);
    for (size_t i = 0; i < y.bytes / 4; i++)
        CLAIM(((uint32_t *)out)[i] == 0x5a5a5a5a, "wrote outside dst, at %zu", i * 4);
}

static void try_compute(input *in, const scene *s) {
    static float want[1 << 14], got[1 << 14];
    const sparamx_op *op = &s->op;
    int nth = take(in) % 64 == 1 ? 2 + below(in, 3) : 1, highest = fuzz_highest();
    int other = highest == LEVEL_AMX && take(in) != 77 ? LEVEL_AVX512 : highest;
    sparamx_status status = compute(op, LEVEL_REFERENCE, 1, want), second = compute(op, other, nth, got);
    if (status == -1 || second == -1) return;
    CLAIM(status == second, "the reference says %d, level %d with %d threads %d", status, other, nth, second);
    if (status != SPARAMX_OK) {
        region y = host_region(HOST_Y);
        memset(y.base, 0x5a, y.bytes);
        CLAIM(memcmp(want, y.base, y.bytes) == 0 && memcmp(got, y.base, y.bytes) == 0, "a refusal wrote, status %d",
              status);
        return;
    }
    /* Results of a quantized type are the same bits on AVX-512; others stay within a share of the sum of |w||x|: |w| is
     * below 2 and |x| below 1, two factors are rounded to bf16 at most. After an activation only bits are compared. */
    bool fused = op->kind == SPARAMX_OP_UP_GATE || op->kind == SPARAMX_OP_MOE_UP_GATE;
    bool wide = op->weight->type == 30 || op->weight->type == 1 ||
                (fused && (op->weight2->type == 30 || op->weight2->type == 1));
    int64_t count = (int64_t)(host_region(HOST_Y).bytes / 4);
    bool data = s->right_weights && op->x->data >= (void *)host_region(HOST_X).base &&
                op->x->data < (void *)(host_region(HOST_X).base + host_region(HOST_X).bytes);
    if (other == LEVEL_AVX512 && !wide) {
        int64_t i = first_difference(want, got, count);
        CLAIM(i < 0, "float %lld of dst is %g by the reference and %g by AVX-512", (long long)i, (double)want[i],
              (double)got[i]);
    } else if (data && !fused && other == LEVEL_AVX512) {
        float bound = 2 * (float)op->weight->ne[0] * 0x1.1p-7f;
        for (int64_t i = 0; i < count; i++)
            CLAIM(same_float(want[i], got[i]) || (want[i] - got[i] <= bound && got[i] - want[i] <= bound),
                  "float %lld of dst is %g by the reference and %g at level %d", (long long)i, (double)want[i],
                  (double)got[i], other);
    }
    check_rows(op->dst, want);
    check_rows(op->dst, got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 5) return 0;
    input in = {data, data + size};
    static scene s;
    int highest = fuzz_highest() < LEVEL_AVX512 ? fuzz_highest() : LEVEL_AVX512;
    fuzz_level(highest);
    make(&in, &s);
    int hurts = take(&in) % 6;
    uint8_t compute_flag = take(&in);
    int64_t threads = take_number(&in);
    for (int i = 0; i < hurts; i++) hurt(&in, &s);

    sparamx_status weight = sparamx_supports_weight(s.op.weight, s.op.kind), status = sparamx_supports_op(&s.op);
    size_t need = 99;
    sparamx_status sized = sparamx_work_size(&s.op, (int32_t)threads, &need);
    bool countable = (int32_t)threads >= 1 && (int32_t)threads <= 1024;
    if (status == SPARAMX_OK) {
        CLAIM(weight == SPARAMX_OK, "the op is supported, its weight is not: %d", weight);
        CLAIM(countable ? sized == SPARAMX_OK || sized == SPARAMX_ERR_RANGE : sized == SPARAMX_ERR_RANGE,
              "%d threads: %d", (int32_t)threads, sized);
    } else {
        CLAIM(sized != SPARAMX_OK, "work_size of what is not supported (%d)", status);
    }
    CLAIM((sized == SPARAMX_OK) == (need != 99), "work_size says %d and %zu", sized, need);
    CLAIM(status == SPARAMX_OK || (status >= 10 && status < 20) || status == SPARAMX_ERR_STATE, "supports_op: %d",
          status);
    sparamx_status again;
    if (compute_flag % 8 == 1) {
        fuzz_level(LEVEL_REFERENCE);
        again = sparamx_supports_op(&s.op);
        CLAIM(status == again, "supports_op: %d, and %d by the reference", status, again);
    }
    if (status != SPARAMX_OK) {
        fuzz_level(highest);
        sparamx_params p = {
            .size = sizeof p, .nth = 1, .work = host_region(HOST_WORK).base, .work_size = host_region(HOST_WORK).bytes};
        again = sparamx_compute(&p, &s.op);
        /* With two things wrong, each may name another. */
        CLAIM(again != SPARAMX_OK, "supports_op says %d, compute takes it", status);
    } else if (compute_flag == 33 && in_memory(&s.op)) {
        try_compute(&in, &s);
    }
    return 0;
}
