/*
 * apply_test - whole layers: every type of activations, results and bias, over every type and form of weights, for any
 * number of tasks in any order. What is expected is sparamx_linear_compute on the same numbers in float32, with the
 * bias added, rounded here by arithmetic in double precision. All memory of the host's ends at a forbidden page.
 */
#define _GNU_SOURCE
#include "check.h"
#include "types.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xmmintrin.h>

enum { PAGE = 4096, ROOM = 1 << 25, N_MOST = 500, K_MOST = 1280, M_MOST = 600, FILL = 0xa5 };

static const int32_t elements[] = {SPARAMX_TYPE_F32, SPARAMX_TYPE_F16, SPARAMX_TYPE_BF16};

/* The last bytes before a forbidden page; one place for each use. */
static void *edge(int place, size_t bytes) {
    static uint8_t *ends[4];
    if (ends[place] == NULL) {
        uint8_t *all = mmap(NULL, ROOM + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (all == MAP_FAILED || mprotect(all + ROOM, PAGE, PROT_NONE) != 0) exit(2);
        ends[place] = all + ROOM;
    }
    if (bytes > ROOM) exit(2);
    return ends[place] - bytes;
}

/* ----------------------------------------------------------------------------------------------- numbers, slowly -- */

static size_t element_bytes(int32_t type) { return type == SPARAMX_TYPE_F32 ? 4 : 2; }

/* Digits behind the point, the smallest exponent of a normal number, and the largest. */
typedef struct narrow_format {
    int digits, lowest, highest;
} narrow_format;

static narrow_format format_of(int32_t type) {
    return type == SPARAMX_TYPE_F16 ? (narrow_format){10, -14, 15} : (narrow_format){7, -126, 127};
}

/* What the bits of a finite element, or of an infinity or NaN, stand for. */
static double element_value(int32_t type, uint16_t bits) {
    narrow_format f = format_of(type);
    int exponent = (bits & 0x7fff) >> f.digits, fraction = bits & ((1 << f.digits) - 1);
    double sign = bits >> 15 ? -1 : 1;
    if (exponent == f.highest + 1 - f.lowest + 1) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, f.lowest - f.digits);
    return sign * ldexp((1 << f.digits) + fraction, exponent - 1 + f.lowest - f.digits);
}

/* A number rounded to nearest, ties to even, as the element's bits. */
static uint16_t element_bits(int32_t type, float value) {
    narrow_format f = format_of(type);
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double magnitude = fabs((double)value);
    int top = (f.highest + 1 - f.lowest + 1) << f.digits;
    if (magnitude == 0) return sign;
    if (isinf(value)) return (uint16_t)(sign | top);
    int exponent = ilogb(magnitude);
    if (exponent < f.lowest) exponent = f.lowest;
    double units = nearbyint(ldexp(magnitude, f.digits - exponent));
    int bits = (int)units + ((exponent - f.lowest) << f.digits);
    return (uint16_t)(sign | (bits < top ? bits : top));
}

static float read_element(int32_t type, const void *from, size_t i) {
    if (type == SPARAMX_TYPE_F32) return ((const float *)from)[i];
    uint16_t bits;
    memcpy(&bits, (const uint8_t *)from + i * 2, 2);
    return (float)element_value(type, bits);
}

static void write_element(int32_t type, void *to, size_t i, float value) {
    if (type == SPARAMX_TYPE_F32) {
        ((float *)to)[i] = value;
        return;
    }
    uint16_t bits = element_bits(type, value);
    memcpy((uint8_t *)to + i * 2, &bits, 2);
}

static bool same_element(int32_t type, const void *at, size_t i, float wanted) {
    if (isnan(wanted)) return isnan(read_element(type, at, i));
    uint32_t expected = 0, got = 0;
    write_element(type, &expected, 0, wanted);
    memcpy(&got, (const uint8_t *)at + i * element_bytes(type), element_bytes(type));
    return got == expected;
}

/* ------------------------------------------------------------------------------------------------ hosts' loops -- */

typedef void (*task_fn)(int32_t index, void *data);

static int loops; /* calls of the host's loop since it was set to 0 */

static void rising(task_fn task, void *data, int32_t count, void *user) {
    (void)user;
    loops++;
    for (int32_t i = 0; i < count; i++) task(i, data);
}

/* Numbers that are no task's do nothing. */
static void falling(task_fn task, void *data, int32_t count, void *user) {
    (void)user;
    loops++;
    task(-1, data);
    task(count, data);
    task(INT32_MIN, data);
    task(INT32_MAX, data);
    for (int32_t i = count; i-- > 0;) task(i, data);
}

typedef struct threaded {
    task_fn task;
    void *data;
    int modes_changed; /* by many threads */
} threaded;

/* In a mode that results must not depend on. */
static void run_one(int index, void *context) {
    threaded *t = context;
    unsigned before = _mm_getcsr(), mode = _MM_MASK_MASK | _MM_ROUND_UP | _MM_FLUSH_ZERO_ON;
    _mm_setcsr(mode);
    t->task(index, t->data);
    if ((_mm_getcsr() & ~0x3fu) != mode) __atomic_fetch_add(&t->modes_changed, 1, __ATOMIC_RELAXED);
    _mm_setcsr(before);
}

static void at_once(task_fn task, void *data, int32_t count, void *user) {
    (void)user;
    loops++;
    threaded t = {task, data, 0};
    run_threads(count, run_one, &t);
    CHECK(t.modes_changed == 0, "%d tasks left another floating-point mode", t.modes_changed);
}

typedef void (*loop_fn)(task_fn task, void *data, int32_t count, void *user);
static const loop_fn hosts_loops[] = {NULL, rising, falling, at_once};

/* ------------------------------------------------------------------------------------------------------ products -- */

typedef struct layer {
    const sparamx_linear *linear;
    int64_t n, k;
    const char *name;
} layer;

static float wide_x[M_MOST * K_MOST], wide_y[M_MOST * N_MOST];

/* Where the tokens are in memory: with a gap behind each, or without. */
static int64_t gap(int i) { return i % 2 ? 3 : 0; }

/* y with its rows apart, and what is between them, as it should be. */
static bool results_right(const sparamx_linear_call *c, const layer *l) {
    size_t bytes = element_bytes(c->y_type);
    for (int64_t i = 0; i < c->m; i++) {
        for (int64_t j = 0; j < l->n; j++) {
            volatile float sum = wide_y[i * l->n + j];
            if (c->bias != NULL) sum += read_element(c->bias_type, c->bias, (size_t)j);
            if (!same_element(c->y_type, c->y, (size_t)(i * c->ldy + j), sum)) return false;
        }
        if (i + 1 == c->m) break;
        const uint8_t *between = (const uint8_t *)c->y + ((size_t)(i * c->ldy + l->n)) * bytes;
        for (size_t b = 0; b < (size_t)(c->ldy - l->n) * bytes; b++) {
            if (between[b] != FILL) return false;
        }
    }
    return true;
}

/* One call; which of the loops, gaps and numbers of tasks it takes follows from the turn. */
static void apply(const layer *l, int64_t m, int32_t x_type, int32_t y_type, int32_t bias_type, int turn) {
    static const int32_t tasks[] = {1, 2, 3, 8, 19};
    sparamx_linear_call c = {.size = sizeof c,
                             .x_type = x_type,
                             .y_type = y_type,
                             .bias_type = bias_type,
                             .m = m,
                             .ldx = l->k + gap(turn),
                             .ldy = l->n + gap(turn / 2),
                             .parallel = hosts_loops[turn % 4],
                             .tasks = tasks[turn % 5]};
    size_t x_count = (size_t)((m - 1) * c.ldx + l->k), y_count = (size_t)((m - 1) * c.ldy + l->n);
    size_t y_bytes = y_count * element_bytes(y_type);
    void *x = edge(0, x_count * element_bytes(x_type)), *bias = edge(2, (size_t)l->n * element_bytes(bias_type));
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < l->k; j++) write_element(x_type, x, (size_t)(i * c.ldx + j), wide_x[i * l->k + j]);
    /* What a kernel is given is what the narrow elements stand for. */
    float *exact = must_allocate((size_t)(m * l->k) * 4);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < l->k; j++) exact[i * l->k + j] = read_element(x_type, x, (size_t)(i * c.ldx + j));
    sparamx_status status = multiply(l->linear, m, 1, exact, l->k, wide_y, l->n);
    free(exact);
    if (!CHECK(status == SPARAMX_OK, "%s: compute says %d", l->name, status)) return;
    c.x = x;
    c.y = memset(edge(1, y_bytes), FILL, y_bytes);
    if (turn % 3 != 0) {
        for (int64_t j = 0; j < l->n; j++) write_element(bias_type, bias, (size_t)j, (float)(j % 11) * 0.37f - 1.5f);
        c.bias = bias;
    }
    status = sparamx_linear_call_work_size(l->linear, &c, &c.work_size);
    c.work = memset(edge(3, c.work_size), turn, c.work_size);
    loops = 0;
    if (status == SPARAMX_OK) status = sparamx_linear_apply(l->linear, &c);
    CHECK(status == SPARAMX_OK && results_right(&c, l),
          "%s, %lld tokens of type %d to %d, bias %d, turn %d: status %d", l->name, (long long)m, x_type, y_type,
          c.bias ? bias_type : -1, turn, status);
    CHECK(loops <= 2 && (loops > 0) == (c.parallel != NULL && c.tasks > 1), "%s: the host's loop ran %d times",
          l->name, loops);
}

static layer make_layer(const gguf_type *type, int32_t form, int64_t n, int64_t k, sparamx_linear **made) {
    static char name[64];
    uint8_t *w = must_allocate((size_t)n * gguf_row_bytes(type, k));
    gguf_fill(type, n, k, 0.5, (uint64_t)(n + k), w);
    sparamx_linear_options o = {.size = sizeof o, .form = form};
    sparamx_status status = sparamx_linear_create(type->number, n, k, w, 0, &o, made);
    free(w);
    snprintf(name, sizeof name, "%s %s %lld x %lld", type->name, form_name(form), (long long)n, (long long)k);
    if (!CHECK(status == SPARAMX_OK, "%s: %d", name, status)) exit(check_end());
    return (layer){*made, n, k, name};
}

/* Every weight, with all the types of a call in turn. */
static void test_type(const gguf_type *type, int32_t form) {
    static const int64_t tokens[] = {1, 2, 4, 7, 16, 33};
    static int turn;
    sparamx_linear *linear = NULL;
    layer l = make_layer(type, form, 35, gguf_whole(type, 520), &linear);
    for (size_t i = 0; i < COUNT(tokens); i++) {
        for (int combination = 0; combination < 27; combination++, turn++) {
            if (tokens[i] > 1 && combination % 5 != turn % 5) continue;
            apply(&l, tokens[i], elements[combination % 3], elements[combination / 3 % 3], elements[combination / 9],
                  turn);
        }
    }
    sparamx_linear_destroy(linear);
}

/* So many results that a share keeps them in several portions, and more tasks than panels. */
static void test_portions(const gguf_type *type) {
    sparamx_linear *linear = NULL;
    layer l = make_layer(type, SPARAMX_FORM_SPARSE, N_MOST, gguf_whole(type, 64), &linear);
    for (int turn = 0; turn < 5; turn++)
        apply(&l, M_MOST, SPARAMX_TYPE_BF16, turn % 2 ? SPARAMX_TYPE_BF16 : SPARAMX_TYPE_F16, SPARAMX_TYPE_F16, turn);
    sparamx_linear_destroy(linear);
    l = make_layer(type, SPARAMX_FORM_DENSE, 3, gguf_whole(type, 64), &linear);
    for (int turn = 0; turn < 60; turn++) apply(&l, 1 + turn % 3, elements[turn % 3], elements[1], elements[2], turn);
    sparamx_linear_destroy(linear);
}

/* One number at a time through the bias of a layer whose product is zero. */
static bool pass(const sparamx_linear *linear, int32_t bias_type, const void *bias, int32_t y_type, void *y) {
    static const float zero;
    static uint8_t work[1 << 16];
    sparamx_linear_call c = {.size = sizeof c, .y_type = y_type, .bias_type = bias_type, .m = 1, .ldx = 1, .ldy = 1,
                             .x = &zero, .y = y, .bias = bias, .tasks = 1, .work_size = sizeof work, .work = work};
    return sparamx_linear_apply(linear, &c) == SPARAMX_OK;
}

/* Every pattern of 16 bits is widened exactly; numbers half way between two elements, and beside, are rounded. */
static void test_rounding(void) {
    static const uint16_t one = 0x3f80;
    sparamx_linear *linear = NULL;
    if (sparamx_linear_create(SPARAMX_TYPE_BF16, 1, 1, &one, 0, NULL, &linear) != SPARAMX_OK) exit(2);
    for (size_t t = 1; t < COUNT(elements); t++) {
        narrow_format f = format_of(elements[t]);
        long wide_wrong = 0, narrow_wrong = 0;
        for (uint32_t i = 0; i < 1 << 16; i++) {
            uint16_t pattern = (uint16_t)i, narrow = 0;
            float wide = 0, values[4];
            double value = element_value(elements[t], pattern);
            bool good = pass(linear, elements[t], &pattern, SPARAMX_TYPE_F32, &wide);
            wide_wrong += !good || (isnan(value) ? !isnan(wide) : (double)wide != value);
            /* The value, the middle to its neighbour, and the two floats beside the middle. */
            double step = ldexp(1, (fabs(value) > 0 && isfinite(value) && ilogb(value) > f.lowest
                                        ? ilogb(value) : f.lowest) - f.digits);
            values[0] = (float)value;
            values[1] = (float)(value + step / 2);
            values[2] = nextafterf(values[1], INFINITY);
            values[3] = nextafterf(values[1], -INFINITY);
            for (size_t v = 0; v < COUNT(values); v++) {
                good = pass(linear, SPARAMX_TYPE_F32, &values[v], elements[t], &narrow);
                narrow_wrong += !good || !same_element(elements[t], &narrow, 0, values[v] + 0.0f);
            }
        }
        CHECK(wide_wrong == 0, "%ld patterns of type %d are widened wrongly", wide_wrong, elements[t]);
        CHECK(narrow_wrong == 0, "%ld numbers are rounded wrongly to type %d", narrow_wrong, elements[t]);
    }
    sparamx_linear_destroy(linear);
}

int main(void) {
    fill_activations(M_MOST * K_MOST, 7, wide_x);
    const gguf_type *types[GGUF_TYPES];
    int n_types = gguf_reported(types);
    for (int i = 0; i < n_types; i++) {
        for (size_t f = 0; f < COUNT(packed_forms); f++) {
            if (gguf_serves(types[i], packed_forms[f])) test_type(types[i], packed_forms[f]);
        }
    }
    if (!tiles_emulated()) {
        test_portions(gguf_find(SPARAMX_TYPE_BF16));
        test_portions(gguf_find(SPARAMX_TYPE_Q8_0));
    }
    test_rounding();
    return check_end();
}
