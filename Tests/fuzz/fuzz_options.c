/*
 * fuzz_options.c - numbers and structs: every options and out struct with any size and contents, at the very end of its
 * memory; SPARAMX_ISA with any text; counts of tokens, rows and threads; sizes of tensors. Each status is foretold.
 */
#include "fuzz.h"

#include "../abi/first_sizes.h"

enum { N = 20, K = 64 };

static uint8_t weights[N * K * 2];
static sparamx_linear *linear;
static float x[33 * K], y[33 * N], z[33 * N];
static uint8_t work[1 << 18];

static void barrier(void *data) { ++*(int *)data; }

static bool is_out(sparamx_status status, uint32_t size, uint32_t least) {
    return size < least || size > struct_limit ? status == SPARAMX_ERR_STRUCT_SIZE : status == SPARAMX_OK;
}

/* Whether a struct that is read is taken: all of it is there, and nothing is set that the library does not know. */
static bool is_in(const void *it, uint32_t size, uint32_t right) {
    if (size < right || size > struct_limit) return false;
    for (uint32_t i = right; i < size; i++) {
        if (((const uint8_t *)it)[i] != 0) return false;
    }
    return true;
}

/*
 * A struct of `size` bytes (at least its size field), the rest of the input inside, at the end of its memory. Behind
 * the `right` bytes of today an even size has zeros.
 */
static void *structure(input *in, int number, uint32_t size, uint32_t right) {
    size_t bytes = size < 4 ? 4 : size > struct_limit ? struct_limit : size;
    /* The last byte lies at the end only if the struct keeps its alignment. */
    uint8_t *p = fuzz_edge(number, (bytes + 7) / 8 * 8);
    for (size_t i = 0; i < bytes; i++) p[i] = size % 2 == 0 && i >= right ? 0 : take(in);
    memcpy(p, &size, 4);
    return p;
}

static uint32_t struct_size(input *in, uint32_t right) {
    uint8_t kind = take(in);
    return kind < 200   ? right
           : kind < 230 ? take(in)
           : kind < 240 ? right + take(in) - 128
                        : (uint32_t)take_bytes(in, 4);
}

static void out_structs(input *in) {
    /* What became of a weight takes long to say. */
    uint8_t which = take(in);
    which = which == 1 && take(in) == 99 ? 2 : which % 2;
    uint32_t right = which == 0   ? sizeof(sparamx_capability)
                     : which == 1 ? sizeof(sparamx_kernel_info)
                                  : sizeof(sparamx_tensor_info);
    uint32_t first = which == 0   ? right /* it has not grown */
                     : which == 1 ? FIRST_SIZE(sparamx_kernel_info)
                                  : FIRST_SIZE(sparamx_tensor_info);
    uint32_t size = struct_size(in, right), counts = size < right ? first : right;
    void *p = structure(in, 0, size, right);
    uint8_t before[struct_limit];
    size_t bytes = size < 4 ? 4 : size > struct_limit ? struct_limit : size;
    memcpy(before, p, bytes);
    sparamx_status status;
    if (which == 0) {
        status = sparamx_get_capability(p);
        CLAIM(is_out(status, size, first), "capability of %u bytes: %d", size, status);
    } else if (which == 1) {
        int64_t index = take_number(in);
        status = sparamx_kernel_get((int32_t)index, p);
        bool inside = (int32_t)index >= 0 && (int32_t)index < sparamx_kernel_count();
        sparamx_status wanted = inside ? SPARAMX_OK : SPARAMX_ERR_RANGE;
        CLAIM(status == (size < first || size > struct_limit ? SPARAMX_ERR_STRUCT_SIZE : wanted),
              "kernel %d in %u bytes: %d", (int32_t)index, size, status);
    } else {
        status = sparamx_linear_info(linear, p);
        CLAIM(is_out(status, size, first), "info of %u bytes: %d", size, status);
    }
    if (status != SPARAMX_OK) CLAIM(memcmp(before, p, bytes) == 0, "a refusal wrote");
    else CLAIM(memcmp((uint8_t *)p + counts, before + counts, bytes - counts) == 0, "wrote behind the struct");
}

static void environment(input *in) {
    char text[24];
    int length = below(in, 16);
    for (int i = 0; i < length; i++) text[i] = (char)take(in);
    text[length] = 0;
    uint8_t known = take(in);
    if (known < 40)
        strcpy(text, known % 4 == 0 ? "" : known % 4 == 1 ? "reference" : known % 4 == 2 ? "avx512" : "amx");
    fuzz_ask_again(text);
    sparamx_capability found = {.size = sizeof found};
    CLAIM(sparamx_get_capability(&found) == SPARAMX_OK, "capability");
    int limit = text[0] == 0 || strcmp(text, "amx") == 0 ? 2
                : strcmp(text, "avx512") == 0            ? 1
                : strcmp(text, "reference") == 0         ? 0
                                                         : -1;
    sparamx_linear *made = NULL;
    sparamx_status status = sparamx_linear_create(30, N, K, weights, 0, NULL, &made);
    if (limit < 0) {
        CLAIM(found.status == SPARAMX_ERR_ISA_NAME && found.isa == 0, "SPARAMX_ISA=%s: %d", text, found.status);
        CLAIM(status == SPARAMX_ERR_ISA_NAME && made == NULL, "created with SPARAMX_ISA=%s: %d", text, status);
    } else {
        CLAIM(found.status == SPARAMX_OK && found.isa <= limit, "SPARAMX_ISA=%s: %d, %d", text, found.status,
              found.isa);
        CLAIM(status == SPARAMX_OK, "not created with SPARAMX_ISA=%s: %d", text, status);
    }
    sparamx_linear_destroy(made);
    fuzz_level(LEVEL_REFERENCE);
}

/* Any contents of the options of a linear. */
/* What options may ask for. */
static bool is_form(int32_t form) {
    return form >= SPARAMX_FORM_AUTO && form <= SPARAMX_FORM_AUTO_CODED && form != SPARAMX_FORM_RAW;
}

static void linear_options(input *in) {
    uint32_t right = sizeof(sparamx_linear_options), size = struct_size(in, right);
    sparamx_linear_options *o = structure(in, 0, size, right);
    const char *name = NULL;
    char text[40];
    if (size >= right) {
        if (o->form < -1 || o->form > 7) o->form &= 7;
        if (o->pack_threads < -2 || o->pack_threads > 70) o->pack_threads &= 127;
        if (o->numa < -1 || o->numa > 5) o->numa &= 3;
        uint8_t kind = take(in);
        sparamx_kernel_info info = {.size = sizeof info};
        if (kind < 100) {
        } else if (kind < 180) {
            CLAIM(sparamx_kernel_get(take(in) % sparamx_kernel_count(), &info) == SPARAMX_OK, "a kernel");
            name = info.name;
        } else {
            int length = below(in, 39);
            for (int i = 0; i < length; i++) text[i] = (char)take(in);
            text[length] = 0;
            name = text;
        }
        o->kernel = name;
    }
    sparamx_linear *made = NULL;
    sparamx_status status = sparamx_linear_create(30, N, K, weights, 0, o, &made);
    if (!is_in(o, size, right)) {
        CLAIM(status == SPARAMX_ERR_STRUCT_SIZE, "options of %u bytes: %d", size, status);
    } else if (!is_form(o->form) || o->pack_threads < 0 || o->pack_threads > 64 || o->numa < 0 ||
               o->numa > SPARAMX_NUMA_DISTRIBUTE) {
        CLAIM(status == SPARAMX_ERR_RANGE, "form %d threads %d numa %d: %d", o->form, o->pack_threads, o->numa, status);
    } else if (name == NULL) {
        CLAIM(status == SPARAMX_OK, "form %d threads %d: %d", o->form, o->pack_threads, status);
    } else {
        CLAIM(status == SPARAMX_OK || status == SPARAMX_ERR_RANGE ||
                  (status >= SPARAMX_ERR_NO_AVX512 && status <= SPARAMX_ERR_SELF_TEST),
              "kernel %s: %d", name, status);
    }
    CLAIM((status == SPARAMX_OK) == (made != NULL), "status %d", status);
    sparamx_linear_destroy(made);
}

static void buffer_options(input *in) {
    uint32_t right = sizeof(sparamx_buffer_options), size = struct_size(in, right);
    sparamx_buffer_options *o = structure(in, 0, size, right);
    if (size >= right) {
        if (o->usage < -1 || o->usage > 3) o->usage &= 1;
        if (o->form < -1 || o->form > 7) o->form &= 7;
        if (o->pack_threads < -2 || o->pack_threads > 70) o->pack_threads &= 127;
        if (o->numa < -1 || o->numa > 5) o->numa &= 3;
    }
    uint64_t bytes = (uint64_t)take_number(in);
    if (bytes > (4u << 20) && bytes < (1u << 27)) bytes %= 4u << 20; /* a megabyte takes long to clear */
    sparamx_buffer *made = NULL;
    sparamx_status status = sparamx_buffer_create(bytes, take(in) & 1 ? o : NULL, &made);
    if (status == SPARAMX_OK) {
        CLAIM(made != NULL && sparamx_buffer_size(made) == bytes && sparamx_buffer_resident(made) == 0,
              "a fresh buffer");
        CLAIM((uintptr_t)sparamx_buffer_base(made) % sparamx_buffer_type_alignment() == 0, "its base");
    } else {
        CLAIM(made == NULL, "status %d", status);
        CLAIM(status == SPARAMX_ERR_RANGE || status == SPARAMX_ERR_STRUCT_SIZE || status == SPARAMX_ERR_NO_MEMORY,
              "status %d", status);
        CLAIM(status != SPARAMX_ERR_NO_MEMORY || bytes > (32u << 20), "no memory for %llu", (unsigned long long)bytes);
    }
    if (bytes > (uint64_t)1 << 46) CLAIM(status != SPARAMX_OK, "%llu bytes", (unsigned long long)bytes);
    sparamx_buffer_destroy(made);
}

static int64_t stride_number(input *in, int64_t least) {
    int64_t number = take_number(in);
    return number < 96 && number > -96 ? number + least - 1 : number;
}

/* One of the host's threads with any numbers. */
static void parameters(input *in) {
    uint32_t right = sizeof(sparamx_params), size = struct_size(in, right);
    sparamx_params *p = structure(in, 0, size, right);
    int64_t m = take_number(in), ldx = stride_number(in, K), ldy = stride_number(in, N);
    uint8_t pointers = take(in);
    int calls = 0;
    size_t need = 0;
    if (size >= right) {
        p->ith = (int32_t)take_number(in);
        p->nth = (int32_t)take_number(in);
        p->work_size = (size_t)take_number(in) << (take(in) & 7);
        p->work = pointers & 1 ? NULL : pointers & 2 ? work + 3 : work;
        p->barrier = pointers & 4 ? NULL : barrier;
        p->barrier_data = &calls;
    }
    int32_t nth = size >= right ? p->nth : 1;
    sparamx_status sized = sparamx_linear_work_size(linear, m, nth, &need);
    bool countable = m >= 1 && m <= INT32_MAX && nth >= 1 && nth <= 1024;
    CLAIM(sized == (countable ? SPARAMX_OK : SPARAMX_ERR_RANGE), "m %lld threads %d: %d", (long long)m, nth, sized);
    const float *from = pointers & 8 ? NULL : pointers & 16 ? (const float *)((const char *)x + 2) : x;
    float *to = pointers & 32 ? NULL : pointers & 64 ? (float *)((char *)y + 1) : y;
    bool strides = ldx >= K && ldy >= N && ldx <= (int64_t)1 << 62 && ldy <= (int64_t)1 << 62;
    bool good = is_in(p, size, right) && countable && p->ith >= 0 && p->ith < nth && (nth == 1 || p->barrier != NULL) &&
                p->work != NULL && need <= p->work_size && p->work_size <= INT64_MAX && from == x && to == y && strides;
    /* What fits in this program's memory is computed; what must be refused is tried too. */
    bool fits = m >= 1 && m <= 33 && strides && ldx <= COUNT(x) && ldy <= COUNT(y) && (m - 1) * ldx + K <= COUNT(x) &&
                (m - 1) * ldy + N <= COUNT(y) && need <= sizeof work - 3;
    if (good && !fits) return;
    memset(y, 0x5a, sizeof y);
    sparamx_status status = sparamx_linear_compute(linear, p, m, from, ldx, to, ldy);
    CLAIM((status == SPARAMX_OK) == good, "m %lld nth %d ith %d ldx %lld ldy %lld size %u: %d", (long long)m, nth,
          size >= right ? p->ith : 0, (long long)ldx, (long long)ldy, size, status);
    if (status != SPARAMX_OK) {
        memset(z, 0x5a, sizeof z);
        CLAIM(memcmp(y, z, sizeof y) == 0 && calls == 0, "a refusal wrote, status %d", status);
    }
}

/* Rows to read, and sizes of tensors. */
static void numbers(input *in) {
    int64_t row = take_number(in), count = take_number(in);
    bool inside = row >= 0 && count >= 0 && row <= N && count <= N - row;
    uint8_t *out = fuzz_edge(1, inside ? (size_t)count * K * 2 : 0);
    sparamx_status status = sparamx_linear_read(linear, row, count, out);
    CLAIM(status == (inside ? SPARAMX_OK : SPARAMX_ERR_RANGE), "rows %lld+%lld: %d", (long long)row, (long long)count,
          status);
    if (inside)
        CLAIM(memcmp(out, weights + row * K * 2, (size_t)count * K * 2) == 0, "rows %lld+%lld", (long long)row,
              (long long)count);

    static union {
        sparamx_tensor tensor;
        uint8_t room[struct_limit];
    } at_most;
    at_most.tensor = (sparamx_tensor){.size = struct_size(in, sizeof(sparamx_tensor))};
    at_most.tensor.type = (int32_t)take_number(in);
#define t at_most.tensor
    for (int i = 0; i < 4; i++) t.ne[i] = take_number(in);
    for (int i = 0; i < 4; i++) t.nb[i] = (uint64_t)take_number(in);
    size_t bytes = 77;
    status = sparamx_buffer_type_alloc_size(&t, &bytes);
    bool sane = is_in(&t, t.size, sizeof t);
    for (int i = 0; i < 4; i++) sane = sane && t.ne[i] >= 1 && t.ne[i] <= INT32_MAX && t.nb[i] <= (uint64_t)1 << 62;
    if (!sane) CLAIM(status != SPARAMX_OK, "absurd sizes are accepted");
    if (status == SPARAMX_OK) {
        /* Types of single elements may be in any order, transposed too; of others the row is whole blocks. */
        static const struct {
            int32_t type, bytes;
        } elements[] = {{0, 4}, {1, 2}, {24, 1}, {25, 2}, {26, 4}, {27, 8}, {28, 8}, {30, 2}};
        const weight_type *type = weight_type_find(t.type);
        unsigned __int128 need = type ? (unsigned __int128)(t.ne[0] / type->block) * (unsigned)type->bytes : t.nb[1];
        for (size_t i = 0; i < COUNT(elements); i++) {
            if (elements[i].type == t.type)
                need = (unsigned)elements[i].bytes + (unsigned __int128)(t.ne[0] - 1) * t.nb[0];
        }
        for (int i = 1; i < 4; i++) need += (unsigned __int128)(t.ne[i] - 1) * t.nb[i];
        CLAIM(bytes >= need && bytes < need + 4096 && bytes % 4096 == 0, "%zu bytes", bytes);
    } else {
        CLAIM(bytes == 77, "a refusal wrote");
    }
    status = sparamx_supports_weight(&t, (int32_t)take_number(in));
    CLAIM(status == SPARAMX_OK || (status >= 10 && status <= 19), "supports_weight: %d", status);
#undef t
}

static void texts(input *in) {
    int64_t number = take_number(in);
    const char *text = sparamx_status_string((sparamx_status)number);
    CLAIM(text != NULL && strlen(text) > 3, "status %d", (sparamx_status)number);
    const sparamx_api *api = sparamx_get_api((uint32_t)number);
    CLAIM((api != NULL) == ((uint32_t)number == SPARAMX_ABI), "ABI %u", (uint32_t)number);
    if (api) CLAIM(api->size == sizeof *api && api->status_string(0) == sparamx_status_string(0), "the table");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, data + size};
    if (linear == NULL) {
        fuzz_level(LEVEL_REFERENCE);
        for (int i = 0; i < (int)sizeof weights; i++) weights[i] = (uint8_t)(i % 3 == 0 ? i * 37 : 0);
        weight_tame(weight_type_at(0), weights, sizeof weights);
        for (int i = 0; i < COUNT(x); i++) x[i] = (float)(i % 17 - 8);
        CLAIM(sparamx_linear_create(30, N, K, weights, 0, NULL, &linear) == SPARAMX_OK, "a weight");
    }
    int64_t held = fuzz_held();
    for (int step = 0; step < 3 && in.at < in.end; step++) {
        switch (take(&in) % 8) {
        case 0: out_structs(&in); break;
        case 1: texts(&in); break;
        case 2: linear_options(&in); break;
        case 3: buffer_options(&in); break;
        case 4: parameters(&in); break;
        case 5: numbers(&in); break;
        case 6: parameters(&in); break;
        default:
            if (take(&in) == 7) environment(&in);
            break; /* asks the CPU and computes a product: slow */
        }
        CLAIM(fuzz_held() == held, "%lld bytes are left mapped", (long long)(fuzz_held() - held));
    }
    return 0;
}
