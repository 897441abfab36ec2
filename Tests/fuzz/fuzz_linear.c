/*
 * fuzz_linear.c - sparamx_linear with weights of any type, shape, bytes, stride and form. Every level must pack the
 * same bytes, read back what was given, and multiply: kernels that the table calls exact have the reference's bits with
 * any number of threads, the others are as near to the product in double as their arithmetic allows (oracle.h).
 */
#include "oracle.h"
#include "world.h"

enum { MOST_N = 34, MOST_M = 40 };

static uint8_t weights[1 << 16];

/* What create must say about these arguments before it looks at the data; -1 if it may look. */
static sparamx_status foretell(const weight_type *type, int64_t n, int64_t k, size_t stride, unsigned __int128 *bytes) {
    if (n < 1 || k < 1 || n > INT32_MAX || k > INT32_MAX || k % type->block != 0) return SPARAMX_ERR_SHAPE;
    uint64_t row = (uint64_t)(k / type->block) * (uint64_t)type->bytes;
    if (stride != 0 && (stride < row || stride > INT64_MAX)) return SPARAMX_ERR_STRIDE;
    *bytes = (unsigned __int128)(n - 1) * (stride ? stride : row) + row;
    return -1;
}

/* Numbers that no sane host passes. */
static void strange_numbers(input *in) {
    int64_t number = take_number(in), n = take_number(in), k = take_number(in);
    size_t stride = (size_t)take_number(in);
    const weight_type *type =
        below(in, 4) ? weight_type_at(weight_type_of((uint8_t)number)) : weight_type_find((int32_t)number);
    int32_t number32 = type ? type->number : (int32_t)number;
    unsigned __int128 bytes = 0;
    sparamx_status wanted = type ? foretell(type, n, k, stride, &bytes) : SPARAMX_ERR_TYPE;
    /* A stride that leads out of the program's memory is the host's own; one that leads around it is refused. */
    if (wanted == -1 && bytes <= (unsigned __int128)1 << 62) return;
    sparamx_linear *made = NULL;
    sparamx_status status = sparamx_linear_create(number32, n, k, take(in) == 7 ? NULL : weights, stride, NULL, &made);
    CLAIM(status != SPARAMX_OK && made == NULL, "type %d, %lld x %lld, stride %zu: %d", number32, (long long)n,
          (long long)k, stride, status);
    CLAIM(status == wanted || wanted == -1 || status == SPARAMX_ERR_NULL,
          "type %d, %lld x %lld, stride %zu: %d and not %d", number32, (long long)n, (long long)k, stride, status,
          wanted);
}

typedef struct run {
    const sparamx_linear *linear;
    int64_t m, n, ldx, ldy;
    const float *x;
    float *y;
    sparamx_params params;
    sparamx_status statuses[TEAM];
} run;

static void thread(int index, void *context) {
    run *r = context;
    sparamx_params p = r->params;
    p.ith = index;
    r->statuses[index] = sparamx_linear_compute(r->linear, &p, r->m, r->x, r->ldx, r->y, r->ldy);
}

static void compute(run *r, int level, int nth) {
    region area = host_region(HOST_WORK);
    size_t need = 0, floats = (size_t)((r->m - 1) * r->ldy + r->n);
    fuzz_level(level);
    CLAIM(sparamx_linear_work_size(r->linear, r->m, nth, &need) == SPARAMX_OK && need <= area.bytes,
          "%zu bytes of work area", need);
    r->params = (sparamx_params){.size = sizeof r->params,
                                 .nth = nth,
                                 .work = area.base + (area.bytes - need),
                                 .work_size = need,
                                 .barrier = team_barrier};
    for (size_t i = 0; i < floats; i++) ((uint32_t *)r->y)[i] = 0x7fc0beef;
    team_run(nth, thread, r);
    for (int i = 0; i < nth; i++)
        CLAIM(r->statuses[i] == SPARAMX_OK, "level %d m %lld, %d threads: %d", level, (long long)r->m, nth,
              r->statuses[i]);
    for (int64_t i = 0; i + 1 < r->m; i++)
        for (int64_t j = r->n; j < r->ldy; j++)
            CLAIM(((uint32_t *)r->y)[i * r->ldy + j] == 0x7fc0beef, "wrote behind row %lld", (long long)i);
}

/* The same product as a layer of so many tasks: the same bits, and results in bfloat16 that are next to them. */
static void compute_layer(const run *r, int level, int tasks) {
    region area = host_region(HOST_WORK);
    size_t floats = (size_t)((r->m - 1) * r->ldy + r->n);
    sparamx_linear_call c = {.size = sizeof c, .m = r->m, .ldx = r->ldx, .ldy = r->ldy, .x = r->x, .tasks = tasks};
    fuzz_level(level);
    for (int narrow = 0; narrow < 2; narrow++) {
        c.y_type = narrow ? SPARAMX_TYPE_BF16 : SPARAMX_TYPE_F32;
        c.y = fuzz_edge(3, floats * (narrow ? 2 : 4));
        CLAIM(sparamx_linear_call_work_size(r->linear, &c, &c.work_size) == SPARAMX_OK && c.work_size <= area.bytes,
              "%zu bytes of work area", c.work_size);
        c.work = area.base + (area.bytes - c.work_size);
        sparamx_status status = sparamx_linear_apply(r->linear, &c);
        CLAIM(status == SPARAMX_OK, "level %d m %lld, %d tasks: %d", level, (long long)r->m, tasks, status);
        for (int64_t at = 0; at < (int64_t)floats; at++) {
            uint32_t want, got = 0;
            if (at % r->ldy >= r->n) continue;
            memcpy(&want, r->y + at, 4);
            memcpy(&got, (uint8_t *)c.y + at * (narrow ? 2 : 4), narrow ? 2 : 4);
            if ((want & 0x7fffffff) > 0x7f800000) {
                CLAIM((narrow ? got << 16 : got) << 1 > 0xff000000, "y[%lld] is no NaN", (long long)at);
                continue;
            }
            CLAIM(narrow ? got == want >> 16 || got == (want >> 16) + 1 : got == want,
                  "m %lld, %d tasks: y[%lld] is %x and as a product %x", (long long)r->m, tasks, (long long)at, got,
                  want);
        }
    }
}

/* A matrix as the input has it. */
typedef struct matrix {
    const weight_type *type;
    int64_t n, k;
    size_t row, stride, bytes;
    bool tight; /* the stride is given as 0 */
    const uint8_t *given;
} matrix;

static void fill(input *in, matrix *w) {
    uint8_t type = take(in), rows = take(in), columns = take(in), how = take(in), thin = take(in), pattern[64];
    w->type = weight_type_at(weight_type_of(type));
    int block = w->type->block;
    w->n = rows < 200 ? 1 + rows % 18 : 1 + rows % MOST_N;
    if (block == 1) w->k = columns < 250 ? 1 + columns % 100 : 500 + columns;
    else if (block < 256) w->k = whole_blocks(w->type, 32 * (columns < 250 ? 1 + columns % 9 : 17 + columns % 7));
    else w->k = block * (1 + columns % 32 / 31);
    w->row = (size_t)(w->k / block * w->type->bytes);
    w->stride = w->row + (how & 2 ? (size_t)(how >> 4) : 0);
    w->tight = w->stride == w->row && how & 8;
    w->bytes = (size_t)(w->n - 1) * w->stride + w->row;
    /* The input's bytes again and again, thinned out. */
    int length = 1 + below(in, COUNT(pattern));
    for (int i = 0; i < length; i++) pattern[i] = take(in);
    for (size_t i = 0; i < w->bytes; i++) {
        uint8_t byte = (uint8_t)(pattern[i % (size_t)length] + (how & 4 ? i / (size_t)length : 0));
        weights[i] = (uint8_t)(i * 131 >> 4) < thin ? 0 : byte;
    }
    for (int64_t j = 0; j < w->n && how & 1; j++) weight_tame(w->type, weights + (size_t)j * w->stride, w->row);
    w->given = memcpy(fuzz_edge(0, w->bytes), weights, w->bytes);
}

/* One of the ways to keep and multiply it. */
typedef struct kept {
    int level;
    const sparamx_kernel_info *kernel; /* NULL: as planned */
    sparamx_linear *linear;
} kept;

static const uint8_t asked_forms[] = {SPARAMX_FORM_AUTO, SPARAMX_FORM_DENSE, SPARAMX_FORM_SPARSE, SPARAMX_FORM_CODED,
                                      SPARAMX_FORM_CODED_SPARSE, SPARAMX_FORM_AUTO_CODED};

static const uint8_t *create(const matrix *w, int32_t form, uint8_t options, kept *out, size_t *bytes) {
    sparamx_linear_options o = {.size = sizeof o,
                                .form = form,
                                .pack_threads = options % 3,
                                .numa = options / 3 % 4,
                                .kernel = out->kernel ? out->kernel->name : NULL};
    fuzz_level(out->level);
    sparamx_status status =
        sparamx_linear_create(w->type->number, w->n, w->k, w->given, w->tight ? 0 : w->stride, &o, &out->linear);
    CLAIM(status == SPARAMX_OK, "type %d form %d, %lld x %lld, level %d: %d", w->type->number, form, (long long)w->n,
          (long long)w->k, out->level, status);
    return fuzz_last_mapping(bytes);
}

static void read_back(input *in, const matrix *w, const kept *kept) {
    int64_t begin = take(in) % w->n, count = 1 + take(in) % (w->n - begin);
    uint8_t *out = fuzz_edge(3, (size_t)count * w->row);
    CLAIM(sparamx_linear_read(kept->linear, begin, count, out) == SPARAMX_OK, "rows %lld+%lld", (long long)begin,
          (long long)count);
    for (int64_t j = 0; j < count; j++)
        CLAIM(memcmp(out + (size_t)j * w->row, weights + (size_t)(begin + j) * w->stride, w->row) == 0,
              "type %d, level %d: row %lld of %lld x %lld reads back otherwise", w->type->number, kept->level,
              (long long)(begin + j), (long long)w->n, (long long)w->k);
}

/* A row of the kernel table for the type and form, of this level or below. */
static const sparamx_kernel_info *kernel_of(int32_t type, int32_t form, int level, int number) {
    const sparamx_kernel_info *fitting[32];
    int found = 0, count;
    const sparamx_kernel_info *rows = kernel_rows(&count);
    for (int i = 0; i < count; i++)
        if (rows[i].type == type && rows[i].form == form && rows[i].isa <= level && found < COUNT(fitting))
            fitting[found++] = &rows[i];
    return fitting[number % found]; /* the reference's comes first */
}

static const float *activations(input *in, int64_t floats, bool strange) {
    static const uint32_t special[] = {0x7fc00000, 0x7f800000, 0xff800000, 1,
                                       0x80000000, 0x7f7fffff, 0x00800000, 0x47c35000};
    region xs = host_region(HOST_X);
    float *x = (float *)(xs.base + xs.bytes) - floats;
    for (int64_t i = 0; i < floats; i++) {
        uint8_t b = take(in);
        x[i] = b ? (float)(int8_t)b / 32 : (float)(i * 7 % 23 - 11) / 8;
        if (strange && b % 4 == 1) memcpy(&x[i], &special[b / 4 % COUNT(special)], 4);
    }
    return x;
}

/* The first way is the reference kernel; the others are held against it or against double precision. */
static void multiply(input *in, const matrix *w, int32_t form, const kept *ways, int count) {
    static oracle o;
    uint8_t shape = take(in), how = take(in);
    int64_t m = shape < 200 ? 1 + shape % 5 : 1 + shape % MOST_M;
    for (int i = 1; i < count; i++) {
        const sparamx_kernel_info *kernel = ways[i].kernel;
        if (kernel) m = m > kernel->m_max ? kernel->m_max : m < kernel->m_min ? kernel->m_min : m;
    }
    run r = {.m = m, .n = w->n, .ldx = w->k + (how & 1 ? 5 : 0), .ldy = w->n + (how & 2 ? 3 : 0)};
    int64_t floats = (m - 1) * r.ldx + w->k, outs = (m - 1) * r.ldy + w->n;
    if ((size_t)floats * 4 > host_region(HOST_X).bytes) return;
    r.x = activations(in, floats, how >= 248);
    float *want = fuzz_edge(1, (size_t)outs * 4), *got = fuzz_edge(2, (size_t)outs * 4);
    int judged = -1; /* not yet known whether the product can be judged */
    for (int i = 0; i < count; i++) {
        const sparamx_kernel_info *row =
            ways[i].kernel ? ways[i].kernel : planned(ways[i].level, w->type->number, form, m);
        r.linear = ways[i].linear;
        r.y = i == 0 ? want : got;
        compute(&r, ways[i].level, 1);
        TRACE("%s at level %d, %lld x %lld, m %lld: y[0] %g", row->name, ways[i].level, (long long)w->n,
              (long long)w->k, (long long)m, (double)r.y[0]);
        for (int64_t l = 0; fuzz_tracing() && l < floats; l++) TRACE("    x[%lld] %g", (long long)l, (double)r.x[l]);
        if (row->exact) {
            int64_t at = first_difference(want, r.y, outs);
            CLAIM(at < 0, "%s, %lld x %lld, m %lld: y[%lld] is %g and by the reference %g", row->name, (long long)w->n,
                  (long long)w->k, (long long)m, (long long)at, (double)got[at], (double)want[at]);
        } else {
            if (judged < 0) judged = oracle_make(&o, w->type->number, w->given, w->stride, w->n, w->k, r.x, r.ldx, m);
            int64_t at = judged ? oracle_wrong(&o, row->isa, w->type->number, r.y, r.ldy) : -1;
            CLAIM(at < 0, "%s, %lld x %lld, m %lld: y[%lld] is %g, should be %g, bound %g", row->name, (long long)w->n,
                  (long long)w->k, (long long)m, (long long)at, (double)r.y[at / w->n * r.ldy + at % w->n],
                  oracle_value(&o, at), oracle_bound(&o, row->isa, w->type->number, at));
        }
        if (how % 16 == 6) compute_layer(&r, ways[i].level, 1 + shape % 5);
        if (how % 64 != 9) continue;
        float *again = fuzz_edge(3, (size_t)outs * 4), *first = r.y;
        int nth = 2 + shape % 3;
        r.y = again;
        compute(&r, ways[i].level, nth);
        CLAIM(first_difference(first, again, outs) < 0, "%s m %lld: %d threads differ from one", row->name,
              (long long)m, nth);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 4) return 0;
    input in = {data, data + size};
    int base = fuzz_highest() < LEVEL_AVX512 ? fuzz_highest() : LEVEL_AVX512;
    fuzz_level(base);
    uint8_t which = take(&in), options = take(&in), form = asked_forms[options / 6 % COUNT(asked_forms)];
    if (which >= 240) {
        strange_numbers(&in);
        return 0;
    }
    int64_t held = fuzz_held();
    matrix w;
    fill(&in, &w);
    int32_t type = w.type->number, made = form_made(w.type, form);
    kept ways[4] = {{.level = base}, {.level = base}};
    int count = 2;
    /* Packing by the reference and emulated tiles are slow. */
    if (which % 32 == 5) ways[count++].level = LEVEL_REFERENCE;
    if (which == 200 && fuzz_highest() == LEVEL_AMX) ways[count++].level = LEVEL_AMX;
    size_t bytes, others;
    const uint8_t *packed = create(&w, form, options, &ways[1], &bytes);
    const bool chosen = form == SPARAMX_FORM_AUTO || form == SPARAMX_FORM_AUTO_CODED;
    if (chosen || which % 32 == 1) {
        sparamx_tensor_info info = {.size = sizeof info};
        CLAIM(sparamx_linear_info(ways[1].linear, &info) == SPARAMX_OK && info.n == w.n && info.k == w.k &&
                  info.packed_bytes == bytes,
              "info");
        CLAIM(chosen || info.form == made, "form %d became %d", form, info.form);
        made = info.form;
    }
    ways[0].kernel = kernel_of(type, made, LEVEL_REFERENCE, 0);
    if (which == 200 && take(&in) % 2) ways[count - 1].kernel = kernel_of(type, made, ways[count - 1].level, take(&in));
    else if (which % 4 == 0 && count == 2) {
        sparamx_linear_destroy(ways[1].linear);
        ways[1].kernel = kernel_of(type, made, base, take(&in));
        packed = create(&w, made, options, &ways[1], &bytes);
    }
    for (int i = 0; i < count; i++) {
        if (i == 1) continue;
        const uint8_t *other = create(&w, made, options, &ways[i], &others);
        CLAIM(others == bytes && memcmp(packed, other, bytes) == 0,
              "type %d form %d, %lld x %lld: level %d packs other bytes", type, made, (long long)w.n, (long long)w.k,
              ways[i].level);
    }
    for (int i = 0; i < count; i++) {
        CLAIM(sparamx_linear_verify(ways[i].linear) == SPARAMX_OK,
              "type %d form %d, %lld x %lld: refused as it was packed", type, made, (long long)w.n, (long long)w.k);
        if (i > 0) read_back(&in, &w, &ways[i]);
    }
    if (which & 64) multiply(&in, &w, made, ways, count);
    for (int i = 0; i < count; i++) sparamx_linear_destroy(ways[i].linear);
    CLAIM(fuzz_held() == held, "%lld bytes are left mapped", (long long)(fuzz_held() - held));
    return 0;
}
