/*
 * replay_test - the vulnerability history of GGUF files and of ggml, class by class, as it maps to this interface. Each
 * test is named after what it replays; the status must be the documented one, nothing outside may be read or written,
 * and the object must work afterwards. Over every weight type that the library reports.
 */
#define _GNU_SOURCE
#include "faults.h"
#include "types.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { N = 33, PAGE = 4096, SIZE = 64 * PAGE };

static const gguf_type *types[GGUF_TYPES], *type; /* the one under test */
static int type_count;
static int64_t k;
static size_t bytes;
static uint8_t *weights, *back, *edge; /* edge: the last byte before a page that nobody may touch, plus one */
static sparamx_buffer *buffer;
static uint8_t *base;
static sparamx_tensor t;               /* in the buffer, complete */
static sparamx_linear *linear;

static void open_scene(void) {
    k = type->block == 1 ? 96 : 2 * type->block;
    bytes = gguf_row_bytes(type, k) * N;
    weights = must_allocate(bytes), back = must_allocate(bytes + 64);
    gguf_fill(type, N, k, 0.5, 3, weights);
    CHECK(sparamx_buffer_create(SIZE, NULL, &buffer) == SPARAMX_OK, "a buffer");
    base = sparamx_buffer_base(buffer);
    t = gguf_tensor(type, k, N, base + PAGE, buffer);
    CHECK(sparamx_buffer_set_tensor(buffer, &t, weights, 0, bytes) == SPARAMX_OK, "a tensor");
    CHECK(sparamx_linear_create(type->number, N, k, weights, 0, NULL, &linear) == SPARAMX_OK, "a linear");
}

static void close_scene(void) {
    CHECK(sparamx_buffer_get_tensor(buffer, &t, back, 0, bytes) == SPARAMX_OK && memcmp(back, weights, bytes) == 0 &&
              sparamx_linear_read(linear, 0, N, back) == SPARAMX_OK && memcmp(back, weights, bytes) == 0,
          "%s: the weights are not what they were before the replays", type->name);
    sparamx_linear_destroy(linear);
    sparamx_buffer_destroy(buffer);
    free(weights), free(back);
}

static sparamx_status create(int64_t n, int64_t width, const void *data, size_t stride) {
    sparamx_linear *out = NULL;
    sparamx_status status = sparamx_linear_create(type->number, n, width, data, stride, NULL, &out);
    CHECK((status == SPARAMX_OK) == (out != NULL), "a failed create wrote its result");
    sparamx_linear_destroy(out);
    return status;
}

static bool all_equal(const uint8_t *from, size_t count, uint8_t value) {
    for (size_t i = 0; i < count; i++) {
        if (from[i] != value) return false;
    }
    return true;
}

/* Refused for its size: "SHAPE, STRIDE or RANGE if the sizes are absurd", says the header. */
static sparamx_status absurd(sparamx_status status) {
    return status == SPARAMX_ERR_SHAPE || status == SPARAMX_ERR_STRIDE ? SPARAMX_ERR_RANGE : status;
}

static void refused_everywhere(sparamx_tensor bad) {
    size_t size = 77;
    EXPECT(SPARAMX_ERR_RANGE, absurd(sparamx_buffer_init_tensor(buffer, &bad)));
    EXPECT(SPARAMX_ERR_RANGE, absurd(sparamx_buffer_set_tensor(buffer, &bad, edge - 8, 0, 8)));
    EXPECT(SPARAMX_ERR_RANGE, absurd(sparamx_buffer_get_tensor(buffer, &bad, edge - 8, 0, 8)));
    EXPECT(SPARAMX_ERR_RANGE, absurd(sparamx_supports_weight(&bad, SPARAMX_OP_MUL_MAT)));
    EXPECT(SPARAMX_ERR_RANGE, absurd(sparamx_buffer_type_alloc_size(&bad, &size)));
    CHECK(size == 77, "a refused alloc_size wrote its result");
}

/* A tensor whose strides are what a program computes that lets products wrap. */
static sparamx_tensor wrapped(int64_t ne0, int64_t ne1, int64_t ne2) {
    sparamx_tensor w = gguf_tensor(type, ne0, 1, base + PAGE, buffer);
    w.ne[1] = ne1, w.ne[2] = ne2;
    w.nb[2] = w.nb[1] * (uint64_t)ne1;
    w.nb[3] = w.nb[2] * (uint64_t)ne2;
    return w;
}

/* CVE-2024-21802 (info->ne in gguf_init_from_file), CVE-2026-33298 (ggml_nbytes): a product of dimensions that wraps.
 */
static void cve_2024_21802_product_of_dimensions(void) {
    for (int shift = 32; shift < 63; shift += 3) {
        refused_everywhere(wrapped(k, (int64_t)1 << shift, (int64_t)1 << (63 - shift)));
        refused_everywhere(wrapped(k, ((int64_t)1 << shift) + 1, ((int64_t)1 << (62 - shift)) + 1));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_SHAPE,
                      create((int64_t)1 << shift, ((int64_t)1 << (63 - shift)) * type->block, edge - 8, 0));
    }
    for (int64_t wide = 1; wide <= 3; wide++)
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_SHAPE, create(INT64_MAX / wide, INT64_MAX / wide, edge - 8, 0));
}

/* llama.cpp #18674: 2^42 + 1 rows, whose offset from the first is 0 again in 64 bits; nothing but the first is there.
 */
static void llama_cpp_18674_rows_that_wrap(void) {
    int64_t rows = ((int64_t)1 << 42) + 1;
    refused_everywhere(wrapped(k, rows, 1));
    EXPECT(SPARAMX_ERR_RANGE, absurd(create(rows, k, edge - 8, (size_t)1 << 22)));
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_STRIDE, create(3, k, edge - 8, SIZE_MAX / 2 + 1));
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_STRIDE, create(3, k, edge - 8, SIZE_MAX - 15));
}

/* CVE-2025-53630, and CVE-2026-27940 that got past its fix (gguf_init_from_file_impl): each part is checked, their sum
 * wraps. Here sums are offset + size, offset + (copies - 1) * stride + size, and places in a buffer. */
static void cve_2026_27940_sum_of_checked_parts(void) {
    static const size_t near[] = {SIZE_MAX, SIZE_MAX - 7, SIZE_MAX / 2 + 1, SIZE_MAX - PAGE + 1};
    for (size_t i = 0; i < COUNT(near); i++) {
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_set_tensor(buffer, &t, edge - 8, near[i], 8));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_get_tensor(buffer, &t, edge - 8, near[i], 8));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_memset_tensor(buffer, &t, 0, near[i], 0 - near[i] + 4));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_set_tensor(buffer, &t, edge - 8, 8, near[i]));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_STRIDE,
                      sparamx_buffer_set_tensor_2d(buffer, &t, edge - 8, 4, 4, 3, near[i] / 2 + 1, 0));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_STRIDE,
                      sparamx_buffer_get_tensor_2d(buffer, &t, edge - 8, 4, 4, 3, 0, near[i] / 2 + 1));
    }
    sparamx_tensor last = gguf_tensor(type, k, N, base + SIZE - PAGE, buffer); /* its begin is inside, its end not */
    last.ne[1] = PAGE;
    last.nb[2] = last.nb[3] = last.nb[1] * PAGE;
    EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_init_tensor(buffer, &last));
}

/* CVE-2024-21836 (header.n_tensors), CVE-2024-23605 (header.n_kv): a count from outside, times the size of an entry. */
static void cve_2024_21836_count_times_entry(void) {
    static const size_t counts[] = {SIZE_MAX, SIZE_MAX / 4 + 1, (size_t)1 << 62, ((size_t)1 << 32) + 1,
                                    0x1d1d1d1d1d1d1d1d};
    for (size_t i = 0; i < COUNT(counts); i++) {
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_STRIDE,
                      sparamx_buffer_set_tensor_2d(buffer, &t, edge - 8, 0, 4, counts[i], 4, 4));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_STRIDE,
                      sparamx_buffer_get_tensor_2d(buffer, &t, edge - 8, 0, 4, counts[i], 4, 4));
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_NO_MEMORY,
                      sparamx_linear_read(linear, 0, (int64_t)(counts[i] >> 1), edge));
    }
}

/* CVE-2024-23496 (gguf_fread_str) and CVE-2024-21825 (GGUF_TYPE_STRING): the length of a string, plus one for its end.
 * Here the only string is a tensor's name, which goes into a message of fixed room. */
static void cve_2024_23496_length_of_a_string(void) {
    sparamx_tensor named = t;
    char *name = must_allocate(1 << 20);
    memset(name, 'x', (1 << 20) - 1);
    memcpy(name, "%s%n%1000000d", 13);
    named.name = name;
    EXPECT(SPARAMX_OK, sparamx_buffer_set_tensor(buffer, &named, weights, 0, bytes));
    named.name = "";
    EXPECT(SPARAMX_OK, sparamx_buffer_set_tensor(buffer, &named, weights, 0, bytes));
    free(name);
}

/* llama.cpp #24759 and #26978: GGML_PAD wraps to 0 for a size just below 2^64, and the check after it passes. */
static void llama_cpp_24759_padding_to_zero(void) {
    sparamx_tensor f32 = make_tensor(SPARAMX_TYPE_F32, 4, 1073741823, 1073741825, 1, base + PAGE, buffer);
    f32.nb[2] = 16ull * 1073741823, f32.nb[3] = f32.nb[2] * 1073741825ull; /* 2^64 - 16 */
    size_t size = 77;
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_STRIDE, sparamx_buffer_type_alloc_size(&f32, &size));
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_STRIDE, sparamx_buffer_init_tensor(buffer, &f32));
    f32 =
        make_tensor(SPARAMX_TYPE_F32, INT64_MAX / 2, 1, 1, 1, base + PAGE, buffer); /* as in its proof: SIZE_MAX - 3 */
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_SHAPE, sparamx_buffer_type_alloc_size(&f32, &size));
    sparamx_buffer *out = NULL;
    for (size_t below = 0; below < 2 * PAGE; below += PAGE / 2 - 1)
        EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_NO_MEMORY, sparamx_buffer_create(SIZE_MAX - below, NULL, &out));
    CHECK(size == 77 && out == NULL, "a failed call wrote its result");
}

/* gguf-tools #27 (general.alignment 0 divides by zero), llama.cpp #24997 (any alignment is taken): what is to be
 * aligned is checked, and no divisor comes from outside. */
static void gguf_tools_27_alignment(void) {
    size_t size = 77, alignment = sparamx_buffer_type_alignment();
    CHECK(alignment > 0 && (alignment & (alignment - 1)) == 0, "the alignment is %zu", alignment);
    for (size_t off = 1; off < alignment; off *= 2) {
        sparamx_tensor moved = gguf_tensor(type, k, 1, base + 32 * PAGE + off, buffer);
        EXPECT(SPARAMX_ERR_ALIGNMENT, sparamx_buffer_init_tensor(buffer, &moved));
    }
    for (int d = 0; d < 4; d++) {
        sparamx_tensor zero = t;
        zero.ne[2] = zero.ne[3] = 2; /* the stride of a dimension of 1 says nothing */
        zero.nb[3] = 2 * zero.nb[2];
        EXPECT(SPARAMX_OK, sparamx_supports_weight(&zero, SPARAMX_OP_MUL_MAT));
        zero.nb[d] = 0;
        EXPECT_EITHER(SPARAMX_ERR_STRIDE, SPARAMX_ERR_RANGE, sparamx_supports_weight(&zero, SPARAMX_OP_MUL_MAT));
        if (sparamx_buffer_type_alloc_size(&zero, &size) == SPARAMX_OK) CHECK(size >= alignment, "%zu bytes", size);
    }
    /* Data itself may lie anywhere. */
    uint8_t *odd = must_allocate(bytes + 64);
    for (size_t off = 1; off < 16; off += 2) {
        memcpy(odd + off, weights, bytes);
        EXPECT(SPARAMX_OK, create(N, k, odd + off, 0));
    }
    free(odd);
}

/* CVE-2024-42477 and llama.cpp #13067 (rpc-server: a type beyond the table), #19856 (a negative one), #20712 (types
 * that were taken out have blocks of 0 elements), #25288 (a row that is not whole blocks ends the server). */
static void cve_2024_42477_type_out_of_range(void) {
    for (int32_t number = -70; number < 140; number++) {
        static const int32_t far[] = {INT32_MIN, INT32_MAX, 1 << 8, 1 << 16, 1 << 30, -(1 << 30), 0x1000001e, 0x108};
        int32_t asked = number < 132 ? number : far[number - 132];
        sparamx_tensor other = t;
        sparamx_linear *out = NULL;
        other.type = asked;
        bool known = false;
        for (int i = 0; i < type_count; i++) known = known || types[i]->number == asked;
        if (known) continue;
        EXPECT(SPARAMX_ERR_TYPE, sparamx_linear_create(asked, 1, 256, edge - 8, 0, NULL, &out));
        EXPECT_EITHER(SPARAMX_ERR_TYPE, SPARAMX_ERR_STRIDE, sparamx_supports_weight(&other, SPARAMX_OP_MUL_MAT));
        EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_TYPE, sparamx_buffer_get_tensor(buffer, &other, back, 0, 1));
    }
    for (int64_t width = 1; width < 2 * type->block; width++) {
        if (width % type->block == 0) continue;
        sparamx_tensor cut = t;
        cut.ne[0] = width;
        EXPECT(SPARAMX_ERR_SHAPE, sparamx_supports_weight(&cut, SPARAMX_OP_MUL_MAT));
        EXPECT(SPARAMX_ERR_SHAPE, create(1, width, edge - 1, 0));
        if (width > 8) width += type->block / 8;
    }
}

/* CVE-2026-7482 (Ollama): a tensor is declared larger than what is given for it, and what lies behind is read out. */
static void cve_2026_7482_declared_larger_than_given(void) {
    /* Exactly the declared bytes are read: the next byte is forbidden. */
    memcpy(edge - bytes, weights, bytes);
    EXPECT(SPARAMX_OK, create(N, k, edge - bytes, 0));
    EXPECT(SPARAMX_OK, sparamx_buffer_set_tensor(buffer, &t, edge - bytes, 0, bytes));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_set_tensor(buffer, &t, edge - bytes, 0, bytes + 1));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_get_tensor(buffer, &t, edge - bytes, 1, bytes));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_linear_read(linear, 1, N, edge - bytes));
    /* What was never uploaded is not what lay there before: it reads as zero, and nothing is computed with it. */
    static float x[1024], y[N];
    CHECK(sparamx_buffer_reset(buffer) == SPARAMX_OK && sparamx_buffer_init_tensor(buffer, &t) == SPARAMX_OK &&
              sparamx_buffer_set_tensor(buffer, &t, weights, 0, bytes - 1) == SPARAMX_OK,
          "all but one byte");
    uint8_t last = 0x77;
    CHECK(sparamx_buffer_get_tensor(buffer, &t, &last, bytes - 1, 1) == SPARAMX_OK && last == 0, "read %d", last);
    sparamx_tensor xt = make_tensor(SPARAMX_TYPE_F32, k, 1, 1, 1, x, NULL);
    sparamx_tensor yt = make_tensor(SPARAMX_TYPE_F32, N, 1, 1, 1, y, NULL);
    sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &yt, .weight = &t, .x = &xt};
    EXPECT(SPARAMX_ERR_INCOMPLETE, multiply_op(&op, 1));
    CHECK(sparamx_buffer_set_tensor(buffer, &t, weights + bytes - 1, bytes - 1, 1) == SPARAMX_OK, "the last byte");
}

/* CVE-2026-21869 (n_discard below 0), CVE-2025-49847 (a length cut to 32 bits with its sign), llama.cpp #9799 (ne - 1
 * below 0). */
static void cve_2025_49847_negative_and_cut_lengths(void) {
    static const int64_t below[] = {0, -1, INT32_MIN, INT64_MIN, -((int64_t)1 << 32) + 1};
    size_t size = 77;
    for (size_t i = 0; i < COUNT(below); i++) {
        EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_RANGE, create(below[i], k, edge, 0));
        EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_RANGE, create(1, below[i], edge, 0));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_linear_work_size(linear, below[i], 1, &size));
        EXPECT(SPARAMX_ERR_RANGE,
               sparamx_linear_work_size(linear, 1, (int32_t)(below[i] >> 32 | (below[i] & INT32_MIN)), &size));
        if (below[i] < 0) EXPECT(SPARAMX_ERR_RANGE, sparamx_linear_read(linear, below[i], 1, edge));
        if (below[i] < 0) EXPECT(SPARAMX_ERR_RANGE, sparamx_linear_read(linear, 0, below[i], edge));
        for (int d = 0; d < 4; d++) {
            sparamx_tensor bad = t;
            bad.ne[d] = below[i];
            EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_RANGE, sparamx_buffer_init_tensor(buffer, &bad));
            EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_RANGE, sparamx_buffer_type_alloc_size(&bad, &size));
        }
    }
    /* Harmless in the low 32 bits. */
    const int64_t high = (int64_t)1 << 32;
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_SHAPE, sparamx_linear_work_size(linear, high + 1, 1, &size));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_linear_read(linear, high, 1, edge));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_linear_read(linear, 0, high + 1, edge));
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_OVERLAP, /* 4 GiB from there on may reach the buffer */
                  sparamx_buffer_set_tensor(buffer, &t, edge - 8, 0, (size_t)high + 8));
    EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_get_tensor(buffer, &t, edge - 8, (size_t)high, 8));
    CHECK(size == 77, "a failed call wrote its result");
}

/* CVE-2026-34159 (rpc-server: with buffer 0 all checks of the data pointer were left out). */
static void cve_2026_34159_absent_buffer(void) {
    static unsigned char no_buffer[512];
    sparamx_buffer *other = NULL;
    CHECK(sparamx_buffer_create(SIZE, NULL, &other) == SPARAMX_OK, "another buffer");
    sparamx_tensor bare = t, odd = t, elsewhere = t;
    bare.buffer = NULL;
    bare.data = edge - 8;
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_FOREIGN, sparamx_buffer_set_tensor(buffer, &bare, weights, 0, bytes));
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_FOREIGN, sparamx_buffer_get_tensor(buffer, &bare, back, 0, bytes));
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_FOREIGN, sparamx_buffer_init_tensor(buffer, &bare));
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_FOREIGN, sparamx_buffer_copy_tensor(buffer, &t, &bare));
    bare.data = NULL; /* as a source it is the host's memory, so it has to be there */
    EXPECT(SPARAMX_ERR_NULL, sparamx_buffer_copy_tensor(buffer, &bare, &t));
    EXPECT(SPARAMX_ERR_NULL, sparamx_buffer_set_tensor(buffer, &bare, weights, 0, bytes));
    odd.data = base + 40 * PAGE;
    odd.buffer = (sparamx_buffer *)(void *)no_buffer;
    EXPECT_EITHER(SPARAMX_ERR_STATE, SPARAMX_ERR_ALIGNMENT, sparamx_buffer_copy_tensor(buffer, &odd, &t));
    elsewhere.buffer = other; /* says one buffer and points into another */
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_FOREIGN,
                  sparamx_buffer_set_tensor(other, &elsewhere, weights, 0, bytes));
    elsewhere.data = base + 40 * PAGE;
    EXPECT_EITHER(SPARAMX_ERR_RANGE, SPARAMX_ERR_FOREIGN, sparamx_buffer_copy_tensor(buffer, &elsewhere, &t));
    sparamx_buffer_destroy(other);
}

/* CVE-2024-42478 and CVE-2024-42479 (rpc-server get_tensor and set_tensor: tensor->data is believed): read and write
 * what a pointer in a struct points to. */
static void cve_2024_42479_pointer_inside_a_struct(void) {
    uint8_t *victim = must_allocate(2 * bytes);
    memset(victim, 0x5a, 2 * bytes);
    uint8_t *const wrong[] = {victim,
                              base - 1,
                              base - PAGE,
                              base + SIZE,
                              base + SIZE - 1,
                              base + SIZE + PAGE,
                              edge - 8,
                              edge,
                              (uint8_t *)(uintptr_t)8,
                              (uint8_t *)(UINTPTR_MAX - 7),
                              (uint8_t *)(UINTPTR_MAX - PAGE + 1)};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        sparamx_tensor bad = t;
        bad.data = wrong[i];
        memset(back, 0x33, bytes);
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_init_tensor(buffer, &bad));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_set_tensor(buffer, &bad, weights, 0, bytes));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_get_tensor(buffer, &bad, back, 0, bytes));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_memset_tensor(buffer, &bad, 0, 0, bytes));
        EXPECT(SPARAMX_ERR_RANGE, sparamx_buffer_copy_tensor(buffer, &t, &bad));
        CHECK(all_equal(back, bytes, 0x33), "something was read from %p", (void *)wrong[i]);
    }
    CHECK(all_equal(victim, 2 * bytes, 0x5a), "something was written");
    free(victim);
}

/* llama.cpp #26825 (GET_ROWS over RPC): operands whose shapes do not fit each other, checked by an assert that release
 * builds do not have. */
static void llama_cpp_26825_operands_that_do_not_fit(void) {
    sparamx_tensor good_x = make_tensor(SPARAMX_TYPE_F32, k, 2, 1, 1, edge - 4 * 2 * (size_t)k, NULL);
    sparamx_tensor good_y = make_tensor(SPARAMX_TYPE_F32, N, 2, 1, 1, back, NULL);
    static float y[2 * N];
    good_y.data = y;
    for (int d = 0; d < 4; d++) {
        for (int change = -1; change <= 1; change += 2) {
            for (int which = 0; which < 2; which++) {
                sparamx_tensor x = good_x, dst = good_y, *changed = which ? &dst : &x;
                changed->ne[d] += change * (d == 0 && !which ? type->block : 1);
                if (changed->ne[d] < 1 || (d == 1 && !which && x.ne[1] == dst.ne[1])) continue;
                sparamx_op op = {.size = sizeof op, .kind = SPARAMX_OP_MUL_MAT, .dst = &dst, .weight = &t, .x = &x};
                EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_STRIDE, sparamx_supports_op(&op));
                EXPECT_EITHER(SPARAMX_ERR_SHAPE, SPARAMX_ERR_STRIDE, multiply_op(&op, 1));
            }
        }
    }
}

int main(void) {
    uint8_t *map = mmap(NULL, 256 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED || mprotect(map, 255 * PAGE, PROT_READ | PROT_WRITE) != 0) return 2;
    edge = map + 255 * PAGE;
    isa_level();
    type_count = gguf_reported(types);
    for (int i = 0; i < type_count; i++) {
        type = types[i];
        open_scene();
        cve_2024_21802_product_of_dimensions();
        llama_cpp_18674_rows_that_wrap();
        cve_2026_27940_sum_of_checked_parts();
        cve_2024_21836_count_times_entry();
        cve_2024_23496_length_of_a_string();
        llama_cpp_24759_padding_to_zero();
        gguf_tools_27_alignment();
        cve_2024_42477_type_out_of_range();
        cve_2026_7482_declared_larger_than_given();
        cve_2025_49847_negative_and_cut_lengths();
        cve_2026_34159_absent_buffer();
        cve_2024_42479_pointer_inside_a_struct();
        llama_cpp_26825_operands_that_do_not_fit();
        close_scene();
    }
    return check_end();
}
