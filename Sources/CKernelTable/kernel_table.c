#include "kernel_table.h"

#define SX_SCRATCH_REGISTERS {256, 0, 1}
#define SX_SCRATCH_LEVELS {SX_LEVELS_BYTES, 0, 1}
#define SX_SCRATCH_RING {SX_RING_BYTES, 0, 1}
#define SX_SCRATCH_GEMM_BYTES {SX_GEMM_BYTES, SX_GEMM_PAIRS * 128, 1}
#define SX_SCRATCH_GEMM_HALVES {SX_GEMM_BYTES, 2 * SX_GEMM_PAIRS * 128, 1}
#define SX_SCRATCH_GEMM_TILES {SX_TILE_GEMM_BYTES, SX_GEMM_PAIRS * 4096, 32}

// What differs by level: how a kernel is called.
#define SX_NAME_REFERENCE(kernel, name, form) "reference-" #name "-" #form
#define SX_NAME_AVX512(kernel, name, form) "avx512-" #name "-" #form "-" #kernel
#define SX_NAME_AMX(kernel, name, form) "amx-" #name "-" #form "-" #kernel
#define SX_FUNCTION_REFERENCE(kernel, name, form) sx_reference_product_##kernel
#define SX_FUNCTION_AVX512(kernel, name, form) sx_avx512_##name##_##form##_##kernel
#define SX_FUNCTION_AMX(kernel, name, form) sx_amx_##name##_##form##_##kernel

#define SX_ENTRY(level_, kernel, first_, last_, from_, x_, multiple_, above_, exact_, scratch_, NAME, name_, \
                 form, sparse_, coded_) \
    {.name = SX_NAME_##level_(kernel, name_, form), .function = SX_FUNCTION_##level_(kernel, name_, form), \
     .level = SX_LEVEL_##level_, .type = SX_##NAME, .sparse = sparse_, .coded = coded_, \
     .first = first_, .last = last_, .from = from_, .x = SX_X_##x_, .multiple = multiple_, .above = above_, \
     .exact = exact_, .scratch = SX_SCRATCH_##scratch_},

#define SX_DENSE_ROW(level, kernel, first, last, dense_from, sparse_from, x, multiple, above, exact, scratch, NAME, \
                     name) \
    SX_ENTRY(level, kernel, first, last, dense_from, x, multiple, above, exact, scratch, NAME, name, dense, 0, 0)
#define SX_SPARSE_ROW(level, kernel, first, last, dense_from, sparse_from, x, multiple, above, exact, scratch, NAME, \
                      name) \
    SX_ENTRY(level, kernel, first, last, sparse_from, x, multiple, above, exact, scratch, NAME, name, sparse, 1, \
             0)
#define SX_CODED_ROW(level, kernel, first, last, dense_from, sparse_from, x, multiple, above, exact, scratch, NAME, \
                     name) \
    SX_ENTRY(level, kernel, first, last, dense_from, x, multiple, above, exact, scratch, NAME, name, coded, 0, 1)
#define SX_CODED_SPARSE_ROW(level, kernel, first, last, dense_from, sparse_from, x, multiple, above, exact, scratch, \
                            NAME, name) \
    SX_ENTRY(level, kernel, first, last, sparse_from, x, multiple, above, exact, scratch, NAME, name, coded_sparse, 1, \
             1)

#define SX_FORMS_DENSE(LIST, NAME, name) LIST(SX_DENSE_ROW, NAME, name)
#define SX_FORMS_BOTH(LIST, NAME, name) LIST(SX_DENSE_ROW, NAME, name) LIST(SX_SPARSE_ROW, NAME, name)
#define SX_FORMS_CODED(LIST, NAME, name) \
    SX_FORMS_BOTH(LIST, NAME, name) LIST(SX_CODED_ROW, NAME, name) LIST(SX_CODED_SPARSE_ROW, NAME, name)

static const sx_kernel_row rows[] = {
#define SX_WIDE(NAME, name, number, forms) SX_FORMS_##forms(SX_KERNELS_##NAME, NAME, name)
#define SX_QUANT(NAME, name, number, k, bytes, low, high, part, offset, out, levels, side, per_64_k, minimum, \
                 half, forms) \
    SX_FORMS_##forms(SX_KERNELS_PARTS_OF_##part, NAME, name)
#include "types.def"
#undef SX_WIDE
#undef SX_QUANT
};

// Where the rows of each type begin, and how many one form has.
#define SX_ONE(...) +1
#define SX_COUNT_DENSE 1
#define SX_COUNT_BOTH 2
#define SX_COUNT_CODED 4
enum {
#define SX_PLACES(NAME, LIST, forms) \
    SX_BEGIN_##NAME, SX_FORMS_OF_##NAME = SX_COUNT_##forms, SX_ROWS_OF_##NAME = LIST(SX_ONE, ), \
    SX_LAST_##NAME = SX_BEGIN_##NAME + SX_FORMS_OF_##NAME * (SX_ROWS_OF_##NAME) - 1,
#define SX_WIDE(NAME, name, number, forms) SX_PLACES(NAME, SX_KERNELS_##NAME, forms)
#define SX_QUANT(NAME, name, number, k, bytes, low, high, part, offset, out, levels, side, per_64_k, minimum, \
                 half, forms) \
    SX_PLACES(NAME, SX_KERNELS_PARTS_OF_##part, forms)
#include "types.def"
#undef SX_WIDE
#undef SX_QUANT
};

int32_t sx_kernel_count(void) { return sizeof rows / sizeof *rows; }

const sx_kernel_row *sx_kernel_at(int32_t index) { return &rows[index]; }

int32_t sx_kernels_of(int32_t type, int32_t sparse, int32_t coded, int32_t *begin) {
    int32_t form = sparse + 2 * coded;
    switch (type) {
#define SX_WIDE(NAME, ...) \
    case SX_##NAME: \
        *begin = SX_BEGIN_##NAME + form * SX_ROWS_OF_##NAME; \
        return form < SX_FORMS_OF_##NAME ? SX_ROWS_OF_##NAME : 0;
#define SX_QUANT SX_WIDE
#include "types.def"
#undef SX_WIDE
#undef SX_QUANT
    default: *begin = 0; return 0;
    }
}

static const struct {
    int32_t number;
    const char *name;
} types[] = {
#define SX_WIDE(NAME, name, ...) {SX_##NAME, #name},
#define SX_QUANT SX_WIDE
#include "types.def"
#undef SX_WIDE
#undef SX_QUANT
};

int32_t sx_type_count(void) { return sizeof types / sizeof *types; }

int32_t sx_type_at(int32_t index) { return types[index].number; }

const char *sx_type_name(int32_t type) {
    for (int32_t i = 0; i < sx_type_count(); i++) {
        if (types[i].number == type) return types[i].name;
    }
    return "";
}
