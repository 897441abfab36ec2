/*
 * first_sizes.h - sizeof of each struct with a size field in the first release of ABI 1 that has it: no host has a
 * smaller one. Those of 0.1.0 are in ../abi-guard/abi-1.txt too.
 */
#ifndef FIRST_SIZES_H
#define FIRST_SIZES_H

#define FIRST_SIZE(TYPE) ((uint32_t)first_##TYPE)

enum {
    first_sparamx_capability = 112,
    first_sparamx_tensor = 96,
    first_sparamx_buffer_options = 20,
    first_sparamx_op = 56,
    first_sparamx_params = 48,
    first_sparamx_tensor_info = 280,
    first_sparamx_kernel_info = 56,
    first_sparamx_linear_options = 24,
    first_sparamx_file_tensor = 80,  /* came later, as did the next ones */
    first_sparamx_linear_call = 104,
    first_sparamx_kv_options = 88,
    first_sparamx_kv_info = 80,
    first_sparamx_attention = 72,
    struct_limit = 4096 /* no host has a larger one */
};

#endif
