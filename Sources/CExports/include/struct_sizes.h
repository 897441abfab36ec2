// sizeof of each struct of sparamx.h that starts with its size: in 0.1.0, the first release of ABI 1, or when it came,
// and after each growth since. Numbers that were released never change. When a struct grows, its new size gets the next
// number here, its row in Sources/Sparamx/Growth.swift and its assertion in api_table.c. No struct has padding at its
// end, where a field could appear without a change of size.
#pragma once
enum {
    SX_CAPABILITY_1 = 112,
    SX_TENSOR_1 = 96,
    SX_BUFFER_OPTIONS_1 = 20,
    SX_OP_1 = 56,
    SX_PARAMS_1 = 48,
    SX_TENSOR_INFO_1 = 280,
    SX_TENSOR_INFO_2 = 672, // n_ranges, ranges
    SX_KERNEL_INFO_1 = 56,
    SX_KERNEL_INFO_2 = 64, // accuracy
    SX_LINEAR_OPTIONS_1 = 24,
    SX_FILE_TENSOR_1 = 80,
    SX_LINEAR_CALL_1 = 104,
    SX_KV_OPTIONS_1 = 88,
    SX_KV_INFO_1 = 80,
    SX_ATTENTION_1 = 72,
    SX_STRUCT_LIMIT = 4096, // no host's struct is larger
};
