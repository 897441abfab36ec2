/* The tensor types of the GGUF format: names, block lengths and block sizes. quants.h has what is inside. */
#include "gguf.h"

#include <stdio.h>

typedef struct type_traits {
    const char *name; /* NULL: no such type, or one that was removed from the format */
    uint16_t block;   /* elements per block */
    uint16_t bytes;   /* bytes per block */
} type_traits;

static const type_traits traits[] = {
    [0] = {"F32", 1, 4},         [1] = {"F16", 1, 2},        [2] = {"Q4_0", 32, 18},      [3] = {"Q4_1", 32, 20},
    [6] = {"Q5_0", 32, 22},      [7] = {"Q5_1", 32, 24},     [8] = {"Q8_0", 32, 34},      [9] = {"Q8_1", 32, 36},
    [10] = {"Q2_K", 256, 84},    [11] = {"Q3_K", 256, 110},  [12] = {"Q4_K", 256, 144},   [13] = {"Q5_K", 256, 176},
    [14] = {"Q6_K", 256, 210},   [15] = {"Q8_K", 256, 292},  [16] = {"IQ2_XXS", 256, 66}, [17] = {"IQ2_XS", 256, 74},
    [18] = {"IQ3_XXS", 256, 98}, [19] = {"IQ1_S", 256, 50},  [20] = {"IQ4_NL", 32, 18},   [21] = {"IQ3_S", 256, 110},
    [22] = {"IQ2_S", 256, 82},   [23] = {"IQ4_XS", 256, 136}, [24] = {"I8", 1, 1},        [25] = {"I16", 1, 2},
    [26] = {"I32", 1, 4},        [27] = {"I64", 1, 8},       [28] = {"F64", 1, 8},        [29] = {"IQ1_M", 256, 56},
    [30] = {"BF16", 1, 2},       [34] = {"TQ1_0", 256, 54},  [35] = {"TQ2_0", 256, 66},   [39] = {"MXFP4", 32, 17},
    [40] = {"NVFP4", 64, 36},    [41] = {"Q1_0", 128, 18},    [42] = {"Q2_0", 64, 18},
};

static const type_traits *find(uint32_t type) {
    if (type >= sizeof traits / sizeof traits[0] || traits[type].name == NULL) return NULL;
    return &traits[type];
}

const char *gguf_type_name(uint32_t type) {
    /* One buffer per thread: the name of an unknown type is only ever printed at once. */
    static _Thread_local char unknown[24];
    const type_traits *t = find(type);
    if (t != NULL) return t->name;
    snprintf(unknown, sizeof unknown, "type %u", (unsigned)type);
    return unknown;
}

bool gguf_type_is_removed(uint32_t type) {
    return type < sizeof traits / sizeof traits[0] && traits[type].name == NULL;
}

uint64_t gguf_block_length(uint32_t type) {
    const type_traits *t = find(type);
    return t != NULL ? t->block : 0;
}

uint64_t gguf_block_bytes(uint32_t type) {
    const type_traits *t = find(type);
    return t != NULL ? t->bytes : 0;
}

uint64_t gguf_row_bytes(uint32_t type, int64_t k) {
    const type_traits *t = find(type);
    uint64_t bytes;
    if (t == NULL || k < 1 || k % t->block != 0) return 0;
    if (__builtin_mul_overflow((uint64_t)k / t->block, (uint64_t)t->bytes, &bytes)) return 0;
    return bytes;
}
